# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake did, for the caller and in sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ...backend_bridge.job.bake_record import BakeRecord
from .scene_time import Placement

APEX_SHOWN = 0.95  # a loss of less than a twentieth of a micro-expression is not seen


@dataclass(frozen=True)
class BakeReport:
    """What was baked, and what a person should know of it.

    name: what the scene calls the bake. record: what is kept of it beside the job's own report. raised: controls whose
    range was widened, with the new one; not_saved: those of them that lose it again with the file. cut_off: what is to
    be told of controls that go beyond what Blender allows at all. kept: names of the actions that were replaced, which
    are still in the file. cautions: further sentences. checked: whether the job's journal says that the curves are what
    its run has written. unrecorded: why the record could not be left in the job folder, or an empty string.
    """

    name: str
    record: BakeRecord
    raised: dict[str, tuple[float, float]]
    not_saved: tuple[str, ...]
    cut_off: dict[str, str]
    kept: tuple[str, ...]
    cautions: tuple[str, ...] = ()
    checked: bool = True
    unrecorded: str = ""

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
        if not self.record.keyed:
            lines.append("No control moves, so nothing was keyed: from here the rig can't show what the driver does.")
        if self.kept:
            lines.append(f"The earlier animation no longer plays; it is kept in the action {_listed(self.kept)}.")
        if self.raised:
            lines.append(f"The range was widened of {_listed(self.raised)}: the expression goes beyond it.")
        if self.not_saved:
            lines.append(
                f"Blender does not save the wider range of {_listed(self.not_saved)} in a library override; widen it "
                "in the character's own file, too."
            )
        lines += [f"Not keyed: {names} {reason}." for names, reason in _by_reason(self.record.not_keyed)]
        lines += [f"Keyed, but {names} {reason}." for names, reason in _by_reason(self.cut_off)]
        lines += self.cautions
        if kept < APEX_SHOWN:
            lines.append(
                f"Whole frames show {kept:.0%} of the apex; switch Keep the Apex on, or give the scene a higher frame "
                "rate."
            )
        if not self.checked:
            lines.append("The job's journal does not list its curves, so nobody can tell whether they are whole.")
        if self.unrecorded:
            lines.append(f"The keys are set, but not recorded in the job folder: {self.unrecorded}")
        return lines


def _by_reason(reasons: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the names that have a reason in common, as they are listed, with the reason."""
    for reason in sorted(set(reasons.values())):
        yield _listed([name for name, why in reasons.items() if why == reason]), reason


def _listed(names: Collection[str]) -> str:
    quoted = [repr(name) for name in names]
    named = ", ".join(quoted[:4])
    return f"{named} and {len(quoted) - 4} more" if len(quoted) > 4 else named
