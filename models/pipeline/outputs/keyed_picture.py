# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatar's face as its keys show it at the apex, small: to see at a glance what was solved, without a render."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ....backend_bridge.job import artefacts
from ....backend_bridge.job.artefacts import FrameKind
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.report import Report
from ....backend_bridge.rig.basis import RigBasis
from ...face import Window
from ...video.marks import SourceType
from ...warp import pixel_grid, sample_spline
from ..animated_avatar import AnimatedAvatar
from ..batch import Batch
from ..provenance import Provenance
from ..triangles import Grid, rasterise
from . import Made
from .curves import Curves
from .driver_picture import SIDE, apex_frame, small_png


class KeyedPicture:
    """The avatar's picture, moved as the solved controls move it at the apex; at rest where there is no event."""

    kinds: tuple[FrameKind, ...] = ()

    def __init__(
        self, folder: JobFolder, avatar: AnimatedAvatar, basis: RigBasis, curves: Curves, provenance: Provenance
    ) -> None:
        self._folder = folder
        self._avatar = avatar
        self._basis = basis
        self._curves = curves
        self._provenance = provenance

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return nothing: which frame it will be is only known when all are solved."""
        return ()

    def finish(self, report: Report, made: Made) -> Report:
        """Write the picture."""
        found = self._curves.solution
        assert found is not None, "the curves come before their picture"
        window = replace(self._avatar.window, crop_size=min(SIDE, self._avatar.window.crop_size))
        crop = window.cut(self._avatar.picture.over())
        index = apex_frame(found.curves.seconds.tolist(), report)
        if index is not None:
            source = sources(self._basis, found.curves.values[index], window)
            crop = sample_spline(crop, torch.from_numpy(source)[None]).clamp(0, 1)
        self._folder.commit(artefacts.KEYED_APEX, self._provenance.stamped(small_png(crop), SourceType.COMPOSITE))
        return report


def sources(basis: RigBasis, values: NDArray[np.floating], window: Window) -> NDArray[np.float32]:
    """Return [2, S, S], where in the window's crop each of its px shows the face from at these control values [K].

    The mesh is drawn where the controls take it, the nearest in front; what it doesn't cover stays in its place.
    """
    amounts = [
        control.amount_of(float(value) - control.rest) for control, value in zip(basis.controls, values, strict=True)
    ]
    moved = np.tensordot(np.array(amounts, np.float32), basis.displacement, 1)
    affine = window.to_crop_affine()
    neutral, posed = (
        positions @ affine[:, :2].T + affine[:, 2] for positions in (basis.positions, basis.positions + moved)
    )
    side = window.crop_size
    seen = basis.triangles[basis.visible[basis.triangles].any(1)]
    shift, _ = rasterise(posed, basis.depth, seen, neutral - posed, Grid(0, 0, side, side, 1))
    return np.asarray(pixel_grid(side, side)[0].numpy() + shift, np.float32)
