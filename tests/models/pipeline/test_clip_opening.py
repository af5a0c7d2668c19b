# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a driving clip when it is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from magplus.backend_bridge.job.spec import Driving
from magplus.models.backends import Framing
from magplus.models.face import FaceLandmarker, FaceLandmarks
from magplus.models.pipeline.clip_opening import open_clip
from magplus.models.pipeline.clip_request import ClipRequest
from magplus.models.pipeline.notes import Notes, Unheard
from tests.models.face.lids import with_lids


class Asleep:
    """Finds the faces that there are, with lids lowered by a share of the opening."""

    def __init__(self, landmarker: FaceLandmarker, lowered: float) -> None:
        self._landmarker, self._lowered = landmarker, lowered

    def detect(
        self, image: NDArray[np.float32], near: FaceLandmarks | None = None, thorough: bool = False
    ) -> list[FaceLandmarks]:
        found = self._landmarker.detect(image, near, thorough)
        return [FaceLandmarks(with_lids(each.points, *[self._lowered] * 2), each.blendshapes) for each in found]


@pytest.mark.parametrize(("lowered", "said"), [(1.0, True), (0.2, False)])
def test_a_reference_with_shut_eyes_is_told(real_clip: Path, tmp_path: Path, lowered: float, said: bool) -> None:
    notes = Notes(Unheard())
    with FaceLandmarker() as landmarker:
        request = ClipRequest.of(tmp_path, Driving(str(real_clip), trim=(8.6, 8.8)), None, Framing())
        clip = open_clip(request, Asleep(landmarker, lowered), notes)
    assert clip.eyes_shut == said
    assert any("The eyes are shut in the reference frame at 8.6" in each for each in notes.warnings) == said


def test_eyes_that_look_down_at_first_are_seen_to_shut(real_clip: Path, tmp_path: Path) -> None:
    with FaceLandmarker() as landmarker:
        request = ClipRequest.of(tmp_path, Driving(str(real_clip), trim=(0.5, 0.9)), None, Framing())
        clip = open_clip(request, landmarker, Notes(Unheard()))
    assert not clip.eyes_shut
    ((_, first),) = clip.batches(1, [2])
    ((_, last),) = clip.batches(1, [clip.count - 1])
    assert np.abs(first.closures).max() < 0.3
    assert last.closures.min() > 0.8
