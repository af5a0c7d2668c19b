# SPDX-License-Identifier: GPL-3.0-or-later
"""What was aimed at, next to what was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .tables import OURS, TO_SOLVER, WORST, Result
from .trials import CODED, CONDITIONS, NOISY

COMPARED = ("error DIS", "error Farneback", "gain", "leak", "PSNR", "flicker")
MAIN, SMALL = "magnify, faces, alpha 8, peak 0.5", "magnify, faces, alpha 8, peak 0.25"
PEER, AT_REST, RESTORED = "DIS + warp", "still face", "restore, factor 1/8"

# Its name, what was reached, how that has to compare with the goal, the goal.
Aim = tuple[str, float, Literal["<=", ">="], float]


def print_aims(rows: Sequence[Result], foreign: bool) -> None:
    """Print each aim; foreign: on a family that nothing was trained on."""
    figures = Figures(rows)
    print("\ngoals")
    for name, reached, relation, goal in foreign_aims(figures) if foreign else own_aims(figures):
        if np.isnan(reached):
            print(f"  -       {name:60} not measured  (goal {relation} {goal:g})")
            continue
        met = reached <= goal if relation == "<=" else reached >= goal
        print(f"  {'met   ' if met else 'MISSED'}  {name:60} {reached:8.3f}  (goal {relation} {goal:g})")


@dataclass(frozen=True)
class Figures:
    """The means of all tracks."""

    rows: Sequence[Result]

    def value(self, track: str, row: str, column: str) -> float:
        """Return a figure of the first track whose title begins so; not a number where it was not measured."""
        found = [each["mean"] for each in self.rows if str(each["track"]).startswith(track) and each["row"] == row]
        return float(found[0][column]) if found else float("nan")  # type: ignore[index]

    def ahead(self, column: str) -> float:
        """Return by how much ours is better than the peer at 0.25 px."""
        ours, theirs = self.value(SMALL, OURS, column), self.value(SMALL, PEER, column)
        return {"gain": abs(theirs - 1) - abs(ours - 1), "PSNR": ours - theirs}.get(column, theirs - ours)

    def moved(self, condition: str, peak: str, column: str) -> float:
        """Return a figure of the motion track."""
        return self.value(f"motion, {condition}, peak {peak} px", OURS, column)


def foreign_aims(figures: Figures) -> list[Aim]:
    """Return what is aimed at on people that nothing was trained on."""
    value, moved = figures.value, figures.moved
    return [
        ("field, noise, 0.25 px", moved(NOISY, "0.25", "error"), "<=", 0.32),
        ("field, noise, 0.5 px", moved(NOISY, "0.5", "error"), "<=", 0.22),
        ("field, noise, 1 px", moved(NOISY, "1", "error"), "<=", 0.18),
        ("gain, noise, 0.5 px, lowest", moved(NOISY, "0.5", "gain"), ">=", 0.95),
        ("gain, noise, 0.5 px, highest", moved(NOISY, "0.5", "gain"), "<=", 1.05),
        ("field, H.264, 0.5 px", moved(CODED, "0.5", "error"), "<=", 0.45),
        ("gain, H.264, 0.5 px", moved(CODED, "0.5", "gain"), ">=", 0.85),
        ("magnified by 8, 0.5 px", value(MAIN, OURS, "error DIS"), "<=", 0.20),
        *(
            (f"as a multiple of the solver's, {condition}, {peak} px", moved(condition, peak, TO_SOLVER), "<=", 1.0)
            for condition in CONDITIONS
            for peak in ("0.25", "0.5", "1")
        ),
        *(
            (f"the same, worst trial, {condition}, {peak} px", moved(condition, peak, WORST), "<=", 1.1)
            for condition in CONDITIONS
            for peak in ("0.25", "0.5", "1")
        ),
        ("a face at rest, px", value(AT_REST, OURS, "field") / 8, "<=", 0.01),
    ]


def own_aims(figures: Figures) -> list[Aim]:
    """Return what is aimed at on people as in training, held out."""
    value, ahead = figures.value, figures.ahead
    return [
        ("error at alpha 8, 0.5 px", value(MAIN, OURS, "error DIS"), "<=", 0.11),
        ("the same by Farneback", value(MAIN, OURS, "error Farneback"), "<=", 0.11),
        ("the same of the motion field", value(MAIN, OURS, "field"), "<=", 0.11),
        (
            "error as a share of DIS + warp's",
            value(MAIN, OURS, "error DIS") / value(MAIN, PEER, "error DIS"),
            "<=",
            0.75,
        ),
        ("gain, lowest", value(MAIN, OURS, "gain"), ">=", 0.96),
        ("gain, highest", value(MAIN, OURS, "gain"), "<=", 1.04),
        ("leak, px", value(MAIN, OURS, "leak"), "<=", 0.15),
        ("PSNR above DIS + warp, dB", value(MAIN, OURS, "PSNR") - value(MAIN, PEER, "PSNR"), ">=", 2.5),
        *((f"ahead of DIS + warp at 0.25 px, {column}", ahead(column), ">=", 0.0) for column in COMPARED),
        ("round trip error of motion, 0.5 px", value("round trip, x 8 then / 8, peak 0.5", OURS, "field"), "<=", 0.15),
        ("still face, px at alpha 8, field", value(AT_REST, OURS, "field"), "<=", 0.1),
        ("restored 1/8, dB", value(RESTORED, OURS, "PSNR"), ">=", 50.0),
        ("restored 1/8, error", value(RESTORED, OURS, "error DIS"), "<=", 0.12),
        ("ms a frame", value("speed", OURS, "ms a frame"), "<=", 45.0),
        ("ms a frame, in eights", value("speed", f"{OURS}, in eights", "ms a frame"), "<=", 45.0),
    ]
