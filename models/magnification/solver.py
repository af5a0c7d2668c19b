# SPDX-License-Identifier: GPL-3.0-or-later
"""Sub-pixel motion without learning: pyramidal Gauss-Newton with a smoothness prior that follows the motion's size.

Each iteration linearises brightness constancy (Lucas & Kanade 1981) with the gradient of the mean of reference and
warped frame, and weighs every equation by the measured noise. The equations J u = h of all pixels and a thin plate

    E(u) = sum_p (u - u_obs)^T J_p (u - u_obs) + stiffness_p |laplace u|^2

are minimised together (the "combined local-global" energy of Bruhn, Weickert & Schnoerr 2005) by one coarse-to-fine
sweep. The prior's stiffness is 1 / (roughness x mean squared motion nearby): a still region is held still, a moving one
may bend, and scaling the motion scales the answer.

The estimated motion never chases noise in flat skin, which is what magnification would make visible.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..warp import pixel_grid, sample
from .filters import binomial, box, gradient, mean_pool, resize
from .motion import Motion

QUANTISATION = (0.3 / 255) ** 2  # variance of 8-bit rounding, the least noise any frame has
RIDGE = 0.01  # 1 / px^2: before anything is seen, a face has moved by 0 +- 10 px
ROUGHNESS = 0.02  # see `SolverSettings`
NORMAL_QUARTILE_SQUARED = 0.455  # median of the square of a standard normal variable


@dataclass(frozen=True)
class SolverSettings:
    """What the untrained solver assumes.

    iterations: Gauss-Newton steps on each pyramid level, finest first; their number is the number of levels.
    roughness: how much motion may bend from one grid point to the next (variance of its second difference), as a
        share of the squared motion nearby.
    least_motion: px of a level, motion below which the prior stops stiffening.
    first_motion: px of the coarsest level, the motion expected before anything was measured.
    relaxations: sweeps on each scale of the smooth solve.
    tolerance: px, the standard deviation at which a measurement earns confidence 0.5.
    """

    iterations: tuple[int, ...] = (1, 1, 1, 2)
    roughness: float = ROUGHNESS
    least_motion: float = 0.05
    first_motion: float = 1.0
    relaxations: int = 3
    tolerance: float = 0.1


@dataclass(frozen=True)
class Observation:
    """The linearised equations around a solution, on the grid of half the image's size.

    equations: [N, 5, h, w], Jxx, Jxy, Jyy (1 / px^2) and hx, hy (1 / px), divided by the noise variance, so that J is
        the precision of the measured motion and J^-1 h the motion itself.
    motion: [N, 2, h, w] px of the image the equations were taken from: the solution.
    stiffness: [N, 1, h, w], the prior's precision (1 / px^2) between neighbours.
    noise: [N, 1, h, w], variance of the warped frame's difference to the reference.
    """

    equations: Tensor
    motion: Tensor
    stiffness: Tensor
    noise: Tensor


def smooth_solve(equations: Tensor, stiffness: Tensor, relaxations: int = 4, coarsest: int = 4) -> Tensor:
    """Minimise data term plus thin plate in one coarse-to-fine sweep; return the motion [N, 2, h, w].

    equations: [N, 5, h, w] as in `Observation`; stiffness: [N, 1, h, w] > 0.
    """
    scales = [(equations, stiffness)]
    while min(scales[-1][0].shape[2:]) > coarsest:
        finer, finer_stiffness = scales[-1]
        # Information of four points adds up; at twice the spacing second differences are 4 times as large, squared 16,
        # on a quarter of the points, so that the same plate needs a quarter of the weight on each.
        scales.append((4 * mean_pool(finer, 2), 0.25 * mean_pool(finer_stiffness, 2)))
    coarse, coarse_stiffness = scales[-1]
    # Nothing but this says that a picture without any texture stands still.
    ridge = coarse.new_tensor([RIDGE, 0, RIDGE, 0, 0]).view(1, 5, 1, 1)
    scales[-1] = (coarse + ridge, coarse_stiffness)
    motion = torch.zeros_like(coarse[:, :2])
    for level, (data, rigidity) in reversed(list(enumerate(scales))):
        if motion.shape[2:] != data.shape[2:]:
            motion = resize(motion, (data.shape[2], data.shape[3]))
        a, b, c = data[:, 0:1] + rigidity, data[:, 1:2], data[:, 2:3] + rigidity
        inverse = torch.cat([c, -b, -b, a], 1).unflatten(1, (2, 2)) / (a * c - b * b).unsqueeze(1)
        measured = (inverse * data[:, None, 3:]).sum(2)
        inverse = inverse * rigidity.unsqueeze(1)
        for _ in range(relaxations if level + 1 < len(scales) else 3 * relaxations):
            # With B the binomial filter, (I - B)^2 u is the plate's force; 2 B u - B^2 u is where it would rest.
            smooth = binomial(motion)
            rest = smooth + (smooth - binomial(smooth))
            motion = measured + (inverse * rest[:, None]).sum(2)
    return motion


def estimate(reference: Tensor, frames: Tensor, settings: SolverSettings | None = None) -> Observation:
    """Estimate how `frames` moved against `reference`.

    reference: [1 or N, 3, H, W] RGB in [0, 1]; frames: [N, 3, H, W]; H and W at least 16 and multiples of
    2 ** levels (see `levels_for`). Returns the last linearisation and its solution at half the size.
    """
    settings = settings or SolverSettings()
    levels = levels_for(frames.shape[2], frames.shape[3], len(settings.iterations))
    base, moved = _in_one_light(reference, frames)
    pyramid = [(base, moved)]
    for _ in range(levels - 1):
        pyramid.append(
            (mean_pool(binomial(pyramid[-1][0]), 2), mean_pool(binomial(pyramid[-1][1]), 2)),
        )
    # Light and shade vary slowly and stay in place while the skin moves under them: detail has the last word.
    pyramid[0] = (_detail(base), _detail(moved))
    motion = base.new_zeros(base.shape[0], 2, *(side >> levels for side in base.shape[2:]))
    observed: Observation | None = None
    for level in reversed(range(levels)):
        for step in reversed(range(settings.iterations[level])):
            observed = _iterate(*pyramid[level], motion, settings, first=observed is None, last=level < 2 and step == 0)
            motion = observed.motion
        if level:
            motion = 2 * resize(motion, (2 * motion.shape[2], 2 * motion.shape[3]))
    assert observed is not None
    return observed


def estimate_near(
    reference: Tensor, frames: Tensor, motion: Tensor, settings: SolverSettings | None = None
) -> Observation:
    """Estimate how `frames` moved, to begin from a `motion` [N, 2, H / 2, W / 2] px that is nearly right."""
    base, moved = _in_one_light(reference, frames)
    return _iterate(_detail(base), _detail(moved), motion, settings or SolverSettings(), first=False, last=True)


def levels_for(height: int, width: int, most: int = 4) -> int:
    """Return the number of pyramid levels for an image size: the coarsest one keeps at least 8 px."""
    levels = 1
    while levels < most and min(height, width) >> levels >= 8:
        levels += 1
    return levels


def to_motion(observed: Observation, size: tuple[int, int], tolerance: float) -> Motion:
    """Return the solution at `size` (height, width) with its confidence.

    The confidence is 1 / (1 + variance / tolerance^2), with the variance in the direction that the picture says least
    about (the smaller eigenvalue of the structure tensor over 5 x 5 points, the aperture problem included).
    """
    precision = 25 * box(observed.equations[:, :3], 5)
    half_trace = 0.5 * (precision[:, 0:1] + precision[:, 2:3])
    half_difference = 0.5 * (precision[:, 0:1] - precision[:, 2:3])
    least = (half_trace - torch.sqrt(half_difference**2 + precision[:, 1:2] ** 2)).clamp(min=0)
    confidence = least / (least + tolerance**-2)
    return Motion(resize(observed.motion, size), resize(confidence, size))


def _in_one_light(reference: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smoothed brightness of both, the frames' exposure made the reference's: [N, 1, H, W] each."""
    base, moved = (binomial(images.mean(1, keepdim=True)) for images in (reference, frames))
    base = base.expand(moved.shape[0], -1, -1, -1)
    return base, moved / _exposure(base, moved)


def _iterate(
    base: Tensor,
    moved: Tensor,
    motion: Tensor,
    settings: SolverSettings,
    *,
    first: bool,
    last: bool,
) -> Observation:
    """One Gauss-Newton step on one level; motion is in px of the level, on the grid of half its size."""
    full = resize(motion, (base.shape[2], base.shape[3]))
    warped = sample(moved, pixel_grid(base.shape[2], base.shape[3], base.device) + full)
    difference = warped - base
    gx, gy = gradient(0.5 * (warped + base))
    pairs = ((gx, gx), (gx, gy), (gy, gy), (gx, -difference), (gy, -difference), (difference, difference))
    products = torch.cat([mean_pool(one * other, 2) for one, other in pairs], 1)
    tensor, right, squared = products[:, :3], products[:, 3:5], products[:, 5:]
    typical = squared.flatten(1).median(1).values.view(-1, 1, 1, 1)
    noise = (typical / NORMAL_QUARTILE_SQUARED + QUANTISATION).expand_as(squared)
    unexplained = _unexplained_motion(squared, tensor, noise)
    if last:  # highlights, occlusions and whatever else the motion can't explain count less
        noise = torch.maximum(noise, box(squared, 5))
    x, y = motion[:, :1], motion[:, 1:]
    right = right + torch.cat([tensor[:, 0:1] * x + tensor[:, 1:2] * y, tensor[:, 1:2] * x + tensor[:, 2:3] * y], 1)
    equations = box(torch.cat([tensor, right], 1) / noise, 3)
    least = settings.first_motion if first else settings.least_motion
    stiffness = _stiffness(motion, unexplained, least, settings.roughness)
    solution = smooth_solve(equations, stiffness, settings.relaxations)
    if first:  # the size of the motion is known only now
        stiffness = _stiffness(solution, unexplained, settings.least_motion, settings.roughness)
        solution = smooth_solve(equations, stiffness, settings.relaxations)
    # Two px a step: brightness is no straight line any further.
    return Observation(equations, motion + (solution - motion).clamp(-2, 2), stiffness, noise)


def _unexplained_motion(squared: Tensor, tensor: Tensor, noise: Tensor) -> Tensor:
    """Return the squared motion (px^2) that the difference still leaves open beyond noise, on a grid of a quarter.

    A lid is a strip of a few pixels on an eye that stays: what its surroundings do says nothing about it.
    """
    excess = (box(squared, 5) - 1.5 * noise).clamp(min=0)
    steepness = box(tensor[:, 0:1] + tensor[:, 2:3], 5) + noise
    return F.max_pool2d(excess / steepness, 4, ceil_mode=True)


def _stiffness(motion: Tensor, unexplained: Tensor, least: float, roughness: float) -> Tensor:
    """Return the prior's precision: stiff where nothing moves against its surroundings of some 36 grid points.

    What everything there does together (the head's own motion) bends nothing and doesn't count.
    """
    coarse = mean_pool(motion, 4)
    variance = (box(coarse * coarse, 9) - box(coarse, 9) ** 2).clamp(min=0).sum(1, keepdim=True)
    return 1 / (roughness * resize(variance + unexplained + least**2, (motion.shape[2], motion.shape[3])))


def _detail(image: Tensor) -> Tensor:
    """Return what is finer than some 9 px."""
    return image - box(box(image, 5), 5)


def _exposure(base: Tensor, moved: Tensor) -> Tensor:
    """Return how much brighter each frame is than the reference, as one factor: [N, 1, 1, 1].

    A change of exposure stays a factor under any gamma curve; the median ignores what moves.
    """
    ratio = (mean_pool(moved, 4) + 0.02) / (mean_pool(base, 4) + 0.02)
    return ratio.flatten(1).median(1).values.view(-1, 1, 1, 1)
