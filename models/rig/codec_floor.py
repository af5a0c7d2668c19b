# SPDX-License-Identifier: GPL-3.0-or-later
"""What a strong codec may have moved by itself is not keyed: controls far below the strongest one stay at rest.

A codec that leaves out most of a face codes what is left in steps of its quantiser, and where an expression makes it
code anything, it moves what is beside it too. So the false controls come with the true ones, with their course in time;
what tells them apart is their size. Of two dozen clips (rendered people of seeds 9500 to 9530, 0.7 px, H.264 at CRF 28
and 33, VP9, MPEG-4 at quantiser 10) most false ones have less than a third of the strongest control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.action_units import BLINK, GAZE, recognise
from ...backend_bridge.rig.basis import Control
from ...backend_bridge.rig.curves import ControlCurves
from .expression import CERTAIN, COMPRESSED_SHARE, LEAST_PEAK, excursions

BRIEF_PEAK = 0.05  # of a control's range: what a frame or two show, when it may be the codec's
RAMP = 0.1  # s, in which what is left after an expression goes
_EYES = (BLINK, *GAZE)  # which fill their ranges, and would hide what the face does besides


def above_codec(
    curves: ControlCurves, controls: Sequence[Control], moves: bool
) -> tuple[ControlCurves, tuple[str, ...]]:
    """Return curves in which controls that a strong codec may have moved are at rest, and the names of those.

    moves: whether the face shows an event; where it shows none, all are at rest but what is clearly more than noise.

    >>> lid, brow = (Control(name, "property", "Rig", "", 0.0, 0.0, 1.0) for name in ("lid", "browDownLeft"))
    >>> values = np.float32([[0.0, 0.0], [0.02, 0.2]])
    >>> curves = ControlCurves(("lid", "browDownLeft"), np.arange(2.0), values, np.zeros(2), np.ones(2))
    >>> left, resting = above_codec(curves, (lid, brow), moves=True)
    >>> left.values.max(0).tolist(), resting
    ([0.0, 0.20000000298023224], ('lid',))
    """
    peaks = np.abs(excursions(curves, controls)).max(0, initial=0.0)
    strongest = float(peaks[~of_eyes(controls)].max(initial=0.0))
    floor = max(COMPRESSED_SHARE * strongest, 0.0 if moves else CERTAIN)
    low = peaks < floor
    values = np.where(low, [control.rest for control in controls], curves.values).astype(np.float32)
    return replace(curves, values=values), tuple(np.array(curves.names)[low & (peaks >= LEAST_PEAK)].tolist())


def shows_anything(curves: ControlCurves, controls: Sequence[Control], lasts: bool = True) -> bool:
    """Return whether any control but the eyes' moves by more than a solver's rounding (`LEAST_PEAK`).

    What a strong codec does to a still face has hardly any control's pattern; an expression of 0.35 px still has 0.025
    of a range. What lasts for a frame or two and not longer, as blocks do that are coded once and soon again, must be
    `BRIEF_PEAK`. lasts: whether the event is longer.

    >>> brow = Control("browDownLeft", "property", "Rig", "", 0.0, 0.0, 1.0)
    >>> curves = ControlCurves(("brow",), np.arange(2.0), np.float32([[0.0], [0.02]]), np.zeros(2), np.ones(1))
    >>> shows_anything(curves, [brow]), shows_anything(curves, [brow], lasts=False)
    (True, False)
    """
    moved = np.where(of_eyes(controls), 0.0, np.abs(excursions(curves, controls)))
    return bool(moved.max(initial=0.0) >= (LEAST_PEAK if lasts else BRIEF_PEAK))


def at_rest_after(curves: ControlCurves, controls: Sequence[Control], offset: float) -> ControlCurves:
    """Return curves whose controls have come to rest `RAMP` seconds after an expression's offset, but for the eyes'.

    A block that was coded once and is copied from then on shows the motion of that frame. So what is left of an
    expression after it is over, less than a fifth of it, may be the codec's. Another expression that follows is none of
    that. offset: s, of the curves' times.

    >>> brow = Control("browDownLeft", "property", "Rig", "", 0.0, 0.0, 1.0)
    >>> values = np.float32([[0.0], [1.0], [0.1], [0.1], [0.1]])
    >>> curves = ControlCurves(("browDownLeft",), np.arange(5) / 20, values, np.zeros(5), np.ones(1))
    >>> at_rest_after(curves, [brow], 0.1).values.ravel().round(2)
    array([0.  , 1.  , 0.1 , 0.05, 0.  ], dtype=float32)
    """
    size = np.linalg.norm(np.where(of_eyes(controls), 0.0, excursions(curves, controls)), axis=1)
    if size[curves.seconds >= offset + RAMP].max(initial=0.0) > COMPRESSED_SHARE * size.max(initial=0.0):
        return curves
    share = np.clip(1 - (curves.seconds - offset) / RAMP, 0, 1)[:, None]
    kept = np.where(of_eyes(controls), 1.0, share)
    rest = np.array([control.rest for control in controls])
    return replace(curves, values=(rest + (curves.values - rest) * kept).astype(np.float32))


def of_eyes(controls: Sequence[Control]) -> NDArray[np.bool_]:
    """Return which controls are the blink's and the gaze's alone, [K]."""
    return np.array([_is_of_eyes(control.name) for control in controls], np.bool_)


def _is_of_eyes(name: str) -> bool:
    meaning = recognise(name)
    return meaning is not None and meaning.is_of(_EYES)
