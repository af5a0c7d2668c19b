# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading driving videos: the right frames, at the right times, in the right colours."""

import gc
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import HEIGHT, WIDTH, Encoding, Shown, Times, number_of, numbered_frames, write_clip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magplus.backend_bridge.files.errors import InputError, MachineError
from magplus.models.video import Mp4Writer, VideoReader, container, encode_png
from magplus.models.video.timing import constant_rate

NTSC = Fraction(30000, 1001)
FILM = Fraction(24000, 1001)
B_FRAMES = Encoding(options={"x264-params": "bframes=3:b-adapt=0:keyint=12"})
OPEN_GOP = Encoding(options={"x264-params": "bframes=3:b-adapt=0:keyint=8:open-gop=1"})


def read(path: Path, **options) -> tuple[list[Fraction], list[int]]:
    frames = list(VideoReader(path, **options))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return [frame.seconds for frame in frames], [number_of(frame.image) for frame in frames]


class TestTimes:
    @pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".avi", ".flv"])
    @pytest.mark.parametrize("rate", [NTSC, FILM, Fraction(25)])
    def test_constant_rates_are_exact_whatever_the_container_rounds_to(self, tmp_path, suffix, rate):
        path = write_clip(tmp_path / f"clip{suffix}", numbered_frames(40), rate, encoding=B_FRAMES)
        seconds, numbers = read(path)
        assert numbers == list(range(40))
        assert seconds == [number / rate for number in range(40)]
        info = VideoReader(path).info
        assert (info.average_rate, info.variable_rate) == (rate, False)

    def test_variable_rate_keeps_every_timestamp(self, tmp_path):
        ticks = [0, 40, 80, 85, 90, 95, 200, 201, 400]
        path = write_clip(tmp_path / "phone.mp4", numbered_frames(9), times=Times(ticks, Fraction(1, 1000)))
        seconds, numbers = read(path)
        assert numbers == list(range(9))
        assert seconds == [Fraction(tick, 1000) for tick in ticks]
        info = VideoReader(path).info
        assert info.variable_rate
        assert info.average_rate == 8 / Fraction(400, 1000)

    def test_one_dropped_frame_makes_the_rate_variable(self, tmp_path):
        ticks = [tick for tick in range(20) if tick != 7]
        path = write_clip(tmp_path / "dropped.mp4", numbered_frames(19), NTSC, times=Times(ticks))
        assert read(path)[0] == [tick / NTSC for tick in ticks]
        assert VideoReader(path).info.variable_rate

    @pytest.mark.parametrize("start", [7, 250])
    def test_zero_is_the_first_frame_even_if_the_container_starts_later(self, tmp_path, start):
        ticks = range(start, start + 10)
        path = write_clip(tmp_path / "late.mp4", numbered_frames(10), NTSC, times=Times(ticks))
        seconds, numbers = read(path, trim=(0.1, 10))
        assert numbers == list(range(3, 10))
        assert VideoReader(path, trim=(0.1, 10)).info.start == 3 / NTSC
        assert seconds == [number / NTSC for number in range(7)]

    def test_edit_list_hides_frames_before_its_start(self, tmp_path):
        # Negative times become an edit list: a player doesn't show those frames, so they are no part of the video.
        path = write_clip(
            tmp_path / "cut.mp4",
            numbered_frames(30),
            times=Times(range(-5, 25)),
            encoding=Encoding(options={"x264-params": "keyint=100"}),
        )
        seconds, numbers = read(path)
        assert numbers == list(range(5, 30))
        assert seconds[0] == 0

    def test_real_clip(self, real_clip):
        reader = VideoReader(real_clip)
        assert (reader.info.width, reader.info.height) == (640, 360)
        assert reader.info.average_rate == FILM
        assert reader.info.frame_count == 472
        assert [frame.seconds for frame in reader] == [number / FILM for number in range(472)]
        assert reader.warnings == []

    @given(
        rate=st.sampled_from([NTSC, FILM, Fraction(25), Fraction(60), Fraction(120), Fraction(200)]),
        clock=st.sampled_from([1000, 90000, 12800]),
        count=st.integers(2, 600),
        start=st.integers(0, 10**6),
    )
    def test_a_rounding_clock_does_not_make_a_rate_variable(self, rate, clock, count, start):
        ticks = [start + round(number / rate * clock) for number in range(count)]
        assert constant_rate(ticks, Fraction(1, clock), [rate]) == rate

    @given(count=st.integers(20, 300), late=st.integers(1, 18))
    def test_a_late_frame_makes_a_rate_variable(self, count, late):
        ticks = [40 * number + (3 if number == late else 0) for number in range(count)]
        assert constant_rate(ticks, Fraction(1, 1000), [Fraction(25)]) is None


class TestTrim:
    @pytest.mark.parametrize("encoding", [B_FRAMES, OPEN_GOP])
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
    def test_trimmed_frames_are_the_frames_of_the_whole(self, tmp_path, suffix, encoding):
        path = write_clip(tmp_path / f"clip{suffix}", numbered_frames(50), NTSC, encoding=encoding)
        for first, last in [(0, 4), (1, 2), (7, 19), (8, 9), (23, 24), (30, 50)]:
            seconds, numbers = read(path, trim=(float(first / NTSC), float(last / NTSC)))
            assert numbers == list(range(first, last))
            assert seconds == [number / NTSC for number in range(last - first)]

    def test_a_short_clip_is_decoded_once(self, shared_clip, monkeypatch):
        reader = VideoReader(shared_clip, trim=(0.2, 0.6))
        first = [frame.image for frame in reader]
        monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("it was opened again"))
        assert all(np.array_equal(a, b.image) for a, b in zip(first, reader, strict=True))
        monkeypatch.undo()
        reader.forget()
        assert all(np.array_equal(a, b.image) for a, b in zip(first, reader, strict=True))

    def test_what_is_before_the_first_frame_is_decoded_once(self, shared_clip, monkeypatch):
        begun = []
        decoded = container.ContainerClip._decoded

        def counted(*given):
            begun.append(given)
            return decoded(*given)

        monkeypatch.setattr(container.ContainerClip, "_decoded", counted)
        reader = VideoReader(shared_clip, trim=(1.2, 1.6))
        assert next(iter(reader)).index == 0  # and the pass ends there
        assert len(begun) == 1
        first, again = ([(frame.seconds, frame.image) for frame in reader] for _ in range(2))
        assert len(begun) == 2, "a pass that was broken off is begun anew, the third one is of what is kept"
        assert len(first) == len(again) == 12
        assert all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))

    def test_of_a_long_clip_no_more_frames_are_in_memory_than_of_a_short_one(self, shared_clip, monkeypatch):
        monkeypatch.setattr(container, "MOST_KEPT", 30 * WIDTH * HEIGHT)  # 20 of 50
        gc.collect()
        gc.disable()  # which comes when it comes, and meanwhile frames are megabytes
        try:
            for frame in VideoReader(shared_clip):
                if frame.index in (15, 49):
                    assert sum(isinstance(each, av.VideoFrame) for each in gc.get_objects()) < 5
        finally:
            gc.enable()

    @pytest.mark.parametrize("change", ["kept", "too long to be kept"])
    def test_a_clip_that_changes_between_two_passes_is_told(self, tmp_path, shared_clip, monkeypatch, change):
        if change != "kept":
            monkeypatch.setattr(container, "MOST_KEPT", 0)
        path = tmp_path / "clip.mp4"
        path.write_bytes(shared_clip.read_bytes())
        reader = VideoReader(path)
        list(reader)
        path.write_bytes(shared_clip.read_bytes()[:-1])
        with pytest.raises(InputError, match="was changed while it was read"):
            next(iter(reader))

    @settings(max_examples=60, deadline=None)
    @given(start=st.floats(0, 1.5), length=st.floats(0.002, 2))
    def test_a_split_clip_has_every_frame_once(self, shared_clip, start, length):
        def numbers(trim):
            try:
                return read(shared_clip, trim=trim)[1]
            except InputError:  # no frame between two that close times
                return []

        middle = start + length
        parts = (numbers((0, start)) if start else []) + numbers((start, middle)) + numbers((middle, 100))
        assert parts == list(range(50))

    def test_three_typed_decimals_are_enough(self, tmp_path):
        # Frame 12 of 23.976 fps is at 0.5005 s; a panel shows 0.500 or 0.501.
        path = write_clip(tmp_path / "film.mp4", numbered_frames(20), FILM)
        for typed in (0.5, 0.501):
            assert read(path, trim=(typed, 10))[1][0] == 12

    def test_beyond_the_end(self, tmp_path):
        path = write_clip(tmp_path / "short.mp4", numbered_frames(10), Fraction(10))
        with pytest.raises(InputError, match=r"short\.mp4 lasts 1\.000 s and has no frame in the trim range"):
            VideoReader(path, trim=(1.5, 2))
        assert read(path, trim=(0.5, 99))[1] == [5, 6, 7, 8, 9]


@pytest.fixture(scope="module")
def shared_clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", numbered_frames(50), NTSC, encoding=B_FRAMES)


def corner_picture(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Red top left, green top right, blue bottom left, white bottom right."""
    image = np.zeros((height, width, 3), np.uint8)
    middle_y, middle_x = height // 2, width // 2
    image[:middle_y, :middle_x] = (220, 30, 30)
    image[:middle_y, middle_x:] = (30, 220, 30)
    image[middle_y:, :middle_x] = (30, 30, 220)
    image[middle_y:, middle_x:] = (220, 220, 220)
    return image


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


BT601, BT709, BT2020, UNTAGGED = 6, 1, 9, 2
LUMA = {BT601: (0.299, 0.114), BT709: (0.2126, 0.0722), BT2020: (0.2627, 0.0593)}


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


class TestBadInputs:
    def refusal(self, path: Path, **options) -> str:
        with pytest.raises(InputError) as caught:
            list(VideoReader(path, **options))
        sentence = str(caught.value)
        assert "\n" not in sentence
        assert sentence.endswith(".")
        return sentence

    def test_missing_file(self, tmp_path):
        assert "no file" in self.refusal(tmp_path / "nowhere.mp4")

    @pytest.mark.parametrize("text", [b"", b"hello\n", b"some, text\n" * 5000])
    @pytest.mark.parametrize("name", ["notes.mp4", "notes.txt", "notes.mov", "notes.png"])
    def test_text_file(self, tmp_path, text, name):
        (tmp_path / name).write_bytes(text)
        assert name in self.refusal(tmp_path / name)

    @pytest.mark.parametrize(
        ("name", "magic"),
        [
            ("IMG_0001.HEIC", b"\0\0\0\x18ftypheic"),
            ("portrait.hif", b"\0\0\0\x18ftypheix"),
            ("still.jxl", b"\xff\x0a"),
            ("boxed.jxl", b"\0\0\0\x0cJXL \r\n\x87\n"),
            ("cinema_0001.dng", b"II*\0\x08\0\0\0"),
            ("canon.cr3", b"\0\0\0\x18ftypcrx "),
            ("fuji.raf", b"FUJIFILMCCD-RAW"),
            ("olympus.orf", b"IIRO\x08\0\0\0"),
        ],
    )
    def test_pictures_as_phones_and_cameras_keep_them(self, tmp_path, name, magic):
        (tmp_path / name).write_bytes(magic + bytes(64))
        suffix = Path(name).suffix.lower()
        assert self.refusal(tmp_path / name) == f"MagPlus can't read {suffix} pictures; save {name} as PNG or TIFF."
        those = f"save those in {tmp_path.name} as PNG or TIFF."
        assert self.refusal(tmp_path, sequence_rate="24") == f"MagPlus can't read {suffix} pictures; {those}"

    @pytest.mark.parametrize("renamed", ["a.png", "a.jpg", "a.tif", "a.mp4", "a.mov"])
    @pytest.mark.parametrize("magic", [b"\0\0\0\x18ftypheic", b"\xff\x0a", b"II*\0\x08\0\0\0"])
    def test_such_pictures_under_another_name(self, tmp_path, renamed, magic):
        (tmp_path / renamed).write_bytes(magic + bytes(64))
        assert f"{renamed} can't be read as" in self.refusal(tmp_path / renamed)

    @pytest.mark.parametrize("name", ["take.BRAW", "A001.R3D", "canon.crm", "alexa.ari", "nikon.nev", "sony.rmf"])
    def test_camera_raw_is_named_whatever_is_in_it(self, tmp_path, shared_clip, name):
        sentence = f"{name} is camera raw, which MagPlus can't read; export it as ProRes or H.264."
        for content in (b"\0\0\0\x08wide", shared_clip.read_bytes()):  # many are MP4s of a codec of their own
            (tmp_path / name).write_bytes(content)
            assert self.refusal(tmp_path / name) == sentence

    def test_playlists_open_nothing_else(self, tmp_path, shared_clip):
        # Were the list followed, it would play.
        (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:2,\n{shared_clip}\n#EXT-X-ENDLIST\n")
        (tmp_path / "list.txt").write_text(f"ffconcat version 1.0\nfile {shared_clip}\n")
        for name in ("list.mp4", "list.txt"):
            assert "can't be read as a video" in self.refusal(tmp_path / name)

    def test_audio_only(self, tmp_path):
        path = tmp_path / "voice.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=48000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        assert "holds no video" in self.refusal(path)

    def test_no_frames(self, tmp_path):
        path = tmp_path / "empty.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            container.start_encoding()
        assert "empty.mkv" in self.refusal(path)

    def test_one_frame(self, tmp_path):
        path = write_clip(tmp_path / "single.mp4", numbered_frames(1), NTSC)
        assert read(path) == ([0], [0])
        assert VideoReader(path).info.average_rate == NTSC

    def test_index_lost(self, tmp_path, shared_clip):
        # An .mp4 has its index at the end unless told otherwise: without it nothing can be read.
        path = tmp_path / "cut.mp4"
        path.write_bytes(shared_clip.read_bytes()[:-500])
        assert "may be incomplete" in self.refusal(path)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    def test_truncated_video_is_used_as_far_as_it_goes(self, tmp_path, suffix):
        noise = np.random.default_rng(0).integers(0, 12, (55, HEIGHT, WIDTH, 3), np.uint8)
        frames = [image + grain for image, grain in zip(numbered_frames(55), noise, strict=True)]
        encoding = Encoding(
            options={"x264-params": "keyint=5:bframes=0", "crf": "12"},
            container={"movflags": "+faststart"} if suffix == ".mp4" else {},
        )
        whole = write_clip(tmp_path / f"whole{suffix}", frames, encoding=encoding)
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        reader = VideoReader(path)
        seconds = [frame.seconds for frame in reader]
        assert 15 < len(seconds) < 45
        assert seconds == [Fraction(number, 25) for number in range(len(seconds))]
        if suffix == ".mp4":
            assert any("is incomplete: the last" in warning for warning in reader.warnings)
            assert VideoReader(path, trim=(0, 0.4)).warnings == []  # the part that was asked for is whole
        if suffix == ".mkv":
            assert any("is incomplete" in warning for warning in reader.warnings)
            assert VideoReader(whole).warnings == []

    def test_an_empty_file(self, tmp_path):
        for name in ("a.mp4", "a.png", "a.exr"):
            (tmp_path / name).touch()
            assert self.refusal(tmp_path / name) == f"{name} is empty; copy or export it again."

    def test_damage_in_the_middle_keeps_the_times(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 12, (30, HEIGHT, WIDTH, 3), np.uint8)
        frames = [image + grain for image, grain in zip(numbered_frames(30), noise, strict=True)]
        encoding = Encoding(options={"x264-params": "keyint=1", "crf": "12"})
        path = write_clip(tmp_path / "scratched.mp4", frames, encoding=encoding)
        data = bytearray(path.read_bytes())
        with av.open(str(path)) as container:
            entry = container.streams.video[0].index_entries[10]
        data[entry.pos : entry.pos + entry.size] = bytes(entry.size)
        path.write_bytes(data)
        reader = VideoReader(path)
        seconds = [frame.seconds for frame in reader]
        assert set(seconds) >= {Fraction(number, 25) for number in range(30) if number != 10}
        assert all(later > earlier for earlier, later in pairwise(seconds))
        assert any("can't be decoded" in warning or "damaged" in warning for warning in reader.warnings)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_whatever_is_damaged_there_is_a_sentence_or_a_clip(self, tmp_path, suffix, data):
        whole = tmp_path / f"whole{suffix}"
        if not whole.exists():
            write_clip(whole, numbered_frames(20), NTSC, encoding=B_FRAMES)
        content = bytearray(whole.read_bytes())
        places = data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=40))
        for place in places:
            content[place] = data.draw(st.integers(0, 255))
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
        try:
            seconds = [frame.seconds for frame in VideoReader(path)]
        except (InputError, MachineError) as error:
            assert path.name in str(error)
        else:
            assert seconds
            assert all(later > earlier for earlier, later in pairwise(seconds))

    def test_two_clips_in_one_stream_may_differ_in_size(self, tmp_path):
        large = write_clip(tmp_path / "large.h264", numbered_frames(10))
        small = write_clip(tmp_path / "small.h264", numbered_frames(20, 32, 24)[10:])
        (tmp_path / "joined.h264").write_bytes(large.read_bytes() + small.read_bytes())
        reader = VideoReader(tmp_path / "joined.h264")
        frames = list(reader)
        assert [number_of(frame.image) for frame in frames] == list(range(20))
        assert {frame.image.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
        assert "changes its size" in reader.warnings[0]

    @pytest.mark.parametrize(
        "name", ["Überraschung 笑顔.mp4", "take 1:2.mp4", "a%03d.mp4", "http:x.mp4", "x" * 240 + ".mp4"]
    )
    def test_unusual_names(self, tmp_path, shared_clip, name):
        (tmp_path / name).write_bytes(shared_clip.read_bytes())
        assert len(read(tmp_path / name)[0]) == 50

    def test_very_long_path(self, tmp_path, shared_clip):
        folder = tmp_path
        for _ in range(5):
            folder = folder / ("f" * 200)
        folder.mkdir(parents=True)
        (folder / "clip.mp4").write_bytes(shared_clip.read_bytes())
        assert len(read(folder / "clip.mp4")[0]) == 50


class TestReading:
    def test_can_be_read_again_and_left_early(self, shared_clip):
        reader = VideoReader(shared_clip)
        first = next(iter(reader))
        both = zip(reader, reader, strict=True)
        assert all(np.array_equal(one.image, other.image) for one, other in both)
        assert number_of(first.image) == 0

    def test_memory_does_not_grow_with_the_clip(self, tmp_path):
        import resource

        path = write_clip(tmp_path / "long.mp4", (numbered_frames(1, 640, 480)[0] for _ in range(400)))
        reader = iter(VideoReader(path))
        for _ in range(50):
            next(reader)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert sum(1 for _ in reader) == 350
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown * 1024 < 20 * 640 * 480 * 3 * 4  # 350 frames are kept nowhere


class TestWriting:
    @pytest.mark.parametrize("depth", [8, 16])
    @pytest.mark.parametrize("channels", [3, 4])
    def test_png_is_exact(self, tmp_path, depth, channels):
        codes = np.random.default_rng(0).integers(0, 2**depth, (7, 5, channels))
        (tmp_path / "a.png").write_bytes(encode_png(codes / (2**depth - 1), depth))
        back = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
        order = [2, 1, 0, 3][:channels]
        assert np.array_equal(back[..., order], codes)

    def test_mp4_comes_back(self, tmp_path):
        images = [corner_picture(65, 49) / 255] * 5
        with Mp4Writer(tmp_path / "out.mp4", NTSC, (65, 49)) as writer:
            for image in images:
                writer.write(image)
        reader = VideoReader(tmp_path / "out.mp4")
        frames = list(reader)
        assert (reader.info.width, reader.info.height, reader.info.average_rate) == (64, 48, NTSC)
        assert [frame.seconds for frame in frames] == [number / NTSC for number in range(5)]
        np.testing.assert_allclose(frames[2].image[10, 10], images[0][10, 10], atol=0.02)
        np.testing.assert_allclose(frames[2].image[40, 50], images[0][40, 50], atol=0.02)


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
