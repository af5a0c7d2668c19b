# SPDX-License-Identifier: GPL-3.0-or-later
"""`bake.json`: what was keyed from a job, and where in the scene, beside the job's own report."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..files.typed_json import Format
from . import artefacts


@dataclass(frozen=True)
class BakeRecord:
    """One bake.

    start_frame: scene frame of the clip's first frame. scene_rate: frames per second. stretch: how many times longer
    the clip plays; shift: by how many frames it was moved for its apex. frames: the first and last key's. apex_kept:
    share of the apex that whole frames show. markers: frames of the events, by name. keyed: names of the controls with
    keys; not_keyed: why others have none, by name. actions: names of the actions written.
    """

    start_frame: int
    scene_rate: Fraction
    stretch: Fraction
    shift: Fraction
    frames: tuple[float, float]
    apex_kept: float
    markers: dict[str, int]
    keyed: tuple[str, ...]
    not_keyed: dict[str, str]
    actions: tuple[str, ...]


BAKE = Format(BakeRecord, artefacts.BAKE, "a record of a bake", "bake again")
