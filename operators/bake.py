# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""Baking solved controls to F-Curves: shape keys first of all, and whatever else the rig basis was measured for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty
from numpy.typing import NDArray

from ..backend_bridge.files.errors import InputError, MagPlusError
from ..backend_bridge.job import artefacts
from ..backend_bridge.job.bake_record import BAKE, BakeRecord
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.rig.basis import Channel, Control, RigBasis
from ..backend_bridge.rig.curves import ControlCurves
from .animation.destination import ANIMATION, LAYER, REPLACE, Destination
from .animation.event_markers import set_event_markers, video_start
from .animation.keyframes import (
    Keys,
    action_problem,
    add_nla_layer,
    animated_paths,
    assign_new_action,
    finish_nla_layer,
    write_keys,
)
from .animation.scene_time import Placement, SourceTime, apex_kept, exact
from .animation.strength import add_strength, make_room, modifier_name, plays
from .rig.controls import LINKED, SHAPE_KEY, SLIDER_LIMIT, LiveChannel, find_channel, widen_range

STILL = 1e-4  # a control that stays this close to rest is still; the smallest expressions use some hundredths


@dataclass(frozen=True)
class BakeReport:
    """What was baked, and what a person should know of it.

    name: what the scene calls the bake. record: what is kept of it beside the job's own report. raised: controls whose
    range was widened, with the new one; not_saved: those of them that lose it again with the file. kept: names of the
    actions that were replaced, which are still in the file.
    """

    name: str
    record: BakeRecord
    raised: dict[str, tuple[float, float]]
    not_saved: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def placement(self) -> Placement:
        """Where the clip lies in the scene's time."""
        record = self.record
        return Placement(record.start_frame, record.scene_rate, record.shift, record.stretch)

    @property
    def sentence(self) -> str:
        """What was done."""
        return f"Keyed {len(self.record.keyed)} controls from frame {self.record.frames[0]:g}."

    def sentences(self) -> list[str]:
        """Return what a person should know besides, a sentence each."""
        lines = []
        kept = self.record.apex_kept
        if self.kept:
            lines.append(f"The earlier animation no longer plays; it is kept in the action {_listed(self.kept)}.")
        if self.raised:
            lines.append(f"The range was widened of {_listed(self.raised)}: the expression goes beyond it.")
        if self.not_saved:
            lines.append(
                f"Blender does not save the wider range of {_listed(self.not_saved)} in a library override; widen it "
                "in the character's own file, too."
            )
        for reason in sorted(set(self.record.not_keyed.values())):
            names = [name for name, why in self.record.not_keyed.items() if why == reason]
            lines.append(f"Not keyed: {_listed(names)} {reason}.")
        if kept < 0.995:
            lines.append(f"Whole frames show {kept:.0%} of the apex: the scene's frame rate is low for this movement.")
        return lines


@dataclass(frozen=True)
class Performance:
    """What is to be keyed: curves of a rig's controls, and when they were seen.

    name: for the bake. controls: by name. video_start: seconds of the driving video at the first sample.
    """

    name: str
    controls: Mapping[str, Control]
    curves: ControlCurves
    source: SourceTime
    video_start: Fraction = Fraction(0)

    @classmethod
    def of_job(cls, folder: JobFolder) -> Performance:
        """Read what a job has solved. Raises `InputError` when it has solved nothing."""
        spec = folder.read_spec()
        if spec.avatar.rig_basis is None or not folder.weights_npz.is_file():
            raise InputError("This job has no solved controls; run it with rig controls among its outputs.")
        curves = ControlCurves.load(folder.weights_npz)
        controls = {control.name: control for control in RigBasis.load(folder.path / spec.avatar.rig_basis).controls}
        report = folder.read_report()
        source = SourceTime.from_report(report)
        if len(source.seconds) != len(curves.seconds):
            raise InputError("The solved controls and the report are of different runs; run the job again.")
        return cls(folder.path.stem, controls, curves, source, video_start(report))


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
    scene, curves, source = context.scene, performance.curves, performance.source
    placement = destination.place(source, scene)
    frames = np.array([float(placement.frame(seconds)) for seconds in source.seconds])

    skipped: dict[str, str] = {}
    wanted: dict[bpy.types.ID, list[tuple[str, float, Keys]]] = {}
    keyed: list[str] = []
    for name, values in zip(curves.names, curves.values.T.astype(np.float64), strict=True):
        control = performance.controls.get(name)
        if control is None:
            skipped[name] = "is not in the rig basis"
            continue
        if skip_still and np.abs(values - control.rest).max() < STILL:
            continue
        found = _channels(control, objects or {}, skipped)
        for channel in found:
            wanted.setdefault(channel.id, []).append((name, control.rest, Keys(channel, frames, values)))
        if found:
            keyed.append(name)
    if not keyed and skipped:
        name, reason = next(iter(skipped.items()))
        raise InputError(f"None of the job's controls can be keyed here: {name!r} {reason}.")

    if destination.animation == REPLACE:  # all of it or nothing
        for problem in (action_problem(keys.channel) for entries in wanted.values() for _, _, keys in entries):
            if problem:
                raise InputError(problem)

    bake = _free_name(scene, performance.name)
    raised: dict[str, tuple[float, float]] = {}
    not_saved: list[str] = []
    actions: list[str] = []
    kept: list[str] = []
    for id_block, entries in wanted.items():
        overridden = isinstance(id_block, bpy.types.Key) and id_block.user.override_library is not None
        for name, _, keys in entries:
            _raise_range(name, keys, raised, skipped)
        not_saved += [name for name, _, _ in entries if overridden and name in raised]
        written, previous = _write(
            id_block, [(rest, keys) for _, rest, keys in entries], destination.animation, modifier_name(bake)
        )
        actions.append(written)
        kept += [previous] if previous else []
    record = BakeRecord(
        start_frame=placement.start_frame,
        scene_rate=placement.fps,
        stretch=placement.stretch,
        shift=placement.shift,
        frames=(float(frames[0]), float(frames[-1])),
        apex_kept=apex_kept(frames, excursion(curves, performance.controls)),
        markers=set_event_markers(scene, source, placement, performance.video_start) if markers else {},
        keyed=tuple(keyed),
        not_keyed=skipped,
        actions=tuple(actions),
    )
    report = BakeReport(bake, record, raised, tuple(not_saved), tuple(kept))
    _remember(scene, report)
    return report


def excursion(curves: ControlCurves, controls: Mapping[str, Control]) -> NDArray[np.float64]:
    """Return [N], how far all known controls together are from rest, in units of their ranges."""
    squared = np.zeros(len(curves.seconds))
    for name, values in zip(curves.names, curves.values.T.astype(np.float64), strict=True):
        if (control := controls.get(name)) is not None:
            squared += np.square((values - control.rest) / max(control.high - control.low, STILL))
    return np.sqrt(squared)


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


def _channels(control: Control, objects: Mapping[str, bpy.types.Object], skipped: dict[str, str]) -> list[LiveChannel]:
    """Return the numbers that a control moves here, and record what is in the way of the others."""
    found = []
    for part in (Channel(control.owner, control.data_path), *control.linked):
        obj = objects.get(part.owner) or bpy.data.objects.get(part.owner)
        channel = find_channel(obj, control.kind, part.data_path) if obj is not None else None
        if obj is None:
            reason = f"is on {part.owner!r}, which is no longer in the file"
        elif channel is None:
            reason = f"is no longer on {part.owner!r}"
        elif not channel.id.is_editable:
            reason = LINKED
        elif channel.driven:
            reason = "is driven"
        elif control.kind == SHAPE_KEY and _shape_key(channel).mute:
            reason = "is muted"
        else:
            found.append(channel)
            continue
        skipped[control.name] = reason
    return found


def _shape_key(channel: LiveChannel) -> bpy.types.ShapeKey:
    block: bpy.types.ShapeKey = channel.id.path_resolve(channel.path.removesuffix(".value"))
    return block


def _raise_range(name: str, keys: Keys, raised: dict[str, tuple[float, float]], skipped: dict[str, str]) -> None:
    """Widen a shape key's range to its curve."""
    if not isinstance(keys.channel.id, bpy.types.Key):
        return
    block = _shape_key(keys.channel)
    low, high = float(keys.values.min()), float(keys.values.max())
    if high > SLIDER_LIMIT or low < -SLIDER_LIMIT:
        skipped[name] = f"goes beyond Blender's limit of {SLIDER_LIMIT:g} and is cut off there"
    if widen_range(block, low, high):
        raised[name] = (block.slider_min, block.slider_max)


def _write(
    id_block: bpy.types.ID, entries: list[tuple[float, Keys]], mode: str, strength: str
) -> tuple[str, str | None]:
    """Write the keys of one ID, with a modifier for their strength.

    Returns the action's name and that of the action it replaced.
    """
    name = f"MagPlus {_owner_name(id_block)}"
    if mode == LAYER:
        below = animated_paths(id_block)
        action = add_nla_layer(id_block, name)
        for rest, keys in entries:
            # The track adds: to the animation below, which is at rest where the basis was measured, or, where there is
            # none, to the property's default, from which the NLA starts.
            animated = (keys.channel.path, max(keys.channel.index, 0)) in below
            base = rest if animated else keys.channel.default
            curve = write_keys(Keys(keys.channel, keys.frames, keys.values - base))
            add_strength(curve, strength, rest - base, None)
        finish_nla_layer(id_block, action)
        return action.name, None
    animation = id_block.animation_data
    active = animation.action if animation is not None else None
    previous: bpy.types.Action | None = None
    if into := mode == REPLACE and active is not None:
        action = active
    else:
        action, previous = assign_new_action(id_block, name)
    for rest, keys in entries:
        curve = write_keys(keys)
        interval = (float(keys.frames[0]), float(keys.frames[-1]))
        make_room(curve, *interval)
        add_strength(curve, strength, rest, interval if into else None)
    return action.name, previous.name if previous is not None else None


def _owner_name(id_block: bpy.types.ID) -> str:
    return str(id_block.user.name if isinstance(id_block, bpy.types.Key) else id_block.name)


def _listed(names: object) -> str:
    quoted = [repr(name) for name in names]  # type: ignore[attr-defined]
    return ", ".join(quoted[:4]) + (f" and {len(quoted) - 4} more" if len(quoted) > 4 else "")


class MAGPLUS_OT_bake_shape_keys(bpy.types.Operator):
    """Key the shape keys and other controls that a job has solved"""

    bl_idname = "magplus.bake_shape_keys"
    bl_label = "Bake to the Rig"
    bl_options = {"REGISTER", "UNDO"}

    folder: StringProperty(name="Job Folder", description="A finished job", subtype="DIR_PATH")
    start_frame: IntProperty(name="Start Frame", description="Frame of the scene where the clip starts", default=1)
    mode: EnumProperty(
        name="Animation",
        description="What happens to animation that is there already",
        items=ANIMATION,
    )
    keep_apex: BoolProperty(
        name="Keep the Apex",
        description="Shift the clip by at most half a frame, so that its apex falls on a frame",
        default=True,
    )
    skip_still: BoolProperty(name="Skip Still", description="No keys for what does not move", default=True)
    stretch: FloatProperty(
        name="Time Stretch", description="How many times longer than it was the clip plays", default=1.0, min=0.01
    )
    markers: BoolProperty(name="Markers", description="Mark onset, apex and offset on the timeline", default=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
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
