# SPDX-License-Identifier: GPL-3.0-or-later
"""What jobs of one worker share: measured once for the same content, within bounds."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from magplus.backend_bridge.job.spec import Driving
from magplus.models.backends import Framing
from magplus.models.pipeline import clip_cache
from magplus.models.pipeline.clip_cache import ClipCache
from magplus.models.pipeline.motion_store import MotionStore
from tests.models.clips import numbered_frames, write_clip


@dataclass
class Found:
    number: int
    nbytes: int = 40


def test_the_same_content_is_measured_once_and_the_oldest_goes_first():
    store, asked = MotionStore(100), []

    def get(value, label="a"):
        def measure():
            asked.append(value)
            return Found(value)

        return store.get((torch.full((2, 2), float(value)), np.float32([value]), label), measure).number

    assert [get(1), get(1), get(2), get(1), get(3), get(1), get(2)] == [1, 1, 2, 1, 3, 1, 2]
    assert asked == [1, 2, 3, 2], "two fit; the one that was used longest ago had gone"
    get(2, "other weights")
    assert asked[-1] == 2 and len(asked) == 5
    assert store.get((torch.zeros(1),), lambda: Found(9, 1000)).number == 9, "what never fits is not kept"


class Silent:
    def __init__(self):
        self.warnings = []

    def warning(self, text):
        if text not in self.warnings:  # as a run's notes do
            self.warnings.append(text)


@pytest.fixture
def opened(monkeypatch):
    """How often a clip was really opened; each time it warns."""
    times = []

    def open_clip(folder, driving, landmarker, notes, *_):
        times.append(driving)
        notes.warning("Something to know.")
        return object()

    monkeypatch.setattr(clip_cache.DrivingClip, "open", open_clip)
    return times


def test_a_clip_is_known_by_its_content_and_what_was_asked_of_it(tmp_path, opened):
    path, cache = write_clip(tmp_path / "a.mp4", numbered_frames(4)), ClipCache()

    def ask(**changes):
        notes = Silent()
        driving = Driving(**({"path": str(path)} | changes))
        return cache.open(tmp_path, driving, None, notes, None, Framing()), notes.warnings

    first, told = ask()
    again, told_again = ask()
    assert first is again and told == told_again == ["Something to know."] and len(opened) == 1
    assert ask(trim=(0.0, 0.1))[0] is not first and ask(reference=0.04)[0] is not first
    write_clip(path, numbered_frames(5))
    assert ask()[0] is not first, "another clip under the same name"


def test_only_the_last_few_clips_are_kept(tmp_path, opened):
    path, cache = write_clip(tmp_path / "a.mp4", numbered_frames(4)), ClipCache()
    for index in [*range(clip_cache.MOST_CLIPS + 1), 0]:
        cache.open(tmp_path, Driving(str(path), face_index=index), None, Silent(), None, Framing())
    assert len(opened) == clip_cache.MOST_CLIPS + 2
