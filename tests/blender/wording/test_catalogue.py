# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences with values in them, translated where they are shown, whoever wrote them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.job.judgement import quality_of
from bl_ext.user_default.magplus.backend_bridge.job.report import (
    FaceReport,
    RegionReport,
    Report,
    SmoothingReport,
    WeightsReport,
)
from bl_ext.user_default.magplus.backend_bridge.job.spec import SPEC
from bl_ext.user_default.magplus.backend_bridge.rig.action_units import UNIT_NAMES
from bl_ext.user_default.magplus.backend_bridge.rig.events import UnitEvent
from bl_ext.user_default.magplus.backend_bridge.rig.footage import Unseen, Untrusted
from bl_ext.user_default.magplus.backend_bridge.rig.regions import REGIONS
from bl_ext.user_default.magplus.magplus_addon.translations import LANGUAGES, locale_of, messages_of
from bl_ext.user_default.magplus.operators.blender.patterns import PLACE
from bl_ext.user_default.magplus.operators.blender.wording import Catalogue, catalogue
from bl_ext.user_default.magplus.operators.report_lines import measured_lines
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.two_series

SPOKEN = {locale_of(language): messages_of(language) for language in LANGUAGES}
WITH_VALUES = sorted(message for message in SPOKEN["de_DE"] if PLACE.search(message))


def speaking(locale: str) -> Catalogue:
    """Return a catalogue of all messages in a language, which the bpy packages have none of."""
    found = Catalogue(lambda: locale, lambda message: SPOKEN[locale][message])
    found.use(SPOKEN["de_DE"])
    return found


GERMAN = speaking("de_DE")


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
    known = ["Exported {0} anchors.", "{0} has no mesh.", "{0} is (not) here.", "{0} is muted, which hides {1}."]
    found = Catalogue(str, str)
    found.use({each: each for each in known})
    assert found.message_of(text) == (message, values)


def test_no_value_of_an_imports_sentence_hides_words() -> None:
    message, (what, frame) = catalogue.message_of("Imported 23 frames and 4 controls from frame 1.")
    assert (message, frame) == ("Imported {0} from frame {1}.", "1")
    assert catalogue.message_of(what) == ("{0} frames and {1} controls", ("23", "4"))


# What a file or a control may be called: like words of ours, like whole messages, with braces, in any script.
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12),
    st.sampled_from([*SPOKEN["de_DE"], "{0}", "{1:words}", "%s", "{", r"\1", "left", "mouth", "run the job again"]),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(WITH_VALUES), st.lists(NAMES, min_size=8, max_size=8))
def test_values_arrive_as_they_are(message: str, names: list[str]) -> None:
    """Whatever the values look like, they are in the translation, unless they make another message of the text."""
    values = names[: len(set(PLACE.findall(message)))]
    text = message.format(*values)
    words = {place for place, marked in PLACE.findall(SPOKEN["de_DE"][message]) if marked}
    found, taken = GERMAN.message_of(text)
    if found is None:  # "x The log is y." could be anybody's: what is so short is told by words of ours in it
        assert words and _fixed(message) < 20 and message.startswith("{")
        return
    assert found.format(*taken) == text
    if (found, taken) != (message, tuple(values)):  # as when a file is called "3 of 5 frames of x"
        as_peculiar = found != message and _fixed(found) >= _fixed(message)
        assert as_peculiar or any(_has_fixed_parts(message, value) for value in values)
        return
    for locale in SPOKEN:
        shown = speaking_once(locale).translated(text)
        for place, value in enumerate(values):
            assert str(place) in words or value in shown


def _fixed(message: str) -> int:
    return len(PLACE.sub("", message))


def _has_fixed_parts(message: str, value: str) -> bool:
    return any(part in value for part in PLACE.split(message)[::3][1:-1])


speaking_once: Callable[[str], Catalogue] = {locale: speaking(locale) for locale in SPOKEN}.__getitem__


@pytest.mark.parametrize("name", ["left", "Eyes", "run the job again", "Exported 3 anchors.", "{1} {0}", "a, b; c"])
def test_a_name_that_is_a_word_of_ours_stays_a_name(name: str) -> None:
    text = f"Controls are at the end of their range: {name}, Jaw …; check them, or lock them."
    assert f": {name}, Jaw …; prüfen" in GERMAN.translated(text)


def test_the_reasons_of_a_quality_are_said_in_the_language_down_to_their_last_word() -> None:
    face = FaceReport(
        missing_seconds=(),
        width_px=300.0,
        crop_size=256,
        untrusted=(Untrusted(0.4, 0.5333, "a flash"), Untrusted(0.7, 0.7, "over-exposed")),
        unseen=(Unseen("mouth", 0.3333, 0.9, 0.5), Unseen("nose", 0.0, 0.1, 0.5)),
    )
    sentences = [reason.sentence for reason in quality_of(Report("finished", face=face)).reasons]
    assert [GERMAN.translated(sentence) for sentence in sentences] == [
        "Unzuverlässige Bilder halten das jeweils vorige: 0.400-0.533 s (ein Blitz), 0.700 s (überbelichtet); wählen "
        "Sie einen Teil des Videos ohne sie.",
        "Teile des Gesichts sind nicht zu sehen und bleiben in Ruhe: Mund (0.333-0.900 s), Nase (0.000-0.100 s); "
        "wählen Sie ein Video, das das ganze Gesicht zeigt.",
        "In dem, was vom Gesicht des Darstellers zu sehen ist, wurde kein Ausdruck gefunden; wählen Sie ein Video, das "
        "alles davon zeigt.",
    ]


def test_what_was_measured_of_each_region_and_action_unit_is_said_in_the_language() -> None:
    units = tuple(UNIT_NAMES.items())[:6]
    weights = WeightsReport(
        controls=1,
        read_from="",
        unseen=(),
        locked=(),
        peaks={},
        residual=0.9,
        residual_by_region=dict.fromkeys(REGIONS, 0.9),
        smoothing=SmoothingReport(0.0, 1.0),
        action_units=tuple(
            UnitEvent(number, name, (), 0.0, 0.1, 0.2, 0.5, None, None, None, False) for number, name in units
        ),
        live_link_face=(),
        regions={name: RegionReport(1.0, 0.4, 1.0) for name in REGIONS},
    )
    report = Report("finished", weights=weights)
    lines = [*measured_lines(report), *(reason.sentence for reason in quality_of(report).reasons)]
    words = re.compile(rf"\b({'|'.join((*REGIONS, *UNIT_NAMES.values(), 'the', 'sides'))})\b")
    assert len(lines) > 10 and [line for line in map(GERMAN.translated, lines) if words.search(line)] == []


def test_a_sentence_in_a_sentence() -> None:
    with pytest.raises(InputError) as refused:
        SPEC.decode(b'{"schema": 2, "intensty": 1}')
    assert GERMAN.translated(str(refused.value)) == (
        "job.json hat einen falschen Eintrag ('intensty' ist unbekannt); berichtigen Sie die Datei, oder nehmen "
        "Sie den Avatar erneut auf."
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Action units: AU5 (about) upper lid raiser / AU43 (about) eyes closed, left",
            "Action Units: AU5 (etwa) Oberlidheber / AU43 (etwa) Augen geschlossen, links",
        ),
        ("Not keyed: 'left', 'Eyes' is muted.", "Nicht gesetzt: 'left', 'Eyes' ist stummgeschaltet."),
        (
            "Not keyed: 'a', 'b', 'c', 'd' and 2 more is not in the rig basis.",
            "Nicht gesetzt: 'a', 'b', 'c', 'd' und 2 weitere ist nicht in der Rig-Basis.",
        ),
        (
            "The worker's environment is incomplete. a can't be loaded (E: x). b can't be loaded (E: y). Then check "
            "the environment.",
            "Die Umgebung des Workers ist unvollständig. a lässt sich nicht laden (E: x). b lässt sich nicht laden (E: "
            "y). Prüfen Sie dann die Umgebung.",
        ),
        ("Installing torch", "Installation: torch"),
        ("Weights: MIT", "Gewichte: MIT"),
        ("Job 2 of 3: polish", "Auftrag 2 von 3: polish"),
        ("The moon is not made of cheese; wait.", "The moon is not made of cheese; wait."),
    ],
)
def test_values_are_told_apart_by_the_words_of_ours_among_them(text: str, shown: str) -> None:
    assert GERMAN.translated(text) == shown


def test_a_panel_that_is_drawn_anew_does_not_search_anew() -> None:
    """Nor does the first search take long, for a sentence as for what is no message at all."""
    fresh = speaking("de_DE")
    texts = [f"A sentence of nobody's, the {number}th, with several words; it ends here." for number in range(100)]
    assert _seconds_each(fresh, texts) < 0.005  # 0.2 ms where nothing else runs
    assert _seconds_each(fresh, texts) < 0.0005


def _seconds_each(messages: Catalogue, texts: list[str]) -> float:
    began = time.process_time()
    for text in texts:
        messages.translated(text)
    return (time.process_time() - began) / len(texts)


def test_a_text_without_end_takes_no_time_without_end() -> None:
    began = time.process_time()
    GERMAN.translated("The " + "a, (b) is c: not d; " * 1500 + "end.")
    assert time.process_time() - began < 2.0
