# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in the language of Blender's interface: written in English where it is known, translated where it is shown.

Blender translates by itself what it is given as it stands: the names and tooltips of properties and operators, labels,
reports. A sentence with values in it ("Exported 15 anchors.") is in no dictionary; `translated` finds the message
that it was made from ("Exported {0} anchors.") and puts the values into its translation. So job folders, logs and the
command line stay English, and a sentence that the worker wrote is translated all the same.

A value is put in as it is: a control that is called "left" keeps its name. Where a value is words of ours, the
translation says so: "{0:words}".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import cast

import bpy

from .patterns import PLACE, Pattern, items_of, sentences_of

CONTEXT = "MagPlus"  # apart from Blender's own words: its "Face" is a polygon, its "Expression" a formula
_ENGLISH = ("", "en_US", "en_GB")  # the first where Blender was built without translations, as the bpy packages are
_PECULIAR = 20  # characters of a message that begins with a value; one with fewer needs words of ours as a value
_MOST_SPLITS = 50  # ways to split a text into its values that are compared
_MOST_KEPT = 4096  # texts whose translations are kept: panels are drawn anew with every move of the mouse


class Catalogue:
    """The messages that have translations; those with values have numbered places for them: {0}, {1} ..."""

    def __init__(self, locale: Callable[[], str], look_up: Callable[[str], str]) -> None:
        """Hold no messages yet. locale: the interface's language. look_up: the translation of a message into it."""
        self._locale, self._look_up = locale, look_up
        self._plain: frozenset[str] = frozenset()
        self._patterns: tuple[Pattern, ...] = ()
        self._kept: dict[str, str | None] = {}
        self._kept_in = ""

    def use(self, translations: Mapping[str, str]) -> None:
        """Take these messages, each with one of its translations, instead of those before."""
        self._plain = frozenset(message for message in translations if not PLACE.search(message))
        with_values = (Pattern.of(message, translations[message]) for message in translations.keys() - self._plain)
        self._patterns = tuple(sorted(with_values, key=lambda each: (-each.length, each.message)))
        self._kept = {}

    def translated(self, text: str) -> str:
        """Return the text in the language of the interface; one that is no message of ours is returned as it is."""
        locale = self._locale()
        if locale in _ENGLISH:
            return text
        if locale != self._kept_in:
            self._kept, self._kept_in = {}, locale
        return self._message(text) or text

    def translated_each(self, texts: Iterable[str]) -> Iterator[str]:
        """Return several texts, each as `translated` does."""
        return (self.translated(text) for text in texts)

    def message_of(self, text: str) -> tuple[str | None, tuple[str, ...]]:
        """Return the message that a text was made from, and the values in it; None where there is no such message.

        Of several that fit, that with the most fixed characters is taken; of several ways to split the values, the
        one with the most words of ours where they may stand.
        """
        if text in self._plain:
            return text, ()
        for pattern in self._patterns:
            if pattern.may_fit(text) and (values := self._values(pattern, text)) is not None:
                return pattern.message, values
        return None, ()

    def _values(self, pattern: Pattern, text: str) -> tuple[str, ...] | None:
        if not pattern.words:
            return next(pattern.splits(text), None)
        peculiar = bool(pattern.fixed[0]) or pattern.length >= _PECULIAR
        best, most = None, -1 if peculiar else 0
        for values in islice(pattern.splits(text), _MOST_SPLITS):
            ours = sum(self._words(values[place]) is not None for place in pattern.words)
            if ours > most:
                best, most = values, ours
            if ours == len(pattern.words):
                break
        return best

    def _message(self, text: str) -> str | None:
        """Return the translation of a message, None for what is none."""
        if text not in self._kept:
            found = self._translation(text)
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[text] = found
        return self._kept[text]

    def _translation(self, text: str) -> str | None:
        message, values = self.message_of(text)
        if message is None:
            return None

        def value_at(place: re.Match[str]) -> str:
            value = values[int(place[1])]
            return (self._words(value) if place[2] else None) or value

        return PLACE.sub(value_at, self._look_up(message))

    def _words(self, value: str) -> str | None:
        """Return the translation of words of ours, None where nothing of it is ours.

        They are a message, a list of messages, or several sentences; each item of a list perhaps with more behind it in
        parentheses: "mouth (0.3-0.9 s), nose (a flash) …".
        """
        sentences = sentences_of(value)
        if len(sentences) > 1:
            parts, found = sentences, [self._words(sentence) for sentence, _ in sentences]
        else:
            parts = items_of(value)
            found = [self._item(item) for item, _ in parts]
        all_ours = None not in found and (len(sentences) > 1 or not value.endswith("."))
        if len(parts) > 1 and not all_ours and (whole := self._item(value)) is not None:
            return whole
        if not any(found):
            return None
        return "".join(f"{ours or part}{behind}" for ours, (part, behind) in zip(found, parts, strict=True))

    def _item(self, text: str) -> str | None:
        if (message := self._message(text)) is not None:
            return message
        head, bracket, tail = text.partition("(")
        if bracket and tail.endswith(")"):
            before, within = self._words(head.rstrip()), self._words(tail[:-1])
            if before is not None or within is not None:
                space = " " * (len(head) - len(head.rstrip()))
                return f"{before or head.rstrip()}{space}({within or tail[:-1]})"
        return None


def _locale() -> str:
    return str(bpy.app.translations.locale)


def _look_up(message: str) -> str:
    return cast(str, bpy.app.translations.pgettext_iface(message, CONTEXT))


catalogue = Catalogue(_locale, _look_up)
translated = catalogue.translated
translated_each = catalogue.translated_each
