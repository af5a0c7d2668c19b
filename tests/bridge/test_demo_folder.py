# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo writes into an empty folder; one with files in it, a person's or an earlier run's, gets a new one inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from magplus.demo.own_blender import link_checkout
from magplus.demo.run import StepError, fresh_folder, main


def test_the_demo_deletes_nothing(tmp_path: Path) -> None:
    assert fresh_folder(tmp_path / "new") == tmp_path / "new"
    assert fresh_folder(tmp_path) == tmp_path, "an empty one is as good"
    for name in ("work", "job.magplus", "frames"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    assert fresh_folder(tmp_path) == tmp_path / "run2"
    (tmp_path / "run2").mkdir()
    assert fresh_folder(tmp_path) == tmp_path / "run3"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames", "job.magplus", "run2", "work"]
    with pytest.raises(StepError, match="is a file"):
        fresh_folder(tmp_path / "work" / "mine.txt")


def test_a_place_that_can_not_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a file").write_text("mine")
    tools = [f"--{each}={tmp_path}" for each in ("blender-python", "worker-python", "assets", "extension")]
    for name in ("a file/below", "x" * 300):
        assert main([f"--out={tmp_path / name}", *tools]) == 1
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1 and "can't be written" in printed


def test_a_checkout_is_linked_from_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "settings" / "extensions" / "user_default" / "magplus"
    for name in ("one", "two"):  # another checkout takes the place of the first
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        link_checkout(tmp_path / "settings", Path())
        assert link.resolve() == tmp_path / name
