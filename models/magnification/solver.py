# SPDX-License-Identifier: GPL-3.0-or-later
"""Sub-pixel optical flow without learning: pyramidal Gauss-Newton with an adaptive thin-plate prior.

On each level of the pyramid, coarsest first, `estimate` repeats

    1. warp             the frame is resampled at p + u(p)
    2. linearise        brightness constancy (Lucas & Kanade 1981) with the gradient g of the mean of both pictures:
                        J = sum g g^T / noise, h = sum g (g . u - difference) / noise over the points around; on the
                        finest level over two bands of detail as well (`BANDS`)
    3. weigh            the noise is a band's median squared difference; in the last step also the local one
    4. solve            u minimises E(u) = sum_p u^T J_p u - 2 h_p^T u + stiffness_p |u - B u|_p^2

where B is the binomial filter, so that u - B u is about -1/4 of the Laplacian. E is the combined local-global energy of
Bruhn, Weickert & Schnoerr (2005) with a thin plate, of which `smooth_solve` finds an approximate minimum in one
coarse-to-fine sweep. The prior's precision is adaptive, stiffness = 1 / (roughness
x mean squared motion nearby): regions at rest are smoothed most, moving ones may bend, and scaling the true motion
scales the estimate. Where texture is too weak for the noise, the prior alone determines the motion, so that magnified
noise doesn't appear in flat skin.

Constants without another source were chosen by hand on rendered training identities and on warped frames of one public
domain photograph and of two frames of the demonstration clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..device import fits_loops
from ..warp import SplineImage
from .filters import binomial, box, gradient, kth_smallest, mean_pool, median, resize
from .motion import Motion

# Least noise: 8-bit rounding, of variance 1 / (12 x 255^2), in the difference of two pictures, in the mean of three
# channels, smoothed by the binomial filter, which leaves (3/8)^2 of white noise's variance.
QUANTISATION = 2 / 3 * (3 / 8) ** 2 / (12 * 255**2)
COARSEST = 4  # points, the side at which grids are not halved any more
RIDGE = 0.01  # 1 / px^2, prior precision of the motion on the coarsest grid: a standard deviation of 10 px
ROUGHNESS = 0.02  # see `FlowSettings`
CHI_SQUARED_MEDIAN = 0.455  # of one degree of freedom: the median square of a standard normal variable
CONVERGED = 0.01  # rms update of the last sweep over rms motion; 3 sweeps a scale reach 0.002 on the finest level
_MOST_STEP = 2.0  # px of the level, trust region: brightness is not linear over larger steps
_LARGE_UPDATE, _MOST_POINTS = 0.15, 0.99  # px; a step that moves one point in a hundred farther is repeated
_NOISE_FACTOR = 1.5  # squared differences below this multiple of the noise count as noise
_BLACK = 0.02  # of full scale, added to brightness so that the ratio of dark pixels stays finite
_LEAST_SEEN = 0.01  # share of the points; the median of fewer says little
_COARSEST_SIDE = 8  # px, least side of the coarsest level of the pyramid


@dataclass(frozen=True)
class Band:
    """Detail that a coarse box filter removes and a fine one keeps, both applied twice.

    fine, coarse: px along a side of the filters, odd; 1 is none. correlation: factor of the noise variance. Noise of a
    coarser band is correlated over more points, so that the sum of its equations is less precise than that of
    independent ones.
    """

    fine: int
    coarse: int
    correlation: float


# Shading varies slowly and stays in place while the skin moves under it, so that the finest level has no more than
# detail below some 17 px, in bands of which each has a noise of its own: shading is in the coarser one. Squared and
# summed, autocorrelations of white noise in the two are as 4 to 1; 8 was as good without noise and better under it.
BANDS = (Band(1, 3, correlation=1.0), Band(3, 9, correlation=8.0))


@dataclass(frozen=True)
class FlowSettings:
    """What the untrained solver assumes.

    iterations: Gauss-Newton steps on each pyramid level, finest first; their number is the number of levels.
    roughness: variance of u - B u, the motion's bending between grid points, as a share of the mean squared motion
        nearby.
    least_motion: px of a level, lower bound of the motion's size in the prior.
    first_motion: px of the coarsest level, the same in the first step, before the size of the motion is known.
    relaxations: sweeps of `smooth_solve` on each scale.
    tolerance: px, standard deviation of the motion at which the confidence is 0.5.
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

    equations: [N, 5, h, w], Jxx, Jxy, Jyy (1 / px^2) and hx, hy (1 / px): J u = h divided by the noise variance, so
        that J is the precision (inverse covariance) of the least-squares motion J^-1 h.
    motion: [N, 2, h, w] px of the image that the equations were taken from: the solution.
    stiffness: [N, 1, h, w], precision (1 / px^2) of the prior on u - B u.
    noise: [N, 1, h, w], variance of the warped frame's difference to the reference, in the finest band.
    """

    equations: Tensor
    motion: Tensor
    stiffness: Tensor
    noise: Tensor


@dataclass(frozen=True)
class PlateSolution:
    """The state of the coarse-to-fine relaxation when it ended.

    motion: [N, 2, h, w] px. previous: the motion before the last sweep. iterations: sweeps over all scales.
    """

    motion: Tensor
    previous: Tensor
    iterations: int

    @property
    def residual(self) -> Tensor:
        """[N], rms update of the last sweep as a share of the rms motion; 0 where nothing moves."""
        update, size = (field.detach().flatten(1).norm(dim=1) for field in (self.motion - self.previous, self.motion))
        return update / size.clamp(min=torch.finfo(size.dtype).tiny)

    @property
    def converged(self) -> bool:
        """Whether the last sweep changed no motion by more than `CONVERGED`."""
        return bool((self.residual <= CONVERGED).all())


def smooth_solve(equations: Tensor, stiffness: Tensor, relaxations: int = 4) -> PlateSolution:
    """Minimise data term plus thin plate approximately, in one coarse-to-fine sweep (cascadic multigrid).

    On each scale, block Jacobi iterations solve the 2 x 2 normal equations of every point with its neighbours fixed,

        (J_p + stiffness_p I) u_p = h_p + stiffness_p (2 B u - B^2 u)_p,

    where B is the binomial filter and (I - B)^2 the plate's operator; its gradient with varying stiffness is
    approximated so. A scale starts from the solution of the next coarser one.

    Args:
        equations: [N, 5, h, w] as in `Observation`.
        stiffness: [N, 1, h, w] > 0, 1 / px^2.
        relaxations: iterations on each scale; three times as many on the coarsest.

    >>> seen = torch.zeros(1, 1, 32, 32)
    >>> seen[..., ::8, ::8] = 100.0  # one point in 64 has texture, and all of them move by 0.5 px
    >>> equations = torch.cat([seen, 0 * seen, seen, 0.5 * seen, 0 * seen], 1)
    >>> solution = smooth_solve(equations, torch.ones(1, 1, 32, 32), relaxations=40)
    >>> bool((solution.motion[:, 0] - 0.5).abs().max() < 0.01), solution.iterations, solution.converged
    (True, 240, True)
    """
    scales = [(equations, stiffness)]
    while min(scales[-1][0].shape[2:]) > COARSEST:
        finer, finer_stiffness = scales[-1]
        # Precisions of four points add up. At twice the spacing second differences are 4 times as large, squared 16,
        # on a quarter of the points, so that the same plate has a quarter of the weight on each.
        scales.append((4 * mean_pool(finer, 2), 0.25 * mean_pool(finer_stiffness, 2)))
    coarse, coarse_stiffness = scales[-1]
    # Without it a picture that has no texture at all would leave the system singular.
    ridge = coarse.new_tensor([RIDGE, 0, RIDGE, 0, 0]).view(1, 5, 1, 1)
    scales[-1] = (coarse + ridge, coarse_stiffness)
    motion = previous = torch.zeros_like(coarse[:, :2])
    sweeps = 0
    for level, (data, rigidity) in reversed(list(enumerate(scales))):
        if motion.shape[2:] != data.shape[2:]:
            motion = resize(motion, (data.shape[2], data.shape[3]))
        count = relaxations if level + 1 < len(scales) else 3 * relaxations
        relax = _compiled_relaxation if fits_loops(data, rigidity, motion) else _relaxation
        motion, previous = relax(data, rigidity, motion, count)
        sweeps += count
    return PlateSolution(motion, previous, sweeps)


def _relaxation(data: Tensor, rigidity: Tensor, motion: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
    """Return the motion after sweeps of block Jacobi on one scale, and what it was before the last one."""
    a, b, c = data[:, 0:1] + rigidity, data[:, 1:2], data[:, 2:3] + rigidity
    inverse = torch.cat([c, -b, -b, a], 1).unflatten(1, (2, 2)) / (a * c - b * b).unsqueeze(1)
    from_data = (inverse * data[:, None, 3:]).sum(2)
    inverse = inverse * rigidity.unsqueeze(1)
    previous = motion
    for _ in range(sweeps):
        previous = motion
        smooth = binomial(motion)
        from_neighbours = smooth + (smooth - binomial(smooth))
        motion = from_data + (inverse * from_neighbours[:, None]).sum(2)
    return motion, previous


def _compiled_relaxation(data: Tensor, rigidity: Tensor, motion: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
    """Return the same on a CPU, in a tenth of the time."""
    from ..loops.motion import relax

    found = motion.clone(memory_format=torch.contiguous_format)
    previous = found.clone()
    relax(data.contiguous().numpy(), rigidity.contiguous().numpy(), found.numpy(), previous.numpy(), sweeps)
    return found, previous


def estimate(
    reference: Tensor, frames: Tensor, settings: FlowSettings | None = None, weight: Tensor | None = None
) -> Observation:
    """Estimate how `frames` moved against `reference`.

    reference: [1 or N, 3, H, W] RGB in [0, 1]; frames: [N, 3, H, W]; H and W at least 16 and multiples of
    2 ** levels (see `levels_for`). weight: [N, 1, H / 2, W / 2] in [0, 1], of the equations, where they are not all
    measurements (`copied_blocks`); the noise is estimated where it is above a half. Returns the last linearisation and
    its solution on [H / 2, W / 2].

    >>> y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    >>> def picture(shift: float) -> Tensor:
    ...     waves = torch.sin((x - shift) / 3) + torch.sin((x - shift) / 5 - y / 4) + torch.sin((x - shift) / 9 + y / 3)
    ...     return (0.5 + 0.1 * waves).expand(1, 3, -1, -1)
    >>> motion = estimate(picture(0), picture(0.5)).motion
    >>> bool((motion - torch.tensor([0.5, 0.0]).view(1, 2, 1, 1)).abs().mean() < 0.03)
    True
    """
    settings = settings or FlowSettings()
    levels = levels_for(frames.shape[2], frames.shape[3], len(settings.iterations))
    base, moved = _equally_exposed(reference, frames)
    pyramid = [(base, moved)]
    for _ in range(levels - 1):
        pyramid.append(
            (mean_pool(binomial(pyramid[-1][0]), 2), mean_pool(binomial(pyramid[-1][1]), 2)),
        )
    pictures = [(base, SplineImage(moved)) for base, moved in pyramid]
    weights = [weight if weight is None or level == 0 else mean_pool(weight, 2**level) for level in range(levels)]
    motion = moved.new_zeros(moved.shape[0], 2, *(side >> levels for side in moved.shape[2:]))
    observed: Observation | None = None
    for level in reversed(range(levels)):
        for step in reversed(range(settings.iterations[level])):
            last = level < 2 and step == 0
            bands = BANDS if level == 0 else ()
            before = motion
            observed = _gauss_newton_step(
                *pictures[level], motion, settings, bands, weights[level], first=observed is None, last=last
            )
            motion = observed.motion
        if level:
            motion = 2 * resize(motion, (2 * motion.shape[2], 2 * motion.shape[3]))
    assert observed is not None
    return _repeated(*pictures[0], observed, before, settings, weight)


def _repeated(
    base: Tensor,
    moved: SplineImage,
    observed: Observation,
    before: Tensor,
    settings: FlowSettings,
    weight: Tensor | None,
) -> Observation:
    """Repeat the finest step for those frames that it has moved far, over which brightness is not linear.

    The first repetition leaves out the local noise, which takes for an outlier what has not been followed yet. Each
    frame is treated as if it were alone. base: [1 or N, 1, H, W]; moved: of [N, 1, H, W]; before: [N, 2, h, w] px, the
    motion before the step; weight: of the equations, see `estimate`.
    """
    across, down = (observed.motion - before).flatten(2).unbind(1)
    update = (across.square() + down.square()).sqrt()  # a norm along the channels takes three times as long
    far = kth_smallest(update, round(_MOST_POINTS * update.shape[1])) > _LARGE_UPDATE
    numbers = far.nonzero().flatten()
    if len(numbers) == 0:
        return observed
    base, moved, motion = base if len(base) == 1 else base[numbers], moved.of(numbers), observed.motion[numbers]
    weight = weight if weight is None else weight[numbers]
    for last in (False, True):
        again = _gauss_newton_step(base, moved, motion, settings, BANDS, weight, first=False, last=last)
        motion = again.motion
    return Observation(
        *(getattr(observed, name).index_copy(0, numbers, getattr(again, name)) for name in vars(observed))
    )


def estimate_near(
    reference: Tensor,
    frames: Tensor,
    motion: Tensor,
    settings: FlowSettings | None = None,
    weight: Tensor | None = None,
) -> Observation:
    """Return one more Gauss-Newton step on the finest level, from a `motion` [N, 2, H / 2, W / 2] px nearly right.

    weight: of the equations, see `estimate`.
    """
    base, moved = _equally_exposed(reference, frames)
    settings = settings or FlowSettings()
    return _gauss_newton_step(base, SplineImage(moved), motion, settings, BANDS, weight, first=False, last=True)


def levels_for(height: int, width: int, most: int = 4) -> int:
    """Return the number of pyramid levels for an image size: the coarsest one keeps at least 8 px.

    >>> levels_for(256, 256), levels_for(64, 24)
    (4, 2)
    """
    levels = 1
    while levels < most and min(height, width) >> levels >= _COARSEST_SIDE:
        levels += 1
    return levels


def to_motion(observed: Observation, size: tuple[int, int], tolerance: float) -> Motion:
    """Return the solution at `size` (height, width) with its confidence.

    The confidence is 1 / (1 + variance / tolerance^2) in [0, 1], with the variance in the least determined direction
    (the smaller eigenvalue of J summed over 5 x 5 points, so that the aperture problem is included).
    """
    precision = 25 * box(observed.equations[:, :3], 5)
    half_trace = 0.5 * (precision[:, 0:1] + precision[:, 2:3])
    half_difference = 0.5 * (precision[:, 0:1] - precision[:, 2:3])
    least = (half_trace - torch.sqrt(half_difference**2 + precision[:, 1:2] ** 2)).clamp(min=0)
    confidence = least / (least + tolerance**-2)
    return Motion(resize(observed.motion, size), resize(confidence, size))


def _equally_exposed(reference: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smoothed brightness of both, the frames' exposure made the reference's: [1 or N, 1, H, W] each."""
    base, moved = (binomial(images.mean(1, keepdim=True)) for images in (reference, frames))
    return base, moved / _exposure_ratio(base, moved)


def _gauss_newton_step(
    base: Tensor,
    moved: SplineImage,
    motion: Tensor,
    settings: FlowSettings,
    bands: tuple[Band, ...],
    weight: Tensor | None,
    *,
    first: bool,
    last: bool,
) -> Observation:
    """Return one Gauss-Newton step on one level.

    base: [1 or N, 1, H, W], moved: of [N, 1, H, W], brightness of reference and frame; motion: [N, 2, H / 2, W / 2] px
    of the level. bands: of which the equations are summed, finest first; none is the whole picture. weight:
    [N, 1, H / 2, W / 2], of the equations. `first` step of all: the motion's size is not known yet. `last` on its
    level: noise is local.
    """
    # 1. Warp the frame by the motion so far. A bilinear look-up would soften it, which edges show as a difference.
    warped = moved.displaced(resize(motion, (base.shape[2], base.shape[3])))
    # 2. and 3. Linearise around it and weigh, band by band.
    pairs = zip(_in_bands(base, bands), _in_bands(warped, bands), strict=True)
    linearised = [_linearised(*pair, weight) for pair in pairs]
    noise = [each.noise_at(local=last) for each in linearised]
    factors = [band.correlation for band in bands] or [1.0]
    summed = (_compiled_sum if fits_loops(motion, *noise) else _sum)(linearised, motion, noise, factors)
    equations = box(summed if weight is None else summed * weight, 3)
    unexplained = _unexplained_motion(linearised[0])
    # 4. Solve with the prior; the first solution sets the scale of the motion for a second one.
    least = settings.first_motion if first else settings.least_motion
    stiffness = _stiffness(motion, unexplained, least, settings.roughness)
    solution = smooth_solve(equations, stiffness, settings.relaxations).motion
    if first:
        stiffness = _stiffness(solution, unexplained, settings.least_motion, settings.roughness)
        solution = smooth_solve(equations, stiffness, settings.relaxations).motion
    return Observation(equations, motion + (solution - motion).clamp(-_MOST_STEP, _MOST_STEP), stiffness, noise[0])


def _in_bands(image: Tensor, bands: tuple[Band, ...]) -> list[Tensor]:
    """Return the bands of an image [N, 1, H, W], what two of them share smoothed once; without bands, the image.

    >>> [float(band.abs().max()) for band in _in_bands(torch.full((1, 1, 8, 8), 0.5), BANDS)]
    [0.0, 0.0]
    """
    if not bands:
        return [image]
    smoothed = {size: _smoothed(image, size) for size in {size for band in bands for size in (band.fine, band.coarse)}}
    return [smoothed[band.fine] - smoothed[band.coarse] for band in bands]


@dataclass(frozen=True)
class _Linearised:
    """Brightness constancy of a reference and a warped frame, linearised around the motion that it was warped by.

    products: [N, 6, h, w], means over 2 x 2 px with g the gradient of the mean of both and d their difference: g g^T
    (xx, xy, yy), -g d and d^2. noise: [N, 1, h, w], the robust variance of d over the whole picture.
    """

    products: Tensor
    noise: Tensor

    @cached_property
    def around(self) -> Tensor:
        """The mean d^2 over 5 x 5 points, [N, 1, h, w]."""
        return box(self.products[:, 5:], 5)

    def noise_at(self, *, local: bool) -> Tensor:
        """Return the noise variance, `local`: of outliers (occlusions, highlights) by their own difference."""
        return torch.maximum(self.noise, self.around) if local else self.noise

    def equations(self, motion: Tensor, noise: Tensor) -> Tensor:
        """Return J and h of single points as in `Observation`, [N, 5, h, w], for the whole motion [N, 2, h, w] px.

        noise: [N, 1, h, w], their variance.
        """
        x, y = motion[:, :1], motion[:, 1:]
        tensor = self.products[:, :3]
        jxx, jxy, jyy = tensor.split(1, 1)
        right = self.products[:, 3:5] + torch.cat([jxx * x + jxy * y, jxy * x + jyy * y], 1)
        return torch.cat([tensor, right], 1) / noise


def _sum(bands: list[_Linearised], motion: Tensor, noise: list[Tensor], factors: list[float]) -> Tensor:
    """Return the equations of all bands together, whose variance is a factor times their noise: [N, 5, h, w]."""
    parts = zip(bands, factors, noise, strict=True)
    return torch.stack([each.equations(motion, factor * own) for each, factor, own in parts]).sum(0)


def _compiled_sum(bands: list[_Linearised], motion: Tensor, noise: list[Tensor], factors: list[float]) -> Tensor:
    """Return the same on a CPU, in one pass a band."""
    from ..loops.motion import add_equations

    result = motion.new_zeros(len(motion), 5, *motion.shape[2:])
    for each, factor, own in zip(bands, factors, noise, strict=True):
        products, flow, variance = (field.contiguous().numpy() for field in (each.products, motion, own))
        add_equations(products, flow, variance, np.float32(factor), result.numpy())
    return result


def _linearised(base: Tensor, warped: Tensor, weight: Tensor | None) -> _Linearised:
    """Linearise a reference [1 or N, 1, H, W] and a warped frame [N, 1, H, W], or one band of them.

    weight: [N, 1, H / 2, W / 2], of the equations.
    """
    products = (_compiled_products if fits_loops(base, warped) else _products)(base, warped)
    squared = products[:, 5:]
    typical = median_where_seen(squared, weight)
    return _Linearised(products, (typical / CHI_SQUARED_MEDIAN + QUANTISATION).expand_as(squared))


def _products(base: Tensor, warped: Tensor) -> Tensor:
    """Return gx gx, gx gy, gy gy, -gx d, -gy d and d d as means over 2 x 2 px, [N, 6, H / 2, W / 2]."""
    difference = warped - base
    gx, gy = gradient(0.5 * (warped + base))
    pairs = ((gx, gx), (gx, gy), (gy, gy), (gx, -difference), (gy, -difference), (difference, difference))
    return torch.cat([mean_pool(one * other, 2) for one, other in pairs], 1)


def _compiled_products(base: Tensor, warped: Tensor) -> Tensor:
    """Return the same on a CPU, in a fifth of the time."""
    from ..loops.motion import pool_products

    count, _, height, width = warped.shape
    still = warped.new_zeros(1, 2, height, width)
    result = warped.new_empty(count, 6, height // 2, width // 2)
    pool_products(base.contiguous().numpy(), warped.contiguous().numpy(), still.numpy(), result.numpy())
    return result


def median_where_seen(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return the median of values [N, 1, h, w], of those that have a weight above a half: [N, 1, 1, 1].

    Of all of them, where fewer than `_LEAST_SEEN` have.
    """
    seen = None
    if weight is not None:
        seen = weight.flatten(1) > 0.5
        seen = seen | (seen.float().mean(1, keepdim=True) < _LEAST_SEEN)
    return median(values.flatten(1), seen).view(-1, 1, 1, 1)


def _unexplained_motion(seen: _Linearised) -> Tensor:
    """Return the squared motion (px^2) that would explain the remaining difference beyond noise, [N, 1, h / 4, w / 4].

    It is (d^2 - 1.5 noise) / (|g|^2 + noise) and lowers the stiffness where a thin structure (a lid, a few px wide)
    moves differently from its surroundings.
    """
    excess = (seen.around - _NOISE_FACTOR * seen.noise).clamp(min=0)
    steepness = box(seen.products[:, 0:1] + seen.products[:, 2:3], 5) + seen.noise
    return F.max_pool2d(excess / steepness, 4, ceil_mode=True)


def _stiffness(motion: Tensor, unexplained: Tensor, least: float, roughness: float) -> Tensor:
    """Return the prior's precision 1 / (roughness x (variance of the motion + unexplained + least^2)), [N, 1, h, w].

    The variance is over some 36 x 36 grid points, so that motion common to all of them (the head's own), which bends
    nothing, doesn't count.
    """
    size = _coarse_variance(motion) + unexplained + least**2
    return 1 / (roughness * resize(size, (motion.shape[2], motion.shape[3])))


def local_variance(motion: Tensor) -> Tensor:
    """Return the variance (px^2) of a motion [N, 2, h, w] over some 36 x 36 points around each: [N, 1, h, w]."""
    return resize(_coarse_variance(motion), (motion.shape[2], motion.shape[3]))


def _coarse_variance(motion: Tensor) -> Tensor:
    """Return the same on a grid of a quarter, [N, 1, h / 4, w / 4]."""
    coarse = mean_pool(motion, 4)
    return (box(coarse * coarse, 9) - box(coarse, 9) ** 2).clamp(min=0).sum(1, keepdim=True)


def high_pass(image: Tensor) -> Tensor:
    """Return what is finer than some 9 px."""
    return image - _smoothed(image, 5)


def _smoothed(image: Tensor, size: int) -> Tensor:
    """Return the image after two box filters of `size` x `size` px; itself for 1."""
    return image if size == 1 else box(box(image, size), size)


def _exposure_ratio(base: Tensor, moved: Tensor) -> Tensor:
    """Return the frames' brightness over the reference's, one factor each: [N, 1, 1, 1].

    A change of exposure is a factor under any gamma curve; the median is robust against what moves.
    """
    ratio = (mean_pool(moved, 4) + _BLACK) / (mean_pool(base, 4) + _BLACK)
    return median(ratio.flatten(1)).view(-1, 1, 1, 1)
