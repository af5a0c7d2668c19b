# SPDX-License-Identifier: GPL-3.0-or-later
"""The job spec: what one run is asked to do, as `job.json` in the job folder.

The spec is plain data. Paths inside the job folder are written relative to it, so that the folder can be moved or
handed to a farm; the driving video usually lies elsewhere and may be absolute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..files.errors import InputError
from ..files.typed_json import Data, Format
from ..rig.anchors import MESH_POINTS
from ..rig.regions import REGIONS
from . import artefacts

MAX_ALPHA = 64.0
MAX_SMOOTHING = 1.0
Match = Literal["motion", "shape"]


@dataclass(frozen=True)
class Driving:
    """The driving video, an image sequence (its first file or its folder) or a single still.

    `trim` is (start, end) in seconds of the video's own timeline; `reference` is the neutral or onset frame, in
    seconds of the same timeline, or None for the automatic choice. `face_index` counts faces from left to right in
    the first frame that shows one; None takes the largest. `sequence_rate` is the frame rate of an image sequence,
    as a fraction ("24000/1001").
    """

    path: str
    trim: tuple[float, float] | None = None
    reference: float | None = None
    face_index: int | None = None
    sequence_rate: str | None = None


@dataclass(frozen=True)
class Anchor:
    """A place in the avatar's picture that a person says is a certain point of the face.

    `landmark` is a point of MediaPipe's face mesh, 0 to 467; `backend_bridge.rig.anchors` names those that can be
    placed by eye. `position` is (x, y) in px of the avatar's image, pixel centres at integers.
    """

    landmark: int
    position: tuple[float, float]


@dataclass(frozen=True)
class Avatar:
    """The rendered source frame, and how the driver's face is laid onto it.

    `face_box` is (x, y, width, height) in pixels of `image`, measured on the rig; None leaves finding the face to
    the detector. `rig_basis` is a file as `backend_bridge.rig.basis` writes it, or None when no rig is to be solved.

    `anchors` hold however the face was found: the mesh that the detector, the rig or the face box laid over the avatar
    is bent so that it passes through them. Named anchors that are not given hold where they were found, so that moving
    one moves its surroundings and nothing else. Three or more place the face alone, where nothing else can. Where every
    named anchor lies in the end is in the report's `avatar.anchors`, in the form of this field.
    """

    image: str
    face_box: tuple[float, float, float, float] | None = None
    rig_basis: str | None = None
    anchors: tuple[Anchor, ...] = ()


@dataclass(frozen=True)
class Rig:
    """What of the rig may be solved, and how. Names are those of the rig basis.

    `locked` controls are not solved; they keep the value they had when the avatar was captured. Of each pair in
    `mirrored` (left, right) both controls get the same excursion from rest.

    `smoothing` is the full width at half maximum, in seconds, of the Gaussian that solved curves are smoothed with. The
    default, 0, leaves every frame as it was solved; what smoothing takes off the apex is in the report's
    `weights.smoothing`.

    `match` says what of the driver's motion the rig is to have where its shapes differ: "motion", the driver's peak
    motion in every region of the face that the rig has controls for, or "shape", the least squares, which show less.
    """

    locked: tuple[str, ...] = ()
    mirrored: tuple[tuple[str, str], ...] = ()
    smoothing: float = 0.0
    match: Match = "motion"


@dataclass(frozen=True)
class Magnification:
    """`alpha` is the magnification factor, None for automatic; `regions` multiplies it per face region."""

    alpha: float | None = None
    regions: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outputs:
    """What to leave in the job folder.

    `frames`: restored frames; `weights`: solved rig controls; `magnified`: the magnified driver's face crop, which
    is what the backend was shown (for looking at, and for the demo's side-by-side video).
    """

    frames: bool = True
    weights: bool = False
    magnified: bool = False


@dataclass(frozen=True)
class JobSpec:
    """One run of the pipeline. `intensity` scales the restored motion: 1 is the driver's own intensity.

    `allow_cpu` lets a job whose GPU runs out of memory go on on the CPU, slower, instead of stopping.
    """

    driving: Driving
    avatar: Avatar
    backend: str = "flow_transfer"
    backend_options: dict[str, Any] = field(default_factory=dict)
    magnification: Magnification = field(default_factory=Magnification)
    rig: Rig = field(default_factory=Rig)
    intensity: float = 1.0
    outputs: Outputs = field(default_factory=Outputs)
    device: str = "auto"
    allow_cpu: bool = False
    created_by: dict[str, str] = field(default_factory=dict)

    def validated(self) -> JobSpec:
        """Return self, or raise `InputError` naming the first field that makes no sense."""
        alpha = self.magnification.alpha
        if alpha is not None and not (math.isfinite(alpha) and 0 < alpha <= MAX_ALPHA):
            raise InputError(f"The magnification must be above 0 and at most {MAX_ALPHA:g}, not {alpha:g}.")
        if not (math.isfinite(self.intensity) and 0 <= self.intensity <= 100):
            raise InputError(f"The intensity must be between 0 and 100, not {self.intensity:g}.")
        trim = self.driving.trim
        if trim is not None and not 0 <= trim[0] < trim[1]:
            raise InputError(f"The trim range must start at 0 s or later and end after its start, not {trim}.")
        for name in self.magnification.regions:
            if name not in REGIONS:
                raise InputError(f"There is no face region {name!r}; the regions are {', '.join(REGIONS)}.")
        self._check_anchors()
        self._check_rig()
        if self.outputs.weights and self.avatar.rig_basis is None:
            raise InputError("Shape keys were asked for, but the job has no rig basis; capture the avatar again.")
        if not (self.outputs.frames or self.outputs.weights):
            raise InputError("The job asks for no output; choose frames, shape keys or both.")
        return self

    def _check_anchors(self) -> None:
        landmarks = [anchor.landmark for anchor in self.avatar.anchors]
        for landmark in landmarks:
            if not 0 <= landmark < MESH_POINTS:
                raise InputError(f"There is no face landmark {landmark}; they are 0 to {MESH_POINTS - 1}.")
            if landmarks.count(landmark) > 1:
                raise InputError(f"Face landmark {landmark} has two anchors; remove one of them.")

    def _check_rig(self) -> None:
        paired = [name for pair in self.rig.mirrored for name in pair]
        for name in paired:
            if paired.count(name) > 1:
                raise InputError(f"The control {name!r} is mirrored with more than one other; keep one of the pairs.")
            if name in self.rig.locked:
                raise InputError(f"The control {name!r} is both locked and mirrored; choose one of the two.")
        if not (math.isfinite(self.rig.smoothing) and 0 <= self.rig.smoothing <= MAX_SMOOTHING):
            raise InputError(
                f"The smoothing must be between 0 and {MAX_SMOOTHING:g} s, not {self.rig.smoothing:g} s; "
                "a micro-expression lasts at most half a second."
            )

    def to_json(self) -> str:
        """Return the spec as indented JSON."""
        return SPEC.encode(self).decode("utf-8", "surrogateescape")

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """Parse and validate. Raises `InputError` for text that is no job or a job of a newer version."""
        return SPEC.decode(text.encode("utf-8", "surrogateescape")).validated()


def _anchors_to_avatar(data: Data) -> Data:
    """Turn a job of format 1 into one of format 2: the anchors stood beside what is solved."""
    rig = data.get("rig")
    if not isinstance(rig, dict) or "anchors" not in rig or not isinstance(data.get("avatar"), dict):
        return data
    rest = {key: value for key, value in rig.items() if key != "anchors"}
    return {**data, "rig": rest, "avatar": {**data["avatar"], "anchors": rig["anchors"]}}


SPEC = Format(
    JobSpec,
    artefacts.SPEC,
    "a MagPlus job",
    "correct it, or capture the avatar again",
    version=2,
    older={1: _anchors_to_avatar},
)
AVATAR = Format(Avatar, artefacts.AVATAR_RECORD, "a record of a capture", "capture the avatar again")


def resolve(folder: Path, path: str) -> Path:
    """Return a path of the spec as a path of this machine: relative ones are relative to the job folder."""
    return folder / Path(path)
