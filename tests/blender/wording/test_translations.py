# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface in other languages: all of it, nothing else, and with the same values."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import bpy
import pytest
from bl_ext.user_default.magplus.magplus_addon.translations import LANGUAGES, locale_of, messages_of
from bl_ext.user_default.magplus.operators.blender.wording import CONTEXT, Catalogue, catalogue

from tests.blender.wording.interface_text import from_blender, from_source

ROOT = Path(__file__).resolve().parents[3]
PLACE = re.compile(r"\{(\d+)\}")
ENDS = {".": ".。", "…": "…", ":": ":：", ",": ",，、"}
each_language = pytest.mark.parametrize("language", LANGUAGES, ids=locale_of)


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """Every English message, with where it comes from."""
    return from_source() | from_blender()


@each_language
def test_a_language_has_every_message_and_no_other(language: ModuleType, shown: dict[str, str]) -> None:
    messages = messages_of(language)
    assert {message: place for message, place in shown.items() if message not in messages} == {}, "missing"
    assert messages.keys() - shown.keys() == set(), "left over"


@each_language
def test_a_translation_has_the_values_of_its_message_and_ends_like_it(language: ModuleType) -> None:
    for message, translation in messages_of(language).items():
        assert translation.strip(), message
        assert sorted(PLACE.findall(translation)) == sorted(PLACE.findall(message)), message
        assert translation[-1] in ENDS.get(message.rstrip()[-1], translation[-1]) or message.endswith(" "), message


def test_our_words_are_looked_up_apart_from_blenders_own() -> None:
    """Where "Face" is a polygon and "Expression" a formula."""
    settings = bpy.types.Scene.bl_rna.properties["magplus"].fixed_type
    assert {prop.translation_context for prop in settings.properties if prop.identifier in ("avatar", "frames_to")} == {
        CONTEXT
    }
    assert bpy.types.MAGPLUS_PT_driver.bl_translation_context == CONTEXT


def test_the_languages_that_blender_users_read() -> None:
    assert {locale_of(language) for language in LANGUAGES} >= {"de_DE", "es", "fr_FR", "ja_JP", "zh_HANS"}


def test_a_sentence_with_values_is_traced_to_its_message() -> None:
    for message in messages_of(LANGUAGES[0]):
        values = tuple(f"'x{number}y'" for number in range(len(set(PLACE.findall(message)))))
        if values:
            assert catalogue.message_of(message.format(*values))[0] == message


def test_no_value_of_an_imports_sentence_hides_words() -> None:
    message, (what, frame) = catalogue.message_of("Imported 23 frames and 4 controls from frame 1.")
    assert (message, frame) == ("Imported {0} from frame {1}.", "1")
    assert catalogue.message_of(what) == ("{0} frames and {1} controls", ("23", "4"))


@pytest.mark.parametrize(
    ("text", "message", "values"),
    [
        ("Exported 15 anchors.", "Exported {0} anchors.", ("15",)),
        ("'Head {0}' has no mesh.", "{0} has no mesh.", ("'Head {0}'",)),
        ("'a.b' is (not) here.", "{0} is (not) here.", ("'a.b'",)),
        ("'A' is muted, which hides 'B'.", "{0} is muted, which hides {1}.", ("'A'", "'B'")),
        ("Nothing of ours.", None, ()),
    ],
)
def test_which_message_a_text_is_made_from(text: str, message: str | None, values: tuple[str, ...]) -> None:
    messages = Catalogue()
    messages.use(["Exported {0} anchors.", "{0} has no mesh.", "{0} is (not) here.", "{0} is muted, which hides {1}."])
    assert messages.message_of(text) == (message, values)


def test_nothing_is_found_by_a_name_that_blender_gives_in_the_interfaces_language() -> None:
    """In a German Blender a new material's nodes are called "Materialausgabe"; bpy alone has no other language."""
    by_name = re.compile(r"""\bnodes(\[|\.get\()f?["']""")
    found = [path for folder in ("operators", "magplus_addon") for path in (ROOT / folder).rglob("*.py")]
    assert found and not [path for path in found if by_name.search(path.read_text("utf-8"))]
