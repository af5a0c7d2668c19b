# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured of a driving clip, kept between jobs: shots of one clip measure its face once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...backend_bridge.files.hashing import fingerprint_of
from ..face import FaceLandmarker
from .clip_opening import open_clip, reopened
from .clip_request import ClipRequest
from .driving_clip import DrivingClip
from .kept_clip import KeptClip
from .notes import Notes
from .shared_measurements import Arrays, Codec, SharedMeasurements

MOST_CLIPS = 8  # a minute of film has 8 MB of landmarks
_HELD = {".webp", ".tif", ".tiff"}  # all frames of these are in memory as long as their reader is


@dataclass(frozen=True)
class _Known:
    """A clip, and the warnings that were given when it was opened."""

    clip: DrivingClip
    warnings: tuple[str, ...]


class ClipCache:
    """The last few clips, by the content of their files and what was asked of them; it is gone with its process."""

    def __init__(self, shared: SharedMeasurements | None = None) -> None:
        """`shared` has what other workers have measured, and gets what this one measures."""
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._shared = shared

    def open(self, request: ClipRequest, landmarker: FaceLandmarker, notes: Notes) -> DrivingClip:
        """Return what `open_clip` does, with its warnings, without measuring again what is known."""
        path, reader, key = request.path, request.reader, _key(request)
        place = f"{path} {key}"

        def measure() -> _Known:
            before = len(notes.warnings)
            clip = open_clip(request, landmarker, notes)
            return _Known(clip, tuple(notes.warnings[before:]))

        def encode(known: _Known) -> Arrays | None:
            return known.clip.to_keep(known.warnings).encode() if reader.unchanged else None

        def decode(arrays: Arrays) -> _Known:
            kept = KeptClip.decode(arrays)
            clip = reopened(kept, request, landmarker)
            return _Known(clip, kept.warnings)

        if place in self._known:
            self._known.move_to_end(place)
            known = self._known[place]
            reader.forget()  # or its file would stay open, though it is the known clip's own that is read
        else:
            known = self._shared.get("clip", key, measure, Codec(encode, decode)) if self._shared else measure()
            if path.suffix.lower() not in _HELD and reader.unchanged:
                self._known[place] = known
                while len(self._known) > MOST_CLIPS:
                    self._known.popitem(last=False)
        for warning in known.warnings:
            notes.warning(warning)
        return known.clip

    @contextmanager
    def job(self) -> Iterator[None]:
        """Let go of decoded frames when a job has ended."""
        try:
            yield
        finally:
            for known in self._known.values():
                known.clip.reader.forget()


def _key(request: ClipRequest) -> str:
    reader, driving, framing = request.reader, request.driving, request.framing
    names = [file.name for file in reader.files]  # whose numbers are the times of an image sequence
    asked = [driving.trim, driving.sequence_rate, driving.reference, driving.face_index]
    shape = [type(framing).__module__, type(framing).__qualname__, repr(sorted(vars(framing).items()))]
    return fingerprint_of(reader.sha256, names, asked, request.frame_size, shape)
