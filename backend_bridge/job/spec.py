# SPDX-License-Identifier: GPL-3.0-or-later
"""The job spec: what one run is asked to do, as `job.json` in the job folder.

The spec is plain data. Paths inside the job folder are written relative to it, so that the folder can be moved or
handed to a farm; the driving video usually lies elsewhere and may be absolute.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..files.errors import InputError
from ..files.frame_rates import parse_frame_rate
from ..files.plain import plain_path
from ..files.typed_json import Data, Format
from ..rig.anchors import MESH_POINTS
from ..rig.regions import REGIONS
from . import artefacts
from .shot import Shot

MIN_ALPHA, MAX_ALPHA = 0.01, 64.0  # of the magnification
MAX_INTENSITY = 100.0  # times the driver's
MAX_SMOOTHING = 1.0  # s; a micro-expression lasts at most half of that
MAX_REGION_GAIN = 10.0  # times the region's motion
MAX_SECONDS = 1e6  # of a video's timeline, eleven days
MAX_PIXELS = 1e6  # of a picture's side
LEAST_BOX = 4.0  # px, of a face's side
MAX_FACES = 1000  # in a picture
# No path has NUL, nor surrogates but those that stand for the bytes of a name that is no text (on Linux).
_NO_PATH = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")
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
class Expected(Anchor):
    """An anchor as the rig itself has it: roughly where a control of that name acts, or where a mesh of it is.

    `sure` for a mesh or material that is called after the part: it is the part.
    """

    sure: bool = False


@dataclass(frozen=True)
class Avatar:
    """The rendered source frame, and how the driver's face is laid onto it.

    `face_box` is (x, y, width, height) in pixels of `image`, measured on the rig; None leaves finding the face to
    the detector. `rig_basis` is a file as `backend_bridge.rig.basis` writes it, or None when no rig is to be solved.

    `anchors` hold however the face was found: the mesh that the detector, the rig or the face box laid over the avatar
    is bent so that it passes through them. Named anchors that are not given hold where they were found, so that moving
    one moves its surroundings and nothing else. Three or more place the face alone, where nothing else can. Where every
    named anchor lies in the end is in the report's `avatar.anchors`, in the form of this field.

    `expected` is where the rig itself says that points of the face are, roughly: from what its meshes and controls are
    called, and where they move. They place a face that no detector accepts, and show when a detector is mistaken.
    """

    image: str
    face_box: tuple[float, float, float, float] | None = None
    rig_basis: str | None = None
    anchors: tuple[Anchor, ...] = ()
    expected: tuple[Expected, ...] = ()


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
    is what the backend was shown (for looking at, and for the demo's side-by-side video); `compare`: small pictures of
    the driver, the magnified driver, the result and the result at four times the intensity, side by side. `st_map` and
    `vectors`: the motion of a moving shot itself, see `models.pipeline.outputs.moving_shot`.
    """

    frames: bool = True
    weights: bool = False
    magnified: bool = False
    st_map: bool = False
    vectors: bool = False
    compare: bool = False


@dataclass(frozen=True)
class JobSpec:
    """One run of the pipeline. `intensity` scales the restored motion: 1 is the driver's own intensity.

    `shot` is the interval of the scene that the image sequence follows; without it, it is of the still avatar.
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
    shot: Shot | None = None

    def validated(self) -> JobSpec:
        """Return self, or raise `InputError` naming the first field that makes no sense."""
        alpha = self.magnification.alpha
        if alpha is not None and not MIN_ALPHA <= alpha <= MAX_ALPHA:
            raise InputError(
                f"The magnification must be at least {MIN_ALPHA:g} and at most {MAX_ALPHA:g}, not {alpha:g}."
            )
        if not 0 <= self.intensity <= MAX_INTENSITY:
            raise InputError(f"The intensity must be between 0 and {MAX_INTENSITY:g}, not {self.intensity:g}.")
        for name, gain in self.magnification.regions.items():
            if name not in REGIONS:
                raise InputError(f"There is no face region {name[:40]!r}; the regions are {', '.join(REGIONS)}.")
            if not 0 <= gain <= MAX_REGION_GAIN:
                raise InputError(
                    f"The gain of a face region must be between 0 and {MAX_REGION_GAIN:g}, but {name} has {gain:g}."
                )
        check_device(self.device)
        for path in (self.driving.path, self.avatar.image, self.avatar.rig_basis or ""):
            if _NO_PATH.search(path):
                raise InputError(f"{path[:80]!r} can't be the path of a file; choose the file again.")
        self._check_driving()
        self._check_face_box()
        self._check_anchors()
        self._check_rig()
        if self.outputs.weights and self.avatar.rig_basis is None:
            raise InputError("Shape keys were asked for, but the job has no rig basis; capture the avatar again.")
        if self.shot is not None:
            self.shot.check()
        if (self.outputs.st_map or self.outputs.vectors) and (self.shot is None or not self.outputs.frames):
            raise InputError("An ST-map is of a moving shot; give the shot's first and last frame, too.")
        if not (self.outputs.frames or self.outputs.weights):
            raise InputError("The job asks for no output; choose frames, shape keys or both.")
        return self

    def _check_driving(self) -> None:
        trim, reference, face = self.driving.trim, self.driving.reference, self.driving.face_index
        if trim is not None and not 0 <= trim[0] < trim[1] <= MAX_SECONDS:
            raise InputError(f"The trim range must start at 0 s or later and end after its start, not {trim}.")
        if reference is not None and not 0 <= reference <= MAX_SECONDS:
            raise InputError(f"The reference frame must be a time of the video from 0 s on, not {reference:g} s.")
        if face is not None and not 0 <= face < MAX_FACES:
            raise InputError(f"There is no face {face}; faces are counted from left to right, from 0.")
        if self.driving.sequence_rate is not None:
            parse_frame_rate(self.driving.sequence_rate)

    def _check_face_box(self) -> None:
        if (box := self.avatar.face_box) is None:
            return
        if not (all(abs(number) <= MAX_PIXELS for number in box) and all(side >= LEAST_BOX for side in box[2:])):
            given = ", ".join(f"{number:g}" for number in box)
            raise InputError(
                f"The avatar's face box must be x, y, width and height in px, at least {LEAST_BOX:g} px wide and high, "
                f"not ({given}); capture the avatar again."
            )

    def _check_anchors(self) -> None:
        for landmark, times in Counter(anchor.landmark for anchor in self.avatar.anchors).items():
            if not 0 <= landmark < MESH_POINTS:
                raise InputError(f"There is no face landmark {landmark}; they are 0 to {MESH_POINTS - 1}.")
            if times > 1:
                raise InputError(f"Face landmark {landmark} has two anchors; remove one of them.")
        for anchor in self.avatar.anchors:
            if not all(abs(number) <= MAX_PIXELS for number in anchor.position):
                raise InputError(f"The anchor of face landmark {anchor.landmark} lies outside every picture; move it.")

    def _check_rig(self) -> None:
        locked = frozenset(self.rig.locked)
        for name, times in Counter(name for pair in self.rig.mirrored for name in pair).items():
            if times > 1:
                raise InputError(f"The control {name!r} is mirrored with more than one other; keep one of the pairs.")
            if name in locked:
                raise InputError(f"The control {name!r} is both locked and mirrored; choose one of the two.")
        if not (math.isfinite(self.rig.smoothing) and 0 <= self.rig.smoothing <= MAX_SMOOTHING):
            raise InputError(
                f"The smoothing must be between 0 and {MAX_SMOOTHING:g} s, not {self.rig.smoothing:g} s; "
                "a micro-expression lasts at most half a second."
            )


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


def check_device(name: str) -> None:
    """Raise `InputError` for what is no name of a device, of this machine or another."""
    if not _DEVICE.fullmatch(name):
        raise InputError(f"There is no device {name[:40]!r}; choose auto, cpu, mps, cuda, or one of several as cuda:1.")


def resolve(folder: Path, path: str) -> Path:
    """Return a path of the spec as a path of this machine: relative ones are relative to the job folder.

    Raises `InputError` for a link inside the job folder, and for a pipe or a device anywhere.
    """
    return plain_path(folder, path)
