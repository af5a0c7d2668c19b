# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in panels: sentences over as many lines as they need, and labels where there is room for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import blf
import bpy

from ..operators.blender.wording import CONTEXT, translated

FONT_SIZE = 11.0  # points at scale 1, of Blender's widgets
ICON_WIDTH = 34.0  # px at scale 1 that the icon and the margins of a label take
ICON = 16.0  # px at scale 1, of those: the icon alone
TABS_WIDTH = 46.0  # px at scale 1 that a sidebar's tabs and its panels' margins take
BOX_MARGINS = 20.0  # px at scale 1 that a box takes
LEAST_SYLLABLE = 3  # letters before a hyphen
FIRST_UNSPACED = "\u2e80"  # writing without spaces between words comes from here on in Unicode
LEAST_WIDTH = 40.0  # px at scale 1; a line is never narrower
NARROW = 60.0  # px at scale 1; in such a line an icon stands above its text
NAMED_SHARE = 10.0  # times that a button with a name is as wide in a row as one with an icon alone; so has Blender it
LABEL_SHARE = 0.4  # of the width, for the names of properties where they are split from the values
LABEL_MARGIN = 12.0  # px at scale 1 around such a name


def line_width(context: bpy.types.Context, share: float = 1.0) -> float:
    """Return how wide a line of text may be in a share of the region's width, in px at scale 1."""
    return max(_panel_width(context) * share - ICON_WIDTH, LEAST_WIDTH)


def text_width(text: str) -> float:
    """Return how wide a text is in Blender's interface font, in px at scale 1."""
    blf.size(0, FONT_SIZE)
    return float(blf.dimensions(0, text)[0])


def wrapped(text: str, width: float) -> list[str]:
    """Return a text as lines of at most `width` px; what has no spaces, as paths and Japanese, is cut where it must.

    A long word, as German has them, gets a hyphen there.
    """
    lines: list[str] = []
    line = ""
    for word in text.split():
        while word:
            longer = f"{line} {word}" if line else word
            if text_width(longer) <= width:
                line, word = longer, ""
            elif line and (_hyphenable(word) or text_width(word) <= width):
                lines.append(line)
                line = ""
            else:  # a word that no line holds
                start = f"{line} " if line else ""
                count = _fitting(start, word, width)
                if count == 0 and line:
                    lines.append(line)
                    line = ""
                    continue
                part, word = _cut(word, max(count, 1))
                lines.append(start + part)
                line = ""
    return [*lines, line] if line else lines


def _cut(word: str, count: int) -> tuple[str, str]:
    """Return the start of a word, of `count` characters at most, and the rest; a Latin word is hyphenated."""
    if count > LEAST_SYLLABLE and _hyphenable(word):
        return f"{word[: count - 1]}-", word[count - 1 :]
    return word[:count], word[count:]


def _hyphenable(word: str) -> bool:
    return word.rstrip(".,;:!?)").isalpha() and word[0] < FIRST_UNSPACED


def draw_text(layout: bpy.types.UILayout, text: str, width: float, icon: str = "NONE") -> None:
    """Draw a sentence over as many lines as it needs, in the interface's language: labels don't wrap."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    if icon != "NONE" and width < NARROW:
        column.label(text="", icon=icon)
        icon = "NONE"
    if icon == "NONE":
        width += ICON
    for number, line in enumerate(wrapped(translated(text), width)):
        column.label(text=line, icon=icon if number == 0 or icon == "NONE" else "BLANK1", translate=False)


def fits_beside(context: bpy.types.Context, name: str) -> bool:
    """Whether the name of a property has room beside its value."""
    return text_width(translated(name)) <= _panel_width(context) * LABEL_SHARE - LABEL_MARGIN


def ticks_fit_indented(context: bpy.types.Context, data: Any, props: Iterable[str]) -> bool:
    """Whether the names of check boxes have room where those of other properties take a share of the width."""
    names = (translated(data.bl_rna.properties[prop].name) for prop in props)
    return max(map(text_width, names)) <= _panel_width(context) * (1 - LABEL_SHARE) - ICON_WIDTH


def draw_field(
    context: bpy.types.Context, layout: bpy.types.UILayout, data: Any, prop: str, text: str = "", slider: bool = False
) -> None:
    """Draw a property with its name beside it or, where that would be cut off, above it."""
    name = text or data.bl_rna.properties[prop].name
    if fits_beside(context, name):
        layout.prop(data, prop, text=name, text_ctxt=CONTEXT, slider=slider)
        return
    above = layout.column(align=True)
    above.label(text=name, text_ctxt=CONTEXT)
    above.prop(data, prop, text="", slider=slider)


def button_place(
    layout: bpy.types.UILayout, name: str, width: float, icon: str = "NONE"
) -> tuple[bpy.types.UILayout, str, str]:
    """Return where to draw a button, with which text and icon, so that its name is never cut off.

    Where there is too little room its icon is left out, and where that is not enough its name stands above it.
    width: of a line beside an icon, in px at scale 1, as `line_width` returns it.
    """
    needed = text_width(translated(name))
    if needed <= width:
        return layout, name, icon
    if needed <= width + ICON:
        return layout, name, "NONE"
    above = layout.column(align=True)
    draw_text(above, name, width)
    return above, "", icon


def side_by_side(layout: bpy.types.UILayout, names: Iterable[str], width: float) -> tuple[bpy.types.UILayout, float]:
    """Return a row for buttons of these names, or a column where one would be cut off in it, and the width of each.

    An empty name is that of a button with an icon alone. width: as `button_place` takes it, and so is what is returned.
    """
    texts = [text_width(translated(name)) if name else None for name in names]
    shares = sum(1.0 if text is None else NAMED_SHARE for text in texts)
    each = (width + ICON_WIDTH) * NAMED_SHARE / max(shares, NAMED_SHARE) - ICON_WIDTH
    if all(text is None or text <= each + ICON for text in texts):  # its icon may be left out
        return layout.row(align=True), each
    return layout.column(align=True), width


def draw_button(
    layout: bpy.types.UILayout, operator: type[bpy.types.Operator], width: float, icon: str, text: str = ""
) -> Any:
    """Draw an operator's button as `button_place` says; return its properties."""
    place, text, icon = button_place(layout, text or operator.bl_label, width, icon)
    return place.operator(operator.bl_idname, text=text, text_ctxt=CONTEXT, icon=icon)


def clock(seconds: float) -> str:
    """Return a duration as people read it: 0:05, 1:02:03."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _panel_width(context: bpy.types.Context) -> float:
    """Return how wide panels are in the region, in px at scale 1."""
    tabs = TABS_WIDTH if context.region.type == "UI" else 0.0
    return context.region.width / context.preferences.system.ui_scale - tabs


def _fitting(start: str, word: str, width: float) -> int:
    """Return how many characters of a word fit into a line after its start."""
    low, high = 0, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(start + word[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low
