# SPDX-License-Identifier: GPL-3.0-or-later
"""A Live Link Face recording onto a rig: curves of ARKit shapes, matched to controls by what their names mean."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ..backend_bridge.files.disk import explained
from ..backend_bridge.files.errors import InputError
from ..backend_bridge.rig.live_link import onto_controls, read_live_link, stands_for_arkit, text_of, unmatched
from .animation.bake_report import BakeReport
from .animation.destination import Destination
from .animation.performance import STILL, Performance, excursion
from .animation.scene_time import SourceTime, exact
from .avatar.bare_scene import bare_scene
from .avatar.reasons import no_controls
from .bake import bake_performance
from .blender.operator import ExplainedOperator, OperatorResult, refusing
from .blender.properties import RELATIVE_PATH, FloatProperty, StringProperty, with_properties
from .blender.wording import translated
from .measure_controls import choice_of
from .rig.avatar import NO_AVATAR, chosen_avatar, face_companions
from .rig.face_controls import ControlChoice, chosen_controls


@dataclass(frozen=True)
class LiveLinkReport:
    """What was keyed from a recording, what of it this rig has no control for, and why others can't be keyed.

    remarks: on the recording itself, a sentence each.
    """

    bake: BakeReport
    unmatched: tuple[str, ...]
    excluded: dict[str, str]
    rotations: bool
    remarks: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Return what a person should know, a sentence each."""
        lines = self.bake.sentences()
        lines += [f"{name!r} {reason}, so what it does is left out." for name, reason in self.excluded.items()]
        if self.unmatched:
            names = ", ".join(self.unmatched[:6]) + (" ..." if len(self.unmatched) > 6 else "")
            lines.append(f"No control of this rig stands for {names}; what they do is left out.")
        lines += self.remarks
        if self.rotations:
            lines.append("The recording also turns the head or the eyes; that is left out.")
        return lines


def import_live_link(
    context: bpy.types.Context,
    path: Path,
    avatar: bpy.types.Object,
    destination: Destination,
    choice: ControlChoice | None = None,
    timecode_rate: Fraction | None = None,
) -> LiveLinkReport:
    """Key a recording onto an avatar's controls.

    Args:
        context: its scene gives the frame rate and takes the keys' place in time.
        path: a CSV file of the Live Link Face app, or of a tool that writes the same.
        avatar: the mesh with the face; other meshes of the same face are keyed with it.
        destination: where in time, and onto which animation.
        choice: which controls are used, every shape key by default; the locked ones among them are left alone.
        timecode_rate: frames per second in the recording's timecode; None takes it from the recording.

    Raises:
        InputError: no such file, no such format, or nothing on the rig that has a known name can be keyed.
    """
    recording = read_live_link(_text_at(path), timecode_rate, STILL)
    choice = choice or ControlChoice()
    with bare_scene(context, destination.start_frame):  # what is at rest is judged without earlier bakes
        found, excluded = chosen_controls((avatar, *face_companions(context, avatar)), choice)
    controls = [each.control for each in found if each.control.name not in choice.locked]
    known = {name: reason for name, reason in excluded.items() if stands_for_arkit(name)}
    if known and not any(stands_for_arkit(control.name) for control in controls):
        raise InputError(no_controls(avatar, known))
    curves = onto_controls(recording.curves, controls, known)
    named = {control.name: control for control in controls}
    performance = Performance(path.stem, named, curves, _time(recording.seconds, excursion(curves, named)))
    bake = bake_performance(context, performance, destination, markers=False)
    there = [control.name for control, follows in zip(controls, curves.visibility, strict=True) if follows]
    left_out = unmatched(recording.curves, [*there, *known], STILL)
    wanted = unmatched(recording.curves, there, STILL)
    missed = {
        name: reason
        for name, reason in known.items()
        if not set(wanted) <= set(unmatched(recording.curves, [*there, name], STILL))
    }
    return LiveLinkReport(bake, left_out, missed, recording.rotates, recording.remarks)


def _text_at(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"There is no Live Link Face CSV at {path}; choose another file.")
    with explained(path, reading=True):
        data = path.read_bytes()
    try:
        return text_of(data)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text, as a Live Link Face CSV is; choose another file.") from error


def _time(seconds: tuple[Fraction, ...], away: NDArray[np.floating]) -> SourceTime:
    """Return when the samples were taken; the one furthest `away` [N] from rest is the apex."""
    apex = int(np.argmax(away))
    rate = (len(seconds) - 1) / seconds[-1] if seconds[-1] else Fraction(60)
    return SourceTime(seconds, rate, {"apex": seconds[apex]}, apex)


RECORDINGS = "*.csv"


@with_properties
class MAGPLUS_OT_import_live_link(ExplainedOperator):
    """Key a Live Link Face recording (CSV) onto the avatar, as the settings above say"""

    bl_idname = "magplus.import_live_link"
    bl_label = "Import Live Link Face"
    bl_options = {"REGISTER", "UNDO"}

    filepath: str = StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"} | RELATIVE_PATH)
    filter_glob: str = StringProperty(default=RECORDINGS, maxlen=255, options={"HIDDEN", "SKIP_SAVE"})
    timecode_rate: float = FloatProperty(
        name="Timecode Rate",
        description="Frames per second in the recording's timecode; 0 lets the recording tell",
        default=0.0,
        min=0.0,
    )

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return NO_AVATAR if context.scene.magplus.avatar is None else ""

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Let the user pick the file, unless it is given."""
        if self.filepath:
            return self.execute(context)
        self.filter_glob = RECORDINGS  # not what the last import was left with
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Key it and report."""
        settings = context.scene.magplus
        report = import_live_link(
            context,
            Path(bpy.path.abspath(self.filepath)),
            chosen_avatar(context),
            Destination.from_settings(settings),
            choice_of(settings),
            exact(self.timecode_rate) or None,
        )
        for sentence in report.sentences():
            self.report({"WARNING"}, translated(sentence))
        self.report({"INFO"}, translated(report.bake.sentence))
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_import_live_link,)
