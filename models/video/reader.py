# SPDX-License-Identifier: GPL-3.0-or-later
"""The driving video, whatever it is stored as."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.files.frame_rates import parse_frame_rate
from ...backend_bridge.files.hashing import fingerprint_of, hash_file
from ...backend_bridge.files.image_formats import unreadable_pictures
from .animation import Animation, is_animated_png, is_animation
from .clip import Clip, VideoFrame, VideoInfo
from .container import ContainerClip
from .image_sequence import ImageSequence, images_from, is_image


class VideoReader:
    """Reads a video file, an animated picture, an image sequence (its folder or first file) or a still, frame by frame.

    Can be iterated any number of times; memory does not grow with the length of the video. Decoded frames of a short
    one are kept for the next pass (`forget`).

    path: an existing file or folder. trim: (start, end) in seconds of the video's own timeline, whose zero is its first
    frame; frames at start <= t < end are read. sequence_rate: frames a second of an image sequence, for example
    "24000/1001"; ignored for a video file, which has its own.

    Raises `InputError` if nothing usable is there, `MachineError` if this installation lacks the decoder. What is
    usable but not as it should be is in `warnings`, complete after one iteration to the end.

        reader = VideoReader("take 3.mov", trim=(1.5, 2.0))
        for frame in reader:
            print(frame.seconds, frame.image.shape)
    """

    def __init__(
        self,
        path: str | Path,
        trim: tuple[float, float] | None = None,
        sequence_rate: str | Fraction | None = None,
    ) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise InputError(f"There is no file {self.path}; put it back, or choose another.")
        if not (self.path.is_file() or self.path.is_dir()):  # a pipe would be waited for
            raise InputError(f"{self.path} is a device or a pipe; choose a video or pictures.")
        if self.path.is_file() and self.path.stat().st_size == 0:
            raise InputError(f"{self.path.name} is empty; copy or export it again.")
        if problem := unreadable_pictures(self.path):
            raise InputError(problem)
        exact_trim = None if trim is None else (Fraction(trim[0]), Fraction(trim[1]))
        rate = _rate(sequence_rate)
        self._clip: Clip
        if is_image(self.path) and not is_animated_png(self.path):
            moves = len(images_from(self.path)) == 1 and is_animation(self.path)
            self._clip = (Animation if moves else ImageSequence)(self.path, exact_trim, rate)
        else:
            self._clip = ContainerClip(self.path, exact_trim)

    @property
    def info(self) -> VideoInfo:
        """Facts about the trimmed clip."""
        return self._clip.info

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, or every image of the sequence that is read."""
        return self._clip.files

    @cached_property
    def sha256(self) -> str:
        """Hash of the video file, or of the hashes of an image sequence's files; the files are read once.

        Raises `InputError` where one can't be read.
        """
        self._hashed = self._stats()
        try:
            hashes = [hash_file(file) for file in self.files]
        except OSError as error:
            raise InputError(f"{self.path} can't be read; check the driving video.") from error
        return hashes[0] if len(hashes) == 1 else fingerprint_of(hashes)

    @property
    def unchanged(self) -> bool:
        """Whether the files have the size and the time that they had when `sha256` was computed."""
        return bool(self.sha256) and self._hashed == self._stats()

    def _stats(self) -> list[tuple[int, int, int]]:
        try:
            found = [file.stat() for file in self.files]
        except OSError as error:
            raise InputError(f"{self.path} can't be read; check the driving video.") from error
        return [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found]

    @property
    def warnings(self) -> list[str]:
        """What a person should know about this video, one sentence each."""
        return self._clip.warnings

    def __iter__(self) -> Iterator[VideoFrame]:
        return iter(self._clip)

    def forget(self) -> None:
        """Let go of decoded frames that are kept for the next pass; it decodes them again."""
        self._clip.forget()


def _rate(text: str | Fraction | None) -> Fraction | None:
    return None if text is None else parse_frame_rate(str(text))
