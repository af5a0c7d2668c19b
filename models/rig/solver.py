# SPDX-License-Identifier: GPL-3.0-or-later
"""Rig controls from motion: which control values explain what was seen at the avatar's vertices.

The picture motion of vertex v in frame n is modelled as

    observed[n, v] = Σ_k displacement[k, v] · w[n, k]  +  head motion  +  error,

with the rig's own basis, six small head motions (weak perspective) as nuisance, and an error whose size is measured
per frame. The weights are the most probable ones under a prior that is learned from the clip itself:

* **A control is either in play during a stretch of half a second, or it rests.** Every control has its own prior
  variance, shared by the frames around (automatic relevance determination; Wipf & Rao 2007 for many observations).
  The evidence decides: controls that the data can do without are switched off, which is what keeps cross-talk down,
  and those in play are hardly shrunk, which is what keeps the intensity. Left and right have their own variances, so a
  lopsided smile stays lopsided. Controls that look the same from this camera share the motion equally.
* **Values stay inside the control's range.** Together with the prior this resolves correlated controls (a smile and
  a cheek squint) in favour of the fewest that explain the motion.
* **Time is not smoothed.** Frames share the question whether a control is in play, never its value, so an apex of one
  frame stays.

A vertex whose motion fits no control (a hand before the face, hair, a shadow) loses its say by robust re-weighting.
All of it happens in K x K normal equations; the vertices are touched once a round, by one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backend_bridge.control_curves import ControlCurves
from backend_bridge.errors import InputError
from backend_bridge.rig_basis import RigBasis
from models.rig.box_least_squares import solve_boxed

HEAD_MOTIONS = ("right", "down", "roll", "nearer", "yaw", "pitch")


@dataclass(frozen=True)
class SolverSettings:
    """What the prior assumes. Lengths are shares of the face's size, which is the rms extent of the visible vertices.

    play_seconds: how long a control stays in play; a micro-expression lasts at most half a second.
    correlation_length: motion errors closer together than this are the same error (the estimator's window).
    proportional_error: tolerated error per motion, before a vertex counts as an outlier; correspondence between two
        faces is never exact, and its error grows with the motion.
    least_effect: a control that moves nothing visible by more than this over its range can't be solved.
    head_motion: solve six head motions as nuisance; switch off when a control of the rig turns the head itself.
    rounds: evidence rounds; the first three also re-weight the vertices.
    max_points: vertices used at most; denser meshes are thinned evenly in the picture.
    """

    play_seconds: float = 0.5
    correlation_length: float = 0.12
    proportional_error: float = 0.25
    least_effect: float = 0.001
    head_motion: bool = True
    rounds: int = 8
    max_points: int = 2000


@dataclass(frozen=True)
class RigSolution:
    """Solved curves and what is left over.

    head_motion: [N, 6] in the order of `HEAD_MOTIONS`, as rms px on the visible face; removed from the observation.
    observed_local: [N, V, 2] px, observed motion without the head motion; zero at vertices that were not used.
    unexplained: [N, V, 2] px, what no control explains of it.
    """

    curves: ControlCurves
    head_motion: NDArray[np.float32]
    observed_local: NDArray[np.float32]
    unexplained: NDArray[np.float32]

    def residual_in(self, region: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return [N], the unexplained share of the motion energy in a region of soft membership [V], in [0, 1]."""
        return _share(self.unexplained, self.observed_local, np.broadcast_to(region, self.unexplained.shape[:2]))


def solve(
    basis: RigBasis,
    displacement: NDArray[np.floating],
    confidence: NDArray[np.floating],
    seconds: ArrayLike,
    settings: SolverSettings | None = None,
) -> RigSolution:
    """Find the control values that explain the motion seen at the rig's vertices.

    Args:
        basis: measured on the rig (`backend_bridge.rig_basis`).
        displacement: [N, V, 2] px of the avatar's picture, motion of each vertex since the neutral frame.
        confidence: [N, V] in [0, 1]; 0 where nothing was seen. Non-finite motion counts as not seen.
        seconds: [N] increasing, time of each frame from the first frame of the trimmed clip.
        settings: the prior; the defaults hold for faces.

    Raises:
        InputError: the basis has no controls or none of the face is visible.
    """
    settings = settings or SolverSettings()
    times = np.asarray(seconds, np.float64)
    points = _visible_points(basis, settings)
    observed = np.asarray(displacement, np.float64)[:, points]
    weight = np.clip(np.nan_to_num(np.asarray(confidence, np.float64)[:, points]), 0.0, 1.0)
    weight *= np.isfinite(observed).all(2)
    observed = np.where(weight[..., None] > 0, np.nan_to_num(observed), 0.0)

    position = basis.positions[points].astype(np.float64)
    size = float(np.sqrt(((position - position.mean(0)) ** 2).sum(1).mean()))
    effect = basis.displacement[:, points].astype(np.float64)
    rest, low, high = np.array([(c.rest, c.low, c.high) for c in basis.controls], np.float64).reshape(-1, 3).T
    reach = np.abs(effect).max((1, 2), initial=0.0) * (high - low)
    seen_effect = np.sqrt((weight.mean(0)[:, None] * effect**2).sum((1, 2))) * (high - low)
    solvable = (reach > settings.least_effect * size) & (seen_effect > 0)

    head = _head_motions(position, basis.depth[points].astype(np.float64)) * float(settings.head_motion)
    share = _share_of_say(position, settings.correlation_length * size)
    model = _Model(
        columns=np.concatenate([effect[solvable], head]),
        low=np.concatenate([(low - rest)[solvable], np.full(len(head), -np.inf)]),
        high=np.concatenate([(high - rest)[solvable], np.full(len(head), np.inf)]),
        excursion=np.concatenate([0.25 * (high - low)[solvable], np.full(len(head), 0.02 * size)]),
    )
    solved = _most_probable(model, observed, weight * share, _in_play(times, settings.play_seconds), settings)

    values = np.tile(rest, (len(times), 1))
    values[:, solvable] += solved[:, : solvable.sum()]
    head_values = solved[:, solvable.sum() :]
    local = (observed - np.einsum("nk,kvc->nvc", head_values, head)) * (weight > 0)[..., None]
    unexplained = (local - np.einsum("nk,kvc->nvc", solved[:, : solvable.sum()], effect[solvable])) * (weight > 0)[
        ..., None
    ]
    curves = ControlCurves(
        names=tuple(c.name for c in basis.controls),
        seconds=times,
        values=values.astype(np.float32),
        residual=_share(unexplained, local, weight * share),
        visibility=(np.where(solvable, seen_effect, 0.0) / max(seen_effect.max(initial=0.0), 1e-12)).astype(np.float32),
    )

    def at_vertices(values: NDArray[np.float64]) -> NDArray[np.float32]:
        full = np.zeros((len(values), len(basis.positions), 2), np.float32)
        full[:, points] = values
        return full

    return RigSolution(curves, head_values.astype(np.float32), at_vertices(local), at_vertices(unexplained))


@dataclass(frozen=True)
class _Model:
    """Linear columns [P, V, 2], their bounds [P] and the excursion [P] assumed before the clip is seen."""

    columns: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    excursion: NDArray[np.float64]


def _most_probable(
    model: _Model,
    observed: NDArray[np.float64],
    weight: NDArray[np.float64],
    in_play: NDArray[np.float64],
    settings: SolverSettings,
) -> NDArray[np.float64]:
    """Return [N, P] values: evidence rounds around a bounded solve, vertices re-weighted in the first rounds."""
    count, parameters = len(observed), len(model.columns)
    flat = model.columns.reshape(parameters, -1)
    equations = _NormalEquations(model.columns)
    variance = np.tile(model.excursion**2, (count, 1))
    floor = (1e-4 * model.excursion) ** 2
    noise = np.full(count, 1e-12)
    robust = _first_trust(observed, weight)
    values = np.zeros((count, parameters))

    for round_ in range(settings.rounds):
        if round_ <= 3:
            say = weight * robust
            gram, target, energy = equations(observed, say)
            seen = 2 * say.sum(1)
            if round_ == 0:  # nothing is known yet: the motion itself bounds its error
                noise = np.maximum(1e-3 * energy / np.maximum(seen, 1e-12), 1e-12)
        precision = 1.0 / variance
        system = gram / noise[:, None, None] + precision[:, :, None] * np.eye(parameters)
        values = solve_boxed(system, target / noise[:, None], model.low, model.high, guess=values)

        posterior = np.diagonal(np.linalg.inv(system), axis1=1, axis2=2)
        determined = np.clip(1.0 - posterior * precision, 1e-9, 1.0)
        variance = np.maximum(in_play @ values**2 / (in_play @ determined), floor)
        left = energy - 2 * (values * target).sum(1) + np.einsum("ni,nij,nj->n", values, gram, values)
        own = np.maximum(left, 0.0) / np.maximum(seen - determined.sum(1), 0.25 * seen + 1e-12)
        noise = np.maximum(np.maximum(own, np.median(own)), 1e-14 + 1e-6 * energy / np.maximum(seen, 1e-12))

        if round_ < 3:
            explained = (values @ flat).reshape(observed.shape)
            robust = _trust(observed - explained, explained, weight, settings.proportional_error)
    return values


class _NormalEquations:
    """Weighted least squares of many frames that share their columns [P, V, 2] but not their weights.

    The product of every two columns at every vertex is formed once; a frame's Gram matrix is then its weights times
    those products, and all frames' are one matrix product.
    """

    _KEEP = 16_000_000  # products held in memory at most; many controls form them anew each time
    _BLOCK = 4_000_000

    def __init__(self, columns: NDArray[np.float64]) -> None:
        self._columns = columns
        self._pairs = np.triu_indices(len(columns))
        small = len(self._pairs[0]) * columns.shape[1] <= self._KEEP
        self._kept = list(self._products()) if small else None

    def __call__(
        self, observed: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return Gram matrices [N, P, P], targets [N, P] and energies [N] for observations [N, V, 2]."""
        count, parameters = len(observed), len(self._columns)
        packed = np.concatenate([weight @ block.T for block in self._kept or self._products()], axis=1)
        gram = np.empty((count, parameters, parameters))
        gram[:, self._pairs[0], self._pairs[1]] = packed
        gram[:, self._pairs[1], self._pairs[0]] = packed
        weighted = (observed * weight[..., None]).reshape(count, -1)
        target = weighted @ self._columns.reshape(parameters, -1).T
        return gram, target, (weighted * observed.reshape(count, -1)).sum(1)

    def _products(self) -> Iterator[NDArray[np.float64]]:
        step = max(1, self._BLOCK // self._columns.shape[1])
        x, y = self._columns[..., 0], self._columns[..., 1]
        for start in range(0, len(self._pairs[0]), step):
            first, second = (index[start : start + step] for index in self._pairs)
            yield x[first] * x[second] + y[first] * y[second]


def _trust(
    error: NDArray[np.float64], explained: NDArray[np.float64], weight: NDArray[np.float64], proportional: float
) -> NDArray[np.float64]:
    """Return [N, V] Cauchy weights of the vertices' errors.

    The scale is the frame's median error plus a share of the motion that the controls explain there: an error in
    proportion to a real motion is expected, the same error where nothing should move is not.
    """
    size = np.sqrt((error**2).sum(2))
    typical = _median(size, weight > 0)
    scale = typical[:, None] + proportional * np.sqrt((explained**2).sum(2)) + 1e-9
    return 1.0 / (1.0 + (size / (2.4 * scale)) ** 2)


def _first_trust(observed: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [N, V] Cauchy weights of the motion itself, before anything is explained.

    Starting from plain least squares, the controls would first bend to a hand before the face, and then find it well
    explained. Starting from distrust of whatever moves much more than the rest, motion that fits a control earns its
    say back, and a hand doesn't.
    """
    size = np.sqrt((observed**2).sum(2))
    typical = np.sqrt((weight * size**2).sum(1) / np.maximum(weight.sum(1), 1e-12))
    scale = np.maximum(_median(size, weight > 0), 0.3 * typical) + 1e-9
    return 1.0 / (1.0 + (size / (2.4 * scale[:, None])) ** 2)


def _median(values: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the median of each row over its valid entries, 0 where there are none."""
    ordered = np.sort(np.where(valid, values, np.inf), axis=1)
    middle = np.maximum(valid.sum(1) - 1, 0) // 2
    return np.where(valid.any(1), ordered[np.arange(len(values)), middle], 0.0)


def _visible_points(basis: RigBasis, settings: SolverSettings) -> NDArray[np.intp]:
    """Return the vertices to use: visible, finite, thinned evenly in the picture to `max_points`."""
    if not basis.controls:
        raise InputError("The rig basis has no controls; choose the shape keys to solve and capture the avatar again.")
    finite = (
        np.isfinite(basis.positions).all(1) & np.isfinite(basis.displacement).all((0, 2)) & np.isfinite(basis.depth)
    )
    usable = np.flatnonzero(basis.visible & finite)
    if len(usable) < 3:
        raise InputError(
            "No part of the avatar's face is visible from the camera; turn it to the camera and capture again."
        )
    position = basis.positions[usable].astype(np.float64)
    extent = np.ptp(position, axis=0)
    cell = float(np.sqrt(max(extent.prod(), 1e-12) / settings.max_points)) / 1.5
    kept = usable
    while len(kept) > settings.max_points:
        _, first = np.unique(np.floor(position / cell).astype(np.int64), axis=0, return_index=True)
        kept, cell = usable[np.sort(first)], cell * 1.1
    return kept


def _share_of_say(position: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Return [V] weights with which every patch of the face of the given size speaks once, however dense its mesh.

    Meshes are dense where modellers need it, at lips and lids; errors of a motion estimator are the same over a
    window. So the vertices of a patch share one voice, and the sum of weights is the number of independent ones.
    """
    _, patch, members = np.unique(
        np.floor(position / max(length, 1e-9)).astype(np.int64), axis=0, return_inverse=True, return_counts=True
    )
    return 1.0 / members[patch.reshape(-1)]


def _head_motions(position: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [6, V, 2], picture motion of small head motions in weak perspective, each with an rms of 1 px."""
    x, y = (position - position.mean(0)).T
    z = depth - depth.mean()
    zero, one = np.zeros_like(x), np.ones_like(x)
    columns = np.stack([np.stack(c, 1) for c in ((one, zero), (zero, one), (-y, x), (x, y), (z, zero), (zero, z))])
    rms = np.sqrt((columns**2).sum(2).mean(1))
    return columns / np.where(rms > 1e-9, rms, np.inf)[:, None, None]


def _in_play(seconds: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return [N, N], how much frame m says on whether a control is in play at frame n; rows sum to 1."""
    apart = (seconds[:, None] - seconds[None]) / (0.5 * width)
    near = np.exp(-0.5 * apart**2)
    return near / near.sum(1, keepdims=True)


def _share(
    part: NDArray[np.floating], whole: NDArray[np.floating], weight: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return [N], energy of `part` over energy of `whole`, weighted by vertex; 0 where nothing moves."""
    above = (weight * (part**2).sum(2)).sum(1)
    below = (weight * (whole**2).sum(2)).sum(1)
    return np.clip(above / np.maximum(below, 1e-12), 0.0, 1.0).astype(np.float32)
