# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of shots on a farm with nothing replaced: the engine's own program, real workers, killed and resumed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import bpy
import pytest

from tests.assets import tool, worker_python
from tests.blender.test_end_to_end import clip, shot  # noqa: F401 - fixtures

ROOT = Path(__file__).resolve().parents[3]
# A Blender with MagPlus in it, as a farm's machines have it: what follows --command is handed to the extension.
BLENDER = """
import importlib, sys
from pathlib import Path
sys.path.insert(0, {checkout!r})
from magplus.demo.own_blender import MODULE, own_blender
with own_blender(Path({resources!r}), source=Path({root!r})):
    code = importlib.import_module(f"{{MODULE}}.magplus_addon.commands").main(sys.argv[sys.argv.index("magplus") + 1:])
sys.exit(code)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bpy.app.version < (5, 3), reason="one series shows it; what they differ in has its own tests"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


@pytest.fixture
def blender(tmp_path: Path) -> Path:
    script = tmp_path / "blender.py"
    words = {"checkout": str(ROOT / "checkout"), "resources": str(tmp_path / "settings"), "root": str(ROOT)}
    script.write_text(BLENDER.format(**words), "utf-8")
    program = tmp_path / "blender"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))} "$@"\n', "utf-8")
    program.chmod(0o755)
    return program


@pytest.fixture
def listed(shot: Path, clip: Path, tmp_path: Path) -> Path:  # noqa: F811
    text = (
        f'[defaults]\nfile = "{shot}"\navatar = "Head"\ndriving = "{clip}"\nshape_keys = true\nframes = true\n'
        f'device = "cpu"\npython = "{worker_python()}"\n'
        '[[shot]]\nname = "quick"\ntrim = [5.7, 5.9]\nrender = true\n'
        '[[shot]]\nname = "later"\ntrim = [6.1, 6.3]\n'
    )
    path = tmp_path / "shots.toml"
    path.write_text(text, "utf-8")
    return path


def descendants_in(folder: Path) -> list[int]:
    """Return the processes that work on something in a folder, but for our own."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if int(entry.name) != os.getpid() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def test_a_farm_runs_a_list_and_resumes_it_after_a_kill(blender: Path, listed: Path, tmp_path: Path) -> None:
    subprocess.run([blender, "--background", "--command", "magplus", "batch", listed, "--openjd", tmp_path], check=True)
    template = tmp_path / "shots.openjd.json"
    results = tmp_path / "shots_results"
    parameters = f"file://{tmp_path / 'shots.parameters.json'}"
    command = [tool("openjd"), "run", template, "--job-param", parameters, "--job-param", f"Blender={blender}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as farm:
        journal = results / "quick" / "job.magplus" / "journal.jsonl"
        until = time.monotonic() + 600
        while not journal.exists() and farm.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        assert farm.poll() is None, farm.stdout.read() if farm.stdout is not None else ""
        for process in [farm.pid, *descendants_in(tmp_path)]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    kept = journal.read_bytes()

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "openjd_progress" in done.stdout and "openjd_status" in done.stdout
    assert journal.read_bytes().startswith(kept)  # what was finished before the kill was not made again
    summary = json.loads((results / "batch.json").read_bytes())
    assert [(each["name"], each["status"]) for each in summary["shots"]] == [
        ("quick", "finished"),
        ("later", "finished"),
    ]
    assert len(list((results / "quick" / "render").glob("quick_*.png"))) == 5
    assert (results / "quick" / "job.magplus" / "driver_apex.png").is_file()

    again = subprocess.run([blender, "--background", "--command", "magplus", "batch", listed, "--dry-run"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert "quick: finished\nlater: finished" in again.stdout
