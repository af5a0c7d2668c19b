# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path

import pytest

from tests.assets import CLIP, OTHER_CLIP, media


@pytest.fixture(scope="session")
def real_clip(tmp_path_factory) -> Path:
    """A real person's face: 640 x 360 px, 24000/1001 fps, 472 frames."""
    return media(CLIP, tmp_path_factory.mktemp("clip") / "WolfgangLanger_Pexels.mp4")


@pytest.fixture(scope="session")
def other_person(tmp_path_factory) -> Path:
    """A clip of another person: 640 x 360 px, 30 fps."""
    return media(OTHER_CLIP, tmp_path_factory.mktemp("clip") / "single_face.mp4")
