# SPDX-License-Identifier: GPL-3.0-or-later
"""The points of the face that a person can place by eye: where the driver's face is pinned to the avatar's.

"Right" is the character's own right, on the left of the picture.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ..files.errors import InputError
from ..files.typed_json import Format
from ..files.whole import write_whole

MESH_POINTS = 468  # of MediaPipe's face mesh; the ten iris points behind them follow the gaze, not the face's shape

LARGEST = 1 << 20  # bytes of a file of anchors; all points of a face take some 30 thousand
_BESIDE = 1.0  # of a picture's extent; a face of which a part is seen has anchors beside it, no further away

# Name -> point of the face mesh.
FACE_ANCHORS = MappingProxyType(
    {
        "right brow, outer end": 70,
        "right brow, inner end": 107,
        "left brow, inner end": 336,
        "left brow, outer end": 300,
        "right eye, outer corner": 33,
        "right eye, inner corner": 133,
        "left eye, inner corner": 362,
        "left eye, outer corner": 263,
        "nose, tip": 4,
        "nose, right wing": 129,
        "nose, left wing": 358,
        "mouth, right corner": 61,
        "mouth, left corner": 291,
        "upper lip, middle of its upper edge": 0,
        "lower lip, middle of its lower edge": 17,
        "chin, lowest point": 152,
    }
)


@dataclass(frozen=True)
class AnchorFile:
    """Anchors in a file, to be placed by hand, by another program, or once for many shots.

    size: (width, height) px of the picture that the places are in; another size is scaled. anchors: (x, y) px by name
    or by number of the face mesh, pixel centres at integers.
    """

    size: tuple[int, int]
    anchors: dict[str, tuple[float, float]]

    def places(self, size: tuple[int, int]) -> dict[int, tuple[float, float]]:
        """Return the places in a picture of this size, by landmark.

        Raises `InputError` for an unknown anchor, and for a picture of another shape: what it shows is not known.
        """
        if not _alike(self.size, size):
            raise InputError(
                f"The anchors are of a picture of {_by(self.size)} px, and this one has {_by(size)} px, which is "
                "another shape; export them from a scene whose picture has this shape."
            )
        across, down = (now / then for now, then in zip(size, self.size, strict=True))
        return {
            _landmark(name): ((x + 0.5) * across - 0.5, (y + 0.5) * down - 0.5) for name, (x, y) in self.anchors.items()
        }


ANCHORS = Format(AnchorFile, "anchors", "a file of anchors", "correct it, or export the anchors again", version=1)


def read_anchors(path: Path) -> AnchorFile:
    """Read a file of anchors. Raises `InputError` for one that is missing, or is none."""
    try:
        # A device has no end, and a video isn't read for nothing.
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise OSError(errno.EINVAL, "no file of anchors", str(path))
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"The anchors {path} can't be read; give a file that `magplus anchors` wrote.") from error
    found = replace(ANCHORS, name=path.name).decode(data)
    if min(found.size) < 1 or not found.anchors:
        raise InputError(f"{path.name} has no anchors in a picture; correct it, or export them again.")
    found.places(found.size)
    for name, place in found.anchors.items():
        if any(
            not -_BESIDE * extent <= each <= (1 + _BESIDE) * extent
            for each, extent in zip(place, found.size, strict=True)
        ):
            raise InputError(
                f"{path.name} has {name!r} at ({place[0]:g}, {place[1]:g}), far outside its picture of "
                f"{_by(found.size)} px; correct its place, or the size."
            )
    return found


def write_anchors(path: Path, size: tuple[int, int], places: Mapping[int, tuple[float, float]]) -> None:
    """Write anchors by their names. Raises `InputError` where no file can be written."""
    names = {landmark: name for name, landmark in FACE_ANCHORS.items()}
    document = AnchorFile(size, {names.get(landmark, str(landmark)): place for landmark, place in places.items()})
    try:
        write_whole(path, ANCHORS.encode(document))
    except OSError as error:
        raise InputError(f"The anchors can't be written to {path} ({error.strerror}); choose another place.") from error


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have the same proportions, but for what rounding to whole px makes of them."""
    return any(
        abs(a[0] * b[1] / b[0] - a[1]) <= 1 or abs(a[1] * b[0] / b[1] - a[0]) <= 1
        for a, b in ((one, other), (other, one))
    )


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _landmark(name: str) -> int:
    if name in FACE_ANCHORS:
        return FACE_ANCHORS[name]
    if name.isascii() and name.isdigit() and int(name) < MESH_POINTS:
        return int(name)
    raise InputError(
        f"There is no anchor {name!r}; they are {', '.join(repr(each) for each in FACE_ANCHORS)}, or points of the "
        f"face mesh, 0 to {MESH_POINTS - 1}."
    )
