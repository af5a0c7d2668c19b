# SPDX-License-Identifier: GPL-3.0-or-later
"""FSRT: Facial Scene Representation Transformer (Rochow, Schwarz, Behnke, CVPR 2024), written from the paper.

A face is described by factors: its keypoints (head pose), a 256-d latent vector (facial expression), and a set of
tokens (appearance). The encoder turns one or several source pictures, each with its own keypoints and expression, into
the token set. The decoder answers queries: what colour has this place of the picture, for these keypoints and this
expression? Every pixel is a query of its own, so a picture can be asked for at any density and in chunks of any size.

The authors state no licence for code or weights. This is an independent implementation; tensor names and shapes are
those of their vox256.pt and kp_detector.pt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...backend_bridge.backends import find_backend
from ...backend_bridge.files.errors import InputError
from .base import DrivingBatch, FaceImage
from .fomm import K, KeypointDetector, Keypoints, movement_scale, relative_keypoints
from .framing import DetectorFraming, Framing
from .options import files_option, speed_option
from .precision import like_weights
from .preprocess import resize
from .published import PublishedBackend, PublishedOptions

SIZE = 256
EXPRESSION = 256
HEADS, HEAD_WIDTH = 12, 64
PIXEL_OCTAVES = range(-1, 15)
KEYPOINT_OCTAVES = range(-1, 3)
PIXEL_CODE = 2 * 2 * len(PIXEL_OCTAVES)  # sine and cosine of x and y: 64
KEYPOINT_CODE = 2 * 2 * K * len(KEYPOINT_OCTAVES)  # 160
QUERY = KEYPOINT_CODE + PIXEL_CODE + EXPRESSION  # 480

Memory = Sequence[tuple[Tensor, ...]]  # keys and values of the source's tokens, for each layer


class Pose(NamedTuple):
    """The factors that move: keypoints [N, K, 2] in [-1, 1] and expression [N, 256]."""

    keypoints: Tensor
    expression: Tensor


# ------------------------------------------------------------------------------------------- positional encoding


def positional_encoding(coordinates: Tensor, octaves: range) -> Tensor:
    """Fourier features: sines of 2^k π x for every coordinate x and octave k, then the cosines.

    [..., D] -> [..., 2 D len(octaves)]. In float32 even for 2^14 π, as the networks were trained with its rounding.
    """
    frequencies = torch.tensor([2.0**k * math.pi for k in octaves], dtype=torch.float32, device=coordinates.device)
    angles = (coordinates.float()[..., None] * frequencies).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def pixel_coordinates(size: int, like: Tensor) -> Tensor:
    """Return [size, size, 2] centres (x, y) of a picture's pixels; its edges are at -1 and 1."""
    centres = (torch.arange(size, dtype=torch.float32, device=like.device) + 0.5 - size / 2) / (size / 2)
    return torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)


# ---------------------------------------------------------------------------------------------------- transformers


def split_heads(x: Tensor) -> Tensor:
    """[N, T, heads · width] -> [N, heads, T, width]."""
    return x.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Scaled dot-product attention of [N, heads, T, width]; returns [N, T, heads · width]."""
    return F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(dim, 3 * HEADS * HEAD_WIDTH, bias=False)
        self.to_out = nn.Sequential(nn.Linear(HEADS * HEAD_WIDTH, dim))

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, dim] -> [N, T, dim]."""
        queries, keys, values = map(split_heads, self.to_qkv(x).chunk(3, dim=-1))
        return self.to_out(attend(queries, keys, values))


class CrossAttention(nn.Module):
    """Multi-head attention of queries to the source's tokens, whose keys and values are computed once a source."""

    def __init__(self, dim: int, token_dim: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, HEADS * HEAD_WIDTH, bias=False)
        self.to_kv = nn.Linear(token_dim, 2 * HEADS * HEAD_WIDTH, bias=False)
        self.to_out = nn.Sequential(nn.Linear(HEADS * HEAD_WIDTH, dim))

    def remember(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [1, T, token_dim] -> their keys and values, [1, heads, T, width] each."""
        keys, values = map(split_heads, self.to_kv(tokens).chunk(2, dim=-1))
        return keys.contiguous(), values.contiguous()

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[N, Q, dim] -> [N, Q, dim]."""
        return self.to_out(attend(split_heads(self.to_q(x)), keys, values))


class FeedForward(nn.Module):
    """Linear, GELU, linear; the third place is the dropout of training."""

    def __init__(self, dim: int, hidden: int = 1536) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, dim] -> [N, T, dim]."""
        return self.net(x)


class PreNorm(nn.Module):
    """A residual branch that begins with layer norm; what is attended to is not normalised."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor, *memory: Tensor) -> Tensor:
        """[N, T, dim] -> [N, T, dim]."""
        return x + self.fn(self.norm(x), *memory)


class Transformer(nn.Module):
    """Layers of attention and feed-forward, without a norm at the end; crosswise where `token_dim` is given."""

    def __init__(self, dim: int, depth: int, token_dim: int | None = None) -> None:
        super().__init__()
        self.layers: Any = nn.ModuleList()  # of pairs
        for _ in range(depth):
            attention = SelfAttention(dim) if token_dim is None else CrossAttention(dim, token_dim)
            self.layers.append(nn.ModuleList([PreNorm(dim, attention), PreNorm(dim, FeedForward(dim))]))

    def remember(self, tokens: Tensor) -> Memory:
        """Keys and values of the tokens for every cross-attention layer."""
        return [attention.fn.remember(tokens) for attention, _ in self.layers]

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """[N, T, dim] -> [N, T, dim]."""
        for (attention, feed_forward), kv in zip(self.layers, memory or [()] * len(self.layers), strict=True):
            x = feed_forward(attention(x, *kv))
        return x


# ---------------------------------------------------------------------------------------------------- the networks


class ExpressionEncoder(nn.Module):
    """From the keypoint detector's features around each keypoint to one vector of the expression."""

    def __init__(self, in_channels: int = 35, per_keypoint: int = 32) -> None:
        super().__init__()
        width = K * per_keypoint
        self.expression = nn.Conv2d(in_channels, width, 7)
        self.expression_mlp = mlp(width, 640, 1280, 640, EXPRESSION)

    def forward(self, features: Tensor, heatmap: Tensor) -> Tensor:
        """Features [N, 35, 64, 64] and heat maps [N, K, 58, 58] -> [N, 256]."""
        maps = self.expression(features).unflatten(1, (K, -1))  # [N, K, 32, 58, 58]
        return self.expression_mlp((maps * heatmap[:, :, None]).sum(dim=(3, 4)).flatten(1))


class ConvBlock(nn.Module):
    """Two 3×3 convolutions with ReLU, the second with stride 2."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, out_channels, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H/2, W/2]."""
        return self.layers(x)


class Encoder(nn.Module):
    """From S source pictures of one person to a set of S · 1024 tokens."""

    def __init__(self, dim: int = 768) -> None:
        super().__init__()
        self.conv_blocks = nn.Sequential(
            ConvBlock(3 + QUERY, 96, 192),
            ConvBlock(192, 192, 384),
            ConvBlock(384, 384, dim),
        )
        self.per_patch_linear = nn.Conv2d(dim, dim, 1)
        self.transformer = Transformer(dim, depth=5)

    def forward(self, images: Tensor, poses: Pose) -> Tensor:
        """Pictures [S, 3, 256, 256] in [0, 1] and the pose of each -> tokens [1, S · 1024, 768].

        The pictures go through the convolutions one by one and through the transformer together.
        """
        x = torch.cat([images, self.positions(images, poses), _over_picture(poses.expression, images)], dim=1)
        patches = self.per_patch_linear(self.conv_blocks(x))  # [S, 768, 32, 32]
        return self.transformer(patches.permute(0, 2, 3, 1).flatten(0, 2)[None])

    @staticmethod
    def positions(images: Tensor, poses: Pose) -> Tensor:
        """Encoded keypoints, the same at every pixel, and encoded pixel coordinates: [S, 224, 256, 256]."""
        keypoints = positional_encoding(poses.keypoints.flatten(1), KEYPOINT_OCTAVES)
        pixels = positional_encoding(pixel_coordinates(images.shape[-1], images), PIXEL_OCTAVES).permute(2, 0, 1)
        return torch.cat([_over_picture(keypoints, images), pixels.expand(len(images), -1, -1, -1)], dim=1)


def _over_picture(vectors: Tensor, images: Tensor) -> Tensor:
    return vectors[:, :, None, None].expand(-1, -1, *images.shape[2:])


class AllocationTransformer(nn.Module):
    """Gathers from the tokens what each query needs."""

    def __init__(self, token_dim: int) -> None:
        super().__init__()
        self.input_mlp = mlp(QUERY, 720, QUERY)
        self.transformer = Transformer(QUERY, depth=2, token_dim=token_dim)

    def forward(self, queries: Tensor, memory: Memory) -> Tensor:
        """[N, Q, 480] -> [N, Q, 480]."""
        return self.transformer(self.input_mlp(queries), memory)


class Decoder(nn.Module):
    """From queries to colours."""

    def __init__(self, token_dim: int = 768) -> None:
        super().__init__()
        self.allocation_transformer = AllocationTransformer(token_dim)
        self.render_mlp = mlp(QUERY, 1536, 1536, 1536, 1536, 3)

    def remember(self, tokens: Tensor) -> Memory:
        """Prepare the source's tokens [1, T, 768] for being asked."""
        return self.allocation_transformer.transformer.remember(tokens)

    def forward(self, queries: Tensor, memory: Memory) -> Tensor:
        """Queries [1, Q, 480] -> RGB [1, Q, 3], about [0, 1] but not clamped."""
        return self.render_mlp(self.allocation_transformer(queries, memory))


def make_queries(coordinates: Tensor, pose: Pose) -> Tensor:
    """Coordinates [Q, 2] and one driving pose -> [1, Q, 480]."""
    keypoints = positional_encoding(pose.keypoints.flatten(1), KEYPOINT_OCTAVES)
    pixels = positional_encoding(coordinates, PIXEL_OCTAVES)
    count = len(coordinates)
    return torch.cat([keypoints.expand(count, -1), pixels, pose.expression.expand(count, -1)], dim=-1)[None]


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# ----------------------------------------------------------------------------------------------------- the backend


@dataclass(frozen=True)
class FsrtOptions(PublishedOptions):
    """How to drive and how finely to render.

    `relative`: transfer the keypoints' change since the reference (the expression is always the driver's own).
    `adapt_movement_scale`: multiply it by how much larger the avatar's face is.
    `best_frame`: take for reference the driving frame that is posed most like the avatar, not one at rest.
    `draft`: ask for one pixel in every draft × draft square and interpolate: 4 costs a sixteenth.
    `more_sources`: files with further pictures of the avatar; what one does not show another may.
    `chunk`: queries a pass; it bounds the memory and changes neither the result nor, on a CPU, the speed.
    """

    relative: bool = True
    adapt_movement_scale: bool = True
    best_frame: bool = False
    more_sources: tuple[str, ...] = files_option()
    draft: Literal[1, 2, 4, 8, 16] = 1
    chunk: int = speed_option(8192)

    def __post_init__(self) -> None:
        if self.draft not in (1, 2, 4, 8, 16) or self.chunk < 1:
            raise InputError("FSRT's draft must be 1, 2, 4, 8 or 16, and its chunk at least 1.")


class FsrtState(NamedTuple):
    """The avatar's tokens, ready to be asked, and both neutral frames' keypoints."""

    memory: Memory
    source: Keypoints
    reference: Keypoints
    scale: float


class Fsrt(PublishedBackend):
    """FSRT as a backend; parts `encoder`, `decoder`, `expression_encoder` and `kp_detector`."""

    info = find_backend("fsrt")
    Options = FsrtOptions
    painting = ("decoder",)

    @property
    def framing(self) -> Framing:
        """The crop of the authors' `crop-video.py`."""
        return DetectorFraming()

    @classmethod
    def build_parts(cls) -> dict[str, nn.Module]:
        """The four networks of the two published files."""
        return {
            "kp_detector": KeypointDetector(with_jacobian=False),
            "encoder": Encoder(),
            "decoder": Decoder(),
            "expression_encoder": ExpressionEncoder(),
        }

    @torch.inference_mode()
    def encode_source(self, source: FaceImage, reference: FaceImage, *more: FaceImage) -> FsrtState:
        """Encode one picture of the avatar, or several (`more`): what one does not show another may."""
        images = torch.cat([self._prepared(face.image) for face in (source, *more)])
        poses = self.pose(images)
        first = Keypoints(poses.keypoints[:1], None)
        neutral = Keypoints(self.pose(self._prepared(reference.image)).keypoints, None)
        scale = movement_scale(first, neutral) if self.options.adapt_movement_scale else 1.0
        tokens = like_weights(self.encoder(images, poses), self.decoder)
        return FsrtState(self.decoder.remember(tokens), first, neutral, scale)

    def pose(self, images: Tensor) -> Pose:
        """Keypoints and expression of pictures [N, 3, 256, 256]."""
        features = self.kp_detector.predictor(self.kp_detector.down(images))
        keypoints, heatmap = self.kp_detector.locate(features)
        return Pose(keypoints.value, self.expression_encoder(features, heatmap))

    def generate(self, state: FsrtState, driving: DrivingBatch) -> Tensor:
        """N driving frames -> [N, 3, 256, 256]."""
        poses = self.pose(self._prepared(driving.frames))
        keypoints = poses.keypoints
        if self.options.relative:
            absolute = Keypoints(keypoints, None)
            keypoints = relative_keypoints(state.source, absolute, state.reference, state.scale).value
        rows = zip(keypoints.split(1), poses.expression.split(1), strict=True)
        return torch.cat([self.render(state.memory, Pose(*row)) for row in rows])

    def render(self, memory: Memory, pose: Pose) -> Tensor:
        """One picture [1, 3, 256, 256] for one driving pose; a draft has some of its pixels only."""
        step = self.options.draft
        some = pixel_coordinates(SIZE, pose.keypoints)[step // 2 :: step, step // 2 :: step]
        colours = self.ask(memory, pose, some.flatten(0, 1)).clamp(0, 1)
        picture = colours.T.unflatten(1, some.shape[:2])[None]
        return picture if step == 1 else _interpolated(picture, step)

    def ask(self, memory: Memory, pose: Pose, coordinates: Tensor) -> Tensor:
        """Colours [Q, 3], not clamped, at coordinates [Q, 2] in [-1, 1], a chunk at a time."""
        chunks = coordinates.split(self.options.chunk)
        queries = (like_weights(make_queries(chunk, pose), self.decoder) for chunk in chunks)
        return torch.cat([self.decoder(each, memory)[0].float() for each in queries])

    def _prepared(self, image: Tensor) -> Tensor:
        return resize(image.to(self.device, torch.float32), SIZE).contiguous(memory_format=torch.channels_last)


def _interpolated(picture: Tensor, step: int) -> Tensor:
    """Pixels [step // 2 :: step] of a picture -> the picture, bilinear between them.

    The pixels asked for are pixels of the full picture, not centres of squares: between pixel centres the encoding's
    high octaves take values that training never showed.
    """
    n = picture.shape[-1]
    place = (torch.arange(n * step, device=picture.device) - step // 2) / step * (2 / (n - 1)) - 1
    grid = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1)[None]
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=True)
