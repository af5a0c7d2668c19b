# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the demo's person (worker's Python): geometry, skin and hair for `character.py` to turn into a .blend."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkout"))

from magplus.models.training.heads import BUST_CROP, SKIN_MASKS, HeadModel, Part
from magplus.models.training.skin import SkinPainter, scalp_depth

HAIR = (0.065, 0.058, 0.054)


def make_person(wheel: Path, folder: Path, seed: int, tone: float, size: int = 2048) -> None:
    """Write `head.npz`, `skin.png` and `relief.png` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = HeadModel.from_wheel(wheel, BUST_CROP)
    vertices = model.identity(seed, spread=0.55)
    skin = SkinPainter(model, size).paint(seed, tone, HAIR)
    cv2.imwrite(str(folder / "skin.png"), skin.albedo[..., ::-1])
    cv2.imwrite(str(folder / "relief.png"), np.clip(skin.relief * 32767 + 32768, 0, 65535).astype(np.uint16))
    np.savez_compressed(
        folder / "head.npz",
        vertices=vertices,
        faces=model.faces,
        uv=model.uv[model.uv_faces],
        part=model.part,
        part_names=np.array([part.name for part in Part]),
        unit_names=model.unit_names,
        units=model.units,
        hairline=np.where(model.masks[SKIN_MASKS.index("ears")] > 0.05, -1, scalp_depth(model.mean())).astype(
            np.float32
        ),
        hair=np.array(skin.hair),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--tone", type=float, default=0.45, help="of the skin, from 0, light, to 1, dark")
    options = parser.parse_args()
    make_person(options.wheel, options.folder, options.seed, options.tone)
