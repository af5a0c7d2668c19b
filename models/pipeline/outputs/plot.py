# SPDX-License-Identifier: GPL-3.0-or-later
"""Solved curves as a picture, to see at a glance what was found, when, and how well it explains what was seen."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import cv2
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_PEAK = 0.05  # of the strongest control's; what is weaker is a line at the bottom
_NEAR_THE_END = 0.06  # of the clip: a line there has the name of its event on the left
# Okabe and Ito's but for its yellow, which is hard to see on white, and three more.
_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#8c8c8c", "#000000", "#8c564b",
)  # fmt: skip
MOST_CURVES = len(_COLOURS)
_INK, _FAINT = "#333333", "#d9d9d9"


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # A control may be called "Smile_$L$". Letters that are moved onto pixels take longer, and look no better.
        matplotlib.rcParams.update({"text.parse_math": False, "text.hinting": "none"})
        figure = Figure(figsize=(9.6, 5.4), dpi=150, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        _draw(figure, curves, shares, events)
        canvas.draw()
        return encode_codes(cv2.cvtColor(np.asarray(canvas.buffer_rgba()), cv2.COLOR_RGBA2RGB))


def _draw(
    figure: Figure, curves: ControlCurves, shares: NDArray[np.floating], events: Mapping[str, float | None]
) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    shown = _strongest(shares)
    for index, style in zip(shown, _styles([curves.names[index] for index in shown]), strict=True):
        above.plot(curves.seconds, 100 * shares[:, index], label=_label(curves.names[index]), linewidth=1.8, **style)
    below.fill_between(curves.seconds, 100 * curves.residual, color=_FAINT, linewidth=0)
    for axes in (above, below):
        _plain(axes)
        for second in events.values():
            if second is not None:
                axes.axvline(second, color=_INK, linewidth=0.8, linestyle=(0, (1, 2)))
    last = (1 - _NEAR_THE_END) * curves.seconds[-1] + _NEAR_THE_END * curves.seconds[0]
    for name, second in events.items():
        if second is not None:
            aside, side = (-3, "right") if second > last else (3, "left")  # the legend stands beyond the end
            above.annotate(
                name, (second, 1), xycoords=("data", "axes fraction"), xytext=(aside, -3), textcoords="offset points",
                va="top", ha=side, fontsize=8, color=_INK,
            )  # fmt: skip
    legend = None
    if shown:
        legend = above.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8.5, labelcolor=_INK)
    else:
        above.text(0.5, 0.5, "no control moved", transform=above.transAxes, ha="center", color=_INK)
    above.set_ylabel("of the control's range, %", color=_INK, fontsize=9)
    above.margins(x=0, y=0.12)
    above.spines["bottom"].set_visible(False)
    above.axhline(0, color=_INK, linewidth=0.8, zorder=1)
    below.margins(x=0)
    below.set(ylim=(0, 100), yticks=(0, 50, 100))
    below.set_ylabel("unexplained, %", color=_INK, fontsize=9)
    below.set_xlabel("seconds of the clip", color=_INK, fontsize=9)
    figure.align_ylabels()
    # By hand: a layout that matplotlib finds itself takes as long as all the drawing.
    width = legend.get_window_extent().width / figure.bbox.width if legend is not None else 0.0
    figure.subplots_adjust(left=0.07, right=max(0.98 - width, 0.4), bottom=0.085, top=0.98, hspace=0.08)


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


def _plain(axes: Axes) -> None:
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(_INK)
