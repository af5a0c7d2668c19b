# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of driving videos: each is looked at once, beside Blender, when somebody wants to show it.

A cache and no state: what it has forgotten is looked at again. A video is known by its path, size and time, so that an
undo, another file or a changed video needs no care of its own.
"""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..backend_bridge.files.errors import InputError, MagPlusError
from ..backend_bridge.files.frame_rates import NTSC, STANDARD
from ..backend_bridge.job.spec import Driving
from ..backend_bridge.worker_client.look import Footage, look_at
from .animation.scene_time import exact
from .environment import environment_problem, worker_python
from .running.job_manager import redraw

RETRY = 30.0  # seconds after which a look that the machine made fail is tried again
POLL = 0.2  # seconds between two questions whether a look is over
EDGE = 0.001  # seconds; times are typed with three decimals
ROUNDED = 0.005  # frames a second by which a rate may differ from the one that is meant: people write 23.98
LONG = 2.0  # seconds; a micro-expression lasts half a second at most, and more needs a part to be chosen


@dataclass(frozen=True)
class Look:
    """What is known of a video: `footage`, or `error`, a sentence; neither while it is being looked at.

    until: on `time.monotonic`'s clock, when to look again, as it was not the video's fault; None: it is known for good.
    """

    footage: Footage | None = None
    error: str = ""
    until: float | None = None


class Looks:
    """The looks at videos of this session."""

    def __init__(self) -> None:
        self._looks: dict[tuple[object, ...], Look] = {}
        self._threads: list[threading.Thread] = []

    def known(self, settings: Any) -> Look | None:
        """Return what is known of the scene's driving video; None where nobody has looked."""
        return self._looks.get(_key(settings))

    def remember(self, settings: Any, look: Look) -> None:
        """Take this as what is known of the scene's driving video, for scripts that have looked themselves."""
        self._looks[_key(settings)] = look

    def ask(self, context: bpy.types.Context) -> Look | None:
        """Return what is known of the scene's driving video, and have it looked at where nothing is.

        None where there is no such video, and no Python to look with.
        """
        settings = context.scene.magplus
        key = _key(settings)
        if not key:
            return None
        known = self._looks.get(key)
        if known is None or (known.until is not None and known.until < time.monotonic()):
            if environment_problem(context):
                return None
            self._looks[key] = Look()
            arguments = (key, worker_python(context), driving_of(settings))
            thread = threading.Thread(target=self._look, args=arguments, name="magplus-look", daemon=True)
            self._threads.append(thread)
            thread.start()
            if not bpy.app.timers.is_registered(self._poll):
                bpy.app.timers.register(self._poll, first_interval=POLL, persistent=True)
        return self._looks[key]

    def wait(self) -> None:
        """Wait until all looks are over, for scripts."""
        while self._threads:
            self._threads.pop().join()

    def forget(self) -> None:
        """Forget everything."""
        self._looks.clear()
        if bpy.app.timers.is_registered(self._poll):
            bpy.app.timers.unregister(self._poll)

    def _look(self, key: tuple[object, ...], python: Path, driving: Driving) -> None:
        try:
            folder = Path(tempfile.mkdtemp(prefix="magplus-look-", dir=bpy.app.tempdir or None))
            self._looks[key] = Look(look_at(python, driving, folder))
        except InputError as error:
            self._looks[key] = Look(error=str(error))
        except (MagPlusError, OSError) as error:
            self._looks[key] = Look(error=str(error), until=time.monotonic() + RETRY)

    def _poll(self) -> float | None:
        if any(thread.is_alive() for thread in self._threads):
            return POLL
        self._threads.clear()
        redraw()
        return None


looks = Looks()


def driving_of(settings: Any) -> Driving:
    """Return the scene's driving video, all of it; with a number where its faces are to be counted."""
    rate = frame_rate(settings.sequence_rate) if settings.sequence_rate else None
    path = str(Path(bpy.path.abspath(settings.driving)).absolute())
    return Driving(path=path, sequence_rate=rate, face_index=0 if settings.face_mode == "INDEX" else None)


def frame_rate(value: float) -> str:
    """Return a typed frame rate as an exact fraction: 23.976, 29.97 and their like stand for n * 1000 / 1001."""
    meant = next((rate for rate in NTSC if abs(value - rate) < ROUNDED), exact(value))
    return str(meant)


def part_of(footage: Footage, settings: Any) -> tuple[float, float]:
    """Return the start and the end, in seconds, of the part of a video that a run would use."""
    whole = float(footage.seconds or 0)
    if not settings.use_trim:
        return 0.0, whole
    return settings.trim_start, min(settings.trim_end, whole) if whole else settings.trim_end


def frames_of(footage: Footage, settings: Any) -> int:
    """Return how many frames a run would use, 0 where nobody can tell."""
    start, end = part_of(footage, settings)
    return max(round((end - start) * float(footage.rate or 0)), 0)


def footage_problem(settings: Any) -> str:
    """Return why a run on this video can't start, as far as the look at it tells; an empty string where it doesn't."""
    look = looks.known(settings)
    if look is None or look.footage is None:
        return look.error if look is not None and look.until is None else ""
    seconds = look.footage.seconds
    if seconds is None:
        return ""
    if settings.use_trim and settings.trim_start >= float(seconds):
        return f"The trim starts at {settings.trim_start:.3f} s, but the video lasts {float(seconds):.3f} s."
    if settings.reference_mode == "GIVEN" and settings.reference >= float(seconds) + EDGE:
        return f"The reference is at {settings.reference:.3f} s, but the video lasts {float(seconds):.3f} s."
    return ""


def face_warning(settings: Any) -> str:
    """Return that no picture of the video shows a face with the chosen number; an empty string where one does.

    Not all frames were looked at, so it is no reason not to run.
    """
    look = looks.known(settings)
    if settings.face_mode != "INDEX" or look is None or look.footage is None:
        return ""
    most = max((each.faces or 0 for each in look.footage.thumbnails), default=0)
    if not most or settings.face_index < most:
        return ""
    if most == 1:
        return "The video shows a single face, which has the number 0."
    return f"The video shows {most} faces at most; they are counted from 0 to {most - 1}."


def asks_for_part(settings: Any) -> bool:
    """Whether the driving video is long and untrimmed, so that a person had better choose a part."""
    look = looks.known(settings)
    footage = look.footage if look is not None else None
    return footage is not None and not settings.use_trim and float(footage.seconds or 0) > LONG


def rate_text(rate: Fraction) -> str:
    """Return a frame rate as people write it: "25", "29.97"."""
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")


def with_blender(path: Path) -> Footage:
    """Return what Blender's own reader makes of a video, without thumbnails. Raises `InputError`."""
    try:
        clip = bpy.data.movieclips.load(str(path))
    except RuntimeError as error:
        raise InputError(f"Blender can't read {path.name}; choose another video.") from error
    try:
        meant = next((each for each in STANDARD if abs(clip.fps - each) < ROUNDED), exact(clip.fps))
        rate = meant if clip.fps > 0 else None
        width, height = clip.size
        frames = clip.frame_duration
        return Footage(width, height, rate, False, frames, frames / rate if rate else None)
    finally:
        bpy.data.movieclips.remove(clip)


def _key(settings: Any) -> tuple[object, ...]:
    """Return what a video is known by, nothing where there is none."""
    if not settings.driving:
        return ()
    path = Path(bpy.path.abspath(settings.driving))
    try:
        there = path.stat()
    except OSError:
        return ()
    return str(path), there.st_mtime_ns, there.st_size, settings.sequence_rate, settings.face_mode == "INDEX"


def unregister() -> None:
    """Forget what was looked at."""
    looks.forget()
