# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracks' figures as tables, and pictures of the worst cases."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from .goals import Row

Result = dict[str, object]

OURS = "ours"
SOLVER_ROW = "solver, untrained"
TO_SOLVER, WORST = "to solver", "worst to it"


def table(title: str, collected: dict[str, list[Row]]) -> list[Result]:
    """Print one track's means and return them with their standard errors.

    Where there is a row of the solver alone, the motion field's error is given as a multiple of its error too: of the
    mean, and in the trial where that is largest.
    """
    collected = {name: _beside_the_solver(rows, collected.get(SOLVER_ROW, rows)) for name, rows in collected.items()}
    columns = list(dict.fromkeys(column for rows in collected.values() for column in rows[0]))
    print(f"\n{title} ({len(next(iter(collected.values())))} trials)")
    print(f"  {'':24}" + "".join(f"{column:>16}" for column in columns))
    result: list[Result] = []
    for name, rows in collected.items():
        values = {column: [row[column] for row in rows] for column in columns if column in rows[0]}
        means = {column: float(np.mean(each)) for column, each in values.items()}
        if TO_SOLVER in means:
            means |= _as_multiples(rows)
        print(f"  {name:24}" + "".join(f"{means[c]:16.3f}" if c in means else f"{'':16}" for c in columns), flush=True)
        spread = {column: float(np.std(each) / max(1, len(each) - 1) ** 0.5) for column, each in values.items()}
        result.append({"track": title, "row": name, "mean": means, "standard error": spread})
    return result


def _beside_the_solver(rows: list[Row], solver: list[Row]) -> list[Row]:
    """Return the rows with the solver's error of the same trial, where both have a motion field."""
    column = next((each for each in ("field", "error") if each in rows[0] and each in solver[0]), None)
    if column is None or len(rows) != len(solver):
        return rows
    return [{**row, TO_SOLVER: row[column], WORST: own[column]} for row, own in zip(rows, solver, strict=True)]


def _as_multiples(rows: list[Row]) -> Row:
    """Return how the error compares with the solver's: of the means, and in the worst trial."""
    errors, solver = (np.array([row[column] for row in rows]) for column in (TO_SOLVER, WORST))
    return {TO_SOLVER: float(errors.mean() / solver.mean()), WORST: float((errors / solver).max())}


def save_pictures(path: Path, cases: list[tuple[str, tuple[Tensor, ...]]]) -> None:
    """Write one row a case: reference, frame, result, truth, and how far the result is from the truth (x 4)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for caption, images in cases:
        images = (*images, (0.5 + 4 * (images[2] - images[3])).clamp(0, 1))
        pixels = torch.cat([image[0] for image in images], 2).permute(1, 2, 0).numpy()
        row = np.ascontiguousarray((pixels[..., ::-1] * 255).round().clip(0, 255).astype(np.uint8))
        cv2.putText(row, caption, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        rows.append(row)
    cv2.imwrite(str(path), np.concatenate(rows))
