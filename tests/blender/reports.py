# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports as the worker leaves them, with what a test is about; the rest says as little as it may."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from bl_ext.user_default.magplus.backend_bridge.job.artefacts import FRAMES
from bl_ext.user_default.magplus.backend_bridge.job.report import (
    AvatarReport,
    DrivingReport,
    FramesReport,
    Report,
    Timing,
    WindowReport,
)
from bl_ext.user_default.magplus.backend_bridge.job.spec import Anchor
from bl_ext.user_default.magplus.backend_bridge.rig.events import MotionEvent


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
