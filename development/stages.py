# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of `dev.py test` (lint, types, tests), and how their steps are run side by side."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.bpy_stubs import corrected_stubs

from .environments import (
    BLENDER_PYTHONS,
    CACHE,
    DEVELOPMENT_PACKAGES,
    NEWEST,
    NO_DEPRECATED,
    OLDEST,
    ROOT,
    TEST_PACKAGES,
    Command,
    assets,
    blender_environment,
    package_link,
    tools,
    worker_environment,
)

MEMORY, MEMORY_NEEDED = Path("/dev/shm"), 1 << 30  # bytes
SKIP_NOTHING = {"MAGPLUS_SKIP_NOTHING": "1"}  # a test that lacks what we fetch fails, see tests/assets.py

Step = tuple[str, Command, dict[str, str]]  # label, command, additions to the surroundings


def run_tests(stages: Sequence[str], versions: Sequence[str], fast: bool, jobs: int) -> int:
    """Run the stages' steps, `jobs` of them at a time and all of them even when one fails; print one line for each.

    Environments are made by the stages themselves, one after another. Of steps that run side by side each prints what
    it has to say in one piece, when it has ended.
    """
    outcomes: dict[str, tuple[bool, float]] = {}
    with ThreadPoolExecutor(jobs) as pool:
        running: list[Future[tuple[str, bool, float]]] = []
        try:
            for stage in sorted(stages, key=list(STAGES).index):
                running += [pool.submit(_run_step, step, jobs) for step in STAGES[stage](versions, fast)]
            for done in as_completed(running):
                label, succeeded, seconds = done.result()
                outcomes[label] = (succeeded, seconds)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    print()
    for label, (succeeded, seconds) in outcomes.items():
        print(f"{'passed' if succeeded else 'FAILED'}  {label}  ({seconds:.0f} s)")
    failed = sum(not succeeded for succeeded, _ in outcomes.values())
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _run_step(step: Step, jobs: int) -> tuple[str, bool, float]:
    label, command, extra = step
    print(f"\n=== {label}", flush=True)
    started = time.monotonic()
    surroundings = {**os.environ, **SKIP_NOTHING, **extra}
    if jobs > 1:
        # PyTorch would take every processor in each of them, and its threads wait for the one that gets none.
        surroundings.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // min(jobs, 4))))
        ended = subprocess.run(
            command, cwd=ROOT, check=False, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        heading = f"\n=== {label}, status {ended.returncode}\n"
        print(heading + ended.stdout.decode(errors="replace"), flush=True)
        status = ended.returncode
    else:
        status = subprocess.run(command, cwd=ROOT, check=False, env=surroundings).returncode
    return label, status == 0, time.monotonic() - started


def _lint(versions: Sequence[str], fast: bool) -> Iterator[Step]:
    python = tools()
    worker = worker_environment(DEVELOPMENT_PACKAGES + TEST_PACKAGES)
    package = str(package_link().parent)
    (installed,) = (CACHE / "tools").glob("[Ll]ib/**/site-packages")
    stubs = corrected_stubs(installed, CACHE / "stubs")

    def mypy(what: str) -> Command:  # they run side by side, and two can't share a cache
        return [python, "-m", "mypy", "--python-executable", worker, "--cache-dir", ROOT / ".mypy_cache" / what]

    yield "ruff check", [python, "-m", "ruff", "check", "."], {}
    yield "ruff format", [python, "-m", "ruff", "format", "--check", "."], {}
    yield "mypy dev.py", [*mypy("dev"), "dev.py", "development"], {}
    apart = _packages("backend_bridge", "models", "demo", "benchmarks")
    yield "mypy", [*mypy("worker"), *apart], {"MYPYPATH": package}
    yield (
        "mypy, with bpy",
        [*mypy("bpy"), *_packages("operators", "magplus_addon")],
        {"MYPYPATH": f"{package}{os.pathsep}{stubs}"},
    )


def _packages(*names: str) -> list[str]:
    return [part for name in names for part in ("-p", f"magplus.{name}")]


def _pytest(python: Path, tests: str | Sequence[str], *options: str, without: Sequence[str] = ()) -> Command:
    """Return the command that runs the tests of a folder, or of several files and folders, below `tests/`.

    without: marks of those that are left out.
    """
    places = [f"tests/{each}" for each in ([tests] if isinstance(tests, str) else tests)]
    command: Command = [python, "-m", "pytest", "-q", "-c", "tests/pytest.ini", *options, *places]
    return [*command, "-m", " and ".join(f"not {mark}" for mark in without)] if without else command


def _slow(fast: bool) -> list[str]:
    return ["slow"] if fast else []


def _bridge(versions: Sequence[str], fast: bool) -> Iterator[Step]:
    assets()
    worker_environment(DEVELOPMENT_PACKAGES + TEST_PACKAGES)
    tested: set[str] = set()
    for version in versions:
        if (series := BLENDER_PYTHONS[version]) not in tested:
            python, without = blender_environment(version), _slow(fast) + (["one_python"] if tested else [])
            tested.add(series)
            rest = _pytest(python, "bridge", "--ignore", "tests/bridge/drills", without=without)
            yield f"bridge, Python {series}", rest, {}
            yield f"drills, Python {series}", _pytest(python, "bridge/drills", without=without), _in_memory()


def _in_memory() -> dict[str, str]:
    """Return where tests that flush thousands of files to the disk keep them: in memory, where Linux has enough."""
    enough = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED
    return {"PYTEST_DEBUG_TEMPROOT": str(MEMORY)} if enough else {}


def _models(versions: Sequence[str], fast: bool) -> Iterator[Step]:
    assets()
    python = worker_environment(DEVELOPMENT_PACKAGES + TEST_PACKAGES)
    yield "models", _pytest(python, "models", without=_slow(fast)), {}


def left_out(version: str, versions: Sequence[str], fast: bool) -> list[str]:
    """Return the marks of the tests that one of the tested Blender versions leaves out.

    Where the oldest and the newest are tested, what depends on no series needs no third time.
    """
    between = {OLDEST, NEWEST} <= {*versions} and version not in (OLDEST, NEWEST)
    return _slow(fast) + (["two_series"] if between else [])


def _blender(versions: Sequence[str], fast: bool) -> Iterator[Step]:
    assets()
    tools()
    worker_environment(DEVELOPMENT_PACKAGES + TEST_PACKAGES)
    for version in versions:
        strict = ("-W", "error::DeprecationWarning") if version in NO_DEPRECATED else ()
        python, without = blender_environment(version), left_out(version, versions, fast)
        for part, tests in blender_parts().items():
            yield f"blender {version}, {part}", _pytest(python, tests, *strict, without=without), {}


def blender_parts() -> dict[str, list[str]]:
    """Return the tests of Blender's side in two parts, by name, each of which has a process of its own.

    No person opens 800 files in one Blender: after as many tests it has twice ended with a segmentation fault of its
    own that did not come again.
    """
    below = [path.relative_to(ROOT / "tests") for path in sorted((ROOT / "tests" / "blender").iterdir())]
    return {
        "rooms": [path.as_posix() for path in below if any((ROOT / "tests" / path).rglob("test_*.py"))],
        "verbs": [path.as_posix() for path in below if path.match("test_*.py")],
    }


# The longest steps begin first, so that none of them is left to run alone at the end.
STAGES = {"lint": _lint, "models": _models, "blender": _blender, "bridge": _bridge}
