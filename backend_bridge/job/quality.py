# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a result, and its reasons, as the report has it; `judgement` finds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["good", "check", "failed"]
Concern: TypeAlias = Literal[
    "nothing moves",
    "untrusted frames",
    "unseen regions",
    "compression",
    "blinks",
    "reference not neutral",
    "no face recognised",
    "head turn",
    "long clip",
    "large motion",
    "no onset",
    "no offset",
    "unexplained motion",
    "control at its limit",
    "little shown",
    "other intensity",
]


@dataclass(frozen=True)
class Reason:
    """Something to look at: what it is, in a sentence with what to do, and how bad it is."""

    concern: Concern
    sentence: str
    verdict: Literal["check", "failed"] = "check"


@dataclass(frozen=True)
class Quality:
    """good: nothing to look at. check: look where the reasons say. failed: the result shows nothing worth keeping."""

    verdict: Verdict = "good"
    reasons: tuple[Reason, ...] = field(default=())
