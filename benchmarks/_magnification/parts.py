# SPDX-License-Identifier: GPL-3.0-or-later
"""MagPlus without one of its parts each, to see what that part brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from magplus.models.magnification import Magnifier
from magplus.models.magnification.arbitration import SENSOR_NOISE, arbitrate
from magplus.models.magnification.magnifier import LARGEST_SIDE
from magplus.models.magnification.refinement import Refinement
from magplus.models.magnification.solver import Observation

from .methods import SOLVER_ALONE, Estimator
from .tables import OURS, SOLVER_ROW


class EndingOtherwise(Refinement):
    """The network, with an ending of its own in place of the arbitration that the camera's state decides."""

    ending: Callable[[Observation, Tensor], Observation]

    @classmethod
    def with_ending(cls, weights: Path, ending: Callable[[Observation, Tensor], Observation]) -> EndingOtherwise:
        """Load the weights of a file; ending: observation and the network's motion -> observation with the result."""
        network = cls.load(weights)
        assert isinstance(network, cls)
        network.ending = ending
        return network

    def forward(
        self,
        observed: Observation,
        brightness: Tensor,
        state: Tensor,
        final: bool = True,
        inflation: Tensor | None = None,
        coded: Tensor | float = 0.0,
    ) -> Observation:
        """See `Refinement.forward`."""
        refined = super().forward(observed, brightness, state, final=False)
        return self.ending(observed, refined.motion) if final else refined


def unarbitrated(observed: Observation, proposed: Tensor) -> Observation:
    """Take the network's motion as it is, whatever the equations say."""
    return replace(observed, motion=proposed)


def as_if_by_a_sensor(observed: Observation, proposed: Tensor) -> Observation:
    """Arbitrate as if all noise were a sensor's."""
    return arbitrate(observed, proposed, SENSOR_NOISE)


class Reducing(Magnifier):
    """A magnifier that reduces every large picture to the size of its training, whatever its errors are."""

    def _is_uncoded(self, reference: Tensor, frames: Tensor, copied: Tensor) -> bool:
        return False


@dataclass(frozen=True)
class Measuring:
    """A magnifier's motion; `at_rest`: with what a codec copied taken for a measurement of rest."""

    magnifier: Magnifier
    at_rest: bool = False

    def __call__(self, reference: Tensor, frame: Tensor) -> Tensor:
        """Return the motion, [1, 2, H, W] px."""
        copied = torch.zeros_like(frame[:, :1]) if self.at_rest else None
        return self.magnifier.motion(reference, frame, copied=copied).flow


@dataclass(frozen=True)
class MeanOf:
    """The mean of two estimates, which needs no arbitration."""

    one: Estimator
    other: Estimator

    def __call__(self, reference: Tensor, frame: Tensor) -> Tensor:
        """Return the motion, [1, 2, H, W] px."""
        return (self.one(reference, frame) + self.other(reference, frame)) / 2


def without_a_part(magplus: Magnifier, weights: Path, size: int) -> dict[str, Estimator]:
    """Return estimators by name: the solver alone, and MagPlus whole and without one of its parts each.

    weights: the folder of the weights that `magplus` has. size: of the pictures, px.
    """
    file, device = weights / "magplus.safetensors", magplus.device
    solver = Measuring(SOLVER_ALONE)

    def ending(how: Callable[[Observation, Tensor], Observation]) -> Measuring:
        return Measuring(Magnifier(device, refinement=EndingOtherwise.with_ending(file, how)))

    network = ending(unarbitrated)
    reducing = Measuring(Reducing(device, refinement=Refinement.load(file)))
    large: dict[str, Estimator] = {"ours, always reduced": reducing} if size > LARGEST_SIDE else {}
    return {
        "solver, copies at rest": Measuring(SOLVER_ALONE, at_rest=True),
        SOLVER_ROW: solver,
        "ours, copies at rest": Measuring(magplus, at_rest=True),
        "ours, not arbitrated": network,
        "mean of it and solver": MeanOf(solver, network),
        "ours, noise as a sensor's": ending(as_if_by_a_sensor),
        **large,
        OURS: Measuring(magplus),
    }
