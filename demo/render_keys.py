# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the keyed character at the clip's own times, through its own camera (Python with bpy)."""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from pathlib import Path

import bpy


def main() -> None:
    """Render one picture for every frame of the clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, required=True, help="the keyed .blend")
    parser.add_argument("--report", type=Path, required=True, help="report.json, which has the times")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--start-frame", type=int, default=1, help="scene frame of the clip's first frame")
    parser.add_argument("--samples", type=int, default=8)
    options = parser.parse_args()

    bpy.ops.wm.open_mainfile(filepath=str(options.file.resolve()))
    scene = bpy.context.scene
    scene.cycles.samples = options.samples
    rate = scene.render.fps / scene.render.fps_base
    seconds = [float(Fraction(text)) for text in json.loads(options.report.read_text())["timing"]["seconds"]]
    for number, second in enumerate(seconds, 1):
        frame = options.start_frame + second * rate
        scene.frame_set(int(frame), subframe=frame % 1)
        scene.render.filepath = str((options.out / f"{number:06d}.png").resolve())
        bpy.ops.render.render(write_still=True)
        print(f"demo: rendered {number}/{len(seconds)}", flush=True)


if __name__ == "__main__":
    main()
