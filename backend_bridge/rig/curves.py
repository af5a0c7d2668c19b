# SPDX-License-Identifier: GPL-3.0-or-later
"""Solved control values over time: `weights.npz` for Blender, `weights.csv` for people."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files.arrays import checked, read_arrays
from ..files.errors import InputError

_LONGEST = 1e6  # seconds of a clip


@dataclass(frozen=True)
class ControlCurves:
    """What the solver found.

    names: K control names in the order of the rig basis.
    seconds: [N] float64, time of each frame from the first frame of the trimmed clip.
    values: [N, K] float32, absolute control values (the rest value included).
    residual: [N] float32, share of the face's motion that no control explains, in [0, 1].
    visibility: [K] float32, how much of each control this camera can see, relative to the most visible one; 0 means
        that the control can't be solved from this view, or that nothing changes there, and was left at rest.
    regions: R face regions (`backend_bridge.job.spec.REGIONS`), or none.
    region_residual: [N, R] float32, the residual of each region; NaN where the picture shows nothing of it.
    """

    names: tuple[str, ...]
    seconds: NDArray[np.float64]
    values: NDArray[np.float32]
    residual: NDArray[np.float32]
    visibility: NDArray[np.float32]
    regions: tuple[str, ...] = ()
    region_residual: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def encode(self) -> bytes:
        """Return the curves as a compressed .npz (no pickles)."""
        data = io.BytesIO()
        np.savez_compressed(
            data,
            names=np.asarray(self.names, np.str_),
            seconds=self.seconds.astype(np.float64),
            values=self.values.astype(np.float32),
            residual=self.residual.astype(np.float32),
            visibility=self.visibility.astype(np.float32),
            regions=np.asarray(self.regions, np.str_),
            region_residual=self.region_residual.astype(np.float32),
        )
        return data.getvalue()

    def save(self, path: Path) -> None:
        """Write what `encode` returns."""
        path.write_bytes(self.encode())

    def to_csv(self) -> str:
        """Return one line a frame: seconds, the residuals, then a column a control; empty where nothing was seen."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["seconds", "residual", *(f"residual {name}" for name in self.regions), *self.names])
        residuals = np.column_stack([self.residual, self.region_residual.reshape(len(self.seconds), -1)])
        for second, residual, row in zip(self.seconds, residuals, self.values, strict=True):
            shares = ("" if np.isnan(share) else f"{share:.4f}" for share in residual)
            writer.writerow([f"{second:.6f}", *shares, *(f"{value:.5f}" for value in row)])
        return text.getvalue()

    @classmethod
    def load(cls, path: Path) -> ControlCurves:
        """Read what `save` wrote. Raises `InputError` when the file is missing or damaged."""
        try:
            arrays = read_arrays(path)
            names, regions = (tuple(map(str, checked(arrays, name, "U", (None,)))) for name in ("names", "regions"))
            seconds = checked(arrays, "seconds", "f", (None,), _LONGEST)
            frames, controls = len(seconds), len(names)
            if (np.diff(seconds) <= 0).any() or len(set(names)) < controls:
                raise ValueError("its times or its names repeat themselves")
            shares = arrays.get("region_residual", np.zeros((0, 0), np.float32))
            unseen = np.isnan(shares) if shares.dtype.kind == "f" else np.zeros(shares.shape, bool)
            checked({"region_residual": np.where(unseen, 0, shares)}, "region_residual", "f", (None, len(regions)))
            return cls(
                names=names,
                seconds=seconds,
                values=checked(arrays, "values", "f", (frames, controls)),
                residual=checked(arrays, "residual", "f", (frames,)),
                visibility=checked(arrays, "visibility", "f", (controls,)),
                regions=regions,
                region_residual=shares,
            )
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{path.name} can't be read ({error}); run the job again.") from error
