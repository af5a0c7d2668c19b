# SPDX-License-Identifier: GPL-3.0-or-later
"""The face's surface in one picture, as projected vertices: what carries motion from one picture to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files.arrays import CapturedMesh, checked, encode_captured, read_captured
from ..files.errors import InputError

FORMAT = 1
MOST_VERTICES = 100_000  # ten times as many as are captured


@dataclass(frozen=True)
class Surface:
    """V vertices of the face in a picture; those of one avatar are the same, in the same order, in all its pictures.

    image_size: (width, height) px. positions: [V, 2] float32 px, x right, y down, pixel centres at integers. depth:
        [V] float32, distance from the camera plane in scene units. visible: [V] bool, in the picture with nothing in
        front. facing: [V] float32 in [0, 1], cosine of the angle between the surface's normal and the direction to the
        camera, whichever side the normal is on. triangles: [T, 3] int32 into the vertices.
    """

    image_size: tuple[int, int]
    positions: NDArray[np.float32]
    depth: NDArray[np.float32]
    visible: NDArray[np.bool_]
    facing: NDArray[np.float32]
    triangles: NDArray[np.int32]

    def encode(self) -> bytes:
        """Return the surface as a file, see `encode_captured`."""
        mesh = CapturedMesh(self.image_size, self.positions, self.depth, self.visible, self.triangles)
        return encode_captured(FORMAT, mesh, facing=self.facing.astype(np.float16))

    @classmethod
    def load(cls, path: Path) -> Surface:
        """Read what `encode` returned. Raises `InputError` for a missing, damaged or newer file."""
        try:
            arrays, mesh = read_captured(path, FORMAT)
            count = len(mesh.positions)
            if not 0 < count <= MOST_VERTICES:
                raise ValueError(f"it has {count} vertices")
            return cls(
                image_size=mesh.image_size,
                positions=mesh.positions,
                depth=mesh.depth,
                visible=mesh.visible,
                facing=checked(arrays, "facing", "f", (count,), 1.001).astype(np.float32),
                triangles=mesh.triangles,
            )
        except (ValueError, OverflowError, TypeError) as error:
            raise InputError(
                f"{path.name} can't be read as the surface of a face ({error}); capture the avatar again."
            ) from error
