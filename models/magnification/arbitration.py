# SPDX-License-Identifier: GPL-3.0-or-later
"""The convex combination of the solver's motion and the network's that the equations support.

The solver's motion s fits the equations J u = h and part of their noise; the network's n follows what it has learned of
faces. Of all motions s + g (n - s), the one with the least expected error can be found without knowing the truth: with
d = n - s and sums over a patch, the squared error weighted by J is least at

    g = (sum d . (h - J s) + sum d . (noise fitted by s)) / sum d . J d

The second sum is not known, but its expectation is: the noise's variance times the degrees of freedom that the solver
spends on it (Stein 1981, "Estimation of the mean of a multivariate normal distribution"). Its standard deviation is the
root of the variance times sum d . J d; `MARGIN` of them are added, so that the network is left as it is within the
noise and overruled where the contradiction is significant. g is limited to [0, 1]: 1 is the network's motion, 0 the
solver's. Where a patch has little texture, the whole picture's sums decide.

The noise's variance is what the solver measured times `inflation`, an estimate from the camera's state: video
compression makes errors that are far larger than the grain of the picture, and biased towards rest.

On pictures without noise the equations' error is no noise that could be averaged out, but rounding, interpolation and
linearisation, which the solver and the sums above share. There Stein's estimate doesn't hold, and the network has less
to give: no margin is added, and g is scaled down.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .filters import box
from .solver import Observation

PATCH = 9  # points along a side of the patches over which chi-squared is taken
UNSEEN = 0.04  # 1 / px^2, precision of a patch without texture: motion of 5 px
WINDOW = 31  # points along a side of the patches over which solver and network are compared
MARGIN = 3.0  # standard deviations by which the equations must contradict the network; chosen on photographs
WHOLE = 0.2  # weight of the whole picture's mean in a patch's
WHITE = 0.5  # noise inflation factor of white noise, measured as the truth's chi-squared on noisy training films
FREEDOM = 0.1  # share of the solver's degrees of freedom that fits noise alone; chosen on photographs and own family
NOISELESS = 0.055 / 255**2  # variance of the equations' error in pictures without noise, see `_noiseless`
NOISELESS_SHARE = 0.4  # largest g on such pictures; chosen on photographs, own and bent family


def unexplained(seen: Observation, motion: Tensor) -> Tensor:
    """Return the residual h - J u of the equations at a motion u, [N, 2, h, w] px: [N, 2, h, w]."""
    jxx, jxy, jyy, hx, hy = seen.equations.split(1, 1)
    x, y = motion.split(1, 1)
    return torch.cat([hx - jxx * x - jxy * y, hy - jxy * x - jyy * y], 1)


def contradiction(seen: Observation, motion: Tensor, inflation: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Return the least-squares step of the equations around each point from a motion [N, 2, h, w], and chi-squared.

    The equations are added up over `PATCH` x `PATCH` points, R = sum (h - J u) and A = sum J, which makes the step
    A^-1 R, [N, 2, h, w] px, and chi-squared per degree of freedom, R^T A^-1 R / (2 inflation), [N, 1, h, w].
    """
    left = unexplained(seen, motion)
    a, b, c, rx, ry = (PATCH**2 * box(torch.cat([seen.equations[:, :3], left], 1), PATCH)).split(1, 1)
    a, c = a + UNSEEN, c + UNSEEN
    determinant = (a * c - b * b).clamp(min=UNSEEN**2)
    step = torch.cat([c * rx - b * ry, a * ry - b * rx], 1) / determinant
    surprise = (rx * step[:, :1] + ry * step[:, 1:]).clamp(min=0) / (2 * inflation)
    return step, surprise


def arbitrate(observed: Observation, proposed: Tensor, inflation: Tensor | float = WHITE) -> Observation:
    """Return the observation with the combination of its own motion and a proposed one that its equations support.

    proposed: [N, 2, h, w] px; inflation: [N, 1, 1, 1], the noise inflation factor.

    >>> none, one = torch.zeros(1, 2, 40, 40), torch.ones(1, 1, 40, 40)
    >>> still = Observation(torch.zeros(1, 5, 40, 40), none, one, one)
    >>> seen = replace(still, equations=torch.tensor([1e4, 0, 1e4, 0, 0]).view(1, 5, 1, 1).expand(1, 5, 40, 40))
    >>> float(arbitrate(seen, still.motion + 1.0).motion.abs().max()) < 0.1  # 1 px at a precision of 0.01 px: refused
    True
    """
    noiseless = _noiseless(observed, inflation)
    change = proposed - observed.motion
    jxx, jxy, jyy = observed.equations[:, :3].split(1, 1)
    x, y = change.split(1, 1)
    seen = jxx * x * x + 2 * jxy * x * y + jyy * y * y
    support = (change * unexplained(observed, observed.motion)).sum(1, keepdim=True)
    evidence = torch.cat([seen, support, _freedom(observed)], 1)
    sums = WINDOW**2 * (box(evidence, WINDOW) + WHOLE * evidence.mean((2, 3), keepdim=True))
    seen, support, freedom = sums.clamp(min=0)[:, :1], sums[:, 1:2], sums[:, 2:]
    doubt = FREEDOM * inflation * freedom + MARGIN * (inflation * seen).sqrt()
    share = ((support + (1 - noiseless) * doubt) / (seen + 1e-9)).clamp(0, 1)
    share = share * (1 - (1 - NOISELESS_SHARE) * noiseless)
    return replace(observed, motion=observed.motion + share * change)


def _noiseless(observed: Observation, inflation: Tensor | float) -> Tensor:
    """Return how far a picture is one without noise, from 0 (noise of 2/255: 0.04) to 1: [N, 1, 1, 1].

    It is the square of the share that the errors of pictures without noise have in the equations' variance.
    """
    typical = observed.noise.flatten(1).median(1).values.view(-1, 1, 1, 1)
    return (NOISELESS / (inflation * typical)).clamp(max=1).square()


def _freedom(observed: Observation) -> Tensor:
    """Return how many degrees of freedom the solver has at each point, [N, 1, h, w], at most 2.

    A thin plate on data of precision J lets waves of wavenumber k through by J / (J + stiffness k^4 / 16), the binomial
    filter being 1 - k^2 / 4; the integral over all k is sqrt(J / stiffness) / 2 for either direction of motion.
    """
    precision = 0.5 * (observed.equations[:, 0:1] + observed.equations[:, 2:3])
    return 2 * (0.5 * torch.sqrt(precision.clamp(min=0) / observed.stiffness)).clamp(max=1)
