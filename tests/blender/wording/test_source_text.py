# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as text that a person sees in Blender: what reads like it, but for what is seen to go elsewhere."""

from __future__ import annotations

import ast
import textwrap

import pytest

from tests.blender.wording.source_text import template, texts_in, words_in

pytestmark = pytest.mark.two_series


def texts_of(modules: dict[str, str]) -> list[tuple[str, str]]:
    trees = {name: ast.parse(textwrap.dedent(source)) for name, source in modules.items()}
    return [(name, template(node)[0]) for name, node in texts_in(trees)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise InputError(f"{path.name} is no picture; choose another.")', ["{0} is no picture; choose another."]),
        ('self.warnings.append("The hair is green.")', ["The hair is green."]),
        ('REMEDY = "dye it again"', ["dye it again"]),
        ('text = f"{it}, with much green" if green else ""', ["{0}, with much green"]),
        ('Reason("green hair", f"{share:.0%} of the hair is green.")', ["{0} of the hair is green."]),
        ('label(text="Hair")', ["Hair"]),
        ('colour: Literal["light green"] = field("light green")', ["light green"]),
        # Elsewhere: help of the command line, faults of programming, the log, what texts are compared with.
        ('parser.add_argument("--hair", help="the colour of hair")', []),
        ('raise RuntimeError("the hair has no colour")', []),
        ('print(f"The hair is {colour}.")', []),
        ('found = "out of hair" in said', []),
        ('colours = {"light green": 1}', []),
        ('"""Return the colour of hair."""', []),
        ("mode = 'HAIR_GREEN'", []),
    ],
)
def test_what_is_text(source: str, found: list[str]) -> None:
    assert texts_of({"hair.py": source}) == [("hair.py", text) for text in found]


def test_what_a_program_prints_is_read_by_blender() -> None:
    source = 'def main():\n    print("The hair is green.")'
    assert texts_of({"hair.py": source}) == [("hair.py", "The hair is green.")]


def test_a_fault_of_a_files_contents_is_text_where_a_reader_puts_it_into_a_sentence() -> None:
    modules = {
        "files/colour.py": 'def colour(text):\n    raise ValueError("it has no colour")',
        "hair.py": """
            from .files.colour import colour

            def read(path):
                try:
                    return colour(path.read_text())
                except ValueError as error:
                    raise InputError(f"{path.name} can't be read ({error}).") from error
            """,
        "other.py": 'def other():\n    raise ValueError("it has no other")',
    }
    assert texts_of(modules) == [("files/colour.py", "it has no colour"), ("hair.py", "{0} can't be read ({1}).")]


def test_which_values_are_words_of_ours() -> None:
    source = """
        def kind(name):
            return "a light one" if name.isupper() else "a dark one"

        def told(name):
            reason = "is green"
            return f"{name} {reason}; it is {kind(name)}."
        """
    known = {"a light one", "a dark one", "is green", "{0} {1}; it is {2}."}
    found = words_in({"hair.py": ast.parse(textwrap.dedent(source))}, known)
    assert [(message, place) for message, place, _ in found] == [
        ("{0} {1}; it is {2}.", 1), ("{0} {1}; it is {2}.", 2)
    ]  # fmt: skip
