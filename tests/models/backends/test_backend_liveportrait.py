# SPDX-License-Identifier: GPL-3.0-or-later
"""LivePortrait: equal to the authors' networks on the reference case, and a backend that behaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from magplus.backend_bridge.files.errors import InputError
from magplus.models.backends import checkpoints
from magplus.models.backends.liveportrait import LivePortrait, LivePortraitOptions, LivePortraitState
from magplus.models.backends.liveportrait.motion import EYES, K, Keypoints, rotation, transferred
from magplus.models.backends.liveportrait.networks import stitched
from magplus.models.backends.store import CheckpointStore
from tests.models.backends.inputs import batch, face
from tests.parity.reference import Recorder, ReferenceCase

KEYPOINTS = {"atol": 1e-5, "half_atol": 0}
TENSOR = {"atol": 1e-4, "half_atol": 1e-3, "half_rtol": 1e-3}
PREDICTION = {"atol": 0, "half_atol": 1e-3}
FRAMES = ("source", "driving_initial", "driving")
HEADS = ("pitch", "yaw", "roll", "t", "exp", "scale", "kp")


@pytest.fixture(scope="module")
def case():
    return ReferenceCase("liveportrait")


@pytest.fixture(scope="module")
def backend(case):
    """The backend with the case's weights."""
    networks = LivePortrait.build_parts()
    for part, network in networks.items():
        case.load(part, network)
    return LivePortrait.from_state_dicts({part: network.state_dict() for part, network in networks.items()})


@pytest.fixture(scope="module")
def raw(case, backend):
    """What the motion extractor's heads say of each frame, and the keypoints made of it."""
    outputs, keypoints = {}, {}
    with torch.inference_mode():
        for name in FRAMES:
            with Recorder(backend.motion_extractor, *(f"detector.fc_{head}" for head in HEADS)) as seen:
                keypoints[name] = backend.motion_extractor(case.image(name))
            outputs[name] = {head: seen[f"detector.fc_{head}"][0] for head in HEADS}
    return outputs, keypoints


@pytest.fixture(scope="module")
def keypoints(raw):
    return raw[1]


@pytest.mark.parametrize("name", FRAMES)
def test_motion_extractor(case, raw, name):
    outputs, keypoints = raw
    for head in HEADS:
        case.check(f"motion_raw/{name}/{head}", outputs[name][head], **KEYPOINTS)
    case.check(f"kp_transformed/{name}", keypoints[name].composed(), **KEYPOINTS)


def driven(keypoints):
    return transferred(keypoints["source"], keypoints["driving"], keypoints["driving_initial"], "all").composed()


@torch.inference_mode()
def test_relative_motion_and_stitching(case, backend, keypoints):
    source, moved = keypoints["source"].composed(), driven(keypoints)
    case.check("x_d_relative", moved, **KEYPOINTS)
    case.check("stitching_delta", backend.stitching(source, moved), **KEYPOINTS)
    case.check("x_d_stitched", stitched(backend.stitching, source, moved), **KEYPOINTS)


@torch.inference_mode()
def test_retargeting(case, backend, keypoints):
    source = keypoints["source"].composed()
    case.check("lip_delta", backend.lip(source, torch.tensor([[0.1, 0.4]])), **KEYPOINTS)
    case.check("eye_delta", backend.eye(source, torch.tensor([[0.3, 0.31, 0.2]])), **KEYPOINTS)


@pytest.mark.slow
@torch.inference_mode()
def test_warping_and_prediction(case, backend, keypoints):
    volume = backend.appearance_feature_extractor(case.image("source"))
    case.check("feature_3d", volume, **TENSOR)
    source = keypoints["source"].composed()
    warped = backend.warping_module(volume, source, stitched(backend.stitching, source, driven(keypoints)))
    case.check("occlusion_map", warped.occlusion_map, **TENSOR)
    case.check("deformation", warped.deformation, **TENSOR)
    case.check("warped", warped.features, **TENSOR)
    case.check("prediction", backend.spade_generator(warped.features), **PREDICTION)


def test_every_stored_tensor_is_compared(case):
    compared = {f"motion_raw/{name}/{head}" for name in FRAMES for head in HEADS}
    compared |= {f"kp_transformed/{name}" for name in FRAMES}
    compared |= {"x_d_relative", "x_d_stitched", "stitching_delta", "lip_delta", "eye_delta"}
    compared |= {"feature_3d", "occlusion_map", "deformation", "warped", "prediction"}
    assert {key.split("[")[0] for key in case.stored if not key.startswith("input/")} == compared


# -------------------------------------------------------------------------------------------------- motion transfer


def some(seed, count=1):
    """Keypoints of `count` imaginary faces."""
    values = torch.Generator().manual_seed(seed)
    angles = [0.3 * torch.randn(count, generator=values) for _ in range(3)]
    return Keypoints(
        torch.randn(count, 21, 3, generator=values),
        rotation(*angles),
        0.1 * torch.randn(count, 21, 3, generator=values),
        1 + 0.1 * torch.rand(count, 1, generator=values),
        0.1 * torch.randn(count, 3, generator=values),
    )


def test_keypoints_are_turned_and_moved_as_the_paper_says():
    """Roll turns x to y, yaw x away from z; translation does not move the depth."""
    quarter = torch.tensor([np.pi / 2])
    none = torch.zeros(1)
    x = torch.eye(3)[:1]
    torch.testing.assert_close(x @ rotation(none, none, quarter)[0], torch.tensor([[0.0, 1, 0]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(x @ rotation(none, quarter, none)[0], torch.tensor([[0.0, 0, -1]]), atol=1e-6, rtol=0)
    face = some(0)
    wanted = face.scale[0] * (face.canonical[0] @ face.rotation[0] + face.expression[0])
    torch.testing.assert_close(face.composed()[0, :, 2], wanted[:, 2])
    torch.testing.assert_close(face.composed()[0, :, :2], wanted[:, :2] + face.translation[0, :2])


@pytest.mark.parametrize("region", ["all", "exp", "pose", "lip", "eyes"])
def test_the_reference_itself_moves_nothing(region):
    source, reference = some(1), some(2)
    still = transferred(source, reference, reference, region)
    for values, unchanged in zip(still, source, strict=True):
        torch.testing.assert_close(values, unchanged, atol=1e-6, rtol=0)


def test_relative_motion_moves_what_the_region_says():
    source, driving, reference = some(1), some(3, count=2), some(2)
    face = transferred(source, driving, reference, "exp")
    assert torch.equal(face.rotation, source.rotation.expand(2, 3, 3))
    torch.testing.assert_close(face.expression - source.expression, driving.expression - reference.expression)
    head = transferred(source, driving, reference, "pose")
    assert torch.equal(head.expression, source.expression.expand(2, 21, 3))
    torch.testing.assert_close(head.rotation, driving.rotation @ reference.rotation.mT @ source.rotation)
    assert torch.equal(head.scale, source.scale.expand(2, 1))
    eyes = transferred(source, driving, reference, "eyes")
    moved = (eyes.expression != source.expression).any(2).any(0).nonzero().flatten().tolist()
    assert moved == sorted(EYES)


def test_absolute_motion_leaves_the_shape_of_the_face():
    """The driver's expression is taken over in some keypoints, in others along some axes; the size is the source's."""
    source, driving = some(1), some(3)
    face = transferred(source, driving)
    taken = (face.expression == driving.expression)[0]
    kept = (face.expression == source.expression)[0]
    assert (taken ^ kept).all()
    assert taken.all(1).nonzero().flatten().tolist() == [1, 2, 6, *range(11, 21)]
    partly = [(3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2)]
    assert [tuple(at) for at in (taken & ~taken.all(1, keepdim=True)).nonzero().tolist()] == partly
    assert torch.equal(face.rotation, driving.rotation) and torch.equal(face.scale, source.scale)


# ------------------------------------------------------------------------------------------------------- the backend


@pytest.mark.slow
def test_the_published_way_through_the_backend(case, backend):
    published = LivePortrait(backend.parts, LivePortraitOptions(region="all", stitching=True))
    state = published.encode_source(face(case.image("source")), face(case.image("driving_initial")))
    case.check("prediction", published.animate(state, batch(case.image("driving"))).frames, **PREDICTION)


@torch.inference_mode()
def test_a_multiplier_moves_the_keypoints_that_many_times_as_far(keypoints, backend, monkeypatch):
    """Exactly, where magnified pixels reach the keypoints through a network that was trained on other faces."""
    asked = []
    monkeypatch.setattr(backend, "motion_extractor", lambda image: keypoints["driving"], raising=False)
    monkeypatch.setattr(
        backend, "warping_module", lambda volume, source, driven: asked.append(driven) or Warped(driven)
    )
    monkeypatch.setattr(backend, "spade_generator", torch.nn.Linear(1, 1), raising=False)
    monkeypatch.setattr(backend.spade_generator, "forward", lambda x: x)
    state = LivePortraitState(torch.zeros(1), keypoints["source"], keypoints["driving_initial"])
    for multiplier in (1.0, 8.0):
        monkeypatch.setattr(backend, "options", LivePortraitOptions(driving_multiplier=multiplier))
        backend.generate(state, batch(torch.zeros(1, 3, 256, 256)))
    once, eight = (driven - keypoints["source"].composed() for driven in asked)
    torch.testing.assert_close(eight, 8 * once)


class Warped:
    def __init__(self, features):
        self.features = features


def test_the_brows_alone(keypoints):
    moved = transferred(keypoints["source"], keypoints["driving"], keypoints["driving_initial"], "brows")
    changed = (moved.expression != keypoints["source"].expression).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [1, 2]


def test_options_are_checked():
    with pytest.raises(InputError, match="option region must be one of all, exp, pose, lip, eyes, brows"):
        LivePortrait.from_state_dicts({}, options={"region": "nose"})


@pytest.mark.slow
def test_five_files(tmp_path, backend):
    """The small networks come in one file, each saved from inside DataParallel."""
    store = CheckpointStore(tmp_path / "checkpoints")
    states = {part: network.state_dict() for part, network in backend.parts.items()}
    names = {"retarget_shoulder": "stitching", "retarget_mouth": "lip", "retarget_eye": "eye"}
    small = {name: {f"module.{key}": tensor for key, tensor in states[part].items()} for name, part in names.items()}
    torch.save(small, tmp_path / "small.pth")
    sentences = checkpoints.add(store, tmp_path / "small.pth")
    assert [sentence for sentence in sentences if "added" in sentence] == [
        f"LivePortrait: added {part}, {count} tensors from small.pth."
        for part, count in (("eye", 12), ("lip", 8), ("stitching", 8))
    ]
    for part in ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator"):
        torch.save(states[part], tmp_path / "one.pth")
        checkpoints.add(store, tmp_path / "one.pth")
    assert store.missing(LivePortrait.info) == []
    assert all(row["ok"] for row in checkpoints.verify(store))


JITTER, MOST = 0.002, 0.05  # of a substitute's expression: its noise, and what it answers at most


class Extractor:
    """Reads an expression off a picture's brightness: too little of a large one, and never without jitter."""

    def __init__(self):
        self.random = torch.Generator().manual_seed(2)

    def __call__(self, image):
        seen = MOST * torch.tanh(image.mean(dim=(1, 2, 3)) / MOST)
        expression = (seen + JITTER * torch.randn(len(image), generator=self.random)).view(-1, 1, 1).expand(-1, K, 3)
        count = len(image)
        still = torch.zeros(count, K, 3), torch.eye(3).repeat(count, 1, 1)
        return Keypoints(*still, expression, torch.ones(count, 1), torch.zeros(count, 3))


@torch.inference_mode()
@pytest.mark.parametrize(("expression", "better"), [(0.001, "pixels"), (0.04, "multiplier")])
def test_magnified_pixels_are_for_small_changes_and_the_multiplier_for_large_ones(expression, better):
    """Both eight times as large; what comes back is an eighth. The extractor is a substitute."""
    errors = {}
    for name, pixels, multiplier in (("pixels", 8.0, 1.0), ("multiplier", 1.0, 8.0)):
        asked = []

        def warp(_volume, _source, driven, asked=asked):
            asked.append(driven)
            return Warped(driven)

        painter = torch.nn.Linear(1, 1)
        painter.forward = lambda x: x
        parts = {"spade_generator": painter, "motion_extractor": Extractor(), "warping_module": warp}
        backend = LivePortrait(parts, LivePortraitOptions(driving_multiplier=multiplier))
        neutral = Extractor()(torch.zeros(1, 3, 256, 256))._replace(expression=torch.zeros(1, K, 3))
        frames = torch.full((40, 3, 256, 256), pixels * expression)
        backend.generate(LivePortraitState(torch.zeros(1), neutral, neutral), batch(frames))
        restored = asked[0][:, 0, 0] / 8
        errors[name] = float((restored - expression).square().mean().sqrt())
    assert min(errors, key=errors.get) == better
