# SPDX-License-Identifier: GPL-3.0-or-later
"""FOMM: equal to the authors' networks on the reference case, and a backend that behaves."""

from __future__ import annotations

import pytest
import torch

from magplus.backend_bridge.files.errors import InputError
from magplus.models.backends.fomm import (
    Fomm,
    FommOptions,
    KeypointDetector,
    inverse_2x2,
    movement_scale,
    relative_keypoints,
    warp,
)
from tests.models.backends.inputs import batch, face
from tests.parity.reference import Recorder, ReferenceCase

KEYPOINTS = {"atol": 1e-4, "half_atol": 1e-3}
PREDICTION = {"atol": 2e-5, "half_atol": 1e-3, "half_rtol": 1e-3}
INTERMEDIATE = {"atol": 1e-4, "half_atol": 1e-3, "half_rtol": 1e-3}
FRAMES = ("source", "driving_initial", "driving", "driving_2")


@pytest.fixture(scope="module")
def case():
    return ReferenceCase("fomm")


@pytest.fixture(scope="module")
def networks(case):
    """The two networks with the case's weights, in the plain memory layout, on one thread."""
    parts = {part: network.eval() for part, network in Fomm.build_parts().items()}
    for part, network in parts.items():
        case.load(part, network)
    return parts


@pytest.fixture(scope="module")
def backend(networks):
    return Fomm.from_state_dicts({part: network.state_dict() for part, network in networks.items()})


@pytest.fixture(scope="module")
def keypoints(case, networks):
    with torch.inference_mode():
        return {name: networks["kp_detector"](case.image(name)) for name in FRAMES}


@pytest.mark.parametrize("name", FRAMES)
def test_keypoints_and_jacobians(case, keypoints, name):
    case.check(f"kp_value/{name}", keypoints[name].value, **KEYPOINTS)
    case.check(f"kp_jacobian/{name}", keypoints[name].jacobian, **KEYPOINTS)


@torch.inference_mode()
def test_inside_the_keypoint_detector(case, networks):
    with Recorder(networks["kp_detector"], "down", "predictor", "kp") as seen:
        networks["kp_detector"](case.image("source"))
    case.check("kp_down/source", seen["down"][0], **INTERMEDIATE)
    case.check("kp_feature/source", seen["predictor"][0], **INTERMEDIATE)
    case.check("kp_logits/source", seen["kp"][0], **INTERMEDIATE)


def driven(keypoints, name):
    """The driving keypoints of case `name`: absolute, relative, and relative at the adapted scale."""
    driving = keypoints["driving_2" if name == "relscale2" else "driving"]
    source, reference = keypoints["source"], keypoints["driving_initial"]
    if name == "abs":
        return driving
    scale = movement_scale(source, reference) if name.startswith("relscale") else 1.0
    return relative_keypoints(source, driving, reference, scale)


@pytest.mark.parametrize("name", ["abs", "rel", "relscale", "relscale2"])
@torch.inference_mode()
def test_motion_transfer_and_prediction(case, networks, keypoints, name):
    generator, driving = networks["generator"], driven(keypoints, name)
    case.check(f"kp_norm_value/{name}", driving.value, **KEYPOINTS)
    case.check(f"kp_norm_jacobian/{name}", driving.jacobian, **KEYPOINTS)
    generated = generator(generator.encode(case.image("source")), keypoints["source"], driving)
    case.check(f"prediction/{name}", generated.prediction, **PREDICTION)


@torch.inference_mode()
def test_inside_the_generator(case, networks, keypoints):
    generator = networks["generator"]
    watched = ("dense_motion_network.hourglass", "down_blocks.1", "bottleneck", "final")
    with Recorder(generator, *watched) as seen:
        encoded = generator.encode(case.image("source"))
        generated = generator(encoded, keypoints["source"], driven(keypoints, "relscale"))
    tensors = {
        "mask": generated.motion.mask,
        "occlusion_map": generated.motion.occlusion_map,
        "deformation": generated.motion.deformation,
        "sparse_deformed": generated.motion.sparse_deformed,
        "deformed": warp(encoded.image, generated.motion.deformation),
        "dm_hourglass": seen["dense_motion_network.hourglass"][0],
        "gen_enc": seen["down_blocks.1"][0],
        "gen_bottleneck": seen["bottleneck"][0],
        "gen_logits": seen["final"][0],
    }
    for name, tensor in tensors.items():
        case.check(f"{name}/relscale", tensor, **INTERMEDIATE)


def test_every_stored_tensor_is_compared(case):
    compared = {f"{kind}/{name}" for kind in ("kp_value", "kp_jacobian") for name in FRAMES}
    compared |= {f"kp_{kind}/source" for kind in ("down", "feature", "logits")}
    compared |= {
        f"{kind}/{name}"
        for kind in ("kp_norm_value", "kp_norm_jacobian", "prediction")
        for name in ("abs", "rel", "relscale", "relscale2")
    }
    inside = "mask occlusion_map deformation sparse_deformed deformed dm_hourglass gen_enc gen_bottleneck gen_logits"
    compared |= {f"{kind}/relscale" for kind in inside.split()}
    assert {key.split("[")[0] for key in case.stored if not key.startswith("input/")} == compared


def test_backend_gives_the_same_pictures_in_batches(case, backend):
    """The backend's own mode (source encoded once, channels_last, a batch) is the authors' relative, scaled mode."""
    state = backend.encode_source(face(case.image("source")), face(case.image("driving_initial")))
    backend.batch_size = 2
    frames = backend.animate(state, batch(case.image("driving"), case.image("driving_2"))).frames
    case.check("prediction/relscale", frames[:1], atol=1e-4, half_atol=1e-3, half_rtol=1e-3)
    case.check("prediction/relscale2", frames[1:], atol=1e-4, half_atol=1e-3, half_rtol=1e-3)


def test_backend_in_absolute_mode(case, networks):
    backend = Fomm(networks, FommOptions(relative=False))
    state = backend.encode_source(face(case.image("source")), face(case.image("driving_initial")))
    frames = backend.animate(state, batch(case.image("driving"))).frames
    case.check("prediction/abs", frames, atol=1e-4, half_atol=1e-3, half_rtol=1e-3)


def test_reference_as_driving_frame_leaves_the_keypoints_alone(keypoints):
    source, reference = keypoints["source"], keypoints["driving_initial"]
    still = relative_keypoints(source, reference, reference, scale=1.7)
    torch.testing.assert_close(still.value, source.value)
    torch.testing.assert_close(still.jacobian, source.jacobian)


def test_closed_inverse():
    matrices = torch.randn(4, 10, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inverse_2x2(matrices), torch.linalg.inv(matrices))


def test_parts_are_reachable_by_name(backend):
    assert backend.kp_detector is backend.parts["kp_detector"]
    with pytest.raises(AttributeError):
        backend.discriminator  # noqa: B018


def test_wrong_checkpoints_are_refused(networks):
    states = {part: network.state_dict() for part, network in networks.items()}
    with pytest.raises(InputError, match="needs the part 'kp_detector'"):
        Fomm.from_state_dicts({"generator": states["generator"]})
    with pytest.raises(InputError, match="no FOMM checkpoint: generator lacks"):
        Fomm.from_state_dicts({"generator": states["kp_detector"], "kp_detector": states["kp_detector"]})
    with pytest.raises(InputError, match=r"kp_detector lacks 2 of 75 tensors, first jacobian\.bias"):
        Fomm.from_state_dicts({**states, "kp_detector": KeypointDetector(with_jacobian=False).state_dict()})
    with pytest.raises(InputError, match="1 unknown tensors, first extra"):
        Fomm.from_state_dicts({**states, "kp_detector": {**states["kp_detector"], "extra": torch.zeros(1)}})
    with pytest.raises(InputError, match=r"kp.bias has shape \[1\], not \[10\]"):
        Fomm.from_state_dicts({**states, "kp_detector": {**states["kp_detector"], "kp.bias": torch.zeros(1)}})
    damaged = {**states["kp_detector"], "kp.bias": torch.full((10,), torch.nan)}
    with pytest.raises(InputError, match="not finite"):
        Fomm.from_state_dicts({**states, "kp_detector": damaged})


def test_unknown_option_is_refused(networks):
    states = {part: network.state_dict() for part, network in networks.items()}
    with pytest.raises(
        InputError, match="no option 'speed'; its options are precision, relative, adapt_movement_scale"
    ):
        Fomm.from_state_dicts(states, options={"speed": 2})


@pytest.mark.parametrize(("options", "prepared", "atol"), [({}, False, 1e-4), ({"precision": "bfloat16"}, True, 0.03)])
def test_plain_port_and_half_precision(case, networks, options, prepared, atol):
    """The plain port is equal; half precision is near, keeps keypoints exact, and comes back as float32."""
    states = {part: network.state_dict() for part, network in networks.items()}
    backend = Fomm.from_state_dicts(states, options=options, prepared=prepared)
    state = backend.encode_source(face(case.image("source")), face(case.image("driving_initial")))
    frames = backend.animate(state, batch(case.image("driving"))).frames
    assert frames.dtype == state.source.value.dtype == torch.float32
    case.check("kp_value/source", state.source.value, **KEYPOINTS)
    case.check("prediction/relscale", frames, atol=atol, half_atol=max(atol, 1e-3), half_rtol=1e-3)
    halved = [name for name, parameter in backend.generator.named_parameters() if parameter.dtype == torch.bfloat16]
    assert bool(halved) == bool(options) and not any(name.startswith("dense_motion") for name in halved)
