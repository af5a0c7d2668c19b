# SPDX-License-Identifier: GPL-3.0-or-later
"""When things happen in a face: the neutral frame, and an expression's onset, apex and offset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import stdtrit

from ...backend_bridge.rig.events import MotionEvent
from .crop import SteadyCrop
from .lids import nearly_shut, usual_opening
from .mesh import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from .track import FaceTrack

_NEAR_START = Fraction(1, 3)  # the reference is looked for in this first share of the clip ...
_AT_LEAST = 5  # ... but in no fewer frames than this
_AS_QUIET = 2.5  # within this factor of the quietest quarter, frames are as quiet, within the landmarks' jitter
_CROSSING = 0.2  # onset and offset: where the motion is this share of the way from rest to apex
_FALSE_ALARMS = 0.01  # of all clips of noise alone
# Of the largest of |noise| above rest, over the same of Student's t with the noise's degrees of freedom, which are the
# efficiency of a median times the differences that it is of. Fitted to 40,000 curves each of 8 to 100 frames, at 1 %
# and at 0.05 %, which it meets within 15 %; means of 3 and 5 frames have as much, and noise with both signs less.
_OF_ABSOLUTE_NOISE, _OF_NOISE, _MEDIAN_EFFICIENCY = 1.74, 1.25, 0.37
_ABOVE_ZERO = 3.0  # standard deviations of noise: a curve that rests so far above 0 isn't its absolute value
_MEANS, _MANY = (3, 5), 16  # frames; in so many, what is weak and lasts stands out in their mean
_TELLING = 7  # frames; of fewer, second differences tell nothing of the noise
_BY_CHANCE = 0.02  # how often one of the curves may rise to one apex and fall from it if it is noise
# Times what a curve leaves beside one peak, in so few frames and in more: so far does noise hardly ever stand out.
_FEW, _CLEARLY_ONE = 8, (10.0, 14.0)
# How far below the highest frame another one counts 1/e of it, over the rms of what is left beside one peak. On
# plateaus of 11 and 23 frames under noise apexes lie up to 11 frames from the middle with 2, 5 with 4 and 3 with this;
# peaks of 6 to 36 frames have the rms error of their highest frame or less.
_AS_HIGH = 6.0
_ON_THEIR_WAY = 0.1  # s, in which lids come down before eyes are nearly shut, and go up after
_CALMER = 0.35  # sum of scores: a quarter of a smile has 0.9, a micro-expression 0.1, and they jitter by 0.05
_ONE_CALMER = 0.3  # of one score: a quarter of a smile has 0.4; scores that drift together have less each
# A resting mouth may have a score of puckering, which a smile lowers; lids and gaze never rest.
_IGNORED_SCORES = ("_", "eyeLook", "eyeBlink", "eyeWide", "cheekPuff", "mouthPucker")
_WEIGHTS = {"jawOpen": 2.0}  # of which lips that are a third of a mouth's width apart have 0.25
_SETTLED = 0.25  # of the motion at the clip's end, within which a face that has settled stays
_STAYS = 0.4  # share of the clip that it stays so at least
_LAST = 3  # frames, whose median is the motion at the end


@dataclass(frozen=True)
class Reference:
    """The neutral frame that motion is measured against.

    chosen: "given", "automatic" (near the start of the clip), "rest" (elsewhere, as the face shows an expression
    there) or "best frame".
    """

    index: int
    seconds: Fraction
    chosen: str


def choose_reference(track: FaceTrack, seconds: float | None = None, resting: bool = True) -> Reference:
    """Return the frame nearest to `seconds` (of the clip) that shows the face or, for None, the automatic choice.

    The automatic choice is the first quiet frame near the start. Near the start, because a clip of a micro-expression
    is cut to begin before it; the middle may be its apex, which is quiet too when it is held. Quiet means that the
    expression changes little since the frame before and until the frame after (mean landmark speed after the head's own
    motion is taken out, over the eyes' distance): as little as in the clip's quietest quarter, within the landmarks'
    jitter. Where by the mesh's scores it shows an expression that the clip goes on to lose (a smile that fades), it
    is the first quiet frame without it ("rest"), unless `resting` is False. Frames in a blink are no candidates, and
    those beside one, without the face, or next to one without it, are only if there are no others.
    """
    shown = np.flatnonzero(track.present)
    if seconds is not None:
        times = np.array([float(time) for time in track.seconds])
        index = int(shown[np.abs(times[shown] - seconds).argmin()])
        return Reference(index, track.seconds[index], "given")

    end = shown[: max(_AT_LEAST, int(len(shown) * _NEAR_START))][-1]
    shown = _with_steady_lids(track)
    near_start = shown[shown <= end] if shown[0] <= end else shown[:_AT_LEAST]
    speeds = _expression_speed(track)
    speed = speeds[near_start]
    index, chosen = int(near_start[0]), "automatic"
    if np.isfinite(speed).any():
        quiet = speeds <= max(_AS_QUIET * np.nanquantile(speeds, 0.25), np.nanmin(speed))
        index = int(near_start[np.flatnonzero(quiet[near_start])[0]])
        calmer = nearer_to_rest(track, index) if resting else None
        if calmer is not None:
            expression = expressiveness(track)
            as_calm = shown[quiet[shown] & (expression[shown] <= expression[calmer] + _CALMER / 3)]
            index, chosen = int(as_calm[0]) if len(as_calm) else calmer, "rest"
    return Reference(index, track.seconds[index], chosen)


def expressiveness(track: FaceTrack) -> NDArray[np.float64]:
    """Return [T], the sum of the mesh's scores of the skin's expressions, without lids and gaze, which never rest.

    An open jaw counts twice, as half as large a score shows as much. A face at rest has a sum of its own, about 2, so
    that only differences within a clip mean anything.
    """
    scores: NDArray[np.float64] = track.blendshapes.astype(np.float64) @ _weights(track)
    return scores


def with_open_eyes(track: FaceTrack) -> NDArray[np.intp]:
    """Return the numbers of the frames that show the face, without those in which it blinks."""
    shown = np.flatnonzero(track.present)
    points = track.points[shown]
    return np.asarray(shown[~nearly_shut(points, usual_opening(points))])


def _with_steady_lids(track: FaceTrack) -> NDArray[np.intp]:
    """Return those of them in which no lid is on its way to a blink or from it, or all of them if it always is."""
    open_, times = with_open_eyes(track), np.array([float(time) for time in track.seconds])
    blinking = np.setdiff1d(np.flatnonzero(track.present), open_)
    steady = (np.abs(times[open_, None] - times[blinking]) >= _ON_THEIR_WAY).all(1)
    return open_[steady] if steady.any() else open_


def nearer_to_rest(track: FaceTrack, index: int) -> int | None:
    """Return the frame that is nearest to rest, if it is clearly nearer than frame `index`, else None."""
    shown = with_open_eyes(track)
    best = calmest(track, index, track.blendshapes[shown])
    return None if best is None else int(shown[best])


def calmest(track: FaceTrack, index: int, scores: NDArray[np.floating[Any]]) -> int | None:
    """Return which of some pictures is nearest to rest, if it is clearly nearer than frame `index`, else None.

    scores: [M, 52], of pictures in the order of their times, of this clip or of what lies before or after it; named as
    the track's.
    """
    weights, own = _weights(track), expressiveness(track)
    expression = scores.astype(np.float64) @ weights
    threes = len(expression) > 2
    near = np.convolve(expression, np.ones(3) / 3, "valid") if threes else expression
    if not len(near) or own[index] - float(near.min()) <= _clearly(track):
        return None
    best = int(near.argmin()) + threes
    lost = (track.blendshapes[index] - scores[best]) * weights
    return best if float(lost.max(initial=0.0)) > _ONE_CALMER else None


def may_be_calmer(track: FaceTrack, index: int) -> bool:
    """Return whether any picture could be clearly nearer to rest than frame `index`: even one without any score.

    It tells before pictures are looked for in vain that `calmest` would find nothing in them.
    """
    highest = float((track.blendshapes[index] * _weights(track)).max(initial=0.0))
    return highest > _ONE_CALMER and float(expressiveness(track)[index]) > _clearly(track)


def some_calmer(track: FaceTrack, index: int, scores: NDArray[np.floating[Any]]) -> bool:
    """Return whether any of some pictures may be nearer to rest than frame `index`, as `calmest` takes them.

    It is so with half of what is clear: of three in a row that are at rest, each is by far nearer to it than that.
    """
    least = float((scores.astype(np.float64) @ _weights(track)).min(initial=np.inf))
    return float(expressiveness(track)[index]) - least > _clearly(track) / 2


def shows_more(track: FaceTrack, index: int, scores: NDArray[np.floating[Any]]) -> bool:
    """Return whether frame `index` plainly shows an expression that a picture with these scores, [52], doesn't.

    It is what anybody sees: a third of a smile, or lips that part. Small expressions have no such scores.
    """
    return float(((track.blendshapes[index] - scores) * _weights(track)).max(initial=0.0)) > _ONE_CALMER


def _clearly(track: FaceTrack) -> float:
    """Return by how much the expressiveness of pictures must differ to be more than the scores' jitter."""
    steps = np.abs(np.diff(expressiveness(track)[track.present]))
    return max(_CALMER, 6 * float(np.median(steps)) if len(steps) else 0.0)


def _weights(track: FaceTrack) -> NDArray[np.float64]:
    """Return [52], how much each of the mesh's scores counts."""
    counted = [0.0 if name.startswith(_IGNORED_SCORES) else _WEIGHTS.get(name, 1.0) for name in track.blendshape_names]
    return np.array(counted, np.float64)


def find_event(
    seconds: Sequence[Fraction | float],
    magnitude: NDArray[np.floating[Any]],
    certain: float = math.inf,
    curves: int = 1,
) -> MotionEvent | None:
    """Return the clip's main expression from a curve of local motion, or None if nothing stands out.

    magnitude: [T], in any unit, 0 at the reference; certain: what noise never has; curves: how many are looked at. The
    apex is the curve's highest frame, and on a plateau its middle (`_apex`): nothing is smoothed, because smoothing
    shaves and shifts an apex that lasts a few frames. The onset is where the curve last rises through a fifth of the
    way from rest to apex, the offset where it first falls through it again, both interpolated between frames. Rest is
    the median of the curve's lower half. The apex must be higher above it than noise is, but in 1 % of clips, in any of
    their curves. The noise is the median absolute second difference away from the apex, where a smooth curve has none.
    An expression of a few frames has little else than curvature: its noise is what a curve that rises to the apex and
    falls from it leaves, if frames are too many for noise to do so by chance. Ten times that in 8 frames or fewer, and
    fourteen times in more, is enough for what is more than `certain`, and in fewer than 7 nothing else counts. Where
    noise drowns the apex and not the mean of a few frames, it is their mean that is timed.

    >>> event = find_event(np.arange(9) / 10, np.array([0, 0, 0, 0.5, 1.0, 0.5, 0, 0, 0]))
    >>> event.apex, round(event.onset, 2), round(event.offset, 2)
    (0.4, 0.24, 0.56)
    """
    times = np.array([float(time) for time in seconds])
    curve = np.asarray(magnitude, np.float64)
    widths = (1, *_MEANS) if len(curve) >= _MANY else (1,) if len(curve) >= _TELLING else ()
    critical = _critical(len(curve), _FALSE_ALARMS / (len(widths) + 1) / curves)
    if _stands_out(curve, _left_beside_one_peak(curve, critical, certain, curves)):
        return timed(times, curve)
    for width in widths:
        mean = np.convolve(np.pad(curve, width // 2, "edge"), np.full(width, 1 / width), "valid")
        noise = _noise(curve, int(mean.argmax()), width)
        above = len(curve) >= _MANY and _rest(mean) > _ABOVE_ZERO * noise * width**0.5
        if _stands_out(mean, critical * noise * (_OF_NOISE / _OF_ABSOLUTE_NOISE if above else 1.0)):
            return timed(times, mean)
    return None


def timed(times: NDArray[np.float64], curve: NDArray[np.float64], rest: float | None = None) -> MotionEvent:
    """Return onset, apex and offset of a curve [T] that is an expression's for certain; `rest` is its lower half's."""
    highest, rest = int(curve.argmax()), _rest(curve) if rest is None else rest
    level = rest + _CROSSING * (curve[highest] - rest)

    def crossing(inside: int, outside: int) -> float:
        share = (curve[inside] - level) / (curve[inside] - curve[outside])
        return float(times[inside] + share * (times[outside] - times[inside]))

    before = np.flatnonzero(curve[:highest] <= level)
    after = highest + 1 + np.flatnonzero(curve[highest + 1 :] <= level)
    return MotionEvent(
        onset=crossing(before[-1] + 1, before[-1]) if len(before) else None,
        apex=float(times[_apex(curve)]),
        offset=crossing(after[0] - 1, after[0]) if len(after) else None,
    )


def _apex(curve: NDArray[np.float64]) -> int:
    """Return the frame of the apex of a curve [T]: the highest one, or the middle of those that may be the highest.

    An expression that is held has a plateau, on which the measurement's error decides which frame is the highest. How
    large it is there is what the nearest curve that rises to the highest frame and falls from it leaves of the upper
    half: nothing of a curve with one peak, whose apex is its highest frame. Frames count by how near they come to the
    highest one in units of that (`_AS_HIGH`), and the median frame is the apex.

    >>> held = np.array([0, 0.5, 0.98, 1, 0.99, 0.97, 0.99, 0.98, 0.5, 0.1, 0])
    >>> int(held.argmax()), _apex(held), _apex(np.array([0, 0.5, 1, 0.98, 0.9, 0.8, 0.5, 0.1, 0]))
    (3, 4, 2)
    """
    highest = int(curve.argmax())
    low = np.flatnonzero(curve < (curve[highest] + _rest(curve)) / 2)
    place = int(np.searchsorted(low, highest))
    first, end = (int(low[place - 1]) + 1 if place else 0), (int(low[place]) if place < len(low) else len(curve))
    upper = curve[first:end]
    error = _AS_HIGH * _rms(_beside_one_peak(curve)[first:end])
    if error == 0:
        return highest
    counted = np.cumsum(np.exp(-(((curve[highest] - upper) / error) ** 2)))
    return first + int(np.searchsorted(counted, counted[-1] / 2))


def settled(magnitude: NDArray[np.floating[Any]]) -> int | None:
    """Return the frame from which on the face stays as it is at the clip's end, None if it does so only shortly.

    magnitude: [T], of the motion against the reference, in any unit.

    >>> settled(np.array([0, 1, 2, 3, 4, 4, 4, 4, 4, 4]))
    3
    >>> settled(np.array([0, 0, 0, 0, 0, 1, 2, 3, 4, 4])) is None
    True
    """
    curve = np.asarray(magnitude, np.float64)
    end = float(np.median(curve[-_LAST:]))
    away = np.flatnonzero(np.abs(curve - end) > _SETTLED * end)
    first = int(away[-1]) + 1 if len(away) else 0
    return first if len(curve) - first >= _STAYS * len(curve) else None


def _rest(curve: NDArray[np.float64]) -> float:
    return float(np.median(np.sort(curve)[: max(1, len(curve) // 2)]))


def _stands_out(curve: NDArray[np.float64], by: float) -> bool:
    return bool(curve.max() > _rest(curve) + by)


def _left_beside_one_peak(curve: NDArray[np.float64], critical: float, certain: float, curves: int) -> float:
    """Return by how much one peak must stand out of a curve [T]; see `find_event`."""
    misfit = _rms(_beside_one_peak(curve))
    # Of the (T - 1)! orders in which frames of noise may come after the reference, 2^(T - 2) have one peak; both are
    # beyond any float in a clip of some seconds.
    by_chance = math.log(curves) + (len(curve) - 2) * math.log(2) - math.lgamma(len(curve))
    needed = critical * misfit if by_chance <= math.log(_BY_CHANCE) else math.inf
    clearly = _CLEARLY_ONE[len(curve) > _FEW] * misfit
    return min(needed, max(certain, clearly))


def _critical(frames: int, share: float) -> float:
    """Return by how many standard deviations the largest of `frames` of |noise| lies above rest, but in a share."""
    freedom = max(_MEDIAN_EFFICIENCY * (frames - 2), _MEDIAN_EFFICIENCY)
    return _OF_ABSOLUTE_NOISE * float(stdtrit(freedom, 1 - share / frames))


def _noise(curve: NDArray[np.float64], apex: int, width: int) -> float:
    """Return the standard deviation of white noise on a smooth curve, in means of `width` frames."""
    second = np.abs(np.diff(curve, 2))
    away = np.abs(np.arange(1, len(curve) - 1) - apex) > 1 + width // 2
    return 1.4826 / (6 * width) ** 0.5 * float(np.median(second[away])) if away.any() else 0.0


def _beside_one_peak(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the nearest curve that rises to the highest frame and falls from it leaves of [T]."""
    highest = int(curve.argmax())
    risen = isotonic_regression(curve[: highest + 1]).x
    fallen = isotonic_regression(curve[highest:], increasing=False).x
    return np.concatenate([curve[: highest + 1] - risen, (curve[highest:] - fallen)[1:]])


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _expression_speed(track: FaceTrack) -> NDArray[np.float64]:
    """Return [T] speeds in eye distances a second; NaN where the face or a neighbour is missing."""
    count = len(track)
    speed = np.full(count, np.nan)
    if count < 2:
        return speed
    first = int(np.flatnonzero(track.present)[0])
    eyes = track.points[first, LEFT_EYE_OUTER, :2] - track.points[first, RIGHT_EYE_OUTER, :2]
    crop = SteadyCrop.follow(track, first)
    steady = crop.landmarks(track.points, 256)[..., :2]
    eye_distance = float(np.linalg.norm(eyes)) * 256 / crop.native_size
    times = np.array([float(time) for time in track.seconds])
    steps = np.linalg.norm(np.diff(steady, axis=0), axis=-1).mean(1) / eye_distance / np.diff(times)
    for index in range(count):
        before, after = max(0, index - 1), min(count - 1, index + 1)
        if track.present[before : after + 1].all():
            speed[index] = steps[before:after].mean()
    return speed
