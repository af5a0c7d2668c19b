# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout of a head's texture: the face gets most of the picture, what is hidden or small a tile in a row below."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .head_mesh import GrowingMesh, Part
from .makehuman import MakeHuman

Floats: TypeAlias = NDArray[np.floating]
Ints: TypeAlias = NDArray[np.signedinteger]

STRIP = 0.15  # of the picture's height, the row of tiles; the skin takes all above it
TILES = ("eye", "mouth", "teeth", "tongue", "lashes", "socket")
HEAD_CENTRE = np.array([0.0, -0.035, -0.075], np.float32)  # from where the skin is projected, between the ears


def project(points: Floats) -> Floats:
    """Return texture coordinates of points of the *mean* head's skin, [N, 2]: where `skin.py` paints them.

    The skin is seen from an axis that runs through the head and bends back into the neck; azimuth and elevation
    become u and v, with the face spread and the back of the head and the shoulders pressed together.
    """
    x, y, z = (points - HEAD_CENTRE).T
    bend = np.clip((-0.02 - y) / 0.08, 0, 1)
    z = z + 0.03 * bend * bend * (3 - 2 * bend)
    azimuth = np.arctan2(x, z)
    radius = np.hypot(x, z)
    # asinh keeps the neck open, where an angle would press it together; the crown needs the angle.
    low = np.arcsinh(np.minimum(y, 0) / (0.5 * np.minimum(radius, 0.11) + 0.05))
    elevation = np.where(y < 0, low / 2.1, np.arctan2(y, radius) / 2.1)
    u = 0.5 + 0.5 * _spread(azimuth / np.pi, 0.33)
    v = 0.57 + 0.57 * _spread(elevation, 0.7)
    return np.stack([u, STRIP + (1 - STRIP) * np.clip(v, 0, 1)], 1).astype(np.float32)


def _spread(value: NDArray[np.floating], scale: float) -> NDArray[np.floating]:
    """Map [-1, 1] onto itself, steep in the middle: the smaller the scale, the more room the middle gets."""
    return np.arctan(value / scale) / np.arctan(1 / scale)


def texture_layout(mean: Floats, source: MakeHuman, kept: Ints, mesh: GrowingMesh) -> tuple[Floats, Ints]:
    """Lay the texture out: the skin by `project`, everything else into its tile.

    Args:
        mean: [V, 3] m, the average head.
        source: has the original layout, in which mouth, teeth, tongue and sockets are scaled to their tiles.
        kept: the numbers of MakeHuman's faces that the mesh begins with.
        mesh: the grown mesh.

    Returns:
        uv [T, 2] and uv_faces [F, 4], see `HeadModel`.
    """
    faces, part = mesh.all_faces, mesh.all_parts
    corners = np.zeros((*faces.shape, 2), np.float32)

    skin = part == Part.SKIN
    projected = project(mean)[faces[skin]]
    behind = np.ptp(projected[..., 0], axis=1) > 0.5  # across the seam at the back of the head
    projected[..., 0] = np.where(behind[:, None] & (projected[..., 0] < 0.5), projected[..., 0] + 1, projected[..., 0])
    corners[skin] = projected

    original = source.uv[source.uv_faces[kept]]
    for tile, which in (
        ("mouth", Part.MOUTH),
        ("teeth", Part.TEETH),
        ("tongue", Part.TONGUE),
        ("socket", Part.SOCKETS),
    ):
        chosen = np.flatnonzero(part[: len(kept)] == which)
        low, high = original[chosen].min((0, 1)), original[chosen].max((0, 1))
        corners[chosen] = _in_tile(tile, (original[chosen] - low) / (high - low))

    first = mesh.count - sum(len(uv) for uv in mesh.tile_uv)
    grown = np.concatenate(mesh.tile_uv)
    for tile, which_parts in (("eye", (Part.LEFT_EYE, Part.RIGHT_EYE)), ("lashes", (Part.LASHES,))):
        chosen = np.flatnonzero(np.isin(part, which_parts))
        corners[chosen] = _in_tile(tile, grown[faces[chosen] - first])

    uv, uv_faces = np.unique(corners.reshape(-1, 2).round(6), axis=0, return_inverse=True)
    return uv.astype(np.float32), uv_faces.reshape(faces.shape).astype(np.int32)


def _in_tile(tile: str, uv: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return texture coordinates of tile coordinates in [0, 1]²."""
    corner, size = tile_box(tile)
    return corner + size * (0.03 + 0.94 * uv)


def tile_box(tile: str) -> tuple[Floats, float]:
    """Return a tile's lower left corner [2] and its size, in texture coordinates."""
    return np.array([TILES.index(tile) * STRIP, 0.0], np.float32), STRIP * 0.96
