# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run takes, by its stages: what earlier runs on this machine took, and one bar for all of them.

Times are in seconds. A stage is identified by the words in which it is reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ...backend_bridge.job.stages import Stage, in_words
from ...backend_bridge.worker_client.messages import Progress
from ...backend_bridge.worker_client.pace import Pace, followed

# Stages that take longer the more frames there are, with the seconds a frame of docs/speed.md (flow transfer, two cores
# without a graphics card, a picture of `USUAL_PIXELS`); the others take what they take.
RENDER, ANIMATE = "Rendering the avatar", in_words(Stage.ANIMATE)
PER_FRAME = {in_words(Stage.FACE): 0.06, in_words(Stage.STEADY): 0.03, ANIMATE: 0.2}
ONCE = {
    "Looking at the video": 2.0,
    "Measuring the rig": 4.0,
    RENDER: 15.0,
    "Starting the worker": 4.0,
    in_words(Stage.START): 3.0,
    in_words(Stage.MEASURE): 3.0,
    in_words(Stage.SOLVE): 2.0,
    "Bringing the result into the file": 1.0,
}
ORDER = (
    *("Looking at the video", "Measuring the rig", RENDER, "Starting the worker"),
    *map(in_words, (Stage.START, Stage.FACE, Stage.STEADY, Stage.MEASURE, Stage.ANIMATE, Stage.SOLVE)),
    "Bringing the result into the file",
)
USUAL_PIXELS = 640 * 640
PER_PIXEL = {RENDER: 1.0, ANIMATE: 0.4}  # how much of a stage's time at `USUAL_PIXELS` grows with the picture
SURPRISE = 1.5  # by which an estimate must be off before it is raised; until then it stands still
KEPT = 0.5  # of a stage's steps, done when it is first reported: they are an earlier run's, no first batch
NEARLY = 0.95  # of a stage that reports no steps, when it has taken as long as was expected
SETTLED = 2.0  # s of a download before its rate is a good estimate
UNPACKING = 30.0  # s after the last download, on a usual disk: unpacking it, and a first start


@dataclass(frozen=True)
class Paces:
    """What stages took in earlier runs: seconds of a frame for those of `PER_FRAME`, seconds in all for the others.

    All for a picture of `USUAL_PIXELS`.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)

    def expected(self, frames: int, pixels: int = USUAL_PIXELS) -> dict[str, float]:
        """Return the seconds that each stage will take, in their order.

        frames: of the clip. pixels: of the avatar's picture.
        """
        usual = {**ONCE, **PER_FRAME, **self.seconds}
        return {stage: usual[stage] * _size_of(stage, frames, pixels) for stage in ORDER}

    def learned(self, taken: Mapping[str, float], frames: int, pixels: int = USUAL_PIXELS) -> Paces:
        """Return these paces with what a run took; `frames` and `pixels` as `expected` takes them."""
        new = {stage: took / _size_of(stage, frames, pixels) for stage, took in taken.items() if stage in ORDER}
        return Paces({**self.seconds, **new})


def _size_of(stage: str, frames: int, pixels: int) -> float:
    """Return how many times as long a stage takes as for one frame, or once, at `USUAL_PIXELS`."""
    grows = PER_PIXEL.get(stage, 0.0)
    return (frames if stage in PER_FRAME else 1) * (1 - grows + grows * pixels / USUAL_PIXELS)


def read_paces(path: Path, kind: str) -> Paces:
    """Return the paces of a kind of run from a file; none where it can't be read."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        found = json.loads(path.read_text("utf-8")).get(kind, {})
        return Paces({str(stage): float(took) for stage, took in found.items() if 0 <= float(took) < 86_400})
    return Paces()


def write_paces(path: Path, kind: str, paces: Paces) -> None:
    """Keep the paces of a kind of run; that it can't be done costs the next estimate, no more."""
    with suppress(OSError, ValueError, TypeError):
        known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        known[kind] = dict(paces.seconds)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=1), "utf-8")


class Forecast:
    """How far a run is and how long it still takes, over all its stages; neither ever goes back without a cause."""

    def __init__(self, expected: Mapping[str, float]) -> None:
        self._expected = dict(expected)
        self._stages = list(expected)
        self._stage = ""
        self._began = self._at = 0.0
        self._first_done = 0
        self._last = Progress("", 0, 0)
        self._pace: Pace | None = None
        self._started: float | None = None
        self._share = 0.0
        self._left: float | None = None
        self.taken: dict[str, float] = {}
        self.resumed = False  # whether steps were finished before a stage began: its time tells no pace

    def update(self, progress: Progress, now: float) -> None:
        """Take what is reported at a time, in seconds of any clock."""
        if self._started is None:
            self._started = now
        if progress.stage != self._stage:
            self._close(now)
            self._stage, self._began, self._first_done = progress.stage, now, progress.done
            self.resumed |= progress.stage in PER_FRAME and progress.done > KEPT * progress.total > 0
        self._pace = followed(self._pace, self._last, progress, now)
        self._at, self._last = now, progress
        ahead = self._ahead(progress, self._pace, now)
        behind = now - self._started
        if behind + ahead > 0:
            self._share = max(self._share, min(behind / (behind + ahead), 1.0))
        if self._left is None or ahead < self._left or ahead > SURPRISE * self._left + 1.0:
            self._left = ahead

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1; never falls."""
        return self._share

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the end; None before anything was reported."""
        return self._left

    def finish(self, now: float) -> None:
        """The run is over."""
        self._close(now)
        self._share, self._left = 1.0, 0.0

    def _close(self, now: float) -> None:
        if not self._stage:
            return
        took, total, gained = now - self._began, self._last.total, self._last.done - self._first_done
        if self._stage in PER_FRAME and gained > 0:
            took *= total / gained  # it is first reported when its first batch is done
        self.taken[self._stage] = self.taken.get(self._stage, 0.0) + took

    def _ahead(self, progress: Progress, pace: Pace, now: float) -> float:
        """Return the seconds still needed: of this stage by its pace so far, of those after it by what is expected."""
        here = self._here(progress, pace, now)
        if progress.stage not in self._expected:
            return here + sum(took for stage, took in self._expected.items() if stage not in self.taken)
        later = self._stages[self._stages.index(progress.stage) + 1 :]
        return here + sum(self._expected[stage] for stage in later)

    def _here(self, progress: Progress, pace: Pace, now: float) -> float:
        """Return the seconds that the present stage still needs; of its steps only those that are ahead count."""
        ahead, total = max(progress.total - progress.done, 0), max(progress.total, 1)
        expected = self._expected.get(progress.stage, 0.0)
        if progress.total:
            expected *= ahead / total
        gained = progress.done - pace.done
        if progress.total and gained > 0:
            weight = gained / (gained + max(ahead, 1))  # the further it is, the more its own pace counts
            return weight * (now - pace.began) / gained * ahead + (1 - weight) * expected
        began = pace.began if progress.total else self._began
        return max(expected - (now - began), expected * (1 - NEARLY))


class DownloadForecast(Forecast):
    """How far an installation is that reports how many megabytes of its downloads have come."""

    def __init__(self) -> None:
        super().__init__({})
        self._first: tuple[float, int] | None = None  # when the first megabytes were reported, and how many

    def update(self, progress: Progress, now: float) -> None:
        """Take what is reported at a time; what is unpacked between two downloads counts to their rate."""
        if self._started is None:
            self._started = self._at = now
        if self._left is not None:
            self._left = max(self._left - (now - self._at), 1.0)
        self._at = now
        if not progress.total:
            return
        since, had = self._first = self._first or (now, progress.done)
        if progress.done > had and now - since > SETTLED:
            ahead = (now - since) / (progress.done - had) * (progress.total - progress.done) + UNPACKING
            if self._left is None or ahead < self._left or ahead > SURPRISE * self._left:
                self._left = ahead
            behind = now - self._started
            self._share = max(self._share, behind / (behind + ahead))
