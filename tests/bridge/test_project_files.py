# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said in more than one file, held together."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from development.environments import SERIES
from development.stages import STAGES, blender_parts, left_out

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "blender_manifest.toml").read_text("utf-8"))["version"]


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_version_stands_in_the_manifest_alone() -> None:
    written = [path for path in tracked() if path.suffix in {".py", ".toml", ".cff", ".yml", ".json"}]
    places = [
        path.name
        for path in written
        if re.search(rf"""["']?{re.escape(VERSION)}["']?$""", path.read_text("utf-8"), re.M)
    ]
    assert places == ["blender_manifest.toml"]
    assert "version" in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dynamic"]
    assert not re.search("^version:", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)


def test_the_changelog_has_the_version() -> None:
    assert f"## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_workflow_runs_every_blender_series_and_both_commands() -> None:
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    assert re.findall(r"--series ([\d.]+)", workflow) == sorted(SERIES)
    stages = set(re.findall(r"--only (\w+)", workflow))
    assert stages == set(STAGES) and re.search(r"- demo$", workflow, re.M)
    assert "secrets." not in workflow


def test_no_test_is_left_out_of_every_blender_series() -> None:
    everything = [*SERIES.values()]
    whole = [version for version in everything if not left_out(version, everything, fast=False)]
    assert sorted(whole) == sorted([SERIES["4.2"], SERIES["5.3"]]), "the oldest and the newest"
    for version in everything:
        assert not left_out(version, [version], fast=False), "where one is tested alone it runs all"


def test_every_test_in_blender_is_in_one_of_the_parts() -> None:
    below = ROOT / "tests"
    places = [below / name for names in blender_parts().values() for name in names]
    found = [file for place in places for file in ([place] if place.is_file() else place.rglob("test_*.py"))]
    assert sorted(found) == sorted((below / "blender").rglob("test_*.py"))


def test_every_file_of_code_says_its_licence_first() -> None:
    for path in tracked():
        if path.suffix in {".py", ".cff", ".yml"}:
            first, _, rest = path.read_text("utf-8").partition("\n")
            if first.startswith("#!"):
                first = rest.partition("\n")[0]
            assert first == "# SPDX-License-Identifier: GPL-3.0-or-later", path
