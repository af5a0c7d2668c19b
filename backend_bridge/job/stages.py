# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a job, as the worker reports them and as a person reads them."""

from enum import StrEnum


class Stage(StrEnum):
    """What the worker is doing. The value travels in messages, `label` is for people."""

    START = "start"
    FACE = "face"
    STEADY = "steady"
    MEASURE = "measure"
    ANIMATE = "animate"
    SOLVE = "solve"

    @property
    def label(self) -> str:
        """The stage in words."""
        return _LABELS[self]


_LABELS = {
    Stage.START: "Loading the models",
    Stage.FACE: "Finding the face",
    Stage.STEADY: "Steadying the head",
    Stage.MEASURE: "Measuring the motion",
    Stage.ANIMATE: "Animating",
    Stage.SOLVE: "Solving the rig",
}
