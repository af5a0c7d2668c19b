# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a frame shows the face as the reference frame does: inside the picture, not clipped, nothing before it.

Elsewhere there are no equations of motion: the weight is 0, and the pixels are replaced by the reference's, so that any
estimator has zero motion there.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..magnification.filters import pool_to, resize
from ..pages import KeptArray
from .clipping import unclipped
from .colour import coloured_as, is_grey
from .footage import CLIPPED
from .lids import closures_of_each, mesh_weight
from .lighting import Curve, Light, ReferenceLight, toned
from .masks import Mask, Part, disc, grown, hull_of, part_of
from .mesh import (
    CHIN_TIP,
    FACE_OVAL,
    LEFT_EYE,
    LEFT_LIDS,
    LIPS,
    RIGHT_EYE,
    RIGHT_LIDS,
)
from .moire import without_moire
from .mouth_cover import mouth_cover
from .pose import turned_by
from .regions import face_mask, face_width, regions
from .skin_shift import Shift, brought_back, resized, skin_shift

Image = NDArray[np.float32]  # [C, H, W]
Plane = NDArray[np.float32]  # [H, W]

_SIDE = 128  # px of the pictures that are compared
_REACH = 0.025  # of the face's width: how far the face's own motion may carry a pixel
_DIFFERENT = (0.14, 0.07)  # of white, before and after the light was evened out: what motion and noise don't explain
# The mesh is coarse: where its motion explains a change it leaves up to so many times as much as it explains around
# there, of edges, folds, teeth, but not more than that. Of hands, cups and masks it explains nothing.
_COARSE, _AROUND, _MOST_LEFT = 8.0, 0.12, 0.09  # ratio; of the face's width; of white
_COARSER, _FEW = 4, 1e-3  # px, the grid on which that is averaged; share of the face around a place, at least
_SPECK = 0.004  # of the face: less is a highlight or a hair
_GROWN = 0.03  # of the face's width: the soft edge of what is before the face, and its shadow
_SHINY = 0.75  # of white in the darkest channel: skin and eyes have less, what mirrors a lamp more
_GLINT = 0.0008  # of the face: less of that is a catchlight of the eye
_OWN = 0.7  # share of a difference within eyes or lips that is theirs: a lid that closes, teeth that show
_WITH_LIDS = 0.8  # share of an eye with its lids
# Around an eye but for its opening and the fold above, what the face's own motion doesn't explain: in blinks and winks
# up to 4 % of it are beyond that level, under a hand of the skin's own colour 13 % and more.
_AROUND_EYE, _FOLD = 0.05, 0.06  # of the face's width
_CHANGED, _CHANGED_SHARE = 0.015, 0.08  # of white; of the place
_NOISE_QUANTILE = 0.98  # of the rest of the face, whose changes are noise or a codec's
_SAME_LIGHT = 0.02  # a change of light by less than this is left to the solver
_MOST_BYTES = 32 << 20  # of what is known of frames, for each clip: two thousand frames, or 160 in another light
_LEAST_SEEN = 0.6  # of a region; one that is seen less is not seen
_STEADY, _TURNED = ("brows", "nose"), 5.0  # what moves as the head does, for the most part; degrees
# Of the face's width: half the width of what hides the face at least, as a highlight does not; and how far beside it
# its own motion may still pass for the face's, for edges and gaps of a hand look like skin.
_LARGE, _BESIDE = 0.04, 0.1
_EVERYWHERE = (slice(None), slice(None))
_SAME = Light(np.ones((3, 1, 1), np.float32), np.zeros(3, np.float32))


@dataclass(frozen=True)
class _Comparison:
    """What was found in a frame at `_SIDE` px: where the face is seen, and the light where it isn't the reference's."""

    seen: Mask
    light: Light | None


@dataclass(frozen=True)
class _Kept:
    """The same as it is kept."""

    seen: KeptArray
    gain: KeptArray | None
    offset: tuple[float, ...]
    curve: Curve | None = None

    @classmethod
    def of(cls, found: _Comparison) -> _Kept:
        seen, light = KeptArray.of(found.seen), found.light
        if light is None:
            return cls(seen, None, ())
        return cls(seen, KeptArray.of(light.gain), tuple(map(float, light.offset)), light.curve)

    @property
    def nbytes(self) -> int:
        return self.seen.nbytes + (0 if self.gain is None else self.gain.nbytes)

    @property
    def comparison(self) -> _Comparison:
        light = None if self.gain is None else Light(self.gain.array, np.array(self.offset), self.curve)
        return _Comparison(self.seen.array, light)


class _Shown:
    """A frame [3, 128, 128] under the reference's light: `lit`, and `away`, by how much it differs then, [128, 128].

    Both are found when they are asked for. beyond: finds the second, see `Visibility._beyond_reach`.
    """

    def __init__(self, small: Image, light: Light, beyond: Callable[[Image], Plane]) -> None:
        self.light = light
        self._small, self._beyond = small, beyond

    def under(self, light: Light) -> _Shown:
        """Return the same under another light."""
        return _Shown(self._small, light, self._beyond)

    @cached_property
    def lit(self) -> Image:
        return self.light.on(self._small)

    @cached_property
    def away(self) -> Plane:
        return self._beyond(self.lit)


class Visibility:
    """Compares frames with one reference frame; those of the last shots are not compared again.

    reference: [1, 3, S, S] RGB in [0, 1], the steady crop. landmarks: [478, 3], its px. inside: [1, 1, S, S] in [0, 1],
    where the crop lies inside the picture. tilt: rad, by which the camera's rows are turned in the crop.
    """

    def __init__(
        self, reference: Tensor, landmarks: NDArray[np.floating[Any]], inside: Tensor, tilt: float = 0.0
    ) -> None:
        self._size = size = reference.shape[-1]
        self._reference, self._is_grey = reference, is_grey(reference[0])
        self._known: OrderedDict[bytes, _Kept] = OrderedDict()
        self._bytes = 0
        self._scale = _SIDE / size
        mesh = self._as_small(landmarks)
        small = mesh[:, :2]
        shape = (_SIDE, _SIDE)
        self._landmarks, self._mesh = small, mesh
        self._width = face_width(small)
        self._reach = max(1, round(_REACH * self._width))
        groups: tuple[tuple[int, ...], ...] = (RIGHT_EYE, LEFT_EYE, RIGHT_LIDS, LEFT_LIDS, LIPS)
        self._hulls = {group: hull_of(small[list(group)], shape) for group in groups}
        self._eyes = [self._hulls[opening] for opening in (RIGHT_EYE, LEFT_EYE)]
        self._face = face_mask(small, shape)[0, 0].numpy() > 0.5
        self._area = int(self._face.sum())
        self._whole_face = face_mask(landmarks, (size, size))[0, 0].numpy() > 0.5
        self._regions = {name: mask[0, 0].numpy() for name, mask in regions(small, shape).items()}
        self._steady = [self._regions[name] > 0.5 for name in _STEADY]
        left = _left_of(small[FACE_OVAL[0]], small[CHIN_TIP], shape)
        whole = [mask > 0.5 for mask in self._regions.values()]
        # The places of each, and what is beside it; and the same of either side.
        self._parts = [(np.flatnonzero(part & self._face), ~part) for part in whole]
        self._sides = [
            (np.flatnonzero(part & self._face), ~part) for each in whole for part in (each & left, each & ~left)
        ]
        self._inside = _small_mask(inside)
        self._small = _small(reference[0].cpu().numpy())
        self._near = self._extremes(self._small)
        self._shiny = self._small.min(0) >= _SHINY
        mouth = grown(self._hull(LIPS, small), max(1, round(_REACH * self._width)))
        self._besides_mouth = self._face & ~mouth
        self._light = ReferenceLight(self._small, self._face, self._width, tilt)
        # What covers the mouth moves, as far as the face's own motion at least.
        picture = np.ascontiguousarray(self._small.transpose(1, 2, 0))
        covered = grown(mouth_cover(picture, small, self._face), max(1, round((_REACH + _GROWN) * self._width)))
        self._seen = self._inside & ~grown(_clipped(self._small), 1) & ~covered

    def __call__(
        self,
        frames: Tensor,
        landmarks: NDArray[np.floating[Any]],
        inside: Tensor,
        into: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return frames [N, 3, S, S] in the reference's light, filled in where the face isn't seen; and where it is.

        landmarks: [N, 478, 3] px. inside: [N, 1, S, S], see the class. The second is [N, 1, S, S] in [0, 1]. Both are
        written `into` tensors on the CPU, where there are some.
        """
        new = (frames.new_empty(len(frames), count, *frames.shape[2:]) for count in (3, 1))
        pictures, seen = into or new
        for number, (points, within) in enumerate(zip(landmarks, inside, strict=True)):
            self._show(frames[number], points, within, pictures[number], seen[number])
        return pictures, seen

    def unseen_regions(self, seen: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return how much of each region of the face isn't seen, as a share, in frames of `seen` [N, 1, S, S]."""
        small = pool_to(seen, (_SIDE, _SIDE))[:, 0].cpu().numpy().astype(np.float64)
        return {
            name: 1 - (small * mask).sum((1, 2)) / max(float(mask.sum()), 1e-9) for name, mask in self._regions.items()
        }

    def hidden_eyes(self, seen: Tensor) -> NDArray[np.bool_]:
        """Return [N, 2], whether the right and the left eye are hidden, in frames of `seen` [N, 1, S, S]."""
        if bool(seen.amin() == 1):
            return np.zeros((len(seen), 2), np.bool_)
        small = pool_to(seen, (_SIDE, _SIDE))[:, 0].cpu().numpy()
        return np.stack([small[:, eye].mean(1) < _LEAST_SEEN for eye in self._eyes], 1)

    def _show(
        self, frame: Tensor, landmarks: NDArray[np.floating[Any]], inside: Tensor, picture: Tensor, soft: Tensor
    ) -> None:
        """Write one frame [3, S, S] as `__call__` returns it, and where the face is seen in it, [1, S, S]."""
        from ..loops.resizing import show

        if is_grey(frame) != self._is_grey:
            frame = coloured_as(frame, self._reference[0])
        width = self._width / self._scale
        restored, lost = unclipped(frame.numpy(), self._reference[0].numpy(), self._whole_face, width)
        found = self._compared(_small(restored), _small_mask(inside[None]), _mostly(lost), landmarks)
        light = _SAME if found.light is None else found.light
        show(
            np.ascontiguousarray(toned(restored, light.curve)),
            self._reference[0].contiguous().numpy(),
            np.asarray(light.gain, np.float32),
            np.asarray(light.offset, np.float32),
            found.seen.astype(np.float32),
            picture.numpy(),
            soft[0].numpy(),
        )

    def _compared(self, small: Image, within: Mask, lost: Mask, landmarks: NDArray[np.floating[Any]]) -> _Comparison:
        """Return what `_compare` does, which takes nine tenths of the time, once for each frame."""
        digest = hashlib.sha256()
        for part in (small, within, lost, landmarks):
            digest.update(np.ascontiguousarray(part).data)
        key = digest.digest()
        if key not in self._known:
            self._known[key] = found = _Kept.of(self._compare(small, within, lost, landmarks))
            self._bytes += found.nbytes
            while self._bytes > _MOST_BYTES and len(self._known) > 1:
                self._bytes -= self._known.popitem(last=False)[1].nbytes
        self._known.move_to_end(key)
        return self._known[key].comparison

    def _compare(self, small: Image, within: Mask, lost: Mask, landmarks: NDArray[np.floating[Any]]) -> _Comparison:
        seen = self._seen & within & ~grown(lost, 1)
        mesh = self._as_small(landmarks)
        points = mesh[:, :2]
        eyes = [self._hull(group, points) for group in (RIGHT_LIDS, LEFT_LIDS)]
        own = grown(eyes[0] | eyes[1] | self._hull(LIPS, points), 1)
        shift = self._shift(mesh)
        skin, light = seen, self._light.between(small, seen)
        lit = light.on(small)
        waves = self._moire(small, lit, seen)
        if waves is not None:
            small = small * waves
            light = self._light.between(small, seen)
        shown = _Shown(small, light, partial(self._beyond_reach, shift=shift))
        for tolerance in _DIFFERENT:
            uncovered = seen & ~self._covered(shown, seen, own, eyes, tolerance)
            if not np.array_equal(uncovered & self._face, skin & self._face):  # by that alone lights are compared
                shown = shown.under(self._light.between(small, uncovered))
            skin = uncovered
        light, seen = shown.light, skin.copy()
        for eye in self._hidden_eyes(shown, seen, eyes, points):
            seen &= ~eye
        inside = (self._inside & within).ravel()
        for inner, beside in self._parts:  # what hides most of a region may be missed in the rest of it
            if np.count_nonzero(seen.ravel()[inner]) < _LEAST_SEEN * np.count_nonzero(inside[inner]):
                seen &= beside
        for inner, beside in self._sides:  # the picture's edge hides no more than it cuts off: a side is seen by itself
            if np.count_nonzero(inside[inner]) < _LEAST_SEEN * len(inner):
                seen &= beside
        if self._is_only_jaw(seen) and turned_by(mesh, self._mesh) > _TURNED:
            seen[:] = False
        if waves is not None:
            light = replace(light, gain=light.gain * waves)
        return _Comparison(seen, light if light.differs(self._face, _SAME_LIGHT) else None)

    def _moire(self, small: Image, lit: Image, seen: Mask) -> Image | None:
        """Return the gain [3, 128, 128] that takes waves of moiré out of a frame, None where there are none."""

        def evened(frame: Image) -> Image:
            return self._light.between(frame, seen).on(frame)

        return without_moire(small, lit, evened, self._small, seen & self._face, self._width)

    def _is_only_jaw(self, seen: Mask) -> bool:
        """Whether nothing is seen by which a head that turns can be told from a jaw that moves aside."""
        return not any(seen[region].mean() > 1 - _LEAST_SEEN for region in self._steady)

    def _as_small(self, landmarks: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return landmarks [478, 3] as px of the pictures that are compared."""
        return resized(landmarks, self._scale)

    def _shift(self, points: NDArray[np.floating[Any]]) -> Shift | None:
        """Return how far the mesh says that a frame's skin has moved; None for what is near by."""
        if np.abs(points - self._mesh)[:, :2].max() <= self._reach:
            return None
        return skin_shift(points, self._mesh, self._width, (_SIDE, _SIDE))

    def _beyond_reach(self, lit: Image, shift: Shift | None) -> Plane:
        """Return by how much a frame differs from all that can have come there, [128, 128] of white.

        That is what is near by on the reference, or near where a `shift` has brought it. Where that brings the frame
        nearer to the reference the mesh is right, and a face that moves so far changes by more.
        """
        here = self._beyond(lit, _EVERYWHERE)
        if shift is not None and here[self._face].max() > min(_DIFFERENT):
            part = self._on_mesh
            moved = brought_back(lit, shift, part)
            explained = self._explained(lit[:, *part], moved, part)
            left = np.minimum(here[part], self._beyond(moved, part))
            here[part] = left - np.clip(_COARSE * explained, 0, _MOST_LEFT)
        return here

    def _explained(self, lit: Image, moved: Image, part: Part) -> Plane:
        """Return by how much the face around each place of a part is nearer to the reference where it is `moved`."""
        there, face = self._small[:, *part], self._face[part]
        nearer = np.abs(lit - there).mean(0) - np.abs(moved - there).mean(0)
        sums = np.dstack([np.where(face, nearer, 0), face]).astype(np.float32)
        coarse = cv2.resize(sums, None, fx=1 / _COARSER, fy=1 / _COARSER, interpolation=cv2.INTER_AREA)
        coarse = cv2.GaussianBlur(coarse, (0, 0), _AROUND * self._width / _COARSER, borderType=cv2.BORDER_CONSTANT)
        around = coarse[..., 0] / np.maximum(coarse[..., 1], _FEW)
        return np.asarray(cv2.resize(around, face.shape[::-1], interpolation=cv2.INTER_LINEAR))

    def _beyond(self, lit: Image, part: Part) -> Plane:
        """Return by how much a part of a frame [C, h, w] differs from all that is near by on the reference."""
        (low, high), there = (each[:, *part] for each in self._near), self._small[:, *part]
        low_here, high_here = self._extremes(lit)
        apart = np.maximum(low - lit, lit - high)
        return np.maximum(apart, np.maximum(low_here - there, there - high_here)).max(0)

    @cached_property
    def _on_mesh(self) -> Part:
        """The part of a picture in which `skin_shift` may find a shift, and as much beside it as windows reach."""
        shift = np.asarray(skin_shift(self._mesh + 1, self._mesh, self._width, (_SIDE, _SIDE)))
        return part_of(grown(np.abs(shift).max(2) > 0, 2 * self._reach))

    def _covered(self, shown: _Shown, seen: Mask, own: Mask, eyes: list[Mask], tolerance: float) -> Mask:
        """Return where something is before the face: what differs by more than `tolerance`, see `_beyond_reach`."""
        different = (shown.away > tolerance) & seen
        if not different.any():
            return different
        joined = cv2.morphologyEx(np.uint8(different), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        _, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
        covered = self._glints(shown.lit, different)
        least = _SPECK * self._area
        for label in 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= least):
            part = labels == label
            on_face = part & self._face
            is_own = on_face.any() and own[on_face].mean() >= _OWN and not _hides_one(eyes, part & different)
            if not is_own:
                covered |= part
        return grown(covered, max(1, round(_GROWN * self._width)))

    def _hidden_eyes(
        self, shown: _Shown, seen: Mask, eyes: list[Mask], points: NDArray[np.floating[Any]]
    ) -> list[Mask]:
        """Return where the eyes are that the mesh takes for closing ones and that something hides.

        What is seen of a hand of the skin's colour between the lids changes it as a lid does that closes. But a lid
        changes nothing else around the eye.
        """
        closing = mesh_weight(closures_of_each(points[None], self._landmarks)[0]) > 0
        if not closing.any():
            return []
        changed = shown.away
        rest = self._face & seen & ~grown(eyes[0] | eyes[1], max(1, round(2 * _AROUND_EYE * self._width)))
        usual = float(np.quantile(changed[rest], _NOISE_QUANTILE)) if rest.any() else 0.0
        found = []
        for eye, opening, closes in zip(eyes, (RIGHT_EYE, LEFT_EYE), closing, strict=True):
            around = grown(eye, max(2, round(_AROUND_EYE * self._width))) & ~grown(self._lid(opening, points), 1)
            around &= self._face  # beside a head that turns what is behind it comes and goes
            share = _CHANGED_SHARE * np.count_nonzero(around)
            if closes and np.count_nonzero(changed[around] > max(_CHANGED, usual)) > share:
                found.append(grown(eye, max(1, round(_GROWN * self._width))))
        return found

    def _lid(self, opening: tuple[int, ...], points: NDArray[np.floating[Any]]) -> Mask:
        """Return where an eye's opening and the fold above it are: a lid that closes changes these."""
        above = np.array([0.0, _FOLD * self._width])
        fold = np.concatenate([self._landmarks[list(opening)], self._landmarks[list(opening)] - above])
        return self._hull(opening, points) | hull_of(fold, (_SIDE, _SIDE))

    def _glints(self, lit: Image, different: Mask) -> Mask:
        """Return where a lamp is mirrored in one of the pictures alone: it moves as the lamp does, and not as the skin.

        On glasses it is as small as what an eye may change of itself. Teeth that show are none.
        """
        shiny = different & self._besides_mouth & (self._shiny | (lit.min(0) >= _SHINY))
        if not shiny.any():
            return shiny
        _, labels, stats, _ = cv2.connectedComponentsWithStats(np.uint8(shiny))
        large = stats[:, cv2.CC_STAT_AREA] >= max(2.0, _GLINT * self._area)
        large[0] = False
        return np.asarray(large[labels])

    def _extremes(self, image: Image) -> tuple[Image, Image]:
        """Return the least and the greatest values [C, 128, 128] from as far as the face's own motion carries."""
        window = np.ones((2 * self._reach + 1, 2 * self._reach + 1), np.uint8)
        low, high = (np.stack([find(plane, window) for plane in image]) for find in (cv2.erode, cv2.dilate))
        return low, high

    def _hull(self, group: tuple[int, ...], points: NDArray[np.floating[Any]]) -> Mask:
        """Return where an eye or the lips lie, in the reference or in the frame: there they change of themselves."""
        return self._hulls[group] | hull_of(points[list(group)], (_SIDE, _SIDE))


def undisturbed(seen: Tensor, width: float) -> Tensor:
    """Return where the face is seen and nothing large hides it near by, [N, 1, S, S] in [0, 1].

    seen: [N, 1, S, S] in [0, 1]. width: of the face, px.
    """
    if bool(seen.amin() == 1):
        return seen
    size = seen.shape[-1]
    small = pool_to(seen, (_SIDE, _SIDE))[:, 0].cpu().numpy()
    large, beside = (max(1, round(share * width * _SIDE / size)) for share in (_LARGE, _BESIDE))
    near = np.stack([grown(cv2.erode(np.uint8(frame < 0.5), disc(large)) > 0, large + beside) for frame in small])
    return seen * resize(torch.from_numpy(~near[:, None]).float(), (size, size)).to(seen)


def _left_of(top: NDArray[np.floating[Any]], bottom: NDArray[np.floating[Any]], shape: tuple[int, int]) -> Mask:
    """Return where a picture [H, W] is left of the line from one point to another, px."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    along = bottom - top
    return np.asarray((x - top[0]) * along[1] < (y - top[1]) * along[0])


def _hides_one(eyes: list[Mask], different: Mask) -> bool:
    """Return whether an eye is hidden with its lids' skin: a lid that closes changes what is between the lids alone."""
    return any(different[eye].mean() >= _WITH_LIDS for eye in eyes if eye.any())


def _small(image: NDArray[Any]) -> Image:
    planes = image.astype(np.float32, copy=False)
    if planes.shape[1] <= _SIDE:
        return np.stack([cv2.resize(plane, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR) for plane in planes])
    from ..loops.resizing import shrink_by_area

    result = np.empty((len(planes), _SIDE, _SIDE), np.float32)
    shrink_by_area(np.ascontiguousarray(planes), result)
    return result


def _small_mask(mask: Tensor) -> Mask:
    if bool(mask.amin() == 1):
        return np.ones((_SIDE, _SIDE), np.bool_)
    return pool_to(mask.float(), (_SIDE, _SIDE))[0, 0].cpu().numpy() > 0.99


def _mostly(mask: Mask) -> Mask:
    """Return where most of a mask [H, W] is set, [128, 128]."""
    return _small(mask[None])[0] > 0.5 if mask.any() else np.zeros((_SIDE, _SIDE), np.bool_)


def _clipped(image: Image) -> Mask:
    red, green, blue = image >= CLIPPED
    return (red & green) | (red & blue) | (green & blue)
