# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that promise more than there is, or less than they hold, or change while they are read."""

from __future__ import annotations

import os
import struct
import time
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import Encoding, Shown, numbered_frames, write_clip

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.basis import RigBasis
from magplus.models.pipeline.avatar import AvatarPicture
from magplus.models.video import VideoReader, limits
from magplus.models.video.limits import picture_size

RATE = Fraction(25)


def png(width: int, height: int) -> bytes:
    """Return a PNG of white pixels that is small however large it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row = b"\0" + b"\xff" * ((width + 7) // 8)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(min(height, 1000))) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def tiff(width: int, height: int, order: str = "<") -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8 if order == "<" else 8 << 16)]
    body = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries)) + body + bytes(4)


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 17, 0, 2, 17, 0, 3, 17, 0])
    return b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(10) + b"\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame


HUGE = {
    "PNG": png(70000, 70000),
    "PNG, long": png(30000, 30),
    "PNG, many": png(12000, 9000),
    "JPEG": jpeg(65500, 65500),
    "TIFF": tiff(70000, 70000),
    "TIFF, big-endian": tiff(70000, 70000, ">"),
    "BMP": b"BM" + bytes(12) + struct.pack("<Iii", 40, 70000, -70000) + bytes(32),
    "WebP": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\0" * 2,
    "EXR": b"v/1\x01\2\0\0\0dataWindow\0box2i\0" + struct.pack("<iiiii", 16, 0, 0, 69999, 69999) + b"\0",
    "HDR": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 70000 +X 70000\n" + bytes(64),
    "PGM": b"P5\n# a comment\n70000 70000\n255\n" + bytes(64),
    "PFM": b"PF\n70000 70000\n-1.0\n" + bytes(64),
}  # fmt: skip


@pytest.mark.parametrize("name", [*HUGE])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_picture_is_not_decoded_when_its_header_asks_for_too_much(tmp_path: Path, name: str, suffix: str) -> None:
    """Under a wrong suffix, too: what counts is what the file is."""
    path = tmp_path / f"0001{suffix}"
    path.write_bytes(HUGE[name])
    for read in (VideoReader, AvatarPicture.read):
        with pytest.raises(InputError, match=r"px large; MagPlus reads up to 67 megapixels"):
            read(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp", ".pgm", ".ppm", ".pfm", ".hdr"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.float32])
def test_the_header_says_the_size_that_is_decoded(suffix: str, depth: type) -> None:
    picture = np.full((19, 37, 3) if suffix != ".pgm" else (19, 37), 100, depth)
    try:
        done, encoded = cv2.imencode(suffix, picture)
    except cv2.error:
        pytest.skip("there are no such pictures")
    if done:
        assert picture_size(encoded.tobytes()) == (37, 19)


@pytest.mark.parametrize("name", [*HUGE])
def test_a_header_that_is_cut_short_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "0001.png"
    for length in range(1, 40):
        path.write_bytes(HUGE[name][:length])
        with pytest.raises(InputError):
            VideoReader(path)
        with pytest.raises(InputError):
            AvatarPicture.read(path)


def test_a_video_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_PIXELS", 3000)
    path = write_clip(tmp_path / "huge.mkv", numbered_frames(2), RATE)
    with pytest.raises(InputError, match=r"huge.mkv is 64 x 48 px large"):
        VideoReader(path)
    wide = write_clip(tmp_path / "wide.mkv", numbered_frames(2, 48, 32), RATE, shown=Shown(pixel_aspect=Fraction(4)))
    with pytest.raises(InputError, match=r"wide.mkv is 192 x 32 px large"):
        VideoReader(wide)


def test_of_several_videos_the_largest_is_read_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, (width, height) in zip(streams, [(64, 48), (128, 96)], strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        streams[0].disposition = av.stream.Disposition.default
        for image in numbered_frames(5):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(cv2.resize(image, (stream.width, stream.height)), format="rgb24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    reader = VideoReader(path)
    assert len(list(reader)) == 5 and (reader.info.width, reader.info.height) == (128, 96)
    assert reader.warnings == ["two.mkv holds 2 videos; the largest one (128 x 96 px) is read."]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("frames", [2, 5])
def test_a_few_frames_that_are_cut_off_are_missed(tmp_path: Path, suffix: str, frames: int) -> None:
    container = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    noise = [np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8) for n in range(15)]
    encoding = Encoding(options={"x264-params": "keyint=1"}, container=container)
    whole = write_clip(tmp_path / f"whole{suffix}", noise, encoding=encoding)
    assert VideoReader(whole).warnings == []
    with av.open(str(whole)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[: places[-frames]])
    reader = VideoReader(path)
    assert 1 <= len(list(reader)) <= 15 - frames
    assert any("is incomplete: the last" in warning for warning in reader.warnings)


@pytest.mark.parametrize("change", ["replaced", "cut off", "taken away"])
def test_a_clip_that_changes_while_it_is_read_is_no_clip(tmp_path: Path, change: str) -> None:
    path = write_clip(tmp_path / "take.mp4", numbered_frames(10), RATE)
    folder = tmp_path / "sequence"
    folder.mkdir()
    for number, image in enumerate(numbered_frames(3)):
        (folder / f"{number:04}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    for reader, file in ((VideoReader(path), path), (VideoReader(folder), folder / "0002.png")):
        assert len(list(reader)) > 2
        if change == "replaced":
            file.write_bytes(file.read_bytes())
            os.utime(file, (1, 1))
        elif change == "cut off":
            file.write_bytes(file.read_bytes()[:-10])
        else:
            file.unlink()
        with pytest.raises(InputError, match=f"{file.name} was changed while it was read"):
            list(reader)


@pytest.mark.skipif(os.name == "nt", reason="there are no such files")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0001.png")
    for path in (tmp_path / "0001.png", Path("/dev/zero")):
        for read in (VideoReader, AvatarPicture.read, RigBasis.load):
            with pytest.raises(InputError):
                read(path)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("place", [(0, 60000, 60000, 0, 0), (0, 8, 8, 2**31 - 1, 2**31 - 1)])
def test_an_animated_picture_whose_frames_lie_beyond_it_is_read_as_a_still(place: tuple[int, ...]) -> None:
    """OpenCV itself dies of it."""
    _, still = cv2.imencode(".png", np.full((8, 8, 3), 90, np.uint8))
    data = still.tobytes()
    moves = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", struct.pack(">IIIIIHHBB", *place, 1, 10, 0, 0))
    picture = limits.decode_picture(data[:33] + moves + data[33:], cv2.IMREAD_UNCHANGED, "picture.png")
    assert picture is not None and picture.shape == (8, 8, 3) and (picture == 90).all()


def test_a_png_that_announces_more_than_there_is_takes_no_memory() -> None:
    announced = png(8, 8)[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT"
    assert limits.decode_picture(announced, cv2.IMREAD_UNCHANGED, "picture.png") is None


ENDLESS = {
    "JPEG of fill": b"\xff\xd8" + b"\xff" * 20_000_000,
    "JPEG of segments": b"\xff\xd8" + b"\xff\xe0\0\2" * 5_000_000,
    "EXR": b"v/1\x01\2\0\0\0" + b"a\0b\0\0\0\0\0" * 2_500_000,
    "PNG": png(8, 8)[:33] + chunk(b"tEXt", b"") * 1_600_000,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_header_without_an_end_is_given_up(name: str) -> None:
    began = time.process_time()
    assert limits.decode_picture(ENDLESS[name], cv2.IMREAD_UNCHANGED, "picture") is None
    assert time.process_time() - began < 10


def pages(*sizes: tuple[int, int]) -> bytes:
    """Return a TIFF of pages without pixels."""
    data = b"II*\0" + struct.pack("<I", 8)
    for number, (width, height) in enumerate(sizes, 1):
        following = len(data) + 2 + 24 + 4 if number < len(sizes) else 0
        entries = struct.pack("<HHIIHHII", 256, 4, 1, width, 257, 4, 1, height)
        data += struct.pack("<H", 2) + entries + struct.pack("<I", following)
    return data


def webp(width: int, height: int, frames: int) -> bytes:
    """Return an animated WebP of frames without pixels."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + size
    body += (b"ANMF" + struct.pack("<I", 16) + bytes(16)) * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("large.tif", pages((70000, 70000), (70000, 70000))),
        ("many.tif", pages(*[(8000, 8000)] * 40)),
        ("pages.tif", pages(*[(8, 8)] * 20_000)),
        ("large.webp", webp(16384, 16384, 2)),
        ("many.webp", webp(8000, 8000, 40)),
    ],
)
def test_an_animation_is_not_decoded_when_its_headers_ask_for_too_much(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"megapixels|frames") as caught:
        VideoReader(path)
    assert "\n" not in str(caught.value)


def test_a_tiff_whose_pages_go_round_in_circles_comes_to_an_end(tmp_path: Path) -> None:
    circle = pages((8, 8))[:-4] + struct.pack("<I", 8)
    assert limits.tiff_sizes(circle) == [(8, 8)]
