# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the keyed character at the clip's own times, through its own camera (Python with bpy)."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkout"))

from magplus.backend_bridge.job.folder import JobFolder
from magplus.demo.own_blender import own_blender


def main() -> None:
    """Render one picture for every frame of the clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, required=True, help="the keyed .blend")
    parser.add_argument("--job", type=Path, required=True, help="the finished job folder, which has the times")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--start-frame", type=int, default=1, help="scene frame of the clip's first frame")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these frames of the clip, counted from 1")
    parser.add_argument("--strength", type=float, help="of the bake; needs --resources")
    parser.add_argument("--resources", type=Path, help="Blender settings that have the extension, as of command.py")
    options = parser.parse_args()

    with nullcontext() if options.resources is None else own_blender(options.resources):
        render(options)


def render(options: argparse.Namespace) -> None:
    """Render what the options ask for, in the Blender that is there."""
    import bpy

    bpy.ops.wm.open_mainfile(filepath=str(options.file.resolve()))
    scene = bpy.context.scene
    if options.strength is not None:
        for bake in scene.magplus.bakes:
            bake.strength = options.strength
    scene.cycles.samples = options.samples
    rate = scene.render.fps / scene.render.fps_base
    timing = JobFolder.open(options.job).read_report().timing
    assert timing is not None, "not a finished job"
    seconds = [float(second) for second in timing.seconds]
    wanted = options.only or range(1, len(seconds) + 1)
    for done, number in enumerate(wanted, 1):
        frame = options.start_frame + seconds[number - 1] * rate
        scene.frame_set(int(frame), subframe=frame % 1)
        scene.render.filepath = str((options.out / f"{number:06d}.png").resolve())
        bpy.ops.render.render(write_still=True)
        print(f"demo: rendered {done}/{len(wanted)}", flush=True)


if __name__ == "__main__":
    main()
