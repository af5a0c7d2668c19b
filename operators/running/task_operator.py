# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators that run a task have in common: when they may, how they start it, how they report its end."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..blender.operator import ExplainedOperator, OperatorResult
from ..blender.wording import translated, translated_each
from .job_manager import Outcome, Status, Steps, TaskContext, manager
from .pace import Forecast


def busy_reason() -> str:
    """Return why no task can be started now, or an empty string."""
    return "MagPlus is busy; wait or cancel." if manager.busy else ""


def start_or_run(
    operator: bpy.types.Operator,
    kind: str,
    body: Callable[[TaskContext], Steps],
    forecast: Forecast | None = None,
) -> OperatorResult:
    """Start a task for an operator or, in background mode, run it to its end; returns what `execute` returns.

    forecast: what is shown of a task that is started, over all its stages.
    """
    if not bpy.app.background:
        manager.start(kind, body, forecast)
        return {"FINISHED"}
    return report_outcome(operator, manager.run(kind, body))


def report_outcome(operator: bpy.types.Operator, outcome: Outcome) -> OperatorResult:
    """Report how a task ended as an operator does, and return what its `execute` returns."""
    for warning in outcome.warnings:
        operator.report({"WARNING"}, translated(warning))
    if outcome.status is Status.FINISHED:
        operator.report({"INFO"}, " ".join(translated_each((outcome.sentence, *outcome.details))))
        return {"FINISHED"}
    operator.report({"ERROR"}, translated(outcome.sentence))
    return {"CANCELLED"}


class TaskOperator(ExplainedOperator):
    """An operator that runs a task. `kind` names the task."""

    kind: str

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Start, and give Blender back meanwhile."""
        manager.start(self.kind, self.task(context))
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Return when it is done."""
        return report_outcome(self, manager.run(self.kind, self.task(context)))

    def task(self, context: bpy.types.Context) -> Callable[[TaskContext], Steps]:
        """Return what is to be done."""
        raise NotImplementedError  # not an ABC: operators have a metaclass of Blender's
