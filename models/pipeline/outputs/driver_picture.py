# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver's face at its apex, small: to see at a glance what a result comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

from ....backend_bridge.job import artefacts
from ....backend_bridge.job.artefacts import FrameKind
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.report import Report
from ...video import encode_png
from ...video.marks import SourceType
from ..batch import Batch
from ..driver import Driver
from ..provenance import Provenance
from . import Made

SIDE = 256  # px at most


class DriverPicture:
    """A picture of the driver's face in the frame of the apex, or in the reference frame where there is no event."""

    kinds: tuple[FrameKind, ...] = ()

    def __init__(self, folder: JobFolder, driver: Driver, provenance: Provenance) -> None:
        self._folder = folder
        self._clip = driver.clip
        self._provenance = provenance

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return nothing: which frame it will be is only known when all are there."""
        return ()

    def finish(self, report: Report, made: Made) -> Report:
        """Write the picture."""
        index = apex_frame([float(at) for at in self._clip.track.seconds], report)
        _, seen = next(self._clip.batches(1, [self._clip.chosen.index if index is None else index]))
        picture = small_png(seen.frames)
        self._folder.commit(artefacts.DRIVER_APEX, self._provenance.stamped(picture, SourceType.ENHANCED))
        return report


def apex_frame(seconds: Sequence[float], report: Report) -> int | None:
    """Return which of the frames at `seconds` is nearest to the expression's apex, None where there is no event."""
    if report.events is None:
        return None
    return int(np.argmin(np.abs(np.asarray(seconds) - report.events.apex)))


def small_png(face: Tensor) -> bytes:
    """Return a square picture [1, 3, S, S], in [0, 1], as a PNG of at most `SIDE` px."""
    side = min(SIDE, face.shape[-1])
    small = interpolate(face, size=(side, side), mode="area")
    return encode_png(small[0].permute(1, 2, 0).cpu().numpy())
