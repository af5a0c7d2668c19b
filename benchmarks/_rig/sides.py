# SPDX-License-Identifier: GPL-3.0-or-later
"""Lids and smiles on one side, see `--lids-and-smiles`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from magplus.models.training.actors import Actor, Stage
from magplus.models.training.scenes import EXPRESSIONS

from .._kept import Kept
from .._readings import OWN, Clip, Sessions, all_code
from .cases import AVATAR_SIZE, DRIVER_SIZE, PLAIN
from .measures import Row, sided
from .methods import Pair

LIDS_AND_SMILES = ("AU5", "AU12 L", "AU12 R", "AU14 L", "AU14 R")
NEAR, MOST_BESIDE = (0.8, 1.2), 0.1  # what is to be reached of these: intensity, and cross-talk


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
