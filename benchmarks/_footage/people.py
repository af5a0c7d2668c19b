# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is filmed."""

from __future__ import annotations

from magplus.models.training.actors import Actor, Film, Stage, film

from .._faults import PEAK, SIZE

AVATAR_SIZE = 512


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
