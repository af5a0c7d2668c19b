# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges a finished run by its report: what a person would find by looking, from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..rig.footage import Compression, Unseen, listed
from .quality import Quality, Reason
from .report import RegionReport, Report

RESIDUAL = 0.5  # share of the motion that no control explains
HEAD_TURN = 15.0  # degrees; beyond it a cheek hides behind the nose
LONGEST = 2.0  # s; a micro-expression lasts at most half a second
LARGEST = 0.05  # of the face's width
INTENSITY = (0.6, 1.6)  # shown per asked
LITTLE_SHOWN = 0.5  # by the rig, of the asked peak motion; less reads as a weaker expression
_LIVELY = 0.5  # of the liveliest region's motion; what moves less is hardly missed
MOST_UNTRUSTED = 0.5  # of the frames
NOTHING_MOVES = (
    "Nothing moves: the driver's face shows no motion above the noise; choose a part of the video with an expression."
)
NOTHING_SEEN = "No expression was found in what is seen of the driver's face; choose a video that shows all of it."
NO_ONSET = (
    "The expression has begun before the clip does; let the trim start earlier, or choose a video that shows its "
    "beginning."
)
NO_OFFSET = "The expression goes on after the clip's end; let the trim end later, or choose a video that shows its end."
_NAMED = 4  # controls that a sentence names


def quality_of(report: Report) -> Quality:
    """Return the quality of a finished run's result, from its report."""
    reasons = (*_footage(report), *_expression(report), *_result(report))
    worst = {reason.verdict for reason in reasons}
    return Quality("failed" if "failed" in worst else "check" if worst else "good", reasons)


def unseen_regions(unseen: Iterable[Unseen]) -> str:
    """Return the sentence on regions of the driver's face that aren't seen."""
    listing = ", ".join(map(str, unseen))
    return f"Parts of the face aren't seen and are at rest: {listing}; choose a video that shows all of the face."


def without_expression(report: Report) -> str:
    """Return the sentence on a clip without an event: its face may move where it isn't seen."""
    return NOTHING_SEEN if report.face is not None and report.face.unseen else NOTHING_MOVES


def is_little(region: RegionReport) -> bool:
    """Whether the rig shows too little of a region's motion."""
    return region.shown < LITTLE_SHOWN * region.asked


def shown_in_part(regions: Mapping[str, RegionReport]) -> str:
    """Return the sentence on those lively regions that the rig shows too little of, an empty string where all are."""
    most = max((each.asked for each in regions.values()), default=0.0)
    little = {name: each for name, each in regions.items() if each.asked >= _LIVELY * most and is_little(each)}
    if not little:
        return ""
    shares = ", ".join(f"{name} ({each.shown / each.asked:.0%})" for name, each in little.items())
    return (
        f"The rig shows only a part of how far the driver's face moves: {shares}. None of its controls moves these "
        "parts in that way strongly enough to be keyed. Compare it with the driver; capture more of the rig's "
        "controls, add shapes for them, or key those parts by hand."
    )


def strongly_compressed(compression: Compression) -> str:
    """Return the sentence on a video whose codec has copied most of the face."""
    return (
        f"The video is strongly compressed: {compression.copied:.0%} of the face is copied from frame to frame instead "
        "of being coded, so that motion of less than a pixel may be missing, false or too strong; film at a higher bit "
        "rate, or take the camera's own file."
    )


def _footage(report: Report) -> Iterator[Reason]:
    """Yield what is wrong with the driving video."""
    if report.timing is not None and (lasts := float(report.timing.seconds[-1])) > LONGEST:
        yield Reason(
            "long clip", f"The clip lasts {lasts:.1f} s, a micro-expression at most 0.5 s; trim the video to it."
        )
    if (face := report.face) is not None:
        frames = len(report.timing.seconds) if report.timing is not None else 0
        if face.untrusted:
            most = len(face.missing_seconds) > MOST_UNTRUSTED * frames
            yield Reason(
                "untrusted frames",
                f"Frames that can't be trusted hold the one before them: {listed(face.untrusted)}; choose a part of "
                "the video without them.",
                "failed" if most else "check",
            )
        if face.unseen:
            yield Reason("unseen regions", unseen_regions(face.unseen))
        if face.compression.strong:
            yield Reason("compression", strongly_compressed(face.compression))
        if face.blinks:
            yield Reason(
                "blinks",
                f"The driver blinks at {listed(face.blinks)}; the lids follow the mesh there, not the picture.",
            )
        if face.head_turn > HEAD_TURN:
            yield Reason(
                "head turn",
                f"The driver's head is turned by {face.head_turn:.0f} degrees; beyond {HEAD_TURN:.0f} a side of the "
                "face is hard to see: choose a part in which it faces the camera.",
            )
    if report.reference is not None and (why := report.reference.not_neutral):
        yield Reason("reference not neutral", why)
    if report.avatar is not None and not report.avatar.face_detected and not report.avatar.anchored:
        yield Reason(
            "no face recognised",
            "No face was recognised in the avatar's picture; check where the driver's face was laid, or place anchors.",
        )


def _expression(report: Report) -> Iterator[Reason]:
    """Yield what is odd about the expression that was found."""
    if (event := report.events) is None:
        yield Reason("nothing moves", without_expression(report), "failed")
        return
    if event.onset is None:
        yield Reason("no onset", NO_ONSET)
    if event.offset is None:
        yield Reason("no offset", NO_OFFSET)
    if (magnification := report.magnification) is not None:
        peak = magnification.peak_share_of_face_width
        if peak > LARGEST:
            yield Reason(
                "large motion",
                f"The driver's face moves by {peak:.0%} of its width, which is no micro-expression; trim the video to "
                "one.",
            )


def _result(report: Report) -> Iterator[Reason]:
    """Yield where the result is not the driver's expression."""
    if (restoration := report.restoration) is not None and report.events is not None:
        shown, asked = restoration.intensity_measured, restoration.intensity_asked
        if shown is not None and asked > 0 and not INTENSITY[0] <= shown / asked <= INTENSITY[1]:
            yield Reason(
                "other intensity",
                f"The finished frames show {shown / asked:.2f} times the motion that was asked for; compare them with "
                "the driver, and set the intensity.",
            )
    if (weights := report.weights) is None or report.events is None:
        return
    parts = [name for name, share in weights.residual_by_region.items() if share is not None and share > RESIDUAL]
    if weights.residual is not None and weights.residual > RESIDUAL:
        yield Reason(
            "unexplained motion",
            f"{weights.residual:.0%} of the motion is beyond the rig's controls, most of it here: {', '.join(parts)}; "
            "let more controls be solved, or use the frames."
            if parts
            else f"{weights.residual:.0%} of the motion is beyond the rig's controls; let more controls be solved, or "
            "use the frames.",
        )
    # After a strong codec much of what is lively is its own.
    trusted = weights.match == "motion" and not (report.face is not None and report.face.compression.strong)
    if trusted and (little := shown_in_part(weights.regions)):
        yield Reason("little shown", little)
    if weights.at_limit:
        more = " …" if len(weights.at_limit) > _NAMED else ""
        yield Reason(
            "control at its limit",
            f"Controls are at the end of their range: {', '.join(weights.at_limit[:_NAMED])}{more}; check them, or "
            "lock them.",
        )
