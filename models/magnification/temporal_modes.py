# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames of a clip seen together: their motion as a few fields times curves in time.

A micro-expression rises, stays and fades: over N frames its motion u_t is one field, or a few, times a curve, while a
sensor's noise is new in every frame. Rotated to its principal components in time, the signal is in the first
components, with up to sqrt(N) times the size that it has in one frame; the others are a face at rest. Each mode then
goes through prior and network like a frame, and the modes are rotated back.

The reference's noise is in all differences alike, so that their noise covariance over time is C = I + 1 1^T (in units
of one picture's). In y = C^(-1/2) u it is white, and a rotation V leaves it so:

    1. whiten   y_t = sum_s C^(-1/2)_ts u_s                                               `_whitening`
    2. rotate   V: eigenvectors over time of the pictures' change, also whitened          `_eigenmodes`
    3. solve    modes m_k = sum_t A_kt u_t, A = V C^(-1/2), from the frames' mean J and
                residuals sum_t A_kt (h_t - J_t u_t), stiffness of the modes' own motion  `_solved`
    4. back     u_t = sum_k B_tk m_k, B = C^(1/2) V^T                                     `in_frames`

Nothing is smoothed over time, and the frames' order doesn't matter: an event of one frame is a mode of its own, as is a
jump; a frame that has nothing in common with the others stays as it is. The equations' precision is left that of one
difference, half of what C would allow, which was better on the own family than all of it and the same on photographs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .arbitration import equation_residual
from .camera_state import colour_changes, rounding_only
from .copied_blocks import coded
from .filters import binomial, box, mean_pool
from .solver import FlowSettings, Observation, high_pass, local_variance, smooth_solve

LOCAL = 9  # points along a side over which motion is summed up to weigh the points of the Gram matrix
WHITE_INFLATION = 2.0  # noise inflation factor; white noise has 0.4 to 1.6, on photographs, own and bent family
MOST_ROUNDED = 0.5  # `rounding_only` of pictures that have enough noise to average; noise of 1/255 has 0.3
MOST_STEP = 2.0  # px by which the solution of a mode may differ from the mixture of the frames', as in the solver


def with_sensor_noise(state: Tensor, inflation: Tensor, copied: Tensor) -> Tensor:
    """Return the numbers of the frames with white noise: neither a codec's errors, nor rounding alone, nor none.

    state: [N, STATES] of `camera_state`; inflation: [N, 1, 1, 1], the noise inflation factor; copied: [N, 1, H, W] in
    [0, 1], see `copied_share`.
    """
    noisy = (rounding_only(state) < MOST_ROUNDED).flatten()
    return (without_codec(state, inflation, copied) & noisy).nonzero().flatten()


def without_codec(state: Tensor, inflation: Tensor, copied: Tensor) -> Tensor:
    """Return which frames have none of a codec's errors, [N] bool: white noise, rounding alone, or none.

    Arguments as `with_sensor_noise` has them.
    """
    unbiased = (inflation < WHITE_INFLATION) | (rounding_only(state) >= MOST_ROUNDED)
    return (unbiased & (coded(copied) == 0)).flatten()  # a codec's errors are not new in each frame


def fine_change(reference: Tensor, frames: Tensor) -> Tensor:
    """Return the difference of frames [N, 3, H, W] to a reference in brightness finer than some 9 px, [N, 1, h, w]."""
    brightness, _, _ = colour_changes(reference, frames)
    return mean_pool(high_pass(binomial(brightness)), 2)


@dataclass(frozen=True)
class TemporalModes:
    """The modes of M > 1 of N frames, in those frames' places; the other frames stay as they are.

    observation: of modes and frames. members: [M], numbers of the frames. to_modes, to_frames: [M, M], A and B above.
    """

    observation: Observation
    members: Tensor
    to_modes: Tensor
    to_frames: Tensor

    @classmethod
    def of(cls, frames: Observation, changes: Tensor, members: Tensor, settings: FlowSettings) -> TemporalModes:
        """Return the modes of some of the frames; changes: [N, 1, h, w], see `fine_change`."""
        chosen = Observation(
            frames.equations[members], frames.motion[members], frames.stiffness[members], frames.noise[members]
        )
        whiten, colour = (matrix.to(frames.motion) for matrix in _whitening(len(members)))
        rotation = _eigenmodes(changes[members], whiten)
        backwards = (rotation @ colour).sum(1, keepdim=True) < 0  # a mode goes the way that most of the frames go
        rotation = torch.where(backwards, -rotation, rotation)
        to_modes, to_frames = rotation @ whiten, colour @ rotation.mT
        modes = _solved(chosen, rotation.square(), to_modes, settings)
        values = (getattr(frames, name).index_copy(0, members, getattr(modes, name)) for name in vars(frames))
        return cls(Observation(*values), members, to_modes, to_frames)

    def mean(self, values: Tensor) -> Tensor:
        """Return what is known of each frame, [N, ...], as means for the modes."""
        weights = self.to_modes.square()
        return values.index_copy(0, self.members, _mixed(weights / weights.sum(1, keepdim=True), values[self.members]))

    def in_frames(self, motion: Tensor) -> Tensor:
        """Return the motion of the frames, [N, 2, h, w]."""
        return motion.index_copy(0, self.members, _mixed(self.to_frames, motion[self.members]))


def _solved(frames: Observation, shares: Tensor, to_modes: Tensor, settings: FlowSettings) -> Observation:
    """Return the observation of modes; shares: [M, M], squares of the rotation."""
    motion = _mixed(to_modes, frames.motion)
    tensor = _mixed(shares, frames.equations[:, :3])
    residual = _mixed(to_modes, equation_residual(frames, frames.motion))
    jxx, jxy, jyy = tensor.split(1, 1)
    x, y = motion.split(1, 1)
    equations = torch.cat([tensor, residual + torch.cat([jxx * x + jxy * y, jxy * x + jyy * y], 1)], 1)
    # The motion that the solver found unexplained in the frames adds up as the frames do.
    least = settings.least_motion**2
    unexplained = 1 / (settings.roughness * frames.stiffness) - least - local_variance(frames.motion)
    unexplained = _mixed(to_modes, unexplained.clamp(min=0).sqrt()).square()
    stiffness = 1 / (settings.roughness * (local_variance(motion) + unexplained + least))
    solution = smooth_solve(equations, stiffness, settings.relaxations).motion
    motion = motion + (solution - motion).clamp(-MOST_STEP, MOST_STEP)
    return Observation(equations, motion, stiffness, _mixed(shares, frames.noise))


def _whitening(count: int) -> tuple[Tensor, Tensor]:
    """Return C^(-1/2) and C^(1/2), [N, N] each, for C = I + 1 1^T, whose eigenvalues are 1 and, once, 1 + N.

    >>> whiten, colour = _whitening(4)
    >>> bool((whiten @ (torch.eye(4) + 1) @ whiten - torch.eye(4)).abs().max() < 1e-6)
    True
    >>> bool((whiten @ colour - torch.eye(4)).abs().max() < 1e-6)
    True
    """
    mean = torch.full((count, count), 1 / count)
    root = (1 + count) ** 0.5
    return torch.eye(count) + (1 / root - 1) * mean, torch.eye(count) + (root - 1) * mean


def _eigenmodes(changes: Tensor, whiten: Tensor) -> Tensor:
    """Return orthonormal curves in time as rows, [M, M], those of the most change first.

    changes: [M, 1, h, w], differences of the frames to the reference. Below a pixel they are linear in the motion,
    unlike the solver's shrunken solution. Noise is everywhere and an expression in places, so that points count by how
    much more than most changes around them.
    """
    whitened = _mixed(whiten, changes)
    energy = box(whitened.square().sum((0, 1), keepdim=True), LOCAL)
    excess = (energy - energy.median()).clamp(min=0)
    gram = (whitened.flatten(1) @ (whitened * excess).flatten(1).mT).double().cpu()
    _, vectors = torch.linalg.eigh(gram / gram.diagonal().sum().clamp(min=1e-30))
    return vectors.mT.flip(0).to(changes)


def _mixed(weights: Tensor, fields: Tensor) -> Tensor:
    """Return sums over frames: weights [K, N] and fields [N, ...] make [K, ...]."""
    return (weights @ fields.flatten(1)).unflatten(1, fields.shape[1:])
