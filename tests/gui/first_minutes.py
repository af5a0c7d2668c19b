# SPDX-License-Identifier: GPL-3.0-or-later
"""A new animator's first minutes, from the fresh extension to a visible expression, with a picture of every step.

Played by `play.py`. What can be set there: language=de_DE, theme=light, scale=1.5, narrow=220 (the sidebar's width in
px), shading=SOLID and quick=yes (a coarse render) where a processor draws, then=SOLID (from after the picture of the
sample on), stop=asks or stop=sample (end there).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))

from stage import MODULE, Scenario, call, key, picture, play, show_sidebar, until, view, widen_sidebar, window


def setting(name: str, default: str = "") -> str:
    return os.environ.get(f"MAGPLUS_GUI_{name.upper()}", default)


def preferences() -> Any:
    return bpy.context.preferences.addons[MODULE].preferences


def manager() -> Any:
    return sys.modules[f"{MODULE}.operators.running.job_manager"].manager


def prepare() -> None:
    """Set Blender up as the person who plays it has it."""
    chosen = bpy.context.preferences
    chosen.view.show_splash = False
    chosen.view.ui_scale = float(setting("scale", "1"))
    if setting("theme") == "light":
        folder = next(Path(bpy.utils.system_resource("SCRIPTS", path="presets")).rglob("interface_theme"))
        light = next(path for path in folder.glob("*.xml") if "light" in path.name.lower())
        bpy.ops.script.execute_preset(filepath=str(light), menu_idname="USERPREF_MT_interface_theme_presets")
    if language := setting("language"):
        chosen.view.language = language
        chosen.view.use_translate_interface = chosen.view.use_translate_tooltips = True
    if shading := setting("shading"):
        sys.modules[f"{MODULE}.operators.sample.opening"].SHADING = shading
    preferences().environment_source = "EXISTING"
    preferences().python = setting("worker")


def first_minutes() -> Scenario:
    prepare()
    yield from key("ESC")  # the splash screen
    yield 1.0
    yield from show_sidebar()
    if width := setting("narrow"):
        yield from widen_sidebar(int(width))
    yield 0.5
    picture("1-installed")

    call(bpy.ops.magplus.make_sample)
    yield 1.0
    picture("2-sample-asks")
    if setting("stop") == "asks":
        return
    yield from key("ESC")
    bpy.ops.magplus.make_sample("EXEC_DEFAULT")
    yield from until(lambda: not manager().busy and bpy.context.scene.magplus.avatar is not None, 300.0)
    if setting("shading") == "SOLID":
        view().spaces.active.shading.color_type = "TEXTURE"
    yield 3.0
    yield from key("ESC")  # the notice at the cursor
    yield 1.0
    picture("3-sample")
    if shading := setting("then"):
        view().spaces.active.shading.type = shading
    if setting("stop") == "sample":
        return

    if setting("quick"):  # a machine without a graphics card, with others on it
        bpy.context.scene.render.resolution_percentage = 60
        bpy.context.scene.magplus.capture_samples = 4
    call(bpy.ops.magplus.animate)
    yield from until(lambda: manager().progress is not None and manager().progress.done > 0, 300.0)
    yield 1.0
    picture("4-running")
    yield from until(lambda: not manager().busy, 1500.0, 2.0)
    yield 3.0
    yield from key("ESC")  # the notice at the cursor
    view().tag_redraw()
    yield 2.0
    picture("5-result")
    for outcome in manager().outcomes.values():
        print("outcome", outcome.sentence, outcome.details, outcome.warnings, flush=True)
    print("frame", bpy.context.scene.frame_current, "of", window().scene.name, flush=True)


play(first_minutes)
