# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job sets of a backend is checked before anything is computed, and what the device can't do is said."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from magplus.backend_bridge.files.errors import InputError, MachineError
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import Report
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec
from magplus.models.backends import registry
from magplus.models.backends.base import DrivingBatch
from magplus.models.backends.options import content_of, option_files, parse_options, with_files_in
from magplus.models.backends.published import PublishedBackend
from magplus.models.device import OutOfMemoryError
from magplus.models.magnification import Motion
from magplus.models.pipeline import run as pipeline
from tests.models.events import Quiet


def options_of(name, **given):
    return parse_options(registry[name].Options, given, title=registry[name].info.title)


def test_options_come_from_plain_data():
    assert options_of("fomm", relative=False).relative is False
    assert options_of("fsrt", draft=4, precision="bfloat16").draft == 4


@pytest.mark.parametrize(
    ("backend", "given", "sentence"),
    [
        ("flow_transfer", {"speed": 2}, "Flow Transfer has no options."),
        ("fomm", {"relativ": True}, "FOMM has no option 'relativ'; its options are "),
        ("fomm", {"relative": "no"}, 'FOMM\'s option relative must be true or false, not "no".'),
        ("fomm", {"relative": 1}, "must be true or false, not 1"),
        ("fsrt", {"chunk": True}, "must be a whole number, not true"),
        ("fsrt", {"chunk": json.loads("[" * 900 + "]" * 900)}, "must be a whole number, not "),
        ("fsrt", {"x" * 100_000: 1}, "has no option 'xxx"),
        ("fsrt", {"draft": 3}, "draft must be one of 1, 2, 4, 8, 16, not 3"),
        ("fsrt", {"precision": "half"}, 'precision must be one of float32, bfloat16, float16, not "half"'),
        ("metaportrait", {"landmarks": 5}, "must be a text or null, not 5"),
    ],
)
def test_wrong_options_are_one_sentence(backend, given, sentence):
    with pytest.raises(InputError) as error:
        options_of(backend, **given)
    assert sentence in str(error.value)


def test_files_are_looked_for_in_the_job_folder(tmp_path):
    (tmp_path / "me.npy").touch()
    options = with_files_in(options_of("metaportrait", identity="me.npy"), tmp_path, title="MetaPortrait")
    assert option_files(options) == {"identity": [tmp_path / "me.npy"]}
    with pytest.raises(InputError, match=r"option landmarks names .*gone\.npy, and there is no such file"):
        with_files_in(options_of("metaportrait", landmarks="gone.npy"), tmp_path, title="MetaPortrait")


def test_the_content_of_options_is_what_can_change_a_frame(tmp_path):
    kind, names = registry["fsrt"].Options, ("here.png", "there.png", "other.png")
    for name in names:
        (tmp_path / name).write_bytes(b"another face" if name == "other.png" else b"the same face")
    here, there, other = (kind(more_sources=(str(tmp_path / name),)) for name in names)
    assert content_of(here) == content_of(there) != content_of(other)
    assert content_of(kind(chunk=64)) == content_of(kind()) != content_of(kind(draft=4))


def test_float16_needs_a_gpu():
    with pytest.raises(InputError, match="can't use float16 on the CPU; choose bfloat16, or a GPU"):
        registry["fomm"].from_state_dicts({}, "cpu", {"precision": "float16"})
    with pytest.raises(InputError, match="EMOPortraits computes in float32 only"):
        registry["emoportraits"].from_state_dicts({}, "cpu", {"precision": "bfloat16"})


# ------------------------------------------------------------------------------------- a GPU whose memory is small


class Greedy(PublishedBackend):
    """Its memory holds two frames. `device` says GPU, the tensors are on the CPU."""

    info = SimpleNamespace(title="Greedy")

    def __init__(self, holds):
        super().__init__({"part": torch.nn.Linear(1, 1)}, None)
        self.holds, self.batch_size, self.asked = holds, 8, []

    @classmethod
    def build_parts(cls): ...

    def encode_source(self, source, reference): ...

    def generate(self, state, driving):
        self.asked.append(len(driving.frames))
        if len(driving.frames) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return driving.frames


@pytest.fixture
def small_gpu(monkeypatch):
    """A GPU for everything but the tensors: there is none where the tests run."""
    monkeypatch.setattr("magplus.models.backends.published.part_of", lambda driving, first, count, device: DrivingBatch(
        driving.frames[first : first + count], driving.motion))  # fmt: skip
    gpu = torch.device("cuda")
    monkeypatch.setattr(pipeline, "choose_device", lambda wanted: gpu)
    return gpu


def test_batches_are_halved_until_they_fit_and_that_is_said(small_gpu):
    backend = Greedy(holds=2)
    backend.device = small_gpu
    frames = torch.rand(5, 3, 4, 4)
    driving = DrivingBatch(frames, Motion(torch.zeros(5, 2, 4, 4), torch.ones(5, 1, 4, 4)))
    assert torch.equal(backend.animate(None, driving).frames, frames)
    assert backend.asked == [5, 4, 2, 2, 1]
    assert backend.warnings[-1].endswith("the memory of cuda was too small, batches of 2 are used now.")
    backend.holds = 0
    with pytest.raises(OutOfMemoryError, match="Greedy does not fit into the memory of cuda"):
        backend.animate(None, driving)


@pytest.fixture
def job_on(monkeypatch, tmp_path, small_gpu):
    """Run a job on the small GPU; the pipeline itself is replaced by one that wants more memory than that has."""
    devices = []

    def run_on(device, folder, spec, session, notes):
        devices.append(device.type)
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return Report("finished", warnings=tuple(notes.warnings))

    monkeypatch.setattr(pipeline, "_run_on", run_on)

    def run(allow_cpu):
        folder = JobFolder.create(tmp_path / "job.magplus")
        folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar.png"), allow_cpu=allow_cpu))
        return pipeline.run_job(folder, pipeline.Session(tmp_path), Quiet()), devices

    return run


def test_a_job_goes_on_on_the_cpu_only_where_that_is_allowed(job_on):
    with pytest.raises(MachineError, match=r"memory of cuda is too small .* allow MagPlus to go on on the CPU"):
        job_on(allow_cpu=False)
    report, devices = job_on(allow_cpu=True)
    assert devices == ["cuda", "cuda", "cpu"]
    assert "went on on the CPU, as it was allowed to" in report.warnings[0]
