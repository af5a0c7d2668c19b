# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping in the middle of a network: every module of it is a chance to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before each module of a network is computed; what it raises ends the computation there.

    A network takes seconds on a CPU and its layers take milliseconds, so a request to stop is met while the models are
    still worth keeping. (Before every operation of torch, which a function mode offers, it would take a sixth of a
    job's time.) It holds for the whole process, which computes one job at a time.
    """

    def before(module: nn.Module, arguments: Any) -> None:
        check()

    hook = nn.modules.module.register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        hook.remove()
