# SPDX-License-Identifier: GPL-3.0-or-later
"""The table's lines: how a result is judged against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magplus.backend_bridge.job.report import Report
from magplus.models.training.actors import Actor

from .._faults import APEX, COMPRESSION, COUNT, HIDDEN, LIGHT, SIZE, Fault, Values
from .people import AVATAR_SIZE

MOST_FALSE = 0.1  # of a control's range


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    fault: str
    strength: str
    clip: str
    false: float
    px: float
    kept: float | None
    apex: str
    named: str
    open_false: float | None = None
    open_px: float | None = None

    @property
    def good(self) -> bool:
        """Whether every goal is met."""
        return self.false <= MOST_FALSE and self.apex not in ("lost", "false") and self.named not in ("NO", "FLAGGED")


def false_motion(values: Values, active: NDArray[np.bool_], avatar: Actor) -> tuple[float, float]:
    """Return the largest value of a control that isn't active, and the largest motion of those, px of the driver."""
    false = np.where(active, 0.0, np.abs(values))
    shown = np.tensordot(false, avatar.basis.displacement, 1) * SIZE / AVATAR_SIZE
    return float(false.max()), float(np.linalg.norm(shown[:, avatar.basis.visible], axis=2).max())


def lids(actor: Actor) -> NDArray[np.bool_]:
    """Return which controls close the lids: a blink is no expression."""
    return np.array([name.startswith("eyeBlink") for name in actor.stage.controls])


def apex(report: Report, truth: Values, numbers: tuple[int, ...], moves: bool, rate: int) -> str:
    """Return how many frames the event's apex is from the true one, or what became of it; see `benchmarks.footage`."""
    if report.events is None:
        return "lost" if moves else "-"
    if not moves:
        return "false"
    curve = truth.max(1)
    first = APEX[-1] + 1 if len(curve) <= COUNT else len(curve)
    tops = np.asarray(numbers)[curve >= 0.9 * curve[:first].max()]
    apart = int(np.abs(tops - round(report.events.apex * rate)).min())
    return str(apart) if apart <= 3 else "false"


def named(report: Report, fault: Fault) -> str:
    """Return whether the report's quality names a fault, or flags a harmless one."""
    concerns = {reason.concern for reason in report.quality.reasons} if report.quality is not None else set()
    if fault.concern is None:
        return "" if not concerns & {LIGHT, HIDDEN, COMPRESSION, "blinks", "reference not neutral"} else "FLAGGED"
    wanted = {fault.concern, LIGHT} if fault.may_hold else {fault.concern}
    return "" if fault.concern == "" else "yes" if wanted & concerns else "NO"
