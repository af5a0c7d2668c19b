# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the reference shows an expression, on a drawn face of 24 controls."""

import numpy as np
import pytest
from numpy.typing import NDArray

from magplus.models.pipeline.neutral_reference import CLEARLY, opposed, opposite_share
from tests.models.pipeline.drawn_face import GRID, Reader, read, reader_of

FRAMES = [4, 6, 8, 10, 12, 14, 16, 18]
SECONDS = [index / 24 for index in range(24)]
LASTS = np.array([0, 0.4, 1, 1, 1, 1, 1, 1])  # from a state to another one, in which the face stays


@pytest.fixture(scope="module")
def face() -> Reader:
    rng = np.random.default_rng(3)
    middles = np.stack(np.meshgrid([15, 37, 59, 81], [12, 27, 42, 57, 72, 87]), -1).reshape(-1, 2)
    ways = rng.normal(size=(len(middles), 2))
    ways *= 6 / np.linalg.norm(ways, axis=1, keepdims=True)
    near = np.exp(-((GRID[None] - middles[:, None]) ** 2).sum(2) / (2 * 9**2))
    keys = near[..., None] * ways[:, None]
    return reader_of(keys, [f"key {n}" for n in range(len(keys))], "Head", {})


def seen(face: Reader, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is read of the motion of control values [24], the expression of which `LASTS` tells; and its sizes."""
    motion = LASTS[:, None, None] * np.tensordot(values, face.columns, 1)
    motion = motion + 0.05 * np.random.default_rng(1).normal(size=motion.shape)
    return read(motion, np.zeros_like(motion)), 0.01 * LASTS


def of(*controls: int) -> NDArray[np.float64]:
    return 0.3 * np.isin(np.arange(24), controls)


@pytest.mark.parametrize("controls", [(5,), (9, 10), (1, 6, 20)])
def test_an_expression_that_fades_shows_in_the_reference_and_one_that_lasts_does_not(face, controls):
    held, fading = seen(face, of(*controls)), seen(face, -of(*controls))
    assert opposed(face, *held, FRAMES, SECONDS) is None
    assert opposed(face, *fading, FRAMES, SECONDS) in FRAMES[2:]
    assert (opposite_share(face, held[0][2:]) < 1).all() and (opposite_share(face, fading[0][2:]) > 1).all()


def test_rigs_that_explain_some_frames_otherwise_have_the_same_reference(face):
    """The second rig lacks the control of what the first frames of rest show besides."""
    values = np.tile(-of(5), (8, 1))
    values[2:4] -= 2.5 * of(9)
    motion = LASTS[:, None, None] * np.tensordot(values, face.columns, 1)
    motion = motion + 0.05 * np.random.default_rng(1).normal(size=motion.shape)
    equations, sizes = read(motion, np.zeros_like(motion)), 0.01 * LASTS
    without = [index for index in range(24) if index != 9]
    lacking = reader_of(face.columns[without], [f"key {index}" for index in without], "Head", {})
    left = [
        np.divide(
            *(rig.explained(equations, SECONDS[:8], way).residual_in(np.ones(len(GRID))) for way in (True, False))
        )
        for rig in (face, lacking)
    ]
    assert (left[0][2:] < CLEARLY).all() and (left[1][2:4] > CLEARLY).all() and (left[1][4:] < CLEARLY).all()
    found = [opposed(rig, equations, sizes, FRAMES, SECONDS) for rig in (face, lacking)]
    assert found[0] == found[1] == FRAMES[5]


def test_noise_and_two_frames_alone_are_no_evidence(face):
    equations, sizes = seen(face, -of(5))
    assert opposed(face, equations, sizes / 10, FRAMES, SECONDS) is None
    assert opposed(face, equations, sizes * np.isin(FRAMES, FRAMES[2:4]), FRAMES, SECONDS) is None
