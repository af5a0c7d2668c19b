# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured of a driving clip, as arrays that another worker can go on with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.arrays import checked
from ...backend_bridge.files.errors import InputError
from ...backend_bridge.files.typed_json import Format
from ...backend_bridge.rig.footage import Untrusted
from ..face import FaceTrack, Reference, SteadyCrop
from ..face.landmarker import LANDMARKS
from ..face.similarity import Similarity
from ..face.wobble import FEWEST_TERMS, Wobble

MOST = 1e7  # px, and for a map's coefficients; no picture is as large
SCORES = 52  # blendshapes of the mesh
LARGEST_SIDE = 4096  # px of a crop; the largest that a backend asks for has 512


@dataclass(frozen=True)
class _Record:
    """All but the arrays; see `FaceTrack`, `Reference`, `DrivingClip`, `Wobble`. warnings: of the clip.

    across: from where to where a wobble's splines go, px.
    """

    warnings: tuple[str, ...]
    seconds: tuple[Fraction, ...]
    names: tuple[str, ...]
    untrusted: tuple[Untrusted, ...]
    faces: int
    taken: int
    reference: int
    reference_seconds: Fraction
    chosen: Literal["given", "automatic", "rest", "best frame"]
    size: int
    beyond: Literal["repeated", "black"]
    resting: Fraction | None
    wobble: Literal["none", "rows", "columns"]
    across: tuple[float, float]


_RECORD = Format(_Record, "a kept clip", "a measured clip", "delete the folder of measurements")


@dataclass(frozen=True)
class KeptClip:
    """What was measured of a clip: enough to make a `DrivingClip` without looking for the face again."""

    warnings: tuple[str, ...]
    track: FaceTrack
    chosen: Reference
    crop: SteadyCrop
    size: int
    resting: Fraction | None

    def encode(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays."""
        track, chosen, crop = self.track, self.chosen, self.crop
        record = _Record(
            warnings=self.warnings,
            seconds=track.seconds,
            names=track.blendshape_names,
            untrusted=track.untrusted,
            faces=track.faces,
            taken=track.taken,
            reference=chosen.index,
            reference_seconds=chosen.seconds,
            chosen=chosen.chosen,  # type: ignore[arg-type]
            size=self.size,
            beyond=crop.beyond,
            resting=self.resting,
            wobble="none" if crop.wobble is None else crop.wobble.lines,
            across=(0.0, 0.0) if crop.wobble is None else (crop.wobble.low, crop.wobble.high),
        )
        return {
            "record": np.frombuffer(_RECORD.encode(record), np.uint8),
            "points": track.points,
            "scores": track.blendshapes,
            "present": track.present,
            "maps": np.array([_coefficients(each) for each in (*crop.to_reference, crop.to_unit)]),
            "wobble": np.zeros((len(crop.to_reference), 0)) if crop.wobble is None else crop.wobble.terms,
        }

    @property
    def fingerprint(self) -> str:
        """A hash of all that was measured."""
        digest = hashlib.sha256()
        for name, array in self.encode().items():
            digest.update(f"{name}{array.shape}{array.dtype}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    @classmethod
    def decode(cls, arrays: Mapping[str, NDArray[Any]]) -> KeptClip:
        """Return it from arrays. Raises `ValueError` for those that no clip has left."""
        arrays = dict(arrays)
        try:
            record = _RECORD.decode(checked(arrays, "record", "u", (None,)).astype(np.uint8).tobytes())
        except InputError as error:
            raise ValueError(str(error)) from error
        count = len(record.seconds)
        frames = max(count, record.reference + 1)  # one more where the reference lies outside the trim
        if not (count > 0 and 0 <= record.reference <= count and 0 < record.size <= LARGEST_SIDE):
            raise ValueError("the numbers of its record fit no clip")
        if not 0 <= record.taken < record.faces:
            raise ValueError("its face is none of those it shows")
        if len(record.names) != SCORES or any(b <= a for a, b in zip(record.seconds, record.seconds[1:], strict=False)):
            raise ValueError("its record is of no clip")
        points = checked(arrays, "points", "f", (count, LANDMARKS, 3), MOST).astype(np.float32, copy=False)
        scores = checked(arrays, "scores", "f", (count, SCORES), MOST).astype(np.float32, copy=False)
        present = checked(arrays, "present", "b", (count,)).astype(np.bool_, copy=False)
        maps = checked(arrays, "maps", "f", (frames + 1, 4), MOST).astype(np.float64, copy=False)
        if not present.any() or (np.hypot(maps[:, 0], maps[:, 1]) < 1 / MOST).any():
            raise ValueError("its arrays are of no clip")
        *to_reference, to_unit = (Similarity(*each) for each in maps.tolist())
        track = FaceTrack(
            record.seconds, points, scores, record.names, present, record.untrusted, record.faces, record.taken
        )
        return cls(
            warnings=record.warnings,
            track=track,
            chosen=Reference(record.reference, record.reference_seconds, record.chosen),
            crop=SteadyCrop(tuple(to_reference), to_unit, record.beyond, _wobble(record, arrays, frames)),
            size=record.size,
            resting=record.resting,
        )


def _wobble(record: _Record, arrays: dict[str, NDArray[Any]], frames: int) -> Wobble | None:
    """Return a clip's wobble. Raises `ValueError` for one that no clip has left."""
    terms = checked(arrays, "wobble", "f", (frames, None), MOST).astype(np.float64, copy=False)
    if record.wobble == "none":
        return None
    low, high = record.across
    if not (terms.shape[1] >= FEWEST_TERMS and low < high):
        raise ValueError("its wobble is of no clip")
    return Wobble(record.wobble, low, high, terms)


def _coefficients(similarity: Similarity) -> tuple[float, float, float, float]:
    return similarity.a, similarity.b, similarity.tx, similarity.ty
