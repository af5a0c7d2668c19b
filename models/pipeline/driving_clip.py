# SPDX-License-Identifier: GPL-3.0-or-later
"""The driving video as the pipeline uses it: one face, one reference frame, one steady crop, read again at need."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.files.hashing import fingerprint_of
from ...backend_bridge.job.report import DrivingReport, FaceReport, ReferenceReport, Timing
from ...backend_bridge.job.spec import Driving, resolve
from ...backend_bridge.job.stages import Stage
from ...backend_bridge.rig.footage import listed
from ..ahead import ahead
from ..backends import FaceImage, Framing
from ..face import (
    FaceLandmarker,
    FaceTrack,
    Reference,
    RigidSplit,
    SteadyCrop,
    Visibility,
    choose_reference,
    closures,
    closures_of_each,
    closures_of_seen,
    eyes_part,
    face_depth,
    face_mask,
    follow_face,
    head_turn,
    nearer_to_rest,
    regions,
    rigid_mask,
    split_rigid,
)
from ..magnification import Motion
from ..video import VideoFrame, VideoReader
from .copied_pixels import CopiedPixels
from .even_field import without_repeats
from .kept_clip import KeptClip
from .notes import Notes
from .outside import Outside, calmer_outside, outside_frame

LARGEST_CROP = 512  # px a side; a larger face is reduced to it
SMALLEST_CROP = 128  # px a side; a smaller face is enlarged to it
HIDDEN = 0.5  # of a region, from which on it isn't seen
SMALLEST_FACE = 32  # px from cheek to cheek; below, a micro-expression is less than a hundredth of a pixel


@dataclass(frozen=True)
class Seen:
    """N frames of the driver in the reference's light, and how far each pixel shows the face.

    frames: [N, 3, S, S], the reference's pixels where the face isn't seen. weight: [N, 1, S, S] in [0, 1]. copied:
    [N, 1, S, S] in [0, 1], what the codec copied from the reference for certain (`CopiedPixels`). repeated: [N], the
    share of the face that it copied, known of whole frames, too. closures: [N, 2], how far each eye has closed
    (`face.closures`). name: identifies the frames and how they were cut out, in any worker; None where nothing does.
    """

    frames: Tensor
    weight: Tensor
    copied: Tensor
    repeated: NDArray[np.float64]
    closures: NDArray[np.float64]
    name: str | None = None

    def to(self, device: torch.device) -> Seen:
        """Return the same on a device."""
        frames, weight, copied = (values.to(device) for values in (self.frames, self.weight, self.copied))
        return Seen(frames, weight, copied, self.repeated, self.closures, self.name)

    @classmethod
    def joined(cls, parts: Sequence[Seen], name: str | None) -> Seen:
        """Return the frames of several parts together, which have this name."""
        frames, weight, copied = (
            torch.cat(values)
            for values in zip(*((each.frames, each.weight, each.copied) for each in parts), strict=True)
        )
        repeated, closures = (
            np.concatenate(values) for values in zip(*((each.repeated, each.closures) for each in parts), strict=True)
        )
        return cls(frames, without_repeats(weight), without_repeats(copied), repeated, closures, name)

    def part(self, at: slice) -> Seen:
        """Return some of the frames."""
        return Seen(self.frames[at], self.weight[at], self.copied[at], self.repeated[at], self.closures[at])


def reader_of(folder: Path, driving: Driving) -> VideoReader:
    """Return what reads the driving video of a job in `folder`. Raises `InputError` for one that can't be used."""
    return VideoReader(resolve(folder, driving.path), driving.trim, driving.sequence_rate)


@dataclass(frozen=True)
class DrivingClip:
    """One face through a trimmed clip, in N frames.

    `reference` is the neutral frame's crop, [1, 3, S, S], with its landmarks in crop px; `frame_size` is S where the
    backend dictates it. `copied_pixels` finds what the codec copied from it. `outside`: the reference's frame where it
    lies outside the trim; `chosen.index` is N then, so that crops and landmarks of it come after the clip's own.
    `resting`: when, outside the trim, the face is clearly nearer to rest than in the reference, in s of the video.
    """

    reader: VideoReader
    path: Path
    track: FaceTrack
    chosen: Reference
    crop: SteadyCrop
    size: int
    reference: FaceImage
    copied_pixels: CopiedPixels
    frame_size: int | None
    framing: Framing
    outside: Outside | None = None
    resting: Fraction | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        driving: Driving,
        landmarker: FaceLandmarker,
        notes: Notes,
        frame_size: int | None,
        framing: Framing,
        reader: VideoReader | None = None,
    ) -> DrivingClip:
        """Read the clip once: find the face in every frame and choose the reference frame.

        `frame_size` is the crop's side where the backend dictates it; otherwise the crop has as many px as the video
        has there. `reader`: what reads the video, where there is one already. Raises `InputError` for a video that
        can't be used or shows no face.
        """
        path = resolve(folder, driving.path)
        reader = reader or reader_of(folder, driving)
        track = follow_face(_WithProgress(reader, notes), landmarker, driving.face_index)
        for warning in reader.warnings:
            notes.warning(warning)
        if track.faces > 1 and driving.face_index is None:
            notes.warning(several_faces(track))
        if track.untrusted:
            notes.warning(f"Frames that can't be trusted hold the one before them: {listed(track.untrusted)}.")
        asked = None if driving.reference is None else driving.reference - float(reader.info.start)
        outside = outside_frame(path, driving, driving.reference, reader, track, landmarker)
        if outside is not None:
            chosen = Reference(len(track), outside.seconds - reader.info.start, "given")
            return cls._with_reference(reader, path, track, chosen, frame_size, framing, notes, outside)
        if asked is not None:
            _check_reference(asked, track, reader)
        chosen = choose_reference(track, asked)
        if chosen.chosen == "rest":
            plain = choose_reference(track, asked, resting=False)
            if not _shows_the_same(reader, track, plain.index, chosen.index):
                chosen = plain
        resting = None
        if nearer_to_rest(track, chosen.index) is None:
            image = next(frame for frame in reader if frame.index == chosen.index)
            resting = calmer_outside(path, driving, track, chosen.index, image, landmarker)
            if asked is None and resting is not None:
                outside = outside_frame(path, driving, resting, reader, track, landmarker)
        if outside is not None:
            chosen = Reference(len(track), outside.seconds - reader.info.start, "rest")
            return cls._with_reference(reader, path, track, chosen, frame_size, framing, notes, outside)
        clip = cls._with_reference(reader, path, track, chosen, frame_size, framing, notes)
        return replace(clip, resting=resting)

    def with_reference(self, index: int, chosen: str, notes: Notes) -> DrivingClip:
        """Return the clip with frame `index` as its reference; `chosen` says for the report how it was found."""
        reference = Reference(index, self.track.seconds[index], chosen)
        return self._with_reference(self.reader, self.path, self.track, reference, self.frame_size, self.framing, notes)

    @classmethod
    def _with_reference(
        cls,
        reader: VideoReader,
        path: Path,
        track: FaceTrack,
        chosen: Reference,
        frame_size: int | None,
        framing: Framing,
        notes: Notes,
        outside: Outside | None = None,
    ) -> DrivingClip:
        steady = _WithProgress(reader, notes, Stage.STEADY, outside)
        followed = _followed(track, chosen, outside)
        crop = SteadyCrop.follow(followed, chosen.index).refined(steady, followed, chosen.index)
        width = float(np.ptp(followed.points[chosen.index, :, 0]))
        if width < SMALLEST_FACE:
            raise InputError(
                f"The face in the driving video is only {width:.0f} px wide; choose a video in which it is larger "
                f"(at least {SMALLEST_FACE} px, better 200)."
            )
        image = outside.frame.image if outside else next(f.image for f in reader if f.index == chosen.index)
        square = framing.driver(crop.steady(followed.points), chosen.index, (image.shape[1], image.shape[0]))
        crop = crop.framed(square, framing.beyond)
        size = frame_size or int(min(max(2 * round(crop.native_size / 2), SMALLEST_CROP), LARGEST_CROP))
        landmarks = crop.landmarks(followed.points, size)[chosen.index]
        reference = FaceImage(crop.crop(image, size, chosen.index), landmarks)
        copied = CopiedPixels(image, chosen.index, crop, size, followed.points[chosen.index])
        return cls(reader, path, track, chosen, crop, size, reference, copied, frame_size, framing, outside)

    @classmethod
    def measured_before(
        cls,
        kept: KeptClip,
        path: Path,
        driving: Driving,
        landmarker: FaceLandmarker,
        frame_size: int | None,
        framing: Framing,
        reader: VideoReader,
    ) -> DrivingClip:
        """Return what `open` returned, from what it had measured; of the video only the reference frame is read.

        Raises `InputError` as `open` does, `ValueError` where the measurements are of another clip.
        """
        track, chosen, crop, size = kept.track, kept.chosen, kept.crop, kept.size
        asked: float | Fraction | None = driving.reference
        if asked is None and chosen.index == len(track):
            asked = reader.info.start + chosen.seconds
        outside = outside_frame(path, driving, asked, reader, track, landmarker)
        followed = _followed(track, chosen, outside)
        if len(crop.to_reference) != len(followed) or chosen.index >= len(followed):
            raise ValueError("it was measured with another reference")
        image = outside.frame.image if outside else next((f.image for f in reader if f.index == chosen.index), None)
        if image is None:
            raise ValueError("the clip has no such reference frame")
        landmarks = crop.landmarks(followed.points, size)[chosen.index]
        reference = FaceImage(crop.crop(image, size, chosen.index), landmarks)
        copied = CopiedPixels(image, chosen.index, crop, size, followed.points[chosen.index])
        return cls(
            reader, path, track, chosen, crop, size, reference, copied, frame_size, framing, outside, kept.resting
        )

    def to_keep(self, warnings: tuple[str, ...]) -> KeptClip:
        """Return what `measured_before` makes the clip of, with the warnings from when it was opened."""
        return KeptClip(warnings, self.track, self.chosen, self.crop, self.size, self.resting)

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

    def region_map(self, gains: dict[str, float]) -> Tensor:
        """Return what multiplies the magnification in space, [1, 1, S, S]; 1 where no region is named."""
        masks = regions(self.reference.landmarks, (self.size, self.size))
        gain = torch.ones(1, 1, self.size, self.size)
        for name, value in gains.items():
            gain = gain + (value - 1) * masks[name]
        return gain

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
        each = self._each(wanted)
        while group := list(itertools.islice(each, size)):
            indices = [index for index, _ in group]
            batch = [(indices, Seen.joined([seen for _, seen in group], self._name_of(indices)))]
            del group  # tens of megabytes, which would be kept beside what is made of it, as that would
            yield batch.pop()

    def _name_of(self, indices: Sequence[int]) -> str | None:
        """Return what identifies frames, by number, as they are cut out; None where the file has changed meanwhile."""
        return f"{self._fingerprint} {[*indices]}" if self.reader.unchanged else None

    @cached_property
    def _fingerprint(self) -> str:
        """Hash of the file, or of an image sequence's, and of all that was measured to cut a face out of it."""
        names = [file.name for file in self.reader.files]  # whose numbers are the times of an image sequence
        return fingerprint_of(self.sha256, names, self.reader.info.start, self.to_keep(()).fingerprint)

    def _each(self, wanted: Sequence[int]) -> Iterator[tuple[int, Seen]]:
        """Yield the wanted frames one by one, with what isn't seen of the face filled in."""
        remaining = set(wanted)
        for frame in self._frames if remaining else ():
            if (index := frame.index) in remaining:
                remaining.discard(index)
                crop = self.crop.crop(frame.image, self.size, index)
                seen, weight = self.visibility(crop, self._all_landmarks[[index]], self._inside(index))
                copied, repeated = self._copied(frame.image, index)
                yield index, Seen(seen, weight, copied, repeated, self._closures_seen(index, weight))
            if not remaining:
                return

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
        return _followed(self.track, self.chosen, self.outside)

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
            path=str(self.path),
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
        same = self.outside is not None or _shows_the_same(self.reader, self.track, chosen, within)
        return self.times[within] if same else None


def several_faces(track: FaceTrack) -> str:
    """Return a sentence that says how many faces a clip shows, and which one was taken."""
    return (
        f"The video shows {track.faces} faces; the largest one drives, which is number {track.taken} from the left, "
        "counted from 0. If it isn't the driver's, set Driver's Face to By Number (--face-index)."
    )


def shows_expression(reference: float, better: float) -> str:
    """Return a sentence that says so of the reference, and names a better one; both in seconds of the video."""
    return (
        f"The reference frame at {reference:.3f} s shows an expression, so that its fading looks like the opposite; "
        f"at {better:.3f} s the face is nearer to rest: choose that as reference (--reference {better:.3f})."
    )


def begins_in_expression(clip: DrivingClip) -> str:
    """Return a sentence that says so of a clip whose reference was taken from where the face is at rest."""
    where = float(clip.reader.info.start + clip.chosen.seconds)
    return (
        f"The clip begins in an expression, so motion is measured against the frame at {where:.3f} s, where the face "
        "is nearer to rest; give another reference if that isn't its rest."
    )


def _shows_the_same(reader: VideoReader, track: FaceTrack, reference: int, other: int) -> bool:
    """Return whether all regions of the face that frame `reference` shows are seen in frame `other`, too.

    The mesh's scores change with what hides a part of the face: under sunglasses brows seem to be at rest.
    """
    crop = SteadyCrop.follow(track, reference)
    images = {frame.index: frame.image for frame in reader if frame.index in (reference, other)}
    one, another = (crop.crop(images[index], SMALLEST_CROP, index) for index in (reference, other))
    points, everywhere = crop.landmarks(track.points, SMALLEST_CROP), torch.ones_like(one[:, :1])
    visibility = Visibility(one, points[reference], everywhere, crop.tilt)
    _, seen = visibility(another, points[[other]], everywhere)
    return max(float(share[0]) for share in visibility.unseen_regions(seen).values()) <= HIDDEN


def _check_reference(asked: float, track: FaceTrack, reader: VideoReader) -> None:
    """Raise `InputError` for a reference time, in seconds of the clip, that is more than a frame outside of it."""
    frame = 1 / float(reader.info.average_rate)
    start, last = float(reader.info.start), float(track.seconds[-1])
    if not -frame <= asked <= last + frame:
        raise InputError(
            f"The reference frame at {start + asked:.3f} s lies outside the clip, which goes from {start:.3f} to "
            f"{start + last:.3f} s of the video; choose a time within it, or leave the choice to MagPlus."
        )


def _followed(track: FaceTrack, chosen: Reference, outside: Outside | None) -> FaceTrack:
    """Return the track with a reference outside the trim as one frame more, after the clip's own."""
    if outside is None:
        return track
    return replace(
        track,
        seconds=(*track.seconds, chosen.seconds),
        points=np.concatenate([track.points, outside.face.points[None]]),
        blendshapes=np.concatenate(
            [track.blendshapes, np.array([list(outside.face.blendshapes.values())], track.blendshapes.dtype)]
        ),
        present=np.append(track.present, True),
    )


class _WithProgress:
    """Iterates over the clip's frames, any number of times, and reports progress; then a reference outside the trim."""

    def __init__(
        self, reader: VideoReader, notes: Notes, stage: Stage = Stage.FACE, outside: Outside | None = None
    ) -> None:
        self._reader = reader
        self._notes = notes
        self._stage = stage
        self._outside = outside

    def __iter__(self) -> Iterator[VideoFrame]:
        total = self._reader.info.frame_count or 0
        index = -1
        for frame in self._reader:
            index = frame.index
            self._notes.progress(self._stage, index, total)
            yield frame
        if self._outside is not None:
            yield replace(self._outside.frame, index=index + 1)
