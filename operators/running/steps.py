# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that is a generator, so that Blender gets a turn between two steps, done in one go where nobody waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TypeVar

import bpy

from ...backend_bridge.files.errors import InputError

TURN = 0.05  # seconds that a step may hold Blender's main thread: three frames of a display at 60 Hz
LONGEST_TURN = 1.0  # seconds, the same where Blender needs that long itself between two steps, to draw a heavy scene
USUAL_PAUSE = 0.15  # seconds that Blender may take between two steps; longer, and it is drawing a heavy scene

Step = TypeVar("Step")
Result = TypeVar("Result")


def run_to_end(steps: Generator[Step, None, Result], on_step: Callable[[Step], object] | None = None) -> Result:
    """Run a generator to its end and return what it returns; `on_step` is called with what it yields."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        if on_step is not None:
            on_step(step)


def told_as(step: Step, steps: Generator[Step, None, Result]) -> Generator[Step, None, Result]:
    """Run a generator as a part of larger work: yield `step` in place of what it yields, return what it returns.

    What is thrown in, as a cancel is, reaches it.
    """
    return (yield from _wrapped(steps, told=lambda _: step))


def in_one_scene(context: bpy.types.Context, steps: Generator[Step, None, Result]) -> Generator[Step, None, Result]:
    """Run a generator that reads the context's scene at every step, and return what it returns.

    Raises `InputError`, which the generator is told of as of a cancel, when another scene or view layer was chosen
    between two steps: the rest would be of that one.
    """
    began = _scene_of(context)

    def check() -> None:
        if _scene_of(context) != began:
            raise InputError(
                "Another scene or view layer was chosen meanwhile; go back to the one with the avatar, and start again."
            )

    return (yield from _wrapped(steps, resumed=check))


def _scene_of(context: bpy.types.Context) -> tuple[int, str]:
    return context.scene.session_uid, context.view_layer.name


def _wrapped(
    steps: Generator[Step, None, Result],
    told: Callable[[Step], Step] = lambda step: step,
    resumed: Callable[[], None] = lambda: None,
) -> Generator[Step, None, Result]:
    """Run a generator; `told` makes what is yielded, `resumed` is called after each yield.

    What is thrown in, and what `resumed` raises, is raised in the generator.
    """
    try:
        step = next(steps)
        while True:
            try:
                yield told(step)
                resumed()
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = next(steps)
    except StopIteration as end:
        result: Result = end.value
        return result


class Turn:
    """A stretch of work that leaves Blender its turn in time, as far as the pieces that the work consists of allow.

    It lasts for `TURN`. Where Blender takes longer than `USUAL_PAUSE` for its own, so does the next one, up to
    `LONGEST_TURN`: else drawing the scene between all the pieces would take many times as long as the work.

    >>> Turn().is_over()
    False
    """

    length = TURN  # seconds

    def __init__(self) -> None:
        """Begin the first turn."""
        self._longest = 0.0
        self._piece_began = time.monotonic()
        self.begin()

    def begin(self) -> None:
        """Begin a turn: now, after Blender had its own."""
        now = time.monotonic()
        pause = now - self._piece_began
        self._limit = max(self.length, min(pause, LONGEST_TURN)) if pause > USUAL_PAUSE else self.length
        self._began = self._piece_began = now

    def is_over(self) -> bool:
        """Whether one more piece would make the turn too long; to be asked after each piece.

        The next piece is expected to take as long as the longest so far.
        """
        now = time.monotonic()
        self._longest = max(self._longest, now - self._piece_began)
        self._piece_began = now
        return now - self._began + self._longest > self._limit

    def pause(self, step: Step) -> Generator[Step, None, None]:
        """Yield `step` if the turn is over, and begin the next one."""
        if self.is_over():
            yield step
            self.begin()
