# SPDX-License-Identifier: GPL-3.0-or-later
"""The convolutions of published networks, with fewer multiplications and the same result: for CPUs, in float32.

A CPU convolves a 256-channel picture at nearly its peak, so that what remains is to do less. `prepare` gives a network
that is loaded equal formulations that need fewer multiplications; names, shapes and values of its tensors stay as they
were, and a network that was not prepared computes plainly, as published.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm

WIDE = 128  # channels from which Winograd's transforms are worth their time
LEAST_TILES = 64  # of 4 × 4 px, below which the transformed weights' size decides instead
LEAST_SIDE = 16  # px, likewise for doubling
STRIP = 2**16  # tiles times channels that are computed together: more would leave the cache
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
    workspace = Workspace()
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and (faster := _formulation(module)):
            norm = norms.get(module)
            _replace_forward(module, faster(module, norm, workspace))
            if norm is not None:
                _replace_forward(norm, _unchanged)


def let_go(network: nn.Module) -> None:
    """Give back the memory of what `prepare`d layers made from their weights; they make it anew when they need it.

    For a network that waits while another works: making it takes a fraction of the time that a picture does.
    """
    for module in network.modules():
        forward = module.__dict__.get("forward")
        if isinstance(forward, Faster):
            forward.made = forward.bias = None
            forward.workspace.clear()


def lay_out(network: nn.Module, *, channels_last: bool = True) -> None:
    """Store 4-D weights channels last, in which CPUs and GPUs convolve fastest, and fix what is made from weights.

    A spectral norm divides its weight by its norm before every use, though the stored singular vectors never change.
    Every tensor is copied: one that was read from a file keeps all of that in memory.
    """

    def copied(tensor: Tensor) -> Tensor:
        layout = torch.channels_last if channels_last and tensor.ndim == 4 else torch.contiguous_format
        return tensor.clone(memory_format=layout)

    network._apply(copied)
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


def _formulation(conv: nn.Conv2d) -> type[Faster] | None:
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

    @property
    def size(self) -> int:
        """How many numbers its buffers hold.

        >>> workspace = Workspace()
        >>> workspace.take("padded input", 2, 3).shape, workspace.size
        (torch.Size([2, 3]), 6)
        """
        return sum(buffer.numel() for buffer in self._buffers.values())

    def clear(self) -> None:
        """Give the buffers' memory back."""
        self._buffers.clear()

    def take(self, purpose: str, *shape: int) -> Tensor:
        """Return a float32 tensor of this shape, valid until somebody takes another one for the same purpose."""
        count = math.prod(shape)
        if purpose not in self._buffers or self._buffers[purpose].numel() < count:
            with torch.inference_mode(False):  # so that it can be filled in and out of inference mode
                self._buffers[purpose] = torch.empty(count)
        return self._buffers[purpose][:count].view(shape)


class Faster(ABC):
    """A convolution, and the batch norm after it if there is one, computed in another way.

    What is made from the weights is made when the first picture comes that profits, as it takes memory.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, workspace: Workspace) -> None:
        self.conv = conv
        self.norm = norm
        self.workspace = workspace
        self.made: Tensor | None = None
        self.bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> what the convolution gives, normed."""
        if not self.profits(x):
            y = type(self.conv).forward(self.conv, x)
            return y if self.norm is None else type(self.norm).forward(self.norm, y)
        if self.made is None:
            weight, self.bias = self._folded()
            self.made = self.make(weight)
        return self.compute(x, self.made)

    def profits(self, x: Tensor) -> bool:
        """Whether a picture is large enough."""
        return True

    @abstractmethod
    def make(self, weight: Tensor) -> Tensor:
        """Return what `compute` needs, from the weight with the norm folded in."""

    @abstractmethod
    def compute(self, x: Tensor, made: Tensor) -> Tensor:
        """Convolve."""

    def _folded(self) -> tuple[Tensor, Tensor | None]:
        weight, bias = self.conv.weight.data, None if self.conv.bias is None else self.conv.bias.data
        if self.norm is None:
            return weight, bias
        scale = self.norm.weight / torch.sqrt(_given(self.norm.running_var) + self.norm.eps)
        shift = self.norm.bias - _given(self.norm.running_mean) * scale
        return weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift


class Doubling(Faster):
    """Doubling and 3×3 convolution as one transposed convolution: 4 multiplications a pixel and channel, not 9.

    A pixel of the doubled picture meets each pixel of the small one with the sum of the weights that fall on it.
    """

    def profits(self, x: Tensor) -> bool:
        """Below this, the merged weights are larger than the picture."""
        return min(x.shape[2:]) >= LEAST_SIDE

    def make(self, weight: Tensor) -> Tensor:
        """[C', C, 3, 3] -> [C, C', 4, 4]."""
        merged = F.pad(weight.flip(2, 3), (1, 1, 1, 1))
        merged = merged[:, :, 1:, 1:] + merged[:, :, 1:, :-1] + merged[:, :, :-1, 1:] + merged[:, :, :-1, :-1]
        return merged.transpose(0, 1).contiguous(memory_format=torch.channels_last)

    def compute(self, x: Tensor, made: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', 2H, 2W]."""
        return F.conv_transpose2d(x, made, self.bias, stride=2, padding=1)


class RowByRow(Faster):
    """A large convolution to few channels: each row of the kernel gives channels of its own, which are shifted and
    added. There are as many multiplications, but the vector registers are full.
    """  # noqa: D205 - one sentence

    def make(self, weight: Tensor) -> Tensor:
        """[C', C, kernel, kernel] -> [kernel · C', C, 1, kernel]."""
        rows = weight.permute(2, 0, 1, 3).flatten(0, 1).unsqueeze(2)
        return rows.contiguous(memory_format=torch.channels_last)

    def compute(self, x: Tensor, made: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        parts = F.conv2d(x, made, padding=self.conv.padding).chunk(made.shape[-1], dim=1)
        height = parts[0].shape[2] - made.shape[-1] + 1
        summed = torch.stack([part[:, :, row : row + height] for row, part in enumerate(parts)]).sum(dim=0)
        return summed if self.bias is None else summed + self.bias[:, None, None]


class Winograd(Faster):
    """Winograd's F(4 × 4, 3 × 3): 36 multiplications for 16 pixels instead of 144 (Lavin and Gray, CVPR 2016).

    Tiles of 6×6 px that overlap by two are taken to another basis, where the convolution is a product for each of the
    36 places, and the products back to 4×4 px. The transformed weights are four times as large.
    """

    def profits(self, x: Tensor) -> bool:
        """Pictures of whole tiles, enough of them."""
        count, _, height, width = x.shape
        return height % 4 == 0 and width % 4 == 0 and count * height * width >= 16 * LEAST_TILES

    def make(self, weight: Tensor) -> Tensor:
        """[C', C, 3, 3] -> [36, C, C']."""
        channels_out, channels = weight.shape[:2]
        return (KERNEL @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(36, channels, channels_out)

    def compute(self, x: Tensor, made: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        count, channels, height, width = x.shape
        outputs = made.shape[-1]
        tiles = F.pad(x, (1, 1, 1, 1)).unfold(2, 6, 4).unfold(3, 6, 4).permute(4, 5, 0, 2, 3, 1)
        y = x.new_empty(count, height // 4, 4, width // 4, 4, outputs)
        rows = max(1, STRIP // (count * width // 4 * max(channels, outputs)))
        for strip in (slice(top, top + rows) for top in range(0, height // 4, rows)):
            pixels = self._strip(tiles[:, :, :, strip], made).permute(2, 3, 0, 4, 1, 5)
            if self.bias is None:
                y[:, strip] = pixels
            else:
                torch.add(pixels, self.bias, out=y[:, strip])
        return y.view(count, height, width, outputs).permute(0, 3, 1, 2)

    def _strip(self, tiles: Tensor, made: Tensor) -> Tensor:
        """[6, 6, N, h, w, C] -> [4, 4, N, h, w, C'], valid until the next strip."""
        take, grid, outputs = self.workspace.take, tiles.shape[2:5], made.shape[-1]
        places = grid.numel()
        gathered = take("gathered", *tiles.shape).copy_(tiles).view(36, -1)
        inputs = torch.mm(INPUT, gathered, out=take("inputs", *gathered.shape)).view(36, places, -1)
        products = torch.bmm(inputs, made, out=take("gathered", 36, places, outputs)).view(36, -1)
        return torch.mm(OUTPUT, products, out=take("inputs", 16, places * outputs)).view(4, 4, *grid, outputs)


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


# The transforms of F(4, 3) through the points 0, 1, -1, 2, -2 and infinity, along both axes of a picture.
_INPUT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_KERNEL = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]  # in 24ths
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def _along_both_axes(rows: list[list[int]], parts: int = 1) -> Tensor:
    matrix = torch.tensor(rows, dtype=torch.float64) / parts
    return torch.kron(matrix, matrix).float()


INPUT, KERNEL, OUTPUT = _along_both_axes(_INPUT), _along_both_axes(_KERNEL, 24), _along_both_axes(_OUTPUT)
