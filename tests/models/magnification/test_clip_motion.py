# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of one clip: noise is averaged over them, nothing else is; blocks that a codec copied are missing data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from magplus.models.magnification import Magnifier
from magplus.models.magnification.copied_blocks import copied_share, weight_of
from magplus.models.magnification.solver import Observation, estimate
from magplus.models.magnification.temporal_modes import TemporalModes, fine_change
from magplus.models.training.camera import h264
from magplus.models.training.scenes import filmed, random_pulls, random_texture
from magplus.models.warp import move

SIDE = 192  # px, the smallest picture of the training
CURVE = (0.0, 0.2, 0.6, 1.0, 0.9, 0.5, 0.2, 0.0)  # rest, onset, apex, offset
FLASH = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)  # an event of one frame


def texture(seed: int) -> Tensor:
    return random_texture(SIDE, np.random.default_rng(seed))


def pulls(seed: int, peak: float = 0.6) -> Tensor:
    return random_pulls(SIDE, peak, np.random.default_rng(100 + seed))


def film(seed: int, motions: list[Tensor], noise: float = 2 / 255) -> tuple[Tensor, Tensor]:
    """Return a reference [1, 3, S, S] and frames [N, 3, S, S] as a sensor sees them."""
    picture, generator = texture(seed), torch.Generator().manual_seed(seed)
    frames = torch.cat([move(picture, motion).clamp(0, 1) for motion in motions])
    return filmed(picture, noise, generator), filmed(frames, noise, generator)


def error(motion: Tensor, truth: Tensor) -> float:
    return float((motion - truth).norm() / truth.norm())


@pytest.fixture(scope="module")
def magplus() -> Magnifier:
    return Magnifier.load("magplus", "cpu")


@pytest.fixture(scope="module")
def rising(magplus: Magnifier) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Motion that rises and fades: the truth, frame by frame, and as a clip, for a few seeds."""
    found = []
    for seed in range(3):
        truth = torch.cat([share * pulls(seed) for share in CURVE])
        reference, frames = film(seed, list(truth.split(1)))
        alone, clip = (magplus.motion(reference, frames, clip=clip).flow for clip in (False, True))
        found.append((truth, alone, clip))
    return found


def test_a_clip_is_measured_better_than_its_frames(rising: list[tuple[Tensor, Tensor, Tensor]]) -> None:
    alone, clip = (np.mean([error(row[column], row[0]) for row in rising]) for column in (1, 2))
    assert clip < 0.9 * alone
    assert all(error(clip, truth) < 1.02 * error(alone, truth) for truth, alone, clip in rising)


def test_a_clip_keeps_the_size_of_motion_and_stays_at_rest_where_it_was(
    rising: list[tuple[Tensor, Tensor, Tensor]],
) -> None:
    for truth, alone, clip in rising:
        gains = [float((flow * truth).sum() / truth.square().sum()) for flow in (alone, clip)]
        assert abs(gains[1] - 1) < abs(gains[0] - 1) + 0.03
        assert float(clip[[0, 7]].norm(dim=1).mean()) < float(alone[[0, 7]].norm(dim=1).mean()) + 0.005


@pytest.mark.parametrize("jump", [False, True], ids=["an event of one frame", "a jump"])
def test_an_event_of_one_frame_and_a_jump_keep_what_they_are(magplus: Magnifier, jump: bool) -> None:
    """An event is a mode of its own; a jump's two motions of equal size are mixed in theirs, at some cost."""
    alone, clip = [], []
    for seed in range(3, 7):
        now, then = pulls(seed), pulls(seed + 1)
        motions = [now] * 4 + [then] * 4 if jump else [share * now for share in FLASH]
        truth, (reference, frames) = torch.cat(motions), film(seed, motions)
        for together, errors in ((False, alone), (True, clip)):
            flow = magplus.motion(reference, frames, clip=together).flow
            errors.append((error(flow, truth), error(flow[3:4], truth[3:4])))
    ratio = np.mean(clip, axis=0) / np.mean(alone, axis=0)
    assert (ratio < (1.1 if jump else 1.0)).all()


def test_one_frame_is_measured_as_without_a_clip_and_so_is_what_has_no_noise_of_a_sensor(magplus: Magnifier) -> None:
    motions = [share * pulls(7) for share in CURVE[2:5]]
    noisy, clean = film(7, motions), film(7, motions, noise=0.0)
    for reference, frames in ((noisy[0], noisy[1][:1]), clean):
        assert torch.equal(magplus.motion(reference, frames).flow, magplus.motion(reference, frames, clip=True).flow)


@pytest.mark.parametrize("role", ["demagplus", "solver"])
def test_only_magplus_sees_frames_together(role: str) -> None:
    magnifier = Magnifier(torch.device("cpu")) if role == "solver" else Magnifier.load("demagplus", "cpu")
    reference, frames = film(8, [share * pulls(8) for share in CURVE[2:4]])
    assert torch.equal(magnifier.motion(reference, frames).flow, magnifier.motion(reference, frames, clip=True).flow)


def test_the_order_of_the_frames_does_not_matter(magplus: Magnifier) -> None:
    reference, frames = film(9, [share * pulls(9) for share in CURVE])
    order = torch.tensor([3, 0, 7, 1, 5, 2, 6, 4])
    there, here = (magplus.motion(reference, each, clip=True).flow for each in (frames[order], frames))
    assert float((there - here[order]).norm(dim=1).mean()) < 1e-3


def observation(count: int, seed: int) -> tuple[Observation, Tensor]:
    reference, frames = film(seed, [share * pulls(seed) for share in CURVE[:count]])
    return estimate(reference, frames), fine_change(reference, frames)


@settings(max_examples=8, deadline=None)
@given(count=st.integers(2, 6), seed=st.integers(0, 50), others=st.integers(0, 2))
def test_modes_hold_all_of_the_frames_motion_and_leave_other_frames_alone(count: int, seed: int, others: int) -> None:
    magnifier = Magnifier(torch.device("cpu"))
    seen, change = observation(count + others, seed) if count + others <= 8 else observation(8, seed)
    members = torch.arange(count)
    modes = TemporalModes.of(seen, change, members, magnifier.settings)
    identity = torch.eye(count)
    assert torch.allclose(modes.to_frames @ modes.to_modes, identity, atol=1e-5)
    covariance = modes.to_modes @ (identity + 1) @ modes.to_modes.mT  # of the noise that the reference shares
    assert torch.allclose(covariance, identity, atol=1e-5)
    mixed = seen.motion.index_copy(
        0, members, (modes.to_modes @ seen.motion[members].flatten(1)).view_as(seen.motion[members])
    )
    assert torch.allclose(modes.in_frames(mixed), seen.motion, atol=1e-5)
    assert torch.equal(modes.observation.motion[count:], seen.motion[count:])


def test_copied_blocks_are_no_measurement_of_rest() -> None:
    """Neither for the equations nor for the noise: the error of the solver falls."""
    solver, before, after = Magnifier(torch.device("cpu")), [], []
    for seed in range(3):
        truth, generator = pulls(seed, 0.8), torch.Generator().manual_seed(seed)
        pictures = [filmed(each, 2 / 255, generator) for each in (texture(seed), move(texture(seed), truth))]
        reference, frame = h264(pictures, 24)
        assert float(copied_share(reference, frame).mean()) > 0.3
        before.append(error(solver.motion(reference, frame, copied=torch.zeros(1, 1, SIDE, SIDE)).flow, truth))
        after.append(error(solver.motion(reference, frame).flow, truth))
    assert np.mean(after) < 0.95 * np.mean(before)


@pytest.mark.parametrize("noise", [0.0, 1 / 255, 2 / 255])
def test_without_a_codec_equal_pixels_are_a_measurement(noise: float) -> None:
    reference, frames = film(3, [share * pulls(3) for share in CURVE[2:4]], noise)
    assert not bool(copied_share(reference, frames).any())
    assert weight_of(copied_share(reference, frames), (SIDE // 2, SIDE // 2)) is None


def test_what_is_at_rest_stays_there_after_a_codec(magplus: Magnifier) -> None:
    moved, solved, solver = [], [], Magnifier(torch.device("cpu"))
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        reference, frame = h264([filmed(texture(seed), 2 / 255, generator) for _ in range(2)], 20)
        for found, magnifier in ((moved, magplus), (solved, solver)):
            found.append(float(magnifier.motion(reference, frame).flow.norm(dim=1).mean()))
    assert max(moved) < 0.035 and max(moved) < 0.7 * max(solved)


def test_a_frame_is_measured_as_if_it_were_alone_beside_a_copied_one() -> None:
    solver, generator = Magnifier(torch.device("cpu")), torch.Generator().manual_seed(6)
    truth = pulls(6, 0.8)
    reference, coded = h264([filmed(each, 2 / 255, generator) for each in (texture(6), move(texture(6), truth))], 24)
    noisy = filmed(move(texture(6), truth), 2 / 255, generator)
    together = solver.motion(reference, torch.cat([coded, noisy])).flow
    alone = torch.cat([solver.motion(reference, frame).flow for frame in (coded, noisy)])
    assert torch.allclose(together, alone, atol=1e-4)
