# SPDX-License-Identifier: GPL-3.0-or-later
"""What an EXR shows, for eyes and for programs that know no EXR: small, its light as a screen shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..video.exr_passes import Exr

SIDE = 512  # px at most
_BEHIND = 0.18  # light behind what is transparent: middle grey
_WHOLE = ("", "combined", "beauty", "rgba", "image")  # what layers with the whole picture are called
_COLOURS = "RGB"


def look_of(exr: Exr) -> NDArray[np.float32] | None:
    """Return the picture as sRGB in [0, 1], [h, w, 3], at most `SIDE` px large; None for one without R, G and B.

    Of several layers that with the whole picture, by its name; else the first one.
    """
    layers = [*_layers(exr)]
    if not layers:
        return None
    _, name, channels = min(layers, key=lambda layer: (layer[0], layer[1].count(".")))
    prefix = f"{name}." if name else ""
    light: NDArray[np.floating] = np.stack([channels[prefix + each].astype(np.float32) for each in _COLOURS], axis=-1)
    if (alpha := channels.get(f"{prefix}A")) is not None:
        light = light + _BEHIND * (1 - alpha.astype(np.float32).clip(0, 1))[..., None]
    light = np.nan_to_num(light, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    share = min(SIDE / max(light.shape[:2]), 1.0)
    size = max(round(light.shape[1] * share), 1), max(round(light.shape[0] * share), 1)
    small = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    return np.where(small <= 0.0031308, 12.92 * small, 1.055 * small ** (1 / 2.4) - 0.055).astype(np.float32)


def _layers(exr: Exr) -> Iterator[tuple[int, str, Mapping[str, NDArray[Any]]]]:
    """Yield the layers with all three colours: how unlike one of the whole picture, name, its part's channels."""
    for part in exr.parts:
        for channel in part.channels:
            name, _, colour = channel.rpartition(".")
            prefix = f"{name}." if name else ""
            if colour == _COLOURS[0] and all(prefix + other in part.channels for other in _COLOURS):
                last = (name or part.name).rpartition(".")[2].lower()
                yield _WHOLE.index(last) if last in _WHOLE else len(_WHOLE), name, part.channels
