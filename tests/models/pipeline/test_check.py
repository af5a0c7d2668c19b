# SPDX-License-Identifier: GPL-3.0-or-later
"""`backends check`: working weights are told from random ones and from those that do not belong together."""

import cv2
import numpy as np
import pytest
import torch

from magplus.backend_bridge.job.spec import Driving
from magplus.models.backends import Animated, registry
from magplus.models.backends.store import CheckpointStore
from magplus.models.pipeline import check
from magplus.models.pipeline.session import Session
from magplus.models.video import VideoReader
from tests.models.pipeline.substitutes import Substitute, substitute, wobble
from tests.parity.reference import ReferenceCase

pytestmark = pytest.mark.slow


@pytest.fixture
def picture(tmp_path, other_person):
    image = next(iter(VideoReader(other_person))).image
    path = tmp_path / "avatar.png"
    cv2.imwrite(str(path), cv2.cvtColor((image * 255 + 0.5).astype(np.uint8), cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture
def judged(tmp_path, picture, real_clip, monkeypatch):
    """Check a kind of backend, or a backend by name in a folder; returns findings and sentences."""

    def run(kind=None, name="substitute", folder=None):
        if kind is not None:
            monkeypatch.setitem(registry, "substitute", kind)
        clip = Driving(str(real_clip), trim=(0.0, 0.3))
        sheet = tmp_path / "sheets" / "sheet.png"
        found, sentences = check.check(Session(folder or tmp_path), name, picture, clip, sheet, {}, "cpu")
        assert cv2.imread(str(sheet)).shape[0] > 400
        return found, " ".join(sentences)

    return run


def test_weights_that_work(judged):
    found, sentences = judged(substitute())
    assert found.works and "looks like working weights" in sentences
    assert found.likeness > 0.99 and found.following > 0.6


def test_random_numbers_in_the_right_shapes(judged, tmp_path):
    store, case = CheckpointStore(tmp_path / "store"), ReferenceCase("fomm")
    for part, network in registry["fomm"].build_parts().items():
        store.write("fomm", part, case.filling.state_dict(part, network), "vox.pth", "00")
    found, sentences = judged(name="fomm", folder=store.folder)
    assert (
        not found.works and "does not look like working weights" in sentences and "random numbers look so" in sentences
    )


def test_networks_that_do_not_belong_together(judged):
    """The one that paints is right; the motion it is told has nothing to do with the driver's."""
    found, sentences = judged(substitute(wobble(2.0), gain=0.0))
    assert found.paints and not found.works
    assert "does not move as the driver's does" in sentences


def test_a_picture_of_somebody_else(judged):
    class Stranger(Substitute):
        def animate(self, state, driving):
            frames = super().animate(state, driving).frames
            return Animated(torch.roll(frames, (60, 90), (2, 3)))

    found, sentences = judged(Stranger)
    assert not found.paints and "does not look like working weights" in sentences
