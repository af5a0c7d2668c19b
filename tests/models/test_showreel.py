# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's side-by-side video and contact sheet, from a small job folder made by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import (
    AvatarReport,
    MagnificationReport,
    ReferenceReport,
    Report,
    Timing,
    WindowReport,
)
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec
from magplus.backend_bridge.rig.events import MotionEvent
from magplus.demo import showreel

COUNT = 7


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A finished job of 7 frames whose avatar brightens towards frame 5, the apex."""
    folder = JobFolder.create(tmp_path / "job.magplus")
    job = folder.path
    folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar/avatar.png")))
    folder.write_report(
        Report(
            "finished",
            timing=Timing(tuple(Fraction(1001 * k, 24000) for k in range(COUNT)), Fraction(24000, 1001)),
            reference=ReferenceReport(1, 1001 / 24000, "given"),
            magnification=MagnificationReport(4.0, "given", {}, 0.01, trained=False),
            events=MotionEvent(0.08, 4 * 1001 / 24000, None),
            avatar=AvatarReport((64, 64), True, (), WindowReport((8.0, 8.0), 1.0, 48)),
        )
    )
    for kind in ("driver", "magnified", "frames", "keys"):
        (job / kind).mkdir(parents=True)
        for number in range(1, COUNT + 1):
            picture = np.full((64, 64, 4), 90 + 5 * (number == 5), np.uint8)
            picture[..., 3] = 255
            cv2.imwrite(str(job / kind / f"{number:06d}.png"), picture)
    return job


@pytest.fixture
def clip(job: Path) -> showreel.Clip:
    return showreel.Clip.of(JobFolder.open(job).read_report())


def test_the_video_runs_at_the_clips_own_rate_and_shows_every_frame(
    job: Path, clip: showreel.Clip, tmp_path: Path
) -> None:
    rows = showreel.read_rows(job, job / "keys", clip)
    showreel.write_video(tmp_path / "result.mp4", rows, clip)
    with av.open(str(tmp_path / "result.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.average_rate == Fraction(24000, 1001)
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (4 * 480, 548)
        frames = sum(1 for _ in video.decode(stream))
    assert frames == 4 * COUNT + 2 * 4 * COUNT + 6 * 8  # four passes in real time, two at a quarter, a hold after each


def test_the_contact_sheet_shows_reference_and_apex(job: Path, clip: showreel.Clip, tmp_path: Path) -> None:
    chosen = showreel.moments(clip, 6)
    assert {1, 4} <= set(chosen) and len(chosen) == 6
    assert "reference" in showreel.caption(clip, 1)
    assert "apex" in showreel.caption(clip, 4)
    rows = showreel.read_rows(job, job / "keys", clip)
    showreel.write_contact_sheet(tmp_path / "sheet.png", rows, clip)
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 6 * 300


def test_a_change_below_sight_is_made_visible(job: Path, clip: showreel.Clip) -> None:
    rows = showreel.read_rows(job, job / "keys", clip)
    heat = showreel.heat(rows[2].pictures, clip.reference)
    assert heat[clip.reference].max() < 10
    assert heat[4].mean() > 30 + heat[0].mean()


def test_everybody_is_shown_from_the_same_part_of_the_face(job: Path, clip: showreel.Clip) -> None:
    driver, _, result, _ = showreel.read_rows(job, job / "keys", clip)
    assert driver.pictures[0].shape == (51, 51, 3)  # 0.8 of the driver's crop
    assert result.pictures[0].shape == (38, 38, 3)  # 0.8 of the 48 px that the crop was laid over
