# SPDX-License-Identifier: GPL-3.0-or-later
"""FSRT: equal to the authors' networks on the reference case; chunks, drafts and several sources."""

from __future__ import annotations

import pytest
import torch

from magplus.backend_bridge.files.errors import InputError
from magplus.models.backends.fomm import Keypoints, movement_scale, relative_keypoints
from magplus.models.backends.fsrt import Encoder, Fsrt, FsrtOptions, Pose, make_queries, pixel_coordinates
from tests.models.backends.inputs import batch, face
from tests.parity.reference import Recorder, ReferenceCase

TENSOR = {"atol": 5e-5, "half_atol": 2e-3}
PREDICTION = {"atol": 2e-5, "half_atol": 2e-3}
FRAMES = ("source", "driving_initial", "driving", "driving_2")


@pytest.fixture(scope="module")
def case():
    return ReferenceCase("fsrt")


@pytest.fixture(scope="module")
def backend(case):
    parts = {part: network.eval().requires_grad_(False) for part, network in Fsrt.build_parts().items()}
    for part, network in parts.items():
        case.load(part, network)
    return Fsrt(parts, FsrtOptions())


@pytest.fixture(scope="module")
def poses(case, backend):
    with torch.inference_mode():
        return {name: backend.pose(case.image(name)) for name in FRAMES}


@pytest.fixture(scope="module")
def memory(case, backend, poses):
    with torch.inference_mode():
        return backend.decoder.remember(backend.encoder(case.image("source"), poses["source"]))


def driven(poses, name):
    """The driving pose of case `name`: absolute, or keypoints relative at the adapted scale."""
    driving = poses["driving_2" if name == "relscale2" else "driving"]
    if name == "abs":
        return driving
    source, reference = (Keypoints(poses[frame].keypoints, None) for frame in ("source", "driving_initial"))
    scale = movement_scale(source, reference)
    relative = relative_keypoints(source, Keypoints(driving.keypoints, None), reference, scale)
    return Pose(relative.value, driving.expression)


def grid(step=1):
    return pixel_coordinates(256, torch.empty(0))[::step, ::step].flatten(0, 1)


def strided(rendered):
    """Put 64×64 colours where the stored key's index [::4, ::4] finds them."""
    picture = torch.zeros(1, 256, 256, 3)
    picture[:, ::4, ::4] = rendered.view(1, 64, 64, 3)
    return picture


@pytest.mark.parametrize("name", FRAMES)
def test_keypoints_and_expression(case, poses, name):
    case.check(f"kp/{name}", poses[name].keypoints, **TENSOR)
    expression = poses[name].expression
    case.check(f"expression/{name}", expression[None] if name == "source" else expression, **TENSOR)


@torch.inference_mode()
def test_inside_the_keypoint_detector(case, backend):
    features = backend.kp_detector.predictor(backend.kp_detector.down(case.image("source")))
    case.check("kp_feature/source", features, **TENSOR)
    case.check("kp_heatmap/source", backend.kp_detector.locate(features)[1][:, :, None], **TENSOR)


@torch.inference_mode()
def test_inside_the_encoder(case, backend, poses):
    with Recorder(backend.encoder, "conv_blocks") as seen:
        tokens = backend.encoder(case.image("source"), poses["source"])
    case.check("enc_pos", Encoder.positions(case.image("source"), poses["source"]), **TENSOR)
    case.check("enc_conv", seen["conv_blocks"][0], **TENSOR)
    case.check("z", tokens, **TENSOR)


@pytest.mark.parametrize("name", ["abs", "relscale", "relscale2"])
@torch.inference_mode()
def test_prediction_on_every_fourth_pixel(case, backend, poses, memory, name):
    pose = driven(poses, name)
    case.check(f"kp_norm/{name}", pose.keypoints, **TENSOR)
    (key,) = [key for key in case.keys(f"prediction_raw/{name}") if key.endswith("]")]
    picture = strided(backend.ask(memory, pose, grid(4)))
    assert case.error(key, picture) <= PREDICTION["atol"]


@torch.inference_mode()
def test_queries_and_what_is_gathered_for_them(case, backend, poses, memory):
    queries = make_queries(grid(4), driven(poses, "relscale"))
    case.check("query/strided", queries, **TENSOR)
    case.check("alloc/strided", backend.decoder.allocation_transformer(queries, memory), **TENSOR)


@pytest.mark.slow
@torch.inference_mode()
def test_full_prediction(case, backend, poses, memory):
    colours = backend.ask(memory, driven(poses, "relscale"), grid())
    assert case.error("prediction_raw/relscale", colours.view(1, 256, 256, 3)) <= PREDICTION["atol"]


def test_every_stored_tensor_is_compared(case):
    compared = {f"{kind}/{name}" for kind in ("kp", "expression") for name in FRAMES}
    compared |= {
        f"{kind}/{name}" for kind in ("kp_norm", "prediction_raw") for name in ("abs", "relscale", "relscale2")
    }
    compared |= {"kp_feature/source", "kp_heatmap/source", "enc_pos", "enc_conv", "z", "query/strided", "alloc/strided"}
    assert {key.split("[")[0] for key in case.stored if not key.startswith("input/")} == compared


@torch.inference_mode()
def test_chunk_size_changes_nothing(backend, poses, memory):
    some = grid(16)
    small = Fsrt(backend.parts, FsrtOptions(chunk=100)).ask(memory, driven(poses, "abs"), some)
    torch.testing.assert_close(small, backend.ask(memory, driven(poses, "abs"), some), atol=2e-6, rtol=0)


@pytest.mark.slow
def test_a_draft_has_true_pixels_of_the_picture_and_joins_them(case, backend):
    drafting = Fsrt.from_state_dicts(
        {part: network.state_dict() for part, network in backend.parts.items()}, options={"draft": 8}
    )
    state = drafting.encode_source(face(case.image("source")), face(case.image("driving_initial")))
    (draft,) = drafting.animate(state, batch(case.image("driving"))).frames
    full = torch.from_numpy(case.stored["prediction_raw/relscale"])[0].permute(2, 0, 1).clamp(0, 1)
    torch.testing.assert_close(draft[:, 4::8, 4::8], full[:, 4::8, 4::8], atol=3e-5, rtol=0)
    between = (draft[:, 4:-8:8, 4::8] + draft[:, 12::8, 4::8]) / 2
    torch.testing.assert_close(draft[:, 8:-4:8, 4::8], between, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{"draft": 3}, {"chunk": 0}])
def test_options_that_make_no_sense(options):
    with pytest.raises(InputError, match="draft must be 1, 2, 4, 8 or 16"):
        FsrtOptions(**options)


@pytest.mark.slow
def test_several_sources(case, backend):
    """A second picture of the avatar adds its tokens; the same picture twice is no other avatar."""
    drafting = Fsrt(backend.parts, FsrtOptions(draft=16))
    source, reference = face(case.image("source")), face(case.image("driving_initial"))
    driving = batch(case.image("driving"))
    one = drafting.encode_source(source, reference)
    twice = drafting.encode_source(source, reference, source)
    assert twice.memory[0][0].shape[2] == 2 * one.memory[0][0].shape[2] == 2048
    same = drafting.animate(twice, driving).frames
    torch.testing.assert_close(same, drafting.animate(one, driving).frames, atol=1e-4, rtol=0)
    other = drafting.encode_source(source, reference, face(case.image("driving")))
    assert (drafting.animate(other, driving).frames - same).abs().max() > 1e-3
