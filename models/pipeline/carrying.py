# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion carried over a face's surface, from the neutral picture to one in which it is turned or elsewhere.

Both pictures show the same vertices, between which all is interpolated over the mesh's triangles, so that each pixel
has its place in the neutral picture. That shows how the skin moves there, but for how far it comes towards the camera.
A map of two by two numbers at each vertex takes the motion to the other picture. The map of the head's turn lets skin
move parallel to the neutral picture, the one of the vertex and its neighbours lets it slide along the surface. Faces
are between the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.rig.easing import smooth_step
from ...backend_bridge.rig.surface import Surface
from ..face import Window
from ..face.masks import disc
from ..warp import pixel_grid, sample
from .triangles import Grid, rasterise

LONGEST_GRID = 512  # px of the longer side on which motion is computed; it is smooth
MARGIN = 0.15  # of the face's box, around it
GRAZING, FACING = 0.08, 0.25  # cosine of the view angle: below the first nothing is carried, from the second on all
SOFT = 0.02  # of the face's box: how far from an edge motion rises to its full size
EDGE = 1.0  # px: an occluder's edge is mixed with what is behind it
SLIVER = 0.01  # of the face's box: what is covered more thinly is an error of the mesh, no occluder
HIDDEN = 0.02, 0.5  # share of a triangle's corners, interpolated, from which on a pixel of it is hidden: the bounds
BEHIND = 0.005  # of the face's depth: from there on a vertex lies behind another part of the face
LEAST_TRUST = 0.1  # of a vertex, from which on its motion is taken
SMOOTH = 0.006  # of the face's box: spread of the Gaussian that motion is smoothed with, as a mesh has corners
LEAST_VERTICES = 12  # of both pictures, that tell how the head has turned
STRETCH = 1.6  # largest singular value of a Jacobian, beside the pictures' scale
RIDGE = 1e-3  # of a vertex's neighbourhood; for those that the neutral picture shows from the side
# How much of the surface's slope motion follows: in median 0.19 of the 52 shapes of the sample character, 0.33 in all.
# Five expressions of a head that turns by 20 degrees to either side, carried as they truly are, have an error of 0.02
# to 0.04 of their motion with it, 0.03 with none, 0.03 to 0.08 with all.
SLIDING = 0.25
FLAT = 1e-3  # ridge of depth in the head's turn, as a share: where a face is as flat as a sheet, it slides

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Carrier:
    """What one picture of the shot shows of the neutral one, on a grid over the face.

    place: [2, h, w] px of the neutral picture, at each node of the grid. jacobian: [4, h, w] (xx, xy, yx, yy), px of
    motion in this picture per px in the neutral one. weight: [h, w] in [0, 1], how much of the motion is shown; 0 where
    the face isn't seen. known: [h, w], where both pictures show the surface. away: [h, w] px to the nearest occluder,
    0 on it. face: its longer side, in nodes. grid: where the nodes lie.
    """

    place: Array
    jacobian: Array
    weight: Array
    known: NDArray[np.bool_]
    away: Array
    face: float
    grid: Grid

    def carry(self, flow: Tensor, window: Window) -> Tensor:
        """Return the motion in px of this picture, [1, 2, h, w] on the grid.

        flow: [1, 2, S, S] px of the neutral crop, whose place is `window`.
        """
        crop = window.to_crop(torch.from_numpy(self.place)[None])
        return self.shown_of(self.turned(window.turned_back(sample(flow, crop))[0].numpy()))

    def turned(self, shift: Array) -> Array:
        """Return motion of the neutral picture at `place`, [2, h, w] px of it, in px of this picture."""
        xx, xy, yx, yy = self.jacobian
        return np.stack([xx * shift[0] + xy * shift[1], yx * shift[0] + yy * shift[1]])

    def shown_of(self, carried: Array) -> Tensor:
        """Return what is shown of motion in px of this picture, [1, 2, h, w], where it is known: smooth, and fading."""
        carried = _smooth(_filled(carried * self.known, self.known), SMOOTH * self.face) * self.weight
        return torch.from_numpy(carried.astype(np.float32))[None]

    def beside_occluders(self, come: Tensor) -> Tensor:
        """Return how far pixels have come, [1, 2, h, w] px: from the side of an occluder by no more than half the way.

        So none of it is drawn beside itself, and nothing moves over it; along its edge, and farther away, skin moves in
        full. Where that would still end on it, at a tip, no pixel comes farther than half the way from anywhere.
        """
        if not np.isfinite(self.away).any():
            return come
        away = torch.from_numpy(self.away)[None, None]
        room = (away - EDGE).clamp_min(0)
        outwards = torch.from_numpy(np.stack(np.gradient(self.away)[::-1]))[None]
        outwards = outwards / outwards.norm(dim=1, keepdim=True).clamp_min(1e-6)
        excess = ((come * outwards).sum(1, keepdim=True) - room / 2).clamp_min(0)
        along = (come - excess * outwards) * room.clamp_max(1)
        shortened = come * (room / 2 / come.norm(dim=1, keepdim=True).clamp_min(1e-6)).clamp_max(1)
        nodes = pixel_grid(self.away.shape[0], self.away.shape[1], along.device)
        return torch.where(sample(away, nodes - along / self.grid.step) >= EDGE, along, shortened)

    @property
    def shown(self) -> float:
        """The share of the surface on the grid that shows motion."""
        return float(self.weight[self.known].mean()) if self.known.any() else 0.0


def carrier(neutral: Surface, frame: Surface) -> Carrier | None:
    """Return what a picture shows of the neutral one, None where it shows nothing of the face."""
    seen = frame.visible & (frame.facing > GRAZING) & neutral.visible
    if not seen.any():
        return None
    grid = _grid(frame, seen)
    if grid is None:
        return None
    validity = _fade(frame.facing) * _fade(neutral.facing) * neutral.visible
    shape = frame.positions, frame.depth, frame.triangles
    values, depth = rasterise(
        *shape, np.column_stack([neutral.positions, motion_maps(neutral, frame).reshape(-1, 4), validity]), grid
    )
    # What hides a vertex is in front of the face, unless it is the face itself, which is drawn in the right order.
    hidden = ~frame.visible & ~_behind(frame, depth, grid)
    covered = np.isfinite(depth)
    blocked = rasterise(*shape, hidden[:, None].astype(np.float32), grid)[0][0] > _least_hidden(frame, hidden)
    face = SOFT * max(grid.width, grid.height) / (1 + 2 * MARGIN)
    blocked = _without_slivers(blocked, max(1, round(face * SLIVER / SOFT)))
    # What the neutral picture doesn't show (the inside of the lips) moves with what is around it.
    known = covered & ~blocked & (values[6] > LEAST_TRUST)
    validity = _smooth(_filled(values[6:7] * known, known), SMOOTH / SOFT * face)[0]
    outside, occluded = _around_the_face(covered, blocked)
    weight = validity * _rising(outside, face)
    return Carrier(values[:2], values[2:6], weight, known, _away(occluded) * grid.step, face / SOFT, grid)


def _behind(frame: Surface, depth: NDArray[np.float64], grid: Grid) -> NDArray[np.bool_]:
    """Return which vertices lie behind what is drawn where they are, [V]."""
    nodes = np.rint((frame.positions - (grid.left, grid.top)) / grid.step).astype(np.int64)
    inside = ((nodes >= 0) & (nodes < (grid.width, grid.height))).all(axis=1)
    # The deepest of the nodes around it: what lies on a slope is not behind it.
    front = cv2.dilate(np.where(np.isfinite(depth), depth, -1e9).astype(np.float32), np.ones((3, 3), np.uint8))
    extent = float(np.ptp(frame.depth[frame.visible]))
    x, y = np.where(inside[:, None], nodes, 0).T
    return inside & (front[y, x] < frame.depth - BEHIND * extent)


def _least_hidden(frame: Surface, hidden: NDArray[np.bool_]) -> float:
    """Return the share of hidden corners, interpolated over a triangle, from which on its pixels count as hidden.

    An occluder ends anywhere between a vertex that it hides and one that it doesn't. Of the way between them the last
    `EDGE` px count as seen; should they be the occluder's, `Carrier.beside_occluders` keeps them still.
    """
    corners = hidden[frame.triangles]
    places = frame.positions[frame.triangles[corners.any(axis=1) & ~corners.all(axis=1)]]
    if not len(places):
        return HIDDEN[0]
    longest = np.linalg.norm(places - np.roll(places, 1, axis=1), axis=2).max(axis=1)
    return float(np.clip(EDGE / max(float(np.median(longest)), EDGE), *HIDDEN))


def motion_maps(neutral: Surface, frame: Surface) -> NDArray[np.float64]:
    """Return the map of motion at each vertex, [V, 2, 2]: px of the frame's picture per px of the neutral one."""
    along, turned = jacobians(neutral, frame), turn_of(neutral, frame)
    return along if turned is None else turned + SLIDING * (along - turned)


def turn_of(neutral: Surface, frame: Surface) -> NDArray[np.float64] | None:
    """Return [2, 2], the map of motion parallel to the neutral picture, from how the head lies in both.

    Least squares of an affine camera over the vertices that both show: where they are in the frame, from where they are
    in the neutral picture and how deep there. None where they are too few to tell.
    """
    both = neutral.visible & frame.visible & (neutral.facing > FACING) & (frame.facing > FACING)
    if both.sum() < LEAST_VERTICES:
        return None
    known = np.column_stack([neutral.positions, neutral.depth])[both].astype(np.float64)
    known -= known.mean(axis=0)
    spread = np.maximum(known.std(axis=0), 1e-9)
    known /= spread
    wanted = frame.positions[both].astype(np.float64)
    normal = known.T @ known + FLAT * len(known) * np.diag([0.0, 0.0, 1.0])
    if np.linalg.cond(normal) > 1 / RIDGE**2:  # all on one line
        return None
    return np.asarray(np.linalg.solve(normal, known.T @ (wanted - wanted.mean(axis=0)))[:2].T / spread[:2])


def jacobians(neutral: Surface, frame: Surface) -> NDArray[np.float64]:
    """Return the local map at each vertex, [V, 2, 2]: px of the frame's picture per px of the neutral one.

    Least squares over the edges to a vertex's neighbours, with a small ridge for directions without an edge: those
    that the neutral picture shows along the line of sight.

    >>> square = np.float32([[0, 0], [10, 0], [10, 10], [0, 10]])
    >>> ones, triangles = np.ones(4, np.float32), np.int32([[0, 1, 2], [0, 2, 3]])
    >>> def surface(positions):
    ...     return Surface((20, 20), positions, ones, ones > 0, ones, triangles)
    >>> jacobians(surface(square), surface(square * np.float32([2, 1])))[0].round(1) + 0.0  # stretched along x
    array([[2., 0.],
           [0., 1.]])
    """
    edges = np.concatenate([frame.triangles[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    before, after = (
        (each.positions[edges[:, 1]] - each.positions[edges[:, 0]]).astype(np.float64) for each in (neutral, frame)
    )
    whole = len(frame.positions)
    normal, mixed = np.zeros((whole, 2, 2)), np.zeros((whole, 2, 2))
    for end in (0, 1):
        np.add.at(normal, edges[:, end], before[:, :, None] * before[:, None, :])
        np.add.at(mixed, edges[:, end], after[:, :, None] * before[:, None, :])
    ridge = RIDGE * np.trace(normal, axis1=1, axis2=2) + 1e-9
    normal += ridge[:, None, None] * np.eye(2)
    maps = mixed @ np.linalg.inv(normal)
    scale = np.sqrt(np.median(np.abs(np.linalg.det(maps)))) or 1.0
    largest = np.linalg.norm(maps, ord=2, axis=(1, 2))
    return np.asarray(maps * np.minimum(1.0, STRETCH * scale / np.maximum(largest, 1e-9))[:, None, None])


def _grid(frame: Surface, seen: NDArray[np.bool_]) -> Grid | None:
    """Return the grid over what is seen of the face, within the picture."""
    low, high = frame.positions[seen].min(axis=0), frame.positions[seen].max(axis=0)
    margin = MARGIN * float((high - low).max()) + 2
    left, top = (max(int(value - margin), 0) for value in low)
    right, bottom = (min(int(value + margin) + 1, side) for value, side in zip(high, frame.image_size, strict=True))
    if right - left < 2 or bottom - top < 2:
        return None
    return Grid(left, top, right, bottom, max(1.0, max(right - left, bottom - top) / LONGEST_GRID))


def _fade(cosine: Array) -> Array:
    share = np.clip((cosine - GRAZING) / (FACING - GRAZING), 0, 1)
    return np.asarray(smooth_step(share), np.float32)


def _without_slivers(blocked: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return what is covered without the pieces that are nowhere wider than about twice `width` nodes."""
    core = cv2.erode(blocked.astype(np.uint8), disc(width), borderType=cv2.BORDER_REPLICATE) > 0
    _, label = cv2.connectedComponents(blocked.astype(np.uint8))
    return blocked & np.isin(label, label[core])


def _around_the_face(
    covered: NDArray[np.bool_], blocked: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what lies outside the face, and what occluders cover, [h, w] each.

    Holes of the mesh (sockets, the mouth) are neither, where no occluder goes on over them: what shows there moves with
    what is around it.
    """
    _, label = cv2.connectedComponents((~covered).astype(np.uint8), connectivity=4)
    border = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    outside = ~covered & np.isin(label, border)
    over = _filled(blocked[None].astype(np.float32), covered)[0] > 0
    return outside, over & ~outside


def _away(region: NDArray[np.bool_]) -> Array:
    """Return [h, w], how many nodes away the region is; infinite without one."""
    if not region.any():
        return np.full(region.shape, np.inf, np.float32)
    return cv2.distanceTransform(1 - region.astype(np.uint8), cv2.DIST_L2, 5)


def _rising(edge: NDArray[np.bool_], reach: float) -> Array:
    """Return [h, w], 0 in a region and rising to 1 within `reach` nodes around it.

    The border of the picture is no edge: a close-up's cheek moves where the picture ends.
    """
    return smooth_step(np.clip(_away(edge) / max(reach, 1.0), 0, 1))


def _smooth(values: Array, spread: float) -> Array:
    """Return values [C, h, w] smoothed by a Gaussian."""
    return np.stack(
        [cv2.GaussianBlur(np.ascontiguousarray(each, np.float32), (0, 0), max(spread, 0.3)) for each in values]
    )


def _filled(values: Array, known: NDArray[np.bool_]) -> Array:
    """Return values [C, h, w] with what isn't known filled in from the nearest that is."""
    if known.all() or not known.any():
        return values
    _, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    index = np.zeros(label.max() + 1, np.intp)
    index[label[known]] = np.flatnonzero(known)
    return np.asarray(values.reshape(len(values), -1)[:, index[label]])
