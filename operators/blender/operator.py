# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators: what they answer to Blender, and why they can't be used at present."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Literal, TypeAlias, TypeVar

import bpy

from ...backend_bridge.files.errors import MagPlusError
from .wording import translated

OperatorResult: TypeAlias = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]
AnyOperator = TypeVar("AnyOperator", bound=bpy.types.Operator)


class ExplainedOperator(bpy.types.Operator):
    """An operator whose button says why it is disabled."""

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, as a sentence that says what to do, or an empty string."""
        raise NotImplementedError  # not an ABC: operators have a metaclass of Blender's

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Possible, or the reason why not as the tooltip."""
        reason = cls.problem(context)
        if reason:
            cls.poll_message_set(translated(reason))
        return not reason


def refused(operator: bpy.types.Operator, reason: str) -> OperatorResult:
    """Report why an operator can't do it, as one sentence in the interface's language; returns what it then returns."""
    operator.report({"ERROR"}, translated(reason))
    return {"CANCELLED"}


def refusing(
    execute: Callable[[AnyOperator, bpy.types.Context], OperatorResult],
) -> Callable[[AnyOperator, bpy.types.Context], OperatorResult]:
    """Let an operator's `execute` answer a `MagPlusError` with its sentence, where it would raise it."""

    @wraps(execute)
    def answered(self: AnyOperator, context: bpy.types.Context) -> OperatorResult:
        try:
            return execute(self, context)
        except MagPlusError as error:
            return refused(self, str(error))

    return answered
