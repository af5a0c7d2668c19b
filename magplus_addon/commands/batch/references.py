# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the shots of one clip were measured against one frame of it."""

from __future__ import annotations

from collections.abc import Sequence

from ....backend_bridge.job.report import Report
from .shots import Shot

_CLIP = ("driving", "trim", "face_index", "sequence_rate")  # what makes it the same clip


def other_references(shots: Sequence[tuple[Shot, Report | None]]) -> list[str]:
    """Return for each shot a sentence if an earlier one of its clip was measured against another frame, or nothing.

    MagPlus chooses the frame where none is given, and asks the avatar's rig whether the face is at rest there.
    """
    first: dict[str, tuple[str, float]] = {}
    sentences = []
    for shot, report in shots:
        sentence = ""
        if report is not None and report.reference is not None and shot.given.get("reference") in (None, "auto"):
            clip = repr([shot.given.get(key) for key in _CLIP])
            began = report.driving.start if report.driving is not None else 0.0
            seconds = began + report.reference.seconds  # as a list gives them
            name, others = first.setdefault(clip, (shot.name, seconds))
            if seconds != others:
                sentence = (
                    f"Its clip was measured against the frame at {seconds:.3f} s, in the shot {name!r} against that at "
                    f"{others:.3f} s; give both the same `reference`, the one at which the face rests."
                )
        sentences.append(sentence)
    return sentences
