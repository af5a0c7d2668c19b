# SPDX-License-Identifier: GPL-3.0-or-later
"""What came out of a batch: `batch.json` for programs, `batch.csv` for tables, `contact_sheet.html` for eyes."""

from __future__ import annotations

import csv
import html
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ....backend_bridge.files.disk import explained
from ....backend_bridge.files.typed_json import Format, to_data
from ....backend_bridge.job.journal import Journal
from ....backend_bridge.job.own_files import OwnFiles
from ....backend_bridge.job.report import Report
from ....backend_bridge.rig.events import UnitEvent
from ....operators.report_lines import doubts
from .plan import ShotPlan
from .references import other_references
from .results import WRITTEN, Captioned


@dataclass(frozen=True)
class ShotSummary:
    """One shot: how far it is, and what was measured.

    status: "finished", "failed", or what is still to be done. seconds: by the clock, all steps. alpha: the
    magnification factor. onset, apex, offset: seconds of the clip. residual: share of the motion that the rig can't
    show. action_units: "AU4 brow lowerer", the strongest first. saved, render: where the results are.
    """

    name: str
    status: str
    exit_code: int
    seconds: float
    alpha: float | None
    onset: float | None
    apex: float | None
    offset: float | None
    residual: float | None
    action_units: tuple[str, ...]
    warnings: tuple[str, ...]
    problem: str
    job: str
    saved: str
    render: str


@dataclass(frozen=True)
class BatchSummary:
    """All shots of a batch."""

    shots: tuple[ShotSummary, ...]

    @property
    def sentence(self) -> str:
        """How many are finished, and which have failed."""
        finished = sum(shot.status == "finished" for shot in self.shots)
        failed = ", ".join(shot.name for shot in self.shots if shot.status == "failed")
        return f"{finished} of {len(self.shots)} shots are finished" + (f"; failed: {failed}." if failed else ".")


BATCH = Format(BatchSummary, "batch.json", "a summary of a batch", "run the batch again")
TABLE, SHEET = "batch.csv", "contact_sheet.html"
NAMES = (BATCH.name, TABLE, SHEET)


def write_summary(
    results: Path, plans: Sequence[ShotPlan], *, decimal_commas: bool = False
) -> tuple[BatchSummary, list[str]]:
    """Write the three files; `plans` say what is still to be done. Return what is in them, and what there is to say.

    decimal_commas: write the table as a program of the decimal comma expects it, with semicolons between the cells.
    Raises `MagPlusError` where that can't be done.
    """
    reports = [plan.place.report() for plan in plans]
    remarks = other_references([(plan.place.shot, report) for plan, report in zip(plans, reports, strict=True)])
    summary = BatchSummary(tuple(map(_summary_of, plans, reports, remarks)))
    pictures = [plan.place.pictures(report) for plan, report in zip(plans, reports, strict=True)]
    sheet = _sheet(results, [*zip(summary.shots, pictures, strict=True)])
    with explained(results):
        results.mkdir(parents=True, exist_ok=True)
    own = OwnFiles(results, Journal(results / WRITTEN))
    own.write(BATCH.name, BATCH.encode(summary))
    encoding = "utf-8-sig" if decimal_commas else "utf-8"  # such programs know UTF-8 by its mark alone
    own.write(TABLE, _table(summary, decimal_commas).encode(encoding, "replace"))  # half an emoji has no UTF-8
    own.write(SHEET, sheet.encode(errors="replace"))
    said = [f"{plan.place.shot.name}: {remark}" for plan, remark in zip(plans, remarks, strict=True) if remark]
    return summary, [*own.remarks, *said]


def _summary_of(plan: ShotPlan, found: Report | None, remark: str) -> ShotSummary:
    place = plan.place
    record, report = place.record(), found or Report("running")
    weights, events, failed = report.weights, report.events, record.failed
    status = "failed" if failed is not None else "finished" if not plan.steps else f"to {plan.steps[0].value}"
    return ShotSummary(
        name=place.shot.name,
        status=status,
        exit_code=failed.exit_code if failed is not None else 0,
        seconds=round(sum(record.seconds.values()), 3),
        alpha=report.magnification.alpha if report.magnification is not None else None,
        onset=events.onset if events is not None else None,
        apex=events.apex if events is not None else None,
        offset=events.offset if events is not None else None,
        residual=weights.residual if weights is not None else None,
        action_units=tuple(_named(unit) for unit in weights.action_units) if weights is not None else (),
        warnings=(*doubts(report), *([remark] if remark else ())),
        problem=failed.sentence if failed is not None else "",
        job=str(place.job.path),
        saved=str(place.shot.row.file.parent / record.saved) if record.saved else "",
        render=str(place.render) if place.shot.render else "",
    )


def _named(unit: UnitEvent) -> str:
    return f"AU{unit.unit} {unit.name}"


def _table(summary: BatchSummary, decimal_commas: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";" if decimal_commas else ",")
    writer.writerow([each.name for each in fields(ShotSummary)])
    for shot in summary.shots:
        writer.writerow([_cell(getattr(shot, each.name), decimal_commas) for each in fields(ShotSummary)])
    return text.getvalue()


def _cell(value: Any, decimal_commas: bool) -> str:
    if isinstance(value, float):
        text = f"{value:.6g}"
        return text.replace(".", ",") if decimal_commas else text
    return "; ".join(value) if isinstance(value, tuple) else "" if value is None else str(to_data(value))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>MagPlus batch</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em; background: #1d1d1d; color: #ddd; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(22em, 1fr)); gap: 1em; }}
article {{ background: #2b2b2b; border-radius: 6px; padding: 1em; border-left: 5px solid #5a8; }}
article.failed {{ border-color: #d55; }} article.open {{ border-color: #ca5; }}
h2 {{ font-size: 1.1em; margin: 0 0 .5em; }} figure {{ display: inline-block; margin: 0 .5em .5em 0; }}
figcaption, dt {{ color: #999; font-size: .85em; }} dd {{ margin: 0; }} img {{ max-height: 11em; display: block; }}
dl {{ display: grid; grid-template-columns: auto 1fr; gap: 0 1em; margin: 0; }} .problem {{ color: #f88; }}
.warning {{ color: #dc8; }}
</style>
<h1>{count} shots: {states}</h1>
<main>
{cards}
</main></html>
"""


def _sheet(results: Path, shots: Sequence[tuple[ShotSummary, list[Captioned]]]) -> str:
    states: dict[str, int] = {}
    for shot, _ in shots:
        states[shot.status] = states.get(shot.status, 0) + 1
    counted = ", ".join(f"{count} {html.escape(state)}" for state, count in states.items())
    cards = "\n".join(_card(results, *shot) for shot in shots)
    return _PAGE.format(count=len(shots), states=counted, cards=cards)


def _card(results: Path, shot: ShotSummary, pictures: list[Captioned]) -> str:
    kind = shot.status if shot.status in {"failed", "finished"} else "open"
    facts = {
        "Status": shot.status,
        "Seconds": f"{shot.seconds:.0f}",
        "Magnification": "" if shot.alpha is None else f"{shot.alpha:.3g}",
        "Onset, apex, offset": _moments(shot),
        "Action units": ", ".join(shot.action_units[:4]),
        "Beyond the rig": "" if shot.residual is None else f"{shot.residual:.0%}",
        "File": shot.saved,
    }
    lines = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items() if v)
    remarks = f'<p class="problem">{html.escape(shot.problem)}</p>' if shot.problem else ""
    remarks += "".join(f'<p class="warning">{html.escape(warning)}</p>' for warning in shot.warnings)
    head = f"<h2>{html.escape(shot.name)}</h2>{_pictures(results, pictures)}"
    return f'<article class="{kind}">{head}<dl>{lines}</dl>{remarks}</article>'


def _moments(shot: ShotSummary) -> str:
    if shot.apex is None:
        return ""
    return ", ".join("-" if each is None else f"{each:.2f} s" for each in (shot.onset, shot.apex, shot.offset))


def _pictures(results: Path, pictures: list[Captioned]) -> str:
    """Return the pictures of a shot, as far as they are there."""
    found = [(caption, path) for caption, path in pictures if path.is_file()]
    return "".join(
        f'<figure><img loading="lazy" src="{html.escape(_link(results, path))}" alt="">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, path in found
    )


def _link(results: Path, path: Path) -> str:
    """Return a picture's place as seen from the sheet, so that the whole folder can be moved."""
    return quote(Path(os.path.relpath(path, results)).as_posix())
