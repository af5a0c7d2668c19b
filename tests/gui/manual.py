# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual's pictures: from the fresh extension to a visible expression, and the ways to look at it and to go on.

Played by `play.py`. What can be set there: language=de_DE, theme=light, scale=1.5, narrow=220 (the sidebar's width in
px), quick=yes (a coarse render), shading=SOLID (drawn quickly by a processor), start=FILE (go on from a sample that is
saved there), stop=asks, stop=sample or stop=result (end there), ways=yes (the frames in every place that they can be
shown in, too, and a second result without frames).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))

from stage import (
    MODULE,
    Scenario,
    another_window,
    box_of,
    call,
    close_other_windows,
    drawn,
    key,
    only_panels,
    picture,
    play,
    region,
    scroll,
    show_sidebar,
    until,
    view,
    widen_sidebar,
    window,
)

NOISY = 48  # samples of the avatar's picture where this Blender has no denoiser


def setting(name: str, default: str = "") -> str:
    return os.environ.get(f"MAGPLUS_GUI_{name.upper()}", default)


def preferences() -> Any:
    return bpy.context.preferences.addons[MODULE].preferences


def ours(name: str) -> Any:
    """Return a module of the add-on."""
    return sys.modules[f"{MODULE}.{name}"]


def manager() -> Any:
    return ours("operators.running.job_manager").manager


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


def settled() -> Scenario:
    """Take the notice at the cursor away, and let the view be drawn."""
    yield from drawn(4)
    yield from key("ESC")
    yield from drawn()


def installed() -> Scenario:
    yield from key("ESC")  # the splash screen
    yield 1.0
    yield from _preferences()
    preferences().environment_source = "EXISTING"
    preferences().python = setting("worker")
    yield from show_sidebar()
    yield from widen_sidebar(int(setting("narrow", "300")))
    picture("installed")


def _preferences() -> Scenario:
    bpy.context.preferences.system.use_online_access = True
    area = view()
    area.type = "PREFERENCES"
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "MagPlus"
    yield 1.0
    with bpy.context.temp_override(window=window(), area=area):
        bpy.ops.preferences.addon_expand(module=MODULE)
    area.tag_redraw()
    yield 1.0
    yield from scroll(area, region(area, "WINDOW"), 6)
    picture("preferences", box_of(area))
    area.type = "VIEW_3D"
    bpy.context.preferences.system.use_online_access = False
    yield 1.0


def sample() -> Scenario:
    call(bpy.ops.magplus.make_sample)
    yield 1.0
    picture("sample-asks", box_of(view()))
    if setting("stop") == "asks":
        return
    yield from key("ESC")
    bpy.ops.magplus.make_sample("EXEC_DEFAULT")
    yield from until(lambda: not manager().busy and bpy.context.scene.magplus.avatar is not None, 300.0)
    bpy.context.scene.eevee.taa_samples = 4  # of the view, where a processor draws it
    looks, settings = ours("operators.footage").looks, bpy.context.scene.magplus
    yield from until(lambda: (look := looks.known(settings)) is not None and look.footage is not None, 60.0)
    yield from settled()
    picture("sample")


def choosing() -> Scenario:
    """What is set before a run: the part of the video, the controls, the output."""
    scene = bpy.context.scene
    view().spaces.active.shading.type = "SOLID"  # drawn quickly without a graphics card
    with only_panels("MAGPLUS_PT_driver"):
        yield from _sidebar("driver")
    with only_panels("MAGPLUS_PT_output", "MAGPLUS_PT_magnification"):
        yield from _sidebar("output")
    call(bpy.ops.magplus.open_driver)
    yield from another_window()
    picture("choose-by-eye")
    yield from close_other_windows()
    call(bpy.ops.magplus.measure_controls)
    yield from until(lambda: not manager().busy and len(scene.magplus.controls) > 0, 300.0)
    yield from settled()
    with only_panels("MAGPLUS_PT_controls"):
        yield from _sidebar("controls")
    scene.magplus.controls.clear()


def _sidebar(name: str) -> Scenario:
    """Take a picture of the sidebar's end."""
    side = region(view(), "UI")
    yield from drawn(3)
    yield from scroll(view(), side, 30)
    picture(name, box_of(side))
    yield from scroll(view(), side, -40)


def run() -> Scenario:
    settings = bpy.context.scene.magplus
    if setting("quick"):  # a machine without a graphics card, with others on it
        bpy.context.scene.render.resolution_percentage = 60
        settings.capture_samples = 4
    elif not bpy.context.scene.cycles.use_denoising:
        settings.capture_samples = NOISY
    view().spaces.active.shading.type = setting("shading", "MATERIAL")
    call(bpy.ops.magplus.animate)
    yield from until(lambda: manager().progress is not None and manager().progress.stage == "Animating", 900.0)
    yield from until(lambda: not manager().busy or manager().share > 0.6, 300.0)
    yield 0.5
    picture("running")
    yield from until(lambda: not manager().busy, 1500.0, 2.0)
    yield from settled()
    for outcome in manager().outcomes.values():
        print("outcome", outcome.sentence, outcome.details, outcome.warnings, flush=True)
    picture("result")


def looking() -> Scenario:
    """The result's panel, and what it opens."""
    with only_panels("MAGPLUS_PT_result", "MAGPLUS_PT_bakes"):
        yield from _sidebar("result-panel")
    with only_panels("MAGPLUS_PT_result", "MAGPLUS_PT_details"):
        yield from _sidebar("details")
    bpy.context.scene.magplus.result.frames_shown = True
    yield from drawn()
    picture("frames")
    if setting("ways"):
        yield from ways()
    bpy.context.scene.magplus.result.frames_shown = False
    call(bpy.ops.magplus.show_curves)
    yield from another_window()
    picture("curves")
    yield from close_other_windows()
    call(bpy.ops.magplus.compare)
    yield from another_window()
    picture("compare")
    yield from close_other_windows()
    call(bpy.ops.magplus.show_anchors)
    yield from until(lambda: not manager().busy, 120.0)
    yield from settled()
    picture("face-match", box_of(view()))


def ways() -> Scenario:
    """The frames in each place, in the order of the menu and back to the first."""
    places = bpy.ops.magplus.show_as.get_rna_type().properties["where"].enum_items.keys()
    for place in (*places, places[0]):
        call(bpy.ops.magplus.show_as, where=place)
        yield from drawn()
        picture(f"shown-as-{place.lower()}")


def without_frames() -> Scenario:
    """A second run, for keys alone: what shows the frames of the first says so."""
    settings = bpy.context.scene.magplus
    settings.frames = False
    call(bpy.ops.magplus.animate)
    yield from until(lambda: not manager().busy, 1500.0, 2.0)
    yield from settled()
    picture("keys-alone")


def reopened(file: str) -> Scenario:
    """Open a sample, in shading that is drawn quickly."""
    bpy.ops.wm.open_mainfile(filepath=file)
    view().spaces.active.shading.type = "SOLID"
    yield from drawn(2)
    preferences().environment_source = "EXISTING"
    preferences().python = setting("worker")
    yield from show_sidebar()
    yield from widen_sidebar(int(setting("narrow", "300")))


def manual() -> Scenario:
    prepare()
    if start := setting("start"):
        yield from reopened(start)
    else:
        yield from installed()
        yield from sample()
    if setting("stop") in ("asks", "sample"):
        return
    yield from choosing()
    yield from run()
    if setting("stop") != "result":
        yield from looking()
    if setting("ways"):
        yield from without_frames()


if __name__ == "__main__":
    play(manual)
