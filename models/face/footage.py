# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames of a clip are comparable with each other: in the clip's light, of the clip's shot, of the same person.

Brightness constancy holds between two frames that differ by the face's motion alone. A flash, a fade and a cut differ
by more, which would be estimated as motion.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.footage import Fault, Untrusted
from .focus import blocks_of, out_of_focus
from .mesh import RIGID_LANDMARKS
from .similarity import Similarity

Points = NDArray[np.floating[Any]]
Grey = NDArray[np.float32]

_FACE_SIDE, _PICTURE_SIDE = 48, 96  # px of what is kept of a frame
_FACE_FILL = 0.9  # of the side that the face takes up
_BLOCKS = 4  # a side; a hand hides some blocks of the face, another person changes most of them
CLIPPED = 0.985  # of white: a channel from here on has lost its detail
_CLIPPED_MORE = 0.3  # of the face, beyond the share that is usual in the clip
_DARK = 0.35  # of the clip's usual brightness
_BLACK = 0.02  # of white: the mean brightness of a face that shows nothing
_FLASH = 1.3  # times as bright (or as dark) as the frames before and after, when it is over within ...
_FLASH_SECONDS = 0.5
# Times as bright or as dark within ... at least, somewhere around a flash. Light that swells more slowly, as a camera's
# exposure or tone curve does, leaves frames comparable.
_SUDDENLY, _STEP_SECONDS = 1.14, 1 / 30
_NEAR_SECONDS = 0.1  # of a frame's neighbours, which belong to the same flash
_FADED = 0.9  # of the brightness after it: a fade that has not quite ended
_FADE = 1.8  # the same against the one side there is, at the clip's ends
# Likeness: of neighbouring frames of one shot at least 0.95, a second apart 0.8; of two people 0.3 to 0.85.
_SAME_SHOT, _RESUMED, _SAME_PERSON, _AFTER_GAP = 0.9, 0.88, 0.85, 0.75
_SPIKE = 4.0  # times the largest of the changes around: a cut, and no fast movement, which begins and ends
_AROUND = 3  # frames
_STALLED = 0.1  # of the typical change: a frame that repeats the one before
_SPEED = 1.0  # face widths a second that a face may move while it isn't seen
_CHANGE = 0.025  # of white: the face's typical change in a cut at least
# Of the face's width: how far the face moves in a cut at least, and a resumed shot's at most.
_JUMP, _SAME_PLACE = 0.03, 0.1
_LENGTHS = (2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64)  # frames from end to end of what is compared
_DISSOLVE = 1.0  # s over which pictures are compared; a longer blend is followed through overlapping stretches
# Of the change from end to end: what sums of the two ends leave of the pictures between them. A face that moves by 3 %
# of its width leaves 0.16 and more, as the picture halfway shows it once and the sum twice; blends leave up to 0.05.
_BLENDED = 0.1
_RIDGE = 1e-9 * np.eye(2)  # black pictures have a solution, too
_RESOLVED = 1.0  # px of the small picture; by less, a moving edge is a sum of where it was and where it will be
_BLENDS_ON = 0.02  # of the whole blend: from a frame to the next at least
_COMPARED = 24  # frames of a shot that another shot is compared with, at most


@dataclass(frozen=True)
class FrameSummary:
    """What is kept of a frame that shows a face.

    points: [478, 3] px. face: [48, 48] grey, in the place of the clip's first face. picture: the whole frame, grey and
    small. brightness: the face's mean. clipped: share of the face that is white in two channels or more.
    """

    points: Points
    face: Grey
    picture: Grey
    brightness: float
    clipped: float

    @property
    def width(self) -> float:
        """The face's width in px of the frame."""
        return float(np.ptp(self.points[:, 0]))

    @cached_property
    def detail(self) -> Grey:
        """The face's features without its light, [48 * 48]."""
        level = cv2.GaussianBlur(np.log(self.face + 0.05), (0, 0), 1.0)
        return np.asarray(level - cv2.GaussianBlur(level, (0, 0), 8.0), np.float32).ravel()

    def region(self, frame_width: int) -> tuple[slice, slice]:
        """Return the part of `picture` that the face covers; `frame_width` is that of the frame in px."""
        scale = self.picture.shape[1] / frame_width
        low = (self.points[:, :2].min(0) * scale).astype(int).clip(0)
        high = (self.points[:, :2].max(0) * scale).astype(int) + 1
        return slice(low[1], max(high[1], low[1] + 1)), slice(low[0], max(high[0], low[0] + 1))


class Summariser:
    """Summarises the frames of one clip, their faces brought to one place."""

    def __init__(self) -> None:
        self._place: Points | None = None
        self.frame_width = 1

    def summarise(self, image: NDArray[np.float32], points: Points) -> FrameSummary:
        """Return what is kept of a frame [H, W, 3] whose face has these landmarks."""
        rigid = points[list(RIGID_LANDMARKS), :2].astype(np.float64)
        if self._place is None:
            self._place = _placed(points)
        height, self.frame_width = image.shape[:2]
        to_face = Similarity.fit(rigid, self._place)
        grey = cv2.transform(image, np.full((1, 3), 1 / 3))
        face = _small_face(grey, to_face)
        shrink = min(1.0, _PICTURE_SIDE / max(height, self.frame_width))
        size = (max(1, round(self.frame_width * shrink)), max(1, round(height * shrink)))
        return FrameSummary(
            points,
            face,
            _shrunk(grey, size),
            float(face[_within()].mean()),
            _clipped(image, to_face),
        )


def _shrunk(grey: Grey, size: tuple[int, int]) -> Grey:
    """Return a picture [H, W] reduced to a size (width, height)."""
    from ..loops.resizing import shrink_by_area

    result = np.empty((1, size[1], size[0]), np.float32)
    shrink_by_area(np.ascontiguousarray(grey, np.float32)[None], result)
    return result[0]


def _clipped(image: NDArray[np.float32], to_face: Similarity) -> float:
    """Return the share of the face that is white in two channels or more, in a frame [H, W, 3]."""
    if image[_place_of(image, to_face)].max() < CLIPPED:
        return 0.0  # nearly always
    face = _small_face(image, to_face)[_within()]
    return float(((face >= CLIPPED).sum(1) >= 2).mean())


def _small_face(image: NDArray[np.float32], to_face: Similarity) -> NDArray[np.float32]:
    """Return the part [48, 48, ...] of a frame [H, W, ...] that lies on the small face, less what that can't show."""
    rows, columns = _place_of(image, to_face)
    seen, spread = image[rows, columns], _spread(to_face)
    if spread:
        seen = cv2.GaussianBlur(seen, (0, 0), spread)
    shift = to_face(np.array([columns.start, rows.start], np.float64))
    matrix = np.array([[to_face.a, -to_face.b, shift[0]], [to_face.b, to_face.a, shift[1]]])
    return np.asarray(cv2.warpAffine(seen, matrix, (_FACE_SIDE, _FACE_SIDE), borderMode=cv2.BORDER_REPLICATE))


def _spread(to_face: Similarity) -> float:
    """Return the standard deviation of a mean over the px that one px of the small face stands for, or nearly so.

    What is finer is noise there.
    """
    return 0.5 / to_face.scale if to_face.scale < 1 else 0.0


def _place_of(image: NDArray[np.float32], to_face: Similarity) -> tuple[slice, slice]:
    """Return the rows and columns of a frame [H, W, ...] that the small face is made from."""
    border = int(5 * _spread(to_face)) + 2  # OpenCV's kernel reaches 4 standard deviations
    corners = to_face.inverse()(np.array([(x, y) for x in (0.0, _FACE_SIDE) for y in (0.0, _FACE_SIDE)]))
    limit = np.array(image.shape[1::-1])
    left, top = (corners.min(0) - border).astype(int).clip(0, limit - 1)
    right, bottom = (corners.max(0) + border).astype(int).clip(0, limit - 1) + 1
    return slice(top, bottom), slice(left, right)


def judge(
    summaries: Sequence[FrameSummary | None], seconds: Sequence[float], frame_width: int, first: bool = False
) -> list[Fault | None]:
    """Return what is wrong with each frame, None for one that is used.

    summaries: None where no face was found. first: the shot with the first face is the clip's, however short it is;
    else it is the longest one. At least one frame with a face is used.
    """
    faults: list[Fault | None] = [None if summary else Fault.MISSING for summary in summaries]
    _judge_light(summaries, np.asarray(seconds, np.float64), faults)
    if all(faults):  # none is usual, so none is unusual
        faults = [None if summary else Fault.MISSING for summary in summaries]
    _judge_shots(summaries, np.asarray(seconds, np.float64), frame_width, first, faults)
    _judge_focus(summaries, faults)
    return faults


def comparable(image: NDArray[np.float32], points: Points) -> Callable[[NDArray[np.float32], Points], bool]:
    """Return what tells whether another picture [H, W, 3] shows the same person in the same light.

    By the faces' landmarks [478, 3]. The pictures may be of other shots, so that the face may lie elsewhere.
    """
    summariser = Summariser()
    one = summariser.summarise(image, points)

    def is_like(other_image: NDArray[np.float32], other_points: Points) -> bool:
        other = summariser.summarise(other_image, other_points)
        dark, bright = sorted((one.brightness, other.brightness))
        lit_alike = bright < _FLASH * max(dark, _BLACK) and abs(one.clipped - other.clipped) < _CLIPPED_MORE
        return lit_alike and _likeness(one, other) > _SAME_PERSON

    return is_like


def runs_of(faults: Sequence[Fault | None], seconds: Sequence[float]) -> tuple[Untrusted, ...]:
    """Return the runs of untrusted frames, each of one fault."""
    runs: list[Untrusted] = []
    before: Fault | None = None
    for fault, second in zip(faults, seconds, strict=True):
        if fault is not None:
            start = runs.pop().start if fault is before else float(second)
            runs.append(Untrusted(start, float(second), fault.value))
        before = fault
    return tuple(runs)


def _judge_light(summaries: Sequence[FrameSummary | None], seconds: Points, faults: list[Fault | None]) -> None:
    """Enter frames whose face is far darker, more clipped, or for less than a second brighter or darker than usual.

    A flash or a passing shadow is by `_FLASH` brighter or darker than the medians of both sides, from `_NEAR_SECONDS`
    to `_FLASH_SECONDS` away, and comes or goes suddenly, or changes the face (a shadow with an edge); at the clip's
    ends, where there is one side, it is a fade, by `_FADE`.
    """
    shown = [index for index, summary in enumerate(summaries) if summary]
    level = np.array([summary.brightness for summary in summaries if summary])
    clipped = np.array([summary.clipped for summary in summaries if summary])
    when = seconds[shown]
    sudden = when[_suddenly(level, when)]
    usual, usually_clipped = float(np.median(level)), float(np.median(clipped))
    for place, index in enumerate(shown):
        if level[place] < max(_DARK * usual, _BLACK):
            faults[index] = Fault.DARK
        elif clipped[place] > usually_clipped + _CLIPPED_MORE:
            faults[index] = Fault.BRIGHT
    for place, index in enumerate(shown):
        if faults[index] is not None:
            continue
        away = when - when[place]
        sides = [
            level[(np.abs(away) <= _FLASH_SECONDS) & (np.abs(away) > _NEAR_SECONDS) & (np.sign(away) == side)]
            for side in (-1, 1)
        ]
        ratios = [np.log(level[place] / max(float(np.median(side)), _BLACK)) for side in sides if len(side)]
        if len(ratios) == 2:
            passing = ratios[0] * ratios[1] > 0 and min(map(abs, ratios)) > np.log(_FLASH)
        else:
            passing = any(abs(ratio) > np.log(_FADE) for ratio in ratios)
        if passing:
            # A flash is of the one who is seen before and after it.
            sides_of = [np.abs(away - side * 2 * _NEAR_SECONDS).argmin() for side in (-1, 1)]
            beside = [summaries[shown[int(other)]] for other in sides_of if int(other) != place]
            here = summaries[index]
            likeness = min((_likeness(here, there) for there in beside if here and there), default=1.0)
            swells = len(ratios) == 2 and not (np.abs(sudden - when[place]) <= _FLASH_SECONDS).any()
            if swells and likeness > _SAME_SHOT:
                continue
            same = likeness > _SAME_PERSON
            faults[index] = Fault.STRANGER if not same else Fault.DARK if ratios[0] < 0 else Fault.FLASH
    for way in (1, -1):
        if faults[::way][0] is not None:
            _finish_fade(shown[::way], when[::way], level[::way], faults)


def _suddenly(level: Points, when: Points) -> NDArray[np.bool_]:
    """Return at which frames the brightness [T] is another than shortly before."""
    logs = np.log(np.maximum(level, _BLACK))
    return np.asarray(np.abs(logs - np.interp(when - _STEP_SECONDS, when, logs)) > np.log(_SUDDENLY))


def _finish_fade(shown: Sequence[int], when: Points, level: Points, faults: list[Fault | None]) -> None:
    """Enter the last frames of a fade that one of the clip's ends lies in; its encoder has left them coarse.

    shown: the frames with a face from that end on, with their seconds and brightness.
    """
    dark = next((place for place, index in enumerate(shown) if faults[index] is None), len(shown))
    ended = when[max(dark - 1, 0)]
    for place in range(dark, len(shown) - 1):
        after = level[place + 1 :][np.abs(when[place + 1 :] - when[place]) <= _FLASH_SECONDS]
        if abs(when[place] - ended) > _NEAR_SECONDS or level[place] > _FADED * float(np.median(after)):
            return
        faults[shown[place]] = Fault.DARK


def _judge_shots(
    summaries: Sequence[FrameSummary | None],
    seconds: Points,
    frame_width: int,
    first: bool,
    faults: list[Fault | None],
) -> None:
    lit = (None, Fault.STRANGER)  # a stranger's frames are a shot of their own, of which some may be lit as ours
    usable = [
        _Frame(index, float(seconds[index]), summary)
        for index, summary in enumerate(summaries)
        if summary and faults[index] in lit
    ]
    ends = _dissolves(usable, frame_width)
    for before, after in ends:
        for frame in usable[before + 1 : after]:
            faults[frame.index] = Fault.CUT
    whole = [frame for frame in usable if faults[frame.index] in lit]
    shots = _shots(whole, frame_width, {usable[after].index for _, after in ends})
    if len(shots) < 2:
        return
    main = _main(shots, first)
    ours = [frame.summary for shot in main for frame in shot]
    compared = ours[:: max(1, len(ours) // _COMPARED)]
    for shot in shots:
        if shot in main:
            continue
        sampled = [frame.summary for frame in shot[:: max(1, len(shot) // 5)]]
        likeness = max(_likeness(summary, other) for summary in sampled for other in compared)
        for frame in shot:
            faults[frame.index] = Fault.CUT if likeness > _SAME_PERSON else Fault.STRANGER


def _judge_focus(summaries: Sequence[FrameSummary | None], faults: list[Fault | None]) -> None:
    """Enter frames that are softer than is usual in the clip."""
    shown = {index: summary.face for index, summary in enumerate(summaries) if summary and faults[index] is None}
    for index, soft in zip(shown, out_of_focus(list(shown.values()), _within()), strict=True):
        if soft:
            faults[index] = Fault.SOFT


@dataclass(frozen=True)
class _Frame:
    """A frame in the clip's light."""

    index: int
    seconds: float
    summary: FrameSummary


_Shot: TypeAlias = list[_Frame]


def _dissolves(frames: _Shot, frame_width: int) -> list[tuple[int, int]]:
    """Return where one shot blends over to another: the places of the last frame before and the first one after it."""
    stretches: list[tuple[int, int]] = []
    for before, first in enumerate(frames):
        place = first.summary.region(frame_width)
        ends = [before + length for length in _LENGTHS if before + length < len(frames)]
        near = [after for after in ends if frames[after].seconds - first.seconds <= _DISSOLVE]
        for after in _blended_halfway(frames, before, near, place):
            if _blended(frames[before : after + 1], place):
                stretches.append((before, after))
    joined: list[tuple[int, int]] = []
    for before, after in stretches:
        if joined and before < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(after, joined[-1][1]))
        else:
            joined.append((before, after))
    grown = []
    for before, after in joined:
        if _unlike(frames[before].summary, frames[after].summary, frame_width):
            faint = (after - before - 1) // 4  # of a slow blend's ends, which the faces' own motion hides
            grown.append((max(0, before - faint), min(len(frames) - 1, after + faint)))
    return grown


def _blended_halfway(frames: _Shot, before: int, ends: Sequence[int], region: tuple[slice, slice]) -> list[int]:
    """Return which of the ends show another picture there, and halfway a sum of it and the one before: nearly none."""
    if not ends:
        return []

    def pictures(places: Sequence[int]) -> Grey:
        return np.stack([frames[each].summary.picture[region].ravel() for each in places])

    first, last = pictures([before]), pictures(ends)
    # Of the ends in one light: another exposure is a blend, and no other picture.
    apart = last * _exposure(first, last) - first
    changed = np.flatnonzero(_medians(np.abs(apart)) > _CHANGE)
    if not len(changed):
        return []
    half = pictures([(before + ends[each] + 1) // 2 for each in changed])
    left = _as_sums(first, last[changed], half[:, None])[1][:, 0]
    whole = np.sqrt((apart[changed] ** 2).mean(1))
    return [ends[each] for each in changed[left < _BLENDED * whole]]


def _as_sums(first: Grey, last: Grey, between: Grey) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return pictures between [N, M, P] as the best sums of first [1, P] and last ones [N, P].

    These are the shares of both, [N, 2, M], and what they leave, rms [N, M].
    """
    ends = np.stack(np.broadcast_arrays(first, last), 1, dtype=np.float64)
    shares = np.linalg.solve(ends @ ends.mT + _RIDGE, ends @ between.mT)
    return np.asarray(shares), np.asarray(np.sqrt(((between - shares.mT @ ends) ** 2).mean(-1)))


def _blended(frames: _Shot, region: tuple[slice, slice]) -> bool:
    """Return whether all frames but the ends are sums of the ends' pictures there, ever more of the last one."""
    first, *between, last = (frame.summary.picture[region].ravel() for frame in frames)
    whole = float(np.sqrt(((last * _exposure(first, last) - first) ** 2).mean()))
    (shares,), (left,) = _as_sums(first[None], last[None], np.stack(between)[None])
    return bool((left < _BLENDED * whole).all() and (np.diff(np.r_[0.0, shares[1], 1.0]) > _BLENDS_ON).all())


def _unlike(one: FrameSummary, other: FrameSummary, frame_width: int) -> bool:
    """Return whether two frames are of other shots, in pictures that would show a motion between them as motion."""
    moved = _moved(one, other)
    moved_px = moved * one.width * one.picture.shape[1] / frame_width
    return _likeness(one, other) < _SAME_SHOT or (moved > _JUMP and moved_px > _RESOLVED)


def _shots(frames: _Shot, frame_width: int, begin: set[int]) -> list[_Shot]:
    """Return the frames in runs without a cut. begin: numbers of frames with which a shot is known to begin."""
    if not frames:
        return []
    pairs = list(itertools.pairwise(frames))
    change = np.array([_change(one.summary, other.summary, frame_width) for one, other in pairs])
    step = np.diff([frame.seconds for frame in frames])
    shots: list[_Shot] = [[frames[0]]]
    for place, (before, after) in enumerate(pairs):
        one, other = before.summary, after.summary
        if after.index - before.index > 1:  # something came between, in which a face may move
            cut = _likeness(one, other) < _AFTER_GAP or _moved(one, other) > _SAME_PLACE + _SPEED * step[place]
        else:
            spike = change[place] > max(_CHANGE, _SPIKE * _usual(change, step, place))
            cut = spike and (_moved(one, other) > _JUMP or _likeness(one, other) < _SAME_SHOT)
        if cut or after.index in begin:
            shots.append([])
        shots[-1].append(after)
    return shots


def _usual(change: Points, step: Points, place: int) -> float:
    """Return the largest change to be expected from a frame to the next, from those around."""
    low = max(0, place - _AROUND)
    around = np.r_[change[low:place], change[place + 1 : place + 1 + _AROUND]]
    # The cut at the other end of a short insert is no ordinary change.
    usual = float(np.sort(around)[: max(1, len(around) - 1)].max(initial=0.0))
    held = (change[low:place] < _STALLED * np.median(change)).sum()  # frames that repeat the one before
    return usual * (1 + float(held)) * max(1.0, float(step[place] / np.median(step)))


def _main(shots: list[_Shot], first: bool) -> list[_Shot]:
    """Return the shots that are one: the same face in the same place, gone on with after an insert."""
    groups: list[list[_Shot]] = []
    for number, shot in enumerate(shots):
        # What follows a cut directly doesn't go on with what the cut ended.
        earlier = [[each for each in group if number == 0 or each is not shots[number - 1]] for group in groups]
        known = next((group for group, before in zip(groups, earlier, strict=True) if _resumes(before, shot)), None)
        if known is None:
            groups.append([shot])
        else:
            known.append(shot)
    return groups[0] if first else max(groups, key=lambda group: sum(map(len, group)))


def _resumes(group: list[_Shot], shot: _Shot) -> bool:
    candidates = [frame.summary for each in group for frame in (each[0], each[len(each) // 2], each[-1])]
    start = shot[0].summary
    return any(_likeness(other, start) > _RESUMED and _moved(other, start) < _SAME_PLACE for other in candidates)


def _moved(before: FrameSummary, after: FrameSummary) -> float:
    """Return how far the face is from where it was, in its widths."""
    return float(np.linalg.norm(after.points[:, :2] - before.points[:, :2], axis=1).mean()) / max(before.width, 1.0)


def _change(before: FrameSummary, after: FrameSummary, frame_width: int) -> float:
    """Return the typical change of the picture where the face was, another exposure taken out."""
    place = before.region(frame_width)
    then, now = before.picture[place].ravel(), after.picture[place].ravel()
    return float(_medians(np.abs(now * _exposure(then, now) - then)))


def _exposure(then: Grey, now: Grey) -> NDArray[np.float32]:
    """Return how much brighter one picture [..., P] is than another, by their medians, [..., 1]."""
    return np.asarray(_medians(then) / np.maximum(_medians(now), 1e-3), np.float32)[..., None]


def _medians(values: Grey) -> Grey:
    """Return the medians [...] of values [..., P], by sorting them all: NumPy's own takes several times as long."""
    ordered, count = np.sort(values), values.shape[-1]
    return np.asarray((ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2)


def _likeness(one: FrameSummary, other: FrameSummary) -> float:
    """Return how much two faces look alike, the median over the better half of their blocks: 1 for the same picture."""
    first, second = one.detail.astype(np.float64), other.detail.astype(np.float64)
    both, of_first, of_second = np.stack([first * second, first**2, second**2]) @ _blocks()
    size = np.sqrt(of_first * of_second)
    found = np.where(size > 1e-6, both / np.maximum(size, 1e-6), 0.0)
    return float(np.median(np.sort(found)[len(found) // 2 :]))


@cache
def _blocks() -> NDArray[np.float64]:
    """Return which px of the small face are of each of its blocks that is the face's by half or more, [48 * 48, B]."""
    return blocks_of(_within(), _BLOCKS)


@cache
def _within() -> NDArray[np.bool_]:
    """Return which px of the small face are the face's."""
    y, x = (np.mgrid[:_FACE_SIDE, :_FACE_SIDE] + 0.5) / _FACE_SIDE - 0.5
    return np.asarray((x / 0.4) ** 2 + (y / 0.45) ** 2 < 1)


def _placed(points: Points) -> Points:
    """Return where the rigid landmarks of a first face lie in the small face."""
    flat = points[:, :2].astype(np.float64)
    low, high = flat.min(0), flat.max(0)
    scale = _FACE_FILL * (_FACE_SIDE - 1) / float((high - low).max())
    placed: Points = (flat[list(RIGID_LANDMARKS)] - (low + high) / 2) * scale + (_FACE_SIDE - 1) / 2
    return placed
