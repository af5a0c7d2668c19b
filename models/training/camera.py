# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands between a face and a file: light, lens, sensor, and the video's compression."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..magnification.copied_blocks import copied_share
from ..magnification.filters import resize
from ..video import Mp4Writer
from ..warp import move
from .ingredients import Ingredients

RATE_FACTORS = (14, 28)  # x264's scale from hardly seen to plainly visible
CLEAN = 0.2  # share of the films without any noise but that of 8 bit
DARK = 0.25  # share of the films in little light
LARGER = 0.3  # share of the clips that a camera writes larger than the picture is wanted


@dataclass(frozen=True)
class Filmed:
    """Reference and frame [1, 3, H, W] as they come out of a file.

    copied: [1, 1, H, W], the share of pixels that a codec copied from the reference (`copied_share`). compressed:
    whether they were.
    """

    reference: Tensor
    frame: Tensor
    copied: Tensor
    compressed: bool


def film(
    reference: Tensor, frame: Tensor, flow: Tensor, generated: bool, shares: Ingredients, rng: np.random.Generator
) -> Filmed:
    """Return reference and frame as they come from a camera, or the frame from a generator: [1, 3, H, W], 8 bit.

    flow: [1, 2, H, W] px, the motion between them, by which the frames in between are made.
    """
    reference, frame = toned((reference, frame), rng)
    return recorded(reference, frame, flow, generated, shares, rng)


def toned(images: Sequence[Tensor], rng: np.random.Generator) -> list[Tensor]:
    """Return pictures with another contrast and brightness, the same for all of them."""
    contrast, level = rng.uniform(0.6, 1.1), rng.uniform(-0.1, 0.1)
    light = rng.uniform(0.25, 0.9) if rng.random() < DARK else 1.0
    return [(light * ((image - 0.5) * contrast + 0.5 + level)).clamp(0, 1) for image in images]


def recorded(
    reference: Tensor, frame: Tensor, flow: Tensor, generated: bool, shares: Ingredients, rng: np.random.Generator
) -> Filmed:
    """Return what `film` does, in the pictures' own tone.

    A generator draws on the clean source: its frames are soft and have a grain of their own.
    """
    if generated:
        if rng.random() < 0.8:
            frame = blurred(frame, rng.uniform(0.3, 1.2))
    elif rng.random() < 0.3:
        softness = rng.uniform(0.3, 0.9)
        reference, frame = (blurred(image, softness) for image in (reference, frame))
    light = rng.uniform(0.97, 1.03) if rng.random() < 0.3 else 1.0
    noise = 0.0 if rng.random() < CLEAN else rng.uniform(0, 3)
    clean_source = generated and rng.random() < 0.5
    noises = (0.0 if clean_source else rng.uniform(0, 3) if generated else noise, noise)
    compression = rng.random()
    clips = shares.generated_clips if generated else shares.clips
    if compression < clips:
        return _in_a_clip(reference, frame, flow, light, noises, rng)
    images = [_sensed(reference, noises[0], rng), _sensed(light * frame, noises[1], rng)]
    compressed = compression < clips + shares.stills
    if compressed:
        quality = int(rng.integers(75, 98))
        images = [jpeg(image, quality) for image in images]
    reference, frame = ((image.clamp(0, 1) * 255).round() / 255 for image in images)
    return Filmed(reference, frame, copied_share(reference, frame), compressed)


def _in_a_clip(
    reference: Tensor, frame: Tensor, flow: Tensor, light: float, noises: tuple[float, float], rng: np.random.Generator
) -> Filmed:
    """Return reference and frame out of a compressed clip: a few still frames, motion that grows, perhaps goes back."""
    size = (reference.shape[2], reference.shape[3])
    scale = rng.uniform(1.2, 1.8) if rng.random() < LARGER else 1.0
    written = (2 * round(size[0] * scale / 2), 2 * round(size[1] * scale / 2))
    held = int(rng.integers(1, 4))
    between = [move(reference, share * flow) for share in np.sort(rng.uniform(0.05, 0.95, rng.integers(1, 3)))]
    after = between[-1:] if rng.random() < 0.5 else []
    clip = [_sensed(resize(reference, written), noises[0], rng) for _ in range(held)]
    clip += [_sensed(resize(light * image, written), noises[1], rng) for image in (*between, frame, *after)]
    preset = str(rng.choice(["veryfast", "faster", "fast"]))
    decoded = h264(clip, int(rng.integers(*RATE_FACTORS)), preset)
    taken = decoded[int(rng.integers(held))], decoded[held + len(between)]
    reference, frame, copied = (
        F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
        for image in (*taken, copied_share(*taken))
    )
    return Filmed(reference, frame, copied, compressed=True)


def h264(images: Sequence[Tensor], rate_factor: int, preset: str = "fast") -> list[Tensor]:
    """Return the frames [1, 3, H, W] of a clip after H.264 at a constant rate factor, 4:2:0 as cameras write it."""
    memory = io.BytesIO()
    height, width = images[0].shape[2:]
    with Mp4Writer(memory, Fraction(30), (width, height), rate_factor, preset, threads=1, tagged=False) as writer:
        for image in images:
            writer.write(_to_array(image))
    memory.seek(0)
    with av.open(memory) as container:
        return [_from_array(frame.to_ndarray(format="rgb24") / 255) for frame in container.decode(video=0)]


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Return a picture [1, 3, H, W] after JPEG."""
    pixels = (_to_array(image.clamp(0, 1)) * 255).round().astype(np.uint8)
    coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return _from_array(cv2.imdecode(coded, cv2.IMREAD_COLOR) / 255)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Return a picture [1, 3, H, W] as an unsharp lens draws it; sigma in px."""
    return _from_array(cv2.GaussianBlur(_to_array(image), (0, 0), sigma))


def _sensed(image: Tensor, noise: float, rng: np.random.Generator) -> Tensor:
    return image + noise / 255 * torch.from_numpy(rng.standard_normal(image.shape, np.float32))


def _to_array(image: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def _from_array(image: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]
