# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged and hostile results in Blender: everything comes into the file or nothing, and nothing freezes."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.job import artefacts
from bl_ext.user_default.magplus.backend_bridge.job.artefacts import FRAMES
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.backend_bridge.job.spec import Outputs
from bl_ext.user_default.magplus.operators.animation.destination import BACKGROUND, LAYER, REPLACE, Destination
from bl_ext.user_default.magplus.operators.animation.keyframes import all_curves
from bl_ext.user_default.magplus.operators.import_result import import_result
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.head import add_camera, dump, make_head, write_png
from tests.blender.jobs import finished_report, pulse, solved

TIMES = int(os.environ.get("MAGPLUS_DRILL_TIMES", "1"))
SEED = int(os.environ.get("MAGPLUS_DRILL_SEED", "1"))
COUNT = 12
LONGEST = 10.0  # seconds that an import may take on a busy machine
NASTY: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        2**31,
        10**12,
        10_000_000,
        1e308,
        5e-324,
        1e12,
        "",
        "x" * 50_000,
        "%999999999d",
        "1e99999999",
    ),
    *("../outside/%06d.png", "86400", "1/1000000", "-1", [], {}, [1, 1], [65536, 1], ["0", "86400"], [0, 0]),
)


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    """A finished job with frames and keys, for a scene at another rate."""
    head = make_head()
    add_camera()
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(COUNT, 6, 0.5)}, apex=6)
    write_png(tmp_path / "frame.png", np.ones((8, 8, 4), np.float32))
    for index in range(COUNT):
        folder.commit(FRAMES.unit(index), (tmp_path / "frame.png").read_bytes() + bytes([index]))
    report = finished_report(COUNT, Fraction(25), onset=3, apex=6, offset=9, video_start=1.0, frame_size=(8, 8))
    folder.write_report(report)
    scene = bpy.context.scene
    scene.render.fps = 30
    return folder


def assert_whole_or_nothing(folder: JobFolder, mode: str) -> bool:
    """Import everything; return whether it worked. What fails leaves the file as it was."""
    before, began = dump(), time.perf_counter()
    destination = Destination(1, animation=mode, show_as=BACKGROUND)
    try:
        import_result(bpy.context, folder, destination, Outputs(frames=True, weights=True))
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
        assert dump() == before
        return False
    finally:
        assert time.perf_counter() - began < LONGEST
    for action in bpy.data.actions:
        for curve in all_curves(action):
            assert all(math.isfinite(number) for point in curve.keyframe_points for number in point.co)
    return True


def cases(whole: bytes, draw: random.Random, count: int) -> list[bytes]:
    def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        return [(*path, key) for key, _ in items] + [each for key, item in items for each in places(item, (*path, key))]

    made = []
    data = json.loads(whole)
    while len(made) < count:
        changed = copy.deepcopy(data)
        for _ in range(draw.choice((1, 1, 2))):
            path = draw.choice(places(changed))
            node = changed
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = copy.deepcopy(draw.choice(NASTY))
        made.append(json.dumps(changed).encode())
    return made


def test_a_whole_job_comes_in(job: JobFolder) -> None:
    assert assert_whole_or_nothing(job, REPLACE)
    assert bpy.data.actions and bpy.context.scene.camera.data.background_images


def test_a_damaged_report_imports_everything_or_nothing(job: JobFolder) -> None:
    draw, whole = random.Random(SEED), job.report_path.read_bytes()
    for data in cases(whole, draw, 30 * TIMES):
        job.report_path.write_bytes(data)
        assert_whole_or_nothing(job, draw.choice((REPLACE, LAYER)))


def flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 3, 20))):
        changed[draw.randrange(len(changed))] ^= draw.randrange(1, 256)
    return bytes(changed)


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


@pytest.mark.parametrize("unit", [artefacts.WEIGHTS, artefacts.AVATAR_BASIS, FRAMES.unit(4), FRAMES.unit(COUNT - 1)])
@pytest.mark.parametrize("damage", [flipped, cut])
def test_a_damaged_file_imports_nothing(
    job: JobFolder, unit: str, damage: Callable[[bytes, random.Random], bytes]
) -> None:
    draw, path = random.Random(SEED), job.path / unit
    whole = path.read_bytes()
    for _ in range(3 * TIMES):
        path.write_bytes(damage(whole, draw))
        assert not assert_whole_or_nothing(job, REPLACE)


def test_a_missing_part_imports_nothing(job: JobFolder) -> None:
    for unit in (FRAMES.unit(7), artefacts.AVATAR_BASIS, artefacts.WEIGHTS, artefacts.REPORT):
        path = job.path / unit
        whole = path.read_bytes()
        path.unlink()
        assert not assert_whole_or_nothing(job, REPLACE)
        path.write_bytes(whole)
    assert assert_whole_or_nothing(job, REPLACE)


def test_a_rig_that_can_not_be_keyed_leaves_no_pictures_either(job: JobFolder) -> None:
    bpy.data.objects.remove(bpy.data.objects["Head"])
    assert not assert_whole_or_nothing(job, REPLACE)
    assert not bpy.data.images
