# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training is run with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Defaults train on one CPU core within two hours; a GPU bears larger batches of more people.

    crops: grid points along a side, from the smallest to all of the film. fused_weight, fields_weight, units_weight:
    how much the fused motion counts, the motion made of the fields alone, and the fields of the action units, which
    cannot be known where they are bent. worse_weight: how much it counts in addition by what an answer is worse than
    the solver's. most_weight: films count as a share of the error that the solver leaves in them, but no more than
    this often. compressed_weight: how much a compressed film counts, so that films in which the equations mislead don't
    drown the rest. inflation_weight: how much the estimate of the equations' noise counts; noise_steps, noise_rate,
    noise_decay: of its fit to all films in the end. keep: of the weights begun
    from, the share in the result, so that it doesn't forget what it could do (Wortsman et al. 2022, "Robust fine-tuning
    of zero-shot models"). until: the step after which to stop for now, 0 for all of them.
    """

    people: int = 400
    takes: int = 2
    crops: tuple[int, int] = (96, 128)
    batch: int = 8
    steps: int = 4500
    warmup: int = 200
    learning_rate: float = 1.5e-3
    smallest_rate: float = 1e-5
    weight_decay: float = 1e-4
    clip_gradient: float = 1.0
    average_decay: float = 0.998
    fused_weight: float = 0.5
    fields_weight: float = 0.25
    units_weight: float = 0.4
    worse_weight: float = 0.5
    most_weight: float = 3.0
    compressed_weight: float = 0.8
    inflation_weight: float = 0.05
    noise_steps: int = 1500
    noise_rate: float = 3e-3
    noise_decay: float = 0.03
    keep: float = 0.0
    until: int = 0
    seed: int = 0
    checkpoint_every: int = 100
    threads: int = 1
