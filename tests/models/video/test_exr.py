# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenEXR sequences as driving videos: as renderers and compositors write them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from magplus.backend_bridge.files.errors import InputError
from magplus.models.video import VideoReader

GREY = 0.214041  # linear light that sRGB encodes as 0.5


def light(value: float = GREY, kind: type = np.float16, size: tuple[int, int] = (12, 16)) -> NDArray[Any]:
    return np.full(size, value, kind)


def save(path: Path, channels: dict[str, NDArray[Any]], **header: object) -> None:
    OpenEXR.File(dict(header), channels).write(str(path))


def rgb(prefix: str = "", value: float = GREY, kind: type = np.float16) -> dict[str, NDArray[Any]]:
    """Channels of a picture whose green is twice and whose blue is four times as bright as its red."""
    return {f"{prefix}{name}": light(value * 2**place, kind) for place, name in enumerate("RGB")}


def only(path: Path, **options: Any) -> tuple[NDArray[np.float32], VideoReader]:
    reader = VideoReader(path, **options)
    return next(iter(reader)).image, reader


@pytest.mark.parametrize(
    ("channels", "bits"),
    [
        (rgb(), 16),
        (rgb(kind=np.float32), 32),
        ({**rgb("ViewLayer.Combined."), "ViewLayer.Combined.A": light(1), "ViewLayer.Depth.Z": light(9)}, 16),
        ({**rgb("diffuse.", 0.01), **rgb("beauty.")}, 16),
        ({**{name.lower(): one for name, one in rgb().items()}}, 16),
        ({**rgb(), "ViewLayer.CryptoObject00.r": light(), **rgb("ViewLayer.Normal.", 0.0), "id": light(3)}, 16),
    ],
)
def test_the_picture_is_found_whatever_its_channels_are_called(
    tmp_path: Path, channels: dict[str, NDArray[Any]], bits: int
) -> None:
    save(tmp_path / "a.exr", channels)
    image, reader = only(tmp_path / "a.exr")
    assert image.shape == (12, 16, 3) and reader.info.bit_depth == bits
    np.testing.assert_allclose(image[5, 5], [0.5, 0.6847, 0.9331], atol=2e-3)


def test_sequences_are_read_at_their_headers_rate(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"take_{number:04}.exr", rgb(value=0.05 + 0.05 * number), framesPerSecond=Fraction(24000, 1001))
    reader = VideoReader(tmp_path)
    frames = list(reader)
    assert reader.info.average_rate == Fraction(24000, 1001) and not reader.warnings
    assert [float(frame.image[0, 0, 0]) for frame in frames] == sorted(float(frame.image[0, 0, 0]) for frame in frames)
    assert VideoReader(tmp_path, sequence_rate="25").info.average_rate == 25, "what a person says goes"


def test_a_choice_of_layers_is_said_and_kept(tmp_path: Path) -> None:
    layers = {**rgb("ViewLayer.Combined."), **rgb("ViewLayer.DiffCol.")}
    save(tmp_path / "a1.exr", layers)
    save(tmp_path / "a2.exr", rgb("ViewLayer.DiffCol."))
    reader = VideoReader(tmp_path, sequence_rate="24")
    with pytest.raises(InputError, match=r"a2\.exr has no layer 'ViewLayer.Combined', with which the sequence began"):
        list(reader)
    assert any("'ViewLayer.Combined' is read, not ViewLayer.DiffCol" in text for text in reader.warnings)


def test_of_several_parts_the_picture_is_read(tmp_path: Path) -> None:
    parts = [
        OpenEXR.Part({}, {"depth.Z": light(3, np.float32)}, "depth"),
        OpenEXR.Part({}, rgb(), "beauty"),
        OpenEXR.Part({}, rgb(value=0.01), "emission"),
    ]
    OpenEXR.File(parts).write(str(tmp_path / "many.exr"))
    image, reader = only(tmp_path / "many.exr")
    assert image[0, 0, 0] == pytest.approx(0.5, abs=2e-3)
    assert "'beauty' is read, not emission" in reader.warnings[0]


def test_a_grey_picture_is_read_and_a_vector_is_none(tmp_path: Path) -> None:
    save(tmp_path / "grey.exr", {"Y": light()})
    assert only(tmp_path / "grey.exr")[0][3, 3].tolist() == pytest.approx([0.5] * 3, abs=2e-3)
    save(tmp_path / "vector.exr", {f"Vector.{axis}": light() for axis in "XYZ"})
    with pytest.raises(InputError, match="has no channels R, G and B"):
        VideoReader(tmp_path / "vector.exr")


def test_the_display_window_is_what_is_seen(tmp_path: Path) -> None:
    window = (np.array([2, 3], np.int32), np.array([17, 14], np.int32))
    display = (np.array([0, 0], np.int32), np.array([9, 29], np.int32))
    save(tmp_path / "a.exr", rgb(), dataWindow=window, displayWindow=display, pixelAspectRatio=2.0)
    image, _ = only(tmp_path / "a.exr")
    assert image.shape == (30, 20, 3)
    assert image[8, 12, 0] == pytest.approx(0.5, abs=0.01) and not image[:2].any() and not image[16:].any()


def test_other_primaries_keep_white_white_and_red_red(tmp_path: Path) -> None:
    ap1 = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)
    save(tmp_path / "white.exr", {name: light() for name in "RGB"}, chromaticities=ap1)
    np.testing.assert_allclose(only(tmp_path / "white.exr")[0][0, 0], 0.5, atol=2e-3)
    # BT.709's red in ACEScg, from the two sets of primaries with Bradford's adaptation.
    red = {"R": light(0.6131), "G": light(0.0702), "B": light(0.0206)}
    save(tmp_path / "red.exr", red, chromaticities=ap1)
    np.testing.assert_allclose(only(tmp_path / "red.exr")[0][0, 0], [1, 0, 0], atol=0.02)


def test_light_beyond_white_and_no_numbers_are_said(tmp_path: Path) -> None:
    hot = {name: light(7.0, np.float32) for name in "RGB"}
    hot["G"][0, 0] = np.nan
    save(tmp_path / "a.exr", hot)
    image, reader = only(tmp_path / "a.exr")
    np.testing.assert_allclose(image[5, 5], 1, atol=1e-6)
    assert not image[0, 0].any()
    assert [text.split(",")[0].split(";")[0] for text in reader.warnings] == [
        "a.exr holds light brighter than white",
        "a.exr holds pixels that are no finite numbers",
    ]


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_cut_short_is_one_sentence(tmp_path: Path, kept: float) -> None:
    save(tmp_path / "a.exr", {name: np.random.default_rng(1).random((64, 64), np.float32) for name in "RGB"})
    data = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "a.exr").write_bytes(data[: int(kept * len(data))])
    with pytest.raises(InputError, match=r"a\.exr can't be read as an image; it may be incomplete"):
        VideoReader(tmp_path / "a.exr")


def test_a_header_that_announces_more_than_memory_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.exr", rgb())
    data = bytearray((tmp_path / "a.exr").read_bytes())
    at = data.find(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
    data[at : at + 16] = np.array([0, 0, 69_999, 69_999], "<i4").tobytes()
    (tmp_path / "a.exr").write_bytes(data)
    with pytest.raises(InputError, match=r"70000 x 70000 px large|can't be read"):
        VideoReader(tmp_path / "a.exr")


def test_encoded_pictures_are_taken_as_they_are_and_unknown_spaces_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.exr", rgb(value=0.25), colorInteropID="srgb_rec709_scene")
    np.testing.assert_allclose(only(tmp_path / "a.exr")[0][0, 0], [0.25, 0.5, 1], atol=1e-3)
    save(tmp_path / "b.exr", rgb(), colorInteropID="g22_ap1_scene")
    with pytest.raises(InputError, match="'g22_ap1_scene'; save it scene-linear"):
        VideoReader(tmp_path / "b.exr")
