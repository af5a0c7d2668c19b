# SPDX-License-Identifier: GPL-3.0-or-later
"""What the refinement is trained for."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..magnification.arbitration import PATCH, chi_squared_test
from ..magnification.filters import box
from ..magnification.refinement import Refinement, affine_fields
from ..magnification.solver import Observation
from .config import Config
from .dataset import Batch
from .precision import mixed_precision

MOST_CHI_SQUARED = 300.0  # chi-squared of one patch, at most
LEAST_CHI_SQUARED = 0.05  # of a film, at least


@dataclass(frozen=True)
class Losses:
    """Losses of the films of a batch.

    refined, fused, fields, solver: [N], of the network's answer, of the fused motion, of the motion made of the fields
    alone and of the solver's, see `loss_of`. units: of the action units' fields, a number. inflation: [N], negative log
    likelihood of the equations' noise. compressed: [N], 1 for a film that a codec has been at, else 0.
    """

    refined: Tensor
    fused: Tensor
    fields: Tensor
    units: Tensor
    solver: Tensor
    inflation: Tensor
    compressed: Tensor

    @classmethod
    def of(cls, network: Refinement, batch: Batch) -> Losses:
        """Return the losses of a network's answers."""
        observed, truth, certain = batch.observed, batch.truth, batch.certain
        with mixed_precision(truth.device):
            answer = network.estimate(observed, batch.brightness, batch.state)
        inflation, chi_squared = answer.inflation.flatten(), chi_squared_of(observed, truth, certain)
        return cls(
            loss_of(answer.refined.motion, truth, certain),
            loss_of(answer.fused, truth, certain),
            loss_of(answer.prior_mean, truth, certain),
            loss_of_units(answer.units, batch.units, batch.taught),
            loss_of(observed.motion, truth, certain),
            inflation.log() + chi_squared / inflation,
            batch.compressed,
        )

    def total(self, config: Config) -> Tensor:
        """Return what is minimised, a number. A film counts as a share of the error that the solver leaves in it."""
        weight = (1 / self.solver).clamp(max=config.most_weight)
        weight = weight * torch.where(self.compressed > 0, config.compressed_weight, 1.0)
        worse = (self.refined - self.solver).clamp(min=0)
        motions = (
            self.refined
            + config.worse_weight * worse
            + config.fused_weight * self.fused
            + config.fields_weight * self.fields
        )
        return (
            (weight * motions).mean()
            + config.units_weight * self.units
            + config.inflation_weight * self.inflation.mean()
        )

    def means(self) -> dict[str, float]:
        """Return the mean of each over the batch, by its name."""
        return {each.name: float(getattr(self, each.name).detach().mean()) for each in fields(self)}


def loss_of(motion: Tensor, truth: Tensor, certain: Tensor) -> Tensor:
    """Relative motion error where something moves, plus what moves where nothing should, plus the gain's error: [N].

    motion, truth: [N, 2, h, w] px; certain: [N, 1, h, w], 1 where the truth is known. The three terms are what the
    benchmark reports as error, leak and gain. What moves is judged without what all of it does together, so that a
    head that turns doesn't hide the brow that rises.
    """
    local = _without_affine(truth, certain)
    size = local.square().sum(1, keepdim=True).sqrt() * certain
    peak = size.amax((2, 3), keepdim=True)
    moving = ((size > 0.05 * peak) & (peak > 0.02)).float() * certain
    still = certain - moving
    error = ((motion - truth).square().sum(1, keepdim=True) + 1e-8).sqrt()
    total = (size * moving).sum((1, 2, 3))
    relative = (error * moving).sum((1, 2, 3)) / (total + 0.02 * moving.sum((1, 2, 3)) + 1.0)
    leak = (error * still).sum((1, 2, 3)) / (still.sum((1, 2, 3)) + 1) / (peak.flatten() + 0.1)
    projection = ((motion - truth) * local * moving).sum((1, 2, 3)) / ((local * local * moving).sum((1, 2, 3)) + 1e-3)
    gain = projection.abs() * (total > 1.0)
    return (relative + leak + 0.3 * gain).clamp(max=4)


def loss_of_units(fields: Tensor, truth: Tensor, taught: Tensor) -> Tensor:
    """Relative squared error of the action units' fields, [N, K, 2, h, w], where they are known (taught: [N])."""
    error = (fields - truth).square().sum((2, 3, 4)) / (truth.square().sum((2, 3, 4)) + 1.0)
    return (error.mean(1) * taught).sum() / taught.sum().clamp(min=1)


@torch.no_grad()
def chi_squared_of(seen: Observation, truth: Tensor, certain: Tensor) -> Tensor:
    """Return the truth's mean chi-squared in each film, [N]; certain: [N, 1, h, w], 1 where the truth is known."""
    _, chi_squared = chi_squared_test(seen, truth)
    whole = (box(certain, PATCH) > 0.999).float()
    found = (chi_squared.clamp(max=MOST_CHI_SQUARED) * whole).sum((1, 2, 3))
    return found / (whole.sum((1, 2, 3)) + 1) + LEAST_CHI_SQUARED


def _without_affine(motion: Tensor, certain: Tensor) -> Tensor:
    """Return the motion less the affine motion that fits it best."""
    shapes = affine_fields(motion.shape[2], motion.shape[3], motion)[0, :3, 0].flatten(1)
    weighted = shapes * certain.flatten(2)
    normal = weighted @ shapes.T + 1e-3 * torch.eye(3, device=motion.device)
    amounts = torch.linalg.solve(normal, weighted @ motion.flatten(2).mT)
    return motion - (shapes.T @ amounts).mT.unflatten(2, motion.shape[2:])
