# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""Capturing the avatar: its picture, the face's place in it, and what its rig does to it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np
from bpy.props import EnumProperty, IntVectorProperty, StringProperty

from ..backend_bridge.files.errors import CancelledError, InputError, MachineError, MagPlusError
from ..backend_bridge.job import artefacts
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.spec import AVATAR, Avatar
from ..backend_bridge.rig.basis import RigBasis
from ..backend_bridge.worker_client.messages import Progress
from .rig.basis import Face, find_face, measure_steps
from .rig.controls import RigControl
from .rig.face_controls import default_controls
from .rig.png import without_metadata
from .rig.projection import Projection, camera_problem, picture_size, pixel_aspect
from .rig.surface import read_points, rendered_objects
from .running.job_manager import Outcome, Steps, TaskContext, manager, report_outcome

KIND = "capture"
POSE_TOLERANCE = 0.5  # px; simulations may differ by less between two evaluations
SMALLEST = 16  # px; nothing can be seen in a smaller picture


def capture_problem(context: bpy.types.Context, target: bpy.types.Object | None, vertex_group: str = "") -> str:
    """Return why the avatar can't be captured now, as a sentence that says what to do, or an empty string."""
    if target is None or target.type != "MESH":
        return "Choose the avatar: the mesh object whose face is to move."
    if target.name not in context.view_layer.objects:
        return f"{target.name!r} is not in this view layer; choose another avatar or link it."
    if target.hide_render or not target.visible_get(view_layer=context.view_layer):
        return f"{target.name!r} is hidden; show it in the viewport and in renders."
    if target.mode in {"EDIT", "SCULPT"}:
        return f"{target.name!r} is being edited; go back to Object Mode."
    if not target.data.polygons:
        return f"{target.name!r} has no faces; choose the mesh with the face."
    if vertex_group and vertex_group not in target.vertex_groups:
        return f"{target.name!r} has no vertex group {vertex_group!r}; choose another."
    return ""


def capture_avatar(
    context: bpy.types.Context,
    target: bpy.types.Object,
    folder: JobFolder,
    *,
    further: Sequence[bpy.types.Object] = (),
    vertex_group: str = "",
    size: tuple[int, int] | None = None,
    transparent: bool | None = None,
    rig: bool = True,
    controls: Sequence[RigControl] | None = None,
    view: bpy.types.SpaceView3D | None = None,
) -> Avatar:
    """Render the avatar into a job folder and measure its rig; returns when it is done.

    Everything in the file is left as it was, also after an error: what has to differ is set on a copy of the scene that
    lives as long as the capture.

    Args:
        context: its scene and view layer are captured, at their present frame, engine and colour management.
        target: the mesh with the face.
        folder: receives `avatar/avatar.png` and `avatar/rig_basis.npz`.
        further: other meshes whose shape keys are to be measured; see `face_companions`.
        vertex_group: the face within `target`; by default all of it.
        size: (width, height) px, by default the scene's render size.
        transparent: whether the world is left out of the picture; None does as the scene does.
        rig: whether to measure the rig basis. Raises when nothing of the rig can be keyed.
        controls: what to measure, by default what `default_controls` finds.
        view: a 3D viewport to look from instead of the scene's camera.

    Raises:
        InputError: nothing to capture, or the camera does not see it. MachineError: the render failed.
    """
    steps = capture_steps(
        context,
        target,
        folder,
        further=further,
        vertex_group=vertex_group,
        size=size,
        transparent=transparent,
        rig=rig,
        controls=controls,
        view=view,
        blocking=True,
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            avatar: Avatar = end.value
            return avatar


def capture_steps(
    context: bpy.types.Context,
    target: bpy.types.Object,
    folder: JobFolder,
    *,
    further: Sequence[bpy.types.Object] = (),
    vertex_group: str = "",
    size: tuple[int, int] | None = None,
    transparent: bool | None = None,
    rig: bool = True,
    controls: Sequence[RigControl] | None = None,
    view: bpy.types.SpaceView3D | None = None,
    blocking: bool,
) -> Generator[Progress, None, Avatar]:
    """Do what `capture_avatar` does step by step; unless `blocking`, Blender is free while it renders, too.

    Who waits for the end in a loop has to say `blocking`: Blender's event loop stands still then, and a render beside
    it would not end. In background mode every render blocks.
    """
    if problem := capture_problem(context, target, vertex_group):
        raise InputError(problem)
    if target.name_full not in set(rendered_objects(context.view_layer.layer_collection)):
        raise InputError(f"{target.name!r} is in a collection that renders leave out; switch its camera icon on.")
    scene = context.scene
    if size is not None and min(size) < SMALLEST:
        raise InputError(f"A picture of {size[0]} x {size[1]} px is too small; give at least {SMALLEST} px each way.")
    yield Progress("Measuring the rig", 0, 0)
    with camera_to_use(scene, view) as camera:
        depsgraph = context.evaluated_depsgraph_get()
        projection = Projection.of_camera(camera, depsgraph, size or picture_size(scene), pixel_aspect(scene))
        objects = (target, *further)
        excluded: dict[str, str] = {}
        if not rig:
            controls = ()
        elif controls is None:
            controls, excluded = default_controls(objects)
        if rig and not controls:
            raise InputError(_no_controls(target, excluded))
        face = find_face(context, objects, projection, controls, vertex_group)
        with tempfile.TemporaryDirectory(dir=bpy.app.tempdir or None) as scratch:
            if rig:
                file = Path(scratch) / Path(artefacts.AVATAR_BASIS).name
                basis = yield from measured(context, face, controls, excluded)
                basis.save(file)
                folder.write(artefacts.AVATAR_BASIS, file.read_bytes())
            picture = Path(scratch) / Path(artefacts.AVATAR_IMAGE).name
            with _studio(context, camera, size, transparent) as studio:
                if bpy.data.actions:
                    _check_pose(studio, context, face)
                studio.render.filepath = str(picture)
                yield from _render(context, studio, blocking)
            if not picture.is_file():
                raise CancelledError("The render of the avatar was stopped; capture again.")
            if _is_empty(picture, face.box()):
                raise MachineError("The render of the avatar came out empty; press F12 to see what the engine says.")
            folder.write(artefacts.AVATAR_IMAGE, without_metadata(picture.read_bytes()))
    avatar = Avatar(
        image=artefacts.AVATAR_IMAGE, face_box=face.box(), rig_basis=artefacts.AVATAR_BASIS if rig else None
    )
    folder.write(artefacts.AVATAR_RECORD, AVATAR.encode(avatar))
    return avatar


def measured(
    context: bpy.types.Context,
    face: Face,
    controls: Sequence[RigControl],
    excluded: dict[str, str],
    responses: bool = True,
) -> Generator[Progress, None, RigBasis]:
    """Measure the rig as `measure_steps` does, and say how far it is."""
    steps = measure_steps(context, face, controls, excluded, responses)
    while True:
        try:
            yield Progress("Measuring the rig", next(steps), len(controls))
        except StopIteration as end:
            basis: RigBasis = end.value
            return basis
        except ReferenceError as error:  # a part of it was deleted, or another file loaded
            raise InputError("The avatar is no longer there; start again.") from error


def face_companions(context: bpy.types.Context, target: bpy.types.Object) -> list[bpy.types.Object]:
    """Return the further meshes whose shape keys belong to the same face: of teeth, eyes, lashes, a beard.

    They hang on the same rig (armature or parent) as `target`. Meshes without shape keys have no say in what can be
    solved; those that the rig moves are found when it is measured (`rig_basis.find_face`).
    """
    rig = _rigs(target)

    def belongs(obj: bpy.types.Object) -> bool:
        return obj != target and not capture_problem(context, obj) and obj.data.shape_keys is not None

    return [obj for obj in context.view_layer.objects if belongs(obj) and ((_rigs(obj) | {obj}) & (rig | {target}))]


def _rigs(obj: bpy.types.Object) -> set[bpy.types.Object]:
    armatures = {modifier.object for modifier in obj.modifiers if modifier.type == "ARMATURE"}
    return (armatures | {obj.parent}) - {None}


def _no_controls(target: bpy.types.Object, excluded: dict[str, str]) -> str:
    if not excluded:
        return f"{target.name!r} has no shape keys; choose the mesh that has them, or ask for the image sequence only."
    name, reason = next(iter(excluded.items()))
    return (
        f"None of the shape keys of {target.name!r} can be keyed: {name!r} {reason}; measure the controls of its rig "
        "and choose among them."
    )


@contextmanager
def camera_to_use(scene: bpy.types.Scene, view: bpy.types.SpaceView3D | None) -> Iterator[bpy.types.Object]:
    """Give the camera to capture with; one that stands for a viewport's view is removed afterwards."""
    region = view.region_3d if view is not None else None
    if view is None or region is None or region.view_perspective == "CAMERA":
        camera = scene.camera if view is None else view.camera or scene.camera
        if problem := camera_problem(camera):
            raise InputError(problem)
        yield camera
        return
    data = bpy.data.cameras.new("MagPlus view")
    camera = bpy.data.objects.new("MagPlus view", data)
    try:
        # The viewport looks through a sensor of twice the default width (its zoom factor of 2).
        data.sensor_width, data.lens = 72.0, view.lens
        data.clip_start, data.clip_end = view.clip_start, view.clip_end
        camera.matrix_world = region.view_matrix.inverted()
        if region.view_perspective == "ORTHO":
            data.type = "ORTHO"
            data.ortho_scale = region.view_distance * data.sensor_width / view.lens
            # An orthographic view also shows what is behind its point of view, a camera does not.
            camera.matrix_world.translation += camera.matrix_world.col[2].xyz * region.view_distance * 4
        yield camera
    finally:
        bpy.data.objects.remove(camera)
        bpy.data.cameras.remove(data)


@contextmanager
def _studio(
    context: bpy.types.Context,
    camera: bpy.types.Object,
    size: tuple[int, int] | None,
    transparent: bool | None,
) -> Iterator[bpy.types.Scene]:
    """Give a copy of the scene, sharing its objects, that renders the avatar's picture and nothing else.

    Not the scene itself with its settings put back afterwards: a copy needs no list of what to put back, leaves the
    user's last render alone, and nothing is lost if Blender ends meanwhile.
    """
    depth = context.scene.render.image_settings.color_depth
    layer_name = context.view_layer.name
    studio = context.scene.copy()
    studio.name = "MagPlus capture"
    name = studio.name  # Blender may have had to number it
    try:
        studio.timeline_markers.clear()  # a marker can bind another camera
        if camera.name not in studio.collection.all_objects:
            studio.collection.objects.link(camera)
        studio.camera = camera
        for layer in studio.view_layers:
            layer.use = layer.name == layer_name
        render = studio.render
        if size is not None:
            render.resolution_x, render.resolution_y = size
            render.resolution_percentage = 100
        if transparent is not None:
            render.film_transparent = transparent
        # The compositor and the sequencer come after the result is in place again; here they would act twice, and could
        # move the picture against its rig. The others would draw on it, blur it or cut it.
        render.use_compositing = render.use_sequencer = False
        render.use_motion_blur = render.use_multiview = render.use_stamp = render.use_border = False
        output = render.image_settings
        if hasattr(output, "media_type"):  # from 5.0
            output.media_type = "IMAGE"
        output.file_format, output.color_mode = "PNG", "RGBA"
        output.color_depth = "8" if depth == "8" else "16"
        output.color_management = "FOLLOW_SCENE"
        render.use_file_extension = True
        yield studio
    finally:
        _remove_scene(name)


def _check_pose(studio: bpy.types.Scene, context: bpy.types.Context, face: Face) -> None:
    """Raise `InputError` when the render will show another pose than the one measured.

    A render plays the animation; what was changed by hand since, without a key, is only in the viewport.
    """
    studio.frame_set(context.scene.frame_current, subframe=context.scene.frame_subframe)
    layer = studio.view_layers[context.view_layer.name]
    points, _ = read_points(face.objects, layer.depsgraph)
    positions, _ = face.projection.project(points[face.vertices])
    if np.abs(positions - face.positions).max() > POSE_TOLERANCE:
        raise InputError(
            f"{face.objects[0].name!r} was moved since it was keyed, and a render shows the keyed pose; key the new "
            "pose, or go to another frame and back."
        )


def _remove_scene(name: str) -> None:
    """Remove the copy of the scene, at once or, when a render of it is still running, as soon as that is over."""
    if not bpy.app.background and bpy.app.is_job_running("RENDER"):
        bpy.app.timers.register(lambda: _remove_when_idle(name), first_interval=0.5)
        return
    if (studio := bpy.data.scenes.get(name)) is not None:
        bpy.data.scenes.remove(studio)


def _remove_when_idle(name: str) -> float | None:
    if bpy.app.is_job_running("RENDER"):
        return 0.5
    _remove_scene(name)
    return None


def _render(context: bpy.types.Context, studio: bpy.types.Scene, blocking: bool) -> Generator[Progress, None, None]:
    try:
        if blocking or bpy.app.background:
            bpy.ops.render.render(scene=studio.name, write_still=True)
            return
        shown = context.preferences.view.render_display_type
        try:
            context.preferences.view.render_display_type = "NONE"
            with context.temp_override(window=context.window or context.window_manager.windows[0]):
                started = bpy.ops.render.render("INVOKE_DEFAULT", scene=studio.name, write_still=True)
        finally:
            context.preferences.view.render_display_type = shown
    except RuntimeError as error:
        reason = str(error).removeprefix("Error: ").strip().splitlines()[0]
        raise MachineError(f"The avatar can't be rendered: {reason}") from error
    if "CANCELLED" in started:
        raise InputError("Blender is rendering something else; capture when that is done.")
    while bpy.app.is_job_running("RENDER"):
        yield Progress("Rendering the avatar", 0, 0)


def _is_empty(picture: Path, box: tuple[float, float, float, float]) -> bool:
    """Whether nothing at all was drawn where the face should be: Blender saves a failed render, too."""
    image = bpy.data.images.load(str(picture), check_existing=False)
    try:
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    x, y, w, h = box
    alpha = pixels.reshape(height, width, 4)[::-1, :, 3]
    return not alpha[max(int(y), 0) : int(y + h) + 1, max(int(x), 0) : int(x + w) + 1].any()


class AvatarTask:
    """An operator that runs a task on the scene's avatar, as its camera sees it. `kind` names the task."""

    kind: str

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Possible, or the reason why not as the tooltip."""
        settings = context.scene.magplus
        reason = "MagPlus is busy; wait or cancel." if manager.busy else ""
        reason = reason or capture_problem(context, settings.avatar, settings.vertex_group)
        if reason := reason or camera_problem(context.scene.camera):
            cls.poll_message_set(reason)  # type: ignore[attr-defined]
        return not reason

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Start, and give Blender back meanwhile."""
        manager.start(self.kind, self.task(context))
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Return when it is done."""
        return report_outcome(self, manager.run(self.kind, self.task(context)))

    def task(self, context: bpy.types.Context) -> Callable[[TaskContext], Steps]:
        """Return what is to be done."""
        raise NotImplementedError


class MAGPLUS_OT_capture(bpy.types.Operator):
    """Render the avatar and measure its rig, into a job folder"""

    bl_idname = "magplus.capture"
    bl_label = "Capture Avatar"

    folder: StringProperty(name="Job Folder", description="Where the capture is kept", subtype="DIR_PATH")
    target: StringProperty(name="Avatar", description="The mesh with the face; by default the active object")
    vertex_group: StringProperty(name="Face", description="Vertex group that marks the face")
    size: IntVectorProperty(
        name="Size", description="Width and height in pixels; 0 takes the scene's", size=2, default=(0, 0), min=0
    )
    background: EnumProperty(
        name="Background",
        items=(
            ("SCENE", "As in the Scene", "Transparent if the scene's film is"),
            ("TRANSPARENT", "Transparent", "Leave the world out"),
        ),
    )
    look_through: EnumProperty(
        name="Look Through",
        items=(
            ("CAMERA", "Camera", "The scene's camera"),
            ("VIEW", "Viewport", "The 3D viewport that the operator is called from"),
        ),
    )
    rig: EnumProperty(
        name="Rig",
        description="Whether to measure what each shape key does",
        items=(
            ("AUTO", "If There Is One", "Measure the shape keys where the avatar has some"),
            ("NONE", "Picture Only", "Render the picture, leave the rig alone"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Possible, or the reason why not as the tooltip."""
        reason = "MagPlus is busy; wait or cancel." if manager.busy else camera_problem(context.scene.camera)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
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

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Capture and return when it is done."""
        try:
            for _ in self._steps(context, blocking=True):
                pass
        except MagPlusError as error:
            return self._failed(error)
        self.report({"INFO"}, f"Captured the avatar into {self.folder}.")
        return {"FINISHED"}

    def _steps(self, context: bpy.types.Context, blocking: bool) -> Generator[Progress, None, Avatar]:
        target = context.view_layer.objects.get(self.target) if self.target else context.object
        if problem := capture_problem(context, target, self.vertex_group):
            raise InputError(problem)
        if not self.folder:
            raise InputError("Choose a job folder to keep the capture in.")
        return capture_steps(
            context,
            target,
            JobFolder.create(Path(bpy.path.abspath(self.folder))),
            further=face_companions(context, target),
            vertex_group=self.vertex_group,
            size=(self.size[0], self.size[1]) if all(self.size) else None,
            transparent=True if self.background == "TRANSPARENT" else None,
            rig=self.rig == "AUTO" and target.data.shape_keys is not None,
            view=context.space_data if self.look_through == "VIEW" else None,
            blocking=blocking,
        )

    def _failed(self, error: MagPlusError) -> set[str]:
        self.report({"ERROR"}, str(error))
        return {"CANCELLED"}


CLASSES = (MAGPLUS_OT_capture,)
