# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished run's report in words, a line each, as the sidebar and the command line show it."""

from __future__ import annotations

from collections.abc import Iterator

from ..backend_bridge.job.report import Report, WeightsReport
from ..backend_bridge.rig.events import MotionEvent, UnitEvent

ONE_SIDED = 0.5  # asymmetry at which one side shows three times as much as the other
MOST_UNITS = 6  # action units that are listed, the strongest first as the report has them


def measured_lines(report: Report) -> tuple[str, ...]:
    """Return what a run has measured: when, how strong against the driver, which action units, what is left out."""
    return tuple(_lines(report))


def doubts(report: Report, *earlier: str) -> tuple[str, ...]:
    """Return the earlier warnings, why the result is to be checked and the run's own warnings, a sentence each.

    None twice: of two sentences on one matter it is the longer one, which says what to do.
    """
    reasons = () if report.quality is None else tuple(reason.sentence for reason in report.quality.reasons)
    lines = tuple(dict.fromkeys((*earlier, *reasons, *report.warnings)))
    return tuple(
        line for line in lines if not any(len(other) > len(line) and other.startswith(_matter(line)) for other in lines)
    )


def _matter(sentence: str) -> str:
    """Return the part of a sentence that names the matter, without what to do about it."""
    return sentence.partition(";")[0].rstrip(".")


def _lines(report: Report) -> Iterator[str]:
    if report.quality is not None:
        yield f"Quality: {report.quality.verdict}"
    if report.events is not None:
        yield from _times(report.events)
    if (magnification := report.magnification) is not None:
        yield f"The driver's face moves by {magnification.peak_share_of_face_width:.2%} of its width"
        yield f"Magnification {magnification.alpha:.3g} ({magnification.chosen})"
    if (restoration := report.restoration) is not None and restoration.intensity_measured is not None:
        yield (
            f"The frames show {restoration.intensity_measured:.0%} of the driver's motion, "
            f"{restoration.intensity_asked:.0%} was asked for"
        )
    if report.weights is not None:
        yield from _rig(report.weights)
    if (frames := report.shot or report.frames) is not None and frames.resumed:
        yield f"{frames.resumed} of {frames.count} frames were kept from an earlier run"


def _times(event: MotionEvent) -> Iterator[str]:
    yield f"Onset at {event.onset:.2f} s of the clip" if event.onset is not None else "Onset before the clip begins"
    yield f"Apex at {event.apex:.2f} s of the clip"
    yield f"Offset at {event.offset:.2f} s of the clip" if event.offset is not None else "Offset after the clip ends"


def _rig(weights: WeightsReport) -> Iterator[str]:
    """Yield the action units, and how much of the driver's motion the rig shows and can't show."""
    units = weights.action_units
    for unit in units[:MOST_UNITS]:
        yield f"AU{unit.unit} {unit.name}, {_side(unit)}: up to {unit.peak:.0%}, apex at {unit.apex:.2f} s"
    if len(units) > MOST_UNITS:
        yield f"{len(units) - MOST_UNITS} more action units are in report.json"
    for name, each in weights.regions.items():
        if each.asked > 0:
            yield f"At the {name} the rig shows {each.shown / each.asked:.0%} of the motion asked for"
    if weights.residual is not None:
        yield f"{weights.residual:.0%} of the motion is beyond the rig's controls"


def _side(unit: UnitEvent) -> str:
    """Return on which side of the person's face a unit shows; one side counts where it shows it much more."""
    if unit.asymmetry is None:
        return "sides not told apart"
    if abs(unit.asymmetry) <= ONE_SIDED:
        return "both sides"
    return "left" if unit.asymmetry > 0 else "right"
