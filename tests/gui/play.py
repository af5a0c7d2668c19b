#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the extension in a graphical Blender of its own settings and play a scenario in it, by hand.

python3 tests/gui/play.py tests/gui/manual.py --blender blender --extension magplus.zip --out FOLDER
    --worker-python PYTHON --wheels FOLDER

Where there is no screen, Xvfb is used. The extension's zip comes from `python3 dev.py build`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


class NoScreenError(Exception):
    """There is no graphical Blender here; the text says what to do."""


@contextlib.contextmanager
def a_screen(size: tuple[int, int], scratch: Path) -> Iterator[dict[str, str]]:
    """Yield what to add to the surroundings of a program that opens a window of this size."""
    if os.environ.get("DISPLAY") or sys.platform in ("win32", "darwin"):
        yield {}
        return
    if shutil.which("Xvfb") is None:
        raise NoScreenError("A graphical Blender needs a screen; start it where there is one, or install Xvfb.")
    display = f":{random.randint(100, 900)}"
    server = subprocess.Popen(
        ["Xvfb", display, "-screen", "0", f"{size[0]}x{size[1]}x24", "-fbdir", str(scratch)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1.0)
        yield {"DISPLAY": display, "MAGPLUS_GUI_FRAME_BUFFER": str(scratch / "Xvfb_screen0")}
    finally:
        server.terminate()
        server.wait()


@dataclass(frozen=True)
class Theatre:
    """What scenarios are played with: a graphical Blender, the extension, the worker's Python, the sample's wheels."""

    blender: str
    extension: Path
    worker: Path
    wheels: Path

    def play(self, scenario: Path, out: Path, size: tuple[int, int], more: Mapping[str, str], limit: float) -> int:
        """Play a scenario and return Blender's exit status.

        out: where pictures and the log go. size: of the window, px. more: for the scenario, see there. limit: seconds.
        Raises `NoScreenError` where there is no graphical Blender.
        """
        if shutil.which(self.blender) is None:
            raise NoScreenError(f"There is no {self.blender!r} here; give --blender a graphical Blender's program.")
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="magplus-") as name, a_screen(size, Path(name)) as screen:
            scratch = Path(name)
            (scratch / "home").mkdir()
            surroundings = {
                **os.environ, **screen, "BLENDER_USER_RESOURCES": str(scratch / "settings"),
                "HOME": str(scratch / "home"), "MAGPLUS_GUI_OUT": str(out.resolve()),
                "MAGPLUS_GUI_WORKER": str(self.worker),
                **{f"MAGPLUS_GUI_{name.upper()}": value for name, value in more.items()},
            }  # fmt: skip
            for command in self._preparing(scratch):
                subprocess.run(command, env=surroundings, check=True, stdout=subprocess.DEVNULL)
            start = [
                self.blender, "--enable-event-simulate", "--window-geometry", "0", "0",
                *map(str, size), "--python-exit-code", "1", "--python", str(scenario.resolve()),
            ]  # fmt: skip
            with (out / "blender.log").open("wb") as log:
                done = subprocess.run(
                    start, env=surroundings, stdout=log, stderr=subprocess.STDOUT, timeout=limit, check=False
                )
            return done.returncode

    def _preparing(self, scratch: Path) -> Iterator[list[str]]:
        """Return the commands that install the extension and leave the sample's parts, so nothing is downloaded."""
        command = [self.blender, "--command"]
        yield [*command, "extension", "install-file", "-r", "user_default", "-e", str(self.extension.resolve())]
        sample = ["magplus", "sample", "--save", str(scratch / "sample" / "sample.blend")]
        yield [*command, *sample, "--wheels", str(self.wheels.resolve()), "--python", str(self.worker)]


def main() -> int:
    """Play what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--blender", default="blender", help="a graphical Blender, 4.2 or newer")
    parser.add_argument("--extension", type=Path, required=True, help="the extension's zip")
    parser.add_argument("--worker-python", type=Path, required=True)
    parser.add_argument("--wheels", type=Path, required=True, help="folder with the sample's two wheels")
    parser.add_argument("--out", type=Path, required=True, help="where pictures and the log go")
    parser.add_argument("--size", default="1600x1000", metavar="WIDTHxHEIGHT")
    parser.add_argument("--limit", type=float, default=1800.0, metavar="SECONDS")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="for the scenario, see there")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    more = dict(each.split("=", 1) for each in options.set)
    theatre = Theatre(options.blender, options.extension, options.worker_python, options.wheels)
    try:
        return theatre.play(options.scenario, options.out, (width, height), more, options.limit)
    except NoScreenError as error:
        print(f"play: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
