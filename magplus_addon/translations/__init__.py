# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface in other languages: one module for each, called as Blender calls the language.

A module's `MESSAGES` maps what the source says in English to the translation; {0}, {1} ... stand for values, in any
order. Terms are Blender's own in that language (shape key: Formschlüssel, clé de forme ...). What Blender itself
translates, it translates first. `tests/blender/wording` lists what is missing, left over or has other values.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import bpy

from ...operators.blender.wording import CONTEXT, catalogue
from . import de_DE, es, fr_FR, ja_JP, zh_HANS

LANGUAGES: tuple[ModuleType, ...] = (de_DE, es, fr_FR, ja_JP, zh_HANS)
# Blender looks up the labels of operators apart from all others, and what a layout is given without a context.
CONTEXTS = (CONTEXT, bpy.app.translations.contexts.operator_default, bpy.app.translations.contexts.default)


def messages_of(language: ModuleType) -> dict[str, str]:
    """Return the translations into a language by their English messages."""
    return dict(language.MESSAGES)


def locale_of(language: ModuleType) -> str:
    """Return what Blender calls a language: "de_DE"."""
    return language.__name__.rpartition(".")[2]


def register() -> None:
    """Hand all languages to Blender."""
    spoken: Any = {
        locale_of(language): {
            (context, message): text for message, text in messages_of(language).items() for context in CONTEXTS
        }
        for language in LANGUAGES
    }
    bpy.app.translations.register(__name__, spoken)
    catalogue.use(message for language in LANGUAGES for message in messages_of(language))


def unregister() -> None:
    """Take them back."""
    catalogue.use(())
    bpy.app.translations.unregister(__name__)
