# SPDX-License-Identifier: GPL-3.0-or-later
"""Lids that close: large motion without brightness constancy, as it uncovers skin that the reference doesn't show.

A blink takes a lid farther than its own width in a frame or two. The face mesh has how far the eyes are open, and
from that follows where the upper lids are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from torch import Tensor

from ...backend_bridge.rig.easing import smooth_step
from ...backend_bridge.rig.footage import Span
from .mesh import LEFT_EYE_INNER, LEFT_EYE_OUTER, RIGHT_EYE_INNER, RIGHT_EYE_OUTER

Landmarks = NDArray[np.floating[Any]]

# Of either eye: the outer and inner corner, the upper lid's edge and the lower one's from the outer corner inwards.
_EYES = (
    (RIGHT_EYE_OUTER, RIGHT_EYE_INNER, (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
    (LEFT_EYE_OUTER, LEFT_EYE_INNER, (466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)),
)
_SHUT = 0.035  # of the eye's width: what the mesh leaves open of an eye that is shut
# Of the eye's width: eyes that are less open are closed, and can't show how they close. The mesh's error is 0.003 to
# 0.004 (noise of two people of 214 and 190 px); who looks down, or has narrow eyes, opens them by 0.05 to 0.12.
_LEAST_OPEN = 0.03
_SURE = (0.025, 0.05)  # of the eye's width, by which a lid moves for the mesh to tell it better than the picture
_BLINK = (0.2, 0.4)  # closure at which the mesh's weight rises from 0, and at which it is 1
_ONE_EYE = 0.4  # difference of the eyes' closures that is a wink and not the mesh's error
_FOLD = 0.45  # of the eye's width: how far above its edge the skin of the lid moves with it
_USUALLY = 0.75  # quantile of a clip's openings: a blink takes up to half of a clip of a micro-expression
_NEARLY_SHUT = 0.5  # of that opening; a look down leaves more
_MOST = 0.95  # of the opening, that the upper lid goes down by


def apertures(landmarks: Landmarks) -> NDArray[np.float64]:
    """Return [N, 2], how far the right and the left eye are open in [N, 478, 2+] landmarks, in widths of the eye."""
    points = landmarks[..., :2].astype(np.float64)
    columns = []
    for outer, inner, upper, lower in _EYES:
        gaps = np.linalg.norm(points[:, list(upper)] - points[:, list(lower)], axis=-1)
        width = np.linalg.norm(points[:, outer] - points[:, inner], axis=-1)
        columns.append(np.maximum(gaps[:, 2:5].mean(1) / np.maximum(width, 1e-6) - _SHUT, 0.0))
    return np.stack(columns, 1)


def usual_opening(landmarks: Landmarks) -> float:
    """Return how far the eyes are open for most of a clip of [T, 478, 2+] landmarks, in widths of an eye."""
    return float(np.quantile(apertures(landmarks).mean(1), _USUALLY))


def nearly_shut(landmarks: Landmarks, usual: float) -> NDArray[np.bool_]:
    """Return [N], in which frames the eyes are less than half as open as is usual (`usual_opening`): none if shut then.

    landmarks: [N, 478, 2+].
    """
    return np.asarray(apertures(landmarks).mean(1) < _NEARLY_SHUT * usual) & (usual > _LEAST_OPEN)


def widening(landmarks: Landmarks, reference: Landmarks) -> float:
    """Return how much wider the eyes are at most in frames [N, 478, 2+] than in the reference, in widths of an eye.

    It is the eye's that widens more, and of no single frame, which jitters.
    """
    if not len(landmarks):
        return 0.0
    wider = apertures(landmarks) - apertures(reference[None])
    steady = median_filter(wider, size=(3, 1))[1:-1] if len(wider) > 2 else wider
    return max(float(steady.max()), 0.0)


def closures(landmarks: Landmarks, reference: Landmarks) -> NDArray[np.float64]:
    """Return [N, 2], how far each eye has closed since the reference: 1 for shut, 0 as it was, negative for wider.

    landmarks: [N, 478, 2+] of consecutive frames. Both eyes have the same, of the sum of both openings, unless, from a
    closing to the next opening, they once differ by more than the mesh can be wrong: a lid on its way differs by less
    than the shut one. What a lid moves by less than the mesh tells surely is 0. NaN where the reference's are shut.
    """
    closed, open_ = closures_of_each(landmarks, reference), openings(reference)
    both = 1 - apertures(landmarks).sum(1) / open_.sum()
    apart = np.abs(closed[:, 0] - closed[:, 1]) > _ONE_EYE
    moved = np.nan_to_num(np.abs(closed)).max(1) > _BLINK[0]
    wink = np.zeros_like(apart)
    for start, end in _runs(moved | apart):
        wink[start:end] = apart[start:end].any()
    return np.where(wink[:, None], closed, _sure(both[:, None], open_.mean()))


def closures_of_each(landmarks: Landmarks, reference: Landmarks) -> NDArray[np.float64]:
    """Return the same, [N, 2], of each eye by itself, with the mesh's error; NaN if the reference's is shut."""
    open_ = openings(reference)
    open_ = np.where(open_ > _LEAST_OPEN, open_, np.nan)
    return _sure(1 - apertures(landmarks) / open_, open_)


def _sure(closed: NDArray[np.float64], open_: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return closures of eyes that are so far open without what moves a lid by less than the mesh tells surely.

    In eyes that are half shut a share of the opening is small: the picture shows it, and the mesh may be wrong.
    """
    low, high = _SURE
    share = np.clip((np.abs(closed) * open_ - low) / (high - low), 0, 1)
    return np.asarray(closed * smooth_step(share))


def openings(reference: Landmarks) -> NDArray[np.float64]:
    """Return [2], the `apertures` that closures are shares of; NaN where the eyes are shut in the reference."""
    open_ = apertures(reference[None])[0]
    return open_ if open_.mean() > _LEAST_OPEN else np.full(2, np.nan)


def closures_of_seen(
    closed: NDArray[np.float64], of_each: NDArray[np.float64], hidden: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return closures [N, 2] without what the mesh guesses of an eye that is hidden, [N, 2].

    Both eyes do what the one does that is seen, and nothing where neither is. of_each: `closures_of_each`.

    >>> hidden = np.array([[True, False], [True, True], [False, False]])
    >>> closures_of_seen(np.full((3, 2), 0.6), np.array([[1.0, 0.2], [1.0, 0.2], [1.0, 0.2]]), hidden)
    array([[0.2, 0.2],
           [0. , 0. ],
           [0.6, 0.6]])
    """
    alone = np.where(hidden, of_each[:, ::-1], of_each)
    found = np.where(hidden.any(1, keepdims=True), alone, closed)
    return np.where(hidden.all(1, keepdims=True), 0.0, found)


def mesh_weight(closed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight in [0, 1] of the mesh against the picture, for closures [...]: a smooth step over `_BLINK`.

    >>> mesh_weight(np.array([0.1, 0.3, 0.5]))
    array([0. , 0.5, 1. ])
    """
    low, high = _BLINK
    share = np.clip((np.nan_to_num(np.abs(closed), nan=0.0) - low) / (high - low), 0, 1)
    return np.asarray(smooth_step(share))


def blinks(closed: NDArray[np.float64], seconds: Sequence[float]) -> tuple[Span, ...]:
    """Return when the lids follow the mesh rather than the picture, from closures [T, 2]."""
    closing = mesh_weight(closed).max(1) > 0.5
    return tuple(Span(seconds[start], seconds[end - 1]) for start, end in _runs(closing))


def _runs(where: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first frame and the one after the last of each run of true values [N]."""
    edges = np.flatnonzero(np.diff(np.r_[0, where.astype(int), 0])).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


class LidModel:
    """The motion of the upper lids from how far the eyes have closed.

    landmarks: [478, 2+] px of the reference, a picture of `size` px a side.
    """

    def __init__(self, landmarks: Landmarks, size: int) -> None:
        self._size = size
        y, x = np.mgrid[:size, :size].astype(np.float32)
        self._eyes = [_Eye(landmarks, eye, x, y) for eye in _EYES]

    def __call__(self, closed: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the lids' motion [N, 2, S, S] px for closures [N, 2], and two weights [N, 1, S, S].

        The first is the share of that motion against the picture's, the second the same on the lids' skin alone. Eyes
        that open wider than in the reference are held: the reference has no picture of what they uncover.
        """
        weight_of_mesh = mesh_weight(closed)
        amount = np.clip(np.nan_to_num(closed), 0, _MOST)
        count, side = len(closed), self._size
        if not weight_of_mesh.any():
            nothing = torch.zeros(1, 1, 1, 1).expand(count, 1, side, side)
            return nothing.expand(-1, 2, -1, -1), nothing, nothing
        flow, weight, skin = (torch.zeros(count, channels, side, side) for channels in (2, 1, 1))
        shut = weight_of_mesh * (closed > 0)
        for eye, share, certain, covered in zip(self._eyes, amount.T, weight_of_mesh.T, shut.T, strict=True):
            fields = (flow, share, eye.flow), (weight, certain, eye.around), (skin, covered, eye.lid)
            for field, shares, where in fields:
                field[eye.place] += torch.from_numpy(shares.astype(np.float32)).view(-1, 1, 1, 1) * where
        return flow, weight, skin


class _Eye:
    """What the upper lid of one eye does when it shuts, at the `place` of a field [N, C, S, S] that it takes up.

    flow: [2, h, w] px; lid and around: [h, w] in [0, 1], where the lid's skin is, and where `flow` holds.
    """

    def __init__(self, landmarks: Landmarks, eye: tuple[int, int, tuple[int, ...], tuple[int, ...]], x: Any, y: Any):
        outer, inner, upper, lower = eye
        points = landmarks[:, :2].astype(np.float64)
        corner, along = points[outer], points[inner] - points[outer]
        width = float(np.hypot(*along))
        along = along / max(width, 1e-6)
        down = np.array([-along[1], along[0]]) * (1 if along[0] >= 0 else -1)
        across = (x - corner[0]) * along[0] + (y - corner[1]) * along[1]  # from the outer corner inwards
        below = (x - corner[0]) * down[0] + (y - corner[1]) * down[1]
        edges = []
        for lid in (upper, lower):
            at = (points[[outer, *lid, inner]] - corner) @ np.stack([along, down], 1)
            order = np.argsort(at[:, 0])
            edges.append(np.interp(across, at[order, 0], at[order, 1]).astype(np.float32))
        top, bottom = edges
        opening = np.maximum(bottom - top, 0.0)
        between = np.clip((bottom - below) / np.maximum(opening, 1e-3), 0, 1)  # 1 at the upper edge, 0 at the lower
        above = np.clip(1 - (top - below) / (_FOLD * width), 0, 1)
        falloff = np.where(below < top, smooth_step(above), between)
        size = opening * falloff
        flow = np.stack([size * down[0], size * down[1]])
        within = ((across > 0) & (across < width)).astype(np.float32)
        soft = max(0.5, 0.04 * width)
        lid = cv2.GaussianBlur(within * ((below < top) & (above > 0.3)), (0, 0), soft)
        reach = (below > top - _FOLD * width) & (below < bottom + 0.15 * width)
        around = cv2.GaussianBlur(within * reach, (0, 0), soft)
        used = (flow != 0).any(0) | (lid > 0) | (around > 0)
        rows, columns = (np.flatnonzero(used.any(axis)) for axis in (1, 0))
        y, x = (slice(each[0], each[-1] + 1) if len(each) else slice(0, 0) for each in (rows, columns))
        self.place = (slice(None), slice(None), y, x)
        self.flow, self.lid, self.around = (
            torch.from_numpy(np.ascontiguousarray(field[..., y, x], np.float32)) for field in (flow, lid, around)
        )
