# SPDX-License-Identifier: GPL-3.0-or-later
"""The convolutions of published networks, with fewer multiplications and the same result: for CPUs, in float32.

A CPU convolves a 256-channel picture at nearly its peak, so that what remains is to do less. `prepare` gives a network
that is loaded equal formulations that need fewer multiplications; names, shapes and values of its tensors stay as they
were, and a network that was not prepared computes plainly, as published.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm

WIDE = 64  # channels from which Winograd's transforms are worth their time
LEAST_TILES = 64  # of 4 × 4 px, below which the transformed weights' size decides instead
LEAST_SIDE = 8  # px, likewise for doubling
FEW = 4  # output channels that leave most of a CPU's vector registers empty


class DoublingConv2d(nn.Conv2d):
    """Every pixel becomes a 2×2 square, then a 3×3 convolution: [N, C, H, W] -> [N, C', 2H, 2W]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Plainly."""
        return super().forward(F.interpolate(x, scale_factor=2, mode="nearest"))


@runtime_checkable
class Normed(Protocol):
    """A block in which batch norms directly follow convolutions."""

    def normed(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """Return these convolutions, each with the norm after it; the norm may be folded into the convolution."""
        ...


def prepare(network: nn.Module) -> None:
    """Make a loaded network that is laid out by `lay_out` fast on a CPU in float32. Its state dict stays what it is."""
    norms: dict[nn.Module, nn.BatchNorm2d] = {}
    for module in network.modules():
        if isinstance(module, Normed):
            norms.update(module.normed())
    for norm in norms.values():
        _replace_forward(norm, _unchanged)
    workspace = Workspace()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            faster = _formulation(module)
            if faster or module in norms:
                _replace_forward(module, (faster or Folded)(module, norms.get(module), workspace))


def lay_out(network: nn.Module, *, channels_last: bool = True) -> None:
    """Store 4-D weights channels last, in which CPUs and GPUs convolve fastest, and fix what is made from weights.

    A spectral norm divides its weight by its norm before every use, though the stored singular vectors never change.
    """
    for parameter in network.parameters():
        if channels_last and parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    for module in network.modules():
        for number, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, SpectralNorm):
                hook(module, ())
                del module._forward_pre_hooks[number]


def in_layout_of(x: Tensor, other: Tensor) -> Tensor:
    """Return x in the memory layout of `other`: channels last where that one is, as it came otherwise."""
    if other.is_contiguous(memory_format=torch.channels_last):
        return x.contiguous(memory_format=torch.channels_last)
    return x


def _replace_forward(module: nn.Module, forward: Callable[..., Tensor]) -> None:
    module.forward = forward


def _unchanged(x: Tensor) -> Tensor:
    return x


def _formulation(conv: nn.Conv2d) -> type[Folded] | None:
    if isinstance(conv, DoublingConv2d):
        return Doubling
    if conv.groups != 1 or conv.dilation != (1, 1) or conv.stride != (1, 1) or conv.padding_mode != "zeros":
        return None
    if conv.kernel_size == (3, 3) and conv.padding == (1, 1) and min(conv.in_channels, conv.out_channels) >= WIDE:
        return Winograd
    return RowByRow if conv.out_channels <= FEW < conv.kernel_size[0] else None


class Workspace:
    """Buffers that layers fill one after another: to be given a fresh one takes as long as to fill it."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, purpose: str, *shape: int) -> Tensor:
        """Return a float32 tensor of this shape, valid until somebody takes another one for the same purpose."""
        count = math.prod(shape)
        if purpose not in self._buffers or self._buffers[purpose].numel() < count:
            with torch.inference_mode(False):  # so that it can be filled in and out of inference mode
                self._buffers[purpose] = torch.empty(count)
        return self._buffers[purpose][:count].view(shape)


class Folded:
    """A convolution with the batch norm after it as one convolution."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, workspace: Workspace) -> None:
        self.conv = conv
        self.workspace = workspace
        self.weight, self.bias = conv.weight.data, None if conv.bias is None else conv.bias.data
        if norm is not None:
            scale = norm.weight / torch.sqrt(_given(norm.running_var) + norm.eps)
            self.weight = (self.weight * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
            self.bias = (_given(self.bias) - _given(norm.running_mean)) * scale + norm.bias

    def __call__(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        return F.conv2d(x, self.weight, self.bias, self.conv.stride, self.conv.padding)


class Doubling(Folded):
    """Doubling and 3×3 convolution as one transposed convolution: 4 multiplications a pixel and channel, not 9.

    A pixel of the doubled picture meets each pixel of the small one with the sum of the weights that fall on it.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, workspace: Workspace) -> None:
        super().__init__(conv, norm, workspace)
        out_channels, in_channels = self.weight.shape[:2]
        flipped = self.weight.flip(2, 3).reshape(-1, 1, 3, 3)
        merged = F.conv2d(flipped, torch.ones(1, 1, 2, 2), padding=1).view(out_channels, in_channels, 4, 4)
        self.merged = merged.transpose(0, 1).contiguous(memory_format=torch.channels_last)

    def __call__(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', 2H, 2W]."""
        if min(x.shape[2:]) < LEAST_SIDE:
            return super().__call__(F.interpolate(x, scale_factor=2, mode="nearest"))
        return F.conv_transpose2d(x, self.merged, self.bias, stride=2, padding=1)


class RowByRow(Folded):
    """A large convolution to few channels: each row of the kernel gives channels of its own, which are shifted and
    added. There are as many multiplications, but the vector registers are full.
    """  # noqa: D205 - one sentence

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, workspace: Workspace) -> None:
        super().__init__(conv, norm, workspace)
        rows = self.weight.permute(2, 0, 1, 3).flatten(0, 1).unsqueeze(2)  # [kernel · C', C, 1, kernel]
        self.rows = rows.contiguous(memory_format=torch.channels_last)

    def __call__(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        above, aside = (int(side) for side in self.conv.padding)
        parts = F.conv2d(F.pad(x, (0, 0, above, above)), self.rows, padding=(0, aside))
        kernel = self.conv.kernel_size[0]
        height = parts.shape[2] - kernel + 1
        summed = sum(part[:, :, row : row + height] for row, part in enumerate(parts.chunk(kernel, dim=1)))
        return summed if self.bias is None else summed + self.bias[:, None, None]  # type: ignore[return-value]


class Winograd(Folded):
    """Winograd's F(4 × 4, 3 × 3): 36 multiplications for 16 pixels instead of 144 (Lavin and Gray, CVPR 2016).

    Tiles of 6×6 px that overlap by two are taken to another basis, where the convolution is a product for each of the
    36 places, and the products back to 4×4 px. Transformed weights are four times as large; they are made when the
    first picture comes that is large enough to profit.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, workspace: Workspace) -> None:
        super().__init__(conv, norm, workspace)
        self.transformed: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        height, width = x.shape[2:]
        if height % 4 or width % 4 or len(x) * height * width < 16 * LEAST_TILES:
            return super().__call__(x)
        if self.transformed is None:
            self.transformed = _transformed(self.weight)
        channels = self.weight.shape[0]
        take, grid = self.workspace.take, (len(x), height // 4, width // 4)
        count = math.prod(grid)
        tiles = F.pad(x, (1, 1, 1, 1)).unfold(2, 6, 4).unfold(3, 6, 4).permute(4, 5, 0, 2, 3, 1)
        gathered = take("gathered", 6, 6, *grid, x.shape[1]).copy_(tiles).view(36, -1)
        inputs = torch.mm(INPUT, gathered, out=take("inputs", 36, count * x.shape[1])).view(36, count, -1)
        products = torch.bmm(inputs, self.transformed, out=take("gathered", 36, count, channels)).view(36, -1)
        pixels = torch.mm(OUTPUT, products, out=take("inputs", 16, count * channels)).view(4, 4, *grid, channels)
        y = pixels.permute(2, 3, 0, 4, 1, 5).reshape(len(x), height, width, channels)
        return (y if self.bias is None else y.add_(self.bias)).permute(0, 3, 1, 2)


def _transformed(weight: Tensor) -> Tensor:
    """[C', C, 3, 3] -> [36, C, C'], computed in float64: the transform's rounding would be in every frame."""
    wide = weight.double()
    return torch.einsum("ai,bj,ocij->abco", KERNEL, KERNEL, wide).flatten(0, 1).to(weight.dtype).contiguous()


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


# The transforms of F(4, 3) through the points 0, 1, -1, 2, -2 and infinity; of pictures they go along both axes.
_INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float32,
)
_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float32
)
KERNEL = (
    torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64) / 24
)
INPUT, OUTPUT = torch.kron(_INPUT, _INPUT), torch.kron(_OUTPUT, _OUTPUT)
