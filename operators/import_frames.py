# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""Bringing a job's frames into the file as an image sequence, at the right time and with the right colours."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty
from mathutils import Matrix, Vector

from ..backend_bridge.files.errors import InputError, MachineError, MagPlusError
from ..backend_bridge.job.artefacts import FRAMES
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.report import Report
from .animation.destination import BACKGROUND, PLANE, SHOW_AS, STRIP, Destination
from .animation.scene_time import Placement, SourceTime
from .rig.projection import camera_problem

NAME = "MagPlus Result"
# The colour space that undoes a view transform, so that a picture which has been through it comes out as it was. That
# of Khronos PBR Neutral does not undo it (measured: up to 53 of 255 steps off), so it is not among them.
_INVERSE_OF_VIEW = {"Standard": "sRGB", "AgX": "AgX Base sRGB", "Filmic": "Filmic sRGB"}


@dataclass(frozen=True)
class ImportReport:
    """What was imported.

    image: name of the image. placed: name of the object or strip that shows it, if any. first_frame, count: the scene
    frames that it fills. dropped: source frames that no scene frame shows; duplicated: scene frames that repeat one.
    apex_kept: whether the apex is shown; None where it is not known. shift: frames by which the clip was moved for it.
    placement: where the clip lies.
    """

    image: str
    placed: str | None
    first_frame: int
    count: int
    dropped: int
    duplicated: int
    apex_kept: bool | None
    shift: float
    placement: Placement
    warnings: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """Return what a person should know, a sentence each."""
        lines = list(self.warnings)
        if self.dropped:
            apex = {True: " The apex is kept.", False: " The apex is not shown.", None: ""}[self.apex_kept]
            lines.append(f"{self.dropped} frames fall between the frames of this scene and are not shown.{apex}")
        if self.duplicated:
            lines.append(
                f"{self.duplicated} frames of this scene repeat the one before: it has more of them than the video."
            )
        return lines


@dataclass(frozen=True)
class _Clip:
    """Image files, one a scene frame, to be shown from `start` on."""

    files: Sequence[Path]
    size: tuple[int, int]
    start: int
    colour_space: str


def import_frames(
    context: bpy.types.Context,
    folder: JobFolder,
    destination: Destination,
    camera: bpy.types.Object | None = None,
) -> ImportReport:
    """Show a finished job's frames.

    Where the scene runs at the video's rate the frames are used as they are. Otherwise a second sequence at the scene's
    rate is made beside them, of hard links where the disk can, each the frame nearest in time.

    Args:
        context: its scene gives the frame rate and receives the result.
        folder: the job.
        destination: where in time, and where they are shown.
        camera: for a plane or a background; the scene's by default.

    Raises:
        InputError: the job has no frames, or there is no camera to show them to. MachineError: the disk is full.
    """
    scene, where = context.scene, destination.show_as
    camera = camera or scene.camera
    if where in {PLANE, BACKGROUND} and (problem := camera_problem(camera)):
        raise InputError(problem)
    report = folder.read_report()
    frames, size = _frames(folder, report)
    source = SourceTime.from_report(report)
    if len(source.seconds) != len(frames):
        raise InputError("The frames and the report are of different runs; run the job again.")
    placement = destination.place(source, scene)
    shown = placement.frames_to_show(source)
    files = frames if shown == list(range(len(frames))) else _at_scene_rate(folder, frames, shown, placement.rate)
    # What the viewport draws behind a camera, and what is only loaded, goes through no view transform.
    colour_space, warnings = _colour_space(scene) if where in {PLANE, STRIP} else ("sRGB", ())
    clip = _Clip(files, size, destination.start_frame, colour_space)

    image, placed = None, None
    if where == STRIP:
        placed = _add_strip(scene, clip)
        if not scene.render.use_sequencer or len(_strips(scene)) == 1:
            warnings += ("Renders now show the sequencer; switch it off in Output > Post Processing to see the scene.",)
    else:
        image = _load(clip)
        if where == PLANE:
            placed = _add_plane(context, camera, image, clip)
        elif where == BACKGROUND:
            placed = _add_background(camera, image, clip)
    return ImportReport(
        image=image.name if image is not None else "",
        placed=placed,
        first_frame=destination.start_frame,
        count=len(files),
        dropped=len(frames) - len(set(shown)),
        duplicated=len(shown) - len(set(shown)),
        apex_kept=None if source.apex is None else source.apex in shown,
        shift=float(placement.shift),
        placement=placement,
        warnings=warnings,
    )


def _frames(folder: JobFolder, report: Report) -> tuple[list[Path], tuple[int, int]]:
    """Return the job's frames, all of them, and their size."""
    if report.frames is None or report.frames.count < 1:
        raise InputError("This job has no frames; run it with the image sequence among its outputs.")
    files = [folder.file_of(FRAMES, index) for index in range(report.frames.count)]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise InputError(f"{len(missing)} frames of the job are missing, {missing[0]} first; run the job again.")
    return files, report.frames.size


def _at_scene_rate(folder: JobFolder, frames: Sequence[Path], shown: Sequence[int], rate: Fraction) -> list[Path]:
    """Make a sequence with one file a scene frame beside the job's frames and return its files.

    It is made anew each time: links to frames of an earlier run would go on showing them.
    """
    name = f"frames_{str(rate).replace('/', '-')}fps"
    final, building = folder.path / name, folder.path / f".{name}"
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        for number, index in enumerate(shown, start=1):
            _link(frames[index], building / f"{number:06}{frames[index].suffix}")
        shutil.rmtree(final, ignore_errors=True)
        building.rename(final)
    except OSError as error:
        raise MachineError(
            f"The frames at the scene's rate can't be written to {folder.path} ({error.strerror}); "
            "free some space or set the scene to the video's frame rate."
        ) from error
    return sorted(final.iterdir())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every disk can, nor do links reach across disks
        shutil.copyfile(source, target)


def _colour_space(scene: bpy.types.Scene) -> tuple[str, tuple[str, ...]]:
    """Return the colour space in which the frames come out of the scene's view transform as they went in."""
    view = scene.view_settings
    plain = view.look in {"None", ""} and view.exposure == 0.0 and view.gamma == 1.0 and not view.use_curve_mapping
    known = {
        item.identifier for item in bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items
    }
    inverse = _INVERSE_OF_VIEW.get(view.view_transform)
    if inverse is not None and inverse in known and plain:
        return inverse, ()
    return "sRGB", (
        f"The scene's view transform ({view.view_transform} with look, exposure, gamma or curves) changes the frames' "
        "colours a second time; set it to Standard for the final render.",
    )


def _load(clip: _Clip) -> bpy.types.Image:
    image = bpy.data.images.load(str(clip.files[0]), check_existing=False)
    image.name = NAME
    if len(clip.files) > 1:
        image.source = "SEQUENCE"
    image.colorspace_settings.name = clip.colour_space
    image.alpha_mode = "STRAIGHT"
    _make_relative(image)
    return image


def _make_relative(image: bpy.types.Image) -> None:
    """Keep the path relative to the file, as Blender does for what a person opens, where there is a saved file."""
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        try:
            image.filepath = bpy.path.relpath(image.filepath)
        except ValueError:  # on another drive
            return


def _hold(user: bpy.types.ImageUser, clip: _Clip) -> None:
    """Let an image user show file 1 at the clip's start, and before it; and the last file after the end.

    Blender counts one frame back before its start, to a file 0 that does not exist, so its start and offset are one on.
    """
    user.frame_duration = len(clip.files) - 1
    user.frame_start = clip.start + 1
    user.frame_offset = 1
    user.use_cyclic = False
    user.use_auto_refresh = True


def _add_plane(context: bpy.types.Context, camera: bpy.types.Object, image: bpy.types.Image, clip: _Clip) -> str:
    """Hang a plane before the camera that fills its view. It gives off its colours and nothing else sees it."""
    scene = context.scene
    distance = _plane_distance(camera.data)
    corners = [Vector(corner) for corner in camera.data.view_frame(scene=scene)]
    if camera.data.type == "PERSP":
        corners = [corner * (distance / -corner.z) for corner in corners]
    right, top = max(c.x for c in corners), max(c.y for c in corners)
    left, bottom = min(c.x for c in corners), min(c.y for c in corners)
    # Fit a picture of another shape than the view into it, without distortion.
    aspect = scene.render.pixel_aspect_x / scene.render.pixel_aspect_y
    shape = clip.size[0] * aspect / clip.size[1]
    width = min(right - left, (top - bottom) * shape)
    height = width / shape
    mesh = bpy.data.meshes.new(NAME)
    x, y = width / 2, height / 2
    mesh.from_pydata([(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)], [], [(0, 1, 2, 3)])
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", [0, 0, 1, 0, 1, 1, 0, 1])
    mesh.materials.append(_picture_material(image, clip))
    plane = bpy.data.objects.new(NAME, mesh)
    plane.parent = camera
    # A camera's scale does not change what it sees, so it must not change the plane.
    plane.matrix_parent_inverse = Matrix.Diagonal(camera.matrix_world.to_scale()).to_4x4().inverted_safe()
    plane.location = ((left + right) / 2, (bottom + top) / 2, -distance)
    plane.visible_diffuse = plane.visible_glossy = plane.visible_transmission = False
    plane.visible_volume_scatter = plane.visible_shadow = False
    (context.collection or scene.collection).objects.link(plane)
    return str(plane.name)


def _plane_distance(camera: bpy.types.Camera) -> float:
    """Return a distance in front of everything else, or the one that is in focus."""
    if camera.dof.use_dof and camera.dof.focus_object is None:
        return float(camera.dof.focus_distance)
    return float(camera.clip_start * 2)


def _picture_material(image: bpy.types.Image, clip: _Clip) -> bpy.types.Material:
    """Return a material that shows the picture as it is: emission, mixed with transparency by its alpha."""
    material = bpy.data.materials.new(NAME)
    if material.node_tree is None:
        material.use_nodes = True  # always on from 5.0, where the setter is deprecated
    material.surface_render_method = "BLENDED"  # EEVEE's other method dithers alpha
    tree = material.node_tree
    tree.nodes.clear()
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = image
    texture.extension = "EXTEND"
    _hold(texture.image_user, clip)
    emission = tree.nodes.new("ShaderNodeEmission")
    transparent = tree.nodes.new("ShaderNodeBsdfTransparent")
    mix = tree.nodes.new("ShaderNodeMixShader")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    for column, node in enumerate((texture, emission, mix, output)):
        node.location = (column * 300, 0)
    transparent.location = (300, -150)
    tree.links.new(texture.outputs["Color"], emission.inputs["Color"])
    tree.links.new(texture.outputs["Alpha"], mix.inputs[0])
    tree.links.new(transparent.outputs[0], mix.inputs[1])
    tree.links.new(emission.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], output.inputs["Surface"])
    return material


def _add_background(camera: bpy.types.Object, image: bpy.types.Image, clip: _Clip) -> str:
    camera.data.show_background_images = True
    background = camera.data.background_images.new()
    background.image = image
    background.alpha = 1.0
    background.frame_method = "FIT"
    # Outside of these frames Blender does not draw it.
    user = background.image_user
    user.frame_duration, user.frame_start, user.frame_offset = len(clip.files), clip.start, 0
    user.use_cyclic, user.use_auto_refresh = False, True
    return str(camera.name)


def _add_strip(scene: bpy.types.Scene, clip: _Clip) -> str:
    strips = _strips(scene)
    last = clip.start + len(clip.files)
    extents = [(strip.channel, *_extent(strip)) for strip in strips]
    used = {channel for channel, first, end in extents if first < last and end > clip.start}
    channel = next(number for number in range(1, len(used) + 2) if number not in used)
    strip = strips.new_image(
        name=NAME, filepath=str(clip.files[0]), channel=channel, frame_start=clip.start, fit_method="FIT"
    )
    for path in clip.files[1:]:
        strip.elements.append(path.name)
    strip.colorspace_settings.name = clip.colour_space
    strip.alpha_mode, strip.blend_type = "STRAIGHT", "ALPHA_OVER"
    return str(strip.name)


def _extent(strip: bpy.types.Strip) -> tuple[float, float]:
    """Return the first frame of a strip and the one after its last."""
    if hasattr(strip, "left_handle"):  # from 5.2, where the old names are deprecated
        return strip.left_handle, strip.right_handle
    return strip.frame_final_start, strip.frame_final_end


def _strips(scene: bpy.types.Scene) -> bpy.types.bpy_prop_collection:
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences  # `sequences` up to 4.3


class MAGPLUS_OT_import_frames(bpy.types.Operator):
    """Show a job's frames as an image sequence"""

    bl_idname = "magplus.import_frames"
    bl_label = "Import Frames"
    bl_options = {"REGISTER", "UNDO"}

    folder: StringProperty(name="Job Folder", description="A finished job", subtype="DIR_PATH")
    where: EnumProperty(
        name="Show As",
        description="Where the image sequence goes",
        items=SHOW_AS,
    )
    start_frame: IntProperty(name="Start Frame", description="Frame of the scene where the clip starts", default=1)
    keep_apex: BoolProperty(name="Keep the Apex", description="Never leave out the frame of the apex", default=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import and report."""
        try:
            report = import_frames(
                context,
                JobFolder.open(Path(bpy.path.abspath(self.folder))),
                Destination(start_frame=self.start_frame, show_as=self.where, keep_apex=self.keep_apex),
            )
        except MagPlusError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for sentence in report.sentences():
            self.report({"WARNING"}, sentence)
        self.report({"INFO"}, f"Imported {report.count} frames from frame {report.first_frame}.")
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_import_frames,)
