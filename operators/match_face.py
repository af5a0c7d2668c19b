# SPDX-License-Identifier: GPL-3.0-or-later
"""Showing where the driver's face is laid on the avatar, with anchors (`operators.rig.anchors`) that can be moved."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy

from ..backend_bridge.files.errors import InputError, MagPlusError
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.spec import Expected
from ..backend_bridge.rig.anchors import AnchorFile, read_anchors, write_anchors
from ..backend_bridge.worker_client.messages import Progress
from .avatar.bare_scene import bare_scene, captured_frame
from .avatar.reasons import no_controls
from .blender.operator import OperatorResult, refusing
from .blender.properties import RELATIVE_PATH, BoolProperty, IntProperty, StringProperty, with_properties
from .blender.wording import translated
from .measure_controls import choice_of
from .rig.anchors import (
    anchors_of,
    first_guess,
    is_mirrored,
    landmark_of,
    matched_places,
    places_of,
    put_anchors,
    put_back,
    remove_anchors,
)
from .rig.avatar import capture_problem, chosen_avatar, face_companions, seen_avatar_problem
from .rig.basis import Survey, survey_steps
from .rig.face import face_steps
from .rig.face_controls import chosen_controls, search_controls
from .rig.features import expected_anchors, find_features
from .rig.projection import present_projection
from .rig.steady import steadily
from .rig.studio import camera_to_use
from .rig.surface import LOOKING
from .running.job_manager import Outcome, Steps, TaskContext
from .running.steps import in_one_scene, run_to_end
from .running.task_operator import TaskOperator, busy_reason

Task = Callable[[TaskContext], Steps]

KIND = "anchors"


def show_anchors(context: bpy.types.Context, avatar: bpy.types.Object, last_job: Path | None) -> Task:
    """Return the task that puts anchors where the last job laid the driver's face or, before a job, where it may be."""

    def steps(_task: TaskContext) -> Steps:
        if problem := capture_problem(context, avatar):
            raise InputError(problem)
        with _captured(context) as camera:
            projection = present_projection(context, camera)
            places = _last_match(last_job, projection.size)
            known = places is not None
            if places is None:
                objects = (avatar, *face_companions(context, avatar))
                controls, excluded = chosen_controls(objects, choice_of(context.scene.magplus))
                if not (controls or excluded):  # no shape keys: what else its rig has
                    controls, excluded = search_controls(objects, projection)
                if not controls:
                    raise InputError(no_controls(avatar, excluded))

                def measure() -> Generator[Progress, None, tuple[Survey, tuple[Expected, ...]]]:
                    face = yield from face_steps(context, objects, projection, controls)
                    survey = yield from survey_steps(context, face, controls, excluded, responses=False)
                    return survey, expected_anchors((yield from find_features(context, survey)))

                (survey, expected), _ = yield from steadily(measure)
                expected_places = {anchor.landmark: anchor.position for anchor in expected}
                places = first_guess(survey.basis, expected_places)
            yield LOOKING
            yield from put_anchors(context, avatar, projection, places)
        yield LOOKING
        bpy.ops.ed.undo_push(message="Show Face Match")  # a timer is no operator
        if known:
            return Outcome("The anchors are where the driver's face was laid. Move those that are off, and run again.")
        return Outcome("The anchors are a first guess from what the rig moves. Move those that are off, and run.")

    return lambda task: in_one_scene(context, steps(task))


def pin_anchors(context: bpy.types.Context, avatar: bpy.types.Object, given: AnchorFile) -> None:
    """Put a file's anchors on the avatar as if they had been placed by hand. Raises `InputError`."""
    if problem := seen_avatar_problem(context):
        raise InputError(problem)
    with _captured(context) as camera:
        projection = present_projection(context, camera)
        places = given.places(projection.size)
        if is_mirrored(places):
            raise InputError(
                "The anchors have left and right the wrong way round; swap their names: the character's left is on the "
                "right of a picture of its face."
            )
        run_to_end(put_anchors(context, avatar, projection, places, pinned=True))


def export_anchors(context: bpy.types.Context, avatar: bpy.types.Object, path: Path) -> int:
    """Write where the avatar's anchors are in the camera's picture; return how many. Raises `InputError`."""
    if problem := seen_avatar_problem(context):
        raise InputError(problem)
    if not anchors_of(avatar):
        raise InputError("There are no anchors to export; use Show Face Match, and move those that are off.")
    with _captured(context) as camera:
        projection = present_projection(context, camera)
        places = places_of(avatar, projection)
    write_anchors(path, projection.size, places)
    return len(places)


@contextmanager
def _captured(context: bpy.types.Context) -> Iterator[bpy.types.Object]:
    """Let the scene be as the avatar is captured, at that frame, and give the camera: there are the places in px."""
    with (
        bare_scene(context, captured_frame(context.scene.magplus)),
        camera_to_use(context.scene, None) as camera,
    ):
        yield camera


def _last_match(last_job: Path | None, size: tuple[int, int]) -> dict[int, tuple[float, float]] | None:
    if last_job is None:
        return None
    try:
        return matched_places(JobFolder.open(last_job).read_report(), size)
    except MagPlusError:  # moved, deleted, or of an avatar's first run that failed: then the rig alone is asked
        return None


class MAGPLUS_OT_show_anchors(TaskOperator):
    """Show on the avatar where the driver's face was laid, with anchors that can be moved"""

    bl_idname = "magplus.show_anchors"
    bl_label = "Show Face Match"

    kind = KIND

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return busy_reason() or seen_avatar_problem(context)

    def task(self, context: bpy.types.Context) -> Task:
        """Return what is to be done."""
        settings = context.scene.magplus
        last = Path(bpy.path.abspath(settings.last_job)) if settings.last_job else None
        return show_anchors(bpy.context, chosen_avatar(context), last)


class _OnAnchors(bpy.types.Operator):
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there are anchors."""
        avatar = context.scene.magplus.avatar
        return avatar is not None and bool(anchors_of(avatar))


@with_properties
class MAGPLUS_OT_pick_anchor(_OnAnchors):
    """Select this anchor, to move it with G"""

    bl_idname = "magplus.pick_anchor"
    bl_label = "Select Anchor"

    landmark: int = IntProperty(options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Select it alone and make it active."""
        for obj in context.selected_objects:
            obj.select_set(False)
        for anchor in anchors_of(chosen_avatar(context)):
            if landmark_of(anchor) == self.landmark:
                anchor.select_set(True)
                context.view_layer.objects.active = anchor
        return {"FINISHED"}


@with_properties
class MAGPLUS_OT_reset_anchor(_OnAnchors):
    """Put this anchor back where it was found"""

    bl_idname = "magplus.reset_anchor"
    bl_label = "Reset Anchor"

    landmark: int = IntProperty(options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Move it back."""
        for anchor in anchors_of(chosen_avatar(context)):
            if landmark_of(anchor) == self.landmark:
                put_back(anchor)
        return {"FINISHED"}


class MAGPLUS_OT_remove_anchors(_OnAnchors):
    """Take the anchors away. The next run matches the faces by itself"""

    bl_idname = "magplus.remove_anchors"
    bl_label = "Remove Anchors"

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Remove them."""
        remove_anchors(chosen_avatar(context))
        return {"FINISHED"}


@with_properties
class MAGPLUS_OT_export_anchors(_OnAnchors):
    """Write where the anchors are in the camera's picture, for another file, shot or program"""

    bl_idname = "magplus.export_anchors"
    bl_label = "Export Anchors"
    bl_options = {"REGISTER"}

    filepath: str = StringProperty(name="File", subtype="FILE_PATH", default="anchors.json", options=RELATIVE_PATH)
    filter_glob: str = StringProperty(default="*.json", options={"HIDDEN"})
    # By this name Blender's file browser looks whether it has to ask before a file is written over.
    check_existing: bool = BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Ask for the file."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Write them."""
        count = export_anchors(context, chosen_avatar(context), Path(bpy.path.abspath(self.filepath)))
        self.report({"INFO"}, translated(f"Exported {count} anchors."))
        return {"FINISHED"}


@with_properties
class MAGPLUS_OT_import_anchors(bpy.types.Operator):
    """Place the anchors of a file, as if they had been moved by hand"""

    bl_idname = "magplus.import_anchors"
    bl_label = "Import Anchors"
    bl_options = {"REGISTER", "UNDO"}

    filepath: str = StringProperty(name="File", subtype="FILE_PATH", options=RELATIVE_PATH)
    filter_glob: str = StringProperty(default="*.json", options={"HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for an avatar."""
        return context.scene.magplus.avatar is not None

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Ask for the file."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Read and place them."""
        pin_anchors(context, chosen_avatar(context), read_anchors(Path(bpy.path.abspath(self.filepath))))
        return {"FINISHED"}


CLASSES = (
    MAGPLUS_OT_export_anchors,
    MAGPLUS_OT_import_anchors,
    MAGPLUS_OT_show_anchors,
    MAGPLUS_OT_pick_anchor,
    MAGPLUS_OT_reset_anchor,
    MAGPLUS_OT_remove_anchors,
)
