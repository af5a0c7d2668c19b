# SPDX-License-Identifier: GPL-3.0-or-later
"""The sheet of a check: what a backend was shown, what it made of it, and how both move."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from ...backend_bridge.files.disk import explained
from ...backend_bridge.files.errors import InputError
from ...backend_bridge.files.plain import check_plain, open_plain
from ...backend_bridge.files.whole import write_whole

SOFTWARE = "MagPlus, sheet of a check"  # in a sheet's text, by which it is known again
_BEGINNING = 4096  # bytes of a PNG that its texts are in
_ARROWS = 28  # across a picture
_INK = "#333333"


@dataclass(frozen=True)
class Sheet:
    """Pictures [1, 3, S, S] in [0, 1] and motions [1, 2, S, S] px of the avatar's crop."""

    source: Tensor
    driver: Tensor
    driver_magnified: Tensor
    neutral: Tensor
    as_filmed: Tensor
    magnified: Tensor
    shown_motion: Tensor
    generated_motion: Tensor


def draw_sheet(sheet: Sheet, title: str, figures: str) -> bytes:
    """Return the sheet as a PNG."""
    figure = Figure(figsize=(13.2, 7.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 4).flatten()
    pictures = (
        ("avatar's crop", sheet.source),
        ("driver's crop, at rest", sheet.driver),
        ("driver's apex, magnified", sheet.driver_magnified),
        ("generated at rest", sheet.neutral),
        ("generated apex, as filmed (x1)", sheet.as_filmed),
        ("generated apex, magnified", sheet.magnified),
    )
    for place, (name, picture) in zip(axes, pictures, strict=False):
        _plain(place, name)
        place.imshow(picture[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy())
    length = max(float(each.norm(dim=1).max()) for each in (sheet.shown_motion, sheet.generated_motion))
    motions = (("motion shown, on the avatar", sheet.shown_motion), ("motion generated", sheet.generated_motion))
    for place, (name, motion) in zip(axes[6:], motions, strict=True):
        _plain(place, f"{name} (up to {float(motion.norm(dim=1).max()):.1f} px)")
        place.imshow(sheet.source[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy(), alpha=0.35)
        _arrows(place, motion, max(length, 1e-6))
    figure.suptitle(f"{title}\n{figures}", fontsize=10, color=_INK)
    data = io.BytesIO()
    figure.savefig(data, format="png", facecolor="white", metadata={"Software": SOFTWARE})
    return data.getvalue()


def write_sheet(path: Path, data: bytes) -> None:
    """Write a sheet, over an earlier one too. Raises a `MagPlusError` where that can't be done."""
    check_place(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


def check_place(path: Path) -> None:
    """Raise `InputError` where something else than an earlier sheet is at a path."""
    with explained(path, reading=True):
        if check_plain(path) is None:
            return
        with os.fdopen(open_plain(path), "rb") as file:
            if SOFTWARE.encode() not in file.read(_BEGINNING):
                raise InputError(f"{path} is there already and is no sheet of a check; give --sheet another file.")


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9, color=_INK)
    axes.set_axis_off()


def _arrows(axes: Axes, motion: Tensor, longest: float) -> None:
    """Draw a motion; its longest arrow spans two places."""
    size = motion.shape[-1]
    step = max(1, size // _ARROWS)
    some = motion[0, :, step // 2 :: step, step // 2 :: step].cpu().numpy()
    y, x = np.mgrid[step // 2 : size : step, step // 2 : size : step]
    axes.quiver(
        x, y, some[0], some[1], angles="xy", scale_units="xy", scale=longest / (2 * step), color="#d55e00", width=0.004
    )
