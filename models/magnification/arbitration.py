# SPDX-License-Identifier: GPL-3.0-or-later
"""The convex combination of the solver's and the network's motion with the least estimated error.

The solver's motion s fits the equations J u = h and part of their noise; the network's motion n has less variance and
an unknown bias. Of all u = s + g (n - s), with d = n - s, sums over a patch and the true motion t, the squared error
sum (u - t)^T J (u - t) is least at

    g = (sum d . (h - J s) + sum d . (noise fitted by s)) / sum d . J d.

The second sum is unknown, but its expectation under white noise is the noise variance times the degrees of freedom that
the solver spends on it: Stein's unbiased risk estimate (Stein 1981, "Estimation of the mean of a multivariate normal
distribution"). Its standard deviation is (variance x sum d . J d)^1/2; a few of them are added to the numerator, so
that g is 1 where n is within the noise of the equations, and 0 where they contradict it significantly. The steps of
`arbitrate`:

    1. Sums         d^T J d, d . (h - J s) and the degrees of freedom over patches of half the picture's side, `WINDOW`,
                    plus a share of the whole picture's, which decides in patches without texture
    2. Allowance    FREEDOM_SHARE x inflation x freedom + MARGIN x points (inflation x sum d . J d)^1/2, points being
                    those along a patch's side: how much is taken doesn't depend on how fine the grid is
    3. Share        g, clipped to [0, 1]: 1 is the network's motion, 0 the solver's; of g `ROUNDED_SHARE` without
                    noise, `CODED_SHARE` at most after a video codec

The noise variance is the solver's estimate times `inflation`, the noise inflation factor of the camera's state: errors
of video compression are far larger than the picture's grain, correlated, and biased towards zero motion.

In pictures without noise the error of the equations is rounding, interpolation and linearisation, which the sums share
with s, so that Stein's estimate doesn't hold. What the equations don't contradict is then the mean of two estimates,
in which errors that they don't share average out. After a video codec the equations' error is known badly, whatever
their noise inflation factor: there no more of the network is taken than `CODED_SHARE`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .filters import box, median
from .solver import QUANTISATION, Observation

PATCH = 9  # points along a side of the patches over which chi-squared is taken
PATCH_RIDGE = 0.04  # 1 / px^2, prior precision of a patch's motion: a standard deviation of 5 px
# Chosen on photographs, own and bent family so that no single face has a much larger error than the solver's: in half
# of a picture it shows that a network is wrong as a whole. In smaller patches more of it is taken, right or wrong.
WINDOW = 0.48  # side of the patches over which solver and network are compared, share of the picture's shorter one
GLOBAL_WEIGHT = 0.2  # weight of the whole picture's mean in a patch's
# Standard deviations by which the equations must contradict the network, for a point along a patch's side: 4.5 for 61.
MARGIN = 4.5 / 61
WHITE_NOISE = 0.4  # noise inflation factor of white noise: mean chi-squared of the true motion under noise, .33 to .43
# Of frames with a sensor's noise. What the camera's state would give is .6 on the own family and up to 1.9 on others,
# where the truth's chi-squared is no larger; chosen on photographs, own and bent family.
SENSOR_NOISE = 0.6
FREEDOM_SHARE = 0.1  # of the solver's degrees of freedom, fits noise alone; chosen on photographs and own family
ROUNDED_SHARE = 0.6  # of the network's change, on pictures without noise; chosen on photographs, own and bent family
CODED_SHARE = 0.7  # the most in frames with copied blocks; chosen on photographs and on training people, bent and not
LEAST_ENERGY = 1e-9  # sum d . J d, below which s and n are the same motion


def equation_residual(seen: Observation, motion: Tensor) -> Tensor:
    """Return the residual h - J u of the equations at a motion u [N, 2, h, w] px: [N, 2, h, w], 1 / px."""
    jxx, jxy, jyy, hx, hy = seen.equations.split(1, 1)
    x, y = motion.split(1, 1)
    return torch.cat([hx - jxx * x - jxy * y, hy - jxy * x - jyy * y], 1)


def chi_squared_test(seen: Observation, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Test a motion u [N, 2, h, w] px against the equations: the least-squares step from it, and chi-squared.

    The equations are summed over `PATCH` x `PATCH` points, R = sum (h - J u) and A = sum J + ridge. Returns the step
    A^-1 R, [N, 2, h, w] px, and chi-squared per degree of freedom R^T A^-1 R / 2, [N, 1, h, w].

    >>> one = torch.ones(1, 1, 20, 20)
    >>> seen = Observation(torch.cat([100 * one, 0 * one, 100 * one, 50 * one, 0 * one], 1), one, one, one)  # 0.5 px
    >>> step, chi_squared = chi_squared_test(seen, torch.zeros(1, 2, 20, 20))
    >>> round(float(step[0, 0, 10, 10]), 2), float(chi_squared[0, 0, 10, 10]) > 100
    (0.5, True)
    """
    residual = equation_residual(seen, motion)
    a, b, c, rx, ry = (PATCH**2 * box(torch.cat([seen.equations[:, :3], residual], 1), PATCH)).split(1, 1)
    a, c = a + PATCH_RIDGE, c + PATCH_RIDGE
    determinant = (a * c - b * b).clamp(min=PATCH_RIDGE**2)
    step = torch.cat([c * rx - b * ry, a * ry - b * rx], 1) / determinant
    chi_squared = (rx * step[:, :1] + ry * step[:, 1:]).clamp(min=0) / 2
    return step, chi_squared


def arbitrate(
    observed: Observation,
    proposed: Tensor,
    inflation: Tensor | float = WHITE_NOISE,
    rounded: Tensor | float = 0.0,
    coded: Tensor | float = 0.0,
) -> Observation:
    """Return the observation with its motion moved towards a proposed one as far as its equations support that.

    proposed: [N, 2, h, w] px; inflation: the noise inflation factor, [N, 1, 1, 1] or one number. rounded, coded: in
    [0, 1], how clearly the pictures have no noise but rounding (`rounding_only`), and how clearly they come from a
    video codec (`copied_blocks.coded`); [N, 1, 1, 1] or one number.

    >>> one = torch.ones(1, 1, 40, 40)
    >>> seen = Observation(torch.cat([1e4 * one, 0 * one, 1e4 * one, 0 * one, 0 * one], 1), 0 * one, one, one)
    >>> at_rest = replace(seen, motion=torch.zeros(1, 2, 40, 40))  # to 0.01 px, the standard deviation of J = 1e4
    >>> float(arbitrate(at_rest, at_rest.motion + 1.0).motion.abs().max()) < 0.1  # 1 px is rejected
    True
    """
    # 1. Sums, [N, 1, h, w].
    change = proposed - observed.motion
    jxx, jxy, jyy = observed.equations[:, :3].split(1, 1)
    x, y = change.split(1, 1)
    energy = jxx * x * x + 2 * jxy * x * y + jyy * y * y
    support = (change * equation_residual(observed, observed.motion)).sum(1, keepdim=True)
    terms = torch.cat([energy, support, _freedom(observed)], 1)
    points = 2 * round(WINDOW * min(terms.shape[2:]) / 2) - 1
    sums = points**2 * (box(terms, points) + GLOBAL_WEIGHT * terms.mean((2, 3), keepdim=True))
    energy, support, freedom = sums.clamp(min=0)[:, :1], sums[:, 1:2], sums[:, 2:]
    # 2. Allowance for the noise that s has fitted.
    allowance = FREEDOM_SHARE * inflation * freedom + MARGIN * points * (inflation * energy).sqrt()
    # 3. Share of the network.
    share = ((support + allowance) / (energy + LEAST_ENERGY)).clamp(0, 1)
    share = share * (1 - (1 - ROUNDED_SHARE) * rounded)
    share = torch.minimum(share, torch.as_tensor(1 - (1 - CODED_SHARE) * coded, dtype=share.dtype, device=share.device))
    return replace(observed, motion=observed.motion + share * change)


def rounded_share(observed: Observation, inflation: Tensor | float) -> Tensor:
    """Return how far frames that no camera made have no noise but rounding, in [0, 1]: [N, 1, 1, 1].

    The square of the share that rounding has in the equations' median noise variance times `inflation`.
    """
    typical = median(observed.noise.flatten(1)).view(-1, 1, 1, 1)
    return (QUANTISATION / (inflation * typical)).clamp(max=1).square()


def _freedom(observed: Observation) -> Tensor:
    """Return the solver's effective degrees of freedom at each point, the trace of its smoother: [N, 1, h, w], <= 2.

    A thin plate on data of precision J passes waves of wavenumber k by J / (J + stiffness k^4 / 16), as the binomial
    filter is 1 - k^2 / 4; the integral over all k is sqrt(J / stiffness) / 2 for either direction of motion.
    """
    precision = 0.5 * (observed.equations[:, 0:1] + observed.equations[:, 2:3])
    return 2 * (0.5 * torch.sqrt(precision.clamp(min=0) / observed.stiffness)).clamp(max=1)
