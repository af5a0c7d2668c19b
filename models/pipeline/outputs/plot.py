# SPDX-License-Identifier: GPL-3.0-or-later
"""Solved curves as a picture, to see at a glance what was found, when, and how well it explains what was seen."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....backend_bridge.job import artefacts
from ....backend_bridge.job.artefacts import FrameKind
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.report import Report
from ....backend_bridge.rig.action_units import Side, recognise
from ....backend_bridge.rig.curves import ControlCurves
from ...video.marks import SourceType
from ...video.writer import encode_codes
from ..batch import Batch
from ..notes import Notes
from ..provenance import Provenance
from . import Made
from .curves import Curves

if TYPE_CHECKING:  # loaded when it is drawn: what a user's files and variables make of it costs the plot, no more
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from .panel import Panel

LEAST_PEAK = 0.05  # of the strongest control's; what is weaker is a line at the bottom
_NEAR_THE_END = 0.06  # of the clip: a line there has the name of its event on the left
# Okabe and Ito's but for its yellow, which is hard to see on white, and three more.
_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#8c8c8c", "#000000", "#8c564b",
)  # fmt: skip
MOST_CURVES = len(_COLOURS)
_FAINT = "#d9d9d9"
_MOST_TICKS = 8
_MARGIN = 0.12  # of what the curves span, above and below them
_LEFT, _INSIDE = 0.07, 0.98  # of the figure's width or height: where panels begin and all ends
_NAMES = 42  # px from the edge to the middle of an axis' name
_LEGEND_SIZE, _LEGEND_LINE, _LEGEND_GAP, _LEGEND_TEXT = (
    8.5,
    27,
    14,
    66,
)  # points; px: a line, around its sample, the text
_BESIDE = 6  # px between an event's line and its name


class Plot:
    """A picture of the solved curves."""

    kinds: tuple[FrameKind, ...] = ()

    def __init__(self, folder: JobFolder, curves: Curves, notes: Notes, provenance: Provenance) -> None:
        self._folder = folder
        self._curves = curves
        self._notes = notes
        self._provenance = provenance

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return nothing: single frames have no curve."""
        return ()

    def finish(self, report: Report, made: Made) -> Report:
        """Draw what was solved. That it can't be drawn is a warning: the curves themselves are in the folder."""
        found = self._curves.solution
        assert found is not None, "the curves come before their plot"
        events = asdict(report.events) if report.events is not None else {}
        try:
            picture = plot_curves(found.curves, found.shares, events)
        except Exception as error:  # fonts, a user's matplotlibrc, a name that can't be set
            traceback.print_exc()
            reason = (str(error).splitlines() or [""])[0][:120]
            self._notes.warning(f"The plot of the curves could not be drawn ({type(error).__name__}: {reason}).")
            return report
        self._folder.commit(artefacts.CURVES, self._provenance.stamped(picture, SourceType.DIAGRAM))
        return report


def plot_curves(curves: ControlCurves, shares: NDArray[np.floating], events: Mapping[str, float | None]) -> bytes:
    """Return a PNG of the strongest controls over time, with the residual below.

    shares: [N, K] excursions as shares of the controls' ranges. events: seconds by name (onset, apex, offset), which
    are marked. The left and the right of a pair have one colour; the right one is dashed. A user's own settings of
    matplotlib have no part in it.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False  # a control may be called "Smile_$L$"
        canvas = drawn(curves, shares, events)
        canvas.draw()
        return encode_codes(np.asarray(canvas.buffer_rgba())[..., :3])


def drawn(curves: ControlCurves, shares: NDArray[np.floating], events: Mapping[str, float | None]) -> FigureCanvasAgg:
    """Return the canvas with the figure of `plot_curves`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from .panel import INK, add_text, ticks_within

    figure = Figure(figsize=(9.6, 5.4), dpi=150, facecolor="white")
    canvas = FigureCanvasAgg(figure)  # which knows how wide a text is
    shown = _strongest(shares)
    above, below = _panels(figure, curves, shares[:, shown], [_label(curves.names[index]) for index in shown])
    styles = _styles([curves.names[index] for index in shown])
    above.rules(ticks_within(*above.y, _MOST_TICKS))
    for number, (index, style) in enumerate(zip(shown, styles, strict=True)):
        above.line(curves.seconds, 100 * shares[:, index], label=curves.names[index], linewidth=1.8, **style)
        _in_legend(above, number, _label(curves.names[index]), style)
    above.line(above.x, (0, 0), color=INK, linewidth=0.8, zorder=1)
    if not shown:
        middle = (above.left + above.right) / 2, (above.bottom + above.top) / 2
        add_text(figure, *middle, "no control moved", ha="center")
    below.rules((0, 50, 100))
    below.area(curves.seconds, 100 * curves.residual, _FAINT)
    below.line(below.x, (0, 0), color=INK, linewidth=0.8, zorder=2)
    below.scale(ticks_within(*below.x, _MOST_TICKS))
    _name_axes(above, below)
    _mark(above, below, events)
    return canvas


def _panels(
    figure: Figure, curves: ControlCurves, shares: NDArray[np.floating], names: Sequence[str]
) -> tuple[Panel, Panel]:
    """Return where the curves and the residual are drawn, so that the `names` have room on the right."""
    from .panel import Panel, add_text

    width, height = figure.bbox.width, figure.bbox.height
    written = [add_text(figure, 0, 0, name, fontsize=_LEGEND_SIZE) for name in names]
    room = max((text.get_window_extent().width for text in written), default=-_LEGEND_TEXT) + _LEGEND_TEXT
    for text in written:
        text.remove()
    right = max(_INSIDE * width - room, 0.4 * width)
    begin, end = float(curves.seconds[0]), float(curves.seconds[-1])
    seconds = (begin, end) if end > begin else (begin - 0.5, begin + 0.5)
    low, high = 100 * shares.min(initial=0.0), 100 * shares.max(initial=0.0)
    margin = _MARGIN * (high - low) or 1.0
    edges = [share * height for share in (0.085, 0.228, 0.262, _INSIDE)]
    across = _LEFT * width, right
    above = Panel(figure, seconds, (low - margin, high + margin), across[0], edges[2], across[1], edges[3])
    return above, Panel(figure, seconds, (0, 100), across[0], edges[0], across[1], edges[1])


def _in_legend(above: Panel, number: int, label: str, style: Mapping[str, str]) -> None:
    """Draw one line of the legend, to the right of the curves."""
    from .panel import add_line, add_text

    height = above.top - _LEGEND_LINE * (number + 0.9)
    line = above.right + _LEGEND_GAP, above.right + _LEGEND_TEXT - _LEGEND_GAP
    add_line(above.figure, line, (height, height), linewidth=1.8, **style)
    add_text(above.figure, above.right + _LEGEND_TEXT, height, label, va="center", fontsize=_LEGEND_SIZE)


def _name_axes(above: Panel, below: Panel) -> None:
    from .panel import add_text

    texts = ((above, "of the control's range, %"), (below, "unexplained, %"))
    for panel, text in texts:
        middle = (panel.bottom + panel.top) / 2
        add_text(panel.figure, _NAMES, middle, text, rotation="vertical", ha="center", va="center", fontsize=9)
    middle = (below.left + below.right) / 2
    add_text(below.figure, middle, _NAMES - _BESIDE, "seconds of the clip", ha="center", va="top", fontsize=9)


def _mark(above: Panel, below: Panel, events: Mapping[str, float | None]) -> None:
    """Draw a dotted line at each event, with its name."""
    from .panel import INK, add_text

    last = (1 - _NEAR_THE_END) * above.x[1] + _NEAR_THE_END * above.x[0]
    for name, second in events.items():
        if second is None or not above.x[0] <= second <= above.x[1]:
            continue
        for panel in (above, below):
            panel.line((second, second), panel.y, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        aside, side = (-_BESIDE, "right") if second > last else (_BESIDE, "left")  # the legend stands beyond the end
        place = float(above.at(second, 0)[0]) + aside
        add_text(above.figure, place, above.top - _BESIDE, name, va="top", ha=side, fontsize=8)


def _strongest(shares: NDArray[np.floating]) -> list[int]:
    """Return the controls to show, in the rig's order, which keeps pairs together."""
    peaks = np.abs(shares).max(0, initial=0.0)
    ranked = np.argsort(-peaks, kind="stable")[:MOST_CURVES]
    strongest = peaks.max(initial=0.0)
    return sorted(int(index) for index in ranked if peaks[index] > LEAST_PEAK * strongest)


def _styles(names: Sequence[str]) -> list[dict[str, str]]:
    """Return colour and dash of each curve."""
    colours: dict[str, str] = {}
    styles = []
    for name in names:
        meaning = recognise(name)
        key = meaning.shape if meaning is not None and meaning.shape else name
        colour = colours.setdefault(key, _COLOURS[len(colours)])
        right = meaning is not None and meaning.side is Side.RIGHT
        styles.append({"color": colour, "linestyle": "--" if right else "-"})
    return styles


def _label(name: str) -> str:
    """Return the control's name with its action units, as far as it is known."""
    meaning = recognise(name)
    units = "+".join(f"AU{unit.number}" for unit in meaning.units) if meaning is not None else ""
    return f"{name} ({units})" if units else name
