# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbered images and single stills, read by OpenCV; OpenEXR has a reader of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.files.image_formats import SEQUENCE_SUFFIXES, no_images
from .clip import Trim, VideoFrame, VideoInfo, within
from .exr import Layer, frame_rate, read_exr
from .limits import decode_picture, read_file
from .unchanged import Unchanged

_NUMBERS = re.compile(r"(\d+)")
_SIDE_FILE = "._"  # how names of the files begin in which macOS keeps what another file system can't hold
_EXR = ".exr"
_CLIPPED = 0.01  # of the px brighter than white: more than highlights in eyes and on skin
DEFAULT_RATE = Fraction(24)  # Blender's own


class ImageSequence:
    """Images as a clip. Satisfies `models.video.clip.Clip`.

    A folder is read as the one numbered sequence it holds; a file as the sequence that begins with it, or as a single
    still if no image with the next number lies beside it. Numbers keep their time: a missing image leaves a gap.
    """

    def __init__(self, path: Path, trim: Trim | None, rate: Fraction | None) -> None:
        self.warnings: list[str] = []
        numbered = images_from(path)
        self._name = path.name
        self._layer: Layer | None = None
        first = min(numbered)
        if rate is None and numbered[first].suffix.lower() == _EXR:
            rate = frame_rate(_encoded(numbered[first]), numbered[first].name)
        if rate is None:
            rate = DEFAULT_RATE
            if len(numbered) > 1:
                self.warnings.append(
                    f"The image sequence {self._name} has no frame rate of its own; {rate} frames a second are assumed."
                )
        timed = {Fraction(number - first) / rate: file for number, file in sorted(numbered.items())}
        self._files = {seconds: file for seconds, file in timed.items() if within(seconds, trim)}
        if not self._files:
            raise InputError(f"{self._name} lasts {float(len(timed) / rate):.3f} s and has no image in the trim range.")
        self.files: tuple[Path, ...] = tuple(self._files.values())
        start, end = min(self._files), max(self._files)
        missing = round((end - start) * rate) + 1 - len(self._files)
        if missing:
            self.warnings.append(
                f"{missing} images are missing in the image sequence {self._name}; their time is kept."
            )
        self._unchanged = Unchanged(self.files)
        image, bit_depth = self._read(self._files[start])
        self.info = VideoInfo(
            width=image.shape[1],
            height=image.shape[0],
            average_rate=(len(self._files) - 1) / (end - start) if missing else rate,
            variable_rate=missing > 0,
            rotation=0,
            bit_depth=bit_depth,
            frame_count=len(self._files),
            start=start,
        )

    def __iter__(self) -> Iterator[VideoFrame]:
        size = (self.info.width, self.info.height)
        for index, (seconds, file) in enumerate(self._files.items()):
            self._unchanged.check(file)
            image, _ = self._read(file)
            if image.shape[1::-1] != size:
                raise InputError(
                    f"{file.name} is {image.shape[1]} x {image.shape[0]} px, but the sequence began with "
                    f"{size[0]} x {size[1]}; give every image the same size."
                )
            yield VideoFrame(index, seconds - self.info.start, image)

    def forget(self) -> None:
        """Do nothing: no frames are kept."""

    def _read(self, file: Path) -> tuple[NDArray[np.float32], int]:
        """Return [H, W, 3] RGB in [0, 1], upright, and the bits of a stored sample."""
        encoded = _encoded(file)
        if file.suffix.lower() != _EXR:
            codes = _decoded(encoded, file)
            return to_float_rgb(codes), 8 * codes.dtype.itemsize
        picture = read_exr(encoded, file.name, self._layer)
        self._layer = picture.layer
        if picture.others:
            self._warn(
                f"{self._name} holds several layers; '{picture.layer.name or 'RGB'}' is read, not "
                f"{', '.join(picture.others)}."
            )
        if picture.clipped > _CLIPPED:
            self._warn(
                f"{self._name} holds light brighter than white, which the sRGB view clips; lower its exposure if that "
                "is the face."
            )
        if picture.undefined:
            self._warn(f"{self._name} holds pixels that are no finite numbers; they are read as black.")
        return picture.image, picture.bit_depth

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def is_image(path: Path) -> bool:
    """Return whether a path is a folder or named like an image."""
    return path.is_dir() or path.suffix.lower() in SEQUENCE_SUFFIXES


def images_from(path: Path) -> dict[int, Path]:
    """Return the images of a folder, or those that begin with a file, by number.

    Of the numbers in their names the frame's is the one that differs from file to file ("take_0001_1080p", "take (1)");
    where several do, the one that takes the most values, of equals the last ("shot_1_0001", "shot_2_0001").
    """
    if path.is_dir():
        files = [file for file in _beside(path) if file.suffix.lower() in SEQUENCE_SUFFIXES]
        sequences = _sequences(files)
        if not sequences:
            raise InputError(no_images(path))
        if len(sequences) > 1:
            raise InputError(
                f"The folder {path.name} holds {len(sequences)} image sequences; choose the first file of one."
            )
        return sequences[0]
    if path.name.startswith(_SIDE_FILE):
        raise InputError(
            f"{path.name} is no picture but what macOS keeps beside one; choose {path.name.removeprefix(_SIDE_FILE)}."
        )
    for sequence in _sequences([file for file in _beside(path.parent) if file.suffix == path.suffix]):
        first = next((number for number, file in sequence.items() if file == path), None)
        if first is not None and first + 1 in sequence:
            return {number: file for number, file in sequence.items() if number >= first}
    return {0: path}


def _sequences(files: list[Path]) -> list[dict[int, Path]]:
    """Return the sequences that files are of, by number; those without a number in their names are of none."""
    alike: dict[tuple[str, ...], list[tuple[list[str], Path]]] = {}
    for file in files:
        texts = _NUMBERS.split(file.stem)
        if len(texts) > 1:
            alike.setdefault((*texts[::2], file.suffix), []).append((texts[1::2], file))
    found: dict[tuple[object, ...], dict[int, Path]] = {}
    for name, numbered in alike.items():
        values = [len(set(column)) for column in zip(*(numbers for numbers, _ in numbered), strict=True)]
        frame = max(range(len(values)), key=lambda place: (values[place], place))
        for numbers, file in numbered:
            others = (*numbers[:frame], *numbers[frame + 1 :])
            found.setdefault((name, others), {})[int(numbers[frame])] = file
    return list(found.values())


def _beside(folder: Path) -> list[Path]:
    """Return the folder's files without macOS's side files."""
    return [file for file in folder.iterdir() if not file.name.startswith(_SIDE_FILE)]


def _encoded(file: Path) -> bytes:
    # Decoded from memory: OpenCV can't open every path on Windows.
    try:
        return read_file(file)
    except OSError as error:
        raise InputError(f"{file.name} can't be read ({error.strerror}).") from error


def _decoded(encoded: bytes, file: Path) -> NDArray[np.generic]:
    """Return [H, W, 3] BGR codes, turned upright by the camera's EXIF tag."""
    image = decode_picture(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, file.name)
    if image is None:
        raise InputError(f"{file.name} can't be read as an image; it may be incomplete or of another kind.")
    return image


def to_float_rgb(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return BGR codes [H, W, 3] as RGB in [0, 1].

    >>> to_float_rgb(np.array([[[0, 51, 255]]], np.uint8))
    array([[[1. , 0.2, 0. ]]], dtype=float32)
    """
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if np.issubdtype(rgb.dtype, np.integer):
        return rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)
    return rgb.astype(np.float32).clip(0, 1)
