# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a job's frames into the file as an image sequence, at the right time and with the right colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from ..backend_bridge.files.errors import InputError
from ..backend_bridge.job.artefacts import SHOT_EXR
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.report import Report
from .animation.destination import BACKGROUND, FRONT, PLANE, SHOW_AS, STRIP, Destination
from .animation.scene_start import given_or_first
from .animation.scene_time import LAST_FRAME, Placement, SourceTime
from .blender.operator import OperatorResult, refusing
from .blender.properties import RELATIVE_PATH, BoolProperty, EnumProperty, IntProperty, StringProperty, with_properties
from .blender.wording import translated
from .frames.camera_picture import add_camera_picture
from .frames.clip import Clip, at_scene_rate, job_frames, shot_clip
from .frames.cuts import camera_at, cut_within
from .frames.image import colour_space, load
from .frames.plane import add_plane, unfaithful
from .frames.shown import forget_image, take_away
from .frames.strip import add_strip, strips_of
from .rig.projection import usable_camera

BY_CAMERA = {FRONT, PLANE, BACKGROUND}  # ways of showing frames that hang on a camera
MOST_REPEATS, LEAST_ROOM = 100, 1000  # scene frames for a frame of the job, and for a job of few frames


@dataclass(frozen=True)
class ImportReport:
    """What was imported.

    image: name of the image. placed: name of the object or strip that shows it, if any. first_frame, count: the scene
    frames that it fills. dropped: source frames that no scene frame shows; duplicated: scene frames that repeat one.
    apex_kept: whether the apex is shown; None where it is not known. shift: frames by which the clip was moved for it.
    placement: where the clip lies. checked: whether the job's journal says what its frames are.
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
    checked: bool = True

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
        if not self.checked:
            lines.append("The job's journal does not list its frames, so nobody can tell whether they are whole.")
        return lines


def import_frames(
    context: bpy.types.Context,
    folder: JobFolder,
    destination: Destination,
    checked: bool | None = None,
) -> ImportReport:
    """Show a finished job's frames.

    They take the place of what shows earlier frames of MagPlus in the same interval, in whatever way.

    Where the scene runs at the video's rate the frames are used as they are. Otherwise a second sequence at the scene's
    rate is made beside them, of hard links where the disk can, each the frame nearest in time.

    Args:
        context: its scene gives the frame rate and receives the result.
        folder: the job.
        destination: where in time, and where they are shown.
        checked: what `frames.clip.check_in_steps` has returned, None for a check now.

    Raises:
        InputError: the job has no frames, or there is no camera to show them to. MachineError: the disk is full.
    """
    with folder.reading():
        return _import_frames(context, folder, destination, checked)


def _import_frames(
    context: bpy.types.Context,
    folder: JobFolder,
    destination: Destination,
    checked: bool | None,
) -> ImportReport:
    scene, where = context.scene, destination.show_as
    if where in BY_CAMERA:
        usable_camera(camera_at(scene, destination.start_frame))
    report = folder.read_report()
    if report.shot is not None:
        return _import_shot(context, folder, report, destination, checked)
    frames = job_frames(folder, report, checked)
    source = SourceTime.from_report(report)
    placement = destination.place(source, scene)
    if placement.frame(source.end) - placement.start_frame > MOST_REPEATS * len(frames.units) + LEAST_ROOM:
        raise InputError(
            f"In this scene, each frame of the job would be repeated more than {MOST_REPEATS} times; lower the time "
            "stretch or, if it is 1, run the job again: the times in its report can't be right."
        )
    shown = placement.frames_to_show(source)
    files = at_scene_rate(folder, frames.units, shown, placement.rate)
    clip = Clip(files, frames.size, destination.start_frame, folder.path.name)
    image, placed, warnings = _show(context, clip, where)
    return ImportReport(
        image=image.name if image is not None else "",
        placed=placed,
        first_frame=destination.start_frame,
        count=len(files),
        dropped=len(frames.units) - len(set(shown)),
        duplicated=len(shown) - len(set(shown)),
        apex_kept=None if source.apex is None else source.apex in shown,
        shift=float(placement.shift),
        placement=placement,
        warnings=warnings,
        checked=frames.checked,
    )


def _import_shot(
    context: bpy.types.Context,
    folder: JobFolder,
    report: Report,
    destination: Destination,
    checked: bool | None,
) -> ImportReport:
    """Show a moving shot on the frames that it was captured at, whatever the destination says of time."""
    assert report.shot is not None
    clip, checked = shot_clip(folder, report, checked)
    image, placed, warnings = _show(context, clip, destination.show_as)
    shot = report.shot
    return ImportReport(
        image=image.name if image is not None else "",
        placed=placed,
        first_frame=clip.start,
        count=len(clip.files),
        dropped=0,
        duplicated=0,
        apex_kept=None,
        shift=float(shot.shift),
        placement=Placement(shot.start_frame, shot.rate, shot.shift, shot.stretch),
        warnings=warnings,
        checked=checked,
    )


def _show(
    context: bpy.types.Context, clip: Clip, where: str
) -> tuple[bpy.types.Image | None, str | None, tuple[str, ...]]:
    """Show a clip in place of earlier ones; return its image, what it was placed on, and what a person should know."""
    scene = context.scene
    # What the viewport draws for a camera, and what is only loaded, goes through no view transform.
    colours, warnings = colour_space(scene) if where in {PLANE, STRIP} else ("sRGB", ())
    drawn = "sRGB"
    if clip.files[0].suffix == SHOT_EXR.suffix:  # light, which goes through the view transform like a render
        colours, warnings, drawn = "", (), ""
    last = clip.start + len(clip.files) - 1
    camera = usable_camera(camera_at(scene, clip.start)) if where in BY_CAMERA else None
    take_away(scene, clip.start, last)
    forget_image(clip.job)
    image: bpy.types.Image | None = None
    placed: str | None = None
    if where == STRIP:
        placed = add_strip(scene, clip, colours)
        if not scene.render.use_sequencer or len(strips_of(scene)) == 1:
            warnings += ("Renders now show the sequencer; switch it off in Output > Post Processing to see the scene.",)
    else:
        image = load(clip, colours)
    if camera is not None and image is not None:
        if where == PLANE:
            placed = add_plane(context, camera, image, clip)
            warnings += unfaithful(context, camera)
            # What Solid shading doesn't show of the plane.
            add_camera_picture(camera, load(clip, drawn), clip, front=True)
        else:
            placed = add_camera_picture(camera, image, clip, front=where == FRONT)
        if (cut := cut_within(scene, clip.start, last)) is not None:
            warnings += (
                f"At frame {cut} the scene cuts to another camera than {camera.name!r}, which does not show these "
                "frames; choose Sequencer Strip to see them there, too.",
            )
    return image, placed, warnings


@with_properties
class MAGPLUS_OT_import_frames(bpy.types.Operator):
    """Show a job's frames as an image sequence"""

    bl_idname = "magplus.import_frames"
    bl_label = "Import Frames"
    bl_options = {"REGISTER", "UNDO"}

    folder: str = StringProperty(
        name="Job Folder", description="A finished job", subtype="DIR_PATH", options=RELATIVE_PATH
    )
    where: str = EnumProperty(
        name="Show As",
        description="Where the image sequence goes",
        items=SHOW_AS,
    )
    start_frame: int = IntProperty(
        name="Start Frame",
        description="Frame of the scene where the clip starts",
        default=1,
        min=-LAST_FRAME,
        max=LAST_FRAME,
    )
    keep_apex: bool = BoolProperty(
        name="Keep the Apex", description="Never leave out the frame of the apex", default=True
    )

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Import and report."""
        report = import_frames(
            context,
            JobFolder.open(Path(bpy.path.abspath(self.folder))),
            Destination(start_frame=given_or_first(self, context.scene), show_as=self.where, keep_apex=self.keep_apex),
        )
        for sentence in report.sentences():
            self.report({"WARNING"}, translated(sentence))
        self.report({"INFO"}, translated(f"Imported {report.count} frames from frame {report.first_frame}."))
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_import_frames,)
