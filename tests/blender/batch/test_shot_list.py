# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of shots: what it may say, and where in it something is wrong."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HEADER = 'file = "hero.blend"\ndriving = "clip.mp4"\nshape_keys = true\n'


@pytest.fixture
def shots(extension: str) -> ModuleType:
    return importlib.import_module(f"{extension}.magplus_addon.commands.batch.shots")


@pytest.fixture
def input_error(extension: str) -> type[Exception]:
    found: type[Exception] = importlib.import_module(f"{extension}.backend_bridge.files.errors").InputError
    return found


@pytest.fixture
def read(shots: ModuleType, tmp_path: Path) -> Callable[..., list[Any]]:
    """Reads a list that lies beside `hero.blend` and `villain.blend`."""
    for name in ("hero.blend", "villain.blend"):
        (tmp_path / name).write_bytes(b"")

    def read(text: str, suffix: str = ".toml", encoding: str = "utf-8") -> list[Any]:
        path = tmp_path / f"list{suffix}"
        path.write_text(text, encoding, newline="")
        return shots.read_shots(path)

    return read


def test_defaults_hold_for_every_shot_that_says_nothing_else(read: Callable[..., list[Any]], tmp_path: Path) -> None:
    first, second = read(
        '[defaults]\nfile = "hero.blend"\nshape-keys = true\nalpha = 8\ntrim = [1, 2.5]\n'
        '[[shot]]\nname = "a"\ndriving = "clips/one.mp4"\n'
        '[[shot]]\nname = "b"\ndriving = "/two.mp4"\nalpha = "auto"\nkeep_apex = false\nonly = ["Brow Up", "jaw*"]\n'
    )
    assert (first.name, first.file, first.options.driving) == (
        "a",
        tmp_path / "hero.blend",
        str(tmp_path / "clips/one.mp4"),
    )
    assert first.options.alpha == 8 and first.options.trim == [1, 2.5] and first.options.shape_keys
    assert first.options.keep_apex is None
    assert (second.options.driving, second.options.alpha, second.options.keep_apex) == ("/two.mp4", "auto", False)
    assert second.options.only == ["Brow Up", "jaw*"]


@pytest.mark.parametrize(
    ("video", "name"),
    [
        ("clips/frown.mp4", "frown"),
        ("[hd] Bob's frown, 2.mp4", "hd_ Bob_s frown_ 2"),
        ("Wut 😠 & Ärger.mov", "Wut _ _ Ärger"),
        ("_take_1_.mp4", "take_1_"),
        ("take 1 ..mp4", "take 1"),
        ("x" * 200 + ".mp4", "x" * 120),
    ],
)
def test_a_shot_without_a_name_has_its_videos_as_it_can_name_a_folder(
    read: Callable[..., list[Any]], video: str, name: str
) -> None:
    (shot,) = read(f'[[shot]]\nfile = "hero.blend"\ndriving = "{video}"\nshape_keys = true\n')
    assert shot.name == name and shot.options.driving.endswith(video)


def test_a_video_that_names_nothing_asks_for_a_name(
    read: Callable[..., list[Any]], input_error: type[Exception]
) -> None:
    with pytest.raises(input_error, match="line 1: '😠' can't name a folder"):
        read('[[shot]]\nfile = "hero.blend"\ndriving = "😠.mp4"\nshape_keys = true\n')


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_says_the_same(read: Callable[..., list[Any]], delimiter: str, encoding: str) -> None:
    rows = [
        ["name", "file", "driving", "frames", "trim", "alpha", "only", "render"],
        ["*", "hero.blend", "", "yes", "", "4", "", ""],
        ["é 1", "", "one.mp4", "", "0.5 2", "", '"Brow Up;jaw*"', "true"],
        ["# not this one"],
        ["b", "villain.blend", "two.mp4", "no", "", "auto", "", ""],
    ]
    first, second = read("\r\n".join(delimiter.join(row) for row in rows), ".csv", encoding)
    assert (first.name, first.options.frames, first.options.trim, first.options.alpha) == ("é 1", [], [0.5, 2], 4)
    assert first.options.only == ["Brow Up", "jaw*"] and first.render
    assert (second.file.name, second.options.frames, second.options.alpha) == ("villain.blend", None, "auto")


def test_a_spreadsheet_of_the_decimal_comma_says_the_same(read: Callable[..., list[Any]]) -> None:
    table = "file;Driving;Shape Keys;trim;intensity;avatar;;\nhero.blend;clip.mp4;WAHR;5,7 7,2;0,8;Ann, the first;;;\n"
    (shot,) = read(table, ".csv")
    given = shot.options
    assert (given.trim, given.intensity, given.avatar) == ([5.7, 7.2], 0.8, "Ann, the first") and given.shape_keys


def test_what_other_programs_add_to_a_table_is_no_part_of_it(read: Callable[..., list[Any]]) -> None:
    table = "sep=;\r\nname;file;driving;shape keys;start frame\r\nO\u0308l;hero.blend;clip.mp4;1;1001.0\r\n"
    assert read(table.replace("sep=;", '"sep=;"'), ".csv") == read(table, ".csv"), "a spreadsheet may quote it"
    (shot,) = read(table, ".csv", "utf-8-sig")
    assert (shot.name, shot.options.start_frame) == ("\u00d6l", 1001), "an umlaut of macOS, a number of a data frame"


def test_what_is_no_list_is_reported_by_its_name(read: Callable[..., list[Any]], input_error: type[Exception]) -> None:
    with pytest.raises(input_error, match=r"its name must end in \.toml or \.csv"):
        read("\0", ".blend")


def test_several_avatars_are_several_shots_of_one_file(read: Callable[..., list[Any]]) -> None:
    found = read(f'[[shot]]\nname = "s"\navatar = ["Ann", "Bob"]\n{HEADER}')
    assert [(shot.name, shot.options.avatar, shot.group) for shot in found] == [
        ("s Ann", "Ann", "s"),
        ("s Bob", "Bob", "s"),
    ]
    found = read(f'[[shot]]\navatar = ["hero:Head", "Twin/2"]\n{HEADER}'.replace("clip", "clips\\\\clip"))
    assert [shot.name for shot in found] == ["clip hero_Head", "clip Twin_2"]


def test_a_backends_files_are_looked_for_beside_the_list(read: Callable[..., list[Any]], tmp_path: Path) -> None:
    (shot,) = read(f'[[shot]]\n{HEADER}backend = "fomm"\nbackend_option = {{ relative = false, note = "x" }}\n')
    assert shot.options.backend_option == [("relative", False), ("note", "x")]
    pictures = [str(tmp_path / "a.png"), str(tmp_path / "b c.png")]
    for written in ('["a.png", "b c.png"]', '"a.png; b c.png"'):
        (shot,) = read(f'[[shot]]\n{HEADER}backend_option = {{ more_sources = {written}, landmarks = "l.npy" }}\n')
        assert shot.options.backend_option == [("more_sources", pictures), ("landmarks", str(tmp_path / "l.npy"))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no shot"),
        ("[[shot]\n", "no valid TOML"),
        ("x = 1\n[[shot]]\n", "an entry 'x'"),
        ("defaults = 3\n[[shot]]\n", "`defaults` must be a table"),
        ("[shot]\nname = 'a'\n", "written as [[shot]]"),
        ('[[shot]]\ndriving = "clips\\shot.mp4"\n', "Write folders with / or put the path in single quotes."),
        (f"[[shot]]\n{HEADER}\nwobble = 3\n", "list.toml, line 6: there is no entry 'wobble'; `magplus"),
        ("[[shot]]\nname = 'a'\nfiel = 'hero.blend'\n", "line 3: there is no entry 'fiel'; is it `file`?"),
        (f"[[shot]]\n{HEADER}alpha = 'much'\n", "line 5: `alpha`: 'much' is neither a number nor auto."),
        (f"[[shot]]\n{HEADER}alpha = -3\n", "line 5: `alpha` must be between 1 and 64, not -3."),
        (f"[[shot]]\n{HEADER}intensity = 'strong'\n", "line 5: `intensity`: 'strong' is no number."),
        (f"[[shot]]\n{HEADER}backend = 'magic'\n", "line 5: `backend`: invalid choice: 'magic'"),
        (f"[[shot]]\n{HEADER}trim = [1]\n", "line 5: `trim`"),
        (f"[[shot]]\n{HEADER}trim = 'a b'\n", "line 5: `trim`: 'a' is no number."),
        (f"[[shot]]\n{HEADER}trim = [2, 1]\n", "line 5: `trim` holds nothing; its end has to come after its start."),
        (f"[[shot]]\n{HEADER}frames = [9, 1]\n", "line 5: `frames`: A moving shot starts at frame 1 or later"),
        (f"[[shot]]\n{HEADER}st_map = true\n", "line 5: `st_map` is of a moving shot; give `frames` START END, too."),
        (f"[[shot]]\n{HEADER}capture_size = 3\n", "line 5: `capture_size`: A picture of 3 px is too small"),
        (f"[[shot]]\n{HEADER}capture_size = -1\n", "line 5: `capture_size` must be between 0 and 65536, not -1."),
        (f"[[shot]]\n{HEADER}start_frame = 1.5\n", "line 5: `start_frame`: '1.5' is no whole number."),
        (f"[[shot]]\n{HEADER}start_frame = [1, 2]\n", "line 5: `start_frame` must be a single value, not a list."),
        (f"[[shot]]\n{HEADER}render = 'perhaps'\n", "line 5: `render` must be true or false"),
        (f"[[shot]]\n{HEADER}name = '../x'\n", "line 5: '../x' can't name a folder"),
        (f"[[shot]]\n{HEADER}name = 'con.1'\n", "line 5: 'con.1' names a device on Windows"),
        (f"[[shot]]\n{HEADER}name = ''\n", "line 5: `name` is empty."),
        (f"[[shot]]\n{HEADER}stretch = 0\n", "line 5: `stretch` must be between 0.01 and 100, not 0."),
        (f"[[shot]]\n{HEADER}avatar = ['A', 'a']\n", "line 5: 'a' is named twice, or much like another avatar"),
        (f"[[shot]]\n{HEADER}output = 'x'\n", "line 5: `output` can't be said of a shot"),
        (f"[[shot]]\n{HEADER}save = 'hero.blend'\n", "line 5: hero.blend is a file that shots are made from"),
        (f"[[shot]]\n{HEADER}save = 'x.mp4'\n", "line 5: `save` must name a .blend file"),
        ("[[shot]]\ndriving = 'c.mp4'\nframes = true\n", "line 1: the shot names no `file`"),
        ("[[shot]]\nfile = 'hero.blend'\nframes = true\n", "line 1: the shot names no `driving` video"),
        ("[[shot]]\nfile = 'hero.blend'\ndriving = 'c.mp4'\n", "line 1: say what to make"),
        (f"[[shot]]\n{HEADER}[[shot]]\n{HEADER}", "line 5: 'clip' is the name of line 1's shot, too"),
        (
            f"[[shot]]\nname = 'A'\n{HEADER}[[shot]]\nname = 'a'\n{HEADER}",
            "line 7: 'a' is the name of line 1's shot, too",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    read: Callable[..., list[Any]], input_error: type[Exception], text: str, message: str
) -> None:
    with pytest.raises(input_error, match=re.escape(message)):
        read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,file\na,b,c\n", "line 2: 3 cells under 2 headings"),
        ("sep=|\nname,file,driving\na,b,c\n", "line 1: 'sep=|' names no separator of a list; write sep=, or"),
        ("sep=\nname;file;driving\na;b;c\n", "line 1: 'sep=' names no separator"),
        ("# mine\nSEP=:,,\nname,file\na,b,c\n", "line 2: 'SEP=:,,' names no separator"),
        ("sep=;\nname,file,driving\na;b;c\n", "line 2: 'name,file,driving' is a single heading; separate the"),
        ("name|file|driving\na|b|c\n", "line 1: 'name|file|driving' is a single heading; separate the headings"),
        ("name,name\n", "two columns are named 'name'"),
        ("start frame,Start-Frame\n", "two columns are named 'start frame'"),
        ("name,,file\n", "a column has no heading"),
        ('name,file\n"a,b\n', "no valid CSV"),
        ("name,file\n", "holds no shot"),
    ],
)
def test_what_is_wrong_with_a_table(
    read: Callable[..., list[Any]], input_error: type[Exception], text: str, message: str
) -> None:
    with pytest.raises(input_error, match=re.escape(message)):
        read(text, ".csv")


def test_the_template_is_a_list_that_reads(read: Callable[..., list[Any]], extension: str, tmp_path: Path) -> None:
    template = importlib.import_module(f"{extension}.magplus_addon.commands.batch.template").template()
    (tmp_path / "character.blend").write_bytes(b"")
    (shot,) = read(template)
    assert shot.name == "sq010_sh0010" and shot.options.trim == [5.7, 7.2]


def test_shots_are_chosen_by_name_and_by_number(
    read: Callable[..., list[Any]], shots: ModuleType, input_error: type[Exception]
) -> None:
    listed = read("".join(f'[[shot]]\nname = "{name}"\n{HEADER}' for name in ("sq1_a", "sq1_b", "sq2_a", "sq2_b")))
    assert [shot.name for shot in shots.chosen(listed, ["*_a"])] == ["sq1_a", "sq2_a"]
    assert [shot.name for shot in shots.numbered(listed, "1,3-4")] == ["sq1_a", "sq2_a", "sq2_b"]
    for wrong in ("0", "5", "3-2", "a", "1-5", ""):
        with pytest.raises(input_error, match="no range within 1-4"):
            shots.numbered(listed, wrong)
    with pytest.raises(input_error, match="no shot is named 'x'"):
        shots.chosen(listed, ["x"])


def test_a_moving_shot_says_its_frames_and_where_its_plates_are(
    read: Callable[..., list[Any]],
) -> None:
    (moving,) = read('[[shot]]\nfile="hero.blend"\ndriving="one.mp4"\nframes=[1001, 1048]\nplates="p/s.####.exr"\n')
    assert moving.options.frames == [1001, 1048]
    assert Path(moving.options.plates).name == "s.####.exr" and Path(moving.options.plates).is_absolute()
    (still,) = read('[[shot]]\nfile="hero.blend"\ndriving="one.mp4"\nframes=true\n')
    assert still.options.frames == []
