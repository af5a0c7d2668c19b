# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping in the middle of a network: every operation of torch is a chance to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode


class Interruptible(TorchFunctionMode):
    """Within it, `check` is called before each operation of torch; what it raises ends the computation there.

    A network takes seconds on a CPU and its operations take milliseconds, so whoever asks to stop is heard while the
    models are still worth keeping. The cost is some microseconds an operation.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Check, then compute."""
        self._check()
        return func(*args, **(kwargs or {}))
