# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to get an avatar's controls from a driver's clip: MediaPipe's two, and a job with each backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.anchors import MESH_POINTS
from magplus.models.backends import registry
from magplus.models.pipeline.session import Session

from .._readings import OWN, Clip, Found, Readings

BASELINES = ("MediaPipe scores", "MediaPipe landmarks")
ALONE, ORACLE = " alone", "oracle"


class Pair(Readings):
    """A driver and an avatar, and every way to get the avatar's controls from the driver's clip."""

    @property
    def controls(self) -> list[str]:
        """Names of the controls."""
        return self.driver.stage.controls

    def scores(self, clip: Clip) -> Found:
        """MediaPipe's blendshape scores, as they are."""
        start = time.process_time()
        table = np.array([[face.blendshapes.get(name, 0.0) for name in self.controls] for face in self.faces(clip)])
        return Found(np.maximum(table - table[0], 0.0), seconds=time.process_time() - start)

    def landmarks(self, clip: Clip) -> Found:
        """MediaPipe's landmarks and non-negative least squares."""
        start = time.process_time()
        found = np.stack([face.points[:MESH_POINTS] for face in self.faces(clip)])
        here, there = self.avatar_face.points[:MESH_POINTS, :2], found[0, :, :2]
        fixed = [33, 133, 362, 263, 168, 6, 197, 195, 10, 151, 127, 356]  # eye corners, nose bridge, forehead, temples
        moved = np.stack([similar(points[:, :2], there, fixed) - there for points in found])
        moved *= np.ptp(here[:, 0]) / np.ptp(there[:, 0])
        candidates = np.flatnonzero(self.avatar.basis.visible)
        apart = ((self.avatar.basis.positions[candidates] - here[:, None]) ** 2).sum(2)
        effect = self.avatar.basis.displacement[:, candidates[apart.argmin(1)]].reshape(len(self.controls), -1)
        ridge = 0.05 * np.linalg.norm(effect, axis=1).mean()
        system = np.vstack([effect.T, ridge * np.eye(len(effect))])
        values = np.stack([nnls(system, np.r_[row.ravel(), np.zeros(len(effect))])[0] for row in moved])
        return Found(values, seconds=time.process_time() - start)


def similar(points: NDArray[np.floating], reference: NDArray[np.floating], fixed: list[int]) -> NDArray[np.floating]:
    """Return points [L, 2] after the similarity that brings the `fixed` ones nearest to the reference's."""
    x, y = points[fixed] - points[fixed].mean(0), reference[fixed] - reference[fixed].mean(0)
    u, s, vt = np.linalg.svd(x.T @ y)
    return s.sum() / (x**2).sum() * (points - points[fixed].mean(0)) @ (u @ vt) + reference[fixed].mean(0)


def usable_backends(session: Session) -> list[str]:
    """Return the names of the backends whose checkpoints are here."""
    found = []
    for name in registry:
        try:
            session.backend(name, session.origins(name), torch.device("cpu"), registry[name].Options())
        except InputError:
            continue
        found.append(name)
    return found


def row_names(backends: list[str], bounds: Collection[str]) -> list[str]:
    """Return the rows of a table, with those of `ALONE` and `ORACLE` that are in `bounds`: what there is to gain."""
    own = [name + kind for name in backends for kind in ((ALONE, "") if ALONE in bounds else ("",))]
    return [*BASELINES, *own, *((ORACLE,) if ORACLE in bounds else ())]


def methods(pair: Pair, backends: list[str]) -> dict[str, Callable[[Clip], Found]]:
    """Return what fills each row."""
    rows: dict[str, Callable[[Clip], Found]] = dict(zip(BASELINES, (pair.scores, pair.landmarks), strict=True))
    for name in backends:
        rows[name + ALONE] = lambda clip, name=name: pair.alone(clip, name).solve()  # type: ignore[misc]
        rows[name] = lambda clip, name=name: pair.of(clip, name)[OWN].solve()  # type: ignore[misc]
    rows[ORACLE] = lambda clip: pair.oracle(clip).solve()
    return rows
