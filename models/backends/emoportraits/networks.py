# SPDX-License-Identifier: GPL-3.0-or-later
"""EMOPortraits: Emotion-Enhanced Multimodal One-Shot Head Avatars (Drobyshev et al., CVPR 2024), after MegaPortraits
(Drobyshev et al., ACM MM 2022), written from the papers.

The source picture becomes a volume of features. Its head's pose is undone by a rigid warp and its expression by a
predicted one (xy), so that a canonical volume is left, which a 3-D U-Net refines: all this once a source. A driving
frame gives an expression vector and a head pose; the canonical volume is warped to that expression (uv), then turned to
the pose, and a decoder paints what is seen from the front.

Tensor names and shapes are those of `NNN_model.pth`, without the networks that only training needs.
"""  # noqa: D205 - the paper's title is longer than a line

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .embedders import (
    EMBEDDING,
    EMBEDDING_SIZE,
    EXPRESSION,
    ExpressionEmbedder,
    IdentityEmbedder,
)
from .layers import ResBlock, SpectralConv, StandardisedConv, group_norm
from .volumes import (
    CHANNELS,
    DEPTH,
    SIZE,
    LocalEncoder,
    SourceVolume,
    VolumeUNet,
    WarpGenerator,
)

IMAGE_SIZE = 512
DECODER_WIDTHS = (512, 320, 192, 128)


class EncodedSource(NamedTuple):
    """What is kept of the source whatever the driving frame.

    canonical: [1, 96, 16, 64, 64]; identity: [1, 512, 4, 4]; expression: [1, 128].
    """

    canonical: Tensor
    identity: Tensor
    expression: Tensor


class ImageDecoder(nn.Module):
    """From 64 px to 512 px, two residual blocks a size."""

    def __init__(self) -> None:
        super().__init__()
        self.dec_img_blocks = nn.Sequential()
        for before, after in pairwise(DECODER_WIDTHS):
            self.dec_img_blocks.append(ResBlock(2, before, after, first=StandardisedConv, resize="double"))
            self.dec_img_blocks.append(ResBlock(2, after, after, first=StandardisedConv))
        last = DECODER_WIDTHS[-1]
        self.dec_img_head = nn.Sequential(
            group_norm(last), nn.ReLU(inplace=True), StandardisedConv(2, last, 3, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """[N, 512, 64, 64] -> [N, 3, 512, 512] in (0, 1)."""
        return self.dec_img_head(self.dec_img_blocks(features))


class Decoder(nn.Module):
    """From the posed volume, seen as one stack of features, to the picture."""

    def __init__(self) -> None:
        super().__init__()
        width = DECODER_WIDTHS[0]
        blocks = [ResBlock(2, width, width, first=StandardisedConv) for _ in range(6)]
        self.res_decoder = nn.Sequential(SpectralConv(2, CHANNELS * DEPTH, width, 1), *blocks)
        self.img_decoder = ImageDecoder()

    def forward(self, volume: Tensor) -> Tensor:
        """[N, 96, 16, 64, 64] -> [N, 3, 512, 512] in (0, 1)."""
        return self.img_decoder(self.res_decoder(volume.flatten(1, 2)))


class VolumetricAvatar(nn.Module):
    """The model: `encode` a source once, `draw` it with any expression and pose."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(EMBEDDING, affine=False)  # stored in the checkpoint; only training uses it
        self.local_encoder_nw = LocalEncoder()
        self.idt_embedder_nw = IdentityEmbedder()
        self.expression_embedder_nw = ExpressionEmbedder()
        self.pose_unsqueeze_nw = nn.Linear(EXPRESSION, EMBEDDING * EMBEDDING_SIZE**2, bias=False)
        self.warp_embed_head_orig_nw = SpectralConv(2, EMBEDDING, EMBEDDING, 1)
        self.xy_generator_nw = WarpGenerator()
        self.uv_generator_nw = WarpGenerator()
        self.volume_source_nw = SourceVolume()
        self.volume_process_nw = VolumeUNet()
        self.decoder_nw = Decoder()

    def encode(self, image: Tensor, pose: Tensor, mask: Tensor | None = None) -> EncodedSource:
        """Encode the source [1, 3, 512, 512], all but the head black, with its head's pose [1, 4, 4].

        `mask` [1, 1, 512, 512] hides more of it from identity and appearance, but not from the expression.
        """
        shown = image if mask is None else image * mask
        identity = self.idt_embedder_nw(shown)
        expression = self.expression_embedder_nw(image, pose)
        volume = self.local_encoder_nw(shown).unflatten(1, (CHANNELS, DEPTH))
        volume = self.volume_source_nw(volume)
        volume = warp(volume, rigid_warp(torch.linalg.inv_ex(pose).inverse))
        volume = warp(volume, self.xy_generator_nw(self.warp_embedding(expression, identity)))
        return EncodedSource(self.volume_process_nw(volume), identity, expression)

    def draw(self, source: EncodedSource, expression: Tensor, pose: Tensor) -> Tensor:
        """Expressions [N, 128] and poses [N, 4, 4] -> pictures [N, 3, 512, 512] in (0, 1)."""
        return self.decoder_nw(self.posed(source, expression, pose))

    def posed(self, source: EncodedSource, expression: Tensor, pose: Tensor) -> Tensor:
        """The canonical volume with this expression, then in this pose: [N, 96, 16, 64, 64]."""
        to_expression = self.uv_generator_nw(self.warp_embedding(expression, source.identity))
        return warp(warp(source.canonical, to_expression), rigid_warp(pose))

    def warp_embedding(self, expression: Tensor, identity: Tensor) -> Tensor:
        """What steers a warp: expression [N, 128] and identity [1, 512, 4, 4], averaged -> [N, 512, 4, 4]."""
        spread = self.pose_unsqueeze_nw(expression).unflatten(1, (EMBEDDING, EMBEDDING_SIZE, EMBEDDING_SIZE))
        return self.warp_embed_head_orig_nw((spread + identity) * 0.5)


def rigid_warp(pose: Tensor) -> Tensor:
    """Where a head in the pose [N, 4, 4] has each place of its volume: [N, 16, 64, 64, 3]."""
    return F.affine_grid(pose[:, :3], [len(pose), 1, DEPTH, SIZE, SIZE], align_corners=True)


def warp(volume: Tensor, places: Tensor) -> Tensor:
    """Sample a volume [1 or N, C, D, H, W] at places [N, D, H, W, 3]; outside it is 0.

    The places run from -1 to 1 inclusive, yet are sampled as if between the outermost voxels' outer edges
    (align_corners is False): the networks were trained so.
    """
    return F.grid_sample(volume.expand(len(places), -1, -1, -1, -1), places, align_corners=False)
