# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be keyed: solved curves of a rig's controls, and the numbers in this file that they are for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.artefacts import AVATAR_BASIS, WEIGHTS
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.spec import resolve
from ...backend_bridge.rig.basis import Channel, Control, RigBasis
from ...backend_bridge.rig.curves import ControlCurves
from ..rig.controls import LiveChannel
from ..rig.kinds import KINDS, ControlKind
from .event_markers import VideoPart
from .keyframes import Keys
from .scene_time import Placement, SourceTime

STILL = 1e-4  # a control that stays this close to rest is still; the smallest expressions use some hundredths


@dataclass(frozen=True)
class Performance:
    """What is to be keyed: curves of a rig's controls, and when they were seen.

    name: for the bake. controls: by name. part: of which video it is. checked:
    whether a job's journal says that the curves are what its run has written. identity: of the job that it is of, as
    its report and its pictures have it, empty where an older report has none; None for what is of no job.
    """

    name: str
    controls: Mapping[str, Control]
    curves: ControlCurves
    source: SourceTime
    part: VideoPart = field(default_factory=VideoPart)
    checked: bool = True
    identity: str | None = None

    @classmethod
    def of_job(cls, folder: JobFolder) -> Performance:
        """Read what a job has solved.

        Raises `InputError` when it has solved nothing, and when something is damaged or not what the run has written.
        """
        report, spec = folder.read_report(), folder.read_spec()
        # Controls that an earlier run has solved are not those of a later one that made frames alone.
        if not spec.outputs.weights or spec.avatar.rig_basis is None or not os.path.lexists(folder.weights_npz):
            raise InputError("This job has no solved controls; run it with rig controls among its outputs.")
        checked = folder.check_whole([WEIGHTS])
        if spec.avatar.rig_basis == AVATAR_BASIS:
            folder.check_whole([AVATAR_BASIS])
        curves = ControlCurves.load(folder.weights_npz)
        basis = RigBasis.load(resolve(folder.path, spec.avatar.rig_basis))
        shape = (len(curves.seconds), len(curves.names))
        if curves.values.shape != shape or curves.values.dtype.kind != "f" or not np.isfinite(curves.values).all():
            raise InputError(f"{WEIGHTS} holds values that are none; run the job again.")
        source = SourceTime.from_report(report)
        solved = len(curves.names) if report.weights is None else report.weights.controls
        if len(source.seconds) != len(curves.seconds) or solved != len(curves.names):
            raise InputError("The solved controls and the report are of different runs; run the job again.")
        controls = {control.name: control for control in basis.controls}
        identity = "" if report.provenance is None else report.provenance.identity
        return cls(folder.path.stem, controls, curves, source, VideoPart.of(report), checked, identity)


@dataclass(frozen=True)
class ControlKeys:
    """Keys of one number, and the control that they are for."""

    control: Control
    kind: ControlKind
    keys: Keys


def keys_here(
    performance: Performance,
    placement: Placement,
    skip_still: bool = True,
    objects: Mapping[str, bpy.types.Object] | None = None,
) -> tuple[list[ControlKeys], dict[str, str]]:
    """Return the keys of a performance on this file's rig, and why there are none for others, by the control's name.

    `skip_still` leaves controls out that never leave their rest value; `objects` says which object stands for an
    owner's name in the rig basis, where objects were renamed since. Raises `InputError` when nothing can be keyed.
    """
    curves = performance.curves
    frames = np.array([float(placement.frame(seconds)) for seconds in performance.source.seconds])
    found: list[ControlKeys] = []
    reasons: dict[str, str] = {}
    for name, values in zip(curves.names, curves.values.T.astype(np.float64), strict=True):
        control = performance.controls.get(name)
        if control is None:
            reasons[name] = "is not in the rig basis"
            continue
        if skip_still and np.abs(values - control.rest).max() < STILL:
            continue
        kind = KINDS.get(control.kind)
        if kind is None:
            reasons[name] = f"is a {control.kind}, which this MagPlus can't key"
            continue
        for part in (Channel(control.owner, control.data_path), *control.linked):
            channel, reason = _channel(kind, part, objects or {})
            if channel is None:
                reasons[name] = reason
            else:
                found.append(ControlKeys(control, kind, Keys(channel, frames, values)))
    if not found and reasons:
        name, reason = next(iter(reasons.items()))
        raise InputError(f"None of the job's controls can be keyed here: {name!r} {reason}.")
    return found, reasons


def channels_here(
    performance: Performance, objects: Mapping[str, bpy.types.Object] | None = None
) -> list[tuple[Control, LiveChannel]]:
    """Return the numbers in this file of all controls that a performance knows, whether they move or not."""
    found = []
    for control in performance.controls.values():
        if (kind := KINDS.get(control.kind)) is not None:
            for part in (Channel(control.owner, control.data_path), *control.linked):
                channel, _ = _channel(kind, part, objects or {})
                if channel is not None:
                    found.append((control, channel))
    return found


def _channel(
    kind: ControlKind, part: Channel, objects: Mapping[str, bpy.types.Object]
) -> tuple[LiveChannel | None, str]:
    """Return a number of a control in this file or, in its place, what is in the way."""
    obj = objects.get(part.owner) or bpy.data.objects.get(part.owner)
    if obj is None:
        return None, f"is on {part.owner!r}, which is no longer in the file"
    channel = kind.find_channel(obj, part.data_path)
    if channel is None:
        return None, f"is no longer on {part.owner!r}"
    reason = kind.key_problem(channel)
    return (None, reason) if reason else (channel, "")


def excursion(curves: ControlCurves, controls: Mapping[str, Control]) -> NDArray[np.float64]:
    """Return [N], how far all known controls together are from rest, in units of what they were made for."""
    squared = np.zeros(len(curves.seconds))
    for name, values in zip(curves.names, curves.values.T.astype(np.float64), strict=True):
        if (control := controls.get(name)) is not None:
            low, high = control.modelled
            squared += np.square((values - control.rest) / max(high - low, STILL))
    return np.sqrt(squared)
