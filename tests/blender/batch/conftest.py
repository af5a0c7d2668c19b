# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of three shots of two heads, and the command that carries lists out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import bpy
import pytest

from tests.blender.batch.a_list import CLIP
from tests.blender.head import add_camera, make_head, quick_render


@pytest.fixture
def module(extension: str) -> Callable[[str], ModuleType]:
    return lambda name: importlib.import_module(f"{extension}.{name}")


@pytest.fixture
def main(module: Callable[[str], ModuleType]) -> Callable[..., int]:
    command = module("magplus_addon.commands").main
    return lambda *arguments: command(["batch", *map(str, arguments)])


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Two heads in a file, and a list of three shots: two of one head, one of the other, saved with the first."""
    make_head("Ann")
    bob = make_head("Bob")
    bob.location.x = 3
    add_camera(distance=12)
    quick_render(64, 48).render.fps = 25
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "heads.blend"))
    (tmp_path / CLIP).write_bytes(b"only its bytes matter here")
    shots = tmp_path / "list.toml"
    shots.write_text(
        f'[defaults]\nfile = "heads.blend"\ndriving = "{CLIP}"\nshape_keys = true\n'
        '[[shot]]\nname = "one"\navatar = "Ann"\nsave = "both.blend"\nstart_frame = 5\nrender = true\n'
        '[[shot]]\nname = "two"\navatar = "Ann"\nalpha = 4\n'
        '[[shot]]\nname = "three"\navatar = "Bob"\nsave = "both.blend"\n'
    )
    return shots
