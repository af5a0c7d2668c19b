# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in the language of Blender's interface: written in English where it is known, translated where it is shown.

Blender translates by itself what it is given as it stands: the names and tooltips of properties and operators, labels,
reports. A sentence with values in it ("Exported 15 anchors.") is in no dictionary; `translated` finds the message
that it was made from ("Exported {0} anchors.") and puts the values into its translation. So job folders, logs and the
command line stay English, and a sentence that the worker wrote is translated all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import bpy

CONTEXT = "MagPlus"  # apart from Blender's own words: its "Face" is a polygon, its "Expression" a formula
_ENGLISH = ("", "en_US", "en_GB")  # the first where Blender was built without translations, as the bpy packages are
_PLACE = re.compile(r"\{(\d+)\}")


class Catalogue:
    """The messages that have translations; those with values have numbered places for them: {0}, {1} ..."""

    def __init__(self) -> None:
        self._plain: frozenset[str] = frozenset()
        self._patterns: tuple[tuple[str, re.Pattern[str]], ...] = ()

    def use(self, messages: Iterable[str]) -> None:
        """Take these messages instead of those before."""
        known = set(messages)
        with_values = sorted((text for text in known if _PLACE.search(text)), key=_fixed_length, reverse=True)
        self._patterns = tuple((text, _pattern(text)) for text in with_values)
        self._plain = frozenset(known.difference(with_values))

    def translated(self, text: str) -> str:
        """Return the text in the language of the interface; one that is no message of ours is returned as it is.

        A value that is itself a message is translated, too.
        """
        if bpy.app.translations.locale in _ENGLISH:
            return text
        message, values = self.message_of(text)
        if message is None:
            return text
        found = _look_up(message, CONTEXT)
        return found.format(*map(self.translated, values)) if values else found

    def message_of(self, text: str) -> tuple[str | None, tuple[str, ...]]:
        """Return the message that a text was made from, and the values in it; None where there is no such message.

        Of several that fit, that with the most fixed characters is taken.
        """
        if text in self._plain:
            return text, ()
        for message, pattern in self._patterns:
            if found := pattern.fullmatch(text):
                return message, found.groups()
        return None, ()

    def translated_each(self, texts: Iterable[str]) -> Iterator[str]:
        """Return several texts, each as `translated` does."""
        return (self.translated(text) for text in texts)


_look_up = cast(Callable[[str, str], str], bpy.app.translations.pgettext_iface)


def _fixed_length(message: str) -> int:
    return len(_PLACE.sub("", message))


def _pattern(message: str) -> re.Pattern[str]:
    """Return what a message with values in it fits."""
    fixed = _PLACE.split(message)[::2]
    return re.compile("(.*?)".join(re.escape(part) for part in fixed), re.DOTALL)


catalogue = Catalogue()
translated = catalogue.translated
translated_each = catalogue.translated_each
