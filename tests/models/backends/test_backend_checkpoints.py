# SPDX-License-Identifier: GPL-3.0-or-later
"""`backends add|list|verify|remove`: what people download, good and bad, and what becomes of it."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from argparse import Namespace
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from magplus.backend_bridge.backends import CheckpointFile, checkpoint_folder
from magplus.backend_bridge.files.errors import InputError, MachineError
from magplus.models.backends import checkpoints, registry
from magplus.models.backends.checkpoints import add, add_all, describe, verify
from magplus.models.backends.fomm import Fomm
from magplus.models.backends.liveportrait import LivePortrait
from magplus.models.backends.reading import read_checkpoint
from magplus.models.backends.store import CheckpointStore


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file laid out as vox-cpk.pth.tar: two networks for inference among what only training needs."""
    path = tmp_path_factory.mktemp("downloads") / "vox.pth.tar"
    states = {part: network.state_dict() for part, network in Fomm.build_parts().items()}
    training = {
        "discriminator": {"discs.1.conv.weight": torch.zeros(3, 3)},
        "optimizer_generator": {"state": {0: {"step": 7, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 2e-4}]},
        "epoch": 100,
        "loss": np.float64(0.5),
    }
    torch.save({**states, **training}, path)
    return path


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints")


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_checkpoint(path)
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


def test_the_networks_for_inference_are_taken_out_and_load(published, store):
    sentences = add(store, published)
    assert sentences[:2] == [
        "FOMM: added generator, 196 tensors from vox.pth.tar.",
        "FOMM: added kp_detector, 75 tensors from vox.pth.tar.",
    ]
    assert any("hash of vox.pth.tar is not one we know" in sentence for sentence in sentences)
    assert sorted(path.name for path in store.folder.rglob("*.*")) == [
        "generator.safetensors",
        "kp_detector.safetensors",
    ]
    backend = registry["fomm"].load(torch.device("cpu"), store.folder)
    original = torch.load(published, weights_only=False)["generator"]["final.weight"]
    torch.testing.assert_close(backend.generator.final.weight, original, rtol=0, atol=0)


def test_missing_checkpoint_says_where_to_get_it(store):
    with pytest.raises(InputError, match=r"vox-adv-cpk\.pth\.tar / vox-cpk\.pth\.tar .*github\.com.*backends add FILE"):
        registry["fomm"].load(torch.device("cpu"), store.folder)


def test_verify_finds_what_was_changed(published, store):
    add(store, published)
    assert [row["ok"] for row in verify(store)] == [True, True]
    path = store.path("fomm", "generator")
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    rows = {row["part"]: row for row in verify(store, "fomm")}
    assert rows["generator"]["problem"] == "the values changed since the file was added"
    assert rows["kp_detector"]["ok"]
    path.write_bytes(damaged[:1000])
    assert "is damaged" in verify(store)[0]["problem"]


def test_list_and_remove(published, store):
    (fomm,) = (row for row in describe(store) if row["name"] == "fomm")
    assert not fomm["ready"] and len(fomm["missing"]) == 1 and "(its generator, kp_detector)" in fomm["missing"][0]
    add(store, published)
    (fomm,) = (row for row in describe(store) if row["name"] == "fomm")
    assert fomm["ready"] and fomm["missing"] == []
    assert store.remove("fomm") and not store.remove("fomm")


def test_remove_takes_what_was_added_and_nothing_else(published, store):
    add(store, published)
    folder = store.folder / "fomm"
    store.path("fomm", "generator").write_bytes(b"damaged since")
    (folder / "notes.txt").write_text("mine")
    safetensors.torch.save_file({"x": torch.zeros(2)}, folder / "my_lora.safetensors")
    (folder / "renders").mkdir()
    assert store.remove("fomm")
    assert sorted(path.name for path in folder.iterdir()) == ["my_lora.safetensors", "notes.txt", "renders"]
    assert not store.remove("fomm")


def test_adding_replaces_what_was_added_and_nobodys_own_file(store):
    tensors, path = {"x": torch.zeros(2)}, store.path("fomm", "generator")
    path.parent.mkdir(parents=True)
    for damaged in (b"damaged since", b""):
        path.write_bytes(damaged)
        store.write("fomm", "generator", tensors, "some.pth", "")
    store.write("fomm", "generator", tensors, "some.pth", "")
    safetensors.torch.save_file({"mine": torch.ones(2)}, path)
    own = path.read_bytes()
    with pytest.raises(InputError, match="was not written by MagPlus; move it away"):
        store.write("fomm", "generator", tensors, "some.pth", "")
    assert path.read_bytes() == own


def test_a_file_in_the_place_of_a_folder_stays(store):
    store.folder.mkdir()
    (store.folder / "fomm").write_text("mine")
    assert not store.remove("fomm")
    with pytest.raises(MachineError, match="could not be written"):
        store.write("fomm", "generator", {"x": torch.zeros(2)}, "some.pth", "")
    assert (store.folder / "fomm").read_text() == "mine"


def test_remove_follows_no_link(store, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "generator.safetensors").write_text("mine")
    store.folder.mkdir()
    (store.folder / "fomm").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(InputError, match="is a link"):
        store.remove("fomm")
    assert [path.name for path in elsewhere.iterdir()] == ["generator.safetensors"]


def test_a_file_whose_dict_holds_itself_is_refused_in_a_sentence(store, tmp_path):
    round_and_round: dict[str, object] = {"weights": {"x": torch.zeros(2)}}
    round_and_round["model"] = round_and_round
    torch.save(round_and_round, tmp_path / "loop.pth")
    with pytest.raises(InputError, match="another model"):
        add(store, tmp_path / "loop.pth")


def test_files_that_a_backend_could_use_are_listed_too(store):
    (row,) = (row for row in describe(store) if row["name"] == "emoportraits")
    (sentence,) = row["optional"]
    assert sentence.startswith("EMOPortraits can use 79999_iter.pth (in repos.zip) (its face_parsing)")
    (sentence,) = row["missing"]
    assert sentence.startswith("EMOPortraits needs head_pose_regressor.pth")
    assert ", NNN_model.pth (in logs.zip" in sentence


def test_the_commands(published, store, capsys):
    def run(*arguments):
        status = checkpoints.main(["--folder", str(store.folder), *arguments])
        return status, capsys.readouterr()

    status, _ = run("add", str(published))
    assert status == 0
    status, printed = run("--json", "verify")
    assert status == 0 and [row["part"] for row in json.loads(printed.out)] == ["generator", "kp_detector"]
    status, printed = run("verify")
    assert "196 tensors, names and shapes as published" in printed.out
    status, printed = run("list")
    assert "FOMM: ready" in printed.out
    status, printed = run("add", "no/such/file")
    assert status == 2 and printed.err.startswith("There is no file")
    status, printed = run("remove", "fomm")
    assert printed.out == "fomm was removed.\n"


def test_saved_web_page(tmp_path):
    path = tmp_path / "vox-cpk.pth.tar"
    path.write_text("\n<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title></html>")
    assert "saved web page" in refusal(path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("\ufeff<!doctype html><p>Sign in".encode(), "saved web page"),
        (b"<!-- cached --><html>", "saved web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "saved web page"),
        (b'{"error": "rate limit exceeded"}', "text file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "no PyTorch checkpoint"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "no PyTorch checkpoint"),
    ],
)
def test_other_kinds_of_files(tmp_path, content, kind):
    path = tmp_path / "vox256.pt"
    path.write_bytes(content)
    assert kind in refusal(path)


def test_torchscript(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "model.pt")
    assert "TorchScript program" in refusal(tmp_path / "model.pt")


def test_table_that_joins_no_landmarks(tmp_path):
    path = tmp_path / "dense_669_connectivity.tsv"
    path.write_text("0\t1\n" * 615 + "0\t669\n")
    assert "joins landmarks that are none of the 669" in refusal(path)


@pytest.mark.parametrize("suffix", [".pt", ".pth.tar", ".safetensors"])
def test_whatever_is_damaged_is_read_or_refused_in_one_sentence(tmp_path, suffix):
    """Bytes lost, doubled or changed anywhere in a file of each format."""
    whole, damaged = tmp_path / f"whole{suffix}", tmp_path / f"damaged{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file({"w": torch.rand(200)}, whole)
    else:
        torch.save({"w": torch.rand(200), "epoch": 3}, whole, _use_new_zipfile_serialization=suffix == ".pt")
    random, content = np.random.default_rng(0), whole.read_bytes()
    refused = 0
    for _ in range(60):
        place, count = random.integers(len(content)), random.integers(1, 60)
        instead = random.bytes(random.integers(0, 60))
        damaged.write_bytes(content[:place] + instead + content[place + count :])
        try:
            read_checkpoint(damaged)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20


def test_git_lfs_pointer(tmp_path):
    path = tmp_path / "vox.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 728766691\n")
    assert "Git LFS pointer" in refusal(path)


def test_empty_file(tmp_path):
    path = tmp_path / "vox.pt"
    path.touch()
    assert "empty" in refusal(path)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_download(tmp_path, new_format, kept):
    whole, cut = tmp_path / "whole.pt", tmp_path / "cut.pt"
    torch.save({"w": torch.rand(10_000)}, whole, _use_new_zipfile_serialization=new_format)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * kept)])
    assert "not downloaded whole" in refusal(cut)


def test_truncated_download_of_a_known_size(tmp_path):
    path = tmp_path / "vox-cpk.pth.tar"
    path.write_bytes(b"\x80\x02" + bytes(998))
    assert "has 1,000 of 728,766,691 bytes" in refusal(path)


# ------------------------------------------------------------------------------------------- files as people have them


@pytest.fixture(scope="module")
def keypoints():
    """A small network of FOMM's, which only a re-saved file holds alone."""
    return Fomm.build_parts()["kp_detector"].state_dict()


def network_of(tensors):
    network = Fomm.build_parts()["kp_detector"]
    network.load_state_dict(tensors)
    return network


def flat(prefix, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def without_counters(tensors):
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    "saved",
    [
        pytest.param(lambda t, p: torch.save(t, p, pickle_protocol=4), id="a newer pickle"),
        pytest.param(lambda t, p: torch.save({"args": Namespace(lr=1.0), "model": t}, p), id="settings beside them"),
        pytest.param(
            lambda t, p: torch.save({"out": Path("runs"), "at": datetime(2024, 1, 1), "kp": t}, p), id="paths and dates"
        ),
        pytest.param(lambda t, p: torch.save(flat("kp_detector.", t), p), id="flat names"),
        pytest.param(lambda t, p: torch.save(flat("model.net.module.", t), p), id="flat names, deeper"),
        pytest.param(lambda t, p: torch.save(without_counters(t), p), id="no counters"),
        pytest.param(lambda t, p: torch.save({n: v.double() for n, v in t.items()}, p), id="double precision"),
        pytest.param(
            lambda t, p: torch.save({n: torch.nn.Parameter(v, False) for n, v in t.items()}, p), id="parameters"
        ),
        pytest.param(lambda t, p: torch.save({n: v.numpy() for n, v in t.items()}, p), id="arrays"),
        pytest.param(lambda t, p: torch.save(network_of(t), p), id="the network whole"),
        pytest.param(lambda t, p: safetensors.torch.save_file(t, p), id="safetensors under another name"),
        pytest.param(lambda t, p: torch.save(t, p, _use_new_zipfile_serialization=False), id="the old format"),
    ],
)
def test_a_file_is_known_by_its_tensors_however_it_was_saved(tmp_path, store, keypoints, saved):
    saved(keypoints, tmp_path / "anything.pth")
    assert add(store, tmp_path / "anything.pth")[0].startswith("FOMM: added kp_detector, 75 tensors")
    tensors, _ = store.read("fomm", "kp_detector")
    for name, tensor in keypoints.items():
        assert tensors[name].dtype == tensor.dtype and tensors[name].shape == tensor.shape
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_and_reported(tmp_path, store, keypoints, precision):
    half = {name: tensor.to(precision) if tensor.is_floating_point() else tensor for name, tensor in keypoints.items()}
    safetensors.torch.save_file(half, tmp_path / "kp.safetensors")
    sentences = add(store, tmp_path / "kp.safetensors")
    assert f"stored in {str(precision).removeprefix('torch.')}, with fewer digits than published" in sentences[1]
    assert all(row["ok"] for row in verify(store))


def test_a_small_file_under_a_published_name_is_read_before_it_is_judged(tmp_path, store, keypoints):
    torch.save({"kp_detector": keypoints}, tmp_path / "vox-cpk.pth.tar")  # stripped of what only training needs
    assert "added kp_detector" in add(store, tmp_path / "vox-cpk.pth.tar")[0]


def test_the_smaller_networks_of_liveportrait_in_one_flat_file(tmp_path, store):
    parts = LivePortrait.build_parts()
    names = {"retarget_shoulder_module": "stitching", "retarget_mouth_module": "lip", "retarget_eye_module": "eye"}
    tensors = {}
    for name, part in names.items():
        tensors |= flat(f"{name}.", parts[part].state_dict())
    path = tmp_path / "stitching_retargeting_module.safetensors"
    safetensors.torch.save_file(tensors, path)
    add(store, path)
    assert store.added(LivePortrait.info) == ["eye", "lip", "stitching"]
    assert store.missing_optional(LivePortrait.info) == []
    path.unlink()
    safetensors.torch.save_file(flat("retarget_shoulder_module.", parts["stitching"].state_dict()), path)
    assert "added stitching" in add(store, path)[0]


def test_animals_have_a_slot_of_their_own_and_a_replacement_is_reported(tmp_path, store):
    tensors = LivePortrait.build_parts()["appearance_feature_extractor"].state_dict()
    human = tmp_path / "liveportrait" / "base_models" / "appearance_feature_extractor.pth"
    animal = tmp_path / "liveportrait_animals" / "base_models" / "appearance_feature_extractor.pth"
    for path, change in ((human, 0.0), (animal, 1.0)):
        path.parent.mkdir(parents=True)
        torch.save({name: tensor + change for name, tensor in tensors.items()}, path)
    sentences = add_all(store, [tmp_path]).sentences
    assert any(sentence.startswith("LivePortrait: added appearance_feature_extractor") for sentence in sentences)
    assert any(
        sentence.startswith("LivePortrait, animals: added appearance_feature_extractor") for sentence in sentences
    )
    assert not any("replaces" in sentence for sentence in sentences)
    plain = tmp_path / "mine.pth"
    torch.save({name: tensor + 2 for name, tensor in tensors.items()}, plain)
    assert any("replaces the one from appearance_feature_extractor.pth" in each for each in add(store, plain))
    assert any("were there already" in each for each in add(store, plain))
    assert add_all(store, [plain], "liveportrait_animals").sentences[0].startswith("LivePortrait, animals: added")


def test_a_file_known_by_its_md5_alone(tmp_path, store, keypoints, monkeypatch):
    path = tmp_path / "vox-adv-cpk.pth.tar"
    torch.save({"kp_detector": keypoints}, path)
    known = CheckpointFile("vox-adv-cpk.pth.tar", "", ("kp_detector",), md5=hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(Fomm, "info", replace(Fomm.info, checkpoints=(known,)))
    assert not any("not one we know" in sentence for sentence in add(store, path))
    assert [row["published"] for row in verify(store)] == [True]


def test_a_folder_and_an_archive_are_gone_through(tmp_path, store, keypoints):
    folder = tmp_path / "pretrained_weights"
    (folder / "deep").mkdir(parents=True)
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, folder / "insight.pth")
    (folder / "README.md").write_text("...")
    torch.save(keypoints, folder / "deep" / "kp.pt")
    added = add_all(store, [folder])
    assert added.failed == [] and "added kp_detector" in added.sentences[0]
    assert any("Left alone, as checkpoints of other models: insight.pth." in sentence for sentence in added.sentences)
    store.remove("fomm")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(folder / "deep" / "kp.pt", "somewhere/kp.pt")
    assert "added kp_detector" in add_all(store, [tmp_path / "all.zip"]).sentences[0]


def test_a_bad_file_does_not_keep_the_others_out(tmp_path, keypoints, capsys):
    (tmp_path / "page.pth").write_text("<html>")
    torch.save(keypoints, tmp_path / "kp.pt")
    files = [str(tmp_path / name) for name in ("page.pth", "kp.pt", "gone.pth")]
    assert checkpoints.main(["--folder", str(tmp_path / "store"), "add", *files]) == 2
    printed = capsys.readouterr()
    assert "FOMM: added kp_detector" in printed.out
    assert printed.out.count("FOMM needs") == 1  # what is missing is told once
    assert "page.pth is a saved web page" in printed.err and "There is no file" in printed.err


def test_a_folder_or_an_archive_without_checkpoints(tmp_path, store):
    (tmp_path / "empty").mkdir()
    assert "no checkpoint that MagPlus knows" in add_all(store, [tmp_path / "empty"]).failed[0]
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", b"...")
    assert "no checkpoint that MagPlus knows in the archive logs.zip" in add_all(store, [path]).failed[0]


def test_a_shared_store_by_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGPLUS_CHECKPOINTS", str(tmp_path / "shared"))
    assert checkpoint_folder() == tmp_path / "shared"


class Payload:
    """Makes a mark when it is unpickled, as a malicious checkpoint would do worse."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, new_format):
    path, mark = tmp_path / "vox.pt", tmp_path / "ran"
    torch.save({"generator": Payload(mark)}, path, pickle_protocol=2, _use_new_zipfile_serialization=new_format)
    assert "program code" in refusal(path)
    path.write_bytes(pickle.dumps(Payload(mark), protocol=2))
    refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize("names", [1, 6])
def test_a_file_that_holds_itself_is_refused(tmp_path, store, names):
    circle: dict[str, Any] = {}
    circle |= {f"generator{name}": circle for name in range(names)} | {"list": [circle]}
    path = tmp_path / "circle.pth.tar"
    torch.save(circle, path)
    with pytest.raises(InputError) as refused:
        add(store, path)
    assert "\n" not in str(refused.value)


def test_a_file_that_nests_without_end_is_refused(tmp_path, store):
    nested: Any = torch.zeros(1)
    for _ in range(300):
        nested = {"a": nested}
    path = tmp_path / "deep.pth.tar"
    torch.save(nested, path)
    with pytest.raises(InputError):
        add(store, path)


def test_another_model(tmp_path, store, published):
    path = tmp_path / "resnet.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(InputError, match=r"resnet.pth is a checkpoint of another model; MagPlus knows FOMM"):
        add(store, path)
    states = torch.load(published, weights_only=False)
    del states["kp_detector"]
    states["generator"]["final.weight"] = torch.zeros(3, 32, 7, 7)
    torch.save(states, path)
    with pytest.raises(InputError, match="nearest: 195 of 196 tensors of FOMM's generator"):
        add(store, path)


def test_weights_that_are_not_finite(tmp_path, store, published):
    states = torch.load(published, weights_only=False)
    states["generator"]["final.bias"] = torch.full((3,), torch.inf)
    path = tmp_path / "vox.pt"
    torch.save(states, path)
    with pytest.raises(InputError, match=r"generator final\.bias holds values that are not finite"):
        add(store, path)
    assert not store.has("fomm", "generator")


def test_weights_saved_inside_data_parallel(tmp_path, store):
    states = {f"module.{name}": tensor for name, tensor in Fomm.build_parts()["kp_detector"].state_dict().items()}
    path = tmp_path / "kp.pt"
    torch.save(states, path)
    assert add(store, path)[0] == "FOMM: added kp_detector, 75 tensors from kp.pt."
