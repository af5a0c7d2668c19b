# SPDX-License-Identifier: GPL-3.0-or-later
"""A command can be stopped while Blender renders, and tells how far the render is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import pytest

from tests.assets import CLIP, media, worker_python
from tests.blender.head import add_camera, glow, make_head, quick_render

pytestmark = pytest.mark.timeout(300)
SCRIPT = Path(__file__).with_name("one_command.py")


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A shot whose render takes hours."""
    make_head()
    glow(bpy.context.object)
    add_camera()
    quick_render(160, 90).cycles.samples = 1_000_000
    bpy.context.scene.cycles.use_adaptive_sampling = False
    path = tmp_path / "endless.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("sent", "heard", "told"),
    [
        ([signal.SIGTERM], True, True),
        (
            [signal.SIGINT, signal.SIGINT, signal.SIGTERM],
            True,
            False,
        ),  # the impatient; a shell passes on what its group has
        ([signal.SIGTERM], False, False),  # of a farm whose own process has ended
    ],
)
def test_signals_end_a_command_while_blender_renders(
    endless: Path, tmp_path: Path, sent: list[signal.Signals], heard: bool, told: bool
) -> None:
    clip = media(CLIP, tmp_path / "driver.mp4")
    job = tmp_path / "job.magplus"
    command = ["animate", "--driving", str(clip), "--python", str(worker_python()), "--trim", "5.7", "5.9"]
    process = subprocess.Popen(
        [sys.executable, SCRIPT, str(endless), *command, "--frames", "--output", str(job)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines: list[str] = []
        counted = "/1000000" if told else ""
        while not (lines and "Rendering the avatar" in lines[-1] and counted in lines[-1]):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        if not told:
            time.sleep(1.0)  # it renders by now; that it tells how far it is comes late, and is seen once
        if not heard:
            process.stderr.close()
        began = time.monotonic()
        for each in sent:
            os.kill(process.pid, each)
            time.sleep(0.3)
        assert process.wait(60) == 4
        assert time.monotonic() - began < 20
        if heard:
            lines += process.stderr.readlines()
            assert "Cancelled." in lines[-1] and "Traceback" not in "".join(lines)
        tempdir = process.stdout.read().split("tempdir ")[1].splitlines()[0]
        assert not Path(tempdir).exists()
    finally:
        process.kill()


def test_a_video_that_can_not_be_read_is_reported_before_anything_is_rendered(endless: Path, tmp_path: Path) -> None:
    fake = tmp_path / "clip.mp4"
    fake.write_text("this is text")
    command = ["animate", "--driving", str(fake), "--python", str(worker_python()), "--frames"]
    answer = subprocess.run(
        [sys.executable, SCRIPT, str(endless), *command, "--output", str(tmp_path / "job.magplus")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 2
    assert "clip.mp4" in answer.stderr.splitlines()[-1] and "Rendering" not in answer.stderr
