# SPDX-License-Identifier: GPL-3.0-or-later
"""What the magnifier promises, with or without trained weights."""

from __future__ import annotations

import math

import cv2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from magplus.models.magnification import Magnifier, Motion
from magplus.models.warp import move

NOISE = 2 / 255
UNSEEN = 0.0125  # px; magnified by eight, a tenth of a pixel


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """A smooth random picture with detail at several scales: [1, 3, height, width]."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.full((1, 3, height, width), 0.5)
    for period, contrast in ((40, 0.12), (14, 0.08), (6, 0.06), (4, 0.06)):
        cells = (round(height / period) + 1, round(width / period) + 1)
        coarse = torch.randn(1, 3, *cells, generator=generator)
        picture += contrast * torch.nn.functional.interpolate(
            coarse, size=(height, width), mode="bicubic", align_corners=False
        )
    return picture.clamp(0, 1)


def bump(height: int, width: int, peak: tuple[float, float], sigma: float = 0.12) -> Tensor:
    """A muscle-like displacement around the middle: [1, 2, height, width] px."""
    y, x = torch.meshgrid(torch.arange(height) - height / 2, torch.arange(width) - width / 2, indexing="ij")
    weight = torch.exp(-0.5 * (x**2 + y**2) / (sigma * width) ** 2)
    return torch.stack([peak[0] * weight, peak[1] * weight])[None]


def filmed(picture: Tensor, seed: int, noise: float = NOISE) -> Tensor:
    """Sensor noise and 8-bit rounding."""
    generator = torch.Generator().manual_seed(seed)
    return ((picture + noise * torch.randn(picture.shape, generator=generator)).clamp(0, 1) * 255).round() / 255


def relative_error(estimate: Tensor, truth: Tensor) -> float:
    moving = truth.norm(dim=1) > 0.05 * truth.norm(dim=1).max()
    return float((estimate - truth).norm(dim=1)[moving].sum() / truth.norm(dim=1)[moving].sum())


@pytest.fixture(scope="module", params=["magplus", "demagplus"])
def magnifier(request: pytest.FixtureRequest) -> Magnifier:
    return Magnifier.load(request.param, device="cpu")


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor, Tensor]:
    """A reference, a frame that moved by half a pixel, and the motion."""
    picture, displacement = texture(256, 256), bump(256, 256, (0.4, -0.3))
    return filmed(picture, 1), filmed(move(picture, displacement), 2), displacement


@pytest.mark.parametrize("peak", [(0.5, 0.0), (-0.7, 0.7), (0.0, 3.0), (6.0, 0.0)])
def test_known_motion_is_recovered(magnifier: Magnifier, peak: tuple[float, float]) -> None:
    picture, displacement = texture(256, 200), bump(256, 200, peak, sigma=0.2)
    motion = magnifier.motion(picture, move(picture, displacement))
    assert relative_error(motion.flow, displacement) < 0.06


@pytest.mark.parametrize("peak", [(0.2, 0.15), (0.5, 0.0), (-0.7, 0.7)])
def test_noise_disturbs_it_less_than_a_patch_search(magnifier: Magnifier, peak: tuple[float, float]) -> None:
    picture, displacement = texture(256, 200), bump(256, 200, peak)
    reference, frame = filmed(picture, 1), filmed(move(picture, displacement), 2)
    grey = [
        cv2.cvtColor((255 * image[0].permute(1, 2, 0).numpy()).astype("uint8"), cv2.COLOR_RGB2GRAY)
        for image in (reference, frame)
    ]
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
    theirs = relative_error(torch.from_numpy(search).permute(2, 0, 1)[None], displacement)
    assert relative_error(magnifier.motion(reference, frame).flow, displacement) < theirs


@pytest.mark.parametrize(("role", "limit"), [("magplus", 0.02), ("demagplus", 0.1)])  # px
def test_a_still_picture_stays_still(role: str, limit: float) -> None:
    picture = texture(256, 256)
    motion = Magnifier.load(role, "cpu").motion(filmed(picture, 1), filmed(picture, 2))  # type: ignore[arg-type]
    assert motion.flow.norm(dim=1).mean() < limit


def test_alpha_multiplies_the_motion(magnifier: Magnifier, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, displacement = pair
    for alpha in (0.5, 4.0):
        again = magnifier.motion(reference, magnifier.apply(reference, frame, alpha))
        assert relative_error(again.flow, alpha * displacement) < 0.2


def test_alpha_one_returns_the_frame_exactly(magnifier: Magnifier, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, _ = pair
    assert torch.equal(magnifier.apply(reference, frame, 1.0), frame)
    assert torch.equal(magnifier.apply(reference, frame, 1.0, region=torch.ones(1, 1, 256, 256)), frame)


def test_alpha_towards_zero_returns_the_reference(magnifier: Magnifier, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, _ = pair
    assert (magnifier.apply(reference, frame, 1e-4) - reference).abs().max() < 1e-3


def test_the_region_decides_where(magnifier: Magnifier, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, _ = pair
    region = torch.full((1, 1, 256, 256), 1 / 8)
    region[..., :128] = 1
    result = magnifier.apply(reference, frame, 8.0, region=region)
    assert torch.equal(result[..., 160:], frame[..., 160:])
    assert (result - frame)[..., :120].abs().max() > 0.05


def test_head_motion_is_removed_not_magnified(magnifier: Magnifier) -> None:
    picture, local = texture(256, 256), bump(256, 256, (0.5, 0.0))
    rigid = torch.zeros_like(local)
    rigid[:, 1] = 2.0
    frame = move(picture, local + rigid)
    result = magnifier.apply(picture, frame, 4.0, rigid=rigid)
    assert (
        relative_error(magnifier.motion(picture, result).flow[..., 16:-16, 16:-16], 4 * local[..., 16:-16, 16:-16])
        < 0.3
    )


def test_the_limit_spares_large_motion(magnifier: Magnifier) -> None:
    picture, displacement = texture(128, 128), bump(128, 128, (3.0, 0.0), sigma=0.2)
    motion = Motion(displacement, torch.ones(1, 1, 128, 128))
    result = magnifier.apply(picture, move(picture, displacement), 8.0, motion=motion, limit=6.0)
    assert magnifier.motion(picture, result).flow.norm(dim=1).max() < 10


def test_light_changes_are_not_motion(magnifier: Magnifier, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, _ = pair
    steady = magnifier.motion(reference, frame).flow
    flickering = magnifier.motion(reference, (frame * 1.06).clamp(0, 1)).flow
    assert (steady - flickering).norm(dim=1).mean() < UNSEEN


def test_a_batch_equals_its_frames_alone(magnifier: Magnifier, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, _ = pair
    frames = torch.cat([frame, reference, frame.flip(1)])
    together = magnifier.apply(reference, frames, 4.0)
    alone = torch.cat([magnifier.apply(reference, each[None], 4.0) for each in frames])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("role", ["magplus", "demagplus"])
def test_half_precision_sees_the_same_motion(role: str, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, displacement = pair
    single, half = (
        Magnifier.load(role, "cpu", precision=precision).motion(reference, frame).flow  # type: ignore[arg-type]
        for precision in (torch.float32, torch.bfloat16)
    )
    assert half.dtype == torch.float32
    assert (single - half).norm(dim=1).mean() < 0.02 * displacement.norm(dim=1).max()
    with pytest.raises(ValueError, match="float32 or"):
        Magnifier(torch.device("cpu"), precision=torch.float16)


def test_the_same_twice(magnifier: Magnifier, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, _ = pair
    assert torch.equal(magnifier.motion(reference, frame).flow, magnifier.motion(reference, frame).flow)


def test_mirrored_pictures_have_mirrored_motion(magnifier: Magnifier, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, _ = pair
    flow = magnifier.motion(reference, frame).flow
    mirrored = magnifier.motion(reference.flip(3), frame.flip(3)).flow.flip(3)
    mirrored[:, 0] *= -1
    assert (flow - mirrored).norm(dim=1).mean() < UNSEEN


def test_the_order_of_the_colours_does_not_matter(magnifier: Magnifier, pair: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, frame, _ = pair
    result = magnifier.apply(reference, frame, 4.0)
    assert torch.allclose(magnifier.apply(reference.flip(1), frame.flip(1), 4.0).flip(1), result, atol=1e-4)


def test_shifted_pictures_have_shifted_motion(magnifier: Magnifier) -> None:
    picture, displacement = texture(272, 272), bump(272, 272, (0.6, -0.4))
    reference, frame = filmed(picture, 1), filmed(move(picture, displacement), 2)
    flow = magnifier.motion(reference[..., :256, :256], frame[..., :256, :256]).flow[..., 32:, 32:]
    shifted = magnifier.motion(reference[..., 16:, 16:], frame[..., 16:, 16:]).flow[..., 16:-16, 16:-16]
    assert (flow - shifted).norm(dim=1).mean() < UNSEEN


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (71, 130), (200, 64), (270, 258), (400, 448)])
def test_any_size(magnifier: Magnifier, size: tuple[int, int]) -> None:
    picture, displacement = texture(*size), bump(*size, (0.6, 0.3), sigma=0.25)
    frame = move(picture, displacement)
    motion = magnifier.motion(picture, frame)
    assert motion.flow.shape == (1, 2, *size) and motion.confidence.shape == (1, 1, *size)
    assert magnifier.apply(picture, frame, 2.5).shape == frame.shape
    assert relative_error(motion.flow, displacement) < 0.1


def test_twice_as_large_a_picture_moves_twice_as_far(magnifier: Magnifier) -> None:
    picture, displacement = texture(256, 240), bump(256, 240, (0.4, -0.3))
    images = [
        torch.nn.functional.interpolate(image, scale_factor=2) for image in (picture, move(picture, displacement))
    ]
    large = magnifier.motion(*images)
    assert large.flow.shape == (1, 2, 512, 480) and large.confidence.shape == (1, 1, 512, 480)
    twice = 2 * torch.nn.functional.interpolate(displacement, scale_factor=2, mode="bilinear")
    assert relative_error(large.flow, twice) < 0.15


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_pictures_without_any_texture(magnifier: Magnifier, value: float) -> None:
    flat = torch.full((1, 3, 200, 200), value)
    motion = magnifier.motion(flat, flat)
    assert motion.flow.abs().max() < 1e-3
    assert motion.confidence.max() < 0.05
    assert torch.allclose(magnifier.apply(flat, flat, 8.0), flat, atol=1e-6)


def test_confidence_falls_where_there_is_nothing_to_see(magnifier: Magnifier) -> None:
    picture = texture(128, 128)
    picture[..., :64] = 0.5
    confidence = magnifier.motion(filmed(picture, 1), filmed(picture, 2)).confidence
    assert confidence[..., 8:48].mean() < 0.2 < 0.4 < confidence[..., 80:120].mean()


def test_wrong_shapes_are_reported(magnifier: Magnifier) -> None:
    with pytest.raises(ValueError, match="expected reference"):
        magnifier.motion(torch.zeros(3, 80, 80), torch.zeros(1, 3, 80, 80))
    with pytest.raises(ValueError, match="at least 64 px"):
        magnifier.motion(torch.zeros(1, 3, 40, 80), torch.zeros(1, 3, 40, 80))
    with pytest.raises(ValueError, match="above 0"):
        magnifier.apply(torch.zeros(1, 3, 80, 80), torch.zeros(1, 3, 80, 80), 0.0)


@settings(max_examples=15, deadline=None)
@given(
    angle=st.floats(0, 2 * math.pi),
    peak=st.floats(0.3, 6.0),
    alpha=st.floats(0.1, 8.0),
    seed=st.integers(0, 1000),
)
def test_magnifying_with_the_true_motion_is_exact(angle: float, peak: float, alpha: float, seed: int) -> None:
    magnifier = Magnifier.load("magplus", device="cpu")
    alpha = min(alpha, 10 / peak)
    picture = texture(96, 96, seed)
    displacement = bump(96, 96, (peak * math.cos(angle), peak * math.sin(angle)), sigma=0.2)
    truth = Motion(displacement, torch.ones(1, 1, 96, 96))
    result = magnifier.apply(picture, move(picture, displacement), alpha, motion=truth)
    inner = (slice(None), slice(None), slice(16, -16), slice(16, -16))
    assert (result - move(picture, alpha * displacement))[inner].abs().mean() < 0.005
