# SPDX-License-Identifier: GPL-3.0-or-later
"""MetaPortrait: the base model is equal to the authors' on the reference case."""

from __future__ import annotations

import pytest
import torch

from models.backends.metaportrait.networks import Driving, Generator, warp
from tests.parity.reference import Recorder, ReferenceCase

PREDICTION = {"atol": 1e-3, "half_atol": 5e-3}
MOTION = {"atol": 2e-4, "half_atol": 5e-3}
FRAMES = ("driving", "driving_2")


@pytest.fixture(scope="module")
def case():
    return ReferenceCase("metaportrait")


@pytest.fixture(scope="module")
def generator(case):
    network = Generator().eval().requires_grad_(False)
    case.load("generator", network)
    return network


def line(case, name):
    return torch.from_numpy(case.stored[f"line_uint8/{name}"] / torch.tensor(255.0).numpy()).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def source(case, generator):
    identity = torch.from_numpy(case.stored["source_id"])[None]
    return generator.encode(case.image("source"), line(case, "source"), identity)


@pytest.fixture(scope="module")
def runs(case, generator, source):
    """What the model gives, and what passes inside it, for both driving frames."""
    watched = ("ladder_network", "dense_motion_network.hourglass", "SPDAE_G.head_0", "SPDAE_G.up_1")
    results = {}
    for name in FRAMES:
        drawn = line(case, name)
        mouth = torch.from_numpy(case.stored[f"mouth_mask/{name}"]).float()[None]
        keypoints = torch.from_numpy(case.stored[f"ldmk58/{name}"])[None]
        with Recorder(generator, *watched) as seen:
            generated = generator(source, Driving(drawn, drawn * mouth, keypoints))
        results[name] = (generated, {part: outputs[0] for part, outputs in seen.items()})
    return results


@pytest.mark.parametrize("name", FRAMES)
def test_warping(case, source, runs, name):
    warping = runs[name][0].warping
    case.check(f"deformation/{name}", warping.deformation, **MOTION)
    case.check(f"occlusion_map/{name}", warping.occlusion_map, **MOTION)
    case.check(f"deformed/{name}", warp(source.image, warping.deformation), **PREDICTION)


@pytest.mark.parametrize("name", FRAMES)
def test_prediction(case, runs, name):
    case.check(f"prediction/{name}", runs[name][0].prediction, **PREDICTION)


def test_inside(case, runs):
    generated, inside = runs["driving"]
    case.check("style/driving", generated.warping.style, atol=2e-4, half_atol=5e-3)
    case.check("dm_hourglass/driving", inside["dense_motion_network.hourglass"], **PREDICTION)
    for level, condition in enumerate(generated.pyramid):
        assert len(case.keys(f"pyramid{level}/driving")) == 2
        case.check(f"pyramid{level}/driving", condition, **PREDICTION)
    case.check("head_0/driving", inside["SPDAE_G.head_0"], **PREDICTION)
    case.check("up_1/driving", inside["SPDAE_G.up_1"], **PREDICTION)


def test_lines_resized_each_from_the_one_before(case, generator, source, runs):
    """Resizing each size from the original is a plausible mistake; it moves the prediction by about 0.1."""
    generated = runs["driving"][0]
    drawn = line(case, "driving")
    pyramid = [condition.clone() for condition in generated.pyramid]
    for condition in pyramid:
        size = condition.shape[-1]
        condition[:, -6:-3] = torch.nn.functional.interpolate(drawn, (size, size), mode="bilinear")
    changed = generator.SPDAE_G(pyramid, source.identity)
    assert case.error("prediction/driving", changed) > 0.01


def test_spectral_norm_is_kept(generator):
    """The weight that is used is weight_orig / (uᵀ W v) with the stored vectors, which stay what they were."""
    layer = generator.SPDAE_G.head_0.conv_0
    before = layer.weight_u.clone()
    layer(torch.zeros(1, 512, 4, 4))
    sigma = layer.weight_u @ layer.weight_orig.flatten(1) @ layer.weight_v
    torch.testing.assert_close(layer.weight, layer.weight_orig / sigma)
    assert torch.equal(layer.weight_u, before)
