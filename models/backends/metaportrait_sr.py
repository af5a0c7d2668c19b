# SPDX-License-Identifier: GPL-3.0-or-later
"""MetaPortrait's temporal super-resolution (Zhang et al., CVPR 2023, section 3.3), written from the paper: 256 -> 512.

A face restorer after GFPGAN: a U-Net finds what the degraded face shows, as features at every size and as style codes,
and a pretrained StyleGAN2 paints the face, half of its channels scaled and shifted by these features. Against flicker,
at every size of the U-Net the features of the previous, the current and the next frame are convolved together.

Tensor names and shapes are those of the published temporal_gfpgan.pth. The noise that StyleGAN2 adds is zero here, as
the authors set it for video; its stored noise and its mapping network are in the file but not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import let_go

DOWN = (32, 64, 128, 256, 256, 256, 256, 256)  # channels at 512, 256, ... 4
UP = (256, 256, 256, 256, 256, 128, 64, 32)  # at 4, 8, ... 512
STYLE = 512
STYLEGAN = (512, 512, 512, 512, 512, 256, 128, 64)  # at 4, 8, ... 512
STYLE_CODES = 2 * len(STYLEGAN)
CLIP = 16  # frames of one pass of the published test


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, 0.2)


def frame_by_frame(step: Callable[[Tensor], Tensor], clip: Tensor) -> Tensor:
    """Apply `step`, which treats frames alone, to a clip: one after another on a CPU, where a batch is no faster and
    its intermediate tensors are what fills the memory.
    """  # noqa: D205
    return torch.cat([step(frame) for frame in clip.split(1)]) if clip.device.type == "cpu" else step(clip)


def rescale(x: Tensor, factor: float) -> Tensor:
    """Bilinear, [N, C, H, W] -> [N, C, factor · H, factor · W]."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


# ------------------------------------------------------------------------------------------------------------ U-Net


class ResBlock(nn.Module):
    """Residual block that changes the size between its two convolutions."""

    def __init__(self, in_channels: int, out_channels: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', factor · H, factor · W]."""
        y = leaky(self.conv2(rescale(leaky(self.conv1(x)), self.factor)))
        return y + self.skip(rescale(x, self.factor))


class TemporalWindow(nn.Module):
    """Adds a convolution over a frame and its neighbours; the first and the last frame are their own neighbours."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1)
        self.conv2 = nn.Conv2d(3 * channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """A clip [T, C, H, W] -> [T, C, H, W]."""
        window = torch.cat([torch.cat([x[:1], x[:-1]]), x, torch.cat([x[1:], x[-1:]])], dim=1)
        return x + frame_by_frame(lambda frame: self.conv2(leaky(self.conv1(frame))), window)


# -------------------------------------------------------------------------------------------------------- StyleGAN2


class ModulatedConv2d(nn.Module):
    """Convolution whose input channels are scaled by a style, and whose outputs keep unit variance (demodulation).

    Scaling the input and the output instead of the weight gives the same numbers, and one weight serves all frames.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, demodulate: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, out_channels, in_channels, kernel_size, kernel_size))
        self.modulation = nn.Linear(STYLE, in_channels)
        self.demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[T, C, H, W] and style codes [T, 512] -> [T, C', H, W]."""
        weight, scale = self.weight[0], self.modulation(style)
        y = F.conv2d(x * scale[:, :, None, None], weight, padding=weight.shape[-1] // 2)
        if self.demodulate:
            energy = scale.square() @ weight.square().sum(dim=(2, 3)).T  # [T, C']
            y = y * (energy + 1e-8).rsqrt()[:, :, None, None]
        return y


class StyleConv(nn.Module):
    """Modulated 3×3 convolution, bias, leaky ReLU, optionally at twice the size."""

    def __init__(self, in_channels: int, out_channels: int, upsample: bool) -> None:
        super().__init__()
        self.upsample = upsample
        self.modulated_conv = ModulatedConv2d(in_channels, out_channels, 3, demodulate=True)
        self.weight = nn.Parameter(torch.zeros(1))  # of the noise, which is zero
        self.bias = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[T, C, H, W] -> [T, C', H or 2H, W or 2W]."""
        x = rescale(x, 2.0) if self.upsample else x
        return leaky(self.modulated_conv(x, style) * math.sqrt(2) + self.bias)


class ToRGB(nn.Module):
    """Adds this size's share to the picture of the size before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv2d(channels, 3, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, smaller: Tensor | None = None) -> Tensor:
        """[T, C, H, W] and the picture [T, 3, H/2, W/2] -> [T, 3, H, W]."""
        picture = self.modulated_conv(x, style) + self.bias
        return picture if smaller is None else picture + rescale(smaller, 2.0)


class Constant(nn.Module):
    """The learnt 4×4 that every face starts from."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, STYLEGAN[0], 4, 4))


class StyleGAN2(nn.Module):
    """StyleGAN2's synthesis; half of the channels of every size are scaled and shifted by conditions."""

    def __init__(self) -> None:
        super().__init__()
        mapping = [layer for _ in range(8) for layer in (nn.Linear(STYLE, STYLE), nn.LeakyReLU(0.2))]
        self.style_mlp = nn.Sequential(nn.Identity(), *mapping)  # the codes come from the U-Net instead
        self.constant_input = Constant()
        self.style_conv1 = StyleConv(STYLEGAN[0], STYLEGAN[0], upsample=False)
        self.to_rgb1 = ToRGB(STYLEGAN[0])
        self.style_convs = nn.ModuleList()
        for before, after in pairwise(STYLEGAN):
            self.style_convs.extend([StyleConv(before, after, upsample=True), StyleConv(after, after, upsample=False)])
        self.to_rgbs = nn.ModuleList(ToRGB(channels) for channels in STYLEGAN[1:])
        self.noises = nn.Module()
        for layer in range(2 * len(STYLEGAN) - 1):
            size = 4 * 2 ** ((layer + 1) // 2)
            self.noises.register_buffer(f"noise{layer}", torch.zeros(1, 1, size, size))

    def forward(self, styles: Tensor, conditions: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Style codes [T, 16, 512] and (scale, shift) for 8, 16, ... 512 -> pictures [T, 3, 512, 512]."""
        x = self.constant_input.weight.expand(len(styles), -1, -1, -1)
        x = self.style_conv1(x, styles[:, 0])
        picture = self.to_rgb1(x, styles[:, 1])
        for level, (scale, shift) in enumerate(conditions):
            code = 2 * level + 1
            x = self.style_convs[2 * level](x, styles[:, code])
            free, conditioned = x.chunk(2, dim=1)
            x = torch.cat([free, conditioned * scale + shift], dim=1)
            x = self.style_convs[2 * level + 1](x, styles[:, code + 1])
            picture = self.to_rgbs[level](x, styles[:, code + 2], picture)
        return picture


# ------------------------------------------------------------------------------------------------------- the network


class Restored(NamedTuple):
    """frames: [T, 3, 512, 512], about [0, 1] but not clamped; style_codes: [T, 16 · 512]."""

    frames: Tensor
    style_codes: Tensor


class TemporalSuperResolution(nn.Module):
    """The whole network, under the names of `params` in the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_body_first = nn.Conv2d(3, DOWN[0], 1)
        self.conv_body_down = nn.ModuleList(ResBlock(a, b, 0.5) for a, b in pairwise(DOWN))
        self.window_down = nn.ModuleList(TemporalWindow(channels) for channels in DOWN[1:])
        self.final_conv = nn.Conv2d(DOWN[-1], UP[0], 3, padding=1)
        self.conv_body_up = nn.ModuleList(ResBlock(a, b, 2.0) for a, b in pairwise(UP))
        self.recurrent_forward = nn.ModuleList(TemporalWindow(channels) for channels in UP[1:])
        self.toRGB = nn.ModuleList(nn.Conv2d(channels, 3, 1) for channels in UP[1:])  # for training's pyramid loss
        self.final_linear = nn.Linear(UP[0] * 4 * 4, STYLE_CODES * STYLE)
        self.stylegan_decoder = StyleGAN2()
        self.condition_scale = nn.ModuleList(_condition(channels) for channels in UP[1:])
        self.condition_shift = nn.ModuleList(_condition(channels) for channels in UP[1:])

    def forward(self, clip: Tensor) -> Restored:
        """One clip [T, 3, 256, 256] in [0, 1], its frames in order."""
        x = frame_by_frame(lambda frame: leaky(self.conv_body_first(rescale(frame, 2.0) * 2 - 1)), clip)
        skips = []
        for block, window in zip(self.conv_body_down, self.window_down, strict=True):
            x = at_one_size(block, window, x)  # [T, 64, 256, 256] ... [T, 256, 4, 4]
            skips.append(x)
        x = leaky(self.final_conv(x))
        style_codes = self.final_linear(x.flatten(1))
        levels = []
        for block, window in zip(self.conv_body_up, self.recurrent_forward, strict=True):
            x = at_one_size(block, window, x + skips.pop())  # [T, 256, 8, 8] ... [T, 32, 512, 512]
            levels.append(x)
        return Restored((self._paint(style_codes, levels) + 1) / 2, style_codes)

    def _paint(self, style_codes: Tensor, levels: list[Tensor]) -> Tensor:
        """One frame after another on a CPU: a whole clip's conditions are twice as large as what they are made of."""
        styles = style_codes.unflatten(1, (STYLE_CODES, STYLE))
        if styles.device.type != "cpu":
            return self.stylegan_decoder(styles, self._conditions(levels))
        frames = (
            self.stylegan_decoder(styles[t : t + 1], self._conditions([level[t : t + 1] for level in levels]))
            for t in range(len(styles))
        )
        return torch.cat(list(frames))

    def _conditions(self, levels: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """What scales and shifts the painter's features at each size."""
        found = zip(self.condition_scale, self.condition_shift, levels, strict=True)
        return [(scale(level), shift(level)) for scale, shift, level in found]


def at_one_size(block: nn.Module, window: nn.Module, clip: Tensor) -> Tensor:
    """A size of the U-Net, for the whole clip. What its layers prepared is given back, as no other size uses it."""
    clip = window(frame_by_frame(block, clip))
    let_go(block)
    let_go(window)
    return clip


def _condition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(channels, channels, 3, padding=1)
    )
