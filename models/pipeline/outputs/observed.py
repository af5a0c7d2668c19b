# SPDX-License-Identifier: GPL-3.0-or-later
"""How much the driver's face moves in each frame, of which the apex is the largest; every run leaves it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....backend_bridge.job.artefacts import OBSERVED
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.report import ReferenceReport, Report
from ....backend_bridge.rig.events import MotionEvent
from ....backend_bridge.rig.footage import Compression, Unseen
from ....backend_bridge.rig.regions import REGIONS
from ...face import (
    COVER_SIDE,
    are_specks,
    blinks,
    cover_of,
    find_event,
    head_turning,
    mesh_weight,
    packed_cover,
    passing,
    settled,
    timed,
    undisturbed,
)
from ...magnification.filters import pool_to
from ..batch import Batch
from ..driver import Driver
from ..even_field import distinct
from ..factors import peak_within, places_of, skin_size
from ..rig_reader import FEWEST_COVERED
from . import Made

LEAST_EVENT = 5e-4  # of the face's width; twice that where something hides a part of the face and disturbs the rest
CONTRAST = 1.7  # of the apex to rest; what an encoder adds and takes away is less
SURE = 2.5  # of rest; the motion of noise, a quantile of so many pixels, has up to 1.8
# Of the face's width: what moves by less in a frame by itself is noise, what moves by more and back is no skin; and the
# share of it that an expression has beside it.
SPIKE, LEAP, BESIDE = 1e-3, 2e-2, 0.2
AT_ONCE = 0.05  # s, in which a face doesn't leap
HELD = 5e-3  # of the face's width: motion that is an expression even where no frame shows rest; noise is below 1.5e-3
# Of the face's width: up to so much parallax of a head that turns, it is exactly distinguished from the face's own
# motion; and how many times what is beyond may be left in that (1.5 at 10 degrees).
PARALLAX = (2e-3, 1.5)
LEAST_COVERED = 0.1  # of a region, from which on what moves before the face may be what moves in it
APPROACH = 0.2  # s before and after something passes before the face: a hand of the skin's colour is found late
UNSEEN = 0.4  # of a region, from which on it is named: one side of it, but for its soft edge
# Sines of angles: turns by less than 0.6 degrees are errors of the fit, those by more than 6 hide parts of a face. And
# what is left of a head's motion, as its depth is known roughly, as a share of the face's width, over the sine of its
# turn: still faces that turn by 1 to 4 degrees have up to 0.27.
SWAYS, LEFT_BY_TURNING = (0.01, 0.1), 0.3
DROWNED = 1 / 3  # of a face's largest motion: if less than that is more than a turn leaves, all of it may be left by it
FAST = 3e-3  # of the face's width, from a frame to the next: parallax of a head that turns so fast that it blurs
PASSING = 0.5  # s: a head that turns and comes back within it; one that stays turned is measured as it is
MOVED_BY_BLINKS = ("lids", "nose")  # regions; a blink is no expression
OPENING = 0.05  # s, in which a lid goes on after the mesh has it open, or begins before
ONCE = 0.4  # of its peak: what a region moves by before an expression and after it; the noise of a weak one has 0.35
LEAST_CODED = 0.1  # of the frames: so many tell what a codec did; the others repeat the reference, or have no codec
LEAST_COPIED = 0.05  # of the face: from here on an event is the whole face's, and is timed by what controls show
FEWEST_SHOWN = 16  # frames, in which the course of what controls show is an event where no other motion is
UNEXPLAINED = 0.95  # of a region's motion: from here on no control of a whole face's follows it, and it isn't a face's


class Observed:
    """The local motion of the driver's face, as a share of its width, and which regions of it weren't seen."""

    kinds = (OBSERVED,)

    def __init__(self, folder: JobFolder, driver: Driver) -> None:
        self._folder = folder
        self._clip = driver.clip
        masks = driver.regions
        self._part = _part_with([driver.mask, *masks.values()])
        self._face = places_of(driver.mask[..., *self._part])
        self._regions = {name: places_of(mask[..., *self._part].to(driver.mask)) for name, mask in masks.items()}
        small = {name: pool_to(mask, (COVER_SIDE, COVER_SIDE)) for name, mask in masks.items()}
        self._small_regions = {name: mask[0, 0].numpy() > 0.5 for name, mask in small.items()}

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return each frame's motion, the head's parallax and the share of each region that isn't seen, as JSON.

        certain: the motion that isn't beside what hides the face; regions: the same within each of them; unseen and
        before: how much of each isn't seen, and has something before it that moves; cover: where the face isn't seen;
        copied: the share of the face that the video's codec copied from the reference; missing: of what it copied for
        certain, which is no measurement; closed: how far each eye has closed (`face.closures`), of those that are seen.
        """
        driver, rigid = batch.driver, batch.observed.rigid
        skin = skin_size(batch.observed, self._part)
        peaks = peak_within(skin, self._face) / driver.face_width
        clear = distinct(undisturbed(batch.weight, driver.face_width)[..., *self._part])
        size = skin * clear.flatten(1).square()
        certain = peak_within(size, self._face) / driver.face_width
        within = {name: peak_within(size, places) / driver.face_width for name, places in self._regions.items()}
        turning = head_turning(rigid, driver.mask, batch.weight) / driver.face_width
        unseen = self._clip.visibility.unseen_regions(batch.weight)
        shown = (1 - distinct(batch.observed.before)).expand_as(batch.weight)
        before = self._clip.visibility.unseen_regions(shown)
        mask = driver.mask.to(batch.seen.copied)
        missing = (distinct(batch.seen.copied) * mask).sum((1, 2, 3)).expand(len(peaks)) / mask.sum()
        seen = pool_to(batch.weight, (COVER_SIDE, COVER_SIDE))[:, 0].cpu().numpy()
        return [
            [
                json.dumps(
                    {
                        "peak": float(peak),
                        "certain": float(certain[n]),
                        "regions": {name: float(values[n]) for name, values in within.items()},
                        "parallax": float(turning[n]),
                        "unseen": {name: float(share[n]) for name, share in unseen.items()},
                        "before": {name: float(share[n]) for name, share in before.items()},
                        "cover": packed_cover(seen[n] < 0.5),
                        "copied": float(batch.seen.repeated[n]),
                        "missing": float(missing[n]),
                        "closed": batch.seen.closures[n].tolist(),
                    }
                ).encode()
                for n, peak in enumerate(peaks)
            ]
        ]

    def finish(self, report: Report, made: Made) -> Report:
        """Return the report with the clip's onset, apex and offset, and the regions that weren't visible."""
        assert report.face is not None and report.reference is not None
        reference, rested = report.reference, self.rested
        if not reference.not_neutral and rested is not None:
            began = float(self._clip.times[self._clip.chosen.index])
            reference = replace(reference, not_neutral=_settles(began, rested), better=rested)
        shut = blinks(self.closures, self._seconds.tolist())
        face = replace(report.face, unseen=self.unseen, compression=self.compression, blinks=shut)
        return replace(report, events=self.event, face=face, reference=reference)

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        """What was left of every frame; to be asked for when all frames are there."""
        files = (self._folder.file_of(OBSERVED, index) for index in range(self._clip.count))
        return [json.loads(file.read_bytes()) for file in files]

    def _values(self, name: str, region: str | None = None) -> NDArray[np.float64]:
        """Return a number of every frame's record, or that of a region in it, [T]."""
        found = [record[name] if region is None else record[name][region] for record in self._records]
        return np.array(found, np.float64)

    @cached_property
    def closures(self) -> NDArray[np.float64]:
        """How far each eye has closed since the reference, [T, 2] (`face.closures`); of one that is hidden, nothing."""
        return self._values("closed")

    @cached_property
    def peaks(self) -> NDArray[np.float64]:
        """The motion of every frame, [T]."""
        return self._values("peak")

    @cached_property
    def _certain(self) -> NDArray[np.float64]:
        """The motion of every frame, [T], that is the face's own: not beside what hides it, nor the head's turning."""
        if not (self._covered or self.doubtful or self._blinking.any()):
            return self._without_parallax(self._values("certain"))
        return self._largest_of(REGIONS)

    def _largest_of(self, regions: Iterable[str]) -> NDArray[np.float64]:
        """Return the largest motion of some regions in every frame, [T], with no part in what moves before them.

        An event of the regions that nothing passes before is the face's. Where they show none, it is looked for in the
        others too, while nothing passes before any of them.
        """
        clear = [name for name in regions if name not in self._covered]
        untouched = [self._motion_in(name) for name in clear if name not in self.doubtful]
        peaks = np.max([np.zeros(len(self._records)), *untouched], axis=0)
        if len(untouched) == len(clear) or self._event_of(peaks) is not None:
            return peaks
        return np.where(self._passing, 0.0, np.max([self._motion_in(name) for name in clear], axis=0))

    @cached_property
    def _seconds(self) -> NDArray[np.float64]:
        """The frames' times in the clip, [T]."""
        return np.array([float(second) for second in self._clip.track.seconds])

    @cached_property
    def _passing(self) -> NDArray[np.bool_]:
        """The frames, [T], in which something passes before any region, or is about to or has just done so."""
        passing = np.any([np.zeros(len(self._seconds), np.bool_), *self.doubtful.values()], axis=0)
        during = self._seconds[passing]
        return np.asarray((np.abs(self._seconds[:, None] - during) <= APPROACH).any(1))

    @cached_property
    def _covered(self) -> frozenset[str]:
        """The regions with something before them that moves, in a few frames: in the others it moves less."""
        shares = {name: self._values("before", name) for name in REGIONS}
        return frozenset(name for name, share in shares.items() if (share > LEAST_COVERED).sum() >= FEWEST_COVERED)

    def _motion_in(self, region: str) -> NDArray[np.float64]:
        """Return the motion of every frame, [T], that is a region's own, and no blink's."""
        motion = self._without_parallax(self._values("regions", region))
        return np.where(self._blinking, 0.0, motion) if region in MOVED_BY_BLINKS else motion

    @cached_property
    def _blinking(self) -> NDArray[np.bool_]:
        """The frames, [T], in which the lids close or open by more than an expression's, or are on their way."""
        shut = self._seconds[mesh_weight(self.closures).max(1) > 0]
        return np.asarray((np.abs(self._seconds[:, None] - shut) <= OPENING).any(1))

    @cached_property
    def doubtful(self) -> dict[str, NDArray[np.bool_]]:
        """The frames, [T], in which something passes before a region (`face.passing`), of the regions that have any."""
        if (covers := self._covers) is None or self.speckled:
            return {}
        motion = {name: self._values("regions", name) for name in REGIONS}
        return passing(covers, self._small_regions, motion, self._seconds.tolist())

    @cached_property
    def speckled(self) -> bool:
        """Whether drops or flakes pass before the face (`face.are_specks`), whose motion hides an expression's."""
        covers = self._covers
        return covers is not None and are_specks(covers, self._small_regions, self._seconds.tolist())

    @cached_property
    def _covers(self) -> NDArray[np.bool_] | None:
        """Where each frame doesn't show the face, [T, H, W]; None where all show all of it."""
        packed = [record["cover"] for record in self._records]
        return np.stack([cover_of(each) for each in packed]) if any(packed) else None

    def _without_parallax(self, peaks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return motion of every frame, [T], without what the head's turning leaves in it."""
        parallax = self._values("parallax")
        free, times = PARALLAX
        return np.maximum(peaks - times * np.maximum(parallax - free, 0.0), 0.0)

    @cached_property
    def held(self) -> NDArray[np.intp]:
        """Which frame each frame shows, [T]: itself, or the one before the head turned away and came back.

        Where all of a frame's motion may be what a fast turn leaves, the face's own isn't known. The frames from or to
        which the head turns fast are blurred, so that it leaves more in them. What a slow turn leaves follows it.
        """
        parallax, certain = self._values("parallax"), self._values("certain")
        drowned = (parallax > PARALLAX[0]) & (self._without_parallax(certain) <= 0)
        steps = np.abs(np.diff(parallax, prepend=parallax[:1], append=parallax[-1:]))
        fast = np.maximum(steps[:-1], steps[1:]) > FAST
        lost = drowned | fast
        seconds, shown = self._seconds, np.arange(len(lost))
        for run in np.split(shown, np.flatnonzero(np.diff(lost)) + 1):
            before, after = run[0] - 1, run[-1] + 1
            within = before >= 0 and after < len(shown) and seconds[after] - seconds[before] <= PASSING
            if drowned[run].any() and fast[run].any() and within:
                shown[run] = before
        return shown

    @cached_property
    def rested(self) -> float | None:
        """A time, in seconds of the video, in a state that the face goes to from the reference's and stays in."""
        times = self._clip.times
        if (first := self.settled) is None:
            return None
        middle = (first + len(times) - 1) // 2
        return float(times[middle]) if self._clip.track.present[middle] else None

    def concluded(self, reference: ReferenceReport, event: MotionEvent | None) -> ReferenceReport:
        """Return a reference without the other state of rest, if the event that led there is none, or one that ends."""
        goes_on = event is not None and event.offset is None
        if goes_on or self.rested is None or reference.better != self.rested:
            return reference
        return replace(reference, not_neutral="", better=None)

    @cached_property
    def settled(self) -> int | None:
        """The frame from which on the face is in a state that it goes to from the reference's and stays in."""
        event = self.event
        if event is None or event.offset is not None or self._clip.outside is not None:
            return None
        return settled(self._certain)

    @cached_property
    def compression(self) -> Compression:
        """What the video's codec did to the face."""
        return Compression(self._usual("copied"), self._clip.copied_pixels.block_edges)

    @cached_property
    def sparse(self) -> bool:
        """Whether the motion's peak is found from so little of the face that it isn't matched.

        What the codec copied for certain is missing data, and the motion there is that of what is coded around it,
        which a codec exaggerates. Where copies aren't known for certain (HEVC's blocks have many sizes), they count as
        rest, and the peak is no larger than the driver's.
        """
        return Compression(self._usual("missing"), self._clip.copied_pixels.block_edges).strong

    def _usual(self, name: str) -> float:
        """Return a share of the face in the median of the frames that tell what a codec did."""
        coded = np.array(self._clip.track.present)
        if self._clip.chosen.index < len(coded):
            coded[self._clip.chosen.index] = False  # it is a copy of itself
        shares = self._values(name)[coded]
        # Where no codec is known, it is told by ends on a grid, and a frame that repeats all of the reference has none.
        known = shares[shares > 0]
        return float(np.median(known)) if len(known) >= max(2.0, LEAST_CODED * len(shares)) else 0.0

    @cached_property
    def unseen(self) -> tuple[Unseen, ...]:
        """The regions that aren't seen in some frames."""
        found, seconds = [], self._seconds.tolist()
        for region in REGIONS:
            hidden = self._values("unseen", region) > UNSEEN
            if region in self.doubtful:
                hidden = hidden | self.doubtful[region]
            if hidden.any():
                first, last = np.flatnonzero(hidden)[[0, -1]]
                found.append(Unseen(region, seconds[first], seconds[last], float(hidden.mean())))
        return tuple(found)

    @cached_property
    def event(self) -> MotionEvent | None:
        """Onset, apex and offset, or None when nothing stands out from the noise.

        Against a reference outside the trim, an expression may be held through all of the clip: it has an apex alone.
        What anybody sees in the frame that moves most (`plain`) needn't stand out from the others. Where the noise of
        the whole face drowns it, it is looked for in each region; not after a codec, whose noise stays in the blocks
        that it copies on, so that a region's curve has steps and no noise to be told by.
        """
        plain = self._shows_plainly(int(self._certain.argmax()))
        event = self._event_of(self._certain, known=plain)
        if event is not None or self.compression.copied >= LEAST_COPIED:
            return event
        clear = [name for name in REGIONS if name not in self._covered and name not in self.doubtful]
        found = {name: self._event_of(self._motion_in(name), len(clear)) for name in clear}
        events = {name: each for name, each in found.items() if each is not None}
        return events[max(events, key=self._contrast)] if events else None

    def _contrast(self, region: str) -> float:
        """Return how far a region moves, over what it moves by in half of the frames."""
        motion = self._motion_in(region)
        return float(motion.max() / max(float(np.median(motion)), LEAST_EVENT / 10))

    def explained_event(self, residual: Mapping[str, float], shows: bool = True) -> MotionEvent | None:
        """Return the event among motion that a rig's controls explain, for a rig that has controls for a whole face.

        residual: share of each region's motion that no control explains. Where the motion at the apex is a region's in
        which they explain nothing, and goes on outside the event, it is cloth that moves before the face, or hair, and
        the face's own event is looked for in the other regions. Motion that comes once and goes is a face's: brows
        behind the rims of glasses, which keep still, are explained by nothing either. shows: whether any control moves;
        where none does, it is glints, hands, dust or a jolt of the camera that move.
        """
        if (event := self.event) is None or not shows:
            return None
        if residual.get(self._most_moving(event), 0.0) < UNEXPLAINED or self.comes_once(event):
            return event
        explained = [name for name, share in residual.items() if share < UNEXPLAINED]
        return self._event_of(self._largest_of(explained))

    def timed_by(self, motion: NDArray[np.float64], anyway: bool = False) -> MotionEvent | None:
        """Return the event of an expression's course, [T], in shares of the face's width, as a rig's controls show it.

        What a codec copies from an expression's frames stays where it is when that is over, and is in all motion of the
        face; so is that of drops and flakes. None where there are neither, unless it is asked for anyway, or no event.
        """
        copied = self.compression.copied >= LEAST_COPIED
        if not self.speckled and (self.event is None or not (copied or anyway)):
            return None
        return self._event_of(motion)

    def shown_event(self, motion: NDArray[np.float64]) -> MotionEvent | None:
        """Return the event of an expression's course, [T], where the motion of the face, or of a region, shows none.

        In dim light noise drowns both; but it hardly has any part in the pattern that the controls show, whose course
        stands out by far. motion: as for `timed_by`. It is that of the frame in which the controls show most, so that
        as many courses as there are frames might have been looked at. None where more than noise may have made it:
        where a codec has copied anything, something hides a part of the face or the head turns; and in few frames.
        """
        turns = bool((self._values("parallax") > PARALLAX[0]).any())
        hidden = bool(self._covered or self.unseen)
        if self.compression.copied >= LEAST_COPIED or hidden or turns or len(motion) < FEWEST_SHOWN:
            return None
        return self._event_of(np.where(self._blinking | self._passing, 0.0, motion), len(motion))

    def event_of(self, motion: NDArray[np.float64]) -> MotionEvent | None:
        """Return the event of an expression's course, [T], as for `timed_by`, where nothing hides the face."""
        return self._event_of(motion)

    def left_by(self, turning: NDArray[np.float64]) -> bool:
        """Return whether all of the motion of a face may be what is left of a head's that turns; not if any is hidden.

        It is small beside the turn of a head that sways; or most of it is no more than a larger turn leaves. turning:
        how far the head has turned, as the sine of an angle, [T].
        """
        (least, most), farthest = SWAYS, float(turning.max(initial=0.0))
        if farthest <= least or self._covered or self.unseen:
            return False
        motion = self._values("certain")
        sways = farthest < most and motion.max() < LEFT_BY_TURNING * farthest
        return bool(sways or self._without_parallax(motion).max() < DROWNED * motion.max())

    def plain(self, event: MotionEvent) -> bool:
        """Return whether anybody sees an event's expression: the mesh's scores show it, too (`face.shows_more`).

        No rig is asked then whether it is a face's. Where anything hides a part of the face, the mesh is none to ask.
        """
        return self._shows_plainly(int(np.abs(self._seconds - event.apex).argmin()))

    def _shows_plainly(self, frame: int) -> bool:
        return not (self._covered or self.unseen) and self._clip.shows_plainly(frame)

    def _most_moving(self, event: MotionEvent) -> str:
        """Return the region that moves most at an event's apex, of those before which nothing moves."""
        clear = [name for name in REGIONS if name not in self._covered]
        clear = [name for name in clear if name not in self.doubtful] or clear
        apex = int(np.abs(self._seconds - event.apex).argmin())
        return max(clear, key=lambda name: float(self._motion_in(name)[apex]))

    def comes_once(self, event: MotionEvent) -> bool:
        """Return whether the region that moves most at an event's apex is at rest before it and after it."""
        if event.onset is None or event.offset is None:
            return False
        motion = self._motion_in(self._most_moving(event))
        outside = (self._seconds < event.onset) | (self._seconds > event.offset)
        outside &= np.asarray(self._clip.track.present)
        return bool(outside.any() and motion[outside].max() < ONCE * motion[~outside].max())

    def _event_of(self, peaks: NDArray[np.float64], curves: int = 1, known: bool = False) -> MotionEvent | None:
        """Return the event in motion of every frame, [T]: in the frames that can be trusted, not in what they hold.

        curves: how many such motions are looked at. known: whether it is an expression's, and only its times are asked.
        """
        trusted = np.flatnonzero(self._clip.track.present & (self.held == np.arange(len(peaks))))
        peaks = _without_leaps(self._seconds[trusted], self._with_noise(peaks)[trusted])
        seconds = [self._clip.track.seconds[index] for index in trusted]
        if self.compression.strong:
            peaks = _without_key_frames(peaks)
        if self._clip.outside is not None and peaks.min() > HELD:
            return MotionEvent(None, float(seconds[int(peaks.argmax())]), None)
        if known:
            return timed(np.array(seconds, np.float64), peaks, rest=float(peaks.min()))
        rest = float(np.median(np.sort(peaks)[: max(1, len(peaks) // 2)]))
        # A clip that is all expression has no frames at rest to compare with.
        least = LEAST_EVENT * (2 if self.unseen else 1)
        if peaks.max() < max(least, min(CONTRAST * rest, HELD)) or _is_spike(peaks, rest):
            return None
        certain = min(HELD, (SURE - 1) * rest)
        return find_event(seconds, peaks, certain, 2 * curves)  # of all of the face, and of its regions

    def _with_noise(self, peaks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return motion of every frame, [T]; the reference's, none by definition, is the least of the others'."""
        result, reference = peaks.copy(), self._clip.chosen.index
        others = np.flatnonzero(self._clip.track.present)
        others = others[others != reference]
        if reference < len(peaks) and len(others):
            result[reference] = peaks[others].min()
        return result


def _part_with(regions: Iterable[Tensor]) -> tuple[slice, slice]:
    """Return the rows and the columns that hold all of some soft regions [1, 1, H, W]."""
    inside = torch.cat([region.cpu() for region in regions])[:, 0].amax(0) > 0.5
    rows, columns = (inside.any(axis).nonzero().flatten().tolist() or [0] for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _without_key_frames(peaks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return motion of every frame, [T], without what one frame by itself has more than both beside it.

    A strong codec's key frames, coded anew, differ from all others as if the face had moved; an expression that is seen
    in one frame alone can't be told from that.

    >>> _without_key_frames(np.array([6.0, 0.0, 0.0, 1.0, 3.0, 2.0, 0.0, 5.0, 0.0]))
    array([0., 0., 0., 1., 2., 2., 2., 0., 0.])
    """
    if len(peaks) < 3:
        return peaks
    inner = np.median([peaks[:-2], peaks[1:-1], peaks[2:]], axis=0)
    return np.r_[min(peaks[:2]), inner, min(peaks[-2:])]


def _is_spike(peaks: NDArray[np.float64], rest: float) -> bool:
    """Return whether the largest motion is a weak one in a frame alone: a dark sensor's noise, and no expression."""
    apex = int(peaks.argmax())
    beside = np.r_[peaks[max(0, apex - 1) : apex], peaks[apex + 1 : apex + 2]]
    return bool(peaks[apex] < SPIKE and beside.max(initial=0.0) < rest + BESIDE * (peaks[apex] - rest))


def _without_leaps(seconds: NDArray[np.float64], peaks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return motion of every frame, [T], without what leaps in a frame by itself farther than skin does.

    It is dark glasses that are taken for skin as they come down, or the like.

    >>> peaks = np.array([0.0, 0.001, 0.12, 0.002, 0.0, 0.01, 0.03, 0.01])
    >>> _without_leaps(np.arange(8) / 30, peaks)
    array([0.   , 0.001, 0.002, 0.002, 0.   , 0.01 , 0.03 , 0.01 ])
    >>> bool((_without_leaps(np.arange(8) / 8, peaks) == peaks).all())  # so far apart it may be an expression
    True
    """
    if len(peaks) < 3:
        return peaks
    beside = np.maximum(peaks[:-2], peaks[2:])
    alone = (peaks[1:-1] > LEAP) & (beside < BESIDE * peaks[1:-1]) & (seconds[2:] - seconds[:-2] < 2 * AT_ONCE)
    return np.r_[peaks[0], np.where(alone, beside, peaks[1:-1]), peaks[-1]]


def _settles(reference: float, rested: float) -> str:
    return (
        f"The face goes from where it is in the reference frame at {reference:.3f} s to another state and stays so; "
        f"if it is at rest there, choose that as reference (--reference {rested:.3f})."
    )
