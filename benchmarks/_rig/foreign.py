# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigs of other families: what the keyed rig shows of the driver's motion, see `--foreign`."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from magplus.backend_bridge.rig.basis import RigBasis
from magplus.models.face import regions
from magplus.models.training.actors import Actor, Stage
from magplus.models.training.foreign import FAMILIES, TUNED, KeySet
from magplus.models.training.scenes import EXPRESSIONS, MICRO_EXPRESSIONS

from .._kept import Kept
from .._readings import Clip, Reading, Sessions, all_code
from .cases import AVATAR_SIZE, DRIVER_SIZE, progress
from .measures import APEX, Row, Values, cosine, peak, units_in, units_of
from .methods import Pair

MOVES, STILL = 0.35, 0.05  # shares of the peak: regions that move, and places that keep still


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
                        return foreign_row(pair, clip, rigs[family], basis, reading)  # noqa: B023

                    figures[value, condition, family].append(kept.value("foreign", made_from, row))
            progress(f"pair {number + 1} of {pairs}, {expression}, {value:g} px, {condition}")
    sessions.close()
    return list(_means_of(figures, families))


def _means_of(
    figures: Mapping[tuple[float, str, str], Sequence[Row]], families: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Print and yield the means over the clips of each peak, condition and family, in the families' order."""
    for (value, condition, family), found in sorted(figures.items(), key=lambda item: families.index(item[0][2])):
        means: dict[str, Any] = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
        means["shown"] = float(np.median([row["shown"] for row in found]))
        means["least"], means["most"] = min(row["least"] for row in found), max(row["most"] for row in found)
        label = f"{family}{' (tuned)' * (family in TUNED)}"
        print(f"{value:g} px, {condition}, {label:20}", *(f"{name} {means[name]:.3f}" for name in found[0]))
        yield {"peak": value, "condition": condition, "row": label, "clips": len(found), **means, "expressions": found}


def foreign_row(pair: Pair, clip: Clip, keys: KeySet, basis: RigBasis, reading: Reading) -> Row:
    """Measure a job whose avatar has other keys by what the keyed rig shows."""
    found = reading.solve().values[APEX].mean(0)
    places = np.flatnonzero(basis.visible)
    keyed = basis.displacement[:, places].astype(np.float64)
    driver = np.tensordot(clip.truth[APEX].mean(0), pair.avatar.basis.displacement[:, places], 1)
    shown = np.tensordot(found, keyed, 1)
    best = nnls(keyed.reshape(len(keyed), -1).T, driver.ravel())[0]
    size, x, y = np.linalg.norm(driver, axis=1), *basis.positions[places].round().astype(int).T
    masks = regions(pair.avatar_face.points, (pair.avatar.size, pair.avatar.size))
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
