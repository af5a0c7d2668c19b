# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is right, the solver or the network: what the equations clearly contradict is not overruled.

The solver's motion s follows the equations J u = h, noise included; the network's n knows faces, or believes it does.
Between them, on the line s + g (n - s), lies the motion with the least expected error, and how far along it lies can be
read from the equations without knowing the truth. With d = n - s and sums over a patch of the picture, the squared
error weighted by J is least at

    g = sum d . (h - J s) + sum d . (noise that is in s)  over  sum d . J d

The second sum is not known, but its expectation is: it is the noise's variance times the number of degrees of freedom
that the solver spends on it (Stein 1981, "Estimation of the mean of a multivariate normal distribution"; here for one
weight, as in James & Stein 1961). Its spread is known too, and `BENEFIT` times that is given to the network: it is
overruled where it is clearly wrong, not where noise makes it look so. What the evidence agrees with is kept whole,
g = 1; where the equations contradict it, g falls to what they leave of it, down to 0, which is the solver's motion.

Where a patch shows nothing, the whole picture decides: a network that is wrong where one can see it isn't believed
where one can't.

The variance of the noise is what the solver measured times `inflation`, which the camera's state tells: after video
compression the equations themselves are wrong, and are not believed.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .filters import box
from .solver import Observation

PATCH = 9  # points along a side over which a motion is judged by itself
UNSEEN = 0.04  # 1 / px^2, precision of a patch that says nothing: motion of 5 px
JURY = 31  # points along a side over which solver and network are compared
BENEFIT = 2.0  # standard deviations of the noise by which the network is given the benefit of the doubt
WHOLE = 0.2  # what the whole picture says of them counts as much as this share of a patch does
FREEDOM = 0.1  # share of the solver's degrees of freedom that it spends on noise alone


def unexplained(seen: Observation, motion: Tensor) -> Tensor:
    """Return what of the equations a motion [N, 2, h, w] px leaves over, h - J u: [N, 2, h, w]."""
    jxx, jxy, jyy, hx, hy = seen.equations.split(1, 1)
    x, y = motion.split(1, 1)
    return torch.cat([hx - jxx * x - jxy * y, hy - jxy * x - jyy * y], 1)


def contradiction(seen: Observation, motion: Tensor, inflation: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Return what the equations around each point say that a motion [N, 2, h, w] lacks, and how surely.

    They are added up over `PATCH` x `PATCH` points, R = sum (h - J u) and A = sum J, which makes the step A^-1 R,
    [N, 2, h, w] px, and chi-squared per degree of freedom, R^T A^-1 R / (2 inflation), [N, 1, h, w].
    """
    left = unexplained(seen, motion)
    a, b, c, rx, ry = (PATCH**2 * box(torch.cat([seen.equations[:, :3], left], 1), PATCH)).split(1, 1)
    a, c = a + UNSEEN, c + UNSEEN
    determinant = (a * c - b * b).clamp(min=UNSEEN**2)
    step = torch.cat([c * rx - b * ry, a * ry - b * rx], 1) / determinant
    surprise = (rx * step[:, :1] + ry * step[:, 1:]).clamp(min=0) / (2 * inflation)
    return step, surprise


def arbitrate(observed: Observation, proposed: Tensor, inflation: Tensor | float = 1.0) -> Observation:
    """Return the observation with the mixture of its own motion and a proposed one that the equations speak for.

    proposed: [N, 2, h, w] px; inflation: [N, 1, 1, 1], by how much the variance of the equations' noise is underrated.
    """
    change = proposed - observed.motion
    jxx, jxy, jyy = observed.equations[:, :3].split(1, 1)
    x, y = change.split(1, 1)
    seen = jxx * x * x + 2 * jxy * x * y + jyy * y * y
    spoken_for = (change * unexplained(observed, observed.motion)).sum(1, keepdim=True)
    evidence = torch.cat([seen, spoken_for, _freedom(observed)], 1)
    sums = JURY**2 * (box(evidence, JURY) + WHOLE * evidence.mean((2, 3), keepdim=True))
    seen, spoken_for, freedom = sums.clamp(min=0)[:, :1], sums[:, 1:2], sums[:, 2:]
    doubt = FREEDOM * inflation * freedom + BENEFIT * (inflation * seen).sqrt()
    share = ((spoken_for + doubt) / (seen + 1e-9)).clamp(0, 1)
    return replace(observed, motion=observed.motion + share * change)


def _freedom(observed: Observation) -> Tensor:
    """Return how many degrees of freedom the solver has at each point, [N, 1, h, w], at most 2.

    A thin plate on data of precision J lets waves of wavenumber k through by J / (J + stiffness k^4 / 16), the binomial
    filter being 1 - k^2 / 4; the integral over all k is sqrt(J / stiffness) / 2 for either direction of motion.
    """
    precision = 0.5 * (observed.equations[:, 0:1] + observed.equations[:, 2:3])
    return 2 * (0.5 * torch.sqrt(precision.clamp(min=0) / observed.stiffness)).clamp(max=1)
