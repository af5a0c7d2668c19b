# SPDX-License-Identifier: GPL-3.0-or-later
"""The driving video as the pipeline uses it: one face, one reference frame, one steady crop, read again at need."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.files.hashing import fingerprint_of
from ...backend_bridge.job.report import DrivingReport, FaceReport, ReferenceReport, Timing
from ..ahead import ahead
from ..backends import FaceImage
from ..face import (
    FaceTrack,
    Reference,
    RigidSplit,
    SteadyCrop,
    Visibility,
    closures,
    closures_of_each,
    closures_of_seen,
    eyes_part,
    face_depth,
    face_mask,
    gaze_reach,
    head_turn,
    mesh_weight,
    nearer_to_rest,
    openings,
    rigid_mask,
    split_rigid,
)
from ..magnification import Motion
from ..video import VideoFrame, VideoReader
from .clip_reference import shows_expression, shows_the_same, with_outside
from .clip_request import ClipRequest
from .copied_pixels import CopiedPixels
from .even_field import without_repeats
from .kept_clip import KeptClip
from .outside import Outside
from .seen import Seen


@dataclass(frozen=True)
class DrivingClip:
    """One face through a trimmed clip, in N frames.

    `reference` is the neutral frame's crop, [1, 3, S, S], with its landmarks in crop px. `copied_pixels` finds what the
    codec copied from it. `outside`: the reference's frame where it lies outside the trim; `chosen.index` is N then, so
    that crops and landmarks of it come after the clip's own. `resting`: when, outside the trim, the face is clearly
    nearer to rest than in the reference, in s of the video. `clip_opening.open_clip` makes it.
    """

    request: ClipRequest
    track: FaceTrack
    chosen: Reference
    crop: SteadyCrop
    size: int
    reference: FaceImage
    copied_pixels: CopiedPixels
    outside: Outside | None = None
    resting: Fraction | None = None

    def to_keep(self, warnings: tuple[str, ...]) -> KeptClip:
        """Return what `clip_opening.reopened` makes the clip of, with the warnings from when it was opened."""
        return KeptClip(warnings, self.track, self.chosen, self.crop, self.size, self.resting)

    @property
    def reader(self) -> VideoReader:
        """Reads the frames."""
        return self.request.reader

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.track)

    @cached_property
    def present(self) -> list[int]:
        """Frames that show the face and can be trusted."""
        return np.flatnonzero(self.track.present).tolist()

    @cached_property
    def missing(self) -> list[int]:
        """Frames that do not."""
        return np.flatnonzero(~self.track.present).tolist()

    @cached_property
    def mask(self) -> Tensor:
        """Where the driver's face is, [1, 1, S, S] in [0, 1]."""
        return face_mask(self.reference.landmarks, (self.size, self.size))

    @property
    def sha256(self) -> str:
        """Hash of the video file, or of the hashes of an image sequence's files."""
        return self.reader.sha256

    def split_head_motion(self, motion: Motion) -> RigidSplit:
        """Return the head's motion and the face's own, [N, 2, S, S] px each."""
        device = motion.flow.device
        return split_rigid(motion, self.depth.to(device), self._skull.to(device))

    @cached_property
    def depth(self) -> Tensor:
        """How far the driver's face is from the viewer, [1, 1, S, S] px."""
        return face_depth(self.reference.landmarks, (self.size, self.size))

    @cached_property
    def _skull(self) -> Tensor:
        return rigid_mask(self.reference.landmarks, (self.size, self.size))

    def batches(self, size: int, *wanted: Sequence[int]) -> Generator[tuple[list[int], Seen], None, None]:
        """Yield up to `size` of the wanted frames at a time, with their numbers; the next ones are made meanwhile.

        wanted: of several lists, the frames of one come together.
        """
        return ahead(itertools.chain.from_iterable(self._batches(size, each) for each in wanted))

    def _batches(self, size: int, wanted: Sequence[int]) -> Iterator[tuple[list[int], Seen]]:
        frames = self._wanted(wanted)
        for left in range(len({*wanted}), 0, -size):
            batch = [self._cut_out(itertools.islice(frames, size), min(size, left))]
            if batch[0][0]:
                yield batch.pop()  # tens of megabytes, which would be kept beside what is made of it

    def _name_of(self, indices: Sequence[int]) -> str | None:
        """Return what identifies frames, by number, as they are cut out; None where the file has changed meanwhile."""
        return f"{self._fingerprint} {[*indices]}" if self.reader.unchanged else None

    @cached_property
    def _fingerprint(self) -> str:
        """Hash of the file, or of an image sequence's, and of all that was measured to cut a face out of it."""
        names = [file.name for file in self.reader.files]  # whose numbers are the times of an image sequence
        return fingerprint_of(self.sha256, names, self.reader.info.start, self.to_keep(()).fingerprint)

    def _wanted(self, wanted: Sequence[int]) -> Iterator[VideoFrame]:
        remaining = set(wanted)
        for frame in self._frames if remaining else ():
            if frame.index in remaining:
                remaining.discard(frame.index)
                yield frame
            if not remaining:
                return

    def _cut_out(self, frames: Iterable[VideoFrame], most: int) -> tuple[list[int], Seen]:
        """Return the numbers of frames, `most` of them, and the frames with what isn't seen of the face filled in."""
        pictures, weight, copied = (torch.empty(most, count, self.size, self.size) for count in (3, 1, 1))
        repeated, closed = np.empty(most), np.empty((most, 2))
        indices: list[int] = []
        for place, frame in enumerate(frames):
            index, here = frame.index, slice(place, place + 1)
            crop = self.crop.crop(frame.image, self.size, index)
            self.visibility(crop, self._all_landmarks[[index]], self._inside(index), (pictures[here], weight[here]))
            copied[here], repeated[here] = self._copied(frame.image, index)
            closed[here] = self._closures_seen(index, weight[here])
            indices.append(index)
        found = slice(len(indices))
        hidden, same = without_repeats(weight[found]), without_repeats(copied[found])
        return indices, Seen(pictures[found], hidden, same, repeated[found], closed[found], self._name_of(indices))

    def _closures_seen(self, index: int, weight: Tensor) -> NDArray[np.float64]:
        """Return how far each eye has closed in a frame, [1, 2], by what is seen of them by a `weight` [1, 1, S, S]."""
        hidden = self.visibility.hidden_eyes(weight)
        return closures_of_seen(self._all_closures[[index]], self._closures_of_each[[index]], hidden)

    def _copied(self, image: NDArray[np.float32], index: int) -> tuple[Tensor, NDArray[np.float64]]:
        """Return what the codec copied of a frame for certain, [1, 1, S, S], and the share of the face, [1]."""
        repeats = self.copied_pixels.repeats(image)
        copied = self.copied_pixels(repeats, index)
        if self.reader.info.lossy:
            return copied, np.array([self.copied_pixels.repeated(repeats)])
        return copied, np.array([float((copied * self.mask).sum() / self.mask.sum())])

    def _inside(self, index: int) -> Tensor:
        info = self.reader.info
        return self.crop.inside((info.height, info.width), self.size, index)

    @cached_property
    def visibility(self) -> Visibility:
        """The estimator of how much of the face a frame shows."""
        inside = self._inside(self.chosen.index)
        return Visibility(self.reference.image, self.reference.landmarks, inside, self.crop.tilt)

    @property
    def landmarks(self) -> NDArray[np.float32]:
        """The landmarks of every frame in px of its crop, [N, 478, 3]."""
        return self._all_landmarks[: self.count]

    @cached_property
    def _all_landmarks(self) -> NDArray[np.float32]:
        """The same, followed by those of a reference outside the trim."""
        return self.crop.landmarks(self._followed.points, self.size)

    @cached_property
    def _followed(self) -> FaceTrack:
        return with_outside(self.track, self.chosen, self.outside)

    @property
    def _frames(self) -> Iterator[VideoFrame]:
        after = [] if self.outside is None else [replace(self.outside.frame, index=self.count)]
        return itertools.chain(self.reader, after)

    def liveliest(self, count: int) -> list[int]:
        """Return the frames whose landmarks lie farthest from the reference's, at most `count`, in order.

        Landmarks jitter by about as much as a micro-expression moves, which is good enough for choosing frames to
        look at, and for nothing else.
        """
        away = self._away
        away[self.missing] = -1
        ranked = np.argsort(-away)[: min(count, len(self.present))]
        return sorted(int(index) for index in ranked)

    def quietest(self, count: int) -> list[int]:
        """Return at most `count` frames of the quieter half, besides the reference, spread over the clip's time."""
        others = [index for index in self.present if index != self.chosen.index]
        away = self._away
        quiet = [index for index in others if away[index] <= np.median(away[others])]
        places = np.linspace(0, len(quiet) - 1, min(count, len(quiet))).round().astype(int)
        return [quiet[place] for place in places]

    @property
    def _away(self) -> NDArray[np.floating[Any]]:
        """How far each frame's landmarks lie from the reference's, [T] px of the crop."""
        steady = self.landmarks[..., :2]
        distance = np.linalg.norm(steady - self.reference.landmarks[:, :2], axis=2).mean(1)
        return np.asarray(distance)

    @property
    def times(self) -> list[Fraction]:
        """When each frame is shown, in seconds of the video's own timeline."""
        return [self.reader.info.start + seconds for seconds in self.track.seconds]

    def driving_report(self) -> DrivingReport:
        """Return what the report says about the file."""
        info = self.reader.info
        return DrivingReport(
            path=str(self.request.path),
            sha256=self.sha256,
            width=info.width,
            height=info.height,
            bit_depth=info.bit_depth,
            rotation=info.rotation,
            frames=self.count,
            start=float(info.start),
        )

    def timing_report(self) -> Timing:
        """Return what the report says about the frames' times."""
        return Timing(self.track.seconds, self.reader.info.average_rate, self.reader.info.variable_rate)

    def reference_report(self) -> ReferenceReport:
        """Return what the report says about the reference frame."""
        chosen = self.chosen
        index = -1 if self.outside else chosen.index
        better = None if self._better is None else float(self._better)
        return ReferenceReport(index, float(chosen.seconds), chosen.chosen, self.not_neutral, better)

    def face_report(self) -> FaceReport:
        """Return what the report says about the driver's face."""
        return FaceReport(
            missing_seconds=tuple(float(seconds) for seconds in self.track.missing_seconds),
            untrusted=self.track.untrusted,
            width_px=float(np.ptp(self._followed.points[self.chosen.index, :, 0])),
            crop_size=self.size,
            head_turn=head_turn(self.track.points[self.present], self._followed.points[self.chosen.index]),
            faces=self.track.faces,
            taken=self.track.taken,
        )

    @cached_property
    def _all_closures(self) -> NDArray[np.float64]:
        """How far each eye has closed by the mesh (`face.closures`), [N, 2], as `_all_landmarks`."""
        return closures(self._all_landmarks, self.reference.landmarks)

    @cached_property
    def _closures_of_each(self) -> NDArray[np.float64]:
        """The same of each eye by itself (`face.closures_of_each`), [N, 2]."""
        return closures_of_each(self._all_landmarks, self.reference.landmarks)

    @property
    def eyes_shut(self) -> bool:
        """Whether they are in the reference, so that neither lids nor gaze can be measured."""
        return bool(np.isnan(openings(self.reference.landmarks)).all())

    @cached_property
    def gaze_reach(self) -> NDArray[np.float64]:
        """How far the eyes turn at most while no lid closes, [4] (`face.gaze_reach`)."""
        open_ = mesh_weight(self._all_closures[self.present]).max(1) == 0
        return gaze_reach(self.landmarks[self.present][open_], self.reference.landmarks)

    @cached_property
    def eyes_part(self) -> bool:
        """Whether the eyes clearly don't look together (`face.eyes_part`)."""
        return eyes_part(self.landmarks[self.present], self.reference.landmarks)

    @property
    def not_neutral(self) -> str:
        """A sentence that says when the face is clearly nearer to rest than in the reference, or nothing."""
        if self._better is None:
            return ""
        here, there = float(self.reader.info.start + self.chosen.seconds), float(self._better)
        if self._better == self.resting:
            return (
                f"The reference frame at {here:.3f} s shows an expression, so that its fading looks like the opposite; "
                f"at {there:.3f} s, outside the trim, the face is nearer to rest: choose that as reference "
                f"(--reference {there:.3f})."
            )
        return shows_expression(here, there)

    @cached_property
    def _better(self) -> Fraction | None:
        """When the face is clearly nearer to rest than in the reference, in seconds of the video."""
        within, chosen = nearer_to_rest(self._followed, self.chosen.index), self.chosen.index
        if within is None:
            return self.resting
        same = self.outside is not None or shows_the_same(self.reader, self.track, chosen, within)
        return self.times[within] if same else None
