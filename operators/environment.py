# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's Python: which one it is, making it, and asking what it can do."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import bpy

from ..backend_bridge.environment.installation import Listener
from ..backend_bridge.environment.probe import Probe, probe
from ..backend_bridge.environment.venv import Environment, State
from ..backend_bridge.files.errors import MachineError
from ..backend_bridge.worker_client.messages import Progress
from .blender.operator import ExplainedOperator, OperatorResult, refusing
from .blender.wording import translated
from .running.background import in_thread
from .running.job_manager import Outcome, Steps, TaskContext
from .running.pace import DownloadForecast
from .running.task_operator import busy_reason, start_or_run

ROOT = __package__.rpartition(".")[0]
KIND = "environment"


def preferences(context: bpy.types.Context) -> Any:
    """Return the add-on's preferences (`magplus_addon.preferences.MagPlusPreferences`)."""
    return context.preferences.addons[ROOT].preferences


def own_environment(context: bpy.types.Context) -> Environment:
    """Return MagPlus's own environment, whether it is there or not."""
    chosen = preferences(context).environment_folder
    folder = bpy.path.abspath(chosen) if chosen else bpy.utils.extension_path_user(ROOT, path="environment")
    return Environment(Path(folder))


def environment_problem(context: bpy.types.Context) -> str:
    """Return why there is no Python for the worker, or an empty string. Only looks at the disk: it is asked often."""
    chosen = preferences(context)
    if chosen.environment_source == "OWN":
        return own_environment(context).problem()
    if not chosen.python:
        return "Choose the worker's Python in the preferences."
    if not Path(bpy.path.abspath(chosen.python)).is_file():
        return f"There is no Python at {chosen.python}; choose another in the preferences."
    return ""


def website() -> str:
    """Return the address of MagPlus's pages as the manifest has it, or an empty string."""
    with suppress(OSError, ValueError):
        manifest = tomllib.loads((Path(__file__).resolve().parents[1] / "blender_manifest.toml").read_text("utf-8"))
        return str(manifest.get("website", ""))
    return ""


def _waiting(context: bpy.types.Context) -> bool:
    """Whether MagPlus's own environment is in use and only waits for what this machine lacks."""
    own = preferences(context).environment_source == "OWN"
    return own and own_environment(context).state() is State.WAITING


def worker_python(context: bpy.types.Context) -> Path:
    """Return the Python that the worker runs in. Raises `MachineError` when there is none."""
    if problem := environment_problem(context):
        raise MachineError(problem)
    chosen = preferences(context)
    own = chosen.environment_source == "OWN"
    return own_environment(context).python if own else Path(bpy.path.abspath(chosen.python))


def offline_reason() -> str:
    """Return why nothing may be downloaded, or an empty string."""
    if bpy.app.online_access:
        return ""
    if getattr(bpy.app, "online_access_override", False):
        return "Blender was started in offline mode, so nothing can be downloaded; start it without that."
    return "Online access is off; allow it in the preferences (System > Network), or start Blender with --online-mode."


def create(
    environment: Environment,
    variant: str,
    python: Path | None = None,
    again: bool = False,
    signing: bool = False,
) -> Callable[[TaskContext], Steps]:
    """Return the task that makes an environment: minutes, and a large download that the user has agreed to."""

    def steps(task: TaskContext) -> Steps:
        if reason := offline_reason():
            raise MachineError(reason)
        task.log = environment.log_path

        def work(listener: Listener) -> None:
            environment.create(listener, variant=variant, python=python, again=again, signing=signing)

        yield from in_thread(work, task, "Creating the environment")
        found = yield from _probe(environment.python, task, environment)
        return Outcome("The environment is ready.", details=(found.text,), folder=environment.folder)

    return steps


def check(environment: Environment | None, python: Path) -> Callable[[TaskContext], Steps]:
    """Return the task that starts a Python and reports what it can do. `environment`: MagPlus's own, if it is."""

    def steps(task: TaskContext) -> Steps:
        found = yield from _probe(python, task, environment)
        if found.problems:
            raise MachineError(" ".join(found.problems))
        return Outcome("The worker can run.", details=(found.text,))

    return steps


def _probe(python: Path, task: TaskContext, environment: Environment | None) -> Generator[Progress, None, Probe]:
    def ask(_: Listener) -> Probe:
        return probe(python) if environment is None else environment.check()

    return (yield from in_thread(ask, task, "Checking the environment", abandon=True))


class MAGPLUS_OT_create_environment(ExplainedOperator):
    """Make the Python environment that the worker needs. Downloads packages after asking"""

    bl_idname = "magplus.create_environment"
    bl_label = "Create Environment"

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return busy_reason() or offline_reason()

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Ask for consent."""
        return context.window_manager.invoke_props_dialog(
            self, width=460, title="Create the Worker's Environment", confirm_text="Download and Install"
        )

    def draw(self, context: bpy.types.Context) -> None:
        """Say what will happen if the user agrees."""
        column = self.layout.column(align=True)
        column.label(text="PyTorch, OpenCV, MediaPipe and what they need will be downloaded")
        column.label(text="from the Python Package Index and from PyTorch's own index: 0.5 GB,")
        column.label(text="or about 3 GB for a graphics card. Nothing is sent anywhere.")
        column.label(text="On the disk that is 1.8 GB, more for a graphics card.")
        column.label(text="It takes some minutes, and can be cancelled at any time.")
        column.separator()
        column.label(text=translated(f"Into {own_environment(context).folder}"))
        column.label(text="Your system's and Blender's own Python stay as they are.")

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Make it."""
        task = create(own_environment(context), preferences(context).torch_variant, again=True)
        return start_or_run(self, KIND, task, DownloadForecast())


class MAGPLUS_OT_check_environment(ExplainedOperator):
    """Start the worker's Python and tell what it can do"""

    bl_idname = "magplus.check_environment"
    bl_label = "Check Environment"

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return busy_reason() or ("" if _waiting(context) else environment_problem(context))

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Ask it."""
        own = own_environment(context) if preferences(context).environment_source == "OWN" else None
        python = worker_python(context) if own is None else own.python
        return start_or_run(self, KIND, check(own, python))


class MAGPLUS_OT_show_preferences(bpy.types.Operator):
    """Open the preferences of MagPlus"""

    bl_idname = "magplus.show_preferences"
    bl_label = "Open Preferences"

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Show them."""
        bpy.ops.preferences.addon_show(module=ROOT)
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_create_environment, MAGPLUS_OT_check_environment, MAGPLUS_OT_show_preferences)
