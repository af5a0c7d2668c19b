# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig's controls over time, solved from what the frames say about the rig."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ....backend_bridge.job import artefacts
from ....backend_bridge.job.artefacts import EQUATIONS
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.report import Report, SmoothingReport, WeightsReport
from ....backend_bridge.job.spec import Rig
from ....backend_bridge.job.stages import Stage
from ....backend_bridge.rig.curves import ControlCurves
from ....backend_bridge.rig.live_link import speaks_for_shapes, to_live_link
from ...rig.expression import CERTAIN, action_units, excursions
from ...rig.smoothing import apex_kept, smoothed
from ..batch import Batch
from ..driving_clip import DrivingClip
from ..notes import Notes
from ..rig_reader import RigReader, Solved
from . import Made


@dataclass(frozen=True)
class Solution:
    """What was solved, the curves as they are handed over, and these as shares of the controls' ranges, [N, K]."""

    solved: Solved
    curves: ControlCurves
    shares: NDArray[np.float64]


class Curves:
    """Solved control curves: for Blender (.npz), for people (.csv) and for other tools (Live Link Face)."""

    kinds = (EQUATIONS,)

    def __init__(self, folder: JobFolder, clip: DrivingClip, reader: RigReader, rig: Rig, notes: Notes) -> None:
        self._folder = folder
        self._clip = clip
        self._reader = reader
        self._rig = rig
        self._notes = notes
        self.solution: Solution | None = None

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return what each frame says at the rig's sites, [S, 6] (`rig_reader.RigReader.read`)."""
        return [[_npy(each) for each in self._reader.read(batch)]]

    def finish(self, report: Report, made: Made) -> Report:
        """Solve the controls from the equations of all frames, and leave them in the folder."""
        self._notes.progress(Stage.SOLVE, 0, 1)
        files = (self._folder.file_of(EQUATIONS, index) for index in range(self._clip.count))
        equations = np.stack([np.load(file, allow_pickle=False) for file in files])
        solved = self._reader.solve(equations, [float(second) for second in self._clip.track.seconds])
        curves = smoothed(solved.curves, self._rig.smoothing)
        self.solution = found = Solution(solved, curves, excursions(curves, self._reader.basis.controls))
        exchanged = self._write(found)
        self._notes.progress(Stage.SOLVE, 1, 1)
        return replace(report, weights=self._report(found, exchanged, report.events is not None))

    def _write(self, found: Solution) -> list[str]:
        """Write the files; return the names of the controls that are in the Live Link Face CSV."""
        curves, shares, folder = found.curves, found.shares, self._folder
        folder.write(artefacts.WEIGHTS, curves.encode())
        folder.write(artefacts.WEIGHTS_CSV, curves.to_csv().encode())
        exchanged = [control.name for control in self._reader.basis.controls if speaks_for_shapes(control.name)]
        if exchanged:
            as_shares = replace(curves, values=np.clip(shares, 0, 1).astype(np.float32))
            folder.write(artefacts.LIVE_LINK, to_live_link(as_shares).encode())
        return exchanged

    def _report(self, found: Solution, exchanged: list[str], moves: bool) -> WeightsReport:
        controls, curves = self._reader.basis.controls, found.curves
        peaks = np.abs(curves.values - [control.rest for control in controls]).max(0)
        kept = apex_kept(excursions(found.solved.curves, controls), found.shares)
        return WeightsReport(
            controls=len(controls),
            read_from=self._reader.read_from,
            unseen=tuple(name for name, seen in zip(curves.names, curves.visibility, strict=True) if seen == 0),
            locked=self._rig.locked,
            peaks={name: float(peak) for name, peak in zip(curves.names, peaks, strict=True) if peak > 0},
            residual=found.solved.residual,
            residual_by_region=dict(found.solved.region_residual),
            smoothing=SmoothingReport(self._rig.smoothing, kept),
            action_units=tuple(action_units(curves, controls, 0.0 if moves else CERTAIN)),
            live_link_face=tuple(exchanged),
            at_limit=found.solved.at_limit,
        )


def _npy(array: NDArray[np.float32]) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    return data.getvalue()
