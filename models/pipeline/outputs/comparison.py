# SPDX-License-Identifier: GPL-3.0-or-later
"""Driver, magnified driver, result and a stronger result side by side, small: to see what became of the expression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from ....backend_bridge.job.artefacts import COMPARE
from ....backend_bridge.job.report import Report
from ...video import encode_png
from ...video.marks import SourceType
from ..animated_avatar import AnimatedAvatar
from ..batch import Batch
from ..factors import Factors
from ..notes import Notes
from ..provenance import Provenance
from . import Made

SIDE = 320  # px of each square
CAPTION = 28  # px below each
STRONGER = 4.0  # times the asked intensity: micro-expressions are hard to see at their own


class Comparison:
    """A strip of four squares a frame, with captions."""

    kinds = (COMPARE,)

    def __init__(self, avatar: AnimatedAvatar, factors: Factors, notes: Notes, provenance: Provenance) -> None:
        self._avatar = avatar
        self._factors = factors
        self._notes = notes
        self._provenance = provenance
        self._captions = ("driver", f"magnified x{factors.alpha:.3g}", "result", f"result x{STRONGER:g}")

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return the strips as PNG."""
        avatar, factor = self._avatar, self._factors.restoring
        columns: list[Iterable[Tensor]] = [batch.frames, batch.driving.frames]
        columns += [self._faces(avatar.restore(batch.generated, times * factor)) for times in (1.0, STRONGER)]
        small = [_small(column) for column in columns]
        files = []
        for squares in zip(*small, strict=True):
            self._notes.check_cancelled()
            strip = np.concatenate(
                [_captioned(each, text) for each, text in zip(squares, self._captions, strict=True)], 1
            )
            files.append(self._provenance.stamped(encode_png(strip), SourceType.COMPOSITE))
        return [files]

    def finish(self, report: Report, made: Made) -> Report:
        """Return the report as it is."""
        return report

    def _faces(self, regions: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the avatar's face in finished pictures, given as their `restored_region`, as [1, 3, S, S] on grey."""
        left, top, right, bottom = self._avatar.restored_region
        whole = self._avatar.picture.premultiplied.to(self._avatar.device, copy=True)
        for region in regions:
            whole[0, :, top:bottom, left:right] = region
            yield self._avatar.window.cut(whole[:, :3] + 0.5 * (1 - whole[:, 3:]))


def _small(images: Iterable[Tensor]) -> list[NDArray[np.float32]]:
    """Return RGB pictures [3, S, S] or [1, 3, S, S] as [SIDE, SIDE, 3]."""
    found = []
    for image in images:
        whole = image if image.ndim == 4 else image[None]
        small = interpolate(whole.float(), size=(SIDE, SIDE), mode="area" if whole.shape[-1] >= SIDE else "bilinear")
        found.append(np.ascontiguousarray(small[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy(), np.float32))
    return found


def _captioned(square: NDArray[np.float32], text: str) -> NDArray[np.float32]:
    """Return a square with a line of text below."""
    canvas = np.full((SIDE + CAPTION, SIDE, 3), 0.12, np.float32)
    canvas[:SIDE] = square
    cv2.putText(canvas, text, (8, SIDE + 19), cv2.FONT_HERSHEY_DUPLEX, 0.5, (0.9, 0.9, 0.9), 1, cv2.LINE_AA)
    return canvas
