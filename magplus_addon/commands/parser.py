# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands' parsers have in common: one sentence for a wrong call, and options that several share."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from ...backend_bridge.backends import FOLDER_VARIABLE
from ...backend_bridge.files.disk import explained
from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.spec import check_device
from ...operators.animation.destination import LAYER, NEW_ACTION, REPLACE, SHOW_AS
from .hints import meant

FASTEST = 100_000  # frames a second, beyond any camera

Verbs = argparse._SubParsersAction  # what argparse calls its own return value; it has no public name
_POINT_ZERO = re.compile(r"\.0+$")  # some programs write all numbers of a table with it
PROGRESS = ("text", "openjd")
ANIMATION = {"new-action": NEW_ACTION, "layer": LAYER, "replace": REPLACE}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of printing the usage and exiting; takes no shortened options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self.register("type", int, _whole_number)
        self.register("type", float, _number)
        self.register("type", Path, lambda text: Path(place(text)))

    def parse_known_args(self, *given: Any, **named: Any) -> Any:
        """Raise `InputError` for what the command does not know, where argparse lets the outermost parser complain."""
        options, unknown = super().parse_known_args(*given, **named)
        if unknown:
            near = meant(unknown[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Raise `InputError`, which `main` turns into a line and an exit code."""
        raise InputError(f"{message[:1].upper()}{message[1:]}; `{self.prog} --help` lists the options.")


def _whole_number(text: str) -> int:
    try:
        return int(_POINT_ZERO.sub("", text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def place(text: str) -> str:
    """Take a path, which must not be empty, as an unset variable of a script is: that would be the present folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("a path is missing")
    return text


def add_avatar(group: argparse._ActionsContainer) -> None:
    """Add the option that names the avatar."""
    group.add_argument("--avatar", metavar="NAME", help="the mesh object whose face is to move")


def add_camera(group: argparse._ActionsContainer) -> None:
    """Add the option that names the camera; see `scene_settings.choose_camera`."""
    group.add_argument("--camera", metavar="NAME", help="the camera to look through; it becomes the scene's")


def add_save(group: argparse._ActionsContainer) -> None:
    """Add the options that keep the file with the result."""
    add_saved_file(group)
    add_replace(group)


def add_saved_file(group: argparse._ActionsContainer) -> None:
    """Add the option that names the file with the result."""
    group.add_argument("--save", type=blend_file, metavar="FILE.blend", help="save the file with the result in it")


def add_replace(group: argparse._ActionsContainer, what: str = "write over another file that is there already") -> None:
    """Add the option that allows to write over something, a file by default; see `check_replaced`."""
    group.add_argument("--replace", action="store_true", help=what)


def check_replaced(options: argparse.Namespace, opened: str) -> None:
    """Raise `InputError` where a command would write over a file without being allowed to.

    opened: path of the open .blend, which may be saved over; an empty text for none.
    """
    for path in (getattr(options, name, None) for name in ("save", "export")):
        if path is None or options.replace:
            continue
        with explained(path, reading=True):
            if path.exists() and not (opened and Path(opened).exists() and path.samefile(opened)):
                raise InputError(f"{path} is there already; give another name, or --replace to write over it.")


def add_progress(group: argparse._ActionsContainer) -> None:
    """Add the option that says for whom progress is printed."""
    group.add_argument(
        "--progress",
        choices=PROGRESS,
        default=PROGRESS[0],
        help="lines for people, or for an Open Job Description farm",
    )


def add_show_as(group: argparse._ActionsContainer) -> None:
    """Add the option that says where an image sequence is shown."""
    group.add_argument("--show-as", choices=[name.lower() for name, _, _ in SHOW_AS], help="where the images go")


def add_placing(group: argparse._ActionsContainer) -> None:
    """Add the options that say where in time and onto what a result goes."""
    group.add_argument("--start-frame", type=int, metavar="N", help="frame of the scene where the clip starts")
    group.add_argument("--stretch", type=float, metavar="N", help="play it N times longer; 1 is real time")
    group.add_argument(
        "--keep-apex",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="shift by half a frame at most, so that the apex falls on a frame of the scene",
    )
    group.add_argument(
        "--release",
        type=seconds_or_hold,
        metavar="SECONDS|hold",
        help="how long the face takes to go back where the clip ends in the middle of an expression; hold lets it stay",
    )
    group.add_argument(
        "--animation",
        choices=list(ANIMATION),
        help="a new action, a layer on top of the present animation, or into the present action",
    )


def blend_file(text: str) -> Path:
    """Return the path of a .blend; checked before the work, as an error after it would come too late."""
    if not text.lower().endswith(".blend"):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .blend")
    return Path(text)


def seconds_or_hold(text: str) -> float | str:
    """Return a number of seconds, or "hold"."""
    try:
        return "hold" if text == "hold" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of seconds nor hold") from None


def frames_a_second(text: str) -> Fraction:
    """Return a frame rate, as a number or a fraction."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= FASTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no frame rate, as 29.97 or 30000/1001 is")
    return rate


def device(text: str) -> str:
    """Return the name of a device; whether this machine has it the worker knows."""
    try:
        check_device(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    return text


def add_python(group: argparse._ActionsContainer, instead_of: str = "the preferences'") -> None:
    """Add the option that names the worker's Python; `instead_of` says whose it goes before."""
    group.add_argument("--python", type=program, metavar="FILE", help=f"Python of the worker, instead of {instead_of}")


def program(text: str) -> Path:
    """Return the path of a program: the file that is there, or a name that the system looks up by itself."""
    path = Path(text)
    try:
        return path.absolute() if path.exists() else path
    except OSError:  # no file can have this name
        return path


def add_checkpoints(group: argparse._ActionsContainer) -> None:
    """Add the option that names the store of the backends' checkpoints."""
    group.add_argument(
        "--checkpoints",
        type=Path,
        metavar="FOLDER",
        help=f"where the backends' files are kept, for a store that machines share; or the variable {FOLDER_VARIABLE}",
    )


def use_checkpoints(options: argparse.Namespace) -> None:
    """Let this process, and the worker that it starts, look for checkpoints where the options say."""
    if options.checkpoints is not None:
        os.environ[FOLDER_VARIABLE] = str(options.checkpoints.absolute())


@contextmanager
def checkpoints_from(folder: Path | None) -> Iterator[None]:
    """Let workers that are started in the block look for checkpoints in a folder; None for where they look anyway."""
    before = os.environ.get(FOLDER_VARIABLE)
    if folder is not None:
        os.environ[FOLDER_VARIABLE] = str(folder.absolute())
    try:
        yield
    finally:
        if folder is not None:
            os.environ.pop(FOLDER_VARIABLE)
            os.environ.update({} if before is None else {FOLDER_VARIABLE: before})


def number_or_auto(text: str) -> float | str:
    """Return a number, or "auto"."""
    try:
        return "auto" if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto") from None


def name_and_value(text: str) -> tuple[str, Any]:
    """Take NAME=VALUE apart; the value may be JSON."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value  # a plain word needs no quotes
