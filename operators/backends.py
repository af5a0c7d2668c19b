# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkpoint files of the published backends: taking them in, checking them, removing them.

The worker does it, as only its Python can read them; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..backend_bridge.backends import find_backend
from ..backend_bridge.environment.installation import run_program
from ..backend_bridge.files.errors import MagPlusError, error_of
from ..backend_bridge.worker_client.client import WORKER_SCRIPT
from ..backend_bridge.worker_client.process import python_command
from .blender.operator import ExplainedOperator, OperatorResult, refused
from .blender.properties import CollectionProperty, StringProperty, with_properties
from .environment import environment_problem, worker_python
from .running.background import in_thread
from .running.job_manager import Outcome, Status, Steps, TaskContext
from .running.task_operator import busy_reason, start_or_run

KIND = "backends"
DOING = {
    "list": "Looking at the backends",
    "add": "Taking the checkpoint in",
    "verify": "Checking the checkpoints",
    "check": "Trying the weights",
    "remove": "Removing the checkpoint",
}


def backend_problem(name: str) -> str:
    """Return why a backend can't be used, or an empty string. Only looks at the disk."""
    entry = find_backend(name)
    if entry.ready:
        return ""
    return f"{entry.title} needs its authors' checkpoint; add the file under Backends in the preferences."


def option_property(backend: str, option: str) -> str:
    """Return the name of the property that holds an option of a backend in the scene's settings."""
    return f"{backend}_{option}"


def chosen_options(settings: Any) -> dict[str, Any]:
    """Return what is set of the chosen backend and differs from its default."""
    chosen: dict[str, Any] = {}
    for option in find_backend(settings.backend).options:
        value = getattr(settings.backend_options, option_property(settings.backend, option.name))
        if option.choices:
            value = {str(each): each for each, _, _ in option.choices}[value]
        elif option.default is None:
            value = bpy.path.abspath(value) or None
        elif isinstance(option.default, tuple):
            value = tuple(bpy.path.abspath(each.strip()) for each in value.split(";") if each.strip())
        elif isinstance(option.default, float):
            value = round(value, 4)  # Blender keeps float32
        if value != option.default:
            chosen[option.name] = value
    return chosen


def check_arguments(
    picture: Path, clip: Path, trim: Sequence[float] | None = None, sheet: Path | None = None
) -> list[str]:
    """Return the arguments of the worker's `backends check` that come after the backend's name."""
    arguments = ["--picture", str(picture.absolute()), "--clip", str(clip.absolute())]
    if trim:
        arguments += ["--trim", *map(str, trim)]
    if sheet:
        arguments += ["--sheet", str(sheet.absolute())]
    return arguments


def ask_worker(python: Path, *arguments: str) -> Callable[[TaskContext], Steps]:
    """Return the task that runs `backends ARGUMENTS` in the worker's Python.

    What the worker says is the outcome's sentence and details; when it fails, its last line is the error.
    """

    def steps(task: TaskContext) -> Steps:
        command = python_command(python, WORKER_SCRIPT, "backends", *arguments)
        verb = next((argument for argument in arguments if argument in DOING), "")
        stage = DOING.get(verb, "Asking the worker")
        status, lines = yield from in_thread(lambda listener: run_program(command, listener), task, stage)
        printed = [line for line in lines if line.strip()]
        if status:
            if len(printed) < 2:
                raise error_of(status)(
                    printed[0] if printed else f"The worker ended with status {status} and said nothing."
                )
            # What was done all the same comes with it: one bad file among several is no reason to lose the others.
            return Outcome(
                printed[-1], Status.FAILED, details=tuple(printed[:-1]), exit_code=error_of(status).exit_code
            )
        return Outcome(printed[0] if printed else "Done.", details=tuple(printed[1:]))

    return steps


class _Verb(ExplainedOperator):
    """What the operators have in common: they need the worker's Python, and nothing else that runs."""

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return busy_reason() or environment_problem(context)

    def _ask(self, context: bpy.types.Context, *arguments: str) -> OperatorResult:
        try:
            python = worker_python(context)
        except MagPlusError as error:
            return refused(self, str(error))
        return start_or_run(self, KIND, ask_worker(python, *arguments))


@with_properties
class MAGPLUS_OT_add_checkpoint(_Verb):
    """Take a published checkpoint file in, so that its backend can be used. The file itself is left alone"""

    bl_idname = "magplus.add_checkpoint"
    bl_label = "Add Checkpoint File"

    directory: str = StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: bpy.types.bpy_prop_collection_idprop[bpy.types.OperatorFileListElement] = CollectionProperty(
        type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"}
    )
    filter_glob: str = StringProperty(
        default="*.pth;*.pt;*.tar;*.ckpt;*.bin;*.safetensors;*.tsv;*.zip", options={"HIDDEN"}
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Let the user pick files."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Take them in."""
        paths = [str(Path(self.directory) / file.name) for file in self.files if file.name]
        if not paths:
            return refused(self, "No file was chosen.")
        return self._ask(context, "add", *paths)


class MAGPLUS_OT_verify_checkpoints(_Verb):
    """Check the names, shapes and hashes of all checkpoints that were added"""

    bl_idname = "magplus.verify_checkpoints"
    bl_label = "Verify"

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Check."""
        return self._ask(context, "verify")


@with_properties
class MAGPLUS_OT_check_backend(_Verb):
    """Try the chosen backend's weights on a picture and on the driving video, judge them, and write a sheet of it"""

    bl_idname = "magplus.check_backend"
    bl_label = "Check Weights"

    filepath: str = StringProperty(subtype="FILE_PATH", options={"HIDDEN", "SKIP_SAVE"})
    filter_glob: str = StringProperty(default="*.png;*.jpg;*.jpeg;*.tif;*.tiff;*.webp", options={"HIDDEN"})

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        settings = context.scene.magplus
        if not find_backend(settings.backend).parts:
            return "This backend has no weights to check; choose another."
        if not settings.driving:
            return "Choose a driving video first: the weights are tried on it."
        return backend_problem(settings.backend) or super().problem(context)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Let the user pick a picture with a face."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Try them."""
        if not self.filepath:
            return refused(self, "No picture was chosen.")
        settings = context.scene.magplus
        picture, clip = Path(bpy.path.abspath(self.filepath)), Path(bpy.path.abspath(settings.driving))
        return self._ask(context, "check", settings.backend, *check_arguments(picture, clip))


@with_properties
class MAGPLUS_OT_remove_checkpoint(_Verb):
    """Delete what was taken in for this backend; the file that it came from is left alone"""

    bl_idname = "magplus.remove_checkpoint"
    bl_label = "Remove"

    backend: str = StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        """Ask first."""
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Delete."""
        return self._ask(context, "remove", self.backend)


CLASSES = (
    MAGPLUS_OT_add_checkpoint,
    MAGPLUS_OT_verify_checkpoints,
    MAGPLUS_OT_check_backend,
    MAGPLUS_OT_remove_checkpoint,
)
