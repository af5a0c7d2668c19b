# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast Blender's side is: `python3 dev.py bench keying [--json FILE]`.

Processor time, the median of several runs. "keying": 52 curves of 300 keys written into a new action, their strength
adjustable. "again": the same over keys that are there already, in their interval only. "measuring": what each of 53
shape keys does to a head of 6000 vertices, through the depsgraph.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from magplus.demo.own_blender import MODULE, own_blender

ROOT = Path(__file__).resolve().parent.parent
RUNS = 5
CURVES, KEYS = 52, 300


def main() -> int:
    """Measure, print a table and leave the figures in a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to leave the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="magplus-bench-") as resources:
        figures = _measured(Path(resources))
    for name, value in figures.items():
        print(f"{name:12} {value if isinstance(value, str) else f'{value * 1000:.1f} ms'}")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.flush()
    os._exit(0)  # Blender 4.x may not survive an orderly end of the interpreter


def _measured(resources: Path) -> dict[str, float | str]:
    """Run everything in a Blender of its own that has the working tree for its extension."""
    with own_blender(resources, source=ROOT):
        import bpy

        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
        return {"blender": bpy.app.version_string, **_keying(), "measuring": _measuring()}


def _keying() -> dict[str, float]:
    import numpy as np

    from magplus.tests.blender.head import make_head

    controls = importlib.import_module(f"{MODULE}.operators.rig.controls")
    strength = importlib.import_module(f"{MODULE}.operators.animation.strength")
    keyframes = importlib.import_module(f"{MODULE}.operators.animation.keyframes")
    key = make_head(keys=tuple(f"key {number}" for number in range(CURVES))).data.shape_keys
    channels = [controls.LiveChannel(key, f'key_blocks["key {number}"].value') for number in range(CURVES)]
    values = np.random.default_rng(0).random((CURVES, KEYS))
    frames = np.arange(KEYS) * 0.5 + 1

    def write() -> None:
        for channel, row in zip(channels, values, strict=True):
            curve = keyframes.write_keys(keyframes.Keys(channel, frames, row))
            strength.make_room(curve, frames[0], frames[-1])
            strength.add_strength(curve, "MagPlus benchmark", 0.0, None)

    def prepare() -> None:
        keyframes.assign_new_action(key, "Keying")

    return {"keying": _seconds(write, prepare), "again": _seconds(write)}


def _measuring() -> float:
    import bpy

    from magplus.tests.blender.head import add_camera, make_head

    rig_basis = importlib.import_module(f"{MODULE}.operators.rig.basis")
    camera = add_camera()
    head = make_head(segments=96, rings=64, keys=tuple(f"key {number}" for number in range(50)))
    return _seconds(lambda: rig_basis.measure_rig_basis(bpy.context, (head,), camera, (640, 480)))


def _seconds(work: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """Return the median processor time of a few runs; `prepare` comes before each and isn't counted."""
    runs = []
    for _ in range(RUNS):
        prepare()
        began = time.process_time()
        work()
        runs.append(time.process_time() - began)
    return statistics.median(runs)


if __name__ == "__main__":
    sys.exit(main())
