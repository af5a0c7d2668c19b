# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sentence that speaks of the sidebar or the preferences asks for on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# A part of a sentence, as Blender's side writes it, and what does the same from a shell.
HINTS = {
    "environment is not set up yet": "blender -b --command magplus environment create",
    "environment was not finished": "blender -b --command magplus environment create",
    "environment was made for another version": "blender -b --command magplus environment create",
    "environment is damaged": "blender -b --command magplus environment create --again",
    "set up the environment in the preferences": "--python FILE",
    "choose another in the preferences": "--python FILE",
    "add the file under Backends in the preferences": "blender -b --command magplus backends add FILE",
    "Give the frame rate of the image sequence": "--sequence-rate FPS",
    "Choose the driving video": "--driving VIDEO",
    "choose a job folder: the results are kept there": "--output FOLDER",
    "which would be lost; choose another job folder": "--output FOLDER, or --replace",
    "Choose what to make": "--frames, --shape-keys",
    "outside the scene's frame range": "--start-frame N",
}


def with_hint(sentence: str) -> str:
    """Return a sentence with what to type, where that isn't in it already.

    >>> with_hint("Choose the driving video.")
    'Choose the driving video. [--driving VIDEO]'
    """
    hint = next((hint for part, hint in HINTS.items() if part in sentence), "")
    return f"{sentence} [{hint}]" if hint else sentence


def meant(word: str, known: Iterable[str]) -> str:
    """Return a question that names what is spelt most like a word, or an empty string.

    >>> meant("--shape-key", ["--shape-keys", "--save"])
    " (is '--shape-keys' meant?)"
    """
    near: Sequence[str] = get_close_matches(word, list(known), 1, 0.75)
    return f" (is {near[0]!r} meant?)" if near else ""
