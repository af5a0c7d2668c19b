# SPDX-License-Identifier: GPL-3.0-or-later
"""The studio that takes the avatar's picture: a camera, and a copy of the scene that renders nothing else."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import bpy
import numpy as np
from mathutils import Matrix

from ...backend_bridge.files.errors import CancelledError, InputError, MachineError
from ...backend_bridge.worker_client.messages import Progress
from ..blender.data import camera_of
from ..running.job_manager import manager
from .face import CHANGED, Face
from .png import without_metadata
from .projection import Projection, pixel_aspect, present_projection, usable_camera
from .steady import Place, switched_off
from .surface import read_points

RENDERING = "Rendering the avatar"
_SAMPLES = re.compile(r"(?:Sample|Rendering) (\d+) ?/ ?(\d+)")  # as Cycles tells it, and EEVEE
_PNG_END = b"IEND\xaeB`\x82"
POSE_TOLERANCE = 0.5  # px; simulations may differ by less between two evaluations


@dataclass(frozen=True)
class Style:
    """How the picture is taken.

    size: (width, height) px, None for the scene's. transparent: whether the world is left out, None does as the scene
    does. samples: at most, None for as many as the scene has. face_alone: whether nothing but the face and what is
    around it is rendered; the rest of the picture stays empty.
    """

    size: tuple[int, int] | None = None
    transparent: bool | None = None
    samples: int | None = None
    face_alone: bool = False


@dataclass(frozen=True)
class Viewpoint:
    """Where a 3D viewport looks from, as it was at one moment: nobody in Python hears of one that is closed since.

    camera: the one that it looks through, None where that is the scene's or none. perspective: "PERSP", "ORTHO" or
    "CAMERA". to_world: from the view's space. lens: mm. distance: of what it turns about, in scene units. clip: nearest
    and farthest distance that it sees.
    """

    camera: bpy.types.Object | None
    perspective: str
    to_world: Matrix
    lens: float
    distance: float
    clip: tuple[float, float]

    @classmethod
    def of(cls, view: bpy.types.SpaceView3D) -> Viewpoint:
        """Read a viewport."""
        region = view.region_3d
        assert region is not None, "a 3D viewport has one"
        return cls(
            camera=view.camera,
            perspective=region.view_perspective,
            to_world=region.view_matrix.inverted(),
            lens=view.lens,
            distance=region.view_distance,
            clip=(view.clip_start, view.clip_end),
        )


def photograph(
    context: bpy.types.Context,
    camera: bpy.types.Object,
    face: Face,
    style: Style,
    blocking: bool,
    unmeasured: Sequence[Place] = (),
) -> Generator[Progress, None, bytes]:
    """Render the avatar as it was measured and return the picture, a PNG with nothing in it but the picture.

    `blocking` is as `capture` has it, `unmeasured` are modifiers without which the face was measured. Raises
    `InputError` when the render will show another pose, `MachineError` when it fails, and `CancelledError` when
    somebody stops it.
    """
    if _moves_face(present_projection(context, camera, face.projection.size), face):
        raise InputError(
            f"The camera {camera.name!r} was moved or changed while the avatar was measured; start again and let it be "
            "for a moment."
        )
    with tempfile.TemporaryDirectory(dir=bpy.app.tempdir or None) as scratch:
        picture = Path(scratch) / "avatar.png"
        with _studio(context, camera, style) as studio:
            if bpy.data.actions:
                with switched_off(unmeasured):
                    _check_pose(studio, context, camera.name, face)
            if style.face_alone:
                _crop(studio, face)
            studio.render.filepath = str(picture)
            yield from _render(context, studio, blocking)
        if not picture.is_file():
            raise CancelledError("The render of the avatar was stopped; capture again.")
        if not picture.read_bytes().endswith(_PNG_END):
            raise MachineError(
                "Blender could not write the avatar's picture to its end; free space on the disk with its temporary "
                "files (Preferences > File Paths)."
            )
        if _is_empty(picture, face.box()):
            raise MachineError("The render of the avatar came out empty; press F12 to see what the engine says.")
        return without_metadata(picture.read_bytes())


def present_view(context: bpy.types.Context) -> Viewpoint:
    """Return the view of the 3D viewport that an operator was called from. Raises `InputError` for another editor."""
    if context.area is None or context.area.type != "VIEW_3D":
        raise InputError("Call it from a 3D viewport, or let the avatar be captured from the scene's camera.")
    return Viewpoint.of(cast(bpy.types.SpaceView3D, context.area.spaces.active))


@contextmanager
def camera_to_use(scene: bpy.types.Scene, view: Viewpoint | None) -> Iterator[bpy.types.Object]:
    """Give the camera to capture with; one that stands for a viewport's view is removed afterwards."""
    if view is None or view.perspective == "CAMERA":
        yield usable_camera(scene.camera if view is None else view.camera or scene.camera)
        return
    data = bpy.data.cameras.new("MagPlus view")
    camera = bpy.data.objects.new("MagPlus view", data)
    _keep_out_of_files(camera, data)
    try:
        # The viewport looks through a sensor of twice the default width (its zoom factor of 2).
        data.sensor_width, data.lens = 72.0, view.lens
        data.clip_start, data.clip_end = view.clip
        camera.matrix_world = view.to_world
        if view.perspective == "ORTHO":
            data.type = "ORTHO"
            data.ortho_scale = view.distance * data.sensor_width / view.lens
            # An orthographic view also shows what is behind its point of view, a camera does not.
            camera.matrix_world.translation += camera.matrix_world.col[2].xyz * view.distance * 4
        yield camera
    finally:
        bpy.data.objects.remove(camera)
        bpy.data.cameras.remove(data)


@contextmanager
def _studio(
    context: bpy.types.Context,
    camera: bpy.types.Object,
    style: Style,
) -> Iterator[bpy.types.Scene]:
    """Give a copy of the scene, sharing its objects, that renders the avatar's picture and nothing else.

    Not the scene itself with its settings put back afterwards: a copy needs no list of what to put back, leaves the
    user's last render alone, and nothing is lost if Blender ends meanwhile.
    """
    sharp = _sharp(camera)
    studio = context.scene.copy()
    studio.name = "MagPlus capture"
    names = studio.name, sharp.name  # Blender may have had to number them
    _keep_out_of_files(studio, sharp, camera_of(sharp))
    try:
        studio.timeline_markers.clear()  # a marker can bind another camera
        studio.collection.objects.link(sharp)
        studio.camera = sharp
        _set_up(studio, context, style)
        yield studio
    finally:
        _remove_studio(*names)


def _keep_out_of_files(*blocks: bpy.types.ID) -> None:
    """Let what is there for a moment not be written into a file that somebody saves meanwhile."""
    for block in blocks:
        block.is_runtime_data = True


def _set_up(studio: bpy.types.Scene, context: bpy.types.Context, style: Style) -> None:
    """Let a copy of the context's scene render a plain picture in a style, of the context's view layer alone."""
    for layer in studio.view_layers:
        layer.use = layer.name == context.view_layer.name
    render = studio.render
    if style.size is not None:
        render.resolution_x, render.resolution_y = style.size
        render.resolution_percentage = 100
    if style.transparent is not None:
        render.film_transparent = style.transparent
    if style.samples is not None:
        _limit_samples(studio, style.samples)
    # The compositor and the sequencer come after the result is in place again; here they would act twice, and could
    # move the picture against its rig. The others would draw on it, blur it or cut it.
    render.use_compositing = render.use_sequencer = False
    render.use_motion_blur = render.use_multiview = render.use_stamp = render.use_border = False
    output = render.image_settings
    if hasattr(output, "media_type"):  # from 5.0
        output.media_type = "IMAGE"
    output.file_format, output.color_mode = "PNG", "RGBA"
    output.color_depth = "8" if context.scene.render.image_settings.color_depth == "8" else "16"
    output.color_management = "FOLLOW_SCENE"
    render.use_file_extension = True


def _sharp(camera: bpy.types.Object) -> bpy.types.Object:
    """Return a copy of a camera, as it is at the present frame, that everything is in focus of."""
    sharp, data = camera.copy(), camera_of(camera).copy()
    sharp.name = "MagPlus camera"
    sharp.data = data
    data.animation_data_clear()  # the focus may be animated
    data.dof.use_dof = False
    return sharp


def _limit_samples(studio: bpy.types.Scene, most: int) -> None:
    """Let an engine that samples take no more samples than that."""
    for settings, name in (("cycles", "samples"), ("eevee", "taa_render_samples")):
        engine = getattr(studio, settings, None)
        if engine is not None and getattr(engine, name, 0) > most:
            setattr(engine, name, most)
    for layer in studio.view_layers:  # 0 is as many as the scene
        layer.samples = min(layer.samples, most)


def _crop(studio: bpy.types.Scene, face: Face) -> None:
    """Render nothing but the face and as much again on every side of it."""
    x, y, w, h = face.box()
    width, height = face.projection.size
    margin, render = max(w, h), studio.render
    render.use_border, render.use_crop_to_border = True, False
    render.border_min_x, render.border_max_x = max((x - margin) / width, 0.0), min((x + w + margin) / width, 1.0)
    render.border_min_y = max(1.0 - (y + h + margin) / height, 0.0)
    render.border_max_y = min(1.0 - (y - margin) / height, 1.0)


def _check_pose(studio: bpy.types.Scene, context: bpy.types.Context, camera: str, face: Face) -> None:
    """Raise `InputError` when the render will show another pose than the one measured, or from another place.

    A render plays the animation; what was changed by hand since, without a key, is only in the viewport.
    """
    studio.frame_set(context.scene.frame_current, subframe=context.scene.frame_subframe)
    layer = studio.view_layers[context.view_layer.name]
    points, topology = read_points(face.objects, layer.depsgraph)
    if topology != face.topology:
        raise InputError(CHANGED)
    positions, _ = face.projection.project(points[face.vertices])
    if np.abs(positions - face.positions).max() > POSE_TOLERANCE:
        raise InputError(
            f"{face.objects[0].name!r} was moved since it was keyed, and a render shows the keyed pose; key the new "
            "pose, or go to another frame and back."
        )
    rendered = Projection.of_camera(
        usable_camera(studio.camera), layer.depsgraph, face.projection.size, pixel_aspect(studio)
    )
    if _moves_face(rendered, face):
        raise InputError(
            f"The camera {camera!r} was moved or changed since it was keyed, and a render shows what is keyed; key it "
            "anew, or go to another frame and back."
        )


def _moves_face(projection: Projection, face: Face) -> bool:
    """Whether a camera shows the face elsewhere in its picture than it was measured."""
    return bool(np.abs(projection.project(face.points)[0] - face.positions).max() > POSE_TOLERANCE)


def _remove_studio(scene: str, camera: str) -> None:
    """Remove the copies of scene and camera, at once or, when a render is still running, as soon as it is over."""
    if not bpy.app.background and bpy.app.is_job_running("RENDER"):
        bpy.app.timers.register(lambda: _remove_when_idle(scene, camera), first_interval=0.5)
        return
    if (studio := bpy.data.scenes.get(scene)) is not None:
        bpy.data.scenes.remove(studio)
    if (sharp := bpy.data.objects.get(camera)) is not None:
        bpy.data.cameras.remove(camera_of(sharp))  # and the object with it


def _remove_when_idle(scene: str, camera: str) -> float | None:
    if bpy.app.is_job_running("RENDER"):
        return 0.5
    _remove_studio(scene, camera)
    return None


def _render(context: bpy.types.Context, studio: bpy.types.Scene, blocking: bool) -> Generator[Progress, None, None]:
    yield Progress(RENDERING, 0, 0)
    now = [Progress(RENDERING, 0, 0)]

    def listen(text: object, *_: object) -> None:
        samples = _SAMPLES.search(text) if isinstance(text, str) else None
        now[0] = Progress(RENDERING, *map(int, samples.groups())) if samples is not None else now[0]
        if blocking:  # otherwise this is another thread
            manager.show(now[0])

    bpy.app.handlers.render_stats.append(listen)
    try:
        yield from _rendering(context, studio, blocking, now)
    finally:
        bpy.app.handlers.render_stats.remove(listen)


def _rendering(
    context: bpy.types.Context, studio: bpy.types.Scene, blocking: bool, now: Sequence[Progress]
) -> Generator[Progress, None, None]:
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
        yield now[0]


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
