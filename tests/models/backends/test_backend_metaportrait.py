# SPDX-License-Identifier: GPL-3.0-or-later
"""MetaPortrait: the base model is equal to the authors' on the reference case."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from magplus.backend_bridge.files.errors import InputError
from magplus.models.backends import checkpoints
from magplus.models.backends.base import DrivingBatch, FaceImage
from magplus.models.backends.metaportrait import MetaPortrait, MetaPortraitOptions
from magplus.models.backends.metaportrait.lines import Connectivity, describe, draw, mesh_layout, mouth_mask, palette
from magplus.models.backends.metaportrait.networks import Driving, Generator, warp
from magplus.models.backends.store import CheckpointStore
from magplus.models.magnification.motion import Motion
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
        gaze = torch.from_numpy(case.stored[f"ldmk58/{name}"])[None, 29:37]
        with Recorder(generator, *watched) as seen:
            generated = generator(source, Driving(drawn, drawn * mouth, gaze))
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


# ---------------------------------------------------------------------------------------------------- drawing

# Some rows of the authors' table, whose lines little covers in one of the case's pictures: row number -> landmarks.
ROWS = {328: (338, 350), 335: (335, 330), 494: (336, 546), 572: (315, 568), 600: (439, 596), 611: (622, 469)}


@pytest.mark.parametrize("row", ROWS)
def test_lines_have_the_authors_colours_and_places(case, row):
    """Where only this line is drawn, the case's picture shows exactly its pixels."""
    pairs = [(0, 0)] * row + [ROWS[row]]
    agreeing = []
    for name in ("source", "driving", "driving_2"):
        points = case.stored[f"ldmk669/{name}"]
        alone = draw(points, pairs).astype(int) - draw(points, pairs[:-1])
        body = alone.max(axis=2) > 0.8 * max(palette()[row])
        agreeing.append((alone == case.stored[f"line_uint8/{name}"]).all(axis=2)[body].mean() if body.any() else 0)
    assert max(agreeing) > 0.5


def test_palette_has_616_different_bright_colours():
    colours = palette()
    assert len(set(colours)) == 616 and max(map(max, colours)) == 232 and (0, 0, 0) not in colours


@pytest.mark.parametrize("name", FRAMES)
def test_mouth_box(case, name):
    points = (case.stored[f"ldmk58/{name}"] + 1) / 2
    assert np.array_equal(mouth_mask(points, (14, 15, 56, 57)), case.stored[f"mouth_mask/{name}"][0])


# ------------------------------------------------------------------------------------------------ the backend


def mesh(dx=0.0):
    """A 478-point stand-in for a face's landmarks, px of a 256 px crop; no two at one place."""
    random = np.random.default_rng(0)
    return (random.uniform(60, 196, (478, 3)) + np.array([dx, 0, 0])).astype(np.float32)


def motion(dx):
    flow = torch.zeros(1, 2, 256, 256)
    flow[:, 0] = dx
    return Motion(flow, torch.ones(1, 1, 256, 256))


@pytest.fixture(scope="module")
def faces(case):
    return FaceImage(case.image("source"), mesh()), FaceImage(case.image("source"), mesh(dx=7))


def test_landmarks_follow_the_measured_motion(case, generator, faces):
    """Approximate mode: drawn where the motion has carried the avatar's own landmarks, and said to be approximate."""
    backend = MetaPortrait({"generator": generator}, MetaPortraitOptions())
    state = backend.encode_source(*faces)
    assert any("approximate mode" in sentence for sentence in backend.warnings)
    frames = backend.animate(state, DrivingBatch(case.image("source"), motion(6.0))).frames
    layout = mesh_layout(faces[0].landmarks)
    moved = (faces[0].landmarks[:, :2] + [6, 0] + 0.5) / 256
    with torch.inference_mode():
        wanted = generator(state.encoded, describe(moved[None].astype(np.float32), layout)).prediction.clamp(0, 1)
    torch.testing.assert_close(frames, wanted, atol=0.02, rtol=0)


def test_no_motion_leaves_the_drawing_as_it_is(generator, faces):
    backend = MetaPortrait({"generator": generator}, MetaPortraitOptions())
    state = backend.encode_source(*faces)
    still = state.correspondence.carry(motion(0.0).flow)
    assert float(still.abs().max()) < 1e-6


def test_files_in_the_published_format(tmp_path, case, generator, faces):
    np.save(tmp_path / "landmarks.npy", case.stored["ldmk669/source"])
    np.save(tmp_path / "identity.npy", case.stored["source_id"])
    (tmp_path / "dense_669_connectivity.tsv").write_text("\n".join(f"{i}\t{i + 1}" for i in range(616)))
    store = CheckpointStore(tmp_path / "checkpoints")
    assert "added connectivity" in checkpoints.add(store, tmp_path / "dense_669_connectivity.tsv")[0]
    table = Connectivity()
    table.load_state_dict(store.read("metaportrait", "connectivity")[0])
    files = MetaPortraitOptions(str(tmp_path / "landmarks.npy"), str(tmp_path / "identity.npy"))
    backend = MetaPortrait({"generator": generator, "connectivity": table}, files)
    state = backend.encode_source(*faces)
    assert backend.warnings == []
    drawn = draw(case.stored["ldmk669/source"], [(i, i + 1) for i in range(616)])
    difference = np.abs(state.encoded.line[0].permute(1, 2, 0).numpy() * 255 - drawn)
    assert (difference > 1).any(axis=2).mean() < 0.01  # a landmark on the edge of a pixel may round the other way
    assert torch.equal(state.encoded.identity[0], torch.from_numpy(case.stored["source_id"]))


def test_files_that_make_no_sense(tmp_path, generator, faces):
    np.save(tmp_path / "landmarks.npy", np.zeros((68, 2)))
    options = MetaPortraitOptions(landmarks=str(tmp_path / "landmarks.npy"))
    with pytest.raises(InputError, match=r"needs dense_669_connectivity\.tsv"):
        MetaPortrait({"generator": generator}, options).encode_source(*faces)
    parts = {"generator": generator, "connectivity": Connectivity()}
    with pytest.raises(InputError, match=r"must be 669 × 2 finite numbers, not \(68, 2\)"):
        MetaPortrait(parts, options).encode_source(*faces)
    with pytest.raises(InputError, match=r"missing or no \.npy file"):
        MetaPortrait(parts, MetaPortraitOptions(landmarks="nowhere.npy")).encode_source(*faces)


def test_the_table_of_lines_may_be_missing(generator):
    backend = MetaPortrait.from_state_dicts({"generator": generator.state_dict()})
    assert list(backend.parts) == ["generator"]
