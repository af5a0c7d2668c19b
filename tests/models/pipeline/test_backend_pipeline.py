# SPDX-License-Identifier: GPL-3.0-or-later
"""Published backends through the whole pipeline, with the reference cases' weights: the picture is abstract, the
plumbing is not.
"""  # noqa: D205 - one sentence

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import CheckpointReport
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Magnification
from magplus.models.backends import registry
from magplus.models.backends.store import CheckpointStore
from magplus.models.pipeline.run import run_job
from magplus.models.pipeline.session import Session
from magplus.models.video import VideoReader
from tests.models.events import Quiet
from tests.parity.reference import ReferenceCase

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Weights of the cases, as `backends add` would leave them."""
    store = CheckpointStore(tmp_path_factory.mktemp("checkpoints"))
    for name in ("fomm", "fsrt", "metaportrait", "liveportrait"):
        case = ReferenceCase(name)
        for part, network in registry[name].build_parts().items():
            if part in case.manifest:
                store.write(name, part, case.filling.state_dict(part, network), f"{name}.pth", "00")
    case, network = ReferenceCase("metaportrait_sr"), registry["metaportrait_sr"].build_parts()["params"]
    store.write("metaportrait", "params", case.filling.state_dict("params", network), "sr.pth", "00")
    lines = torch.arange(617).unfold(0, 2, 1)
    store.write("metaportrait", "connectivity", {"lines": lines}, "dense_669_connectivity.tsv", "00")
    return Session(store.folder)


@pytest.fixture(scope="module")
def avatar(other_person):
    image = next(iter(VideoReader(other_person))).image
    return cv2.cvtColor((image * 255 + 0.5).astype(np.uint8), cv2.COLOR_RGB2BGR)


@pytest.fixture
def job(tmp_path, real_clip, avatar, session):
    """Run a job of two frames with a backend; `picture` stands in for the avatar's."""

    def run(backend, picture=None, name="job", **changes):
        folder = JobFolder.create(tmp_path / f"{name}.magplus")
        encoded = cv2.imencode(".png", avatar if picture is None else picture)[1].tobytes()
        folder.write("avatar/avatar.png", encoded)
        cv2.imwrite(str(folder.path / "other.png"), avatar[:, ::-1])
        spec = JobSpec(
            Driving(str(real_clip), trim=(0.0, 0.08)),
            Avatar("avatar/avatar.png"),
            backend=backend,
            magnification=Magnification(alpha=4.0),
        )
        folder.write_spec(dataclasses.replace(spec, **changes))
        return run_job(folder, session, Quiet()), folder

    return run


def frames(folder):
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted((folder.path / "frames").iterdir())]


def test_fomm_from_the_best_frame_and_another_checkpoint(job, session, avatar):
    options = {"best_frame": True, "adapt_movement_scale": False}
    report, folder = job("fomm", backend_options=options)
    assert report.reference.chosen == "best frame"
    assert report.backend.options == options | {"relative": True, "precision": "float32"}
    assert report.backend.checkpoint["generator"] == CheckpointReport("fomm.pth", "00")
    assert report.backend.commercial_use is True
    assert [frame.shape for frame in frames(folder)] == [avatar.shape] * report.frames.count

    report, _ = job("fomm", backend_options=options)
    assert report.frames.resumed == report.frames.count
    store = CheckpointStore(session.checkpoints)
    tensors = dict(store.read("fomm", "generator")[0])
    tensors["final.bias"] = tensors["final.bias"] + 0.1
    store.write("fomm", "generator", tensors, "mine.pth", "11")
    report, _ = job("fomm", backend_options=options)
    assert report.frames.resumed == 0 and report.backend.checkpoint["generator"].file == "mine.pth"


def test_fsrt_draft_of_two_pictures_in_grey_with_sixteen_bits(job, avatar):
    grey = cv2.cvtColor(avatar, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257
    report, folder = job("fsrt", grey, backend_options={"draft": 16, "more_sources": ["other.png"]})
    assert any("FSRT is not for commercial use: none stated" in warning for warning in report.warnings)
    assert report.backend.commercial_use is False
    assert frames(folder)[0].dtype == np.uint16


def test_metaportrait_approximately_and_from_files(job, tmp_path):
    report, _ = job("metaportrait")
    assert any("approximate mode" in warning for warning in report.warnings)
    case = ReferenceCase("metaportrait")
    folder = JobFolder.create(tmp_path / "files.magplus")
    folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar/avatar.png")))  # a job may have files beside it
    np.save(folder.path / "landmarks.npy", case.stored["ldmk669/source"])
    np.save(folder.path / "identity.npy", case.stored["source_id"])
    files = {"landmarks": "landmarks.npy", "identity": "identity.npy"}
    report, _ = job("metaportrait", name="files", backend_options=files)
    assert not any("approximate" in warning or "identity" in warning for warning in report.warnings)


def test_super_resolution_sees_successive_frames_together(job, session, monkeypatch):
    seen = []
    backend = registry["metaportrait_sr"]
    plainly = backend.generate

    def generate(self, state, driving):
        seen.append(len(driving.frames))
        return plainly(self, state, driving)

    monkeypatch.setattr(backend, "generate", generate)
    report, _ = job("metaportrait_sr")
    assert report.frames.count == 2
    assert seen[-1] == 2 and registry["metaportrait_sr"].info.clip_length == 16


@pytest.mark.timeout(900)  # a minute of computing, more where the machine is shared
def test_liveportrait_keeps_the_neutral_face(job, avatar):
    report, folder = job("liveportrait", backend_options={"region": "all"})
    assert report.backend.weights_licence == "MIT"
    assert not any("not for commercial use" in warning for warning in report.warnings)
    made = frames(folder)
    assert [frame.shape for frame in made] == [avatar.shape] * report.frames.count
    assert np.abs(made[report.reference.index].astype(int) - avatar).max() <= 2


def test_a_picture_without_a_face_and_wrong_options_are_one_sentence_each(job, avatar):
    with pytest.raises(InputError, match="No face was found in the avatar's picture"):
        job("fomm", np.full_like(avatar, 90))
    with pytest.raises(InputError, match="FOMM has no option 'draft'"):
        job("fomm", backend_options={"draft": 4})
    with pytest.raises(InputError, match=r"more_sources names .*gone\.png, and there is no such file"):
        job("fsrt", backend_options={"more_sources": ["gone.png"]})
