# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip that several tests read."""

from pathlib import Path

import pytest
from clips import B_FRAMES, NTSC, numbered_frames, write_clip


@pytest.fixture(scope="session")
def shared_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", numbered_frames(50), NTSC, encoding=B_FRAMES)
