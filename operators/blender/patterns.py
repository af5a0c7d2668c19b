# SPDX-License-Identifier: GPL-3.0-or-later
"""What a message with values in it looks like, and how a text is taken apart again; needs no Blender."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PLACE = re.compile(r"\{(\d+)(:words)?\}")
_BETWEEN = re.compile(r"[()]|, |; | \+ | / |(?<=\.) ")


@dataclass(frozen=True)
class Pattern:
    """A message with values in it: what stands before, between and after them, and which of them may be words of ours.

    Values stand in the order of their numbers; `words` are those that a translation marks, as in "{0:words}".
    """

    message: str
    fixed: tuple[str, ...]
    words: tuple[int, ...]

    @classmethod
    def of(cls, message: str, translation: str) -> Pattern:
        """Return the pattern of a message, with the marks of one of its translations."""
        marked = sorted(int(number) for number, words in PLACE.findall(translation) if words)
        return cls(message, tuple(PLACE.split(message)[::3]), tuple(marked))

    @property
    def length(self) -> int:
        """How many characters are the same whatever the values."""
        return sum(map(len, self.fixed))

    def may_fit(self, text: str) -> bool:
        """Whether a text begins and ends as the message does."""
        return text.endswith(self.fixed[-1]) and text.startswith(self.fixed[0]) and len(text) >= self.length

    def splits(self, text: str) -> Iterator[tuple[str, ...]]:
        """Yield the values that make this text of the message, in each way there is; the shortest first ones first."""
        if self.may_fit(text):
            yield from _splits(text[len(self.fixed[0]) : len(text) - len(self.fixed[-1])], self.fixed[1:-1])


def _splits(text: str, between: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not between:
        yield (text,)
        return
    part, *rest = between
    at = text.find(part)
    while at >= 0:
        fits = False
        for values in _splits(text[at + len(part) :], tuple(rest)):
            fits = True
            yield (text[:at], *values)
        if not fits:
            return  # there is even less behind a later place
        at = text.find(part, at + 1)


def sentences_of(text: str) -> list[tuple[str, str]]:
    """Return the sentences of a text, each with what stands behind it."""
    return _split(text, {" "})


def items_of(text: str) -> list[tuple[str, str]]:
    """Return the items of a list, each with what stands behind it.

    >>> items_of("mouth (0.1-0.3 s), nose …")
    [('mouth (0.1-0.3 s)', ', '), ('nose', ' …')]
    """
    more = " …" if text.endswith(" …") else ""
    *items, (last, _) = _split(text.removesuffix(more), {", ", "; ", " + ", " / "})
    return [*items, (last, more)]


def _split(text: str, separators: set[str]) -> list[tuple[str, str]]:
    """Return the parts of a text between separators that are not in parentheses."""
    at, depth, found = 0, 0, []
    for between in _BETWEEN.finditer(text):
        if between[0] in "()":
            depth = max(depth + (1 if between[0] == "(" else -1), 0)
        elif not depth and between[0] in separators:
            found.append((text[at : between.start()], between[0]))
            at = between.end()
    return [*found, (text[at:], "")]
