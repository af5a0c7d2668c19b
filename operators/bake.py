# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking solved controls to F-Curves: shape keys first of all, and whatever else the rig basis was measured for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ..backend_bridge.files.errors import InputError, MagPlusError
from ..backend_bridge.job import artefacts
from ..backend_bridge.job.bake_record import BAKE, BakeRecord
from ..backend_bridge.job.folder import JobFolder
from .animation.bake_list import forget_dead, free_name, remember, settled_name
from .animation.bake_report import BakeReport
from .animation.clearing import clear, end_before
from .animation.clip_windows import ClipWindows
from .animation.destination import ANIMATION, LAYER, NEW_ACTION, Destination
from .animation.earlier_run import ClipOfRun
from .animation.ends import RELEASE, Window
from .animation.event_markers import set_event_markers
from .animation.keying import Keying, Written, address_of
from .animation.nla import REST, Address
from .animation.obstacles import animation_problem
from .animation.performance import ControlKeys, Performance, channels_here, excursion, keys_here
from .animation.ranges import raise_ranges
from .animation.scene_start import given_or_first
from .animation.scene_time import LAST_FRAME, apex_kept, exact
from .avatar.reasons import override_apart
from .blender.data import shape_keys_of, wearers
from .blender.operator import OperatorResult, refusing
from .blender.properties import (
    RELATIVE_PATH,
    BoolProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    StringProperty,
    with_properties,
)
from .blender.wording import translated
from .rig.avatar import on_one_armature

MOST_FRAMES = 500  # that are looked at of what plays below a layer
CUT_SHORT = 0.2  # of the expression's height; what shows more of it at an end was cut off
JOB_NAME, JOB_IDENTITY = "magplus_job", "magplus_job_identity"  # custom properties of actions


def bake_controls(
    context: bpy.types.Context,
    folder: JobFolder,
    destination: Destination,
    *,
    skip_still: bool = True,
    markers: bool = True,
    objects: Mapping[str, bpy.types.Object] | None = None,
) -> BakeReport:
    """Key the controls that a finished job has solved.

    Args:
        context: its scene gives the frame rate and takes the markers.
        folder: the job.
        destination: where in time, and onto which animation.
        skip_still: leave controls without keys that never leave their rest value.
        markers: set timeline markers at onset, apex and offset.
        objects: which object stands for an owner's name in the rig basis, where objects were renamed since.

    Raises:
        InputError: the job has no solved controls, or none of them exists here.
    """
    with folder.reading():
        performance = Performance.of_job(folder)
        report = bake_performance(
            context, performance, destination, skip_still=skip_still, markers=markers, objects=objects
        )
        return recorded(folder, report)


def recorded(folder: JobFolder, report: BakeReport) -> BakeReport:
    """Leave the record of a bake in the job folder; where that can't be done, return a report that says so."""
    try:
        folder.write(artefacts.BAKE, BAKE.encode(report.record))
    except MagPlusError as error:  # the keys are there, and the record is only for whoever asks later
        return replace(report, unrecorded=str(error))
    return report


@dataclass(frozen=True)
class PlannedKeys:
    """The keys that a bake writes, all of which can be written, and why other controls have none, by their names."""

    entries: list[ControlKeys]
    not_keyed: dict[str, str]


def plan_bake(
    context: bpy.types.Context,
    performance: Performance,
    destination: Destination,
    *,
    skip_still: bool = True,
    objects: Mapping[str, bpy.types.Object] | None = None,
) -> PlannedKeys:
    """Return what `bake_performance` is to write, and change nothing; see `bake_controls`."""
    placement = destination.place(performance.source, context.scene)
    entries, not_keyed = keys_here(performance, placement, skip_still, objects)
    window = destination.window(performance.source, placement)
    if problem := animation_problem([entry.keys.channel for entry in entries], destination.animation, window):
        raise InputError(problem)
    return PlannedKeys(entries, not_keyed)


def bake_performance(
    context: bpy.types.Context,
    performance: Performance,
    destination: Destination,
    *,
    skip_still: bool = True,
    markers: bool = True,
    objects: Mapping[str, bpy.types.Object] | None = None,
    planned: PlannedKeys | None = None,
) -> BakeReport:
    """Key a performance; see `bake_controls`. planned: what `plan_bake` has returned just now, where it was asked."""
    scene, source = context.scene, performance.source
    placement = destination.place(source, scene)
    frames = [float(placement.frame(seconds)) for seconds in source.seconds]
    if planned is None:
        planned = plan_bake(context, performance, destination, skip_still=skip_still, objects=objects)
    entries = planned.entries

    bake = free_name(performance.name)
    raised, not_saved, cut_off = raise_ranges(entries, destination.animation, _frames_of(scene))
    rests = _rests(performance, objects)
    windows = ClipWindows.of(destination, source, placement, rests)
    clip = ClipOfRun.of(performance.name, performance.part, source)
    keying = Keying(destination.animation, bake, windows.keyed, {}, windows.over, clip)
    written, stuck = _write(entries, keying, rests, windows)
    for action in (bpy.data.actions[each.action] for each in written):
        if performance.identity is not None:  # whoever has the file can see where its motion comes from
            action[JOB_NAME], action[JOB_IDENTITY] = performance.name, performance.identity
        if destination.animation == NEW_ACTION:
            clip.mark(action)
    away = excursion(performance.curves, performance.controls)
    record = BakeRecord(
        start_frame=placement.start_frame,
        scene_rate=placement.fps,
        stretch=placement.stretch,
        shift=placement.shift,
        frames=(frames[0], frames[-1]),
        apex_kept=apex_kept(np.array(frames), away),
        markers=set_event_markers(scene, source, placement, performance.part) if markers else {},
        keyed=tuple(dict.fromkeys(entry.control.name for entry in entries)),
        not_keyed=planned.not_keyed,
        actions=tuple(each.action for each in written),
    )
    kept = tuple(each.replaced for each in written if each.replaced is not None)
    cautions = (
        *_cut_short(away, RELEASE if windows.over else destination.release, windows.shortened),
        *_given_way(windows.given_way, destination.release),
        *_told(written, stuck),
        *_apart(entries),
    )
    forget_dead()
    if entries:
        bake = settled_name(bake, performance.name)
        remember(scene, bake)
    return BakeReport(bake, record, raised, not_saved, cut_off, kept, cautions, performance.checked)


def _rests(
    performance: Performance, objects: Mapping[str, bpy.types.Object] | None
) -> dict[bpy.types.ID, dict[Address, float]]:
    """Return whatever belongs to the character that a performance moves, with what is known of its numbers at rest."""
    rests: dict[bpy.types.ID, dict[Address, float]] = {}
    owners = set()
    for control, channel in channels_here(performance, objects):
        rests.setdefault(channel.id, {})[channel.path, max(channel.index, 0)] = control.rest
        owners |= wearers(channel.id)
    for obj in on_one_armature(owners):  # an earlier bake may have keyed other controls of the same character
        for part in (obj, shape_keys_of(obj)):
            if part is not None and part.is_editable:
                rests.setdefault(part, {})
    return rests


def _write(
    entries: Sequence[ControlKeys],
    keying: Keying,
    rests: Mapping[bpy.types.ID, Mapping[Address, float]],
    windows: ClipWindows,
) -> tuple[list[Written], list[str]]:
    """Write keys, and clear what earlier bakes have left in their window of whatever belongs to the character.

    Returns what was written, and what is to be said of strips that could not be cleared.
    """
    of_ids: dict[bpy.types.ID, list[ControlKeys]] = {}
    for entry in entries:
        of_ids.setdefault(entry.keys.channel.id, []).append(entry)
    stuck: list[str] = []
    for id_block in rests if keying.animation != NEW_ACTION else ():  # an action that is replaced is left as it is
        end_before(id_block, keying.window, windows.ease)
    if keying.animation == LAYER:  # before there is a layer that must not be cleared itself
        for id_block in rests:
            own = {} if keying.over else dict.fromkeys(_keyed(of_ids.get(id_block, [])), keying.window)
            stuck += clear(id_block, windows.beside, own=own)
    written = [replace(keying, rests=rests.get(id_block, {})).key(id_block, its) for id_block, its in of_ids.items()]
    if keying.animation != LAYER:
        for id_block in rests:
            keyed = _keyed(of_ids.get(id_block, []))
            if keying.animation == NEW_ACTION:
                end_before(id_block, keying.window, windows.ease, keyed)
            stuck += clear(id_block, windows.beside, keyed)
    return written, stuck


def _keyed(entries: Sequence[ControlKeys]) -> set[Address]:
    return {address_of(entry.keys.channel) for entry in entries}


def _frames_of(scene: bpy.types.Scene) -> NDArray[np.float64]:
    """Return the scene's frames, of a long one some hundreds."""
    count = min(scene.frame_end - scene.frame_start + 1, MOST_FRAMES)
    return np.linspace(scene.frame_start, scene.frame_end, max(count, 1), dtype=np.float64)


def _cut_short(away: NDArray[np.float64], release: float | None, shortened: Window | None) -> list[str]:
    """Say where the clip begins or ends in the middle of an expression; `away` [N] is how far it is from rest.

    shortened: the window that the bake has in place of the one that was asked for, as another clip begins there.
    """
    highest = float(away.max(initial=0.0))
    if highest <= 0.0:
        return []
    lines = []
    if (share := away[0] / highest) > CUT_SHORT:
        lines.append(f"The clip begins when {share:.0%} of the expression shows already; let it begin earlier.")
    if (share := away[-1] / highest) > CUT_SHORT:
        what = "it stays" if release is None else f"it is eased back over {release:g} s"
        if release is not None and shortened is not None:
            what = f"it goes back before frame {math.ceil(shortened.end)}, where a clip that is there begins"
        lines.append(f"The clip ends while {share:.0%} of the expression still shows, so {what}; let it end later.")
    return lines


def _given_way(window: Window, release: float | None) -> list[str]:
    """Say when what was to be held for good goes."""
    if window.endless or release is not None:
        return []
    return [f"What is held goes back before frame {math.ceil(window.end)}, where a clip that is there begins."]


def _apart(entries: Sequence[ControlKeys]) -> tuple[str, ...]:
    """Say which keys Blender may drop when a linked character changes."""
    owners = {obj for entry in entries for obj in wearers(entry.keys.channel.id)}
    return tuple(sentence for obj in owners if (sentence := override_apart(obj)))


def _told(written: Sequence[Written], stuck: Sequence[str]) -> list[str]:
    lines = [*dict.fromkeys(stuck)]
    for name in dict.fromkeys(name for each in written for name in each.overruled):
        lines.append(f"To play the muted track {name!r} again, move it above {REST!r} in the NLA editor.")
    for name in dict.fromkeys(name for each in written for name in each.hidden):
        lines.append(f"The keys hide the track {name!r}; to play both, choose Layer on Top instead.")
    for name in dict.fromkeys(name for each in written for name in each.adding):
        lines.append(
            f"The muted track {name!r} holds an earlier bake of these controls, which would add to this one if it "
            "played again; remove the track in the NLA editor, or leave it muted."
        )
    return lines


@with_properties
class MAGPLUS_OT_bake_shape_keys(bpy.types.Operator):
    """Key the shape keys and other controls that a job has solved"""

    bl_idname = "magplus.bake_shape_keys"
    bl_label = "Bake to the Rig"
    bl_options = {"REGISTER", "UNDO"}

    folder: str = StringProperty(
        name="Job Folder", description="A finished job", subtype="DIR_PATH", options=RELATIVE_PATH
    )
    start_frame: int = IntProperty(
        name="Start Frame",
        description="Frame of the scene where the clip starts",
        default=1,
        min=-LAST_FRAME,
        max=LAST_FRAME,
    )
    mode: str = EnumProperty(
        name="Animation",
        description="What happens to animation that is there already",
        items=ANIMATION,
    )
    keep_apex: bool = BoolProperty(
        name="Keep the Apex",
        description="Shift the clip by at most half a frame, so that its apex falls on a frame",
        default=True,
    )
    skip_still: bool = BoolProperty(name="Skip Still", description="No keys for what does not move", default=True)
    stretch: float = FloatProperty(
        name="Time Stretch", description="How many times longer than it was the clip plays", default=1.0, min=0.01
    )
    release: float = FloatProperty(
        name="Release",
        description="Seconds in which the face goes back where the clip ends in the middle of an expression",
        default=RELEASE,
        min=0.0,
    )
    hold: bool = BoolProperty(name="Hold the End", description="Let the face stay as it is at the clip's end")
    markers: bool = BoolProperty(
        name="Markers", description="Mark onset, apex and offset on the timeline", default=True
    )

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Bake and report."""
        report = bake_controls(
            context,
            JobFolder.open(Path(bpy.path.abspath(self.folder))),
            Destination(
                start_frame=given_or_first(self, context.scene),
                animation=self.mode,
                keep_apex=self.keep_apex,
                stretch=exact(self.stretch),
                release=None if self.hold else float(exact(self.release)),
            ),
            skip_still=self.skip_still,
            markers=self.markers,
        )
        for sentence in report.sentences():
            self.report({"WARNING"}, translated(sentence))
        self.report({"INFO"}, translated(report.sentence))
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_bake_shape_keys,)
