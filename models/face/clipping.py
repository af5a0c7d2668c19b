# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels that clip in a brighter frame, restored from those that don't.

Skin clips in red first, while green and blue still show it. In the logarithm, what a channel shows is the reference,
plus the light's gain, plus a multiple of what the others show beyond their gain: spots are paler in red than in blue.
The multiple is the slope of the reference's own detail in one over that in the others, by least squares around a place.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from .footage import CLIPPED
from .masks import Mask

Image = NDArray[np.float32]  # [C, H, W]
Plane = NDArray[np.float32]  # [H, W]

_LEAST = 0.005  # of the face: less is a highlight
_SPREAD = 0.06  # of the face's width, over which gains and slopes are smooth
_DARKEST = 0.02  # of white, which keeps ratios of black from meaning anything
_NOISE_SIGMA = 1.0  # px
_FEW = 1e-3  # of the places around; with fewer the gain is that of the reference
_LEAST_DETAIL = 1e-5  # variance of the logarithm; skin has ten times that and more


def unclipped(frame: Image, reference: Image, face: Mask, width: float) -> tuple[Image, Mask]:
    """Return a frame [3, H, W] with what clips as bright as it would be, above 1, and where it is lost, [H, W].

    Channels that clip in the reference, too, are left. Where no channel is sound in both, only the light is known, so
    that it is lost. If little of the face [H, W] clips, which is `width` px wide, that is not restored, but lost.

    >>> y, x = np.mgrid[:64, :64].astype(np.float32)
    >>> spots = 0.1 * np.sin(x / 3) * np.sin(y / 4)
    >>> skin = np.stack([0.7 + 0.5 * spots, 0.5 + spots, 0.4 + spots])  # in red spots are pale
    >>> found, lost = unclipped((1.6 * skin).clip(0, 1), skin, skin[0] > 0, 50.0)
    >>> float(np.abs(found - 1.6 * skin).max()) < 0.02, bool(lost.any())
    (True, False)
    """
    if frame.max() < CLIPPED:  # nearly always
        return frame, np.zeros(frame.shape[1:], np.bool_)
    clips = (frame >= CLIPPED) & (reference < CLIPPED)
    lost: Mask = np.asarray(clips.any(0))
    if np.count_nonzero(lost & face) <= _LEAST * np.count_nonzero(face):
        return frame, lost
    sound = (frame < CLIPPED) & (reference < CLIPPED)
    smooth = _smoothing(_SPREAD * width)
    there = np.log(reference + _DARKEST)
    ratio = np.log(frame + _DARKEST) - there
    fine = [cv2.GaussianBlur(plane, (0, 0), _NOISE_SIGMA) for plane in there]
    detail = np.stack([plane - smooth(plane) for plane in fine])
    whole = sound.all(0) & face
    colour = np.median(ratio[:, whole], axis=1) if whole.any() else np.zeros(len(frame), np.float32)
    result = frame.copy()
    for pattern in product((True, False), repeat=len(frame)):
        kept, others = np.flatnonzero(pattern), np.flatnonzero(np.logical_not(pattern))
        where = clips & (sound == np.array(pattern)[:, None, None]).all(0)
        if not where.any():
            continue
        kept = kept if len(kept) else others
        known = np.asarray(sound[kept].all(0), np.float32)
        change, shown = ratio[kept].mean(0), detail[kept].mean(0)
        gain = smooth(known * change) / np.maximum(smooth(known), _FEW)
        power = smooth(known * shown**2) + _LEAST_DETAIL
        for channel in others:
            slope = smooth(known * detail[channel] * shown) / power
            log = there[channel] + gain + colour[channel] - colour[kept].mean() + slope * known * (change - gain)
            here = where[channel]
            result[channel][here] = np.maximum(np.exp(log[here]) - _DARKEST, frame[channel][here])
    return result, np.asarray(~sound.any(0))


def _smoothing(sigma: float) -> Callable[[Plane], Plane]:
    """Return what blurs a plane [H, W] by a Gaussian of so many px, at a resolution that is fine enough for it."""
    step = max(1, int(sigma / 2))

    def smooth(plane: Plane) -> Plane:
        height, width = plane.shape
        size = max(1, width // step), max(1, height // step)
        small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / step), (width, height)), np.float32)

    return smooth
