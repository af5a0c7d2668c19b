# SPDX-License-Identifier: GPL-3.0-or-later
"""What a farm is handed: templates that its own tools accept, compiled as they compile them."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.assets import tool

ROOT = Path(__file__).resolve().parents[3]

# What a Flamenco Manager gives a job type, as its documentation describes it: a task is copied when it is added.
MANAGER = """
const explode = range => range.split(",").flatMap(part => {
    const [first, last] = part.split("-").map(Number), found = [];
    for (let number = first; number <= (last ?? first); number++) found.push(number);
    return found;
});
const merge = numbers => {
    const parts = [];
    for (let i = 0, j; i < numbers.length; i = j + 1) {
        for (j = i; numbers[j + 1] === numbers[j] + 1;) j++;
        parts.push(j > i ? `${numbers[i]}-${numbers[j]}` : `${numbers[i]}`);
    }
    return parts.join(",");
};
const frameChunker = (range, size) => {
    const all = explode(range), chunks = [];
    for (let i = 0; i < all.length; i += size) chunks.push(merge(all.slice(i, i + size)));
    return chunks;
};
const author = {
    Task: (name, type) => ({ name, type, commands: [], dependencies: [],
        addCommand(command) { this.commands.push(command); },
        addDependency(task) { this.dependencies.push(task.name); } }),
    Command: (name, parameters, steps = 0) => ({ name, parameters, steps }),
};
const job = { settings: SETTINGS, tasks: [], addTask(task) { this.tasks.push(JSON.parse(JSON.stringify(task))); } };
"""


@pytest.fixture
def farm(extension: str) -> ModuleType:
    return importlib.import_module(f"{extension}.magplus_addon.commands.batch.farm")


def compiled(settings: dict[str, Any], tmp_path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the job type's description and the tasks that it makes of settings."""
    script = tmp_path / "compile.py"
    script.write_text(
        "import quickjs, sys\nprint(quickjs.Context().eval(open(sys.argv[1], encoding='utf-8').read()))", "utf-8"
    )
    source = MANAGER.replace("SETTINGS", json.dumps(settings))
    source += (ROOT / "farm" / "flamenco" / "magplus-batch.js").read_text("utf-8")
    source += "\ncompileJob(job); JSON.stringify([JOB_TYPE, job.tasks])"
    (tmp_path / "job.js").write_text('"use strict";' + source, "utf-8")
    done = subprocess.run([tool("python"), script, tmp_path / "job.js"], capture_output=True, text=True, check=True)
    kind, tasks = json.loads(done.stdout)
    return kind, tasks


def test_flamenco_compiles_the_job_that_is_submitted(farm: ModuleType, tmp_path: Path) -> None:
    job = farm.FarmJob("list", 12, saved=(1, 7), rendered=(2,))
    submitted = json.loads(farm.flamenco(job, Path("/shots/list.toml"), Path("/results")))
    kind, tasks = compiled(submitted["settings"], tmp_path)
    assert {each["key"] for each in kind["settings"]} == submitted["settings"].keys()
    assert {each["type"] for each in kind["settings"]} <= {"string", "int32", "float", "bool"}
    assert (ROOT / "farm" / "flamenco" / f"{submitted['type']}.js").is_file()
    names = [task["name"] for task in tasks]
    assert names == [
        "capture-1-10",
        "capture-11-12",
        "run-1-5",
        "run-6-10",
        "run-11-12",
        "import-1",
        "import-7",
        "render-2",
    ]
    by_name = {task["name"]: task for task in tasks}
    assert by_name["run-6-10"]["dependencies"] == ["capture-1-10", "capture-11-12"]
    assert by_name["render-2"]["dependencies"] == ["import-1", "import-7"]
    (command,) = by_name["run-6-10"]["commands"]
    assert command["name"] == "exec"
    assert command["parameters"]["args"][3:] == (
        ["batch", "/shots/list.toml", "--results", "/results", "--step", "run", "--numbers", "6-10", "--keep-going"]
    )


def test_flamenco_without_renders_has_none(farm: ModuleType, tmp_path: Path) -> None:
    submitted = json.loads(farm.flamenco(farm.FarmJob("l", 1, (1,), ()), Path("/l.csv"), Path("/r")))
    _, tasks = compiled(submitted["settings"], tmp_path)
    assert [task["name"] for task in tasks] == ["capture-1", "run-1", "import-1"]


@pytest.mark.parametrize("rendered", [(), (1, 3)])
def test_open_job_description_accepts_the_template(farm: ModuleType, tmp_path: Path, rendered: tuple[int, ...]) -> None:
    template = tmp_path / "list.openjd.json"
    job = farm.FarmJob("a list", 3, saved=(1, 3), rendered=rendered)
    template.write_text(farm.open_job_description(job), "utf-8")
    checked = subprocess.run([tool("openjd"), "check", template], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
