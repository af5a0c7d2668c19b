# SPDX-License-Identifier: GPL-3.0-or-later
"""One steady square crop of a face for a whole clip."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ahead import ahead
from ..magnification.filters import mean_pool
from ..video import VideoFrame
from ..warp import sample_spline
from .alignment import AlignmentTemplate, levels_of
from .clipping import unclipped
from .colour import LUMA, is_grey
from .depth import face_depth
from .footage import CLIPPED
from .lighting import ReferenceLight, medians
from .masks import Mask, grown
from .mesh import FACE_OVAL, RIGID_LANDMARKS
from .moire import without_moire
from .regions import face_mask, face_width, rigid_mask
from .similarity import Similarity
from .square import Beyond, Square, roll
from .track import FaceTrack
from .wobble import LINES, Lines, Wobble, WobbleFit, wobbling

_ROBUST_ROUNDS = 8  # iterations of IRLS
_MARGIN = 0.35  # of what the landmarks cover over all stabilised frames, on every side: room for hair and chin
_ALIGNMENT_SIZE = 128  # px of the crops that are aligned; finer ones were no better
_ALIGNMENT_BATCH = 8  # frames, bounds the memory
_ALIGNMENT_REACH = 0.05  # of the crop; about three times what landmarks are wrong by
_EVENING_ROUNDS = 2  # of taking a lamp's bands or moiré out, or restoring what clips, and aligning what that leaves
_WOBBLE_ROUNDS = 2  # of fitting a wobble and aligning what it leaves
# Of white: surroundings that differ by more, beyond the reach of alignment, are others; and of the crop, in so much of
# it at least, as hair that moves has up to 0.008.
_OTHER, _OTHER_AREA = 0.14, 0.02
_ALIASING_FREE = 0.25  # how far above 1 the reduction may be without averaging; a camera's finest detail is faint
_BORDER = 16  # px; farther away a pixel's weight in an interpolated value is negligible
_SMOOTHING = 0.1  # s, standard deviation in time


@dataclass(frozen=True)
class SteadyCrop:
    """A square around the face that stays on the head: no jitter from frame to frame.

    Every frame is first brought to the reference frame's head position by a similarity (`to_reference`, frame px ->
    reference px, known exactly); then one fixed square, level with the eyes, is cut out (`to_unit`, reference px -> the
    unit square [0, 1] x [0, 1]). What the similarity leaves is estimated as dense motion, but for a rolling shutter's
    `wobble`, which is taken out of the picture.

    Pixels of a crop of any size have their centres at integers, as everywhere.
    """

    to_reference: tuple[Similarity, ...]
    to_unit: Similarity
    beyond: Beyond = "repeated"
    wobble: Wobble | None = None

    @classmethod
    def follow(cls, track: FaceTrack, reference: int) -> SteadyCrop:
        """Return the crop that holds a face through a clip, its movement smoothed over time.

        A head has inertia and landmarks jitter, so the smooth movement is nearer to the head's; on a real clip it cuts
        the noise of the dense motion by a third. It can't shave an expression, which is measured against the crop.
        """
        crop = cls.around(track.points, reference)
        smooth = _smoothed(crop.to_reference, track, reference)
        return cls._framed(track.points, smooth, reference)

    @classmethod
    def around(cls, points: NDArray[np.floating[Any]], reference: int = 0) -> SteadyCrop:
        """Return the crop that holds a face, each frame placed by its own landmarks alone.

        points: [T, 478, 2 or 3] landmarks in px of the T frames (T = 1 for a still).
        """
        rigid = np.asarray(points, np.float64)[:, RIGID_LANDMARKS, :2]
        return cls._framed(points, _robust_fits(rigid, rigid[reference]), reference)

    def refined(self, frames: Iterable[VideoFrame], track: FaceTrack, reference: int) -> SteadyCrop:
        """Return the crop with every frame aligned to the reference frame by what is seen (`alignment.align`).

        The better the head stands still, the less of its motion can be mistaken for the face's own: on real clips what
        remains of it falls to between a half and a sixth. `frames` are the clip's and are gone through twice, a few in
        memory at a time, once more where a lamp's bands or moiré lie over them or they clip, as that is told the better
        the nearer a frame is to the reference, and five times more where a rolling shutter wobbles. Frames without the
        face stay where they are, and so do frames that would have to move farther than landmarks are ever wrong.
        """
        scene = _Scene.of(self, frames, track, reference)
        fits = scene.wobble_fits()
        crop = self
        for _ in range(_EVENING_ROUNDS):
            signs: dict[Lines, list[Tensor]] = {lines: [] for lines in LINES}
            crop = crop._aligned(frames, scene, signs=[(fits[lines], signs[lines]) for lines in LINES])
            if not scene.evened:
                break
        lines = wobbling({lines: torch.cat(seen) for lines, seen in signs.items() if seen})
        return crop._unwobbled(frames, scene, fits[lines]) if lines else crop

    def _aligned(
        self, frames: Iterable[VideoFrame], scene: _Scene, signs: Sequence[tuple[WobbleFit, list[Tensor]]] = ()
    ) -> SteadyCrop:
        """Return the crop with every frame aligned to the reference; add what each fit sees in them to its list."""
        to_reference = list(self.to_reference)
        for indices, crops, other in self._crops(frames, scene):
            levels = levels_of(crops)
            similarities = (scene.in_luma if other else scene.in_grey).align(levels).similarities
            for index, found in zip(indices, similarities, strict=True):
                if np.abs(found(scene.corners) - scene.corners).max() < _ALIGNMENT_REACH * _ALIGNMENT_SIZE:
                    correction = scene.to_crop.inverse() @ found.inverse() @ scene.to_crop
                    to_reference[index] = correction @ self.to_reference[index]
            for fit, seen in () if other else signs:
                seen.append(fit.signs(levels[-1], similarities))
        return replace(self, to_reference=tuple(to_reference))

    def _unwobbled(self, frames: Iterable[VideoFrame], scene: _Scene, fit: WobbleFit) -> SteadyCrop:
        """Return an aligned crop with the rolling shutter's wobble taken out of its frames."""
        crop, terms = self, np.zeros((len(self.to_reference), fit.count))
        for _ in range(_WOBBLE_ROUNDS):
            for indices, crops, _ in crop._crops(frames, scene):
                terms[list(indices)] += fit.terms(crops)
            crop = replace(crop, wobble=fit.wobble(terms.copy()))._aligned(frames, scene)
        return crop

    def _crops(self, frames: Iterable[VideoFrame], scene: _Scene) -> Iterator[tuple[tuple[int, ...], Tensor, bool]]:
        """Yield the numbers and crops [n, 1, s, s] of a few frames at a time: all with the face but the reference.

        The last one says whether they, or the reference, are black and white and the other isn't. Then they are luma.
        """
        wanted = (frame for frame in frames if scene.track.present[frame.index] and frame.index != scene.reference)
        small = (
            (frame.index, scene.comparable(self._compared(frame, other, scene), frame.index), other)
            for frame in wanted
            for other in [_is_grey(frame) != scene.is_grey]
        )
        with closing(ahead(small, _ALIGNMENT_BATCH)) as lit:
            while batch := list(itertools.islice(lit, _ALIGNMENT_BATCH)):
                for kind, some in itertools.groupby(batch, lambda each: each[2]):
                    indices, crops, _ = zip(*some, strict=True)
                    yield indices, torch.cat(crops), kind

    def _compared(self, frame: VideoFrame, luma: bool, scene: _Scene) -> Tensor:
        """Return what `_small` does, with what clips in the frame and not in the reference restored."""
        if luma or not scene.clips(frame):
            return self._small(frame, luma)
        return scene.unclipped(self.crop(frame.image, _ALIGNMENT_SIZE, frame.index), frame.index)

    def _small(self, frame: VideoFrame, luma: bool = False) -> Tensor:
        """Return the crop [1, 1, s, s] of a frame as it is aligned: brightness is all that counts there.

        It is the mean of the channels, which has the least noise, or luma, as a picture turned black and white has it.
        """
        brightness = cv2.transform(frame.image, np.array([LUMA]) if luma else np.full((1, 3), 1 / 3))
        return self.crop(brightness[..., None], _ALIGNMENT_SIZE, frame.index)

    def framed(self, square: Square, beyond: Beyond = "repeated") -> SteadyCrop:
        """Return the crop that shows another square of the reference frame."""
        return replace(self, to_unit=square.to_unit, beyond=beyond)

    def steady(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return landmarks [T, 478, 2 or 3] of all frames, the head brought to where it is in the reference frame."""
        points = np.asarray(points, np.float64)[..., :2]
        return np.stack([similarity(frame) for similarity, frame in zip(self.to_reference, points, strict=True)])

    @classmethod
    def _framed(
        cls, points: NDArray[np.floating[Any]], to_reference: tuple[Similarity, ...], reference: int
    ) -> SteadyCrop:
        crop = cls(to_reference, Similarity())
        covered = crop.steady(points).reshape(-1, 2)
        return crop.framed(Square.covering(covered, roll(points[reference]), 1 + 2 * _MARGIN))

    @property
    def native_size(self) -> float:
        """The crop's side in px of the reference frame."""
        return 1 / self.to_unit.scale

    @property
    def tilt(self) -> float:
        """By which angle the reference frame's rows are turned in the crop, rad."""
        return math.atan2(self.to_unit.b, self.to_unit.a)

    def frame_to_crop(self, size: int, frame: int = 0) -> Similarity:
        """Return the map from px of a frame to px of its `size` x `size` crop; its inverse leads back."""
        # A crop pixel i covers [i, i + 1) of `size`, and its centre has coordinate i.
        return Similarity(size, 0, -0.5, -0.5) @ self.to_unit @ self.to_reference[frame]

    def crop(self, image: NDArray[np.float32], size: int, frame: int = 0) -> Tensor:
        """Return [1, C, size, size] float32 of a frame [H, W, C]; `beyond` the picture's edge its last pixels go on.

        Where the crop has fewer pixels than the picture, it is sampled finely and averaged, so nothing aliases.
        """
        from ..loops.resampling import lay_out

        to_frame = self.frame_to_crop(size, frame).inverse()
        # The same for the whole clip, so that no frame is sharper than another.
        fine = max(1, math.ceil(self.native_size / size - _ALIASING_FREE))
        # Centres of fine x fine samples within every crop pixel.
        axis = (np.arange(size * fine) + 0.5) / fine - 0.5
        # Only the part of the picture that the crop covers is prepared for looking up.
        corners = to_frame(np.array([(x, y) for x in axis[[0, -1]] for y in axis[[0, -1]]]))
        left, top = (max(0, int(low) - _BORDER) for low in corners.min(0))
        right, bottom = (int(high) + _BORDER for high in corners.max(0))
        seen = np.ascontiguousarray(image[top : max(bottom, top + 1), left : max(right, left + 1)].transpose(2, 0, 1))
        there = torch.empty(1, 2, len(axis), len(axis))
        lay_out(to_frame.a, to_frame.b, to_frame.tx - left, to_frame.ty - top, axis, there.numpy())
        if self.wobble is not None:
            there += self._shift_of(self.wobble, frame, (axis + 0.5) / size)
        sampled = sample_spline(torch.from_numpy(seen)[None], there)
        if self.beyond == "black":
            low = there.new_tensor([-left, -top]).view(1, 2, 1, 1) - 0.5
            high = low + there.new_tensor(image.shape[1::-1]).view(1, 2, 1, 1)
            sampled = sampled * ((there >= low) & (there <= high)).all(1, keepdim=True)
        return mean_pool(sampled, fine).clamp_(0, 1)

    def _shift_of(self, wobble: Wobble, frame: int, axis: NDArray[np.float64]) -> Tensor:
        """Return how far a wobble shifts the places of a square grid of the unit square in a frame, [1, 2, S, S] px."""
        x, y = np.meshgrid(axis, axis)
        x, y = self.to_unit.inverse()(np.stack([x, y], -1).reshape(-1, 2)).T
        back = self.to_reference[frame].inverse()
        if wobble.lines == "rows":
            shift = wobble.shifts(frame, y) * complex(back.a, back.b)
        else:
            shift = wobble.shifts(frame, x) * complex(-back.b, back.a)
        return torch.from_numpy(np.stack([shift.real, shift.imag]).astype(np.float32)).view(1, 2, len(axis), len(axis))

    def inside(self, picture: tuple[int, int], size: int, frame: int = 0) -> Tensor:
        """Return [1, 1, size, size], 1 where the crop of a frame lies inside its picture of (height, width) px."""
        from ..loops.resampling import mark_inside

        to_frame = self.frame_to_crop(size, frame).inverse()
        marked = torch.empty(1, 1, size, size)
        height, width = picture
        mark_inside(to_frame.a, to_frame.b, to_frame.tx, to_frame.ty, width - 1, height - 1, marked.numpy())
        return marked

    def landmarks(self, points: NDArray[np.floating[Any]], size: int) -> NDArray[np.float32]:
        """Return [T, 478, 2 or 3] landmarks of all frames in px of their `size` x `size` crops, depth scaled alike."""
        mapped = [self.frame_to_crop(size, frame)(np.asarray(mesh, np.float64)) for frame, mesh in enumerate(points)]
        return np.stack(mapped).astype(np.float32)


@dataclass(frozen=True)
class _Scene:
    """What frames are aligned by, in crops of `_ALIGNMENT_SIZE` px.

    template: the reference's, [1, 1, s, s]; in_grey, in_luma: what frames are aligned to, that and the same in luma;
    is_grey: whether it has no colours; colours: with them, [3, s, s]. rigidity: of the face, [1, 1, s, s]. face: where
    it is, [s, s]. corners: [K, 2] px, of the face's edge. track: the face in all frames. to_crop: from px of the
    reference frame. evened: in which frames bands of a lamp's light or moiré were found, or what clips was restored.
    """

    reference: int
    template: Tensor
    in_grey: AlignmentTemplate
    in_luma: AlignmentTemplate
    is_grey: bool
    colours: NDArray[np.float32]
    rigidity: Tensor
    face: Mask
    landmarks: NDArray[np.float32]
    light: ReferenceLight
    corners: NDArray[np.floating[Any]]
    track: FaceTrack
    to_crop: Similarity
    evened: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, crop: SteadyCrop, frames: Iterable[VideoFrame], track: FaceTrack, reference: int) -> _Scene:
        landmarks, shape = crop.landmarks(track.points, _ALIGNMENT_SIZE)[reference], (_ALIGNMENT_SIZE,) * 2
        face = face_mask(landmarks, shape)[0, 0].numpy() > 0.5
        still = next(frame for frame in frames if frame.index == reference)
        template, rigidity = crop._small(still), rigid_mask(landmarks, shape)
        to_crop = Similarity(_ALIGNMENT_SIZE, 0, -0.5, -0.5) @ crop.to_unit
        return cls(
            reference,
            template,
            AlignmentTemplate(template, rigidity),
            AlignmentTemplate(crop._small(still, luma=True), rigidity),
            _is_grey(still),
            crop.crop(still.image, _ALIGNMENT_SIZE, reference)[0].numpy(),
            rigidity,
            face,
            landmarks,
            ReferenceLight(template[0].numpy(), face, face_width(landmarks), crop.tilt),
            to_crop(np.asarray(track.points[reference, FACE_OVAL, :2], np.float64)),
            track,
            to_crop,
        )

    def clips(self, frame: VideoFrame) -> bool:
        """Return whether a channel is clipped anywhere around the face."""
        points = self.track.points[frame.index, :, :2]
        (left, top), (right, bottom) = points.min(0).astype(int).clip(0), points.max(0).astype(int).clip(0) + 1
        return bool(frame.image[top:bottom, left:right].max(initial=0.0) >= CLIPPED)

    def unclipped(self, crop: Tensor, index: int) -> Tensor:
        """Return the brightness [1, 1, s, s] of a frame's crop [1, 3, s, s] with what clips restored."""
        given = crop[0].numpy()
        restored, _ = unclipped(given, self.colours, self.face, face_width(self.landmarks))
        if restored is not given:
            self.evened.add(index)
        return torch.from_numpy(restored).mean(0)[None, None]

    def comparable(self, crop: Tensor, index: int) -> Tensor:
        """Return a frame's crop [1, 1, s, s] without what would be aligned as features are.

        These are bands of light and waves of moiré; and around the face what isn't the reference's there, as bars, a
        caption or somebody behind: the local means and contrasts that frames are aligned by reach from there into it.
        """
        given, template, face = crop[0].numpy(), self.template[0].numpy(), self.face
        gain = np.float32(self._level / max(float(medians(given[:, face])[0]), 1e-3))
        lit = self.light.without_bands(given)
        if lit is given:
            width = face_width(self.landmarks)
            waves = without_moire(given, gain * given, self._in_light, template, face, width)
            lit = given if waves is None else given * waves
        if lit is not given:
            self.evened.add(index)
        return torch.from_numpy(self._among_same(lit, max(gain, np.float32(1e-3))))[None]

    @cached_property
    def _level(self) -> np.float32:
        """The median brightness of the reference's face."""
        return np.float32(medians(self.template[0].numpy()[:, self.face])[0])

    def _in_light(self, crop: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.light.between(crop, self.face).on(crop)

    def _among_same(self, crop: NDArray[np.float32], gain: np.float32) -> NDArray[np.float32]:
        """Return a crop [1, s, s] with the reference's surroundings, in its light, where its own are others.

        gain: what brings the crop to the reference's light.
        """
        least, most = self._near_by
        other = ((crop[0] < least / gain - _OTHER) | (crop[0] > most / gain + _OTHER)) & ~self.face
        if other.mean() < _OTHER_AREA:
            return crop
        return np.where(grown(other, 1) & ~self.face, self.template[0].numpy() / gain, crop).astype(np.float32)

    @cached_property
    def _near_by(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The least and the greatest brightness of the reference within reach of alignment, [s, s] each."""
        reach = np.ones((2 * round(_ALIGNMENT_REACH * _ALIGNMENT_SIZE) + 1,) * 2, np.uint8)
        there = self.template[0, 0].numpy()
        return np.asarray(cv2.erode(there, reach), np.float32), np.asarray(cv2.dilate(there, reach), np.float32)

    def wobble_fits(self) -> dict[Lines, WobbleFit]:
        """Return what finds a rolling shutter's wobble, of either kind of lines."""
        depth = face_depth(self.landmarks, (_ALIGNMENT_SIZE,) * 2)
        return {lines: WobbleFit(self.template, self.rigidity, depth, self.to_crop, lines) for lines in LINES}


def _is_grey(frame: VideoFrame) -> bool:
    return is_grey(torch.from_numpy(frame.image).permute(2, 0, 1))


def _robust_fits(sources: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[Similarity, ...]:
    """Fit to each of [T, K, 2] points a similarity onto [K, 2] others that lets some of them have their own motion.

    Least squares in the complex plane, with Geman-McClure weights, reweighted.
    """
    z, there = (points[..., 0] + 1j * points[..., 1] for points in (sources, target))
    weights = np.ones(z.shape)
    for _ in range(_ROBUST_ROUNDS):
        weights /= weights.sum(1, keepdims=True)
        z_mean, mean = (weights * z).sum(1, keepdims=True), (weights * there).sum(1, keepdims=True)
        p, q = z - z_mean, there - mean
        turn = (weights * p.conj() * q).sum(1, keepdims=True) / (weights * _squared(p)).sum(1, keepdims=True)
        squared = _squared(turn * p - q)
        weights = 1 / (1 + squared / np.maximum(np.median(squared, axis=1, keepdims=True), 1e-8)) ** 2
    shift = mean - turn * z_mean
    return tuple(
        Similarity(a.real, a.imag, t.real, t.imag)
        for a, t in zip(turn[:, 0].tolist(), shift[:, 0].tolist(), strict=True)
    )


def _squared(values: NDArray[np.complex128]) -> NDArray[np.float64]:
    return values.real**2 + values.imag**2


def _smoothed(to_reference: tuple[Similarity, ...], track: FaceTrack, reference: int) -> tuple[Similarity, ...]:
    """Smooth where the reference's face is seen in each frame: place, size and angle, local quadratics over time."""
    centre = np.asarray(track.points[reference, :, :2], np.float64).mean(0)
    to_frame = [similarity.inverse() for similarity in to_reference]
    angles = np.unwrap([math.atan2(similarity.b, similarity.a) for similarity in to_frame])
    course = np.array(
        [
            (*similarity(centre), math.log(similarity.scale), angle)
            for similarity, angle in zip(to_frame, angles, strict=True)
        ]
    )
    seconds = np.array([float(second) for second in track.seconds])
    smooth = []
    for now, present, as_seen in zip(seconds, track.present, to_reference, strict=True):
        if not present:
            smooth.append(as_seen)  # the held place; far from any frame with the face there is nothing to smooth
            continue
        away = (seconds - now) / _SMOOTHING
        weight = np.exp(-0.25 * away**2) * track.present  # the root of a Gaussian, as least squares takes it
        powers = np.vander(away, 3, increasing=True)
        (x, y, log_scale, angle), *_ = np.linalg.lstsq(powers * weight[:, None], course * weight[:, None], rcond=1e-6)[
            0
        ]
        turn = Similarity(math.exp(log_scale) * math.cos(angle), math.exp(log_scale) * math.sin(angle))
        from_x, from_y = turn(centre)
        smooth.append(Similarity(turn.a, turn.b, float(x - from_x), float(y - from_y)).inverse())
    back = smooth[reference].inverse()
    return tuple(back @ similarity for similarity in smooth)
