# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading driving videos: the right frames, at the right times."""

import gc
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from clips import (
    B_FRAMES,
    FILM,
    HEIGHT,
    NTSC,
    WIDTH,
    Encoding,
    Times,
    corner_picture,
    number_of,
    numbered_frames,
    read,
    write_clip,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from magplus.backend_bridge.files.errors import InputError
from magplus.models.video import Mp4Writer, VideoReader, container, encode_png
from magplus.models.video.timing import constant_rate

OPEN_GOP = Encoding(options={"x264-params": "bframes=3:b-adapt=0:keyint=8:open-gop=1"})


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

    @pytest.mark.parametrize("rate", [FILM, NTSC, Fraction(60000, 1001), Fraction(120000, 1001), Fraction(60)])
    @pytest.mark.parametrize("count", [200, 300])
    def test_a_rate_that_only_rounded_times_tell_is_the_standard_one(self, tmp_path, rate, count):
        ticks = [round(number * 1000 / rate) for number in range(count)]
        times = Times(ticks, Fraction(1, 1000))
        path = write_clip(tmp_path / "recorded.mkv", numbered_frames(1) * count, rate, times=times)
        whole = path.read_bytes()
        at = whole.index(bytes.fromhex("23e383"))  # Matroska's DefaultDuration, in whose place there is nothing then
        length = 4 + (whole[at + 3] & 0x7F)
        nothing = bytes((0xEC, 0x80 | (length - 2))) + bytes(length - 2)
        path.write_bytes(whole[:at] + nothing + whole[at + length :])
        info = VideoReader(path).info
        assert (info.average_rate, info.variable_rate) == (rate, False)
        assert read(path)[0] == [number / rate for number in range(count)]

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

    @pytest.mark.parametrize("rate", [Fraction(2398, 100), Fraction(25, 2), Fraction(1000, 33), Fraction(5994, 100)])
    @pytest.mark.parametrize("count", [2, 5, 500])
    def test_a_rate_that_the_clock_has_exactly_stays(self, rate, count):
        assert constant_rate(range(count), 1 / rate, [rate]) == rate

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
