# SPDX-License-Identifier: GPL-3.0-or-later
"""The light of a frame against that of the reference: exposure, white balance, veil, shading and the mains' bands.

A frame's value in the reference's light is gain * value + offset. The gain is smooth over the face, but for the edge of
a light that moves over it, and another for each channel, for lamps have colours. The offset is one number for each
channel, and 0 unless values clearly ask for it: a veil of stray light, a fade to white, another range of levels. Lamps
on the mains light the rows of a rolling shutter unequally; a gain of rows (of columns, where the picture was turned) is
there only if all parts of the face ask for it. They are the camera's rows, which are as oblique in a picture of an
upright face as the head is tilted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import Mask, part_of

Image = NDArray[np.float32]  # [C, H, W]
Curve = NDArray[np.float64]  # [4], see `toned`
Profile = tuple[NDArray[np.intp], NDArray[np.float64]]  # [K] lines and [K] logarithms of their gains

_SPREAD = 0.12  # of the face's width, over which the gain is smooth
_PRIOR = 0.1  # weight of the whole face's gain, where little is seen
_LEAST = 0.02  # of the face; where less of it is seen, the light is taken to be the reference's
_GAINS = (0.2, 5.0)  # of a channel, least and most
_DARKEST = 0.02  # of white, which keeps ratios of black from meaning anything
_QUANTILES = (0.1, 0.5, 0.9)  # of the face's values: its darks, its middle, its lights
_CLEARLY = 0.75  # of the deviation, that what an offset or bands leave of it is to stay below
_CURVED = 0.85  # of the deviation, that what a bent tone curve leaves of it is to stay below, in each part nearly all
_SHARES = np.linspace(0.02, 0.98, 25)  # of the face's values in their order, by which tone curves are found
_BENT = 0.001  # of white, rms: what a straight line leaves between them where a bent curve is tried
_LEAST_SLOPE = 0.5  # of the straight line's, that a tone curve has anywhere among them: phones' have 0.7 and more
_BLACK = 0.01  # of white, below which a curve is taken to be straight
_HOPELESS = 0.2  # of the deviation: bands that take away less than that at most, by a first look, aren't clear
_BANDS = 0.5  # of the logarithm, that a row's light is away from the others' at most
_LEAST_ROW = 4  # px of the face; a row with fewer has the light of those beside it
_NOISE_SIGMA = 1.5  # px
_VISIBLE_BANDS = 0.005  # mean deviation of the logarithm, from which on bands are looked for
_MOST_KNOWN = 4  # masks; those of a frame and the first one of the frame before
# Mean deviation of the logarithm, from which on an edge of light is looked for; steps of light leave up to 0.006. It
# grows with the square of a gain: in a fade to black it is 0.002 times that.
# And what another smooth gain is to leave of it at most: in edges 0.3 to 0.8, of expressions, sharper pictures 0.93.
_EDGE, _SHARPER = 0.006, 0.85
_PARTS = 3  # of the face from top to bottom: a lamp's bands go over all of them, what hides a mouth does not


@dataclass(frozen=True)
class Light:
    """What brings a frame to the reference's light: gain * (curve(value) + offset), [C, H, W] and [C].

    curve: see `toned`; None where it is straight.
    """

    gain: Image
    offset: NDArray[np.float32]
    curve: Curve | None = None

    def on(self, image: Image) -> Image:
        """Return an image [C, H, W] in the reference's light."""
        return (toned(image, self.curve) + _planes(self.offset)) * self.gain

    def differs(self, where: Mask, by: float) -> bool:
        """Return whether the light there is another one by more than a share `by`."""
        gain = self.gain[:, where]
        shaped = self.curve is not None or bool(self.offset.any())
        return shaped or bool(gain.max(initial=1.0) > 1 + by or gain.min(initial=1.0) < 1 / (1 + by))


class ReferenceLight:
    """The light of a reference [C, H, W], with which that of other frames is compared.

    face: [H, W], of it only this counts; it is `width` px wide. tilt: rad, by which the camera's rows are turned.
    """

    def __init__(self, reference: Image, face: Mask, width: float, tilt: float = 0.0) -> None:
        self._reference = reference
        self._face = face
        self._least = _LEAST * face.sum()
        self._blurs = [_blur(side, _SPREAD * width) for side in face.shape]
        self._lines = _lines(face.shape, tilt)
        self._known: deque[_Comparison] = deque(maxlen=_MOST_KNOWN)

    def between(self, frame: Image, valid: Mask) -> Light:
        """Return what brings a frame to the light of the reference; valid: [H, W], where both show the same skin."""
        inside = valid & self._face
        if not inside.any() or inside.sum() < self._least:
            return Light(np.ones_like(frame), np.zeros(len(frame), np.float32))
        comparison = self._comparison(inside)
        face = comparison.part(frame)
        ordered = comparison.ordered(face)
        offset = comparison.offset(face, ordered)
        middle = _quantile(ordered + offset[:, None], 0.5)
        plain, left = comparison.light(face, offset, None, middle)
        # The edge of a light that is halfway over the face bends the curve, too, but is evened out better by a gain.
        curve = comparison.curve(face, ordered, left)
        return plain if curve is None else comparison.light(face, np.zeros_like(offset), curve)[0]

    def without_bands(self, frame: Image) -> Image:
        """Return a frame [C, H, W] with the bands taken out that it has and the reference has not.

        Shading is left in it, so that bands are there as far as one gain of the whole face leaves them.
        """
        comparison = self._comparison(self._face)
        face = comparison.part(frame)
        left = comparison.deviation(face * comparison.whole_gain(face))
        bands = comparison.bands(face, left, comparison.whole_gain)
        return frame if bands is None else frame * bands

    def _comparison(self, inside: Mask) -> _Comparison:
        """Return the comparison within a mask: one of the last few, as most frames begin with the same."""
        for known in self._known:
            if np.array_equal(known.inside, inside):
                return known
        found = _Comparison(self._reference, inside, self._blurs, self._lines)
        self._known.append(found)
        return found


class _Comparison:
    """Compares frames with a reference [C, H, W] `inside` [H, W], in the part of them that holds it, [C, h, w].

    blurs: [H, H] and [W, W], what makes a gain smooth down and across (`_blur`). lines: of the camera (`_lines`): a
    lamp's bands are looked for in its rows, then in its columns.
    """

    def __init__(self, reference: Image, inside: Mask, blurs: Sequence[Image], lines: Sequence[Image]) -> None:
        self.inside = inside
        self._box = rows, columns = part_of(inside)
        within = inside[rows, columns]
        self._within = within
        self._reference = self.part(reference)
        self._places = np.flatnonzero(within)
        parts = np.array_split(np.flatnonzero(within.any(1)), _PARTS)
        self._starts = [part[0] for part in parts if len(part)]  # the parts' first rows
        self._weight = within.astype(np.float32)
        self._sharp = self._weight / np.maximum(_without_noise(self._weight), 1e-3)
        self._grey = self._reference.mean(0)
        self._there = self._values(self._reference)
        self._ordered = np.sort(self._there)
        self._levels = _levels(self._ordered)
        self._quantiles = _darks_to_lights(self._ordered)
        self._middle = _quantile(self._ordered, 0.5)
        self._down, self._across = blurs[0][:, rows], blurs[1][:, columns]
        self._near = self._down[rows], self._across[columns]
        self._lines = lines
        self._line = [np.rint(each[self._box].ravel()[self._places]).astype(np.intp) for each in lines]  # [N]
        self._part = np.searchsorted(self._starts, self._places // within.shape[1], "right") - 1  # [N]

    def part(self, image: Image) -> Image:
        """Return the part of an image [C, H, W], or of what is the same in its rows or columns."""
        rows, columns = self._box
        if image.shape[1:] != self.inside.shape:
            image = np.broadcast_to(image, (len(image), *self.inside.shape))
        return np.ascontiguousarray(image[:, rows, columns])

    def ordered(self, face: Image) -> Image:
        """Return the values [C, N] inside in their order."""
        return np.sort(self._values(face))

    def offset(self, face: Image, ordered: Image) -> NDArray[np.float32]:
        """Return what is added to a frame's values, before the gain, to be the reference's [C]; 0 unless clear."""
        here, there = self._values(face), self._there
        low, middle, high = _darks_to_lights(ordered)
        low_there, middle_there, high_there = self._quantiles
        gain = (middle_there + _DARKEST) / (middle + _DARKEST)
        slope = np.maximum(high_there - low_there, 1e-3) / np.maximum(high - low, 1e-3)
        offset = middle_there / slope - middle
        plain = np.abs(here * _column(gain) - there)
        shifted = np.abs((here + _column(offset)) * _column(slope) - there)
        within = (slope > _GAINS[0]).all() and (slope < _GAINS[1]).all()
        clear = bool(within) and shifted.mean() < _CLEARLY * plain.mean()
        if clear:  # dark glasses alone make the mean less, at the price of all the skin
            clear = bool(np.median(shifted) < _CLEARLY * np.median(plain))
        if clear:  # an edge of light that moves over the face changes its darks and lights, too
            pictures = face + _planes(offset), face
            with_it, without = (np.abs(self.deviation(each * self.smooth_gain(each))).sum() for each in pictures)
            clear = bool(with_it < _CLEARLY * without)
        return np.asarray(offset if clear else np.zeros(len(face)), np.float32)

    def curve(self, face: Image, ordered: Image, left: Image) -> Curve | None:
        """Return the tone curve that brings a frame to the reference's contrast; None unless it is clearly bent.

        Both pictures show the same skin, so that their values in order are those of the same places, moved or not.
        ordered: of the face. left: [h, w], the deviation that the light without a curve leaves.
        """
        found = _curve_between(_levels(ordered), self._levels)
        if found is None:
            return None
        bent = toned(face, found)
        with_it, without = map(self._in_parts, (self.deviation(bent * self.smooth_gain(bent)), left))
        clear = with_it.sum() < _CURVED * without.sum() and (with_it < without).all()
        return found if clear else None

    def bands(self, face: Image, left: Image, gain_of: Callable[[Image], Image]) -> Image | None:
        """Return the gain of the camera's rows or columns, [1, H, W].

        None where the gain of the face by `gain_of` alone, which has `left` this deviation, explains the light as well.
        """
        before = self._in_parts(left)
        if before.sum() > _VISIBLE_BANDS * len(self._places):
            for lines, line in zip(self._lines, self._line, strict=True):
                if (self._most_taken(left, line) < _HOPELESS * before).any():
                    continue  # nearly always
                profile = self._profile(face, line)
                lit = face * _spread(profile, lines[self._box])
                if (self._in_parts(self.deviation(lit * gain_of(lit))) < _CLEARLY * before).all():
                    return _spread(profile, lines)
        return None

    def light(
        self, face: Image, offset: NDArray[np.float32], curve: Curve | None, middle: Image | None = None
    ) -> tuple[Light, Image]:
        """Return the light with an offset or a tone curve, and the deviation [h, w] that it leaves.

        middle: [C], the medians of the face with either, where they are known.
        """
        face = toned(face, curve) + _planes(offset)
        gain, left = self._lit(face, self.smooth_gain_everywhere(face, middle))
        bands = self.bands(face, left, self.smooth_gain)
        if bands is not None:
            gain, left = self._lit(face, bands * self.smooth_gain_everywhere(face * self.part(bands)))
        # A smooth gain is too coarse at the edge of a light or a shadow. What it leaves has a smooth gain of its own,
        # and so on, as long as each clearly leaves less than the one before: of an expression it leaves nearly all.
        amplified = max(1.0, float(self.part(gain).mean()))  # noise and steps of codes in a dark frame
        while (size := np.abs(left).sum()) > _EDGE * amplified**2 * len(self._places):
            lit = face * self.part(gain)
            sharper = self.deviation(lit * self.smooth_gain(lit))
            if np.abs(sharper).sum() > _SHARPER * size:
                break  # nearly always
            gain, left = gain * self.smooth_gain_everywhere(lit), sharper
        return Light(gain, offset, curve), left

    def _lit(self, face: Image, gain: Image) -> tuple[Image, Image]:
        """Return a gain [C, H, W] of the whole frame with the deviation [h, w] that it leaves."""
        return gain, self.deviation(face * self.part(gain))

    def smooth_gain(self, face: Image) -> Image:
        """Return the gain [C, h, w] of each channel, smooth over `_SPREAD` of the face."""
        return self._smooth_gain(face, self._blurred_near, *self._near)

    def smooth_gain_everywhere(self, face: Image, middle: Image | None = None) -> Image:
        """Return the same for the whole frame, [C, H, W]; middle: see `light`."""
        return self._smooth_gain(face, self._blurred, self._down, self._across, middle)

    def _smooth_gain(
        self, face: Image, blurred: Image, down: Image, across: Image, middle: Image | None = None
    ) -> Image:
        here = self._values(face)
        level = np.abs(here.mean(axis=1))
        wanted = blurred + _planes(_PRIOR * self._gain(medians(here) if middle is None else middle) * level)
        found = down @ (self._weight * face) @ across.T
        found += _planes(_PRIOR * level)
        np.divide(wanted, np.maximum(found, 1e-4, out=found), out=wanted)
        return np.clip(wanted, *_GAINS, out=wanted)

    def whole_gain(self, face: Image) -> Image:
        """Return the gain [C, 1, 1] of each channel, one for the whole face."""
        return _planes(self._gain(medians(self._values(face))))

    def _gain(self, middle: Image) -> Image:
        """Return the gain [C] of the face whose values have these medians [C]."""
        return np.asarray((self._middle + _DARKEST) / np.maximum(middle + _DARKEST, 1e-4), np.float32)

    @cached_property
    def _blurred(self) -> Image:
        return self._down @ (self._weight * self._reference) @ self._across.T

    @cached_property
    def _blurred_near(self) -> Image:
        rows, columns = self._box
        return np.ascontiguousarray(self._blurred[:, rows, columns])

    def _values(self, face: Image) -> Image:
        """Return the values [C, N] inside."""
        return face.reshape(len(face), -1).take(self._places, axis=1)

    def _profile(self, face: Image, line: NDArray[np.intp]) -> Profile:
        """Return the gain of the lines of the camera, beside that of the face as a whole.

        It is what a line's brightness adds up to in both pictures: means of logarithms would tell less than there is of
        dark skin, and more of features that have moved across a line. line: [N], of the values.
        """
        known = np.flatnonzero(np.bincount(line) >= _LEAST_ROW)
        if not len(known):
            return known, np.zeros(0)
        here, there = (each.ravel()[self._places].astype(np.float64) for each in (face.mean(0), self._grey))
        sums = (np.maximum(np.bincount(line, each)[known], 1e-4) / max(each.sum(), 1e-4) for each in (there, here))
        return known, np.log(np.divide(*sums)).clip(-_BANDS, _BANDS)

    def deviation(self, face: Image) -> Image:
        """Return how far the light is from the reference's, [h, w], a logarithm, 0 outside; without pixels' noise."""
        return self._sharp * _without_noise(self._weight * self._logs(face).clip(-_BANDS, _BANDS))

    def _most_taken(self, left: Image, line: NDArray[np.intp]) -> Image:
        """Return by how much bands of lines [N] lower the sizes of what is left, in each part.

        At most: of a line that is shifted as a whole, all that has one sign falls, and what has the other rises.
        """
        values = left.ravel()[self._places]
        count = np.bincount(line)
        shift = np.abs(np.bincount(line, values)) / np.maximum(count, 1)
        size = len(self._starts) * len(count)
        signs = np.bincount(self._part * len(count) + line, np.sign(values), size).reshape(-1, len(count))
        return np.asarray(np.abs(signs) @ shift)

    def _in_parts(self, field: Image) -> Image:
        """Return the sums of a field's sizes [h, w] in the parts of the face."""
        return np.asarray(np.add.reduceat(np.abs(field).sum(1), self._starts))

    def _logs(self, face: Image) -> Image:
        """Return the logarithm of the reference's brightness over a frame's, [h, w]."""
        return np.log((self._grey + _DARKEST) / np.maximum(face.mean(0) + _DARKEST, 1e-4))


def toned(image: Image, curve: Curve | None) -> Image:
    """Return an image [C, H, W] by a tone curve a + b v + c v^2 + d v log v of (a, b, c, d); as it is for None.

    v log v is what v changes by with an exponent, and bends darks as v^2 bends lights: the two make a gamma, an S and
    the curves of night modes.

    >>> toned(np.array([[[0.2, 0.5]]], np.float32), np.array([0.1, 1.0, 0.4, 0.0])).round(3)
    array([[[0.316, 0.7  ]]], dtype=float32)
    """
    if curve is None:
        return image
    start, line, square, power = curve.astype(np.float32)
    logs = np.log(np.maximum(image, np.float32(_BLACK)))
    return np.asarray(start + image * (line + square * image + power * logs), np.float32)


def _levels(ordered: Image) -> NDArray[np.float64]:
    """Return values [C, N] in their order at `_SHARES`, all channels' together."""
    places = np.rint(_SHARES * (ordered.shape[1] - 1)).astype(np.intp)
    return ordered[:, places].astype(np.float64).ravel()


def _curve_between(here: NDArray[np.float64], there: NDArray[np.float64]) -> Curve | None:
    """Return the tone curve from levels to levels, None where a straight line will do or no curve rises everywhere."""
    x, y = here - here.mean(), there - there.mean()
    line = float(x @ y) / max(float(x @ x), 1e-9)
    if np.sqrt(np.mean((y - line * x) ** 2)) < _BENT:
        return None
    logs = np.log(np.maximum(here, _BLACK))
    terms = np.stack([np.ones_like(here), here, here**2, here * logs])
    found = np.linalg.solve(terms @ terms.T + 1e-9 * np.eye(4), terms @ there)
    slope = found[1] + 2 * found[2] * here + found[3] * (logs + 1)
    return np.asarray(found) if slope.min() > _LEAST_SLOPE * line > 0 else None


def _lines(shape: tuple[int, ...], tilt: float) -> tuple[Image, Image]:
    """Return in which row and in which column of the camera, from 0, each place [H, W] lies, tilted by an angle."""
    y, x = np.indices(shape, np.float32)
    across = y * np.cos(tilt) - x * np.sin(tilt), x * np.cos(tilt) + y * np.sin(tilt)
    rows, columns = (np.asarray(each - each.min(), np.float32) for each in across)
    return rows, columns


def _spread(profile: Profile, lines: Image) -> Image:
    """Return the gain of lines at places [h, w] that lie at `lines`, [1, h, w], between known ones linearly."""
    logs = np.interp(lines, *profile) if len(profile[0]) else np.zeros(lines.shape)
    return np.asarray(np.exp(logs)[None], np.float32)


def _without_noise(field: Image) -> Image:
    """Return a field [h, w], beyond which there is 0, without the pixels' noise."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), _NOISE_SIGMA, borderType=cv2.BORDER_CONSTANT), np.float32)


def _blur(side: int, sigma: float) -> Image:
    """Return the matrix [side, side] that blurs columns by a Gaussian: few pixels times matrices are fastest."""
    return np.asarray(cv2.GaussianBlur(np.eye(side, dtype=np.float32), (1, 0), 1, sigmaY=sigma), np.float32)


def _darks_to_lights(ordered: Image) -> tuple[NDArray[np.float64], ...]:
    """Return the darks, the middle and the lights [C] of values [C, N] in their order."""
    return tuple(_quantile(ordered, share).astype(np.float64) for share in _QUANTILES)


def _quantile(ordered: Image, share: float) -> Image:
    """Return a quantile [C] of values [C, N] in their order, between them linearly."""
    place = share * (ordered.shape[1] - 1)
    below = int(place)
    low, high = ordered[:, below], ordered[:, min(below + 1, ordered.shape[1] - 1)]
    return np.asarray(low + (high - low) * np.float32(place - below))


def medians(values: Image) -> Image:
    """Return the medians [C] of values [C, N], looking for one number each, which takes less time than for two.

    >>> medians(np.array([[5, 1, 2, 4], [0, 0, 1, 9]], np.float32))
    array([3. , 0.5], dtype=float32)
    """
    upper = values.shape[1] // 2
    parted = np.partition(values, upper)
    low, high = parted[:, :upper].max(1) if values.shape[1] % 2 == 0 else parted[:, upper], parted[:, upper]
    return np.asarray(low + (high - low) * np.float32(0.5))


def _column(values: NDArray[np.float64]) -> Image:
    return values.astype(np.float32)[:, None]


def _planes(values: Image) -> Image:
    """Return values [C] for planes, [C, 1, 1]."""
    return values[:, None, None]
