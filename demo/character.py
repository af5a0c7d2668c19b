# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn the person of `person.py` into character.blend (Python with bpy): head with 52 shape keys, hair, sweater, light.

python demo/character.py --person FOLDER --out character.blend [--transparent] [--size 640] [--preview picture.png]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkout"))

from magplus.operators.sample.character import build


def main() -> None:
    """Build the character and save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--person", type=Path, required=True, help="folder that person.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="the .blend to write")
    parser.add_argument("--transparent", action="store_true", help="no backdrop, transparent film")
    parser.add_argument("--size", type=int, default=640, help="side of the picture in px")
    parser.add_argument("--samples", type=int, default=12, help="Cycles samples a pixel")
    parser.add_argument("--preview", type=Path, help="also render a picture")
    options = parser.parse_args()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    build(options.person, options.transparent, options.size, options.samples)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(options.out.resolve()), compress=True)
    if options.preview:
        bpy.context.scene.render.filepath = str(options.preview.resolve())
        bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main()
