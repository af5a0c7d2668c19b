# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator answers to Blender."""

from __future__ import annotations

from typing import Literal, TypeAlias

OperatorResult: TypeAlias = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]
