# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished jobs as the worker leaves them, with what a test is about; the rest says as little as it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from bl_ext.user_default.magplus.backend_bridge.job.artefacts import AVATAR_BASIS, AVATAR_IMAGE, FRAMES, WEIGHTS
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.backend_bridge.job.report import (
    AvatarReport,
    DrivingReport,
    FramesReport,
    Report,
    Timing,
    WindowReport,
)
from bl_ext.user_default.magplus.backend_bridge.job.spec import Anchor, Avatar, Driving, JobSpec, Outputs
from bl_ext.user_default.magplus.backend_bridge.rig.basis import Control, RigBasis
from bl_ext.user_default.magplus.backend_bridge.rig.curves import ControlCurves
from bl_ext.user_default.magplus.backend_bridge.rig.events import MotionEvent
from bl_ext.user_default.magplus.operators.rig.controls import RigControl


def finished_report(
    count: int,
    rate: Fraction = Fraction(24),
    *,
    onset: int | None = None,
    apex: int | None = None,
    offset: int | None = None,
    video_start: float = 0.0,
    frame_size: tuple[int, int] | None = None,
) -> Report:
    """The report of a finished run on `count` frames; events by their frames, from 0."""
    seconds = tuple(number / rate for number in range(count))
    onset_at, apex_at, offset_at = (None if each is None else float(seconds[each]) for each in (onset, apex, offset))
    return Report(
        "finished",
        driving=DrivingReport("clip.mp4", "", 64, 64, 8, 0, count, video_start),
        timing=Timing(seconds, rate),
        events=None if apex_at is None else MotionEvent(onset_at, apex_at, offset_at),
        frames=None if frame_size is None else FramesReport(FRAMES.pattern, 1, count, frame_size),
    )


def avatar_report(size: tuple[int, int], anchors: Sequence[Anchor]) -> AvatarReport:
    """Where a job laid the anchors in an avatar's picture of (width, height) px."""
    return AvatarReport(size, True, tuple(anchors), WindowReport((0.0, 0.0), 1.0, size[1]))


def pulse(count: int, apex: int, height: float) -> np.ndarray:
    """Return [count] values that rise to `height` at the apex and are at rest 4 frames beside it."""
    return np.maximum(0, height * (1 - np.abs(np.arange(count) - apex) / 4))


def solved(
    tmp_path: Path,
    controls: Sequence[RigControl],
    values: Mapping[str, np.ndarray],
    rate: Fraction = Fraction(25),
    apex: int | None = None,
    video_start: float = 0.0,
) -> JobFolder:
    """A finished job as the worker leaves it; controls without values stay at rest."""
    folder = JobFolder.create(tmp_path / "プロジェクト é.magplus")
    described = tuple(control.control for control in controls)
    still = np.zeros((0, 2), np.float32)
    empty = np.zeros((len(described), 0, 2), np.float32)
    no_triangles = np.zeros((0, 3), np.int32)
    basis = RigBasis((64, 64), described, still, still[:, 0], still[:, 0] > 0, empty, no_triangles)
    folder.write(AVATAR_BASIS, basis.encode())
    avatar = Avatar(image=AVATAR_IMAGE, rig_basis=AVATAR_BASIS)
    folder.write_spec(JobSpec(Driving("clip.mp4"), avatar, outputs=Outputs(frames=False, weights=True)))
    _solve(folder, described, values, rate, apex, video_start)
    return folder


def finish(path: Path, values: Mapping[str, np.ndarray], rate: Fraction, apex: int | None) -> None:
    """Leave in a captured job folder what the worker would have left; controls without values stay at rest."""
    folder = JobFolder.open(path)
    _solve(folder, RigBasis.load(folder.path / AVATAR_BASIS).controls, values, rate, apex)


def _solve(
    folder: JobFolder,
    described: Sequence[Control],
    values: Mapping[str, np.ndarray],
    rate: Fraction,
    apex: int | None,
    video_start: float = 0.0,
) -> None:
    """Write the solved curves and the report."""
    count = len(next(iter(values.values())))
    columns = [values.get(control.name, np.full(count, control.rest)) for control in described]
    seconds = [i / rate for i in range(count)]
    curves = ControlCurves(
        names=tuple(control.name for control in described),
        seconds=np.array([float(t) for t in seconds]),
        values=np.stack(columns, axis=1).astype(np.float32),
        residual=np.zeros(count, np.float32),
        visibility=np.ones(len(described), np.float32),
    )
    folder.commit(WEIGHTS, curves.encode())
    around = {} if apex is None else {"onset": apex - 3, "apex": apex, "offset": apex + 3}
    folder.write_report(finished_report(count, rate, video_start=video_start, **around))
