# SPDX-License-Identifier: GPL-3.0-or-later
"""A driver that can't be used as it was asked for is refused before anything is measured or rendered."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.job.spec import Driving
from magplus.backend_bridge.worker import look
from magplus.models.video import encode_png, reader_at_reference
from tests.models.clips import write_clip

RATE = Fraction(10)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of ten frames."""
    frames = [np.full((64, 64, 3), 20 * number, np.uint8) for number in range(10)]
    return write_clip(tmp_path_factory.mktemp("clip") / "second.mp4", frames, RATE)


def test_the_frames_around_a_reference_are_read(second: Path) -> None:
    reader = reader_at_reference(second, 0.5, RATE)
    assert Fraction(1, 2) in [reader.info.start + frame.seconds for frame in reader]


def test_a_reference_beyond_the_end_is_refused(second: Path) -> None:
    with pytest.raises(InputError, match=r"no frame for the reference at 99\.000 s; choose a time within it"):
        reader_at_reference(second, 99.0, RATE)


@pytest.mark.parametrize(("reference", "code"), [(None, 0), (0.0, 0), (0.9, 0), (99.0, 2)])
def test_a_look_at_the_video_tells_it(
    second: Path, reference: float | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert look.main(Driving(str(second), trim=(0.1, 0.5), reference=reference)) == code
    answer = json.loads(capsys.readouterr().out)
    assert ("reference at 99.000 s" in answer["error"]) if code else answer["frames"] == 4


@pytest.mark.parametrize("trim", [None, (0.0, 5.0)])
def test_a_look_at_a_single_picture_tells_that_it_shows_no_expression(
    tmp_path: Path, trim: tuple[float, float] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    (picture := tmp_path / "face.png").write_bytes(encode_png(np.zeros((64, 64, 3), np.float32)))
    assert look.main(Driving(str(picture), trim=trim)) == 2
    assert "face.png has a single frame" in json.loads(capsys.readouterr().out)["error"]


def test_a_look_takes_a_trim_of_one_frame(second: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert look.main(Driving(str(second), trim=(0.2, 0.25))) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 1
