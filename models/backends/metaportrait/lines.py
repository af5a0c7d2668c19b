# SPDX-License-Identifier: GPL-3.0-or-later
"""How MetaPortrait is given the motion: dense landmarks, joined by lines of fixed colours.

The authors' 669-point tracker was never released. Two kinds of landmarks are drawn here: theirs, joined as in the
`dense_669_connectivity.tsv` of their repository (the user adds that file with the checkpoint), and, as an
approximation, the face contours of the 478-point mesh. The colours, the way of drawing and the model's other inputs
are the same for both; but the released weights were trained on the former alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...face.mesh import FACE_OVAL, LEFT_EYE, LEFT_EYEBROW, RIGHT_EYE, RIGHT_EYEBROW
from .networks import SIZE, Driving

POINTS = 669
LINES = 616
COLOUR_STEP = 29  # of the palette: 0, 29, ... 232 in red, green and blue
MOUTH_MARGIN = 5  # px of the 256 px picture

# Both irises, each at its right, bottom, left and top; and the four landmarks whose box is the mouth's.
GAZE_OF_669 = (619, 466, 469, 464, 308, 152, 305, 150)
MOUTH_OF_669 = (541, 61, 636, 74)

# fmt: off
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
RIGHT_IRIS = (469, 470, 471, 472)
LEFT_IRIS = (474, 475, 476, 477)
NOSE = (168, 6, 197, 195, 5, 4, 1, 2)
NOSTRILS = (98, 97, 2, 326, 327)
# fmt: on
MOUTH_OF_MESH = (61, 291, 0, 17)
LOOPS = (
    FACE_OVAL, RIGHT_EYE, LEFT_EYE, RIGHT_EYEBROW, LEFT_EYEBROW, LIPS_OUTER, LIPS_INNER, RIGHT_IRIS, LEFT_IRIS,
)  # fmt: skip
CHAINS = (NOSE, NOSTRILS)


class Connectivity(nn.Module):
    """The authors' table of landmarks that are joined, kept like a part of the checkpoint: `lines` [616, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lines", torch.zeros(LINES, 2, dtype=torch.int64))

    def pairs(self) -> list[tuple[int, int]]:
        """The table as pairs of landmark numbers."""
        return [(int(a), int(b)) for a, b in self.get_buffer("lines")]


@dataclass(frozen=True)
class Layout:
    """Which landmarks are joined, which are the gaze's eight points, and which span the mouth's box."""

    pairs: Sequence[tuple[int, int]]
    gaze: Sequence[int]
    mouth: Sequence[int]


def published_layout(connectivity: Connectivity) -> Layout:
    """The authors' 669 landmarks."""
    return Layout(connectivity.pairs(), GAZE_OF_669, MOUTH_OF_669)


def mesh_layout(landmarks: NDArray[np.floating]) -> Layout:
    """The contours of the 478-point mesh; `landmarks`: [478, 2+], a neutral face's, by which each iris is upright."""
    pairs = [pair for loop in LOOPS for pair in pairwise((*loop, loop[0]))]
    pairs += [pair for chain in CHAINS for pair in pairwise(chain)]
    gaze = [point for iris in (RIGHT_IRIS, LEFT_IRIS) for point in _extremes(landmarks, iris)]
    return Layout(pairs, gaze, MOUTH_OF_MESH)


def _extremes(landmarks: NDArray[np.floating], iris: Sequence[int]) -> list[int]:
    """The rightmost, lowest, leftmost and highest of four points."""
    x, y = landmarks[list(iris), 0], landmarks[list(iris), 1]
    return [iris[int(np.argmax(values))] for values in (x, y, -x, -y)]


def palette() -> list[tuple[int, int, int]]:
    """The colour of each line: the brightest 616 of 9 × 9 × 9, in an order shuffled once for ever."""
    levels = range(0, 8 * COLOUR_STEP + 1, COLOUR_STEP)
    colours = list(product(levels, levels, levels))[-LINES:]
    random.Random(0).shuffle(colours)
    return colours


def draw(points: NDArray[np.floating], pairs: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
    """Draw points [P, 2] in [0, 1] of the picture as lines, RGB uint8 [256, 256, 3], each over the ones before."""
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels = (points * SIZE).astype(np.int32).tolist()
    for (a, b), colour in zip(pairs, palette(), strict=False):
        cv2.line(picture, pixels[a], pixels[b], colour, 1, cv2.LINE_AA)
    return picture


def mouth_mask(points: NDArray[np.floating], mouth: Sequence[int]) -> NDArray[np.uint8]:
    """The mouth's box with a margin: uint8 [256, 256], 1 inside."""
    corners = points[list(mouth)] * SIZE
    (left, top) = np.maximum(corners.min(axis=0) - MOUTH_MARGIN, 0).astype(int)
    (right, bottom) = np.maximum(corners.max(axis=0) + MOUTH_MARGIN, 0).astype(int)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[top : bottom + 1, left : right + 1] = 1
    return mask


def picture_tensor(picture: NDArray[np.uint8]) -> Tensor:
    """uint8 [H, W, 3] -> [1, 3, H, W] in [0, 1]."""
    return torch.from_numpy(picture / np.float32(255)).permute(2, 0, 1)[None].contiguous()


def describe(frames: NDArray[np.floating], layout: Layout, device: torch.device | str = "cpu") -> Driving:
    """What the model is given of N frames' landmarks [N, P, 2] in [0, 1]."""
    lines, mouths = [], []
    for points in frames:
        lines.append(picture_tensor(draw(points, layout.pairs)))
        mouths.append(torch.from_numpy(mouth_mask(points, layout.mouth)).float()[None, None])
    line = torch.cat(lines).to(device)
    gaze = torch.from_numpy(frames[:, list(layout.gaze)] * 2 - 1).float().to(device)
    return Driving(line, line * torch.cat(mouths).to(device), gaze)
