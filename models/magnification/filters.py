# SPDX-License-Identifier: GPL-3.0-or-later
"""Linear and order filters on [N, C, H, W] fields: binomial, box, Gaussian, pooling, central differences."""

from __future__ import annotations

from functools import reduce

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..device import fits_loops


def resize(field: Tensor, size: tuple[int, int]) -> Tensor:
    """Return [N, C, H, W] resampled bilinearly to `size` (height, width), outer edges aligned.

    Displacements keep their unit; see `warp.resize_flow` for those in px of the picture.

    >>> resize(torch.tensor([[[[0.0, 1.0]]]]), (1, 4))
    tensor([[[[0.0000, 0.2500, 0.7500, 1.0000]]]])
    """
    if not fits_loops(field):
        return F.interpolate(field, size=size, mode="bilinear", align_corners=False)
    from ..loops.resizing import resize as compiled

    result = field.new_empty(*field.shape[:2], *size)
    compiled(field.contiguous().numpy(), result.numpy())
    return result


def shrink(field: Tensor, size: tuple[int, int]) -> Tensor:
    """Return [N, C, H, W] resampled bilinearly to a smaller `size` (height, width), finer detail averaged.

    >>> shrink(torch.tensor([[[[0.0, 1.0, 0.0, 1.0]]]]), (1, 2))
    tensor([[[[0.4286, 0.5714]]]])
    """
    if not any(field.stride()):
        return field[..., :1, :1].expand(*field.shape[:2], *size)
    if not fits_loops(field):
        return F.interpolate(field, size=size, mode="bilinear", antialias=True, align_corners=False)
    from ..loops.resizing import shrink_softly as compiled

    result = field.new_empty(*field.shape[:2], *size)
    compiled(field.flatten(0, 1).contiguous().numpy(), result.flatten(0, 1).numpy())
    return result


def enlarged_beside(field: Tensor, beside: Tensor) -> Tensor:
    """Return [N, C, h, w] resampled to the size of another field [N, D, H, W], and that: [N, C + D, H, W].

    On a CPU with the channels last, as convolutions have them there.

    >>> enlarged_beside(torch.tensor([[[[0.0, 1.0]]]]), torch.ones(1, 1, 1, 4))[0, :, 0]
    tensor([[0.0000, 0.2500, 0.7500, 1.0000],
            [1.0000, 1.0000, 1.0000, 1.0000]])
    """
    size = (beside.shape[2], beside.shape[3])
    if not fits_loops(field, beside):
        return torch.cat([resize(field, size), beside], 1)
    from ..loops.resizing import enlarge_beside

    result = field.new_empty(len(field), *size, field.shape[1] + beside.shape[1])
    inner, outer = (each.permute(0, 2, 3, 1).contiguous().numpy() for each in (field, beside))
    enlarge_beside(inner, outer, result.numpy())
    return result.permute(0, 3, 1, 2)


def folded(*fields: Tensor, before: Tensor | None = None, after: Tensor | None = None) -> Tensor:
    """Return fields [N, C, H, W], 2 x 2 points as 4 C channels, between fields of half the size: [N, D, H / 2, W / 2].

    before, after: [N, B, H / 2 or 1, W / 2 or 1]. In the order of `pixel_unshuffle`, with the channels last in memory.

    >>> folded(torch.arange(8.0).view(1, 1, 2, 4), after=torch.ones(1, 1, 1, 1))[0, :, 0, 0]
    tensor([0., 1., 4., 5., 1.])
    """
    count, _, height, width = fields[0].shape
    size = (height // 2, width // 2)
    around = [None if each is None else each.expand(-1, -1, *size) for each in (before, after)]
    if not fits_loops(*fields, *(each for each in around if each is not None)):
        unshuffled = [F.pixel_unshuffle(torch.cat(fields, 1), 2)]
        parts = around[:1] + unshuffled + around[1:]
        whole = torch.cat([each for each in parts if each is not None], 1)
        return whole.contiguous(memory_format=torch.channels_last)
    from ..loops.filters import fold

    begin, end = (0 if each is None else each.shape[1] for each in around)
    channels = begin + 4 * sum(each.shape[1] for each in fields) + end
    result = fields[0].new_empty(count, *size, channels)
    if around[0] is not None:
        result[..., :begin] = around[0].permute(0, 2, 3, 1)
    if around[1] is not None:
        result[..., channels - end :] = around[1].permute(0, 2, 3, 1)
    for each in fields:
        fold(each.contiguous().numpy(), begin, result.numpy())
        begin += 4 * each.shape[1]
    return result.permute(0, 3, 1, 2)


def binomial(field: Tensor) -> Tensor:
    """Return [N, C, H, W] smoothed with the separable binomial kernel (1 2 1) / 4, the border repeated.

    >>> binomial(torch.tensor([[[[0.0, 4.0, 0.0]]]]))
    tensor([[[[1., 2., 1.]]]])
    """
    field = F.pad(field, (1, 1, 1, 1), mode="replicate")
    for _ in range(2):  # (1 1) twice is (1 2 1)
        field = field[..., 1:] + field[..., :-1]
        field = field[..., 1:, :] + field[..., :-1, :]
    return field / 16


def box(field: Tensor, size: int) -> Tensor:
    """Return the mean of [N, C, H, W] over `size` x `size` px (odd), the border repeated.

    >>> box(torch.tensor([[[[0.0, 3.0, 0.0, 0.0]]]]), 3)
    tensor([[[[1., 1., 1., 0.]]]])
    """
    if fits_loops(field):
        from ..loops.filters import box as compiled

        result = torch.empty_like(field, memory_format=torch.contiguous_format)
        compiled(field.contiguous().numpy(), size, result.numpy())
        return result
    half = size // 2
    padded = F.pad(field, (half, half, half, half), mode="replicate")
    return _running_sum(_running_sum(padded, size, 3), size, 2) / size**2


def _running_sum(field: Tensor, size: int, dim: int) -> Tensor:
    """Return the sums of `size` neighbours along `dim`, from sums of 1, 2, 4 ... neighbours."""
    count = field.shape[dim] - size + 1
    total: Tensor | None = None
    length, start = 1, 0
    while True:
        if size & length:
            part = field.narrow(dim, start, count)
            total = part if total is None else total + part
            start += length
        if 2 * length > size:
            assert total is not None
            return total
        kept = field.shape[dim] - length
        field = field.narrow(dim, 0, kept) + field.narrow(dim, length, kept)
        length *= 2


def gaussian(field: Tensor, sigma: float, reach: int) -> Tensor:
    """Return [N, C, H, W] blurred by a Gaussian of `sigma` px, truncated at `reach` px, the border repeated.

    >>> impulse = torch.zeros(1, 1, 9, 9)
    >>> impulse[..., 4, 4] = 1
    >>> blurred = gaussian(impulse, sigma=1.0, reach=3)
    >>> round(float(blurred.sum()), 3), round(float(blurred.max()), 3)  # the largest is 1 / (2 pi sigma^2)
    (1.0, 0.159)
    """
    kernel = gaussian_kernel(sigma, reach).to(field)
    if field.device.type == "cpu" and not field.requires_grad:  # OpenCV's takes a tenth of the time there
        weights, planes = kernel.numpy(), field.flatten(0, 1).numpy()
        blurred = [cv2.sepFilter2D(plane, -1, weights, weights, borderType=cv2.BORDER_REPLICATE) for plane in planes]
        return torch.from_numpy(np.stack(blurred)).unflatten(0, field.shape[:2])
    padded = F.pad(field.flatten(0, 1)[:, None], (reach, reach, reach, reach), mode="replicate")
    smooth = F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return smooth[:, 0].unflatten(0, field.shape[:2])


def gaussian_kernel(sigma: float, reach: int) -> Tensor:
    """Return the weights [2 reach + 1] of a Gaussian of `sigma` px, truncated at `reach` px; their sum is 1."""
    x = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    return kernel / kernel.sum()


def mean_pool(field: Tensor, size: int) -> Tensor:
    """Return the means of [N, C, H, W] over squares of `size` x `size` px; partial ones at the far edges.

    >>> mean_pool(torch.tensor([[[[1.0, 3.0, 5.0], [1.0, 3.0, 5.0]]]]), 2)
    tensor([[[[2., 5.]]]])

    By halves as far as that goes, by which a CPU takes a fraction of the time of `avg_pool2d`.
    """
    if not any(field.stride()):
        return field[..., ::size, ::size]
    while size % 2 == 0 and field.shape[-2] % 2 == field.shape[-1] % 2 == 0:
        field = (_compiled_halves if fits_loops(field) else _halves)(field)
        size //= 2
    return field if size == 1 else F.avg_pool2d(field, size, ceil_mode=True)


def _halves(field: Tensor) -> Tensor:
    """Return the means of [N, C, H, W] over 2 x 2 px; H and W are even."""
    rows = field[..., ::2, :] + field[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def _compiled_halves(field: Tensor) -> Tensor:
    """Return the same on a CPU, in a third of the time."""
    from ..loops.filters import halve

    result = field.new_empty(*field.shape[:2], field.shape[2] // 2, field.shape[3] // 2)
    halve(field.contiguous().numpy(), result.numpy())
    return result


def pool_to(field: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the means of [N, C, H, W] over the px that each px of a smaller `size` (height, width) covers.

    Those that it covers in part count as others do.

    >>> pool_to(torch.tensor([[[[1.0, 3.0, 5.0]]]]), (1, 2))
    tensor([[[[2., 4.]]]])
    """
    if not any(field.stride()):  # a view of one number, which is its own mean
        return field[..., :1, :1].expand(*field.shape[:2], *size)
    if not fits_loops(field):
        return F.interpolate(field, size, mode="area")
    from ..loops.filters import pool_to as compiled

    result = field.new_empty(*field.shape[:2], *size)
    compiled(field.contiguous().numpy(), result.numpy())
    return result


def pool_weighted(field: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Return what `pool_to` does of a field [N or 1, C, H, W] times a weight [N or 1, 1, H, W]: [N, C, h, w].

    >>> pool_weighted(torch.tensor([[[[1.0, 3.0, 5.0]]]]), torch.tensor([[[[1.0, 1.0, 0.0]]]]), (1, 1))
    tensor([[[[1.3333]]]])
    """
    if not fits_loops(field, weight):
        return F.interpolate(field * weight, size, mode="area")
    from ..loops.filters import pool_weighted as compiled

    result = field.new_empty(max(len(field), len(weight)), field.shape[1], *size)
    compiled(field.contiguous().numpy(), weight.contiguous().numpy(), result.numpy())
    return result


def max_pool_2x2(field: Tensor) -> Tensor:
    """Return the maxima of [N, C, H, W] over squares of 2 x 2 px; H and W are even.

    >>> max_pool_2x2(torch.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]))
    tensor([[[[3.]]]])
    """
    rows = torch.maximum(field[..., ::2, :], field[..., 1::2, :])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])


def dilate(field: Tensor, size: int) -> Tensor:
    """Return the maxima of [N, C, H, W] over `size` x `size` px (odd) around each; beyond the border there is nothing.

    >>> dilate(torch.tensor([[[[0.0, 0.0, 0.0, 1.0]]]]), 3)
    tensor([[[[0., 0., 1., 1.]]]])
    """
    if not fits_loops(field):
        return F.max_pool2d(field, size, 1, size // 2)
    window = np.ones((size, size), np.uint8)  # OpenCV's takes a twentieth of the time on a CPU
    grown = [cv2.dilate(plane, window) for plane in field.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(grown)).unflatten(0, field.shape[:2])


def channel_max(field: Tensor) -> Tensor:
    """Return the largest value of any channel of [N, C, H, W]: [N, 1, H, W], in a sixth of the time of `amax`."""
    return reduce(torch.maximum, field.split(1, 1))


def kth_smallest(values: Tensor, k: int) -> Tensor:
    """Return the `k`-th smallest number, from 1, of each row of [N, P]: [N].

    >>> kth_smallest(torch.tensor([[3.0, 1.0, 2.0]]), 2)
    tensor([2.])
    """
    if not fits_loops(values):
        return values.kthvalue(k, dim=1).values
    return _ranked(values, torch.ones(1, values.shape[1], dtype=torch.bool), torch.full((len(values),), k - 1))


def median(values: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return the median of each row of [N, P], the lower one of two, NaN left out: [N].

    counted: [N, P], which of the values count, at least one of each row; by default all.

    >>> median(torch.tensor([[3.0, 1.0, 2.0, 4.0], [torch.nan, 5.0, torch.nan, torch.nan]]))
    tensor([2., 5.])
    """
    if not fits_loops(values):
        return (values if counted is None else values.masked_fill(~counted, torch.nan)).nanmedian(1).values
    counted = ~values.isnan() if counted is None else counted & ~values.isnan()
    return _ranked(values, counted, (counted.sum(1) - 1) // 2)


def _ranked(values: Tensor, counted: Tensor, ranks: Tensor) -> Tensor:
    """Return each row's number of a rank among those that are counted, on a CPU, in a third of NumPy's time."""
    from ..loops.filters import find_ranked

    result = values.new_empty(len(values))
    find_ranked(values.contiguous().numpy(), counted.contiguous().numpy(), ranks.numpy(), result.numpy())
    return result


def gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the central differences of [N, C, H, W] along x and along y, per px; half of them at the border.

    >>> x, y = gradient(torch.tensor([[[[0.0, 1.0, 4.0]]]]))
    >>> x
    tensor([[[[0.5000, 2.0000, 1.5000]]]])
    """
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (
        0.5 * (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]),
        0.5 * (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]),
    )
