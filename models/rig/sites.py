# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig's visible surface on the grid on which motion is measured: where motion equations meet the rig basis."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.basis import RigBasis

SITES_ACROSS = 64  # over the picture's longer side; finer than the controls, coarser than the estimator's window
_DEPTH_STEP = 6.0  # times the median difference of depth between neighbouring grid points
_KEPT = 0.15  # of a control's motion; where less is left without the edges, it moves a part that is all edge
_ACTS = 0.25  # of a control's largest squared motion, from which a vertex is of the part that it moves


@dataclass(frozen=True)
class Sites:
    """S small squares of the picture that show the rig, each with the controls' effect there.

    position: [S, 2] px of the picture. depth: [S], scene units. columns: [K, S, 2] px per unit of each control.
    cells: [S, h * w] sparse, which points of the motion grid belong to a site.
    """

    position: NDArray[np.float64]
    depth: NDArray[np.float64]
    columns: NDArray[np.float64]
    cells: csr_matrix

    @classmethod
    def of(cls, basis: RigBasis, grid: tuple[int, int]) -> Sites:
        """Lay a basis onto a grid of (width, height) points that covers the basis' picture edge to edge.

        The basis is interpolated within its visible triangles, so that a coarse mesh is as good as a dense one; the
        frontmost triangle counts. Raises `InputError` when none is visible in the picture.
        """
        width, height = grid
        scale = np.array([width / basis.image_size[0], height / basis.image_size[1]])
        on_grid = (basis.positions.astype(np.float64) + 0.5) * scale - 0.5
        triangle, share = frontmost(on_grid, basis, grid)
        points = _within_surface(triangle, basis)
        corners, share = basis.triangles[triangle.ravel()[points]], share.reshape(-1, 3)[points]
        y, x = np.divmod(points, width)
        if not len(points):
            raise InputError(
                "No part of the avatar's face is visible; turn it to the camera and capture the avatar again."
            )

        step = max(1, round(max(width, height) / SITES_ACROSS))
        cell = (y // step) * width + x // step
        _, site, members = np.unique(cell, return_inverse=True, return_counts=True)
        count = len(members)
        cells = csr_matrix((np.ones(len(points)), (site, points)), shape=(count, width * height))
        # One sparse matrix takes vertices to sites: the mean over a site's points of the corners' shares.
        rows, values = np.repeat(site, 3), (share / members[site, None]).ravel()
        mean = csr_matrix((values, (rows, corners.ravel())), shape=(count, len(on_grid)))
        effect = basis.displacement.astype(np.float64)
        columns = np.stack([mean @ effect[..., axis].T for axis in (0, 1)], -1).transpose(1, 0, 2)
        position = np.stack([cells @ np.tile(np.arange(width), height), cells @ np.repeat(np.arange(height), width)], 1)
        return cls(
            position=(position / members[:, None] + 0.5) / scale - 0.5,
            depth=mean @ basis.depth.astype(np.float64),
            columns=np.ascontiguousarray(columns),
            cells=cells,
        )

    def gather(self, equations: NDArray[np.floating]) -> NDArray[np.float64]:
        """Add up motion equations [N, 6, h, w] (`motion_equations`) within each site: [N, S, 6]."""
        count, channels = equations.shape[:2]
        rows = equations.reshape(count * channels, -1)
        sums = np.stack([self.cells @ row for row in rows])  # a fifth of the time that all columns together take
        return sums.reshape(count, channels, -1).transpose(0, 2, 1)


def frontmost(
    on_grid: NDArray[np.float64], basis: RigBasis, grid: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return which triangle each grid point shows, [h, w] (-1 for none), and the shares of its corners, [h, w, 3]."""
    width, height = grid
    corners = on_grid[basis.triangles]
    shown = np.flatnonzero(basis.visible[basis.triangles].all(1) & np.isfinite(corners).all((1, 2)))
    corners = corners[shown]
    limit = np.array([width, height]) - 1
    low = np.ceil(corners.min(1)).clip(0, limit + 1).astype(np.intp)
    span = np.floor(corners.max(1)).clip(-1, limit).astype(np.intp) - low + 1

    # All points of all bounding boxes, row by row of the boxes: few triangles are large, and many are small.
    found: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]] = []
    for step_y in range(int(span[:, 1].max(initial=0))):
        for step_x in range(int(span[span[:, 1] > step_y, 0].max(initial=0))):
            here = np.flatnonzero((span[:, 0] > step_x) & (span[:, 1] > step_y))
            point = low[here] + [step_x, step_y]
            share = _barycentric(point.astype(np.float64), corners[here])
            inside = (share >= -1e-9).all(1)
            found.append((point[inside, 1] * width + point[inside, 0], shown[here[inside]], share[inside]))
    triangle = np.full(height * width, -1, np.intp)
    shares = np.zeros((height * width, 3))
    if found:
        points, candidates, all_shares = (np.concatenate(part) for part in zip(*found, strict=True))
        depth = (basis.depth[basis.triangles[candidates]] * all_shares).sum(1)
        order = np.argsort(-depth, kind="stable")  # of those at one point, the nearest is written last
        triangle[points[order]], shares[points[order]] = candidates[order], all_shares[order]
    return triangle.reshape(height, width), shares.reshape(height, width, 3)


def _within_surface(triangle: NDArray[np.intp], basis: RigBasis) -> NDArray[np.intp]:
    """Return the grid points that are not next to an edge of what is visible, or to a step in depth.

    There the picture shows two surfaces that move differently (a jaw before the neck, a cheek before the wall), or one
    that turns away, and brightness constancy doesn't hold. Parts that are all edge are kept: the brows and the mouth of
    a drawn face are a few px thin, and without them their controls would have no equations.
    """
    covered = triangle >= 0
    depth = np.where(covered, basis.depth[basis.triangles[triangle]].mean(-1), 0.0)
    behind = np.where(covered, depth, depth.max(initial=0.0, where=covered)).astype(np.float32)
    neighbours = np.ones((3, 3), np.uint8)
    step = cv2.dilate(behind, neighbours) - cv2.erode(behind, neighbours)
    smooth = covered & (step <= _DEPTH_STEP * np.median(step[covered])) if covered.any() else covered
    inner = cv2.erode(smooth.astype(np.uint8), neighbours, borderValue=0) > 0
    return np.flatnonzero(inner | _thin(triangle, inner, basis))


def _thin(triangle: NDArray[np.intp], inner: NDArray[np.bool_], basis: RigBasis) -> NDArray[np.bool_]:
    """Return the points [h, w] of what those controls move that hardly move anything within the `inner` points."""
    corners = np.where((triangle >= 0)[..., None], basis.triangles[triangle], -1)
    x, y = np.moveaxis(basis.displacement.astype(np.float64), -1, 0)
    energy = x * x + y * y
    everywhere, within = (
        energy @ np.bincount(corners[points].ravel(), minlength=energy.shape[1]) for points in (triangle >= 0, inner)
    )
    lost = energy[within < _KEPT * everywhere]
    parts = (lost > _ACTS * lost.max(1, initial=0.0, keepdims=True)).any(0)
    return np.asarray((triangle >= 0) & parts[corners].any(-1))


def _barycentric(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [S, 3] shares of the corners [S, 3, 2] at points [S, 2]; one is negative outside."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    inside = points - corners[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    area = np.where(np.abs(area) > 1e-12, area, np.inf)  # a triangle seen edge-on shows nothing
    b = (inside[:, 0] * second[:, 1] - inside[:, 1] * second[:, 0]) / area
    c = (first[:, 0] * inside[:, 1] - first[:, 1] * inside[:, 0]) / area
    return np.stack([np.where(np.isinf(area), -1.0, 1 - b - c), b, c], 1)
