# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured of a driving clip, kept between jobs: shots of one clip measure its face once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.files.hashing import fingerprint_of, hash_file
from ...backend_bridge.job.spec import Driving, resolve
from ..backends import Framing
from ..face import FaceLandmarker
from .driving_clip import DrivingClip, reader_of
from .kept_clip import KeptClip
from .notes import Notes
from .shared_measurements import Arrays, Codec, SharedMeasurements

MOST_CLIPS = 8  # a minute of film has 8 MB of landmarks
_HELD = {".webp", ".tif", ".tiff"}  # all frames of these are in memory as long as their reader is


@dataclass(frozen=True)
class _Known:
    """A clip, and what a person was told of it."""

    clip: DrivingClip
    warnings: tuple[str, ...]


class ClipCache:
    """The last few clips, by the content of their files and what was asked of them; it is gone with its process."""

    def __init__(self, shared: SharedMeasurements | None = None) -> None:
        """`shared` has what other workers have measured, and gets what this one measures."""
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._shared = shared

    def open(
        self,
        folder: Path,
        driving: Driving,
        landmarker: FaceLandmarker,
        notes: Notes,
        frame_size: int | None,
        framing: Framing,
    ) -> DrivingClip:
        """Return what `DrivingClip.open` does, and tell what that told, without measuring again what is known."""
        path = resolve(folder, driving.path)
        key = _key(folder, driving, frame_size, framing)

        def measure() -> _Known:
            told = len(notes.warnings)
            clip = DrivingClip.open(folder, driving, landmarker, notes, frame_size, framing)
            return _Known(clip, tuple(notes.warnings[told:]))

        def encode(known: _Known) -> Arrays | None:
            unchanged = key == _key(folder, driving, frame_size, framing)
            return known.clip.to_keep(known.warnings).encode() if unchanged else None

        def decode(arrays: Arrays) -> _Known:
            kept = KeptClip.decode(arrays)
            clip = DrivingClip.measured_before(kept, folder, driving, landmarker, frame_size, framing)
            return _Known(clip, kept.warnings)

        if (known := self._known.get(f"{path} {key}")) is not None:
            self._known.move_to_end(f"{path} {key}")
        else:
            known = self._shared.get("clip", key, measure, Codec(encode, decode)) if self._shared else measure()
            # Not one that was changed while it was measured.
            if path.suffix.lower() not in _HELD and key == _key(folder, driving, frame_size, framing):
                self._known[f"{path} {key}"] = known
                while len(self._known) > MOST_CLIPS:
                    self._known.popitem(last=False)
        for warning in known.warnings:
            notes.warning(warning)
        return known.clip


def _key(folder: Path, driving: Driving, frame_size: int | None, framing: Framing) -> str:
    reader = reader_of(folder, driving)
    try:
        files = [(file.name, hash_file(file)) for file in reader.files]
    except OSError as error:
        raise InputError(f"{reader.path} can't be read; check the driving video.") from error
    asked = [driving.trim, driving.sequence_rate, driving.reference, driving.face_index]
    shape = [type(framing).__module__, type(framing).__qualname__, repr(sorted(vars(framing).items()))]
    return fingerprint_of(files, asked, frame_size, shape)
