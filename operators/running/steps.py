# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that is a generator, so that Blender gets a turn between two steps, done in one go where nobody waits."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

Step = TypeVar("Step")
Result = TypeVar("Result")


def run_to_end(steps: Generator[Step, None, Result], on_step: Callable[[Step], object] | None = None) -> Result:
    """Run a generator to its end and return what it returns; `on_step` is told what it yields."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        if on_step is not None:
            on_step(step)
