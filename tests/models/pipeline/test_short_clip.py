# SPDX-License-Identifier: GPL-3.0-or-later
"""Which end of a short clip is its reference, and which frame of a longer one: never one in a blink."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from magplus.models.face import FaceTrack
from magplus.models.pipeline import neutral_reference, short_clip
from magplus.models.pipeline.neutral_reference import frame_at_rest
from magplus.models.pipeline.probes import Probes
from magplus.models.pipeline.short_clip import end_nearer_to_rest
from tests.models.face.lids import with_lids

APEX = 5
AMOUNT = 4e-3 * np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.9, 0.8, 0.7, 0.6])  # of the face's width
RATE = 24


class Looked:
    """Frames of an expression of this course, measured against its apex; some of them are in a blink."""

    def __init__(self, blinks: list[int], jaw: tuple[float, ...] = (0.0,) * len(AMOUNT)) -> None:
        mesh = np.random.default_rng(0).normal(0, 50, (478, 3)).astype(np.float32)
        points = np.stack([with_lids(mesh, *[float(index in blinks)] * 2) for index in range(len(AMOUNT))])
        seconds = tuple(Fraction(index, RATE) for index in range(len(AMOUNT)))
        present = np.ones(len(AMOUNT), bool)
        scores = np.array(jaw, np.float32)[:, None] * np.eye(52, dtype=np.float32)[0]
        track = FaceTrack(seconds, points, scores, ("jawOpen", *("",) * 51), present)
        clip = SimpleNamespace(track=track, chosen=SimpleNamespace(index=APEX), present=[*range(len(AMOUNT))])
        self.driver = SimpleNamespace(clip=clip, face_width=1.0)
        self.avatar = SimpleNamespace(device=torch.device("cpu"))
        self.indices = [index for index in range(len(AMOUNT)) if index != APEX]

    def __iter__(self) -> Iterator[Any]:
        away = torch.from_numpy(AMOUNT[self.indices] - AMOUNT[APEX]).float()
        local = SimpleNamespace(flow=away[:, None, None, None].expand(-1, 2, 8, 8))
        observed = SimpleNamespace(local=local, from_mesh=torch.zeros(1, 1, 1, 1))
        yield SimpleNamespace(indices=self.indices, seen=None, observed=observed)

    def keep_equations(self, equations: list[Any]) -> None:
        """Nobody asks for them again."""


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (short_clip, neutral_reference):
        monkeypatch.setattr(module, "skin_motion", lambda _, observed: observed.local.flow[:, 0].abs().amax((1, 2)))


@pytest.mark.parametrize(("blinks", "end"), [([], 0), ([0, 1], 2), ([9], 0)])
def test_the_end_of_a_short_clip_that_is_farther_from_the_apex_is_its_reference(blinks: list[int], end: int) -> None:
    assert end_nearer_to_rest(cast(Probes, Looked(blinks))) == end


def test_an_end_whose_mouth_is_open_is_no_rest() -> None:
    """The clip begins with a mouth that opens: it goes back from there until its apex, and a little beyond."""
    assert end_nearer_to_rest(cast(Probes, Looked([], (0.4, 0.3, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)))) is None


def test_a_frame_in_a_blink_is_not_looked_at_for_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    monkeypatch.setattr(neutral_reference, "opposed", lambda *arguments: asked.append(arguments[3]))
    reader = SimpleNamespace(read=lambda batch: np.zeros((9, 4, 10)))
    frame_at_rest(cast(Any, lambda: reader), cast(Probes, Looked([1, 7])))
    assert asked == [[0, 2, 3, 4, 6, 8, 9]]
