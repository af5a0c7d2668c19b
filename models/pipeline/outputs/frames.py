# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures: the image sequence, and the driver as the backend was shown it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
from torch import Tensor

from ....backend_bridge.job.artefacts import DRIVER, FRAMES, MAGNIFIED
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.report import FramesReport, Report
from ...ahead import Ahead
from ...video import encode_png
from ...video.marks import SourceType
from ..animated_avatar import AnimatedAvatar
from ..avatar import AvatarPicture
from ..batch import Batch
from ..factors import LEAST_MOTION, Factors, peak_motion
from ..notes import Notes
from ..provenance import Provenance
from . import Made
from .observed import Observed


class Frames:
    """The avatar moved by the driver's motion at the driver's intensity, in its own resolution."""

    kinds = (FRAMES,)

    def __init__(
        self,
        folder: JobFolder,
        avatar: AnimatedAvatar,
        factors: Factors,
        observed: Observed,
        notes: Notes,
        provenance: Provenance,
    ) -> None:
        self._folder = folder
        self._avatar = avatar
        self._factors = factors
        self._observed = observed
        self._notes = notes
        self._provenance = provenance
        self._intensity: Ahead[float | None] | None = None

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return the pictures as PNG."""
        pictures = self._avatar.restore(batch.generated, self._factors.restoring)

        def encode(picture: Tensor) -> bytes:
            return self._provenance.stamped(self._png(picture), SourceType.COMPOSITE)

        return [_encoded(pictures, encode, self._notes)]

    def begin_to_finish(self) -> Ahead[float | None]:
        """Begin to measure what the finished apex shows."""
        self._intensity = Ahead(measure() for measure in (self._measured_intensity,))
        return self._intensity

    @cached_property
    def _png(self) -> Callable[[Tensor], bytes]:
        """What makes a PNG of the face's part of a picture."""
        return self._avatar.picture.encoder(self._avatar.restored_region)

    def finish(self, report: Report, made: Made) -> Report:
        """Return the report with what the finished apex shows."""
        assert report.restoration is not None and self._intensity is not None
        size = self._avatar.picture.size
        return replace(
            report,
            frames=FramesReport(FRAMES.pattern, 1, made.count, size, made.resumed),
            restoration=replace(report.restoration, intensity_measured=next(self._intensity)),
        )

    def _measured_intensity(self) -> float | None:
        """Return the face-relative motion that the apex frame shows, per driver motion: the loop closed.

        None where the driver's motion is too small for the ratio to mean anything.
        """
        peaks = self._observed.peaks
        apex = int(np.argmax(peaks))
        if peaks[apex] < LEAST_MOTION:
            return None
        picture = AvatarPicture.read(self._folder.file_of(FRAMES, apex))
        motion = self._avatar.motion_of(picture)
        shown = float(peak_motion(motion.flow, self._avatar.mask)[0]) / self._avatar.face_width
        return shown / float(peaks[apex])


class Magnified:
    """The driver's crops, as filmed and magnified, to look at."""

    kinds = (DRIVER, MAGNIFIED)

    def __init__(self, notes: Notes, provenance: Provenance) -> None:
        self._notes = notes
        self._provenance = provenance

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return both as PNG: the driver was only held still, its magnified motion is a network's work."""
        return [
            _encoded(images, partial(self._stamped, source), self._notes)
            for images, source in (
                (batch.frames, SourceType.ENHANCED),
                (batch.driving.frames, SourceType.COMPOSITE),
            )
        ]

    def _stamped(self, source: SourceType, image: Tensor) -> bytes:
        return self._provenance.stamped(_png(image), source)

    def finish(self, report: Report, made: Made) -> Report:
        """Return the report as it is."""
        return report


def _encoded(images: Iterable[Tensor], encode: Callable[[Tensor], bytes], notes: Notes) -> list[bytes]:
    """Return the pictures' files; large ones take a while, so each is a chance to cancel."""
    files = []
    for image in images:
        notes.check_cancelled()
        files.append(encode(image))
    return files


def _png(image: Tensor) -> bytes:
    """Return an RGB picture [3, H, W] in [0, 1] as a PNG of 8 bits."""
    return encode_png(image.permute(1, 2, 0).cpu().numpy())
