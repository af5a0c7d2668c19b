# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages say of the code is true: numbers, exit codes, commands, files, modules, terms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from quoted_numbers import ROOT, quotes

from magplus.backend_bridge.files.errors import ExitCode

PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY"))]
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
LINK = re.compile(r"\]\((?!\w+:)([^)#]*)(?:#([^)]*))?\)")


@each_page
def test_numbers_that_are_quoted_from_the_code_are_its_own(page: Path) -> None:
    assert [quote for quote in quotes(page) if not quote.right] == []


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("four<!-- models.face.crop._ROBUST_ROUNDS --> rounds", False),
        ("eight<!-- models.face.crop._ROBUST_ROUNDS --> rounds", True),
        ("35 %<!-- models.face.crop._MARGIN -->", True),
        ("eleven<!-- len(models.rig.head_motion.HEAD_MOTIONS) --> motions", True),
        ("0.6<!-- backend_bridge.job.judgement.INTENSITY[0] -->", True),
        ("30<!-- operators.rig.eyes.FURTHEST_TURN --> degrees", True),
    ],
)
def test_a_wrong_number_is_found(tmp_path: Path, text: str, right: bool) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    [quote] = quotes(page)
    assert quote.right == right


def test_a_quotation_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for text, why in (
        ("8<!-- models.face.crop._NO_SUCH -->", "has no _NO_SUCH"),
        ("some<!-- models.face.crop._ROBUST_ROUNDS -->", "can't be read"),
    ):
        page.write_text(text, "utf-8")
        with pytest.raises(ValueError, match=why):
            list(quotes(page))


@each_page
def test_exit_codes_go_by_their_names(page: Path) -> None:
    for number, name in re.findall(r"exit (?:code|status) (\d+)(?: \((\w+))?", page.read_text("utf-8")):
        assert name == ExitCode(int(number)).name, f"exit code {number}"


@each_page
def test_files_that_are_named_are_there(page: Path) -> None:
    folders = [path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    named = re.findall(rf"`((?:{'|'.join(folders)})/[\w./-]*)`", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@each_page
def test_a_link_leads_to_a_page_a_picture_or_a_heading(page: Path) -> None:
    for target, heading in LINK.findall(page.read_text("utf-8")):
        place = page.parent / target if target else page
        assert place.exists(), target
        assert not heading or heading in _anchors(place), f"{target}#{heading}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_the_manual_can_be_reached_from_its_first_page() -> None:
    found, ahead = set(), [ROOT / "docs" / "manual.md"]
    while ahead:
        page = ahead.pop()
        if page not in found and page.suffix == ".md" and ROOT / "docs" in page.parents:
            found.add(page)
            ahead += [(page.parent / target).resolve() for target, _ in LINK.findall(page.read_text("utf-8")) if target]
    assert set((ROOT / "docs" / "manual").glob("*.md")) <= found


def test_the_manuals_pictures_are_small_and_all_of_them_are_shown() -> None:
    pictures = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images" / "manual").iterdir()}
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md"))
    assert max(pictures.values()) < 120_000 and sum(pictures.values()) < 1_500_000
    assert set(re.findall(r"images/manual/([\w.-]+)\)", pages)) == set(pictures)


def test_every_benchmark_is_listed_and_every_one_that_is_named_is_there() -> None:
    there = {path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")}
    listing = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Benchmarks")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", listing, re.M)) == there
    for page in (ROOT / "docs").rglob("*.md"):
        assert set(re.findall(r"dev\.py bench ([a-z]\w*)", page.read_text("utf-8"))) <= there, page.name


def test_the_glossary_names_what_is_in_the_code() -> None:
    code = "\n".join(
        path.read_text("utf-8")
        for folder in ("backend_bridge", "models", "operators", "magplus_addon")
        for path in (ROOT / folder).rglob("*.py")
    )
    words = set(re.findall(r"\w+", code)) | {"npz"}
    rows = re.findall(r"^\| (.+?) \| (.+?) \| ?(.*?) ?\|$", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.M)
    terms = [term for term, _, _ in rows if not term.startswith("-") and term != "term"]
    assert len(terms) == len(set(terms)) > 50
    named = {name for _, _, names in rows for name in re.findall(r"`([\w.]+)`", names)}
    assert {name for name in named if not set(name.split(".")) <= words} == set()


def test_the_ways_through_the_code_go_through_functions_that_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    passed = re.findall(r"`([\w/]+\.py)` `(\w+)`", page)
    assert len(re.findall(r"^\| \d+\. ", page, re.M)) == 10 and len(passed) > 40
    for file, name in passed:
        assert re.search(rf"^\s*(?:def|class) {name}\b", (ROOT / file).read_text("utf-8"), re.M), f"{name} in {file}"


def test_the_map_names_modules_that_are_in_their_folders() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w/]+/)` \| ([^|]*) \|", page, re.M)
    assert len(rows) > 20
    for folder, text in rows:
        there = {path.stem for path in (ROOT / folder).rglob("*") if path.suffix in ("", ".py")} | {"models"}
        assert set(re.findall(r"`(\w+)`", text)) <= there, folder
