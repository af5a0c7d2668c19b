# SPDX-License-Identifier: GPL-3.0-or-later
"""How much the driver's face moves in each frame: what tells the apex, and what every run leaves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ....backend_bridge.job.artefacts import OBSERVED
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.report import Report
from ....backend_bridge.rig.events import MotionEvent
from ...face import find_event
from ..batch import Batch
from ..driver import Driver
from ..factors import peak_motion
from . import Made


class Observed:
    """The local motion of the driver's face, as a share of its width."""

    kinds = (OBSERVED,)

    def __init__(self, folder: JobFolder, driver: Driver) -> None:
        self._folder = folder
        self._clip = driver.clip

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return each frame's motion as JSON."""
        peaks = peak_motion(batch.local.flow, batch.driver.mask) / batch.driver.face_width
        return [[json.dumps(float(peak)).encode() for peak in peaks]]

    def finish(self, report: Report, made: Made) -> Report:
        """Tell the clip's onset, apex and offset."""
        return replace(report, events=self.event)

    @cached_property
    def peaks(self) -> NDArray[np.float64]:
        """The motion of every frame, [T]; to be asked for when all frames are there."""
        files = (self._folder.file_of(OBSERVED, index) for index in range(self._clip.count))
        return np.array([float(json.loads(file.read_bytes())) for file in files])

    @cached_property
    def event(self) -> MotionEvent | None:
        """Onset, apex and offset, or None when nothing stands out from the noise."""
        return find_event(self._clip.track.seconds, self.peaks)
