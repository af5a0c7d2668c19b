# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured of solved control values: against the true ones, and as the motion that they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from magplus.backend_bridge.rig.action_units import recognise
from magplus.models.training.actors import CURVE
from magplus.models.training.scenes import EXPRESSIONS

from .._readings import Clip, Found

APEX = np.flatnonzero(CURVE >= 1)

Row = dict[str, float]
Values = NDArray[np.floating]


def measure(found: Values, truth: NDArray[np.float64]) -> Row:
    """Compare control values [N, K] with the true ones."""
    active = truth.max(0) > 0
    at_apex = np.abs(found[APEX]).mean(0)
    curves = [
        np.corrcoef(f, t)[0, 1] if np.ptp(f) > 1e-9 else 0.0
        for f, t in zip(found.T[active], truth.T[active], strict=True)
    ]
    amount = found[:, active].sum(1)
    return {
        "top-1": float(active[at_apex.argmax()] and at_apex.max() > 0),
        "r": float(np.mean(curves)),
        "intensity": float(found[APEX][:, active].sum() / truth[APEX][:, active].sum()),
        "apex": float(np.abs(APEX - amount.argmax()).min()) if amount.max() > 0 else float(len(found)),
        "cross-talk": float(at_apex[~active].sum() / max(at_apex.sum(), 1e-9)),
    }


def measured(method: Callable[[Clip], Found], clip: Clip) -> Row:
    """Return the figures of one clip."""
    found = method(clip)
    row = measure(found.values, clip.truth) | {"seconds": found.seconds}
    if found.residual is not None:
        row["residual"] = float(found.residual[APEX].mean())
    return row


def summary(rows: list[Row]) -> Row:
    """Return the columns of one row of the table."""
    result = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    result["intensity"] = float(np.median([row["intensity"] for row in rows]))
    return result


def sided(found: Values, clip: Clip, controls: Sequence[str]) -> Row:
    """Return each true control's amount at the apex over the true one, and the share of all amounts beside them."""
    amounts, true = np.abs(found[APEX]).mean(0), clip.truth[APEX].mean(0)
    shares: Row = {name: float(amounts[index] / true[index]) for index, name in enumerate(controls) if true[index] > 0}
    return {**shares, "beside": float(amounts[true <= 0].sum() / max(amounts.sum(), 1e-9))}


def peak(motion: NDArray[np.floating]) -> float:
    """Return the mean length of the twentieth of a motion [P, 2] that is largest."""
    size = np.sort(np.linalg.norm(motion, axis=1))
    return float(size[-max(1, len(size) // 20) :].mean())


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return how alike two motions are, whatever their sizes."""
    return float((a * b).sum() / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def units_in(name: str) -> set[int]:
    """Return the action units that a control's name stands for."""
    meaning = recognise(name)
    return {unit.number for unit in meaning.units} if meaning else set()


def units_of(expression: str) -> set[int]:
    """Return the action units of an expression of `EXPRESSIONS`."""
    return set().union(*(units_in(name) for name in EXPRESSIONS[expression]))
