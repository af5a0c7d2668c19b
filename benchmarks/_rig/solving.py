# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the solver takes by itself."""

from __future__ import annotations

import time

import numpy as np
from scipy.sparse import csr_matrix

from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.models.rig.sites import Sites
from magplus.models.rig.solver import solve
from magplus.models.training.actors import RATE


def solving_time(frames: int = 300, controls: int = 52, sites: int = 2000) -> tuple[float, float]:
    """Return the seconds, by the clock and of the processor, that solving motion equations takes by itself."""
    rng = np.random.default_rng(0)
    position = rng.uniform(0, 256, (sites, 2))
    centre, push = rng.uniform(0, 256, (controls, 1, 2)), rng.normal(size=(controls, 1, 2))
    columns = 6 * push * np.exp(-((position - centre) ** 2).sum(2) / (2 * 25.0**2))[..., None]
    values = rng.uniform(0, 0.1, (frames, controls)) * (rng.random(controls) < 0.2)
    precision = np.tile(rng.uniform(1, 100, (sites, 1)) * [1, 0, 1], (frames, 1, 1))
    pull = np.einsum("nk,ksj->nsj", values, columns) * precision[..., [0, 2]]
    pull += rng.normal(size=pull.shape) * np.sqrt(precision[..., [0, 2]])
    basis = RigBasis(
        (256, 256),
        tuple(Control(f"c{k}", "shape_key", "Head", f"k{k}", 0.0, 0.0, 1.0) for k in range(controls)),
        positions=np.zeros((0, 2), np.float32),
        depth=np.zeros(0, np.float32),
        visible=np.zeros(0, bool),
        displacement=np.zeros((controls, 0, 2), np.float32),
        triangles=np.zeros((0, 3), np.int32),
    )
    cells = Sites(position, rng.uniform(size=sites), columns, csr_matrix((sites, 1)))
    start, started = time.perf_counter(), time.process_time()
    solve(basis, cells, np.concatenate([precision, pull], 2), np.arange(frames) / RATE)
    return time.perf_counter() - start, time.process_time() - started
