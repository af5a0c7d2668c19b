# SPDX-License-Identifier: GPL-3.0-or-later
"""Video files, decoded by FFmpeg through PyAV."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeAlias

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from ...backend_bridge.files.errors import InputError, MachineError
from .clip import Picture, Trim, VideoFrame, VideoInfo, within
from .colour import RgbConverter, bit_depth
from .limits import MOST_PIXELS, check_size
from .presentation import Presentation
from .timing import average_rate, constant_rate
from .unchanged import Unchanged

# Only real containers, and only this file: a playlist or a text file that calls itself .mp4 must not make FFmpeg open
# other files or addresses.
_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,flv,"
    "asf,ogg,mxf,mxf_d10,gxf,nut,dv,gif,apng,rm,yuv4mpegpipe,"
    "mjpeg",
}
# Only their makers' programs decode them, even where the container is a common one.
_CAMERA_RAW = frozenset({".braw", ".r3d", ".crm", ".ari", ".arx", ".nev", ".rmf"})
_FALLBACK_RATE = Fraction(25)  # what FFmpeg itself assumes for a stream without any clock
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # ITU-T H.273 TransferCharacteristics
_LEAST_MISSING = Fraction(1, 50)  # seconds; headers round to milliseconds
MOST_KEPT = 48 << 20  # bytes of decoded frames: 6 s of 640 x 360 px, half a second of 1920 x 1080 px
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # Matroska's elements
_HEADERS = 4096  # bytes in which both begin
_PROBE_WINDOW = 128  # packets; more than any reordering delay, so the earliest timestamp is among them


@dataclass(frozen=True)
class _Timeline:
    """The frames within the trim range, as the container announces them without decoding.

    time_base: seconds of a tick. origin: tick of the untrimmed video's first frame, or None for a file that keeps no
    presentation times (raw streams, AVI with B-frames): its rate is constant by definition and its frames are counted.
    count: the announced frames, or None if they can't be known beforehand. seek: a tick from which decoding finds every
    frame of the trim range, or None to decode from the start.
    """

    time_base: Fraction
    origin: int | None
    rate: Fraction
    variable_rate: bool
    count: int | None
    seek: int | None


_Decoded: TypeAlias = tuple[Fraction, av.VideoFrame, Presentation]  # seconds from the clip's first frame
_Frame: TypeAlias = tuple[Fraction, av.VideoFrame, VideoStream]  # seconds on the video's own timeline
_Frames: TypeAlias = Generator[_Frame, None, None]


class ContainerClip:
    """A video file. Satisfies `models.video.clip.Clip`."""

    def __init__(self, path: Path, trim: Trim | None) -> None:
        if path.suffix.lower() in _CAMERA_RAW:
            raise InputError(f"{path.name} is camera raw, which MagPlus can't read; export it as ProRes or H.264.")
        self.warnings: list[str] = []
        self.files: tuple[Path, ...] = (path,)
        self._path = path
        self._unchanged = Unchanged([path])
        self._trim = trim
        self._kept: list[_Decoded] | None = None
        self._begun: list[_Frames] = []  # a pass that is at the first frame, which is decoded to describe the clip
        self._timeline = self._probe()
        self.info = self._describe()

    def __iter__(self) -> Iterator[VideoFrame]:
        self._unchanged.check(self._path)
        convert = RgbConverter()
        frames = self._kept if self._kept is not None else self._read()
        for index, (seconds, frame, presentation) in enumerate(frames):
            yield VideoFrame(index, seconds, partial(self._image, convert, frame, presentation))
        self._unchanged.check(self._path)

    def forget(self) -> None:
        """Let go of decoded frames that are kept for the next pass."""
        self._kept = None
        self._begun.clear()

    def _image(self, convert: RgbConverter, frame: av.VideoFrame, presentation: Presentation) -> Picture:
        with self._damage_told():
            image = presentation(convert(frame))
        size = (self.info.width, self.info.height)
        if image.shape[1::-1] != size:
            image = np.clip(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), 0, 1)
        return image

    def _read(self) -> Iterator[_Decoded]:
        """Yield the frames in their order; those of a clip that is short enough are kept when all have been read."""
        size = (self.info.width, self.info.height)
        name = self._path.name
        announced = self._timeline.count
        index = damaged = repeated = 0
        previous: Fraction | None = None
        kept: list[_Decoded] = []
        room = MOST_KEPT
        with closing(self._begun.pop() if self._begun else self._frames()) as frames:
            for shown, frame, stream in frames:
                seconds = self._from_start(shown)
                if previous is not None and seconds <= previous:
                    repeated += 1
                    continue
                previous = seconds
                presentation = Presentation.of(frame, stream.sample_aspect_ratio)
                if presentation.size(frame.width, frame.height) != size:
                    self._warn(f"{name} changes its size on the way; its frames are brought to the first one's.")
                damaged += frame.is_corrupt
                size_of_it = sum(plane.buffer_size for plane in frame.planes)
                if not index and announced is not None and announced * size_of_it > MOST_KEPT:
                    room = 0  # not all will fit, and none is kept for nothing
                room -= size_of_it
                if room >= 0:
                    kept.append((seconds, frame, presentation))
                else:
                    kept.clear()
                yield seconds, frame, presentation
                index += 1
        self._kept = kept if room >= 0 else None
        if announced is not None and index + repeated < announced:
            missing = announced - index - repeated
            self._warn(f"{missing} of {announced} frames of {name} can't be decoded and are missing.")
        if damaged:
            self._warn(f"{damaged} of {index} frames of {name} are damaged.")
        if repeated:
            self._warn(f"{repeated} frames of {name} repeat an earlier time and are left out.")

    def _from_start(self, seconds: Fraction) -> Fraction:
        """Return seconds of the video's timeline as seconds from the clip's first frame.

        A constant rate is exact where the container's clock may be coarser than it.
        """
        seconds -= self.info.start
        rate = self._timeline.rate
        return seconds if self._timeline.variable_rate else round(seconds * rate) / rate

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        self._unchanged.check(self._path)
        # "file:" because a name such as "take 1:2.mp4" would be taken for a protocol.
        try:
            container = av.open(f"file:{self._path}", options=_OPEN_OPTIONS, metadata_errors="replace")
        except av.error.FFmpegError as error:
            raise InputError(
                f"{self._path.name} can't be read as a video ({error.strerror}); it may be incomplete or not a video."
            ) from error
        with container:
            covers = av.stream.Disposition.attached_pic
            streams = [stream for stream in container.streams.video if not stream.disposition & covers]
            if not streams:
                raise InputError(f"{self._path.name} holds no video, only other streams; choose a file with a picture.")
            streams.sort(key=lambda stream: _pixels(stream) + (stream == container.streams.best("video")), reverse=True)
            stream = streams[0]
            if stream.codec_context is None:
                raise MachineError(f"The video format of {self._path.name} isn't supported here; convert it to H.264.")
            check_size(stream.codec_context.width, stream.codec_context.height, self._path.name)
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # one that grows on the way is damaged
            if len(streams) > 1:
                width, height = stream.codec_context.width, stream.codec_context.height
                self._warn(
                    f"{self._path.name} holds {len(streams)} videos; the largest one ({width} x {height} px) is read."
                )
            # Not by frames: that delays errors to the end, where they cost the good frames behind them.
            stream.thread_type = "SLICE"
            with self._damage_told():
                yield container, stream

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except av.error.FFmpegError as error:  # of the file: the decoders are the same on every machine
            raise InputError(
                f"{self._path.name} can't be decoded ({error.strerror}): it is damaged, or of a kind that isn't "
                "supported; convert it to H.264."
            ) from error

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
        """Yield the stream's packets in decoding order, as far as the file can be read."""
        try:
            for packet in container.demux(stream):
                if packet.size:  # the demuxer ends with an empty one
                    yield packet
        except (av.error.FFmpegError, IndexError) as error:  # PyAV's own, when a damaged file grows a new stream
            self._warn(f"{self._path.name} can't be read to its end ({error}).")

    def _probe(self) -> _Timeline:
        with self._open() as (container, stream):
            time_base = stream.time_base or 1 / _FALLBACK_RATE
            nominal = (stream.guessed_rate, stream.average_rate, stream.base_rate)
            # AVI has one time a packet, in decoding order; what FFmpeg gives as presentation times then isn't.
            unordered = container.format.name == "avi" and bool(stream.codec_context.has_b_frames)
            head = [packet for packet, _ in zip(self._packets(container, stream), range(_PROBE_WINDOW), strict=False)]
            untold = container.format.name == "mjpeg"  # pictures one after the other, timed by FFmpeg's own guess
            shown = [packet.pts for packet in head if not packet.is_discard]
            if not shown:
                raise InputError(f"{self._path.name} has a video stream without a single frame.")
            if unordered or None in shown:
                rate = next((rate for rate in nominal if rate), None)
                if rate is None:
                    rate = self._without_rate()
                return _Timeline(time_base, None, rate, False, None, None)

            if untold:
                self._without_rate()
            origin = min(pts for pts in shown if pts is not None)
            seek = self._seek_point(container, stream, origin, time_base)
            ticks = None if seek is None else self._ticks(container, stream, origin, time_base, seek)
        if ticks is None:  # from the start, to which not every container can be brought back
            with self._open() as (container, stream):
                ticks = self._ticks(container, stream, origin, time_base)
        rate = constant_rate(ticks, time_base, nominal)
        variable = rate is None
        if rate is None:
            rate = average_rate(ticks, time_base)
        return _Timeline(time_base, origin, rate, variable, len(ticks), seek)

    def _without_rate(self) -> Fraction:
        """Return the rate of a video that has none, and warn of it."""
        self._warn(f"{self._path.name} has no frame rate of its own; {_FALLBACK_RATE} frames a second are assumed.")
        return _FALLBACK_RATE

    def _seek_point(
        self, container: InputContainer, stream: VideoStream, origin: int, time_base: Fraction
    ) -> int | None:
        """Return a tick whose seek lands on a key frame shown before the trim range, or None if there is none."""
        if self._trim is None or self._trim[0] == 0:
            return None
        start = origin + int(self._trim[0] / time_base)
        try:
            container.seek(start, stream=stream)
        except av.error.FFmpegError:
            return None
        landed = next(self._packets(container, stream), None)
        usable = landed is not None and landed.is_keyframe and landed.pts is not None and landed.pts <= start
        return start if usable else None

    def _ticks(
        self,
        container: InputContainer,
        stream: VideoStream,
        origin: int,
        time_base: Fraction,
        seek: int | None = None,
    ) -> list[int]:
        """Return the announced presentation times within the trim range, ascending, and check the file's end."""
        ticks, last, seen, cut = [], origin, 0, 0
        if seek is not None:
            container.seek(seek, stream=stream)
        for packet in self._packets(container, stream):
            cut += packet.is_discard
            if packet.pts is None or packet.is_discard:
                continue
            if self._trim and packet.dts is not None and (packet.dts - origin) * time_base >= self._trim[1]:
                break
            seen += 1
            last = max(last, packet.pts + (packet.duration or 0))
            if within((packet.pts - origin) * time_base, self._trim):
                ticks.append(packet.pts)
        else:
            self._check_end(stream, container, (last - origin) * time_base, seen)
        if cut > seen:
            self._warn(f"{cut} of {cut + seen} frames of {self._path.name} are cut away by its own edit list.")
        if not ticks:
            lasts = float((last - origin) * time_base)
            raise InputError(f"{self._path.name} lasts {lasts:.3f} s and has no frame in the trim range.")
        return sorted(set(ticks))

    def _check_end(self, stream: VideoStream, container: InputContainer, end: Fraction, seen: int) -> None:
        announced = _announced_duration(stream, container)
        # Containers leave out how long the last frame lasts, or round it; a frame and a half can't be explained so.
        frame = max(end / max(seen, 1), _LEAST_MISSING) if seen > 1 else _LEAST_MISSING
        if announced is not None and announced - end > Fraction(3, 2) * frame:
            self._warn(
                f"{self._path.name} is incomplete: the last {float(announced - end):.2f} s "
                f"of its {float(announced):.2f} s are missing."
            )
        elif "matroska" in container.format.name and cut_short(self._path):
            self._warn(f"{self._path.name} is incomplete: its header announces more than the file holds.")

    def _frames(self) -> _Frames:
        """Yield the frames within the trim range with the stream that they are of."""
        with self._open() as (container, stream):
            for seconds, frame in self._timed(container, stream):
                yield seconds, frame, stream

    def _timed(self, container: InputContainer, stream: VideoStream) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Yield (seconds on the video's own timeline, frame) within the trim range, in the decoder's order."""
        timeline = self._timeline
        for count, frame in enumerate(self._decoded(container, stream)):
            if timeline.origin is None:
                seconds = count / timeline.rate
            elif frame.pts is None:
                continue
            else:
                seconds = (frame.pts - timeline.origin) * timeline.time_base
            if self._trim and seconds >= self._trim[1] and not within(seconds, self._trim):
                break
            if within(seconds, self._trim):
                yield seconds, frame

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        if self._timeline.seek is not None:
            container.seek(self._timeline.seek, stream=stream)
        for packet in self._packets(container, stream):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                continue  # counted at the end, against the announced frames
        with suppress(av.error.InvalidDataError):
            yield from stream.decode(None)

    def _describe(self) -> VideoInfo:
        frames = self._frames()
        first = next(frames, None)
        if first is None:
            raise InputError(f"No frame of {self._path.name} can be decoded; the file may be damaged.")
        self._begun.append(_with(first, frames))  # between a key frame and the first one there may be hundreds
        seconds, frame, stream = first
        presentation = Presentation.of(frame, stream.sample_aspect_ratio)
        lossy = stream.codec_context.codec.lossy
        if frame.interlaced_frame:
            self._warn(f"{self._path.name} is interlaced; deinterlace it first, small motion suffers from the combing.")
        if int(frame.color_trc) in _HDR_TRANSFERS:
            self._warn(
                f"{self._path.name} is HDR ({_HDR_TRANSFERS[int(frame.color_trc)]}) and is read without tone mapping."
            )
        if not presentation.exact:
            self._warn(f"{self._path.name} is to be shown turned by an odd angle; the nearest right angle is taken.")
        timeline = self._timeline
        width, height = presentation.size(frame.width, frame.height)
        check_size(width, height, self._path.name)
        return VideoInfo(
            width=width,
            height=height,
            average_rate=timeline.rate,
            variable_rate=timeline.variable_rate,
            rotation=presentation.rotation,
            bit_depth=bit_depth(frame.format),
            frame_count=timeline.count,
            start=seconds,
            lossy=lossy,
        )

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _with(first: _Frame, rest: _Frames) -> _Frames:
    """Yield a frame that was taken from the others, and then these."""
    with closing(rest):
        yield first
        yield from rest


def _pixels(stream: VideoStream) -> int:
    context = stream.codec_context
    return 0 if context is None else context.width * context.height


def cut_short(path: Path) -> bool:
    """Return whether a Matroska file is shorter than its segment, which holds all but the header (RFC 8794, 9559)."""
    with path.open("rb") as file:
        head = file.read(_HEADERS)
    place = 0
    for expected in (_EBML, _SEGMENT):
        if not head.startswith(expected, place) or place + 5 > len(head) or head[place + 4] == 0:
            return False
        place += 4
        length = 9 - head[place].bit_length()  # of the size, which has as many leading zero bits as bytes follow
        size = int.from_bytes(head[place : place + length], "big") - (1 << 7 * length)
        unknown = size == (1 << 7 * length) - 1
        place += length + (size if expected is _EBML else 0)
    return not unknown and place + size > path.stat().st_size


def _announced_duration(stream: VideoStream, container: InputContainer) -> Fraction | None:
    """Return how long the picture should last by the header, or None where no header says so of the picture alone."""
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    others = {other.type for other in container.streams if other.index != stream.index}
    if container.duration is not None and not others & {"audio", "subtitle"}:
        return Fraction(container.duration, av.time_base)
    return None
