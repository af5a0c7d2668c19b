# SPDX-License-Identifier: GPL-3.0-or-later
"""`report.json`: what a run has measured and made, one dataclass a section; the worker writes it, Blender reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from ..files.typed_json import Format
from ..rig.events import MotionEvent, UnitEvent
from ..rig.footage import Span, Unseen, Untrusted
from . import artefacts
from .quality import Quality
from .spec import Anchor

Status = Literal["running", "finished", "cancelled", "failed"]


@dataclass(frozen=True)
class Failure:
    """Why a run has no result: its exit status (`backend_bridge.files.errors.ExitCode`) and a sentence."""

    exit_code: int
    sentence: str


@dataclass(frozen=True)
class DrivingReport:
    """The driving video: width and height in px as it is shown, `start` in seconds of its own timeline.

    `rotation` in degrees was applied; `frames` are those of the trimmed clip.
    """

    path: str
    sha256: str
    width: int
    height: int
    bit_depth: int
    rotation: int
    frames: int
    start: float


@dataclass(frozen=True)
class Timing:
    """When each frame is shown, in exact seconds from the clip's first one, and frames per second (on average)."""

    seconds: tuple[Fraction, ...]
    rate: Fraction
    variable_rate: bool = False


@dataclass(frozen=True)
class ReferenceReport:
    """The frame that motion was measured against, from 0; `chosen`: "given", "automatic" or "best frame".

    not_neutral: where it shows an expression, a sentence that says so, and which frame is nearer to rest.
    """

    index: int
    seconds: float
    chosen: str
    not_neutral: str = ""


@dataclass(frozen=True)
class FaceReport:
    """The driver's face: its width in the video and the side of its crop, in px.

    missing_seconds: when the frames are that hold the one before them; untrusted: the same in runs, and why. unseen:
    regions that are at rest in frames that don't show them. blinks: when the lids close or open by so much that the
    mesh tells better. head_turn: degrees, the largest angle to the camera or to the reference.
    """

    missing_seconds: tuple[float, ...]
    width_px: float
    crop_size: int
    untrusted: tuple[Untrusted, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    blinks: tuple[Span, ...] = ()
    head_turn: float = 0.0


@dataclass(frozen=True)
class WindowReport:
    """The square of the avatar's picture that the backend saw: px = origin + scale * crop px."""

    origin: tuple[float, float]
    scale: float
    crop_size: int


@dataclass(frozen=True)
class AvatarReport:
    """The avatar's picture: (width, height) px, whether a face was recognised in it, where the anchors came to lie.

    anchored: a person has placed some of them.
    """

    size: tuple[int, int]
    face_detected: bool
    anchors: tuple[Anchor, ...]
    window: WindowReport
    sha256: str = ""
    anchored: bool = False


@dataclass(frozen=True)
class MagnificationReport:
    """The magnification factor and what it was chosen for: the driver's peak motion as a share of its face's width.

    `weights`: SHA-256 of the networks' files by role; none where the solver alone measured (`trained` is False).
    """

    alpha: float
    chosen: Literal["automatic", "given"]
    regions: dict[str, float]
    peak_share_of_face_width: float
    trained: bool
    weights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointReport:
    """The file that a part of a backend's checkpoint came from."""

    file: str
    sha256: str


@dataclass(frozen=True)
class BackendReport:
    """The backend, the terms it comes under, its options as they were in force, and its checkpoint's files by part."""

    name: str
    title: str
    code_licence: str
    weights_licence: str
    commercial_use: bool
    options: dict[str, Any]
    checkpoint: dict[str, CheckpointReport]


@dataclass(frozen=True)
class RestorationReport:
    """The backend's gain, the factor that brought its motion back, and the driver's intensity as asked and as measured.

    `intensity_measured` is None without frames and where the driver hardly moves.
    """

    backend_gain: float
    factor: float
    intensity_asked: float
    intensity_measured: float | None


@dataclass(frozen=True)
class FramesReport:
    """The image sequence: `pattern` takes a frame's number, `size` is (width, height) px.

    `resumed` frames were finished by an earlier run.
    """

    pattern: str
    first: int
    count: int
    size: tuple[int, int]
    resumed: int = 0


@dataclass(frozen=True)
class SmoothingReport:
    """Full width at half maximum of the smoothing, in seconds, and the share of the apex that it left."""

    seconds: float
    apex_kept: float | None


@dataclass(frozen=True)
class WeightsReport:
    """The solved controls.

    unseen, locked: names of those that were not solved. peaks: the largest excursion from rest, by name. residual: the
    share of the face's motion that no control explains, over the whole clip, and by region. live_link_face: names of
    the controls in the Live Link Face CSV.
    """

    controls: int
    read_from: str
    unseen: tuple[str, ...]
    locked: tuple[str, ...]
    peaks: dict[str, float]
    residual: float | None
    residual_by_region: dict[str, float | None]
    smoothing: SmoothingReport
    action_units: tuple[UnitEvent, ...]
    live_link_face: tuple[str, ...]
    at_limit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A run. Only a finished one has the sections; of those, `frames` and `weights` as they were asked for.

    `events` are the clip's onset, apex and offset in seconds, None when nothing stands out from the noise. `versions`
    are those of MagPlus, Python and the packages, and the device. `warnings` are sentences.
    """

    status: Status
    error: Failure | None = None
    driving: DrivingReport | None = None
    timing: Timing | None = None
    reference: ReferenceReport | None = None
    face: FaceReport | None = None
    avatar: AvatarReport | None = None
    magnification: MagnificationReport | None = None
    backend: BackendReport | None = None
    restoration: RestorationReport | None = None
    frames: FramesReport | None = None
    weights: WeightsReport | None = None
    events: MotionEvent | None = None
    versions: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    quality: Quality | None = None


# Format 1 had the same entries without the avatar's hash and the networks'.
REPORT = Format(Report, artefacts.REPORT, "a report", "run the job again", version=2, older={1: lambda data: data})
