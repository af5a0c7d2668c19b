# SPDX-License-Identifier: GPL-3.0-or-later
"""The light of a frame against that of the reference: exposure, white balance, veil, shading and the mains' bands.

A frame's value in the reference's light is gain * value + offset. The gain is smooth over the face and another for each
channel, for lamps have colours. The offset is one number for each channel, and 0 unless values clearly ask for it: a
veil of stray light, a fade to white, another range of levels. Lamps on the mains light the rows of a rolling shutter
unequally; a gain of rows (of columns, where the picture was turned) is there only if all parts of the face ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

_SPREAD = 0.12  # of the face's width, over which the gain is smooth
_PRIOR = 0.1  # weight of the whole face's gain, where little is seen
_LEAST = 0.02  # of the face; where less of it is seen, the light is taken to be the reference's
_GAINS = (0.2, 5.0)  # of a channel, least and most
_DARKEST = 0.02  # of white, which keeps ratios of black from meaning anything
_QUANTILES = (0.1, 0.5, 0.9)  # of the face's values: its darks, its middle, its lights
_CLEARLY = 0.75  # of the deviation, that what an offset or bands leave of it is to stay below
_BANDS = 0.5  # of the logarithm, that a row's light is away from the others' at most
_LEAST_ROW = 4  # px of the face; a row with fewer has the light of those beside it
_NOISE_SIGMA = 1.5  # px
_VISIBLE_BANDS = 0.005  # mean deviation of the logarithm, from which on bands are looked for
_PARTS = 3  # of the face from top to bottom: a lamp's bands go over all of them, what hides a mouth does not


@dataclass(frozen=True)
class Light:
    """What brings a frame to the reference's light: gain * value + offset, [H, W, 3] and [3]."""

    gain: Image
    offset: NDArray[np.float64]

    def on(self, image: Image) -> Image:
        """Return an image [H, W, 3] in the reference's light."""
        return np.asarray(image * self.gain + self.gain * self.offset.astype(np.float32), np.float32)

    @property
    def added(self) -> Image:
        """What is added to a value, [H, W, 3]."""
        return np.asarray(self.gain * self.offset.astype(np.float32), np.float32)

    def differs(self, where: Mask, by: float) -> bool:
        """Return whether the light there is another one by more than a share `by`."""
        return bool(self.offset.any() or np.abs(np.log(self.gain[where])).max(initial=0.0) > np.log1p(by))


def light_between(frame: Image, reference: Image, valid: Mask, face: Mask, width: float) -> Light:
    """Return what brings a frame to the light of the reference, both [H, W, 3].

    valid: [H, W], where both show the same skin; of it only what is on the `face` [H, W], `width` px wide, counts.
    """
    inside = valid & face
    if not inside.any() or inside.sum() < _LEAST * face.sum():
        return Light(np.ones_like(frame), np.zeros(3))
    offset = _offset(frame[inside], reference[inside])
    lit, sigma = frame + offset.astype(np.float32), _SPREAD * width
    bands = _bands(lit, reference, inside, sigma)
    return Light(bands * _smooth_gain(lit * bands, reference, inside, sigma), offset)


def without_bands(frame: Image, reference: Image, face: Mask, width: float) -> Image:
    """Return a frame [H, W, C] with the bands taken out that it has and the reference has not."""
    return np.asarray(frame * _bands(frame, reference, face, _SPREAD * width), np.float32)


def _offset(here: Image, there: Image) -> NDArray[np.float64]:
    """Return what is added to a frame's values [N, 3], before the gain, to be the reference's; 0 unless it is clear."""
    low, middle, high = _quantiles(here)
    low_there, middle_there, high_there = _quantiles(there)
    gain = (middle_there + _DARKEST) / (middle + _DARKEST)
    slope = np.maximum(high_there - low_there, 1e-3) / np.maximum(high - low, 1e-3)
    offset = middle_there / slope - middle
    plain = np.abs(here * gain - there).mean()
    shifted = np.abs((here + offset) * slope - there).mean()
    within = (slope > _GAINS[0]).all() and (slope < _GAINS[1]).all()
    clear = bool(within) and shifted < _CLEARLY * plain
    return np.asarray(offset if clear else np.zeros(3), np.float64)


def _quantiles(values: Image) -> tuple[NDArray[np.float64], ...]:
    """Return the darks, the middle and the lights [3] of values [N, 3]."""
    return tuple(np.asarray(np.quantile(values, share, axis=0), np.float64) for share in _QUANTILES)


def _smooth_gain(frame: Image, reference: Image, inside: Mask, sigma: float) -> Image:
    """Return the gain [H, W, 3] of each channel, smooth over `sigma` px."""
    weight = inside.astype(np.float32)[..., None]
    here: Image = frame[inside]
    there: Image = reference[inside]
    whole = np.median(there + _DARKEST, 0) / np.maximum(np.median(here + _DARKEST, 0), 1e-4)
    level: NDArray[np.float32] = np.abs(here.mean(axis=0))
    wanted = cv2.GaussianBlur(weight * reference, (0, 0), sigma) + _PRIOR * whole * level
    found = cv2.GaussianBlur(weight * frame, (0, 0), sigma) + _PRIOR * level
    return np.asarray(wanted / np.maximum(found, 1e-4), np.float32).clip(*_GAINS)


def _bands(frame: Image, reference: Image, inside: Mask, sigma: float) -> Image:
    """Return the gain of rows [H, 1, 1] or of columns [1, W, 1], 1 where a smooth gain explains the light as well."""
    left = _deviation(frame * _smooth_gain(frame, reference, inside, sigma), reference, inside)
    if left[inside].mean() > _VISIBLE_BANDS:
        for axis in (1, 0):
            bands = _profile(frame, reference, inside, axis)
            lit = frame * bands
            lit = lit * _smooth_gain(lit, reference, inside, sigma)
            if _clearly_less(_deviation(lit, reference, inside), left, inside):
                return bands
    return np.ones((1, 1, 1), np.float32)


def _profile(frame: Image, reference: Image, inside: Mask, axis: int) -> Image:
    """Return the gain of rows [H, 1, 1] (axis 1) or of columns [1, W, 1] (axis 0), against the face's median."""
    logs = _logs(frame, reference)
    away = np.where(inside, (logs - np.median(logs[inside])).clip(-_BANDS, _BANDS), 0.0)
    count = inside.sum(axis)
    known = np.flatnonzero(count >= _LEAST_ROW)
    if not len(known):
        return np.ones((1, 1, 1), np.float32)
    profile = np.interp(np.arange(len(count)), known, away.sum(axis)[known] / count[known])
    return np.asarray(np.exp(np.expand_dims(profile, axis))[..., None], np.float32)


def _deviation(frame: Image, reference: Image, inside: Mask) -> NDArray[np.floating]:
    """Return how far a frame's light is from the reference's [H, W], as a logarithm; without the pixels' noise."""
    weight = inside.astype(np.float32)
    logs = cv2.GaussianBlur(weight * _logs(frame, reference).clip(-_BANDS, _BANDS), (0, 0), _NOISE_SIGMA)
    return np.asarray(np.abs(logs) / np.maximum(cv2.GaussianBlur(weight, (0, 0), _NOISE_SIGMA), 1e-3))


def _clearly_less(after: NDArray[np.floating], before: NDArray[np.floating], inside: Mask) -> bool:
    """Return whether deviations are clearly less in all parts of the face."""
    parts = np.array_split(np.flatnonzero(inside.any(1)), _PARTS)
    means = [[each[part][inside[part]].mean() for part in parts] for each in (after, before)]
    return all(less < _CLEARLY * more for less, more in zip(*means, strict=True))


def _logs(frame: Image, reference: Image) -> Image:
    return np.asarray(np.log((_grey(reference) + _DARKEST) / np.maximum(_grey(frame) + _DARKEST, 1e-4)), np.float32)


def _grey(image: Image) -> Image:
    return np.asarray(image.mean(2), np.float32)
