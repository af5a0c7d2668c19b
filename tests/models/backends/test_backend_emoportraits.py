# SPDX-License-Identifier: GPL-3.0-or-later
"""EMOPortraits: equal to the authors' networks on the reference case, and a backend that behaves."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Outputs
from magplus.models.backends import checkpoints
from magplus.models.backends.base import FaceImage
from magplus.models.backends.emoportraits import EmoPortraits, EmoPortraitsOptions
from magplus.models.backends.emoportraits.framing import head_mask
from magplus.models.backends.emoportraits.layers import AdaptiveGroupNorm, ResBlock, SpectralConv, StandardisedConv
from magplus.models.backends.emoportraits.networks import EncodedSource
from magplus.models.backends.emoportraits.parsing import FaceParser
from magplus.models.backends.emoportraits.pose import Pose, mixed
from magplus.models.backends.store import CheckpointStore
from magplus.models.face.mesh import FACE_OVAL
from magplus.models.pipeline.run import run_job
from magplus.models.pipeline.session import Session
from magplus.models.video import Mp4Writer, VideoReader
from tests.models.backends.inputs import batch
from tests.models.events import Quiet
from tests.parity.reference import Recorder, ReferenceCase

pytestmark = pytest.mark.timeout(900)  # two minutes of computing, more where the machine is shared
PREDICTION = {"atol": 1e-3, "half_atol": 2e-3}


@pytest.fixture(scope="module")
def case():
    return ReferenceCase("emoportraits")


@pytest.fixture(scope="module")
def backend(case):
    """The backend with the case's weights."""
    networks = {part: network for part, network in EmoPortraits.build_parts().items() if part in case.manifest}
    for part, network in networks.items():
        case.load(part, network)
    return EmoPortraits.from_state_dicts({part: network.state_dict() for part, network in networks.items()})


def enlarged(picture):
    """As the authors' wrapper brings a picture to the network's size when it does not crop."""
    return F.interpolate(picture, (512, 512), mode="bicubic", align_corners=False)


def grey(case, name):
    return torch.from_numpy(case.stored[f"input/{name}"] / np.float32(255))[None, None]


class Run(NamedTuple):
    """What the networks gave for the case's inputs, and what passed inside them."""

    source_pose: torch.Tensor
    encoded: EncodedSource
    aligned: torch.Tensor
    driving_pose: torch.Tensor
    expression: torch.Tensor
    prediction: torch.Tensor
    mixed_pose: torch.Tensor
    mixed_expression: torch.Tensor
    mixed_prediction: torch.Tensor
    inside: dict


@pytest.fixture(scope="module")
def run(case, backend):
    model = backend.model
    watched = ("local_encoder_nw", "volume_source_nw")
    with torch.inference_mode(), Recorder(model, *watched) as inside:
        head = enlarged(case.image("source")) * (grey(case, "face_parsing_prob") > 0.6)
        source_pose = backend.head_pose_regressor(head).matrix()
        before = []
        hook = model.volume_process_nw.register_forward_pre_hook(lambda _m, given: before.append(given[0]))
        encoded = model.encode(head, source_pose, grey(case, "source_mask"))
        hook.remove()
        aligned = model.expression_embedder_nw.align(head, source_pose)
        driving = enlarged(case.image("driving"))
        driving_pose = backend.head_pose_regressor(driving).matrix()
        expression = model.expression_embedder_nw(driving, driving_pose)
        volume = model.posed(encoded, expression, driving_pose)
        with Recorder(model, "decoder_nw.res_decoder") as in_decoder:
            prediction = model.decoder_nw(volume)
        mixed_pose = mixed(source_pose, driving_pose)
        mixed_expression = model.expression_embedder_nw(driving, mixed_pose)
        mixed_prediction = model.draw(encoded, mixed_expression, mixed_pose)
    seen = {name: outputs[0] for name, outputs in (inside | in_decoder).items()}
    seen |= {"canonical_before": before[0], "decoder_in": volume.flatten(1, 2)}
    return Run(
        source_pose,
        encoded,
        aligned,
        driving_pose,
        expression,
        prediction,
        mixed_pose,
        mixed_expression,
        mixed_prediction,
        seen,
    )


def check(case, name, full):
    """Within a thousandth of the largest value, two thousandths for what is stored in half precision."""
    for key in case.keys(name):
        stored = case.stored[key]
        share = 2e-3 if stored.dtype == np.float16 else 1e-3
        assert case.error(key, full) <= share * float(np.abs(stored).max()), key


@pytest.mark.slow
def test_the_source_is_encoded_as_the_authors_networks_do(case, backend, run):
    check(case, "theta_source", run.source_pose)
    check(case, "idt_embed", run.encoded.identity)
    check(case, "source_align", run.aligned)
    check(case, "expression_source", run.encoded.expression)
    check(case, "local_encoder", run.inside["local_encoder_nw"])
    check(case, "source_volume", run.inside["volume_source_nw"])
    with torch.inference_mode():
        embedding = backend.model.warp_embedding(run.encoded.expression, run.encoded.identity)
        check(case, "xy_delta", backend.model.xy_generator_nw.deltas(embedding))
    check(case, "canonical_volume_before", run.inside["canonical_before"])
    check(case, "canonical_volume", run.encoded.canonical)


@pytest.mark.slow
def test_a_driving_frame_is_drawn_as_the_authors_networks_do(case, backend, run):
    check(case, "theta/driving", run.driving_pose)
    check(case, "expression/driving", run.expression)
    with torch.inference_mode():
        embedding = backend.model.warp_embedding(run.expression, run.encoded.identity)
        check(case, "uv_delta/driving", backend.model.uv_generator_nw.deltas(embedding))
    check(case, "decoder_in/driving", run.inside["decoder_in"])
    check(case, "res_decoder/driving", run.inside["decoder_nw.res_decoder"])
    case.check("prediction/driving", run.prediction, **PREDICTION)


@pytest.mark.slow
@torch.inference_mode()
def test_frames_of_a_batch_are_independent(backend, run):
    expressions = torch.cat([run.expression, run.mixed_expression, run.encoded.expression])
    poses = torch.cat([run.driving_pose, run.mixed_pose, run.source_pose])
    together = backend.model.posed(run.encoded, expressions, poses)
    alone = backend.model.posed(run.encoded, run.mixed_expression, run.mixed_pose)
    torch.testing.assert_close(together[1:2], alone, atol=1e-3, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.slow
def test_the_drivers_pose_on_the_sources_proportions(case, run):
    check(case, "theta/driving/mix", run.mixed_pose[:, :3])
    case.check("prediction/driving/mix", run.mixed_prediction, **PREDICTION)


def test_every_stored_tensor_is_compared(case):
    source = "theta_source idt_embed source_align expression_source local_encoder source_volume xy_delta"
    source += " canonical_volume_before canonical_volume"
    driving = "theta expression uv_delta decoder_in res_decoder prediction"
    compared = {*source.split(), *(f"{name}/driving" for name in driving.split())}
    compared |= {"theta/driving/mix", "prediction/driving/mix"}
    assert {key.split("[")[0] for key in case.stored if not key.startswith("input/")} == compared


# ---------------------------------------------------------------------------------------------------------- blocks


def test_spectral_norm_and_weight_standardisation():
    spectral, standardised = SpectralConv(2, 4, 8), StandardisedConv(3, 4, 8)
    u, weight, v = spectral.weight_u, spectral.weight_orig, spectral.weight_v
    torch.testing.assert_close(spectral.normalised_weight(), weight / (u @ weight.flatten(1) @ v))
    kernels = standardised.normalised_weight().flatten(1)
    torch.testing.assert_close(kernels.mean(1), torch.zeros(8), atol=1e-6, rtol=0)
    torch.testing.assert_close(kernels.std(1), torch.ones(8), atol=1e-4, rtol=0)  # of n - 1; a little less than 1


@pytest.mark.parametrize(("resize", "factor"), [("double", 2.0), ("half", 0.5), ("", 1.0)])
def test_resizing_before_the_skip_path_is_the_same_as_after_it(resize, factor):
    torch.manual_seed(0)
    block, x = ResBlock(2, 32, 64, first=StandardisedConv, resize=resize).eval(), torch.rand(1, 32, 16, 16)
    at_size = F.interpolate(x, scale_factor=factor, mode="nearest") if resize == "double" else x
    y = block.block(block.block_feats(at_size)) + block.skip(at_size)
    published = F.avg_pool2d(y, 2) if resize == "half" else y
    torch.testing.assert_close(block(x), published, atol=2e-4, rtol=0)  # values up to 60


def test_an_adaptive_norm_applies_its_own_scale_and_shift_twice():
    norm, x = AdaptiveGroupNorm(32), torch.randn(1, 32, 2, 4, 4)
    with torch.no_grad():
        norm.weight.fill_(3.0)
        norm.bias.fill_(0.5)
        change = torch.full((1, 32, 2), 0.25)
        plain = F.group_norm(x, 32)
        torch.testing.assert_close(norm(x, change), (3 * plain + 0.5) * 3.25 + 0.75)


# --------------------------------------------------------------------------------------------------- face parsing


@pytest.fixture(scope="module")
def parser():
    network = FaceParser().eval().requires_grad_(False)
    ReferenceCase("face_parsing").load("face_parsing", network)
    return network


def test_the_face_parser_is_its_authors(parser):
    case = ReferenceCase("face_parsing")
    with Recorder(parser, "cp") as seen:
        scores = parser(case.image("picture"))
    case.check("scores", scores, atol=1e-4, half_atol=0)
    case.check("context", seen["cp"][0][1], atol=1e-4, half_atol=0)


def test_the_head_is_what_the_parser_calls_face_ears_neck_hair_and_hat(parser, monkeypatch):
    labels = torch.arange(19).view(1, 1, 19)
    monkeypatch.setattr(parser, "forward", lambda _image: F.one_hot(labels, 19).permute(0, 3, 1, 2))
    mask = parser.head_mask(torch.zeros(1, 3, 1, 19))
    assert (mask[0, 0, 0] == 0).nonzero().flatten().tolist() == [0, 15, 16]  # background, necklace, clothes


# ------------------------------------------------------------------------------------------------------------ pose


def poses(*rows):
    return Pose(*torch.tensor(rows).split(3, dim=1))


def test_a_pose_scales_turns_and_moves():
    quarter = poses([1.0, 1, 2, np.pi / 2, 0, 0, 0.1, 0.2, 0.3]).matrix()[0]  # yaw turns x towards y
    at = quarter @ torch.tensor([1.0, 0, 0, 1])
    torch.testing.assert_close(at, torch.tensor([-0.2, 1.1, 0.6, 1]), atol=1e-6, rtol=0)


def test_angles_beyond_their_range_are_clamped():
    beyond, at = poses([1.0, 1, 1, -9, 9, 0, 0, 0, 0]), poses([1.0, 1, 1, -np.pi / 2, np.pi, 0, 0, 0, 0])
    assert torch.equal(beyond.matrix(), at.matrix())


@pytest.mark.parametrize("rescale", [True, False])
def test_mixed_poses_by_polar_decomposition(rescale):
    source = poses([1.2, 0.9, 1.1, 0.1, 0.2, -0.1, 0.3, 0, 0.1]).matrix()
    driving = poses([0.8, 1, 1, -0.3, 0.1, 0.2, 0.1, -0.2, 0], [1, 1, 1, 0.0, 0, 0, 0, 0, 0.4]).matrix()
    for index, pose in enumerate(driving.double().numpy()):
        _, stretch = scipy.linalg.polar(_without_translation(source[0].double().numpy()))
        rotation, size = scipy.linalg.polar(_without_translation(pose))
        translation = np.eye(4)
        translation[:3, 3] = pose[:3, 3]
        wanted = translation @ rotation @ stretch
        if rescale:
            wanted = stretch * size.mean() / stretch.mean() @ rotation @ translation
        found = mixed(source, driving, rescale)[index]
        np.testing.assert_allclose(found[:3].numpy(), wanted[:3], atol=1e-6)
        assert found[3].tolist() == [0, 0, 0, 1]


def _without_translation(pose):
    linear = pose.copy()
    linear[:3, 3] = 0
    return linear


def test_a_pose_changes_as_another_does():
    source, reference = poses([1.0, 1, 1, 0.5, 0, 0, 0, 0, 0]), poses([2.0, 2, 2, 0.1, 0, 0, 0.2, 0, 0])
    driving = poses([2.0, 2, 4, 0.2, 0, 0, 0.2, 0.1, 0])
    changed = torch.cat(driving.relative_to(reference, source), dim=1)[0]
    torch.testing.assert_close(changed, torch.tensor([1, 1, 2, 0.6, 0, 0, 0, 0.1, 0]))
    assert all(map(torch.equal, reference.relative_to(reference, source), source))


# --------------------------------------------------------------------------------------------------------- framing


def mesh(low=150.0, high=400.0):
    """Landmarks in a square of a 512 px picture; the face oval is a circle."""
    landmarks = np.random.default_rng(0).uniform(low + 20, high - 20, (478, 3)).astype(np.float32)
    angle = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    middle, radius = (low + high) / 2, (high - low) / 2
    landmarks[list(FACE_OVAL), 0] = middle + radius * np.sin(angle)
    landmarks[list(FACE_OVAL), 1] = middle - radius * np.cos(angle)
    return landmarks


def test_the_head_is_more_than_the_face():
    mask = head_mask(mesh(150, 400), 512)[0, 0]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    assert columns.min() < 130 and columns.max() > 420 and rows.min() < 75 and 380 < rows.max() < 402


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pose": "left"}, "must be one of source, driver, mixed"),
        ({"pose": "mixed"}, "is absolute: it needs relative to be false"),
    ],
)
def test_options_that_make_no_sense(options, sentence):
    with pytest.raises(InputError, match=sentence):
        EmoPortraitsOptions(**options)


# ------------------------------------------------------------------------------------------------------- the backend


@pytest.fixture
def drawn(monkeypatch, backend, run):
    """Spares encoding and drawing, which cost most; keeps the expressions and poses to be drawn."""
    asked = []

    def draw(_encoded, expression, pose):
        asked.append((expression, pose))
        return torch.zeros(len(expression), 3, 512, 512)

    monkeypatch.setattr(backend.model, "encode", lambda *_: run.encoded)
    monkeypatch.setattr(backend.model, "draw", draw)
    return asked


def animate(backend, case, options, mask=None):
    """One driving frame, the case's source as reference, under some options; the sizes as they are."""
    driven = EmoPortraits(backend.parts, EmoPortraitsOptions(crop=False, **options))
    if mask is not None:
        driven._mask = lambda *_: mask
    source = FaceImage(case.image("source"), mesh(60, 200))
    state = driven.encode_source(source, source)
    return driven, state, driven.animate(state, batch(case.image("driving"))).frames


@pytest.mark.slow
def test_published_driving_is_absolute(case, backend, run, drawn):
    """The driver's own expression and pose; or its pose mixed with the source's, by which the driver is aligned too."""
    mask = (grey(case, "face_parsing_prob") > 0.6).float()
    animate(backend, case, {"relative": False, "pose": "driver"}, mask)
    torch.testing.assert_close(drawn[-1], (run.expression, run.driving_pose), atol=1e-4, rtol=0)
    animate(backend, case, {"relative": False, "pose": "mixed"}, mask)
    torch.testing.assert_close(drawn[-1], (run.mixed_expression, run.mixed_pose), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_relative_driving_adds_the_change_since_the_reference(case, backend, run, drawn):
    driven, state, frames = animate(backend, case, {})
    assert frames.shape == (1, 3, 512, 512)
    driven.animate(state, batch(case.image("source")))
    for (expression, pose), unchanged in zip(drawn, (False, True), strict=True):
        assert torch.equal(pose, state.source.pose.matrix())
        assert torch.allclose(expression, run.encoded.expression, atol=1e-4) == unchanged


@pytest.mark.slow
def test_a_head_that_turns_with_the_driver(case, backend, drawn):
    """At the reference the avatar keeps its pose; afterwards its pose changes as the driver's does."""
    driven, state, _ = animate(backend, case, {"pose": "driver"})
    driven.animate(state, batch(case.image("source")))
    (_, turned), (_, still) = drawn
    torch.testing.assert_close(still, state.source.pose.matrix(), atol=1e-5, rtol=0)
    assert (turned - still).abs().max() > 1e-3


@pytest.mark.slow
def test_the_missing_face_parser_is_said(case, backend, drawn):
    driven, _, _ = animate(backend, case, {})
    assert ["by its face landmarks" in sentence for sentence in driven.warnings] == [True]


@pytest.mark.slow
def test_with_the_face_parser_its_mask_is_used(case, backend, run, parser, monkeypatch):
    encoded_from = []

    def encode(head, _pose):
        encoded_from.append(head)
        return run.encoded

    monkeypatch.setattr(backend.model, "encode", encode)
    monkeypatch.setattr(parser, "head_mask", lambda shown: torch.full_like(shown[:, :1], 0.5))
    parsing = EmoPortraits({**backend.parts, "face_parsing": parser}, EmoPortraitsOptions(crop=False))
    source = FaceImage(case.image("source"), mesh(60, 200))
    parsing.encode_source(source, source)
    torch.testing.assert_close(encoded_from[0], enlarged(case.image("source")) * 0.5)
    assert parsing.warnings == []


@pytest.fixture(scope="module")
def published(tmp_path_factory, backend):
    """A folder with files laid out as the authors': the model's with networks of training in it."""
    folder = tmp_path_factory.mktemp("downloads")
    state = {**backend.model.state_dict(), "discriminator_ds.spn_0.weight": torch.zeros(4, 4)}
    torch.save(state, folder / "328_model.pth")
    torch.save(backend.head_pose_regressor.state_dict(), folder / "head_pose_regressor.pth")
    del state["volume_process_nw.input_tensor"]
    torch.save(state, folder / "other_model.pth")
    return folder


@pytest.fixture(scope="module")
def added(tmp_path_factory, published):
    """A store to which both files have been added, and what was said then."""
    store = CheckpointStore(tmp_path_factory.mktemp("store") / "checkpoints")
    files = ("328_model.pth", "head_pose_regressor.pth")
    return store, [checkpoints.add_all(store, [published / name]).sentences for name in files]


@pytest.mark.slow
def test_what_only_training_needs_is_left_out_of_the_files(added):
    store, (sentences, _) = added
    assert sentences[:2] == [
        "EMOPortraits: added model, 806 tensors from 328_model.pth.",
        "EMOPortraits: 1 tensors of networks that only training uses were left out.",
    ]
    assert any("may not be used commercially (CC BY-NC-SA 4.0)" in sentence for sentence in sentences)
    assert [row["ok"] for row in checkpoints.verify(store)] == [True, True]


@pytest.mark.slow
def test_a_file_that_is_missing_is_named(added, tmp_path):
    asked = added[1][0][-1]  # after the first of both files was added
    assert "needs head_pose_regressor.pth (in repos.zip)" in asked and "neeek2303/EMOPortraits" in asked
    with pytest.raises(InputError, match=r"head_pose_regressor\.pth .*CC BY-NC-SA 4\.0; not for commercial use"):
        EmoPortraits.load(torch.device("cpu"), tmp_path)


@pytest.mark.slow
def test_a_file_that_lacks_a_tensor_is_refused(added, published):
    with pytest.raises(InputError, match="nearest: 805 of 806 tensors of EMOPortraits's model"):
        checkpoints.add(added[0], published / "other_model.pth")


@pytest.mark.slow
def test_from_a_video_to_frames(tmp_path, added, real_clip, other_person):
    """The whole pipeline. The pictures in between are abstract, with such weights, but the result is of the avatar."""
    frames = [frame.image for frame in itertools.islice(VideoReader(real_clip), 9)]
    with Mp4Writer(tmp_path / "driver.mp4", Fraction(24), (640, 360)) as writer:
        for frame in (frames[0], frames[8]):
            writer.write(frame)
    avatar = (next(iter(VideoReader(other_person))).image * 255 + 0.5).astype(np.uint8)
    folder = JobFolder.create(tmp_path / "smile.magplus")
    folder.write("avatar/avatar.png", cv2.imencode(".png", cv2.cvtColor(avatar, cv2.COLOR_RGB2BGR))[1].tobytes())
    folder.write_spec(
        JobSpec(
            driving=Driving(str(tmp_path / "driver.mp4")),
            avatar=Avatar("avatar/avatar.png"),
            outputs=Outputs(frames=True),
            backend="emoportraits",
            device="cpu",
        )
    )
    report = run_job(folder, Session(added[0].folder), Quiet())
    assert report.backend.name == "emoportraits"
    assert report.backend.weights_licence == "CC BY-NC-SA 4.0"
    assert any("cut the avatar's head out by its face landmarks" in warning for warning in report.warnings)
    assert report.frames.count == 2 and report.frames.size == (640, 360)
    still = cv2.imread(str(folder.path / "frames" / f"{report.reference.index + 1:06d}.png"))
    assert np.abs(still[..., ::-1].astype(int) - avatar).max() <= 2
