# SPDX-License-Identifier: GPL-3.0-or-later
"""A rig that is drawn point by point, and a reader of what its points are said to have done."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from magplus.backend_bridge.job.spec import Match
from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.models.pipeline.batch import Batch
from magplus.models.pipeline.rig_reader import RigReader
from magplus.models.rig.constraints import Constraints
from magplus.models.rig.sites import Sites

GRID = np.stack(np.meshgrid(np.arange(24), np.arange(24)), -1).reshape(-1, 2) * 4.0  # [S, 2] px
PRECISION = 400.0  # 1 / px^2, of the motion of a point


class Reader(RigReader):
    """Solves what it is given, and reads no pictures."""

    read_from = "a test"
    has_head = True

    def read(self, batch: Batch) -> NDArray[np.float32]:
        raise AssertionError("a drawn face has no pictures to read")


def reader_of(
    keys: NDArray[np.floating],
    names: Sequence[str],
    mesh: str,
    regions: dict[str, NDArray[np.floating]],
    matching: Match = "shape",
) -> Reader:
    """A reader of a face whose controls move its points by `keys` [K, S, 2] px."""
    basis = RigBasis(
        image_size=(96, 96),
        controls=tuple(Control(name, "shape_key", mesh, name, 0.0, 0.0, 1.0) for name in names),
        positions=GRID.astype(np.float32),
        depth=np.hypot(*(GRID - 48).T).astype(np.float32),
        visible=np.ones(len(GRID), bool),
        displacement=keys.astype(np.float32),
        triangles=np.zeros((0, 3), np.int32),
    )
    sites = Sites(GRID, basis.depth.astype(np.float64), keys, csr_matrix((len(GRID), 1)))
    observer = cast(Any, SimpleNamespace(sites=sites))
    return Reader(basis, observer, regions, Constraints(), np.ones(len(keys)), 90.0, matching)


def read(motion: NDArray[np.float64], head: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a reader reads [N, S, 10] where the face moves [N, S, 2] px on a head that moves [N, S, 2] px."""
    weight = np.full((*motion.shape[:2], 1), PRECISION)
    whole = motion + head
    return np.concatenate(
        [weight, 0 * weight, weight, weight * whole, 0 * weight + 1, 0 * weight + 1, head, 0 * weight], -1
    )
