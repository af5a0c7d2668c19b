# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface in other languages: two modules for each, called as Blender calls the language.

One has what Blender's side says, the other, in `worker`, what the worker and the job folder write. A module's `MESSAGES`
maps what the source says in English to the translation; {0}, {1} ... stand for values, in any order, and {0:words} for a
value that is words of ours and so is translated, too. Terms are Blender's own in that language (shape key:
Formschlüssel, clé de forme ...). What Blender itself translates, it translates first. `tests/blender/wording` lists what
is missing, left over or has other values.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import bpy

from ...operators.blender.wording import CONTEXT, catalogue
from . import de_DE, es, fr_FR, ja_JP, worker, zh_HANS

LANGUAGES: tuple[ModuleType, ...] = (de_DE, es, fr_FR, ja_JP, zh_HANS)
# Blender looks up the labels of operators apart from all others, and what a layout is given without a context.
CONTEXTS = (CONTEXT, bpy.app.translations.contexts.operator_default, bpy.app.translations.contexts.default)


def messages_of(language: ModuleType) -> dict[str, str]:
    """Return the translations into a language by their English messages."""
    return {**language.MESSAGES, **worker.MESSAGES[locale_of(language)]}


def locale_of(language: ModuleType) -> str:
    """Return what Blender calls a language: "de_DE"."""
    return language.__name__.rpartition(".")[2]


def register() -> None:
    """Hand all languages to Blender; what the worker writes is only ever looked up in our own context."""
    spoken: dict[str, Any] = {}
    for language in LANGUAGES:
        locale = locale_of(language)
        spoken[locale] = {(CONTEXT, message): text for message, text in worker.MESSAGES[locale].items()}
        spoken[locale] |= {(context, each): text for each, text in language.MESSAGES.items() for context in CONTEXTS}
    bpy.app.translations.register(__name__, spoken)
    catalogue.use(messages_of(LANGUAGES[0]))


def unregister() -> None:
    """Take them back."""
    catalogue.use({})
    bpy.app.translations.unregister(__name__)
