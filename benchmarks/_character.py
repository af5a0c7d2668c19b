# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's character at another size and with more controls (Python with bpy), for `bench pipeline`."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy
import numpy as np


def main() -> None:
    """Open the character, change it, save it elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 640), help="width and height of the picture, px")
    parser.add_argument("--controls", type=int, default=52, help="so many shape keys")
    options = parser.parse_args()
    bpy.ops.wm.open_mainfile(filepath=str(options.file))
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = options.size
    scene.cycles.samples = 1  # the picture's size is what matters here, not its noise
    for hair in [each for each in bpy.data.objects if each.type == "CURVES"]:
        bpy.data.objects.remove(hair)
    _add_controls(bpy.data.objects["Head"], options.controls)
    bpy.ops.wm.save_as_mainfile(filepath=str(options.out), compress=True)


def _add_controls(head: bpy.types.Object, count: int) -> None:
    """Add shape keys until there are `count`: parts of those that are there, cut out by smooth weights."""
    blocks = list(head.data.shape_keys.key_blocks)
    rest, rng = _points(blocks[0]), np.random.default_rng(0)
    while len(head.data.shape_keys.key_blocks) - 1 < count:
        source = blocks[1 + rng.integers(len(blocks) - 1)]
        offset = _points(source) - rest
        moved = np.linalg.norm(offset, axis=1)
        if moved.max() == 0:
            continue
        centre = rest[rng.choice(np.flatnonzero(moved > moved.max() / 4))]
        near = np.exp(-(np.linalg.norm(rest - centre, axis=1) ** 2) / (2 * 0.015**2))
        key = head.shape_key_add(name=f"part {len(head.data.shape_keys.key_blocks)}", from_mix=False)
        key.value = 0.0
        key.points.foreach_set("co", (rest + offset * near[:, None]).astype(np.float32).ravel())


def _points(block: bpy.types.ShapeKey) -> np.ndarray:
    co = np.empty(len(block.points) * 3, np.float32)
    block.points.foreach_get("co", co)
    return co.reshape(-1, 3)


if __name__ == "__main__":
    main()
