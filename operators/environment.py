# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's Python: which one it is, making it, and asking what it can do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Generic, TypeVar

import bpy

from ..backend_bridge.environment import Environment, Probe, State, probe
from ..backend_bridge.errors import CancelledError, MachineError, MagPlusError
from ..backend_bridge.installation import Listener
from ..backend_bridge.messages import Progress
from .job_manager import Outcome, Status, Steps, TaskContext, manager

ROOT = __package__.rpartition(".")[0]
KIND = "environment"
ROLLBACK_PATIENCE = 3.0  # seconds that Blender waits, when it quits, for a half-made environment to be taken away

Found = TypeVar("Found")


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
        state = own_environment(context).state()
        return "" if state is State.READY else state.value
    if not chosen.python:
        return "Choose the worker's Python in the preferences."
    if not Path(bpy.path.abspath(chosen.python)).is_file():
        return f"There is no Python at {chosen.python}; choose another in the preferences."
    return ""


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
    environment: Environment, variant: str, python: Path | None = None, again: bool = False
) -> Callable[[TaskContext], Steps]:
    """Return the task that makes an environment: minutes, and a large download that the user has agreed to."""

    def steps(task: TaskContext) -> Steps:
        if reason := offline_reason():
            raise MachineError(reason)
        task.log = environment.log_path

        def work(listener: Listener) -> None:
            environment.create(listener, variant=variant, python=python, again=again)

        yield from _in_thread(work, task, "Creating the environment")
        found = yield from _probe(environment.python, task)
        return Outcome("The environment is ready.", details=(found.text,), folder=environment.folder)

    return steps


def check(environment: Environment | None, python: Path) -> Callable[[TaskContext], Steps]:
    """Return the task that starts a Python and tells what it can do; `environment` is MagPlus's own, if it is that."""

    def steps(task: TaskContext) -> Steps:
        if environment is not None and (state := environment.state()) is not State.READY:
            raise MachineError(state.value)
        found = yield from _probe(python, task)
        if found.problems:
            raise MachineError(" ".join(found.problems))
        return Outcome("The worker can run.", details=(found.text,))

    return steps


def _probe(python: Path, task: TaskContext) -> Generator[Progress, None, Probe]:
    return (yield from _in_thread(lambda _: probe(python), task, "Checking the environment", abandon=True))


class _Thread(threading.Thread, Generic[Found]):
    """Does work that waits, as its `Listener`; everything it learns is left in attributes for the main thread."""

    def __init__(self, work: Callable[[Listener], Found], task: TaskContext, stage: str) -> None:
        super().__init__(name="magplus-environment", daemon=True)
        self._work = work
        self._task = task
        self.now = Progress(stage, 0, 0)
        self.cancelled = threading.Event()
        self.error: Exception | None = None
        self.found: Found

    def run(self) -> None:
        try:
            self.found = self._work(self)
        except Exception as error:
            self.error = error  # raised again in the main thread

    def progress(self, stage: str, done: int, total: int) -> None:
        self.now = Progress(f"{stage} (MB)" if total else stage, done, total)

    def output(self, line: str) -> None:
        """The log has it."""

    def warning(self, text: str) -> None:
        self._task.warn(text)

    def check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise CancelledError("Cancelled; everything is as it was before.")


def _in_thread(
    work: Callable[[Listener], Found], task: TaskContext, stage: str, *, abandon: bool = False
) -> Generator[Progress, None, Found]:
    """Do `work` beside Blender and return what it returned, or raise what it raised.

    A cancel is passed on to the work, which undoes what it has done; `abandon` says that there is nothing to undo, so
    that the work may be left behind.
    """
    thread = _Thread(work, task, stage)
    thread.start()
    try:
        while thread.is_alive():
            try:
                yield thread.now
            except CancelledError:
                if abandon:
                    raise
                thread.cancelled.set()
    except GeneratorExit:
        thread.cancelled.set()
        thread.join(ROLLBACK_PATIENCE)
        raise
    if thread.error is not None:
        raise thread.error
    return thread.found


def _start(operator: bpy.types.Operator, task: Callable[[TaskContext], Steps]) -> set[str]:
    """Start a task, or in background mode run it to its end."""
    if not bpy.app.background:
        manager.start(KIND, task)
        return {"FINISHED"}
    outcome = manager.run(KIND, task)
    if outcome.status is not Status.FINISHED:
        operator.report({"ERROR"}, outcome.sentence)
        return {"CANCELLED"}
    for warning in outcome.warnings:
        operator.report({"WARNING"}, warning)
    operator.report({"INFO"}, " ".join((outcome.sentence, *outcome.details)))
    return {"FINISHED"}


class MAGPLUS_OT_create_environment(bpy.types.Operator):
    """Make the Python environment that the worker needs. Downloads packages after asking"""

    bl_idname = "magplus.create_environment"
    bl_label = "Create Environment"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Possible, or the reason why not as the tooltip."""
        reason = "MagPlus is busy; wait or cancel." if manager.busy else offline_reason()
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
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
        column.separator()
        column.label(text=f"Into {own_environment(context).folder}")
        column.label(text="Your system's and Blender's own Python stay as they are.")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make it."""
        return _start(self, create(own_environment(context), preferences(context).torch_variant, again=True))


class MAGPLUS_OT_check_environment(bpy.types.Operator):
    """Start the worker's Python and tell what it can do"""

    bl_idname = "magplus.check_environment"
    bl_label = "Check Environment"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Possible, or the reason why not as the tooltip."""
        reason = "MagPlus is busy; wait or cancel." if manager.busy else environment_problem(context)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask it."""
        try:
            return _start(self, check(None, worker_python(context)))
        except MagPlusError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}


class MAGPLUS_OT_show_preferences(bpy.types.Operator):
    """Open the preferences of MagPlus"""

    bl_idname = "magplus.show_preferences"
    bl_label = "Open Preferences"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Show them."""
        bpy.ops.preferences.addon_show(module=ROOT)
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_create_environment, MAGPLUS_OT_check_environment, MAGPLUS_OT_show_preferences)
