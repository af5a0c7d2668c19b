# SPDX-License-Identifier: GPL-3.0-or-later
"""A chart of plain lines and texts: what Matplotlib's axes keep ready for changes takes longer than all drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import IdentityTransform
from numpy.typing import ArrayLike, NDArray

INK, FAINT = "#333333", "#d9d9d9"
_STEPS = [1, 2, 2.5, 5, 10]  # of ticks, times a power of ten
_MOST_DIGITS = 6  # after the point
_LABEL = 8  # points, the size of a tick's label
_APART = 8  # px between a tick's label and the panel


@dataclass(frozen=True)
class Panel:
    """A rectangle of a figure in which values `y` are drawn over `x`.

    x, y: the least and the greatest value. left, bottom, right, top: px of the figure, from its lower left corner.
    """

    figure: Figure
    x: tuple[float, float]
    y: tuple[float, float]
    left: float
    bottom: float
    right: float
    top: float

    def at(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where values are, px."""
        across = (np.asarray(x, np.float64) - self.x[0]) / (self.x[1] - self.x[0])
        up = (np.asarray(y, np.float64) - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + across * (self.right - self.left), self.bottom + up * (self.top - self.bottom)

    def line(self, x: ArrayLike, y: ArrayLike, **style: Any) -> None:
        """Draw a line through values."""
        add_line(self.figure, *self.at(x, y), **style)

    def area(self, x: NDArray[np.floating], y: NDArray[np.floating], colour: str) -> None:
        """Fill what lies between values and 0."""
        corners = self.at([*x, x[-1], x[0]], [*y, 0, 0])
        self.figure.add_artist(
            Polygon(np.stack(corners, 1), closed=True, color=colour, linewidth=0, transform=IdentityTransform())
        )

    def rules(self, ticks: Sequence[float]) -> None:
        """Draw a faint line across at each value, with the value to its left."""
        for tick, label in zip(ticks, labels(ticks), strict=True):
            self.line(self.x, (tick, tick), color=FAINT, linewidth=0.6, zorder=0.5)
            height = float(self.at(self.x[0], tick)[1])
            add_text(self.figure, self.left - _APART, height, label, ha="right", va="center", fontsize=_LABEL)

    def scale(self, ticks: Sequence[float]) -> None:
        """Write values below the panel."""
        for tick, label in zip(ticks, labels(ticks), strict=True):
            place = float(self.at(tick, self.y[0])[0])
            add_text(self.figure, place, self.bottom - _APART, label, ha="center", va="top", fontsize=_LABEL)


def add_line(figure: Figure, x: ArrayLike, y: ArrayLike, **style: Any) -> None:
    """Draw a line through points of the figure, px."""
    figure.add_artist(Line2D(np.asarray(x), np.asarray(y), transform=IdentityTransform(), **style))


def add_text(figure: Figure, x: float, y: float, text: str, **style: Any) -> Text:
    """Write a text at a point of the figure, px."""
    return figure.text(x, y, text, transform=IdentityTransform(), **({"color": INK} | style))


def ticks_within(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` + 1 round values from `low` to `high`.

    >>> ticks_within(-3.0, 52.0, 6)
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    return [float(tick) for tick in MaxNLocator(most, steps=_STEPS).tick_values(low, high) if low <= tick <= high]


def labels(ticks: Sequence[float]) -> list[str]:
    """Return values with as many digits as all of them need.

    >>> labels([0.0, 0.25, 0.5]), labels([0, 50])
    (['0.00', '0.25', '0.50'], ['0', '50'])
    """
    digits = next(
        (many for many in range(_MOST_DIGITS) if np.allclose(ticks, np.round(ticks, many), rtol=0, atol=1e-9)),
        _MOST_DIGITS,
    )
    return [f"{tick + 0.0:.{digits}f}" for tick in ticks]
