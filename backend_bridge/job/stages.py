# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a job, as the worker reports them and as a person reads them."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """What the worker is doing; the value travels in messages."""

    START = "start"
    FACE = "face"
    STEADY = "steady"
    MEASURE = "measure"
    ANIMATE = "animate"
    SOLVE = "solve"
    SHOT = "shot"


_IN_WORDS: dict[str, str] = {
    Stage.START: "Loading the models",
    Stage.FACE: "Finding the face",
    Stage.STEADY: "Steadying the head",
    Stage.MEASURE: "Measuring the motion",
    Stage.ANIMATE: "Animating",
    Stage.SOLVE: "Solving the rig",
    Stage.SHOT: "Moving the shot",
}


def in_words(stage: str) -> str:
    """Return a stage that was reported in words; one that is not known is shown as it came.

    >>> in_words("solve"), in_words("polish")
    ('Solving the rig', 'polish')
    """
    return _IN_WORDS.get(stage, stage)
