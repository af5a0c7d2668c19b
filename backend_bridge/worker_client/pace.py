# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the present stage of a run still takes, by the pace of the steps that it has counted."""

from __future__ import annotations

from dataclasses import dataclass

from .messages import Progress

SETTLED_AFTER = 1.0  # s of counting a stage's steps before their pace is a good estimate
SETTLED_STEPS = 3  # of them


@dataclass(frozen=True)
class Pace:
    """From when on a stage's steps are counted, in seconds of any clock, and how many were done then.

    begun: whether a step was done before. Neither what a stage does before it counts, nor what a resumed run finds
    done, nor the first step, which loads what the others find there, is work at that pace.
    """

    began: float
    done: int
    begun: bool = False

    def seconds_left(self, progress: Progress, now: float) -> float | None:
        """Return the seconds that the stage still needs at its pace so far; None as long as that is unknown."""
        gained, elapsed, ahead = progress.done - self.done, now - self.began, progress.total - progress.done
        if not self.begun or gained < SETTLED_STEPS or ahead <= 0 or elapsed < SETTLED_AFTER:
            return None
        return elapsed / gained * ahead


def followed(pace: Pace | None, last: Progress | None, progress: Progress, now: float) -> Pace:
    """Return the pace if the steps that `last` counted are counted on, else one that begins now."""
    if pace is None or last is None or (last.stage, last.total) != (progress.stage, progress.total):
        return Pace(now, progress.done)
    if progress.done < last.done:
        return Pace(now, progress.done)
    return pace if pace.begun or progress.done == pace.done else Pace(now, progress.done, begun=True)
