# SPDX-License-Identifier: GPL-3.0-or-later
"""Sampling pictures along motion fields with exact sub-pixel positions.

OpenCV's `remap` rounds positions to 1/32 px, which is as large as a micro-expression's motion in a small picture, so
everything that moves pixels goes through `torch.nn.functional.grid_sample`, or through `loops` on a CPU.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .device import fits_loops

STILL = 1e-5  # px; finer than float32 resolves positions in a picture of full-HD size


def pixel_grid(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the position of every pixel, [1, 2, H, W] float32 (x, y), pixel centres at integers.

    >>> pixel_grid(2, 3)[0, :, 1, 2]
    tensor([2., 1.])
    """
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack([x, y])[None]


def sample(image: Tensor, positions: Tensor) -> Tensor:
    """Return `image` [N or 1, C, H, W] at `positions` [N or 1, 2, h, w] px, bilinearly; for fields, which are smooth.

    Outside, the border is repeated.

    >>> ramp = torch.arange(4.0).expand(1, 1, 3, 4)
    >>> sample(ramp, torch.tensor([1.25, 1.0]).view(1, 2, 1, 1)).item()
    1.25
    """
    height, width = image.shape[-2:]
    count = max(image.shape[0], positions.shape[0])
    scale = positions.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)]).view(1, 2, 1, 1)
    grid = (positions * scale - 1).permute(0, 2, 3, 1).expand(count, -1, -1, -1)
    return F.grid_sample(
        image.expand(count, -1, -1, -1), grid, mode="bilinear", padding_mode="border", align_corners=True
    )


class SplineImage:
    """A picture [N, C, H, W] that can be looked up between its pixels by an interpolating cubic B-spline.

    For pictures: moved by a fraction of a pixel and back, they stay sharp. (The bicubic kernel of `grid_sample`, with
    its a = -3/4, does not even reproduce a straight ramp.) Preparing it costs about as much as looking it up once, so
    a picture that is moved often is prepared once.
    """

    def __init__(self, image: Tensor) -> None:
        self._limit = (image.shape[-1] - 1, image.shape[-2] - 1)
        self._coefficients, self._border = _spline_coefficients(image)

    def of(self, numbers: Tensor) -> SplineImage:
        """Return some of the N pictures, by number."""
        chosen = copy.copy(self)
        chosen._coefficients = self._coefficients[numbers]
        return chosen

    def displaced(self, displacement: Tensor) -> Tensor:
        """Return the picture at each pixel's place plus a displacement, [N or 1, 2, H, W] px."""
        if fits_loops(displacement, self._coefficients):
            return self._looked_up_at(displacement, displaced=True)
        height, width = displacement.shape[2:]
        return self._at(pixel_grid(height, width, displacement.device) + displacement)

    def at(self, positions: Tensor) -> Tensor:
        """Return the picture at `positions` [N or 1, 2, h, w] px; outside, the border is repeated.

        By PyTorch the sixteen taps are gathered as four bilinear ones (Sigg & Hadwiger, GPU Gems 2, chapter 20).
        """
        if fits_loops(positions, self._coefficients):
            return self._looked_up_at(positions, displaced=False)
        return self._at(positions)

    def _looked_up_at(self, positions: Tensor, *, displaced: bool) -> Tensor:
        from .loops.resampling import look_up_spline

        count = max(len(self._coefficients), len(positions))
        found = positions.new_empty(count, self._coefficients.shape[1], *positions.shape[2:])
        coefficients, places = self._coefficients.numpy(), positions.contiguous().numpy()
        look_up_spline(coefficients, self._border, places, displaced, found.numpy())
        return found

    def moved(
        self, still: Tensor, displacement: Tensor, within: Tensor, here: Tensor, turn: tuple[float, float]
    ) -> Tensor:
        """Return a part [1, 4, h, w] of this premultiplied picture on the CPU moved, see `loops.move_part`."""
        from .loops.resampling import move_part

        result = torch.empty_like(still, memory_format=torch.contiguous_format)
        motion, places, origin = (each.contiguous().numpy() for each in (displacement, within, here))
        a, b, least = np.float32(turn[0]), np.float32(turn[1]), np.float32(STILL)
        picture, border = self._coefficients.numpy(), self._border
        move_part(picture, border, motion, places, origin, a, b, least, still.numpy(), result.numpy())
        return result

    def _at(self, positions: Tensor) -> Tensor:
        count, _, height, width = positions.shape
        # Planes in the order x, x, y, y of the left, right, upper and lower pair of taps: any two of them are a view.
        places = positions.new_empty(count, 4, height, width)
        shares = positions.new_empty(count, 2, 1, height, width)  # of the right and of the lower pair
        for axis, limit in enumerate(self._limit):
            # Where between the two taps of a pair a bilinear look-up, from -1 to 1, has both in their share.
            scale = 2 / max(self._coefficients.shape[-1 - axis] - 1, 1)
            f = positions[:, axis].clamp(0, limit)
            whole = f.floor()
            f = f - whole
            square = f * f
            cube = square * f
            share = (f + square).add_(cube, alpha=-2 / 3).mul_(0.5).add_(1 / 6)
            place = whole.mul_(scale).add_((self._border - 1) * scale - 1)
            centre = torch.sub(cube, square, alpha=2).add_(4 / 3)  # twice the weight of the tap before
            places[:, 2 * axis] = torch.addcdiv(place, centre, 1 - share, value=0.5 * scale)
            places[:, 2 * axis + 1] = torch.addcdiv(place + 2 * scale, cube, share, value=scale / 6)
            shares[:, axis, 0] = share
        rows = []
        for y in (2, 3):
            before, after = (self._looked_up(places[:, x : y + 1 : y - x]) for x in (0, 1))
            rows.append(torch.lerp(before, after, shares[:, 0]))
        return torch.lerp(rows[0], rows[1], shares[:, 1])

    def _looked_up(self, places: Tensor) -> Tensor:
        """Return the coefficients at places [N or 1, 2, h, w] in [-1, 1], bilinearly."""
        image = self._coefficients
        count = max(image.shape[0], places.shape[0])
        grid = places.permute(0, 2, 3, 1).expand(count, -1, -1, -1)
        return F.grid_sample(
            image.expand(count, -1, -1, -1), grid, mode="bilinear", padding_mode="border", align_corners=True
        )


def sample_spline(image: Tensor, positions: Tensor) -> Tensor:
    """Return `image` [N or 1, C, H, W] at `positions` [N or 1, 2, h, w] px, see `SplineImage`.

    >>> wave = torch.sin(torch.arange(64.0) / 4).expand(1, 1, 64, 64)
    >>> between = sample_spline(wave, torch.tensor([20.3, 31.0]).view(1, 2, 1, 1)).item()
    >>> abs(between - math.sin(20.3 / 4)) < 1e-4
    True
    """
    return SplineImage(image).at(positions)


_SPLINE_POLE = math.sqrt(3) - 2
_SPLINE_REACH = 12  # the pole to this power is below float32's resolution of a picture
_SPLINE_BORDER = 2
_STRIP = 256  # rows that are filtered together, at most


def _spline_coefficients(image: Tensor) -> tuple[Tensor, int]:
    """Return the B-spline coefficients of `image`, mirrored at its edges, and how many px of them are around it.

    The recursive filter of Unser (1993); by PyTorch as the short convolution it amounts to, so that it runs on any
    device, summed tap by tap, which is about twice as fast as a convolution of single planes.
    """
    border = _SPLINE_REACH + _SPLINE_BORDER
    # `reflect` reaches one picture's width at most; a smaller picture is continued by repetition, which differs from
    # the mirror image only beyond its edge.
    reflect = border < min(image.shape[2:])
    if fits_loops(image):
        return _compiled_coefficients(image, border, reflect), border
    padded = F.pad(image, (border, border, border, border), mode="reflect" if reflect else "replicate")
    return _spline_filter(_spline_filter(padded, 2), 3), _SPLINE_BORDER


def _compiled_coefficients(image: Tensor, border: int, reflect: bool) -> Tensor:
    """Return the same on a CPU, of all the `border`."""
    from .loops.resampling import filter_columns

    padded = image.new_empty(*image.shape[:2], *(side + 2 * border for side in image.shape[2:]))
    planes, mode = padded.flatten(0, 1).numpy(), cv2.BORDER_REFLECT_101 if reflect else cv2.BORDER_REPLICATE
    pole, gain = np.float32(_SPLINE_POLE), np.float32(6)  # along each dimension
    for given, plane in zip(image.flatten(0, 1).numpy(), planes, strict=True):
        cv2.copyMakeBorder(given, border, border, border, border, mode, dst=plane)
        filter_columns(plane, pole, gain * gain)
        # As columns, rows are filtered side by side. Strips bound the memory.
        for rows in np.array_split(plane, math.ceil(len(plane) / _STRIP)):
            columns = cv2.transpose(rows)
            filter_columns(columns, pole, np.float32(1))
            cv2.transpose(columns, rows)
    return padded


def _spline_filter(image: Tensor, dim: int) -> Tensor:
    """Apply the filter along one dimension, which loses `_SPLINE_REACH` at either end."""
    kept = image.shape[dim] - 2 * _SPLINE_REACH
    gain = -6 * _SPLINE_POLE / (1 - _SPLINE_POLE**2)
    result = gain * image.narrow(dim, _SPLINE_REACH, kept)
    for step in range(1, _SPLINE_REACH + 1):
        both = image.narrow(dim, _SPLINE_REACH - step, kept) + image.narrow(dim, _SPLINE_REACH + step, kept)
        result = result.add_(both, alpha=gain * _SPLINE_POLE**step)
    return result


@dataclass(frozen=True)
class BackwardDisplacement:
    """The state of the fixed-point iteration when it ended.

    displacement: [N, 2, H, W] px. iterations: look-ups of the flow. residual: px, the largest change in the last one.
    tolerance: px, the residual at which it ends.
    """

    displacement: Tensor
    iterations: int
    residual: float
    tolerance: float

    @property
    def converged(self) -> bool:
        """Whether it ended for its tolerance, not for the number of its iterations."""
        return self.residual < self.tolerance


def backward_displacement(flow: Tensor, iterations: int = 6, tolerance: float = STILL) -> BackwardDisplacement:
    """Return e with e(y) = flow(y - e(y)), the displacement of each pixel y of the *moved* picture from its origin.

    flow: [N, 2, H, W] px, forward from the reference's pixels. iterations: at most; fewer where the last one has moved
    no pixel by `tolerance` px. The map is a contraction where the flow's gradient is below 1, which holds for faces.

    >>> x = torch.arange(64.0).expand(1, 1, 8, 64)
    >>> flow = torch.cat([0.1 * x, 0 * x], 1)  # a stretch by 1.1 about x = 0: what is at 33 comes from 30
    >>> found = backward_displacement(flow, iterations=12)
    >>> round(float(found.displacement[0, 0, 4, 33]), 3), found.converged
    (3.0, True)
    """
    if fits_loops(flow):
        return _compiled_displacement(flow, iterations, tolerance)
    grid = pixel_grid(flow.shape[-2], flow.shape[-1], flow.device)
    displacement, residual, count = flow, math.inf, 0
    while count < iterations and not residual < tolerance:
        before, displacement = displacement, sample(flow, grid - displacement)
        residual = float((displacement - before).abs().amax())
        count += 1
    return BackwardDisplacement(displacement, count, residual, tolerance)


def _compiled_displacement(flow: Tensor, iterations: int, tolerance: float) -> BackwardDisplacement:
    """Return the same on a CPU, where each pixel ends by itself, in a sixth of the time."""
    from .loops.resampling import displace_backwards

    found = torch.empty_like(flow, memory_format=torch.contiguous_format)
    count, residual = displace_backwards(flow.contiguous().numpy(), iterations, np.float32(tolerance), found.numpy())
    return BackwardDisplacement(found, count, float(residual), tolerance)


def move(image: Tensor, flow: Tensor) -> Tensor:
    """Return `image` [1 or N, C, H, W] with its content moved along `flow` [N, 2, H, W] px.

    Pixels that nothing has moved to or from are returned bit by bit.

    >>> wave = torch.sin(torch.arange(64.0) / 4).expand(1, 1, 64, 64)
    >>> flow = torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    >>> abs(move(wave, flow)[0, 0, 31, 31].item() - math.sin(30.5 / 4)) < 1e-4
    True
    """
    grid = pixel_grid(flow.shape[-2], flow.shape[-1], flow.device)
    displacement = backward_displacement(flow).displacement
    still = displacement.abs().amax(1, keepdim=True) < STILL
    return torch.where(still, image, sample_spline(image, grid - displacement))


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Return `flow` [N, 2, H, W] on a grid of another size, in px of that size.

    Pixel centres are at integers and the picture's outer edges coincide, as in every image resize.

    >>> resize_flow(torch.ones(1, 2, 2, 2), 4, 8)[0, :, 0, 0]
    tensor([4., 2.])
    """
    scale = flow.new_tensor([width / flow.shape[-1], height / flow.shape[-2]]).view(1, 2, 1, 1)
    if not fits_loops(flow):
        return F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False) * scale
    from .loops.resizing import resize  # in a third of the time

    result = flow.new_empty(*flow.shape[:2], height, width)
    resize((flow * scale).contiguous().numpy(), result.numpy())
    return result
