# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backend adds of its own does not come back as expression, and what can't be taken out is said."""

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
import torch

from magplus.backend_bridge.job.spec import Magnification, Outputs
from magplus.models.backends import Animated, registry
from magplus.models.face import roll
from magplus.models.magnification import Magnifier
from magplus.models.pipeline.run import run_job
from magplus.models.pipeline.session import Session
from magplus.models.warp import move
from tests.models.pipeline.substitutes import Substitute, drift, flicker, shake, substitute, wobble
from tests.models.pipeline.test_pipeline import (  # noqa: F401 - fixtures
    Quiet,
    avatar,
    clip,
    landmarks,
    make_job,
    read,
    session,
)

pytestmark = pytest.mark.slow


class BackendAlone(Session):
    """Loads a backend anew, and shares all other models with another session."""

    def __init__(self, models):
        super().__init__()
        self.models, self.loaded = models, None

    def landmarker(self):
        return self.models.landmarker()

    def magnifier(self, role, device):
        return self.models.magnifier(role, device)

    def backend(self, *arguments):
        self.loaded = super().backend(*arguments)
        return self.loaded


@pytest.fixture
def job(tmp_path, clip, avatar, landmarks, session, monkeypatch):  # noqa: F811
    """Run a job of pictures with a kind of backend; returns report, frames and how many frames it generated."""
    numbers = itertools.count()

    def run(kind, alpha=4.0, picture=None):
        monkeypatch.setitem(registry, "substitute", kind)
        folder = make_job(
            tmp_path / f"{next(numbers)}.magplus",
            clip,
            avatar if picture is None else picture,
            landmarks,
            backend="substitute",
            magnification=Magnification(alpha=alpha),
            outputs=Outputs(frames=True),
        )
        spec = folder.read_spec()
        folder.write_spec(dataclasses.replace(spec, avatar=dataclasses.replace(spec.avatar, rig_basis=None)))
        fresh = BackendAlone(session)
        report = run_job(folder, fresh, Quiet())
        frames = [read(path).astype(float) for path in sorted((folder.path / "frames").iterdir())]
        return report, frames, getattr(fresh.loaded, "generated", 0)

    return run


def warned(report, *words):
    return any(all(word in warning for word in words) for warning in report.warnings)


def test_without_a_fault_nothing_is_said_and_no_frame_is_generated_twice(job):
    report, frames, generated = job(substitute())
    assert report.restoration.backend_gain == pytest.approx(1, abs=0.15)
    assert report.restoration.intensity_measured == pytest.approx(1, abs=0.25)
    assert not warned(report, "Substitute")
    assert generated == len(frames) + 1  # and the neutral frame


def test_a_shaking_head_is_taken_out_and_reported(job, avatar):  # noqa: F811
    report, frames, _ = job(substitute(shake(1.0)))
    assert report.restoration.backend_gain == pytest.approx(1, abs=0.2)
    assert report.restoration.intensity_measured == pytest.approx(1, abs=0.3)
    assert warned(report, "moved the avatar's head", "taken out")
    rest = np.abs(frames[0][..., :3] - avatar[..., :3])[avatar[..., 3] > 0]
    assert rest.mean() < 0.3


def test_flicker_is_taken_out_and_reported(job, avatar):  # noqa: F811
    report, frames, _ = job(substitute(flicker(0.1)))
    assert report.restoration.backend_gain == pytest.approx(1, abs=0.2)
    assert warned(report, "changed the brightness", "taken out")
    levels = [frame[..., :3][avatar[..., 3] > 0].mean() for frame in frames]
    assert np.ptp(levels) < 0.3


def test_a_face_that_becomes_another_is_reported(job):
    report, _, _ = job(substitute(drift(0.05)))
    assert warned(report, "may not stay the same person")


def test_motion_of_its_own_is_reported(job):
    report, _, _ = job(substitute(wobble(1.0)))
    assert warned(report, "moves the avatar's face while the driver's is at rest")


def test_a_weak_answer_is_reported_with_what_bringing_it_back_multiplies(job):
    report, _, _ = job(substitute(gain=0.127), alpha=1.2)
    assert report.restoration.backend_gain == pytest.approx(0.127, abs=0.06)
    assert warned(report, "weakly", "multiplies") or warned(report, "hardly answered")


class AlongTheCropsAxes(Substitute):
    """Adds the driver's motion as networks add keypoint shifts and expression changes: along the crop's own axes."""

    def animate(self, state, driving):
        return Animated(move(state.image, driving.motion.flow).clamp(0, 1))


def test_a_tilted_avatar_raises_its_brows_along_its_own_axis(job, avatar, landmarks):  # noqa: F811
    centre = landmarks[:468, :2].mean(0)
    measure = Magnifier.load("demagplus", "cpu")

    def direction(degrees: int) -> float:
        """Return how far the brows' motion is turned from straight up, in degrees, on an avatar tilted by as much."""
        turn = cv2.getRotationMatrix2D(centre.tolist(), -degrees, 1)  # OpenCV's angles run the other way
        tilted = cv2.warpAffine(avatar, turn, avatar.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        _, frames, _ = job(AlongTheCropsAxes, picture=tilted)
        pair = (torch.from_numpy(f[..., :3].transpose(2, 0, 1) / 255).float()[None] for f in (frames[0], frames[4]))
        flow = measure.motion(*pair).flow[0].permute(1, 2, 0).numpy()
        brows = (turn[:, :2] @ landmarks[[105, 334], :2].T + turn[:, 2:]).T.round().astype(int)
        x, y = np.mean([flow[v - 4 : v + 5, u - 4 : u + 5].mean((0, 1)) for u, v in brows], axis=0)
        return float(np.degrees(np.arctan2(x, -y)))

    upright = direction(0)
    assert upright == pytest.approx(np.degrees(roll(landmarks)), abs=8)  # the portrait holds its head a little tilted
    for degrees in (15, 25, 40):
        assert direction(degrees) - upright == pytest.approx(degrees, abs=4)
