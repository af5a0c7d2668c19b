# SPDX-License-Identifier: GPL-3.0-or-later
"""Capturing the avatar: its picture, the face's place in it, and what its rig does to it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import InputError, MagPlusError
from ...backend_bridge.job import artefacts
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.spec import AVATAR, Avatar, Expected
from ...backend_bridge.worker_client.messages import Progress
from ..blender.data import shape_keys_of
from ..blender.operator import ExplainedOperator, OperatorResult
from ..blender.properties import RELATIVE_PATH, EnumProperty, IntVectorProperty, StringProperty, with_properties
from ..blender.wording import translated
from ..rig.avatar import capture_problem, face_companions
from ..rig.basis import Survey, survey_steps
from ..rig.controls import RigControl
from ..rig.face import Face, face_steps, grown
from ..rig.face_controls import default_controls
from ..rig.features import expected_anchors, find_features
from ..rig.projection import camera_problem, picture_size, present_projection
from ..rig.steady import steadily
from ..rig.studio import Style, Viewpoint, camera_to_use, photograph, present_view
from ..rig.surface import rendered_objects
from ..running.background import computed_beside
from ..running.job_manager import Outcome, Steps, TaskContext, manager
from ..running.steps import in_one_scene, run_to_end
from ..running.task_operator import busy_reason
from .bare_scene import bare_scene
from .reasons import no_controls

KIND = "capture"
SMALLEST = 16  # px; nothing can be seen in a smaller picture


@dataclass(frozen=True)
class CaptureRequest:
    """What is captured, and how.

    target: the mesh with the face. further: other meshes whose controls are to be measured; see `face_companions`.
    vertex_group: the face within `target`; by default all of it. size: (width, height) px of the picture, None for the
    scene's render size. transparent: whether the world is left out of it; None does as the scene does. rig: whether to
    measure the rig basis. controls: what to measure, None for what `default_controls` finds. view: of a 3D viewport, to
    look from instead of the scene's camera. frame: of the scene, None for the present one. samples: of the render at
    most, None for as many as the scene has. longer_side: of the picture, in px, instead of its size. face_px: instead
    of both, of the face; the picture gets no larger than the scene's, and shows nothing else.
    """

    target: bpy.types.Object
    further: tuple[bpy.types.Object, ...] = ()
    vertex_group: str = ""
    size: tuple[int, int] | None = None
    transparent: bool | None = None
    rig: bool = True
    controls: tuple[RigControl, ...] | None = None
    view: Viewpoint | None = None
    frame: int | None = None
    samples: int | None = None
    longer_side: int | None = None
    face_px: int | None = None


def capture(
    context: bpy.types.Context, request: CaptureRequest, folder: JobFolder, *, blocking: bool
) -> Generator[Progress, None, Avatar]:
    """Render the avatar into a job folder and measure its rig, step by step.

    Everything in the file is left as it was, also after an error: what has to differ is set on a copy of the scene that
    lives as long as the capture. The job folder is kept from other runs meanwhile.

    Args:
        context: its scene and view layer are captured, at their present frame, engine and colour management.
        request: what is captured.
        folder: receives the picture, the rig basis and a record of the capture, in `avatar/`.
        blocking: whoever waits for the end in a loop has to say so: Blender's event loop stands still then, and a
            render beside it would not end. Otherwise Blender is free while it renders, too. In background mode every
            render blocks.

    Raises:
        InputError: nothing to capture, the camera does not see it, nothing of the rig can be keyed, or another scene
            was chosen meanwhile. InUseError: another run has the folder. MachineError: the render failed.
    """
    with folder.lock():
        return (yield from in_one_scene(context, _capture(context, request, folder, blocking)))


def _capture(
    context: bpy.types.Context, request: CaptureRequest, folder: JobFolder, blocking: bool
) -> Generator[Progress, None, Avatar]:
    target = request.target
    if problem := capture_problem(context, target, request.vertex_group):
        raise InputError(problem)
    if target.name_full not in set(rendered_objects(context.view_layer.layer_collection)):
        raise InputError(f"{target.name!r} is in a collection that renders leave out; switch its camera icon on.")
    if request.size is not None and min(request.size) < SMALLEST:
        width, height = request.size
        raise InputError(f"A picture of {width} x {height} px is too small; give at least {SMALLEST} px each way.")
    yield Progress("Measuring the rig", 0, 0)
    with bare_scene(context, request.frame), camera_to_use(context.scene, request.view) as camera:
        objects = (target, *request.further)
        controls, excluded = _controls(request)

        def measure() -> Generator[Progress, None, tuple[Face, Survey, tuple[Expected, ...]]]:
            size = request.size or (yield from _size(context, camera, request, controls))
            projection = present_projection(context, camera, size)
            face = yield from face_steps(context, objects, projection, controls, request.vertex_group)
            survey = yield from survey_steps(context, face, controls, excluded)
            return face, survey, expected_anchors((yield from find_features(context, survey)))

        (face, survey, expected), unsteady = yield from steadily(measure)
        if problem := capture_problem(context, target, request.vertex_group):  # by now
            raise InputError(problem)
        style = Style(face.projection.size, request.transparent, request.samples, request.face_px is not None)
        picture = yield from photograph(context, camera, face, style, blocking, unsteady)
    # All of it at the end: a capture that fails or is cancelled leaves the one before it whole.
    if request.rig:
        encoded = yield from computed_beside(survey.basis.encode, Progress("Writing the capture", 0, 0))
        folder.write(artefacts.AVATAR_BASIS, encoded)
    folder.write(artefacts.AVATAR_IMAGE, picture)
    rig_basis = artefacts.AVATAR_BASIS if request.rig else None
    avatar = Avatar(
        image=artefacts.AVATAR_IMAGE,
        face_box=grown(face.box(), [anchor.position for anchor in expected]),
        rig_basis=rig_basis,
        expected=expected,
    )
    folder.write(artefacts.AVATAR_RECORD, AVATAR.encode(avatar))
    return avatar


def _size(
    context: bpy.types.Context, camera: bpy.types.Object, request: CaptureRequest, controls: Sequence[RigControl]
) -> Generator[Progress, None, tuple[int, int] | None]:
    """Return the size in px at which the longer side, or the face, is as long as asked for; None for the scene's."""
    width, height = picture_size(context.scene)
    if request.longer_side is not None:
        share = request.longer_side / max(width, height)
    elif request.face_px is not None:
        projection = present_projection(context, camera)
        objects = (request.target, *request.further)
        face = yield from face_steps(context, objects, projection, controls, request.vertex_group)
        share = min(request.face_px / max(face.box()[2:]), 1.0)
    else:
        return None
    return max(round(width * share), SMALLEST), max(round(height * share), SMALLEST)


def _controls(request: CaptureRequest) -> tuple[tuple[RigControl, ...], dict[str, str]]:
    """Return the controls to measure, none without a rig, and why others can't be used."""
    if not request.rig:
        return (), {}
    found, excluded = request.controls, dict[str, str]()
    if found is None:
        defaults, excluded = default_controls((request.target, *request.further))
        found = tuple(defaults)
    if not found:
        raise InputError(no_controls(request.target, excluded))
    return found, excluded


@with_properties
class MAGPLUS_OT_capture(ExplainedOperator):
    """Render the avatar and measure its rig, into a job folder"""

    bl_idname = "magplus.capture"
    bl_label = "Capture Avatar"

    folder: str = StringProperty(
        name="Job Folder", description="Where the capture is kept", subtype="DIR_PATH", options=RELATIVE_PATH
    )
    target: str = StringProperty(name="Avatar", description="The mesh with the face; by default the active object")
    vertex_group: str = StringProperty(name="Face", description="Vertex group that marks the face")
    size: tuple[int, int] = IntVectorProperty(
        name="Size", description="Width and height in pixels; 0 takes the scene's", size=2, default=(0, 0), min=0
    )
    background: str = EnumProperty(
        name="Background",
        items=(
            ("SCENE", "As in the Scene", "Transparent if the scene's film is"),
            ("TRANSPARENT", "Transparent", "Leave the world out"),
        ),
    )
    look_through: str = EnumProperty(
        name="Look Through",
        items=(
            ("CAMERA", "Camera", "The scene's camera"),
            ("VIEW", "Viewport", "The 3D viewport that the operator is called from"),
        ),
    )
    rig: str = EnumProperty(
        name="Rig",
        description="Whether to measure what each shape key does",
        items=(
            ("AUTO", "If There Is One", "Measure the shape keys where the avatar has some"),
            ("NONE", "Picture Only", "Render the picture, leave the rig alone"),
        ),
    )

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return busy_reason() or camera_problem(context.scene.camera)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Start the capture and give Blender back while the render runs."""
        try:
            steps = self._steps(context, blocking=False)
        except MagPlusError as error:
            return self._failed(error)

        folder = Path(bpy.path.abspath(self.folder))

        def body(task: TaskContext) -> Steps:
            task.folder = folder
            yield from steps
            return Outcome("Captured the avatar.")

        manager.start(KIND, body)
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Capture and return when it is done."""
        try:
            run_to_end(self._steps(context, blocking=True))
        except MagPlusError as error:
            return self._failed(error)
        self.report({"INFO"}, translated(f"Captured the avatar into {self.folder}."))
        return {"FINISHED"}

    def _steps(self, context: bpy.types.Context, blocking: bool) -> Generator[Progress, None, Avatar]:
        target = context.view_layer.objects.get(self.target) if self.target else context.object
        problem = capture_problem(context, target, self.vertex_group)
        if problem or target is None:
            raise InputError(problem)
        if not self.folder:
            raise InputError("Choose a job folder to keep the capture in.")
        if self.folder.startswith("//") and not bpy.data.filepath:
            raise InputError("Save the file first, or choose a job folder: the results are kept there.")
        request = CaptureRequest(
            target,
            further=tuple(face_companions(context, target)),
            vertex_group=self.vertex_group,
            size=(self.size[0], self.size[1]) if all(self.size) else None,
            transparent=True if self.background == "TRANSPARENT" else None,
            rig=self.rig == "AUTO" and shape_keys_of(target) is not None,
            view=present_view(context) if self.look_through == "VIEW" else None,
        )
        return capture(context, request, JobFolder.create(Path(bpy.path.abspath(self.folder))), blocking=blocking)

    def _failed(self, error: MagPlusError) -> OperatorResult:
        self.report({"ERROR"}, translated(str(error)))
        return {"CANCELLED"}


CLASSES = (MAGPLUS_OT_capture,)
