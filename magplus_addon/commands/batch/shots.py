# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rows of a list ask for: a shot says of itself what `magplus animate` takes as options, and a little more."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path, PureWindowsPath
from typing import Any
from unicodedata import normalize

import bpy

from ....backend_bridge.backends import BACKENDS
from ....backend_bridge.files.errors import InputError
from ....backend_bridge.job.shot import check_plates
from .. import animate
from ..parser import Parser
from .shot_list import Row, read_rows

# What a shot says beside the options of `animate`: a word of explanation each, for the template.
OWN_KEYS: Mapping[str, str] = {
    "name": "names the shot's folder in the results; by default the video's name",
    "file": "the .blend to open",
    "scene": "the scene in it; by default the one it was saved with",
    "save": "where the file with the result goes; {name} stands for the shot's name. Shots of one file that save to "
    "the same place are all in it",
    "render": "render the clip's interval afterwards, with the file's own settings",
}
# What a shot writes whole over what another shot has written into the open file's settings; and what it adds to that.
_WRITTEN_WHOLE = {"driving", "trim", "reference", "alpha", "start_frame"}
_ADDED = {"only", "exclude", "lock", "mirror", "anchors", "frames"}
_NOT_HERE = {"output": "every shot has a folder of its own in the results", "help": "a list of shots has no such entry"}
LONGEST_NAME = 120  # characters
_NAME = re.compile(rf"[^\W_][\w .()+@#=-]{{0,{LONGEST_NAME - 1}}}")
_NOT_AT_THE_BEGINNING = re.compile(r"^[\W_]+")
_NOT_IN_NAMES = re.compile(r"[^\w .()+@#=-]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *(\..*)?$", re.IGNORECASE)
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_RANGE = re.compile(r"(?P<first>[0-9]{1,9})(-(?P<last>[0-9]{1,9}))?")
_OPTIONS = [each for info in BACKENDS for each in info.options if not each.choices]
_FILE_OPTIONS = {each.name for each in _OPTIONS if each.default is None}
_FILES_OPTIONS = {each.name for each in _OPTIONS if each.default == ()}  # of any number of files
# With what spreadsheets write in German, French and Spanish.
_ON = {"true", "yes", "on", "1", "wahr", "vrai", "verdadero"}
_OFF = {"false", "no", "off", "0", "falsch", "faux", "falso"}


@dataclass(frozen=True)
class Shot:
    """One avatar moved by one clip.

    name: unique in the list, also where upper and lower case are one. file: the .blend. scene: its name, None for the
    one that the file was saved with. save: where the result goes, None for the shot's own folder; `group` is common to
    the shots of one row, which are saved together. render: whether the clip's interval is rendered. options: as
    `magplus animate` parses them. row: where it stands in the list.
    """

    name: str
    group: str
    file: Path
    scene: str | None
    save: Path | None
    render: bool
    options: argparse.Namespace
    row: Row

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, in an order of their own; what is not here is taken from the file."""
        return {key: value for key, value in sorted(vars(self.options).items()) if value not in (None, False)}

    def is_alike(self, other: Shot) -> bool:
        """Whether a shot finds in the open file what it would in the saved one, after another whose capture was kept.

        Both say the same of the same file, but for the clip and where it goes, which each of them says.
        """
        given, before = self.given, other.given
        same = (self.file, self.scene) == (other.file, other.scene) and given.keys() == before.keys()
        return (
            same
            and not given.keys() & _ADDED
            and all(given[key] == before[key] for key in given.keys() - _WRITTEN_WHOLE)
        )

    @property
    def backend_files(self) -> list[tuple[str, Path]]:
        """The files that options of the backend name."""
        named = _FILE_OPTIONS | _FILES_OPTIONS
        given = [(name, value) for name, value in self.options.backend_option or () if name in named]
        several = [(name, value if isinstance(value, list) else [value]) for name, value in given]
        return [(name, Path(file)) for name, files in several for file in files if isinstance(file, str)]

    def check_file(self) -> None:
        """Raise `InputError`, with the list's line, where the .blend isn't there."""
        if not _is_there(self.file, Path.is_file):
            self.row.refuse(f"there is no file at {str(self.file)[:200]}.", "file")

    def check_inputs(self) -> None:
        """Raise `InputError`, with the list's line, where the .blend, the video or a plate isn't there."""
        self.check_file()
        if self.options.frames and self.options.plates:
            try:
                check_plates(self.options.plates, range(self.options.frames[0], self.options.frames[1] + 1))
            except InputError as error:
                self.row.refuse(str(error), "plates")
        if not _is_there(Path(self.options.driving), Path.exists):
            self.row.refuse(f"there is no driving video at {self.options.driving[:200]}.", "driving")


def read_shots(path: Path) -> list[Shot]:
    """Return the shots of a list; a row with several avatars is a shot for each of them.

    Raises `InputError` that names the list's line for whatever can't be meant. No file is looked for here; see
    `Shot.check_inputs`. Whether a scene, an avatar or a face is there shows when the shot is captured.
    """
    parser = Parser(prog="shot", add_help=False)
    animate.add_options(parser)
    shots: list[Shot] = []
    first: dict[str, Row] = {}
    for row in read_rows(path.absolute()):
        for shot in _shots_of(row, parser):
            if (other := first.get(shot.name.casefold())) is row:
                row.refuse(
                    f"{shot.options.avatar!r} is named twice, or much like another avatar of this shot.", "avatar"
                )
            if other is not None:
                row.refuse(f"{shot.name!r} is the name of line {other.line}'s shot, too; give it another.", "name")
            first[shot.name.casefold()] = row
            shots.append(shot)
    _check_saves(shots)
    return shots


def chosen(shots: Sequence[Shot], patterns: Sequence[str] | None) -> list[Shot]:
    """Return the shots that patterns as in 'sq010*' name, all of them without patterns.

    Raises `InputError` for a pattern that names none.
    """
    if not patterns:
        return list(shots)
    for pattern in patterns:
        if not any(fnmatchcase(shot.name, pattern) for shot in shots):
            names = ", ".join(shot.name for shot in shots[:8]) + (" …" if len(shots) > 8 else "")
            raise InputError(f"--only: no shot is named {pattern!r}; the shots are {names}.")
    return [shot for shot in shots if any(fnmatchcase(shot.name, pattern) for pattern in patterns)]


def numbered(shots: Sequence[Shot], ranges: str | None) -> list[Shot]:
    """Return the shots at some places of the list, counted from 1, as in "1-3,7"; all of them without ranges.

    Raises `InputError` for what is no such text and for numbers that the list doesn't have.
    """
    if ranges is None:
        return list(shots)
    wanted: set[int] = set()
    for part in ranges.split(","):
        found = _RANGE.fullmatch(part.strip())
        first = int(found["first"]) if found else 0
        last = int(found["last"] or first) if found else 0
        if not 1 <= first <= last <= len(shots):
            raise InputError(f"--numbers: {part.strip()!r} is no range within 1-{len(shots)}; write it as in 1-3,7.")
        wanted.update(range(first, last + 1))
    return [shot for number, shot in enumerate(shots, 1) if number in wanted]


def _is_there(path: Path, is_there: Callable[[Path], bool]) -> bool:
    try:
        return is_there(path)
    except OSError:  # no file can have such a name
        return False


def _shots_of(row: Row, parser: Parser) -> list[Shot]:
    values = dict(row.values)
    for key in values:
        _check_key(row, parser, key)
    own = {key: values.pop(key, None) for key in OWN_KEYS}
    avatars: list[str | None] = [*_texts(row, "avatar", values.pop("avatar", None))] or [None]
    file = _path(row, "file", own["file"])
    if file is None:
        row.refuse("the shot names no `file`, the .blend with its avatar.")
    if values.get("driving") is None:
        row.refuse("the shot names no `driving` video.")
    if not any(key in values for key in ("frames", "shape_keys")):
        row.refuse("say what to make: `frames`, `shape_keys` or both.")
    name = _text(row, "name", own["name"]) or _named_after(str(values["driving"]))
    name = normalize("NFC", name)  # macOS writes an umlaut as two characters
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
        row.refuse(f"{name!r} can't name a folder; use letters, digits, spaces and _-.()+", "name")
    save, shots = _text(row, "save", own["save"]), []
    for avatar in avatars:
        options = parser.parse_args([])
        for key, value in ({"avatar": avatar} | values).items():
            if value is not None:
                _parse(row, parser, key, value, options)
        _check_values(row, options)
        shots.append(
            Shot(
                name=name if avatar is None or len(avatars) == 1 else f"{name} {_plain(avatar)}",
                group=name,
                file=file,
                scene=_text(row, "scene", own["scene"]),
                save=None if save is None else _path(row, "save", save.replace("{name}", name)),
                render=_switch(row, "render", own["render"]),
                options=options,
                row=row,
            )
        )
        _check_name(row, shots[-1].name)
    return shots


def _named_after(video: str) -> str:
    """Return the name of a shot that has none: its video's as it can name a folder, of `[hd] Bob's.mp4` `hd_ Bob_s`."""
    stem = PureWindowsPath(video).stem  # which knows / and \
    return _NOT_AT_THE_BEGINNING.sub("", _plain(stem))[:LONGEST_NAME].rstrip(" .") or stem


def _plain(name: str) -> str:
    """Return an object's or a file's name as it can be a part of a folder's: `hero:Head` is `hero_Head`."""
    return _NOT_IN_NAMES.sub("_", normalize("NFC", name))


def _check_name(row: Row, name: str) -> None:
    """Refuse what can't name the shot's folder in the results, on any system that may come to read them."""
    if not _NAME.fullmatch(name):
        row.refuse(f"{name!r} can't name a folder; use a shorter or plainer name.", "name")
    if _DEVICE.match(name):
        row.refuse(f"{name!r} names a device on Windows; give the shot another name.", "name")


def _parse(row: Row, parser: Parser, key: str, value: Any, options: argparse.Namespace) -> None:
    """Let the parser of `animate` read one entry, as if it had been an option of the command."""
    for words in _words(row, key, value, _entries(parser)[key]):
        try:
            parser.parse_args(words, options)
        except InputError as error:
            row.refuse(_as_of_a_list(error), key)


def _entries(parser: Parser) -> Mapping[str, argparse.Action]:
    """Return the options of `animate` by the keys that a list has for them."""
    return {action.dest: action for action in parser._actions}  # argparse has no public way to list them


def _check_key(row: Row, parser: Parser, key: str) -> None:
    """Refuse an entry that there isn't, before anything else is said: it may be another one, misspelled."""
    if key in _NOT_HERE:
        row.refuse(f"`{key}` can't be said of a shot: {_NOT_HERE[key]}.", key)
    known = [*OWN_KEYS, *_entries(parser)]
    if key not in known:
        near = get_close_matches(key, known, 1)
        hint = f"is it `{near[0]}`? `" if near else "`"
        row.refuse(f"there is no entry {key!r}; {hint}magplus batch --template` lists them.", key)


def _check_values(row: Row, options: argparse.Namespace) -> None:
    try:
        animate.check_values(options, bpy.context.scene.magplus)
    except InputError as error:
        row.refuse(_as_of_a_list(error), next((key for key in row.values if _as_option(key) in str(error)), None))


def _as_of_a_list(error: InputError) -> str:
    """Return what is wrong with an option as it is said of an entry."""
    sentence = str(error).partition("; `shot --help`")[0].removesuffix(".").removeprefix("Argument ")
    return _OPTION.sub(lambda found: f"`{_as_key(found[1])}`", sentence) + "."


def _as_key(option: str) -> str:
    return option.replace("-", "_")


def _as_option(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _words(row: Row, key: str, value: Any, action: argparse.Action) -> list[list[str]]:
    """Return what a person would have typed for an entry, once for each time that the option is given."""
    option = action.option_strings[0]
    if action.nargs == "*" and _is_switch(value):  # `frames` alone is a switch, with numbers it is an interval
        return [[option]] if _switch(row, key, value) else []
    if action.nargs == 0:
        if _switch(row, key, value):
            return [[option]]
        off = [name for name in action.option_strings if name.startswith("--no-")]
        return [[off[0]]] if off else []
    if isinstance(action, argparse._AppendAction) and action.nargs is None:  # NAME=VALUE, not a row of names
        if isinstance(value, str):
            value = dict(part.strip().partition("=")[::2] for part in value.split(";") if part.strip())
        if not isinstance(value, dict):
            row.refuse(f"`{key}` must be a table of names and values.", key)
        return [[f"{option}={name}={_option_value(row, name, each)}"] for name, each in value.items()]
    several = action.nargs is not None
    texts = _texts(row, key, value, numbers=action.nargs in (2, "*")) if several else [_text(row, key, value) or ""]
    if action.type is Path or key in ("driving", "plates"):
        texts = [str(_path(row, key, text)) for text in texts]
    return [[option, *texts]] if several else [[f"{option}={texts[0]}"]]


def _option_value(row: Row, name: str, value: Any) -> str:
    """Return a backend's option as it is typed; a file of it is looked for beside the list."""
    if name in _FILE_OPTIONS and isinstance(value, str):
        return str(_path(row, name, value))
    if name in _FILES_OPTIONS:
        value = [str(_path(row, name, each)) for each in _texts(row, name, value)]
    return value if isinstance(value, str) else json.dumps(value)


def _text(row: Row, key: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        row.refuse(f"`{key}` must be a single value, not {_kind(value)}.", key)
    text = str(value)
    if not text.strip() or "\0" in text:
        row.refuse(f"`{key}` is empty.", key)
    return text


def _texts(row: Row, key: str, value: Any, numbers: bool = False) -> list[str]:
    """Return one or several values; a CSV cell separates them by semicolons, numbers by spaces, too."""
    if isinstance(value, str):
        cut = re.split(r"[;\s]+", value.strip()) if numbers else value.split(";")
        value = [part.strip() for part in cut if part.strip()]
    several = value if isinstance(value, list) else [] if value is None else [value]
    return [text for each in several if (text := _text(row, key, each)) is not None]


def _switch(row: Row, key: str, value: Any) -> bool:
    if isinstance(value, bool) or value is None:
        return bool(value)
    if isinstance(value, str) and value.lower() in _ON | _OFF:
        return value.lower() in _ON
    row.refuse(f"`{key}` must be true or false, not {value!r}.", key)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in (_ON | _OFF) - {"0", "1"})


def _path(row: Row, key: str, value: Any) -> Path | None:
    text = _text(row, key, value)
    try:
        return None if text is None else row.file.parent / Path(text).expanduser()
    except RuntimeError:
        row.refuse(f"`{key}`: nobody here is called {str(text)[:40]}; write the folder out instead of `~`.", key)


def _kind(value: Any) -> str:
    return {bool: "a switch", list: "a list", dict: "a table"}.get(type(value), type(value).__name__)


def _check_saves(shots: Sequence[Shot]) -> None:
    """Refuse to write over a file that a shot is made from, and to put shots of two files into one."""
    sources = {_same(shot.file): shot for shot in shots}
    saved: dict[str, Shot] = {}
    for shot in shots:
        if shot.save is None:
            continue
        if shot.save.suffix.lower() != ".blend":
            shot.row.refuse(f"`save` must name a .blend file, not {shot.save.name}.", "save")
        if _same(shot.save) in sources:
            shot.row.refuse(
                f"{shot.save.name} is a file that shots are made from, and saving over it would put the expression on "
                "it twice; save to another file.",
                "save",
            )
        if (other := saved.setdefault(_same(shot.save), shot)).file != shot.file:
            shot.row.refuse(
                f"{shot.save.name} is where the shot {other.name!r} of another file is saved; save to another file.",
                "save",
            )


def _same(path: Path) -> str:
    """Return the same text for the same file, whatever way it is named."""
    return str(path.resolve()).casefold()
