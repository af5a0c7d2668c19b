# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened in a face, and when: the clip's expression as a whole, and each action unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MotionEvent:
    """Onset, apex and offset in seconds of the curve's times; an end that lies outside the clip is None."""

    onset: float | None
    apex: float
    offset: float | None


@dataclass(frozen=True)
class UnitEvent:
    """One action unit in a clip.

    controls: the rig's controls that stand for it. onset, apex, offset: seconds of the curves' times; an end that lies
    outside the clip is None. peak: the stronger side's largest excursion, as a share of the control's range; of an
    expression that is held, it may lie beside the apex, which is the middle of the plateau. left and right: both
    sides' excursions where the peak is, None for a rig without sides. asymmetry: from -1 (the person's right side
    only) over 0 (both alike) to 1 (left only). approximate: the rig's shape shows only part of the
    unit, or shows another one too.
    """

    unit: int
    name: str
    controls: tuple[str, ...]
    onset: float | None
    apex: float
    offset: float | None
    peak: float
    left: float | None
    right: float | None
    asymmetry: float | None
    approximate: bool
