# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking solved controls to F-Curves: shape keys first of all, and whatever else the rig basis was measured for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import bpy
import numpy as np

from ..backend_bridge.files.errors import InputError, MagPlusError
from ..backend_bridge.job import artefacts
from ..backend_bridge.job.bake_record import BAKE, BakeRecord
from ..backend_bridge.job.folder import JobFolder
from .animation.bake_report import BakeReport
from .animation.destination import ANIMATION, REPLACE, Destination
from .animation.event_markers import set_event_markers
from .animation.keyframes import action_problem
from .animation.keying import key
from .animation.performance import ControlKeys, Performance, excursion, keys_here
from .animation.scene_time import apex_kept, exact
from .animation.strength import modifier_name, plays
from .blender.operator import OperatorResult
from .blender.properties import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty, with_properties

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
    report = bake_performance(
        context,
        Performance.of_job(folder),
        destination,
        skip_still=skip_still,
        markers=markers,
        objects=objects,
    )
    folder.write(artefacts.BAKE, BAKE.encode(report.record))
    return report


def bake_performance(
    context: bpy.types.Context,
    performance: Performance,
    destination: Destination,
    *,
    skip_still: bool = True,
    markers: bool = True,
    objects: Mapping[str, bpy.types.Object] | None = None,
) -> BakeReport:
    """Key a performance; see `bake_controls`."""
    scene, source = context.scene, performance.source
    placement = destination.place(source, scene)
    frames = [float(placement.frame(seconds)) for seconds in source.seconds]
    entries, not_keyed = keys_here(performance, placement, skip_still, objects)
    if destination.animation == REPLACE:  # all of it or nothing
        for problem in (action_problem(entry.keys.channel) for entry in entries):
            if problem:
                raise InputError(problem)

    bake = _free_name(scene, performance.name)
    raised, not_saved, cut_off = _raise_ranges(entries)
    of_ids: dict[bpy.types.ID, list[ControlKeys]] = {}
    for entry in entries:
        of_ids.setdefault(entry.keys.channel.id, []).append(entry)
    written = [key(id_block, its, destination.animation, modifier_name(bake)) for id_block, its in of_ids.items()]
    if performance.identity is not None:  # whoever has the file can see where its motion comes from
        for action in (bpy.data.actions[each.action] for each in written):
            action[JOB_NAME], action[JOB_IDENTITY] = performance.name, performance.identity
    record = BakeRecord(
        start_frame=placement.start_frame,
        scene_rate=placement.fps,
        stretch=placement.stretch,
        shift=placement.shift,
        frames=(frames[0], frames[-1]),
        apex_kept=apex_kept(np.array(frames), excursion(performance.curves, performance.controls)),
        markers=set_event_markers(scene, source, placement, performance.video_start) if markers else {},
        keyed=tuple(dict.fromkeys(entry.control.name for entry in entries)),
        not_keyed=not_keyed | cut_off,
        actions=tuple(each.action for each in written),
    )
    kept = tuple(each.replaced for each in written if each.replaced is not None)
    report = BakeReport(bake, record, raised, not_saved, kept)
    _remember(scene, report)
    return report


def _raise_ranges(
    entries: Sequence[ControlKeys],
) -> tuple[dict[str, tuple[float, float]], tuple[str, ...], dict[str, str]]:
    """Make room for curves that go beyond a control's range, so that Blender does not cut them off.

    Returns the new ranges, by name; the names of those that are not saved with the file; and what is to be told of
    those that go beyond what Blender allows at all.
    """
    raised: dict[str, tuple[float, float]] = {}
    not_saved: list[str] = []
    cut_off: dict[str, str] = {}
    for entry in entries:
        name, kind, channel = entry.control.name, entry.kind, entry.keys.channel
        low, high = float(entry.keys.values.min()), float(entry.keys.values.max())
        lowest, highest = kind.limits
        if high > highest or low < lowest:
            limit = highest if high > highest else lowest
            cut_off[name] = f"goes beyond Blender's limit of {limit:g} and is cut off there"
        if (now := kind.widen(channel, low, high)) is not None:
            raised[name] = now
            if not kind.keeps_range(channel):
                not_saved.append(name)
    return raised, tuple(not_saved), cut_off


def _free_name(scene: bpy.types.Scene, name: str) -> str:
    """Return a name that no earlier bake of the scene has."""
    taken = {record.name for record in scene.magplus.bakes}
    candidates = [name, *(f"{name}.{number:03}" for number in range(1, len(taken) + 1))]
    return next(candidate for candidate in candidates if candidate not in taken)


def _remember(scene: bpy.types.Scene, report: BakeReport) -> None:
    """Record a bake in the scene, for its strength; forget those that play nowhere any more."""
    records = scene.magplus.bakes
    for index in reversed(range(len(records))):
        if not plays(modifier_name(records[index].name)):
            records.remove(index)
    if report.record.keyed:
        record = records.add()
        record.name = report.name


@with_properties
class MAGPLUS_OT_bake_shape_keys(bpy.types.Operator):
    """Key the shape keys and other controls that a job has solved"""

    bl_idname = "magplus.bake_shape_keys"
    bl_label = "Bake to the Rig"
    bl_options = {"REGISTER", "UNDO"}

    folder: str = StringProperty(name="Job Folder", description="A finished job", subtype="DIR_PATH")
    start_frame: int = IntProperty(
        name="Start Frame", description="Frame of the scene where the clip starts", default=1
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
    markers: bool = BoolProperty(
        name="Markers", description="Mark onset, apex and offset on the timeline", default=True
    )

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Bake and report."""
        try:
            report = bake_controls(
                context,
                JobFolder.open(Path(bpy.path.abspath(self.folder))),
                Destination(
                    start_frame=self.start_frame,
                    animation=self.mode,
                    keep_apex=self.keep_apex,
                    stretch=exact(self.stretch),
                ),
                skip_still=self.skip_still,
                markers=self.markers,
            )
        except MagPlusError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for sentence in report.sentences():
            self.report({"WARNING"}, sentence)
        self.report({"INFO"}, report.sentence)
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_bake_shape_keys,)
