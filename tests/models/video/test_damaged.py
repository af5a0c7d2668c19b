# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is damaged, cut short or no video at all is one sentence, or a warning where it can be used."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import B_FRAMES, HEIGHT, NTSC, WIDTH, Encoding, number_of, numbered_frames, read, write_clip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magplus.backend_bridge.files.errors import InputError, MachineError
from magplus.models.video import VideoReader


class TestBadInputs:
    def refusal(self, path: Path, **options) -> str:
        with pytest.raises(InputError) as caught:
            list(VideoReader(path, **options))
        sentence = str(caught.value)
        assert "\n" not in sentence
        assert sentence.endswith(".")
        return sentence

    def test_missing_file(self, tmp_path):
        refusal = self.refusal(tmp_path / "nowhere.mp4")
        assert "no file" in refusal and "put it back, or choose another" in refusal

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
