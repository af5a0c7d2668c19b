# SPDX-License-Identifier: GPL-3.0-or-later
"""What is given as a file of anchors may be anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.anchors import LARGEST, read_anchors


def test_what_is_no_file_of_anchors_is_refused_unread(tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    with video.open("wb") as file:
        file.truncate(LARGEST + 1)
    for given in (video, tmp_path, tmp_path / "missing.json", Path(os.devnull)):
        with pytest.raises(InputError, match="can't be read; give a file that `magplus anchors` wrote"):
            read_anchors(given)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match="can't be read"):
        read_anchors(tmp_path / "pipe.json")
