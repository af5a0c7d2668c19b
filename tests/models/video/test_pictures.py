# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen in a frame: upright, in the right colours, with all its bits; and pictures as drivers."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import FILM, Encoding, Shown, corner_picture, number_of, numbered_frames, read, write_clip

from magplus.backend_bridge.files.errors import InputError
from magplus.models.video import VideoReader

BT601, BT709, BT2020, UNTAGGED = 6, 1, 9, 2
LUMA = {BT601: (0.299, 0.114), BT709: (0.2126, 0.0722), BT2020: (0.2627, 0.0593)}


def corners(image: np.ndarray) -> str:
    """Name the four corners' colours, row by row."""
    height, width = image.shape[:2]
    names = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}
    points = [
        (height // 4, width // 4),
        (height // 4, -width // 4),
        (-height // 4, width // 4),
        (-height // 4, -width // 4),
    ]
    return "".join(names[tuple((image[point] > 0.5).astype(int))] for point in points)


def yuv_code(rgb: tuple[float, float, float], kr: float, kb: float, bits: int, full: bool) -> list[int]:
    """Return the Y, Cb, Cr codes of ITU-T H.273, equations 8.2 ff."""
    red, green, blue = rgb
    y = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))
    unit = 2 ** (bits - 8)
    if full:
        top = 2**bits - 1
        return [round(top * y), round(top * cb + 128 * unit), round(top * cr + 128 * unit)]
    return [round((219 * y + 16) * unit), round((224 * cb + 128) * unit), round((224 * cr + 128) * unit)]


def write_yuv(path: Path, codes: list[int], pix_fmt: str, colorspace: int, full: bool, size: tuple[int, int]) -> Path:
    """Write a lossless one-colour video from YUV codes, tagged as told."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.colorspace = colorspace
        stream.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame(*size, pix_fmt)
        frame.colorspace, frame.color_range = colorspace, 2 if full else 1
        wide = frame.format.components[0].bits > 8
        for plane, code in zip(frame.planes, codes, strict=True):
            dtype = np.uint16 if wide else np.uint8
            plane.update(np.full(plane.buffer_size // np.dtype(dtype).itemsize, code, dtype).tobytes())
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class TestPicture:
    @pytest.mark.parametrize(
        ("rotation", "hflip", "shown"),
        [
            (0, False, "RGBW"),
            (90, False, "GWRB"),
            (180, False, "WBGR"),
            (-90, False, "BRWG"),
            (0, True, "GRWB"),
            (90, True, "WGBR"),
        ],
    )
    def test_display_matrix(self, tmp_path, rotation, hflip, shown):
        path = write_clip(tmp_path / "phone.mp4", [corner_picture()] * 3, shown=Shown(rotation, mirrored=hflip))
        reader = VideoReader(path)
        image = next(iter(reader)).image
        assert corners(image) == shown
        assert image.shape == (reader.info.height, reader.info.width, 3)
        assert (reader.info.width > reader.info.height) == (rotation in (0, 180))
        if not hflip:
            assert reader.info.rotation == rotation % 360

    def test_an_odd_angle_is_reported(self, tmp_path):
        reader = VideoReader(write_clip(tmp_path / "tilted.mp4", [corner_picture()] * 2, shown=Shown(rotation=30)))
        assert corners(next(iter(reader)).image) == "RGBW"
        assert "odd angle" in reader.warnings[0]

    @pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (85, 48)), (Fraction(2, 3), (64, 72))])
    @pytest.mark.parametrize("rotation", [0, 90])
    def test_pixels_become_square(self, tmp_path, aspect, size, rotation):
        path = write_clip(
            tmp_path / "anamorphic.mp4", [corner_picture()] * 2, shown=Shown(rotation, pixel_aspect=aspect)
        )
        reader = VideoReader(path)
        image = next(iter(reader)).image
        assert image.shape[1::-1] == (reader.info.width, reader.info.height)
        assert image.shape[1::-1] == (size if rotation == 0 else size[::-1])

    @pytest.mark.parametrize("size", [(63, 47), (33, 64), (2, 2), (10, 10)])
    @pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p"])
    def test_any_size(self, tmp_path, size, pix_fmt):
        if pix_fmt == "yuv420p" and (size[0] % 2 or size[1] % 2):
            codec, suffix = "ffv1", ".mkv"  # H.264's encoder wants even sizes for 4:2:0
        else:
            codec, suffix = "libx264", ".mp4"
        path = write_clip(tmp_path / f"odd{suffix}", numbered_frames(3, *size), encoding=Encoding(codec, pix_fmt))
        reader = VideoReader(path)
        assert (reader.info.width, reader.info.height) == size
        assert [frame.image.shape for frame in reader] == [(size[1], size[0], 3)] * 3
        assert read(path)[1] == [0, 1, 2]

    def test_interlaced_frames_are_a_warning(self, tmp_path):
        encoding = Encoding("mpeg2video", options={"flags": "+ildct+ilme"})
        path = write_clip(tmp_path / "tv.mkv", numbered_frames(4), encoding=encoding)
        with av.open(str(path)) as container:
            interlaced = next(container.decode(video=0)).interlaced_frame
        reader = VideoReader(path)
        assert interlaced == any("interlaced" in warning for warning in reader.warnings)
        assert interlaced


class TestColour:
    @pytest.mark.parametrize("matrix", [BT601, BT709, BT2020])
    @pytest.mark.parametrize("full", [False, True])
    @pytest.mark.parametrize(
        ("pix_fmt", "bits"),
        [("yuv420p", 8), ("yuv444p", 8), ("yuv420p10le", 10), ("yuv444p10le", 10), ("yuv422p12le", 12)],
    )
    def test_matrix_and_range(self, tmp_path, matrix, full, pix_fmt, bits):
        step = 2 / 2**bits  # what one code of chroma is worth
        for rgb in [(0.8, 0.4, 0.2), (0.1, 0.3, 0.9), (0, 0, 0), (1, 1, 1)]:
            codes = yuv_code(rgb, *LUMA[matrix], bits, full)
            path = write_yuv(tmp_path / "colour.mkv", codes, pix_fmt, matrix, full, (64, 48))
            reader = VideoReader(path)
            image = next(iter(reader)).image
            assert reader.info.bit_depth == bits
            assert image.dtype == np.float32
            np.testing.assert_allclose(image[20, 30], rgb, atol=step)

    @pytest.mark.parametrize(("size", "matrix"), [((64, 48), BT601), ((1280, 720), BT709), ((720, 1280), BT709)])
    def test_untagged_video_goes_by_its_size(self, tmp_path, size, matrix):
        rgb = (0.8, 0.4, 0.2)
        path = write_yuv(
            tmp_path / "untagged.mkv", yuv_code(rgb, *LUMA[matrix], 8, False), "yuv420p", UNTAGGED, False, size
        )
        np.testing.assert_allclose(next(iter(VideoReader(path))).image[20, 30], rgb, atol=0.01)

    def test_ten_bits_stay_ten_bits(self, tmp_path):
        levels = set()
        for code in range(500, 508):
            path = write_yuv(tmp_path / "grey.mkv", [code, 512, 512], "yuv420p10le", BT709, False, (32, 32))
            levels.add(float(next(iter(VideoReader(path))).image[5, 5, 1]))
        assert len(levels) == 8  # 8 bits would leave two or three
        np.testing.assert_allclose(sorted(levels), (np.arange(500, 508) - 64) / 876, atol=1e-6)

    @pytest.mark.parametrize(("pix_fmt", "bits"), [("bgr0", 8), ("gbrp10le", 10), ("gbrp12le", 12), ("gbrp16le", 16)])
    def test_rgb_video_is_exact(self, tmp_path, pix_fmt, bits):
        image = np.random.default_rng(0).integers(0, 2**bits, (48, 64, 3)).astype(np.uint8 if bits == 8 else np.uint16)
        path = write_clip(tmp_path / "rgb.mkv", [image], encoding=Encoding("ffv1", pix_fmt))
        reader = VideoReader(path)
        assert reader.info.bit_depth == bits
        np.testing.assert_allclose(next(iter(reader)).image, image / (2**bits - 1), atol=1e-6)

    def test_hdr_is_reported(self, tmp_path):
        path = tmp_path / "hdr.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
            stream.codec_context.color_trc = 16
            frame = av.VideoFrame.from_ndarray(numbered_frames(1)[0], format="rgb24")
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        assert "HDR (PQ)" in VideoReader(path).warnings[0]


class TestImages:
    def test_sequence_by_its_first_file_or_its_folder(self, tmp_path):
        for number, image in enumerate(numbered_frames(12)):
            cv2.imwrite(str(tmp_path / f"shot_{number + 1001}.png"), image)
        for path, first in ((tmp_path, 0), (tmp_path / "shot_1001.png", 0), (tmp_path / "shot_1005.png", 4)):
            seconds, numbers = read(path, sequence_rate="24000/1001")
            assert numbers == list(range(first, 12))
            assert seconds == [number / FILM for number in range(12 - first)]
        assert read(tmp_path, sequence_rate="12", trim=(0.25, 0.5))[1] == [3, 4, 5]
        files = VideoReader(tmp_path, sequence_rate="12", trim=(0.25, 0.5)).files
        assert [file.name for file in files] == ["shot_1004.png", "shot_1005.png", "shot_1006.png"]

    def test_sequence_without_a_rate_is_reported(self, tmp_path):
        for number, image in enumerate(numbered_frames(3)):
            cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        reader = VideoReader(tmp_path)
        assert reader.info.average_rate == 24
        assert "no frame rate of its own" in reader.warnings[0]

    def test_a_missing_image_keeps_its_time(self, tmp_path):
        for number, image in enumerate(numbered_frames(6)):
            if number != 2:
                cv2.imwrite(str(tmp_path / f"shot{number:04}.png"), image)
        reader = VideoReader(tmp_path, sequence_rate="10")
        assert [frame.seconds for frame in reader] == [Fraction(number, 10) for number in (0, 1, 3, 4, 5)]
        assert reader.info.variable_rate
        assert "1 images are missing" in reader.warnings[0]

    def test_still(self, tmp_path):
        path = tmp_path / "portrait.png"
        cv2.imwrite(str(path), corner_picture()[..., ::-1])
        reader = VideoReader(path)
        frames = list(reader)
        assert [frame.seconds for frame in frames] == [0]
        assert reader.info.frame_count == 1
        np.testing.assert_allclose(frames[0].image, corner_picture() / 255, atol=1e-6)

    def test_sixteen_bits(self, tmp_path):
        image = np.random.default_rng(0).integers(0, 65536, (8, 9, 3)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "deep.png"), image[..., ::-1])
        reader = VideoReader(tmp_path / "deep.png")
        assert reader.info.bit_depth == 16
        np.testing.assert_allclose(next(iter(reader)).image, image / 65535, atol=1e-6)

    def test_camera_orientation(self, tmp_path):
        picture = av.VideoFrame.from_ndarray(corner_picture(), format="rgb24").to_image()
        exif = picture.getexif()
        exif[0x0112] = 6  # turn clockwise to see it upright
        picture.save(tmp_path / "phone.jpg", exif=exif, quality=95)
        assert corners(next(iter(VideoReader(tmp_path / "phone.jpg"))).image) == "BRWG"

    def test_different_sizes(self, tmp_path):
        cv2.imwrite(str(tmp_path / "a1.png"), numbered_frames(1)[0])
        cv2.imwrite(str(tmp_path / "a2.png"), numbered_frames(1, 32, 32)[0])
        with pytest.raises(InputError, match=r"a2\.png is 32 x 32 px, but the sequence began with 64 x 48"):
            list(VideoReader(tmp_path, sequence_rate="24"))

    def test_pictures_of_a_kind_that_is_not_read_are_named(self, tmp_path):
        for number in range(3):
            (tmp_path / f"take_{number:04}.DPX").write_bytes(b"SDPX")
        sentence = r"can't read \.dpx pictures; save those in .* as PNG or TIFF\."
        with pytest.raises(InputError, match=sentence):
            VideoReader(tmp_path, sequence_rate="24")
        with pytest.raises(InputError, match=r"can't read \.dpx pictures; save take_0000\.DPX as PNG or TIFF\."):
            VideoReader(tmp_path / "take_0000.DPX")
        cv2.imwrite(str(tmp_path / "a1.png"), numbered_frames(1)[0])
        assert VideoReader(tmp_path, sequence_rate="24").info.frame_count == 1, "they may lie beside others"

    def test_folders_without_one_sequence(self, tmp_path):
        with pytest.raises(InputError, match="holds no numbered images"):
            VideoReader(tmp_path)
        for name in ("a1.png", "b1.png"):
            cv2.imwrite(str(tmp_path / name), numbered_frames(1)[0])
        with pytest.raises(InputError, match="holds 2 image sequences"):
            VideoReader(tmp_path)

    @pytest.mark.parametrize("rate", ["0", "-24", "fast", "1/0"])
    def test_nonsense_rate(self, tmp_path, rate):
        cv2.imwrite(str(tmp_path / "a1.png"), numbered_frames(1)[0])
        with pytest.raises(InputError, match="must be a number such as"):
            VideoReader(tmp_path, sequence_rate=rate)


class TestPicturesThatMove:
    """Animated pictures and the names that other programs give to sequences."""

    @pytest.mark.parametrize(
        "name",
        ["take ({}).png", "take_{:04d}_rgb.png", "take_{:04d}.png", "{:04d}_take2.png", "take2_{:04d}_1080p.png"],
        ids=["Windows", "compositor", "plain", "numbered first", "with other numbers"],
    )
    def test_sequences_by_any_name_without_macos_side_files(self, tmp_path, name):
        for number, picture in enumerate(numbered_frames(11), start=1):
            cv2.imwrite(str(tmp_path / name.format(number)), picture)
            (tmp_path / f"._{name.format(number)}").write_bytes(b"Mac OS X")
        for path in (tmp_path, tmp_path / name.format(1)):
            frames = list(VideoReader(path, sequence_rate="25"))
            assert [number_of(frame.image) for frame in frames] == list(range(11))
            assert frames[-1].seconds == Fraction(10, 25)
        with pytest.raises(InputError, match="macOS"):
            VideoReader(tmp_path / f"._{name.format(1)}")

    def test_a_sequence_is_one_version_of_one_shot(self, tmp_path):
        for number, picture in enumerate(numbered_frames(8), start=1):
            cv2.imwrite(str(tmp_path / f"shot1_{number:04d}_v2.png"), picture)
            cv2.imwrite(str(tmp_path / f"shot1_{number:04d}_v1.png"), 0 * picture)
            cv2.imwrite(str(tmp_path / f"shot2_{number:04d}_v1.png"), 0 * picture)
        frames = list(VideoReader(tmp_path / "shot1_0003_v2.png", sequence_rate="25"))
        assert [number_of(frame.image) for frame in frames] == [2, 3, 4, 5, 6, 7]

    @pytest.mark.parametrize(("suffix", "renamed"), [(".webp", ".webp"), (".png", ".png"), (".webp", ".jpg")])
    def test_animations_keep_their_own_times(self, tmp_path, suffix, renamed):
        animation = cv2.Animation()
        animation.frames = numbered_frames(40)[::10]  # apart enough for a lossy encoder
        animation.durations = np.array([40, 80, 40, 40], np.int32)
        path = tmp_path / f"moving{suffix}"
        if not cv2.imwriteanimation(str(path), animation):
            pytest.skip("this OpenCV can't write it")
        path = path.rename(path.with_suffix(renamed))
        frames = list(VideoReader(path))
        assert [float(frame.seconds) for frame in frames] == pytest.approx([0, 0.04, 0.12, 0.16])
        assert [number_of(frame.image) for frame in frames] == [0, 10, 20, 30]
        (one, other) = VideoReader(path, trim=(0.03, 0.15))
        assert float(other.seconds - one.seconds) == pytest.approx(0.08)

    def test_pages_of_one_size_are_frames(self, tmp_path):
        path = tmp_path / "pages.tif"
        assert cv2.imwritemulti(str(path), numbered_frames(5))
        reader = VideoReader(path)
        assert [number_of(frame.image) for frame in reader] == list(range(5))
        assert "no frame rate" in reader.warnings[0]
        assert float(list(VideoReader(path, sequence_rate="50"))[-1].seconds) == pytest.approx(0.08)

    def test_a_cut_animation_is_said_to_be_one(self, tmp_path):
        animation = cv2.Animation()
        animation.frames = numbered_frames(4)
        animation.durations = np.array([40] * 4, np.int32)
        path = tmp_path / "cut.webp"
        assert cv2.imwriteanimation(str(path), animation)
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(InputError, match=r"cut\.webp can't be read"):
            list(VideoReader(path))

    def test_raw_mjpeg(self, tmp_path):
        path = tmp_path / "raw.mjpeg"
        path.write_bytes(b"".join(cv2.imencode(".jpg", picture)[1].tobytes() for picture in numbered_frames(4)))
        reader = VideoReader(path)
        assert [number_of(frame.image) for frame in reader] == list(range(4))
        assert any("frame rate" in warning for warning in reader.warnings)
