# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `blender -b shot.blend --command magplus ...`, and from Python `main(["animate", ...])`.

Exit codes are those of `backend_bridge.files.errors.ExitCode`. Progress and sentences go to stderr; stdout carries only
what another program wants to read.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn, TextIO

import bpy

from ...backend_bridge.backends import BACKENDS
from ...backend_bridge.environment.torch_builds import VARIANTS
from ...backend_bridge.environment.venv import Environment
from ...backend_bridge.files.errors import ExitCode, InputError, MagPlusError, error_of
from ...backend_bridge.worker_client.messages import Progress
from ...operators import animate, backends, environment, measure_controls
from ...operators.animation.destination import LAYER, NEW_ACTION, REPLACE, SHOW_AS, Destination
from ...operators.live_link import import_live_link
from ...operators.measure_controls import choice_of, matching
from ...operators.rig.avatar import capture_problem, has_shape_keys
from ...operators.running.job_manager import Outcome, Status, Steps, TaskContext, manager
from ..panels import clock

_ANIMATION = {"new-action": NEW_ACTION, "layer": LAYER, "replace": REPLACE}
TELL_EVERY = 5.0  # seconds between two progress lines of one stage, where they can't overwrite each other

Verbs = argparse._SubParsersAction  # what argparse calls its own return value; it has no public name

_registered: list[object] = []


def main(argv: list[str]) -> int:
    """Run one command and return its exit code. Never raises and never exits the process."""
    try:
        options = _parser().parse_args(argv)
        run: Callable[[argparse.Namespace], ExitCode] = options.run
        return run(options)
    except SystemExit as leave:  # --help
        return int(leave.code or 0)
    except MagPlusError as error:
        return _tell(Outcome(str(error), Status.FAILED, exit_code=error.exit_code))
    except Exception:
        # The boundary to the shell: our own fault has its own exit code, and the traceback belongs to it.
        traceback.print_exc()
        return ExitCode.INTERNAL


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of printing the usage and exiting; takes no shortened options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}; `{self.prog} --help` lists the options.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="magplus", description="Put a real person's micro-expression on a character.")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_animate(verbs)
    _add_controls(verbs)
    _add_live_link(verbs)
    _add_environment(verbs)
    _add_backends(verbs)
    return parser


def _add_animate(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "animate",
        help="move the avatar of this file with a driving video",
        description="Render the avatar, move it with the driving video, bring the result into the file. "
        "What is not given is taken from the file's own settings.",
    )
    verb.set_defaults(run=_animate)
    source = verb.add_argument_group("what moves what")
    source.add_argument("--driving", metavar="VIDEO", help="video, picture, or folder of an image sequence")
    source.add_argument("--avatar", metavar="NAME", help="the mesh object whose face is to move")
    source.add_argument("--vertex-group", metavar="NAME", help="vertex group that marks the face")
    source.add_argument("--trim", nargs=2, type=float, metavar=("START", "END"), help="part of the video, in seconds")
    source.add_argument("--reference", type=_number_or_auto, metavar="auto|SECONDS", help="when the driver is at rest")
    source.add_argument("--face-index", type=int, metavar="N", help="which face drives, from left to right, from 0")
    source.add_argument("--sequence-rate", type=float, metavar="FPS", help="frame rate of an image sequence")
    method = verb.add_argument_group("how")
    method.add_argument("--backend", choices=[entry.name for entry in BACKENDS])
    method.add_argument(
        "--backend-option", action="append", type=_option, metavar="NAME=VALUE", help="see the backend's documentation"
    )
    method.add_argument("--alpha", type=_number_or_auto, metavar="auto|N", help="magnification factor")
    method.add_argument("--intensity", type=float, metavar="N", help="strength of the expression; 1 is the driver's")
    method.add_argument("--device", metavar="auto|cpu|cuda|mps", help="where the worker computes")
    method.add_argument(
        "--allow-cpu", action="store_true", default=None, help="go on on the CPU if the GPU's memory is too small"
    )
    method.add_argument("--python", type=Path, metavar="FILE", help="Python of the worker, instead of the preferences'")
    rig = verb.add_argument_group("controls of the rig", "Names, or patterns as in 'brow*'; `controls` lists them.")
    rig.add_argument("--only", nargs="+", metavar="NAME", help="solve these alone")
    rig.add_argument("--exclude", nargs="+", metavar="NAME", help="leave these alone")
    rig.add_argument("--lock", nargs="+", metavar="NAME", help="hold these at their present value")
    rig.add_argument("--mirror", nargs="+", metavar="NAME", help="let these and those of the other side move alike")
    rig.add_argument("--smoothing", type=float, metavar="SECONDS", help="smooth the curves; it lowers the apex")
    results = verb.add_argument_group("results", "With neither --frames nor --shape-keys the file's settings hold.")
    results.add_argument("--frames", action="store_true", help="make the image sequence")
    results.add_argument(
        "--shape-keys", action="store_true", help="key the avatar's shape keys, or the chosen controls"
    )
    results.add_argument("--show-as", choices=[name.lower() for name, _, _ in SHOW_AS], help="where the images go")
    _add_placing(results)
    results.add_argument("--output", type=Path, metavar="FOLDER", help="the job folder; an unfinished job is resumed")
    results.add_argument("--save", type=Path, metavar="FILE.blend", help="save the file with the result in it")


def _add_controls(verbs: Verbs) -> None:
    verb = verbs.add_parser("controls", help="list what can move the avatar's face, and how much of it the camera sees")
    verb.set_defaults(run=_controls)
    verb.add_argument("--avatar", metavar="NAME", help="the mesh object whose face is to move")
    verb.add_argument("--vertex-group", metavar="NAME", help="vertex group that marks the face")
    verb.add_argument("--json", action="store_true", help="JSON instead of a table")


def _add_live_link(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "live-link",
        help="key a Live Link Face recording onto the avatar of this file",
        description="Key a Live Link Face recording (CSV) onto the avatar's shape keys, by what their names mean. "
        "What is not given is taken from the file's own settings.",
    )
    verb.set_defaults(run=_live_link)
    verb.add_argument("recording", type=Path, metavar="FILE.csv")
    verb.add_argument("--avatar", metavar="NAME", help="the mesh object whose face is to move")
    verb.add_argument("--timecode-rate", type=Fraction, default=Fraction(60), metavar="FPS", help="default: 60")
    _add_placing(verb)
    verb.add_argument("--save", type=Path, metavar="FILE.blend", help="save the file with the result in it")


def _add_placing(group: argparse._ActionsContainer) -> None:
    """Add the options that say where in time and onto what a result goes."""
    group.add_argument("--start-frame", type=int, metavar="N", help="frame of the scene where the clip starts")
    group.add_argument("--stretch", type=float, metavar="N", help="play it N times longer; 1 is real time")
    group.add_argument(
        "--keep-apex",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="shift by half a frame at most, so that the apex falls on a frame of the scene",
    )
    group.add_argument(
        "--animation",
        choices=list(_ANIMATION),
        help="a new action, a layer on top of the present animation, or into the present action",
    )


def _add_environment(verbs: Verbs) -> None:
    verb = verbs.add_parser("environment", help="the worker's own Python: create it, check it")
    steps = verb.add_subparsers(title="commands", required=True, metavar="COMMAND")
    create = steps.add_parser("create", help="make the environment; needs Blender's online access")
    create.set_defaults(run=_create_environment)
    variants = [name for name, _, _ in VARIANTS]
    create.add_argument("--torch", choices=variants, help="which build of PyTorch; default: the preferences'")
    create.add_argument("--python", type=Path, metavar="FILE", help="the Python to make it from; default: one is found")
    create.add_argument("--again", action="store_true", help="make it anew even if it is ready")
    check = steps.add_parser("check", help="start the worker's Python and tell what it finds")
    check.set_defaults(run=_check_environment)
    check.add_argument("--python", type=Path, metavar="FILE", help="this Python instead of the preferences'")
    for step in (create, check):
        step.add_argument("--folder", type=Path, metavar="FOLDER", help="the environment; default: the preferences'")


def _add_backends(verbs: Verbs) -> None:
    verb = verbs.add_parser("backends", help="the published backends' checkpoint files: list, add, verify, remove")
    steps = verb.add_subparsers(title="commands", required=True, metavar="COMMAND")
    steps.add_parser("list", help="which backends there are, under which licences, and what is missing")
    steps.add_parser("add", help="take the networks out of downloaded files").add_argument(
        "what", nargs="+", metavar="FILE"
    )
    steps.add_parser("verify", help="check names, shapes and hashes of what was added").add_argument(
        "what", nargs="?", choices=[entry.name for entry in BACKENDS if entry.parts], metavar="BACKEND"
    )
    steps.add_parser("remove", help="delete what was taken in for a backend").add_argument(
        "what", nargs=1, choices=sorted({entry.folder for entry in BACKENDS if entry.parts}), metavar="BACKEND"
    )
    for name, step in steps.choices.items():
        step.set_defaults(run=_backends, verb=name)
        step.add_argument("--python", type=Path, metavar="FILE", help="Python of the worker, not the preferences'")
        if name in {"list", "verify"}:
            step.add_argument("--json", action="store_true", help="print JSON instead of sentences")


def _number_or_auto(text: str) -> float | str:
    try:
        return "auto" if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto") from None


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value  # a plain word needs no quotes


def _animate(options: argparse.Namespace) -> ExitCode:
    context = bpy.context
    _apply(options, context)
    order = animate.make_order(
        context,
        folder=options.output,
        python=options.python,
        device=options.device,
        allow_cpu=options.allow_cpu,
        backend_options=dict(options.backend_option or ()),
    )
    outcome = _run(animate.KIND, animate.animate(order))
    if outcome.status is Status.FINISHED:
        if options.save is not None:
            _save(options.save)
        print(outcome.folder)
    return _tell(outcome)


def _apply(options: argparse.Namespace, context: bpy.types.Context) -> None:
    """Write the options into the scene's settings, as a person would do in the sidebar."""
    settings = context.scene.magplus
    avatar = _avatar(context, options.avatar)
    if settings.avatar != avatar:
        settings.avatar = avatar
    if any(getattr(options, name) for name in ("only", "exclude", "lock", "mirror")):
        _measure(context)
        _choose(options, settings)
    if options.driving is not None:
        settings.driving = str(Path(options.driving).absolute())
    if options.trim is not None:
        settings.use_trim = True
        _set(settings, "trim_start", options.trim[0], "--trim")
        _set(settings, "trim_end", options.trim[1], "--trim")
    for name in ("reference", "alpha"):
        value = getattr(options, name)
        if value is not None:
            setattr(settings, f"{name}_mode", "AUTO" if value == "auto" else "GIVEN")
            if value != "auto":
                _set(settings, name, value, f"--{name}")
    if options.face_index is not None:
        settings.face_mode = "INDEX"
        _set(settings, "face_index", options.face_index, "--face-index")
    if options.frames or options.shape_keys:
        settings.frames, settings.shape_keys = options.frames, options.shape_keys
    if options.show_as is not None:
        settings.frames_to = options.show_as.upper()
    _apply_placing(options, settings)
    _set_given(options, settings, "vertex_group", "backend", "sequence_rate", "intensity", "smoothing")


def _apply_placing(options: argparse.Namespace, settings: bpy.types.PropertyGroup) -> None:
    if options.keep_apex is not None:
        settings.keep_apex = options.keep_apex
    if options.animation is not None:
        settings.animation = _ANIMATION[options.animation]
    _set_given(options, settings, "start_frame", "stretch")


def _set_given(options: argparse.Namespace, settings: bpy.types.PropertyGroup, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None:
            _set(settings, name, value, f"--{name.replace('_', '-')}")


def _choose(options: argparse.Namespace, settings: bpy.types.PropertyGroup) -> None:
    """Tick the list of controls as the options say."""
    named = {name: matching(settings, getattr(options, name) or ()) for name in ("only", "exclude", "lock", "mirror")}
    for entry in settings.controls:
        if options.only:
            entry.solve = entry.name in named["only"]
        if entry.name in named["exclude"]:
            entry.solve = False
        entry.lock = entry.lock or entry.name in named["lock"]
        if entry.name in named["mirror"]:
            if not entry.partner:
                raise InputError(f"--mirror: {entry.name!r} has no control of the other side that would move alike.")
            entry.mirror = True


def _measure(context: bpy.types.Context) -> None:
    settings = context.scene.magplus
    if problem := capture_problem(context, settings.avatar, settings.vertex_group):
        raise InputError(problem)
    outcome = _run(
        measure_controls.KIND, measure_controls.measure_controls(context, settings.avatar, settings.vertex_group)
    )
    if outcome.status is not Status.FINISHED:
        raise error_of(outcome.exit_code)(outcome.sentence)


def _set(settings: bpy.types.PropertyGroup, name: str, value: float | str, option: str) -> None:
    """Set a property, or say what it may be: Blender itself would clamp the value without a word."""
    rna = settings.bl_rna.properties[name]
    if isinstance(value, int | float) and not rna.hard_min <= value <= rna.hard_max:
        raise InputError(f"{option} must be between {rna.hard_min:g} and {rna.hard_max:g}, not {value:g}.")
    setattr(settings, name, value)


def _avatar(context: bpy.types.Context, name: str | None) -> bpy.types.Object:
    """Return the avatar: the one named, the one in the file's settings, or the only mesh that has shape keys."""
    scene = context.scene
    meshes = [candidate for candidate in scene.objects if candidate.type == "MESH"]
    if name is not None:
        for candidate in meshes:
            if candidate.name == name:
                return candidate
        there = ", ".join(repr(mesh.name) for mesh in meshes) or "none"
        raise InputError(f"There is no mesh object {name!r} in scene {scene.name!r}; its meshes: {there}.")
    if scene.magplus.avatar is not None:
        return scene.magplus.avatar
    faces = [mesh for mesh in meshes if has_shape_keys(mesh)] or meshes
    if len(faces) == 1:
        return faces[0]
    there = ", ".join(repr(mesh.name) for mesh in faces) or "there is no mesh in the scene"
    raise InputError(f"Name the avatar with --avatar: {there}.")


def _save(path: Path) -> None:
    """Save the file as a copy, so that its relative paths hold from there."""
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, check_existing=False)
    except (OSError, RuntimeError) as error:
        raise InputError(f"The file can't be saved as {path} ({str(error).strip()}); the result is kept.") from error


def _controls(options: argparse.Namespace) -> ExitCode:
    context = bpy.context
    settings = context.scene.magplus
    avatar = _avatar(context, options.avatar)
    if settings.avatar != avatar:
        settings.avatar = avatar
    if options.vertex_group is not None:
        settings.vertex_group = options.vertex_group
    _measure(context)
    if options.json:
        keys = ("name", "kind", "units", "pixels", "visibility", "partner", "note", "solve", "lock", "mirror")
        print(json.dumps([{key: getattr(entry, key) for key in keys} for entry in settings.controls], indent=2))
        return ExitCode.OK
    for entry in settings.controls:
        mark = "solved" if entry.solve and not entry.lock else "locked" if entry.lock else "-"
        print(f"{mark:7} {entry.pixels:8.1f} px  {entry.name:32} {entry.units} {entry.note}".rstrip())
    return ExitCode.OK


def _live_link(options: argparse.Namespace) -> ExitCode:
    context = bpy.context
    settings = context.scene.magplus
    avatar = _avatar(context, options.avatar)
    if settings.avatar != avatar:
        settings.avatar = avatar
    _apply_placing(options, settings)
    if not options.timecode_rate > 0:
        raise InputError("--timecode-rate must be above 0.")
    destination = Destination.from_settings(settings)
    report = import_live_link(
        context, options.recording, avatar, destination, choice_of(settings), options.timecode_rate
    )
    if options.save is not None:
        _save(options.save)
    return _tell(Outcome(report.bake.sentence, warnings=tuple(report.sentences())))


def _create_environment(options: argparse.Namespace) -> ExitCode:
    chosen = environment.preferences(bpy.context)
    task = environment.create(
        _environment(options.folder), options.torch or chosen.torch_variant, options.python, options.again
    )
    return _tell(_run(environment.KIND, task))


def _check_environment(options: argparse.Namespace) -> ExitCode:
    if options.python is not None:
        task = environment.check(None, options.python)
    elif options.folder is not None or environment.preferences(bpy.context).environment_source == "OWN":
        own = _environment(options.folder)
        task = environment.check(own, own.python)
    else:
        task = environment.check(None, environment.worker_python(bpy.context))
    return _tell(_run(environment.KIND, task))


def _backends(options: argparse.Namespace) -> ExitCode:
    flags = ["--json"] if getattr(options, "json", False) else []
    python = options.python or environment.worker_python(bpy.context)
    given = getattr(options, "what", None) or []
    what = [given] if isinstance(given, str) else list(given)
    if options.verb == "add":
        what = [str(Path(path).absolute()) for path in what]
    task = backends.ask_worker(python, *flags, options.verb, *what)
    outcome = _run(backends.KIND, task)
    if outcome.status is not Status.FINISHED:
        return _tell(outcome)
    print(outcome.sentence, *outcome.details, sep="\n")
    return outcome.exit_code


def _environment(folder: Path | None) -> Environment:
    return environment.own_environment(bpy.context) if folder is None else Environment(folder)


def _run(kind: str, task: Callable[[TaskContext], Steps]) -> Outcome:
    with _cancelled_by_signals():
        return manager.run(kind, task, ProgressLine(sys.stderr))


@contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """Let Ctrl-C and a farm's request to stop cancel the task, where Blender itself would wait or die."""
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, lambda *_: manager.cancel()) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            # None stands for a handler of Blender's own, which Python can't put back; the process is about to end.
            signal.signal(name, signal.SIG_DFL if handler is None else handler)


class ProgressLine:
    """Tells progress line by line, seldom enough for a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage = ""
        self._told = 0.0

    def __call__(self, progress: Progress) -> None:
        """Tell, unless the last line is too fresh."""
        now = time.monotonic()
        if progress.stage == self._stage and now - self._told < TELL_EVERY:
            return
        self._stage, self._told = progress.stage, now
        text = progress.stage
        if progress.total:
            text += f" {progress.done}/{progress.total}"
        if manager.seconds_left is not None:
            text += f", {clock(manager.seconds_left)} left"
        print(f"magplus: {text}", file=self._stream, flush=True)


def _tell(outcome: Outcome) -> ExitCode:
    """Tell on stderr how it ended; return the exit code."""
    for warning in outcome.warnings:
        print(f"magplus: warning: {warning}", file=sys.stderr)
    if outcome.status is Status.FAILED:
        log = f" The log is {outcome.log}." if outcome.log is not None and outcome.log.exists() else ""
        print(f"magplus: error: {outcome.sentence}{log}", file=sys.stderr)
        return outcome.exit_code
    print(f"magplus: {outcome.sentence}", file=sys.stderr)
    for line in outcome.details:
        print(f"magplus: {line}", file=sys.stderr)
    return outcome.exit_code


def register() -> None:
    """Make `--command magplus` known."""
    _registered.append(bpy.utils.register_cli_command("magplus", main))


def unregister() -> None:
    """Take it back."""
    bpy.utils.unregister_cli_command(_registered.pop())
