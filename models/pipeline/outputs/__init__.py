# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves in the job folder, one module an output.

An output declares which files a frame leaves for it, makes them from a batch, and finishes when all frames are there:
the `Output` protocol, which is all that the frame maker depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ....backend_bridge.job.artefacts import FrameKind
from ....backend_bridge.job.report import Report
from ...ahead import Ahead
from ..batch import Batch


@dataclass(frozen=True)
class Made:
    """The frames that are in the folder: how many, and how many of them an earlier run had finished."""

    count: int
    resumed: int


class Output(Protocol):
    """Something that a run leaves in the job folder."""

    @property
    def kinds(self) -> Sequence[FrameKind]:
        """What each frame leaves for it."""
        ...

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return the files of a batch's frames, [N] of each of the output's `kinds`."""
        ...

    def finish(self, report: Report, made: Made) -> Report:
        """Do what takes all frames, once they are in the folder; return the report with its section."""
        ...


@runtime_checkable
class FinishedBeside(Protocol):
    """An output of whose `finish` a part takes a while and needs nothing of the other outputs."""

    def begin_to_finish(self) -> Ahead[Any]:
        """Begin that part in another thread, once all frames are in the folder. Closed when all is finished."""
        ...
