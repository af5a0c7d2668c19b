# SPDX-License-Identifier: GPL-3.0-or-later
"""As much motion as the driver shows: the intensity of solved values, matched region by region.

Least squares give the nearest *shape*: where the rig's motion has another direction or extent than the driver's, what
is shown is a projection, shorter than what was asked by the cosine between the two. An expression is judged by how far
it moves, so the peak of the rig's motion is brought to the driver's in every region of the face that moves and that the
rig has controls for, as far as the directions agree and its size is known: a damped fixed-point iteration on the
controls' log gains,

    log gain_k += step · sum_r share_kr log(asked peak_r / shown peak_r),

with the share of a control's motion energy that lies in region r. A control that moves two regions, one too far and the
other not far enough, ends between: where sum_r share_kr log(asked / shown) is 0.

How far the driver's lid moves is measured with an error itself, as it is a strip of a few pixels. There the log of what
is missing, g, is shrunk to w g by the estimate of James and Stein, w = max(0, 1 - s²/g²) with the standard deviation s
of its error: what is no larger than the error is left as it was solved, and what is far larger is matched in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .measurement import Array, Measurement, motion_of

_PEAK_SHARE = 0.05  # of a region's places, those that move farthest: their mean is the region's peak
_FEWEST_PLACES = 3  # of a region; fewer tell no direction and no extent
_AT_PEAK = 0.9  # share of the region's peak from which frames count as its apex
_ALSO_SHOWN = 0.7  # share of what is shown at its own apex that is shown at the apex of what is asked, at least
_MORE_THAN_USUAL, _ENOUGH = 1.3, 3  # times the usual ratio of what is asked to what is shown; frames that tell it
_NEAR_PEAK = 0.7  # share of the region's peak, from which on places tell how large it is
_SLOPES = 0.5, 10.0  # how far the equations may say that a smooth motion is too large, and too small
_MOVES = 0.25  # share of the liveliest region's peak, below which a region is taken to be carried along or still
_HAS_CONTROL = 0.1  # share of the asked motion, below which the rig has no control for it and shows it by chance
_MOST_GAIN, _LEAST_GAIN = 6.0, 0.5  # of a control
_HAS_CONTROL_IN_NOISE, _MOST_GAIN_IN_NOISE = 0.25, 3.0  # where much of what is asked is noise
_FOR_IT = 0.5  # share of the farthest that a control moves anything, from which on it is one for a region
_MOVED = 0.01  # of a control's largest squared motion, from which on it is said to move a place
_WHERE_ASKED = 0.5  # share of the region's peak, from which on places are compared in direction and extent
_AGREES = 0.4  # cosine, below which what is shown is another motion than the one asked for
_ITERATIONS = 12  # controls reach over several regions; the rest is below 2 % by then
# Standard deviation of the log of what is asked of a region, where it is not small beside what least squares are short
# by; of lids on the tuning pairs, on rigs with the driver's own shapes.
_UNSURE = {"lids": 0.19}
_ALONE = 0.05  # probability that a lid rises alone (`selection`: one in 20 of the upper face's units)
_APART = 3.0  # log of the largest ratio of two lids that are still both in play
_STEP = 0.7  # of the logarithm of the gain that is missing, taken in each round


@dataclass(frozen=True)
class RegionMotion:
    """The peak motion of a region that was asked for and that is shown, in the same unit.

    gain: by which matching multiplied what is shown.
    """

    asked: float
    shown: float
    gain: float = 1.0

    def in_units_of(self, length: float) -> RegionMotion:
        """Return the same as shares of a length in the present unit."""
        return RegionMotion(self.asked / length, self.shown / length, self.gain)


@dataclass(frozen=True)
class Matched:
    """The state of the fixed-point iteration when it ended.

    gains: [K], factors of the controls' excursions. regions: those that move. iterations: none where no region is
    matched. change: of the log gains in the last of them, the largest.
    """

    gains: Array
    regions: dict[str, RegionMotion]
    iterations: int
    change: float


def match(
    excursions: Array,
    columns: Array,
    asked: Array,
    regions: Mapping[str, NDArray[np.floating]],
    pairs: Sequence[tuple[int, int]] = (),
    most: Array | None = None,
    adjusted: bool = True,
    least: float = 0.0,
    noisy: bool = False,
    lids: Sequence[tuple[int, int]] = (),
) -> Matched:
    """Find the gains that bring the shown peaks to the asked ones.

    Args:
        excursions: [N, K] solved, from rest.
        columns: [K, 2, S] px per unit of each control.
        asked: [N, 2, S] px, the driver's motion.
        regions: membership [S] of the places.
        pairs: controls that have one gain.
        most: [K], no excursion is brought beyond it; one that is larger is left as it is.
        adjusted: off, the gains are 1, and what is asked and shown is only measured.
        least: px; regions whose peak is below are still.
        noisy: noise hides what the shapes don't fit, so that they are taken to have the driver's extent.
        lids: controls of the left and of the right lid, that rise alike unless they clearly don't (`_evened`).

    >>> columns = np.zeros((1, 2, 20))
    >>> columns[0, 1] = -24.0  # one control, which raises 20 places of the brow by 24 px per unit
    >>> asked = np.zeros((3, 2, 20))
    >>> asked[1, 1] = -0.48  # the driver's brow rises by 0.48 px in the second frame
    >>> found = match(np.array([[0.0], [0.016], [0.0]]), columns, asked, {"brows": np.ones(20)})
    >>> found.gains.round(3), found.regions["brows"].shown.__round__(3)
    (array([1.25]), 0.48)
    """
    even = _evened(excursions, lids if adjusted else ())
    excursions, asked = excursions * even, asked * _where(even, excursions, columns)
    shown = (_as_shown(region, excursions, columns, asked) for region in _moving(asked, regions, least))
    moving = [region for region in shown if region.asked > max(least, 1e-9)]
    fits = {region.name: _fit(excursions, columns, asked, region, noisy) for region in moving}
    has = _HAS_CONTROL_IN_NOISE if noisy else _HAS_CONTROL
    matched = [
        region
        for region in moving
        if adjusted and fits[region.name].reach(region.shown(excursions, columns)) > has * region.asked
    ]
    iterations, change = _ITERATIONS * bool(matched), 0.0
    gains: Array = np.ones(len(columns))
    if matched:
        limit = _room(excursions, most)
        gains, change = _fixed_point(excursions, columns, matched, fits, limit, pairs, iterations)
    found: dict[str, RegionMotion] = {}
    for region in moving:
        at_first, at_last = (region.shown(excursions * each, columns) for each in (1.0, gains))
        gain = at_last / max(at_first, 1e-9) if region in matched else 1.0
        found[region.name] = RegionMotion(region.asked, at_last, gain)
    return Matched(even * gains, found, iterations, change)


@dataclass(frozen=True, eq=False)
class _Region:
    """A region in which the driver moves.

    place: the places that are in it. apex: the frames in which it moves nearly as far as it gets. asked: its peak, px.
    """

    name: str
    place: NDArray[np.intp]
    apex: NDArray[np.intp]
    asked: float

    def timed(self, apex: NDArray[np.intp], asked: Array) -> _Region:
        """Return the region with another apex; asked: [N, 2, S] px, the driver's motion."""
        return replace(self, apex=apex, asked=_peak(asked[apex][:, :, self.place]))

    def shown(self, excursions: Array, columns: Array) -> float:
        """Return the peak in it of what excursions [N, K] of the controls show, px; columns: [K, 2, S] px per unit."""
        return _peak(motion_of(excursions[self.apex], np.ascontiguousarray(columns[:, :, self.place])))


def _moving(asked: Array, regions: Mapping[str, NDArray[np.floating]], least: float) -> list[_Region]:
    """Return the regions in which the driver's motion, asked [N, 2, S] px, is neither still nor carried along."""
    found = []
    for name, member in regions.items():
        place = np.flatnonzero(member > 0.5)
        if len(place) >= _FEWEST_PLACES:
            apex = _apex(asked[:, :, place])
            found.append(_Region(name, place, apex, _peak(asked[apex][:, :, place])))
    top = max((region.asked for region in found), default=0.0)
    return [region for region in found if region.asked > max(_MOVES * top, least, 1e-9)]


def _as_shown(region: _Region, excursions: Array, columns: Array, asked: Array) -> _Region:
    """Return a region with the apex of what the controls show, if it moves farther where they show less.

    A jolt of the camera, a reflection on glasses or what jitters before the face isn't the expression, but may move
    farther; that would be the size which the expression is brought to. Nor is what moves it farther in one of the
    frames that show the expression than in the others.
    """
    inside = np.ascontiguousarray(columns[:, :, region.place])
    size = _sizes(motion_of(excursions, inside))
    shows = size >= _ALSO_SHOWN * size.max(initial=0.0)
    if size[region.apex].mean() < _ALSO_SHOWN * size.max(initial=0.0):
        region = region.timed(np.flatnonzero(size >= _AT_PEAK * size.max()), asked)
    times = _sizes(asked[shows][:, :, region.place]) / np.maximum(size[shows], 1e-9)
    usual = np.argsort(times)[(len(times) - 1) // 2]
    here = region.asked / max(float(size[region.apex].mean()), 1e-9)
    if len(times) >= _ENOUGH and here > _MORE_THAN_USUAL * times[usual]:
        region = region.timed(np.flatnonzero(shows)[[usual]], asked)
    return region


def _fixed_point(
    excursions: Array,
    columns: Array,
    matched: Sequence[_Region],
    fits: Mapping[str, _Fit],
    limit: Array,
    pairs: Sequence[tuple[int, int]],
    iterations: int,
) -> tuple[Array, float]:
    """Iterate the equation of the module's docstring; return the gains [K] and the last change of their log.

    fits: of the regions, by name. limit: [K], the largest gains.
    """
    places = [region.place for region in matched]
    share = _shares(columns, places)
    # How far a control may be raised is said by the region that moves most of those that it moves.
    farthest = _shares(columns, places, [region.asked**2 for region in matched])
    highest = farthest @ np.log([fits[region.name].most_gain for region in matched])
    solved = [region.shown(excursions, columns) for region in matched]
    target = [
        peak * _sure_part(region.asked / max(peak, 1e-9), region.name)
        for region, peak in zip(matched, solved, strict=True)
    ]
    log_gains: Array = np.zeros(len(columns))
    gains: Array = np.ones(len(columns))
    change = 0.0
    for _ in range(iterations):
        peaks = [region.shown(excursions * gains, columns) for region in matched]
        missing = np.log([wanted / max(peak, 1e-9) for wanted, peak in zip(target, peaks, strict=True)])
        before = log_gains
        log_gains = np.clip(log_gains + _STEP * (share @ missing), np.log(_LEAST_GAIN), highest)
        change = float(np.abs(log_gains - before).max(initial=0.0))
        gains = np.minimum(np.exp(log_gains), limit)
        for pair in pairs:
            gains[list(pair)] = gains[list(pair)].mean()
    return gains, change


def as_measured(motion: Array, measured: Measurement, regions: Sequence[NDArray[np.intp]]) -> Array:
    """Return a smooth motion [N, 2, S] px with the size that the equations say, region by region.

    A window that is wide enough to be sure of a motion is wider than a lid's edge, which it mixes with what keeps still
    around it; and the largest of many noisy motions is larger than the largest motion. Both are undone by regression of
    the `measured` motion, J u = h, on the smooth one u' at the region's apex, where u' is within `_NEAR_PEAK` of its
    peak, with a standard normal prior around 1 for the factor: (1 + sum u'h) / (1 + sum u'Ju').

    regions: the places of each.
    """
    scale: Array = np.ones(motion.shape[2], motion.dtype)
    for place in regions:
        frames = _apex(motion[:, :, place])
        near = motion[frames][:, :, place]
        size = np.sqrt((near**2).sum(1))
        counted = (size >= _NEAR_PEAK * _peak(near)) & measured.valid[frames][:, place]
        said, there = ((near * each[frames][:, :, place]).sum(1) for each in (measured.pull, measured.pull_of(motion)))
        slope = (1 + float(said.sum(where=counted))) / (1 + float(there.sum(where=counted)))
        scale[place] = np.clip(slope, *_SLOPES)
    return np.asarray(motion * scale)


@dataclass(frozen=True)
class _Fit:
    """How far what is shown in a region is what is asked there.

    cosine: c of the angle between the two, where the driver moves. extent: e >= 1, the energy of the region's control
    over all of the face, in units of its energy where the driver moves, over the same ratio of the driver's own motion
    in the places that the control moves.
    for_region: that control moves hardly anything farther than places of this region. shrunk: by how much the prior may
    have shrunk what agrees in all.

    Least squares are short by c / e: by c, as they project, and by 1 / e, as a key that moves more of the face than the
    driver does is held back by what keeps still.
    """

    cosine: float
    extent: float
    for_region: bool
    shrunk: float

    def reach(self, shown: float) -> float:
        """Return the peak that least squares would show of what moves no more of the face than the driver does."""
        agrees = self.for_region and self.cosine >= _AGREES
        return shown * self.extent / self.cosine if agrees else shown

    @property
    def most_gain(self) -> float:
        """The largest gain of the region.

        e / c undoes what least squares are short by. What is missing beyond c was shrunk by the solver's prior, and up
        to `shrunk` c^2 of it is restored. Below a cosine of `_AGREES` the motion shown is another one.
        """
        return self.extent * max(1.0 / self.cosine, self.shrunk * self.cosine**2) if self.cosine >= _AGREES else 1.0


def _fit(excursions: Array, columns: Array, asked: Array, region: _Region, noisy: bool) -> _Fit:
    """Compare what is shown at a region's apex with what is asked; `noisy`, of extent 1."""
    frames, place = region.apex, region.place
    inside = np.ascontiguousarray(columns[:, :, place])
    shown, wanted = motion_of(excursions[frames], inside), asked[frames][:, :, place]
    size = np.sqrt((wanted**2).sum(1, keepdims=True))
    where = size >= _WHERE_ASKED * size.max(initial=0.0)
    products = [float((a * b).sum(where=where)) for a, b in ((shown, wanted), (shown, shown), (wanted, wanted))]
    cosine = products[0] / float(np.sqrt(max(products[1] * products[2], 1e-30)))
    main = int(((excursions[frames] ** 2).sum(0) * (inside**2).sum((1, 2))).argmax())
    energy, here = (columns[main] ** 2).sum(0), (inside[main] ** 2).sum(0)
    spread = float(energy.sum()) / max(float((here * where[:, 0]).sum(1).mean()), 1e-30)
    moved = energy > _MOVED * energy.max(initial=0.0)
    own_spread = float((asked[frames][:, :, moved] ** 2).sum()) / max(products[2], 1e-30)
    return _Fit(
        cosine=cosine,
        extent=1.0 if noisy or own_spread <= 0 else max(spread / own_spread, 1.0),
        for_region=bool(np.sqrt(here.max(initial=0.0)) >= _FOR_IT * np.sqrt(energy.max(initial=0.0))),
        shrunk=_MOST_GAIN_IN_NOISE if noisy else _MOST_GAIN,
    )


def _sure_part(ratio: float, region: str) -> float:
    """Return a ratio of what is asked to what is shown, shrunk by how surely it is known in that region.

    >>> round(_sure_part(1.2, "lids"), 2), round(_sure_part(2.0, "lids"), 2), _sure_part(1.2, "brows")
    (1.0, 1.9, 1.2)
    """
    missing, unsure = float(np.log(ratio)), _UNSURE.get(region, 0.0)
    if unsure == 0.0:
        return ratio
    return float(np.exp(missing * max(0.0, 1.0 - (unsure / max(abs(missing), 1e-9)) ** 2)))


def _evened(excursions: Array, pairs: Sequence[tuple[int, int]]) -> Array:
    """Return factors [K] of the excursions that bring left and right lids together as far as they differ by error.

    Both hemispheres innervate the upper face, so a lid rises alone with a probability of `_ALONE`, by any ratio to the
    other up to `_APART`; else both rise alike, and the log of their ratio has the error of two lids. Of that log the
    posterior probability that one rises alone is left.

    >>> [_evened(np.array([[left, 0.02]]), [(0, 1)]).round(2).tolist() for left in (0.03, 0.4)]
    [[0.82, 1.22], [1.0, 1.0]]
    """
    factors: Array = np.ones(excursions.shape[1])
    deviation = _UNSURE["lids"] * np.sqrt(2)
    for pair in pairs:
        left, right = np.abs(excursions[:, list(pair)]).max(0, initial=0.0)
        if left <= 0 or right <= 0:
            continue
        apart = float(np.log(left / right))
        alike = (1 - _ALONE) * np.exp(-0.5 * (apart / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        alone = _ALONE / (2 * _APART)
        factors[list(pair)] = np.exp(np.array([-0.5, 0.5]) * apart * alike / (alike + alone))
    return factors


def _where(factors: Array, excursions: Array, columns: Array) -> Array:
    """Return [S], the factors of the controls that move each place, as a geometric mean by their motion's energy."""
    changed = np.flatnonzero(factors != 1)
    energy = (columns[changed] ** 2).sum(1) * (excursions[:, changed] ** 2).max(0, initial=0.0)[:, None]
    share = energy / np.maximum(energy.sum(0), _MOVED * energy.max(initial=1e-30))
    return np.asarray(np.exp(np.log(factors[changed]) @ share))


def _shares(columns: Array, places: list[NDArray[np.intp]], weights: Sequence[float] | None = None) -> Array:
    """Return [K, R], the share of each control's motion energy in each of these regions; rows sum to 1, or to 0."""
    energy = np.stack([(columns[:, :, place] ** 2).sum((1, 2)) for place in places], 1)
    energy = energy * (1.0 if weights is None else np.asarray(weights))
    return np.asarray(energy / np.maximum(energy.sum(1, keepdims=True), 1e-30))


def _room(excursions: Array, most: Array | None) -> Array:
    """Return [K], the largest gain that keeps every excursion within `most`, at least 1."""
    if most is None:
        return np.full(excursions.shape[1], np.inf)
    return np.maximum(most / np.maximum(np.abs(excursions).max(0, initial=0.0), 1e-12), 1.0)


def _apex(motion: Array) -> NDArray[np.intp]:
    """Return the frames [n] in which a motion [N, 2, S] is nearly as large as it gets."""
    size = _sizes(motion)
    return np.flatnonzero(size >= _AT_PEAK * size.max(initial=0.0))


def _peak(motion: Array) -> float:
    """Return the mean over frames of the motion of the places that move farthest, px."""
    return float(_sizes(motion).mean())


def _sizes(motion: Array) -> Array:
    size = np.sqrt((motion**2).sum(1))
    count = max(1, round(_PEAK_SHARE * size.shape[1]))
    return np.asarray(np.sort(size, axis=1)[:, -count:].mean(1))
