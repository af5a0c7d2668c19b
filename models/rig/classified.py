# SPDX-License-Identifier: GPL-3.0-or-later
"""What a classifier says of the driver's expression: a second measurement of controls that go far.

A rig's shapes are an artist's. A real person's smile explains itself better by a dimpler, a raised upper lip and a
lowered lower one of such a rig than by its smile, though what the rig then shows is a grimace. The face mesh's
classifier has learned from people what ARKit's shapes look like on them. It sees nothing of a micro-expression, but
which large expression it is it says surely. So its score is taken as a measurement of the control of that name,

    d = x + error,    error ~ N(0, σ²),

with x the control's share of its range and d by how much the score lies above the reference's, where any rises clearly;
a micro-expression has none. Shapes whose score stays near 0 whatever a face does have d = 0 and a larger σ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.action_units import Meaning, recognise
from .measurement import Array, Measurement

# Shapes whose scores rise above 0.3 on some of five real clips; of all others' skin none does. Scores of lids and gaze
# follow one another and the head, and both are measured by the mesh anyway.
_TELLING = frozenset(
    {
        *("browDown", "browInnerUp", "browOuterUp", "jawOpen", "mouthLowerDown", "mouthPress", "mouthRollLower"),
        *("mouthRollUpper", "mouthShrugLower", "mouthSmile", "mouthUpperUp"),
    }
)
_EYES = "eye"
_DEVIATION = 0.1  # σ of a telling score, share of a control's range
_DEVIATION_OF_OTHERS = 0.25  # σ of the others
_CLEAR = 0.25  # rise of a telling score that is no jitter of the mesh, so that the expression is a large one
# Of the face's size, the motion that a tenth of what is seen exceeds: 0.006 to 0.008 of micro-expressions beside hands
# and a microphone, 0.017 to 0.19 of large expressions on real clips.
_FAR, _MOVING = 0.015, 0.9


@dataclass(frozen=True)
class Classified:
    """Measured amounts [N, Q] of Q controls, or pairs of them, in N frames, and their precision [Q], 0 for none."""

    amounts: Array
    precision: Array

    @property
    def clear(self) -> bool:
        """Whether the expression is a large one, so that anything is measured."""
        return bool((self.precision > 0).any())

    def beside(self, motion: Array, seen: Measurement) -> Classified:
        """Return the same, or that nothing is measured where the face's motion [N, 2, S] px is no large expression's.

        Of a face behind a hand the mesh makes up a part, and its scores rise by as much as 0.8.
        """
        if not self.clear:
            return self
        sizes = np.where(seen.measured, np.hypot(motion[:, 0], motion[:, 1]), 0.0)
        far = np.quantile(sizes, _MOVING, axis=1).max() > _FAR * seen.size
        return self if far else Classified(self.amounts, np.zeros_like(self.precision))

    @classmethod
    def of(
        cls, scores: Mapping[str, NDArray[np.floating]], names: Sequence[str], spread: Array, reach: Array, frames: int
    ) -> Classified:
        """Return those of the controls `spread` [Q, K] moves, K of these names, that reach [Q] from rest.

        scores: [N], by how much each ARKit shape's lies above the reference's, in [-1, 1]. Where no telling one rises
        clearly, nothing is measured.
        """
        amounts, precision = np.zeros((frames, len(spread))), np.zeros(len(spread))
        rises = [rise.max(initial=0.0) for name, rise in scores.items() if _bare(name) in _TELLING]
        if max(rises, default=0.0) < _CLEAR:
            return cls(amounts, precision)
        for number, row in enumerate(spread > 0):
            meanings = [meaning for index in np.flatnonzero(row) if (meaning := recognise(names[index]))]
            found = [scores[name] for meaning in meanings for name in sorted(meaning.arkit_names) if name in scores]
            if not found or reach[number] <= 0 or any(meaning.shape.startswith(_EYES) for meaning in meanings):
                continue
            telling = all(_is_telling(meaning) for meaning in meanings)
            if telling:
                amounts[:, number] = np.mean(found, 0).clip(0) * reach[number]
            precision[number] = 1 / ((_DEVIATION if telling else _DEVIATION_OF_OTHERS) * reach[number]) ** 2
        return cls(amounts, precision)


def _is_telling(meaning: Meaning) -> bool:
    return {_bare(name) for name in meaning.arkit_names} <= _TELLING


def _bare(name: str) -> str:
    return name.removesuffix("Left").removesuffix("Right")
