# SPDX-License-Identifier: GPL-3.0-or-later
"""The head's mesh: what is kept of MakeHuman's, and eyeballs and lashes that are built anew on top of it."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .makehuman import DECIMETRE, MakeHuman

Floats: TypeAlias = NDArray[np.floating]
Ints: TypeAlias = NDArray[np.signedinteger]

EYE_TILE_REACH = 100.0  # degrees from the eye's axis at the rim of its tile


class Part(IntEnum):
    """What a face of the mesh belongs to."""

    SKIN = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    TEETH = 3
    TONGUE = 4
    LASHES = 5
    MOUTH = 6
    SOCKETS = 7


def parts_of(source: MakeHuman, crop: tuple[float, float]) -> Ints:
    """Return the `Part` of each of MakeHuman's faces, [F]; -1 for what is left out, or is made anew."""
    body = source.face_groups == "body"
    islands = source.uv_islands(body)
    top = source.vertices[np.unique(source.faces[body]), 1].max()
    lowest = source.vertices[source.faces, 1].min(1)
    widest = np.abs(source.vertices[source.faces, 0]).max(1)
    head = (lowest > top - crop[0] / DECIMETRE) & (widest < crop[1] / DECIMETRE)

    # Where the faces of the body go: the inside of the mouth and of the sockets are islands of the original layout.
    part = np.full(len(source.faces), -1, np.int32)
    part[body & head] = Part.SKIN
    part[body & (islands == islands[source.nearest_face(body, (0.0, 6.6, 0.7))])] = Part.MOUTH
    for side in (-1, 1):
        part[body & (islands == islands[source.nearest_face(body, (side * 0.31, 7.28, 1.09))])] = Part.SOCKETS
    part[np.isin(source.face_groups, ("helper-upper-teeth", "helper-lower-teeth"))] = Part.TEETH
    part[source.face_groups == "helper-tongue"] = Part.TONGUE
    return part


class GrowingMesh:
    """The head's mesh while it grows: kept MakeHuman vertices, then vertices that are linear blends of them.

    Blending vertices by constant weights carries every target over to the new geometry exactly and for free.
    """

    def __init__(self, source: MakeHuman, used: Ints, faces: Ints, parts: Ints) -> None:
        self._source = source
        self._used = used
        self._blends: list[tuple[Ints, NDArray[np.float64]]] = []
        remap = np.full(len(source.vertices), -1, np.int32)
        remap[used] = np.arange(len(used))
        self.faces = [remap[faces]]
        self.parts = [parts]
        self.tile_uv: list[Floats] = []  # of the vertices added, one array a call, in tile coordinates
        self.count = len(used)

    @property
    def all_faces(self) -> Ints:
        """[F, 4], the quads so far."""
        return np.concatenate(self.faces)

    @property
    def all_parts(self) -> Ints:
        """[F], the `Part` of each."""
        return np.concatenate(self.parts)

    def carry(self, displacement: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions or displacements of all vertices in metres, [V, 3], given MakeHuman's."""
        grown = [weights @ displacement[rows] for rows, weights in self._blends]
        return np.concatenate([displacement[self._used], *grown]) * DECIMETRE

    def _add(self, rows: Ints, weights: NDArray[np.float64], faces: Ints, part: Part, tile_uv: NDArray) -> None:
        self._blends.append((rows, weights))
        self.faces.append(faces + self.count)
        self.parts.append(np.full(len(faces), part, np.int32))
        self.tile_uv.append(tile_uv.astype(np.float32))
        self.count += len(weights)

    def add_eyeball(self, group: str, part: Part, rings: int = 26, spokes: int = 40) -> None:
        """Replace a coarse eye by a sphere with a cornea, moved by the affine motion of the coarse one.

        Gaze is a rotation and eye size a scale, both affine; the fit is exact for them.
        """
        rows = np.unique(self._source.faces[self._source.face_groups == group])
        coarse = self._source.vertices[rows]
        centre = 0.5 * (coarse.min(0) + coarse.max(0))
        radius = 0.5 * float(np.ptp(coarse[:, 0]))
        centre[2] = coarse[:, 2].min() + radius  # the coarse eye's own cornea stretches its box

        # Rings are closer together over the cornea (polar angle below 30 degrees), where the shape and the iris are.
        polar = np.pi * np.linspace(0.0, 1.0, rings + 1)[1:] ** 1.6
        limbus = np.deg2rad(30.0)
        bulge = np.where(polar < limbus, 0.5 + 0.5 * np.cos(np.pi * polar / limbus), 0.0)
        distance = radius * (1.0 + 0.075 * bulge)
        around = 2 * np.pi * np.arange(spokes) / spokes
        ring = np.stack(np.broadcast_arrays(np.cos(around), np.sin(around), 1.0), 1)
        points = np.concatenate(
            [
                [[0.0, 0.0, radius * 1.075]],
                *(ring * [d * np.sin(a), d * np.sin(a), d * np.cos(a)] for d, a in zip(distance, polar, strict=True)),
            ]
        )
        homogeneous = np.c_[coarse, np.ones(len(coarse))]
        weights = np.c_[points + centre, np.ones(len(points))] @ np.linalg.pinv(homogeneous)

        # Equidistant: the tile's inscribed circle is the equator and a little more, the unseen back is squeezed in.
        reach = np.minimum(np.r_[0.0, polar] / np.deg2rad(EYE_TILE_REACH), 1.0)
        disc = (
            np.concatenate([[[0.0, 0.0]], *(ring[:, :2] for _ in polar)])
            * np.repeat(reach, [1, *[spokes] * rings])[:, None]
        )
        faces = []
        step = np.arange(spokes)
        after = (step + 1) % spokes
        for index in range(rings):
            outer = 1 + index * spokes
            inner = outer - spokes
            if index == 0:  # two spokes a quad around the pole
                even = step[::2]
                faces.append(np.stack([np.zeros_like(even), 1 + even, 1 + even + 1, 1 + (even + 2) % spokes], 1))
            else:
                faces.append(np.stack([inner + step, outer + step, outer + after, inner + after], 1))
        self._add(rows, weights, np.concatenate(faces).astype(np.int32), part, 0.5 + 0.49 * disc)

    def add_lashes(self, group: str, hairs: int, length: tuple[float, float], seed: int) -> None:
        """Replace a lash card by single tapering hairs that grow along it."""
        grid = self._source.card_grid(group)
        along, across = grid.shape
        rng = np.random.default_rng(seed)
        segments = 4
        rows = grid.ravel()
        weights, faces, tile_uv = [], [], []
        roots = np.linspace(0.02, 0.98, hairs) + rng.normal(0, 0.3 / hairs, hairs)
        for hair, root in enumerate(roots):
            reach = rng.uniform(*length) * (0.55 + 0.45 * np.sin(np.pi * np.clip(root, 0, 1)) ** 0.5)
            lean = rng.normal(0.0, 0.018) + 0.02 * (root - 0.5)
            half = 0.0035 * (12 / along)  # half the hair's width at its root, in units of the card's length
            for step in np.linspace(0.0, 1.0, segments + 1):
                place = root + lean * step * step
                for edge in (-1, 1):
                    width = half * (1.0 - 0.85 * step) * edge
                    weights.append(_bilinear(place + width, step * reach, along, across))
                    tile_uv.append([0.5 + 0.4 * edge, step])
            first = hair * 2 * (segments + 1)
            faces += [[first + 2 * s, first + 2 * s + 1, first + 2 * s + 3, first + 2 * s + 2] for s in range(segments)]
        self._add(rows, np.array(weights), np.array(faces, np.int32), Part.LASHES, np.array(tile_uv))


def _bilinear(s: float, t: float, along: int, across: int) -> NDArray[np.float64]:
    """Weights on an [along, across] grid for the place (s, t) in [0, 1]²; s may run a little over."""
    weights = np.zeros((along, across))
    x, y = np.clip(s, 0, 1) * (along - 1), np.clip(t, 0, 1) * (across - 1)
    i, j = min(int(x), along - 2), min(int(y), across - 2)
    x, y = x - i, y - j
    weights[i : i + 2, j : j + 2] = np.outer([1 - x, x], [1 - y, y])
    return weights.ravel()
