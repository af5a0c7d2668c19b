# SPDX-License-Identifier: GPL-3.0-or-later
"""What a batch captures: each head once, and again where anything that it was made from has changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import pytest

from tests.blender.batch.a_list import CLIP, planned, results_of


def test_each_shot_is_captured_once_and_says_why(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert planned(main, capfd, listed) == {
        "one": "capture, run, import, render (new)",
        "two": "capture, run, import (new)",
        "three": "capture, run, import (new)",
    }
    assert main(listed, "--step", "capture") == 0
    printed = capfd.readouterr()
    assert (printed.out + printed.err).count(
        "avatar.png"
    ) == 2  # one render for each head, although there are three shots
    jobs = [results_of(listed, shot) / "job.magplus" for shot in ("one", "two", "three")]
    bases = [(job / "avatar" / "rig_basis.npz").read_bytes() for job in jobs]
    assert bases[0] == bases[1] != bases[2]
    assert json.loads((jobs[1] / "job.json").read_bytes())["magnification"]["alpha"] == 4
    assert planned(main, capfd, listed)["two"] == "run, import (captured, not run yet)"

    listed.write_text(listed.read_text().replace("alpha = 4", "alpha = 5"))
    assert planned(main, capfd, listed)["two"] == "capture, run, import (alpha is 5.0, was 4.0)"
    (listed.parent / CLIP).write_bytes(b"another clip")
    assert planned(main, capfd, listed)["one"] == "capture, run, import, render (the clip has changed)"


def test_a_shot_like_the_one_before_it_needs_no_other_look_at_the_file(main: Callable[..., int], listed: Path) -> None:
    shots = "".join(
        f'[[shot]]\nname = "{name}"\navatar = "Ann"\ntrim = [{begin}, {begin + 1}]\n{more}'
        for name, begin, more in (("a", 0, ""), ("b", 1, ""), ("c", 2, ""), ("d", 3, "alpha = 4\n"), ("e", 4, ""))
    )
    listed.write_text(listed.read_text().partition("[[shot]]")[0] + shots)
    opened: list[str] = []

    def note(path: str, *_: object) -> None:
        opened.append(path)

    note = bpy.app.handlers.persistent(note)
    bpy.app.handlers.load_pre.append(note)
    try:
        assert main(listed, "--step", "capture") == 0
        together = len(opened)
        jobs = {name: (results_of(listed, name) / "job.magplus" / "job.json").read_bytes() for name in "abcde"}
        for name in "abcde":
            assert main(listed, "--step", "capture", "--only", name, "--again") == 0
    finally:
        bpy.app.handlers.load_pre.remove(note)
    assert together == 4, "for the first, which is captured, for the next, and where alpha comes and goes"
    assert len(opened) == together + 5
    for name, job in jobs.items():
        assert (results_of(listed, name) / "job.magplus" / "job.json").read_bytes() == job


def test_a_library_saved_between_two_like_shots_is_read_again(
    main: Callable[..., int], listed: Path, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    library, later = listed.with_name("hat.blend"), listed.with_name("hat_later.blend")
    hat = bpy.data.objects.new("Hat", bpy.data.objects["Bob"].data)
    for path, height in ((library, 0.0), (later, 1.0)):
        hat.location = -2, 0, height
        bpy.data.libraries.write(str(path), {hat})
    bpy.data.objects.remove(hat)
    with bpy.data.libraries.load(str(library), link=True) as (_, linked):
        linked.objects = ["Hat"]
    bpy.context.scene.collection.objects.link(linked.objects[0])
    bpy.ops.wm.save_as_mainfile(filepath=str(listed.with_name("heads.blend")))
    shots = "".join(
        f'[[shot]]\nname = "{name}"\navatar = "Ann"\ntrim = [{begin}, {begin + 1}]\n'
        for begin, name in enumerate("abcd")
    )
    listed.write_text(listed.read_text().partition("[[shot]]")[0] + shots)
    steps = module("magplus_addon.commands.batch.steps")
    capture, seen = steps.capture, {}

    def then_saved(place: Any, *rest: Any) -> Callable[[Any], Any]:
        task = capture(place, *rest)

        def followed(context: Any) -> Any:
            outcome = yield from task(context)
            seen[place.shot.name] = bpy.data.objects["Hat"].location.z
            if place.shot.name == "c":
                shutil.copyfile(later, library)
            return outcome

        return followed

    monkeypatch.setattr(steps, "capture", then_saved)
    assert main(listed, "--step", "capture") == 0
    assert seen == {"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.0}


def test_chosen_controls_are_measured_first(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = listed.read_text()
    listed.write_text(text.replace("alpha = 4", 'only = ["Sm*", "Nod"]\nlock = ["Nod"]'))
    assert main(listed, "--step", "capture", "--only", "one", "two") == 0
    printed = "".join(capfd.readouterr())
    assert "Measuring the rig" in printed and "Traceback" not in printed
    job = json.loads((results_of(listed, "two") / "job.magplus" / "job.json").read_bytes())
    assert job["rig"]["locked"] == ["Nod"]
    bases = [
        (results_of(listed, shot) / "job.magplus" / "avatar" / "rig_basis.npz").read_bytes() for shot in ("one", "two")
    ]
    assert bases[0] != bases[1]
    listed.write_text(text.replace("alpha = 4", 'only = ["Teeth*"]'))
    assert main(listed, "--step", "capture", "--only", "two") == 2
    assert "No control is called 'Teeth*'; there are" in capfd.readouterr().err


def test_what_the_file_reads_is_a_part_of_it(
    main: Callable[..., int],
    listed: Path,
    capfd: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, assets = listed.parent, [listed.with_name(name) for name in ("hut ä.blend", "skin.png")]
    bpy.ops.wm.open_mainfile(filepath=str(folder / "heads.blend"))
    for asset in assets:
        asset.write_bytes(b"")
    bpy.data.libraries.write(str(assets[0]), {bpy.data.objects.new("Hat", bpy.data.meshes["Ann"].copy())})
    with bpy.data.libraries.load(str(assets[0]), link=True, relative=True) as (_, linked):
        linked.objects = ["Hat"]
    bpy.context.collection.objects.link(bpy.data.objects["Hat", "//hut ä.blend"])
    bpy.data.images.new("Skin", 8, 8).save(filepath=str(assets[1]))
    bpy.data.images.load(str(assets[1])).filepath = "//skin.png"
    bpy.data.images["skin.png"].use_fake_user = True
    bpy.ops.wm.save_mainfile()
    assert main(listed, "--step", "capture", "--only", "one") == 0
    for asset in assets:
        assert planned(main, capfd, listed)["one"] == "run, import, render (captured, not run yet)"
        content, changed = asset.read_bytes(), (1, 1)
        asset.write_bytes(content + b" ")
        assert asset.name in planned(main, capfd, listed)["one"]
        asset.write_bytes(content)
        os.utime(asset, changed)  # it was only written again
    moved = shutil.copytree(folder, tmp_path_factory.mktemp("moved") / "production") / listed.name
    assert planned(main, capfd, moved)["one"] == "capture, run, import, render (the clip lies elsewhere now)"


def test_files_that_options_name_are_a_part_of_the_shot(
    module: Callable[[str], ModuleType], listed: Path, extension: str
) -> None:
    results, anchors = module("magplus_addon.commands.batch.results"), listed.with_name("anchors.json")
    further = listed.with_name("other.png")
    option = 'backend_option = { more_sources = ["other.png"] }'
    listed.write_text(listed.read_text().replace("alpha = 4", f'anchors = "anchors.json"\n{option}'))
    _, two, _ = module("magplus_addon.commands.batch.shots").read_shots(listed)

    def made_from() -> str:
        return str(results.capture_inputs(two, results.FileHashes(), "1"))

    anchors.write_bytes(b"here")
    further.write_bytes(b"left")
    before = made_from()
    further.write_bytes(b"right")
    other = made_from()
    anchors.write_bytes(b"there")
    assert len({before, other, made_from()}) == 3


def test_which_worker_runs_a_shot_is_no_part_of_what_it_is_made_from(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = listed.read_text()
    listed.write_text(text.replace("alpha = 4", 'python = "worker of the list"'))
    assert main(listed, "--step", "capture", "--only", "two") == 0
    assert main(listed, "--step", "run", "--only", "two") == 3
    assert "worker of the list" in capfd.readouterr().err
    given = ("--python", listed.parent / "worker of this machine", "--checkpoints", listed.parent)
    assert main(listed, "--step", "run", "--only", "two", *given) == 3
    assert "worker of this machine" in capfd.readouterr().err
    listed.write_text(text.replace("alpha = 4", 'python = "another"\ncheckpoints = "store"'))
    assert planned(main, capfd, listed)["two"].startswith("run, import (")
    assert main(listed, "--openjd", listed.parent / "farm", *given) == 2
    assert "say `python` and `checkpoints` in the list" in capfd.readouterr().err


def test_a_kept_capture_that_was_damaged_is_made_again(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(listed, "--step", "capture", "--only", "one") == 0
    (kept,) = (listed.with_name("list_results") / "captures").iterdir()
    (kept / "avatar.png").write_bytes(b"damaged")
    capfd.readouterr()
    assert main(listed, "--step", "capture", "--only", "two") == 0
    assert "avatar.png" in "".join(capfd.readouterr())
    assert (results_of(listed, "two") / "job.magplus" / "avatar" / "avatar.png").read_bytes()[:4] == b"\x89PNG"
    assert main(listed, "--step", "capture", "--only", "one", "two", "--again") == 0
    assert "".join(capfd.readouterr()).count("avatar.png") == 1, "anew, and once for both"
