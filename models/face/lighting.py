# SPDX-License-Identifier: GPL-3.0-or-later
"""The light of a frame against that of the reference: exposure, white balance, veil, shading and the mains' bands.

A frame's value in the reference's light is gain * value + offset. The gain is smooth over the face and another for each
channel, for lamps have colours. The offset is one number for each channel, and 0 unless values clearly ask for it: a
veil of stray light, a fade to white, another range of levels. Lamps on the mains light the rows of a rolling shutter
unequally; a gain of rows (of columns, where the picture was turned) is there only if all parts of the face ask for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

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


class ReferenceLight:
    """The light of a reference [H, W, C], with which that of other frames is compared.

    face: [H, W], of it only this counts; it is `width` px wide.
    """

    def __init__(self, reference: Image, face: Mask, width: float) -> None:
        self._reference = reference
        self._face = face
        self._least = _LEAST * face.sum()
        self._sigma = _SPREAD * width
        self._last: _Comparison | None = None

    def between(self, frame: Image, valid: Mask) -> Light:
        """Return what brings a frame to the light of the reference; valid: [H, W], where both show the same skin."""
        inside = valid & self._face
        if not inside.any() or inside.sum() < self._least:
            return Light(np.ones_like(frame), np.zeros(3))
        comparison = self._comparison(inside)
        offset = comparison.offset(frame)
        bands, gain = comparison.bands_and_gain(frame + offset.astype(np.float32), comparison.smooth_gain)
        return Light(bands * gain, offset)

    def without_bands(self, frame: Image) -> Image:
        """Return a frame [H, W, C] with the bands taken out that it has and the reference has not.

        Shading is left in it, so that bands are there as far as one gain of the whole face leaves them.
        """
        comparison = self._comparison(self._face)
        bands, _ = comparison.bands_and_gain(frame, comparison.whole_gain)
        return np.asarray(frame * bands, np.float32)

    def _comparison(self, inside: Mask) -> _Comparison:
        """Return the comparison within a mask, which is that of the frame before for as long as nothing is hidden."""
        last = self._last
        if last is None or not np.array_equal(last.inside, inside):
            last = self._last = _Comparison(self._reference, inside, self._sigma)
        return last


class _Comparison:
    """Compares frames with a reference [H, W, C] `inside` [H, W], with a gain that is smooth over `sigma` px.

    A lamp's bands are looked for in rows, then in columns.
    """

    def __init__(self, reference: Image, inside: Mask, sigma: float) -> None:
        self._reference = reference
        self.inside = inside
        self._sigma = sigma
        self._places = np.flatnonzero(inside)
        self._weight = inside.astype(np.float32)
        self._soft = np.maximum(cv2.GaussianBlur(self._weight, (0, 0), _NOISE_SIGMA), 1e-3)
        self._grey = _grey(reference)
        self._there = self._values(reference)
        self._ordered = np.sort(self._there)
        self._middle = _quantile(self._ordered, 0.5)

    def _values(self, image: Image) -> Image:
        """Return an image's values [C, N] inside: sorting planes takes a fraction of sorting along channels."""
        return np.ascontiguousarray(image.reshape(-1, image.shape[2])[self._places].T)

    def offset(self, frame: Image) -> NDArray[np.float64]:
        """Return what is added to a frame's values, before the gain, to be the reference's [3]; 0 unless clear."""
        here, there = self._values(frame), self._there
        low, middle, high = _darks_to_lights(np.sort(here))
        low_there, middle_there, high_there = _darks_to_lights(self._ordered)
        gain = (middle_there + _DARKEST) / (middle + _DARKEST)
        slope = np.maximum(high_there - low_there, 1e-3) / np.maximum(high - low, 1e-3)
        offset = middle_there / slope - middle
        plain = np.abs(here * _column(gain) - there)
        shifted = np.abs((here + _column(offset)) * _column(slope) - there)
        within = (slope > _GAINS[0]).all() and (slope < _GAINS[1]).all()
        clear = bool(within) and shifted.mean() < _CLEARLY * plain.mean()
        if clear:  # dark glasses alone make the mean less, at the price of all the skin
            clear = bool(np.median(shifted) < _CLEARLY * np.median(plain))
        return np.asarray(offset if clear else np.zeros(3), np.float64)

    def bands_and_gain(self, frame: Image, gain_of: Callable[[Image], Image]) -> tuple[Image, Image]:
        """Return the gain of rows [H, 1, 1] or of columns [1, W, 1], and the other one that is left, by `gain_of`.

        The first is 1 where the other one alone explains the light as well.
        """
        plain = gain_of(frame)
        left = self._deviation(frame * plain)
        if left[self.inside].mean() > _VISIBLE_BANDS:
            for axis in (1, 0):
                bands = self._profile(frame, axis)
                lit = frame * bands
                gain = gain_of(lit)
                if _clearly_less(self._deviation(lit * gain), left, self.inside):
                    return bands, gain
        return np.ones((1, 1, 1), np.float32), plain

    def smooth_gain(self, frame: Image) -> Image:
        """Return the gain [H, W, C] of each channel, smooth over `sigma` px."""
        here = self._values(frame)
        level: NDArray[np.float32] = np.abs(here.mean(axis=1))
        wanted = self._blurred + _PRIOR * self._gain(here) * level
        found = self._smooth(frame) + _PRIOR * level
        return np.asarray(wanted / np.maximum(found, 1e-4), np.float32).clip(*_GAINS)

    def whole_gain(self, frame: Image) -> Image:
        """Return the gain [C] of each channel, one for the whole face."""
        return self._gain(self._values(frame))

    def _gain(self, here: Image) -> Image:
        """Return the gain [C] of values [C, N] inside, that of their medians."""
        middle = _quantile(np.sort(here), 0.5)
        return np.asarray((self._middle + _DARKEST) / np.maximum(middle + _DARKEST, 1e-4), np.float32)

    @cached_property
    def _blurred(self) -> Image:
        return self._smooth(self._reference)

    def _smooth(self, image: Image) -> Image:
        blurred = cv2.GaussianBlur(self._weight[..., None] * image, (0, 0), self._sigma)
        return np.asarray(blurred, np.float32).reshape(image.shape)  # OpenCV drops a single channel

    def _profile(self, frame: Image, axis: int) -> Image:
        """Return the gain of rows [H, 1, 1] (axis 1) or of columns [1, W, 1] (axis 0), against the face's median."""
        logs = self._logs(frame)
        away = np.where(self.inside, (logs - np.median(logs[self.inside])).clip(-_BANDS, _BANDS), 0.0)
        count = self.inside.sum(axis)
        known = np.flatnonzero(count >= _LEAST_ROW)
        if not len(known):
            return np.ones((1, 1, 1), np.float32)
        profile = np.interp(np.arange(len(count)), known, away.sum(axis)[known] / count[known])
        return np.asarray(np.exp(np.expand_dims(profile, axis))[..., None], np.float32)

    def _deviation(self, frame: Image) -> NDArray[np.floating]:
        """Return how far a frame's light is from the reference's [H, W], a logarithm; without the pixels' noise."""
        logs = cv2.GaussianBlur(self._weight * self._logs(frame).clip(-_BANDS, _BANDS), (0, 0), _NOISE_SIGMA)
        return np.asarray(np.abs(logs) / self._soft)

    def _logs(self, frame: Image) -> Image:
        """Return the logarithm of the reference's brightness over a frame's, [H, W]."""
        return np.asarray(np.log((self._grey + _DARKEST) / np.maximum(_grey(frame) + _DARKEST, 1e-4)), np.float32)


def _darks_to_lights(ordered: Image) -> tuple[NDArray[np.float64], ...]:
    """Return the darks, the middle and the lights [C] of values [C, N] in their order."""
    return tuple(_quantile(ordered, share).astype(np.float64) for share in _QUANTILES)


def _quantile(ordered: Image, share: float) -> Image:
    """Return a quantile [C] of values [C, N] in their order, between them linearly."""
    place = share * (ordered.shape[1] - 1)
    below = int(place)
    low, high = ordered[:, below], ordered[:, min(below + 1, ordered.shape[1] - 1)]
    return np.asarray(low + (high - low) * np.float32(place - below))


def _column(values: NDArray[np.float64]) -> Image:
    return values.astype(np.float32)[:, None]


def _clearly_less(after: NDArray[np.floating], before: NDArray[np.floating], inside: Mask) -> bool:
    """Return whether deviations are clearly less in all parts of the face."""
    parts = np.array_split(np.flatnonzero(inside.any(1)), _PARTS)
    means = [[each[part][inside[part]].mean() for part in parts] for each in (after, before)]
    return all(less < _CLEARLY * more for less, more in zip(*means, strict=True))


def _grey(image: Image) -> Image:
    """Return the mean of the channels, [H, W]: their sum in order, which takes a tenth of `mean` over so few."""
    total = image[..., 0]
    for channel in range(1, image.shape[2]):
        total = total + image[..., channel]
    return np.asarray(total / image.shape[2], np.float32)
