# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface in other languages: all of it, nothing else, and with the same values."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import bpy
import pytest
from bl_ext.user_default.magplus.magplus_addon.translations import LANGUAGES, locale_of, messages_of, worker
from bl_ext.user_default.magplus.operators.blender.wording import CONTEXT

from tests.blender.wording.interface_text import from_blender, from_source
from tests.blender.wording.source_text import NO_TEXT, messages, modules, words_in

pytestmark = pytest.mark.two_series

ROOT = Path(__file__).resolve().parents[3]
PLACE = re.compile(r"\{(\d+)(?::words)?\}")
MARKED = re.compile(r"\{(\d+):words\}")
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


def test_the_same_values_are_words_of_ours_in_every_language() -> None:
    first, *others = map(messages_of, LANGUAGES)
    for message, translation in first.items():
        marked = sorted(MARKED.findall(translation))
        assert [sorted(MARKED.findall(other[message])) for other in others] == [marked] * len(others), message


def test_what_is_left_out_as_no_text_is_there() -> None:
    assert NO_TEXT - messages().keys() == set()


def test_values_that_are_words_of_ours_are_marked() -> None:
    known = messages_of(LANGUAGES[0])
    unmarked = [
        (message, place, where)
        for message, place, where in words_in(modules(), known)
        if str(place) not in MARKED.findall(known[message])
    ]
    assert unmarked == []


@each_language
def test_a_message_is_in_one_of_a_languages_modules(language: ModuleType) -> None:
    assert language.MESSAGES.keys() & worker.MESSAGES[locale_of(language)].keys() == set()


def test_our_words_are_looked_up_apart_from_blenders_own() -> None:
    """Where "Face" is a polygon and "Expression" a formula."""
    settings = bpy.types.Scene.bl_rna.properties["magplus"].fixed_type
    assert {prop.translation_context for prop in settings.properties if prop.identifier in ("avatar", "frames_to")} == {
        CONTEXT
    }
    assert bpy.types.MAGPLUS_PT_driver.bl_translation_context == CONTEXT


def test_the_languages_that_blender_users_read() -> None:
    assert {locale_of(language) for language in LANGUAGES} >= {"de_DE", "es", "fr_FR", "ja_JP", "zh_HANS"}


def test_the_command_line_is_english() -> None:
    files = list((ROOT / "magplus_addon" / "commands").rglob("*.py"))
    assert files and not [path for path in files if "wording" in path.read_text("utf-8")]


def test_nothing_is_found_by_a_name_that_blender_gives_in_the_interfaces_language() -> None:
    """In a German Blender a new material's nodes are called "Materialausgabe"; bpy alone has no other language."""
    by_name = re.compile(r"""\bnodes(\[|\.get\()f?["']""")
    found = [path for folder in ("operators", "magplus_addon") for path in (ROOT / folder).rglob("*.py")]
    assert found and not [path for path in found if by_name.search(path.read_text("utf-8"))]


# What the manual names of Blender itself, and of other programs.
ELSEWHERE = {
    *("Preferences", "Add-ons", "System", "Network", "Interface", "Language", "Space", "Object", "Library Override"),
    *("Properties", "Data", "Export", "Import", "Texture", "Displace", "Non-Color", "Bake Animation", "All Actions"),
    *("NLA Strips", "Animation Offset", "Animation Mode: Scene", "Channel Booleans", "IDistort", "STMap", "Read"),
    *("Split Animation by Object", "File", "External Data", "Find Missing Files"),
}


@pytest.mark.parametrize(
    "page",
    [*sorted((ROOT / "docs" / "manual").glob("*.md")), ROOT / "docs" / "first-minutes.md"],
    ids=lambda page: page.stem,
)
def test_the_manual_names_buttons_and_settings_as_they_are_called(page: Path) -> None:
    known = messages_of(LANGUAGES[0]).keys() | ELSEWHERE
    named = re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", page.read_text("utf-8"))
    parts = [part for name in named for part in " ".join(name.split()).split(" > ") if "MagPlus" not in part]
    unknown = [part for part in parts if part not in known and not part.endswith("...")]
    assert unknown == []
