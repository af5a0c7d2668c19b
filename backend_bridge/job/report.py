# SPDX-License-Identifier: GPL-3.0-or-later
"""`report.json`: what a run has measured and made, one dataclass a section; the worker writes it, Blender reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from fractions import Fraction
from typing import Any, Literal

from ..files.errors import InputError
from ..files.typed_json import Format
from ..rig.events import MotionEvent, UnitEvent
from ..rig.footage import Compression, Span, Unseen, Untrusted
from . import artefacts
from .quality import Quality
from .shot import FASTEST, SLOWEST
from .spec import Anchor, Match

MOST_FRAMES = 1_000_000  # of a clip
MOST_SECONDS = 86_400  # of a clip: a day
MOST_PIXELS = 65_536  # each way
LARGEST = 1e12  # of any number
LONGEST_TEXT = 40_000  # a path may have 32,767 characters

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
    """The frame that motion was measured against, from 0.

    chosen: "given", "automatic" (near the clip's start), "rest" (automatically too, but elsewhere, as the face shows an
    expression near the start) or "best frame". not_neutral: where it shows an expression, a sentence that says so, and
    which frame is nearer to rest. better: that frame's time in seconds of the video, to be given as reference; it may
    lie outside the trim. index: -1 for a reference outside the trim.
    """

    index: int
    seconds: float
    chosen: str
    not_neutral: str = ""
    better: float | None = None


@dataclass(frozen=True)
class FaceReport:
    """The driver's face: its width in the video and the side of its crop, in px.

    missing_seconds: when the frames are that hold the one before them; untrusted: the same in runs, and why. unseen:
    regions that are at rest in frames that don't show them. blinks: when the lids close or open by so much that
    their motion is taken from the mesh. head_turn: degrees, the largest angle to the camera or to the reference. faces:
    how many the first frame with a face shows; taken: which of them drives, from the left, from 0. compression: what
    the video's codec did to it.
    """

    missing_seconds: tuple[float, ...]
    width_px: float
    crop_size: int
    untrusted: tuple[Untrusted, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    blinks: tuple[Span, ...] = ()
    head_turn: float = 0.0
    faces: int = 1
    taken: int = 0
    compression: Compression = field(default_factory=Compression)


@dataclass(frozen=True)
class WindowReport:
    """The square of the avatar's picture that the backend saw: px = origin + scale * crop px, turned by `angle`.

    angle: rad, from x towards y, by which the crop was turned to be level with the face.
    """

    origin: tuple[float, float]
    scale: float
    crop_size: int
    angle: float = 0.0


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
class OwnChanges:
    """What a backend adds of its own to the frames that it generates, as measured on the frames that set the factors.

    Lengths are shares of the face's width. shake: the largest motion of the head, though the driver's is still; it is
    taken out. flicker: the largest change of brightness, as a share of white; it is taken out. motion: of the face
    while the driver's is at rest, on average; change: the largest change of the whole face's picture while the driver
    is at rest, as a share of white.
    These two stay in, multiplied by the restoring factor; they are None where the driver is never at rest.
    """

    shake: float = 0.0
    flicker: float = 0.0
    motion: float | None = None
    change: float | None = None


@dataclass(frozen=True)
class RestorationReport:
    """The backend's gain, the factor that brought its motion back, and the driver's intensity as asked and as measured.

    `intensity_measured` is None without frames and where the driver hardly moves. `own`: what the backend added; None
    for one that gives its motion itself.
    """

    backend_gain: float
    factor: float
    intensity_asked: float
    intensity_measured: float | None
    own: OwnChanges | None = None


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
class ShotReport:
    """A moving shot. Its files have the numbers of the scene's frames.

    pattern: of the pictures, takes a frame's number. size: (width, height) px. resumed: how many an earlier run had
    finished. st_map, vectors: whether these are there, too. start_frame, rate, stretch, shift: where the clip lies in
    the scene, as `scene_time.Placement` has it. apex_frame: of the scene. hidden: frames in which less than a tenth of
    the moving face is seen.
    """

    pattern: str
    first: int
    count: int
    size: tuple[int, int]
    resumed: int
    st_map: bool
    vectors: bool
    start_frame: int
    rate: Fraction
    stretch: Fraction
    shift: Fraction
    apex_frame: int | None = None
    hidden: tuple[int, ...] = ()

    @property
    def nearest_to_apex(self) -> int | None:
        """The shot's frame that is nearest to the apex, which may lie outside; None where there is no apex."""
        if self.apex_frame is None:
            return None
        return min(max(self.apex_frame, self.first), self.first + self.count - 1)


@dataclass(frozen=True)
class SmoothingReport:
    """Full width at half maximum of the smoothing, in seconds, and the share of the apex that it left."""

    seconds: float
    apex_kept: float | None


@dataclass(frozen=True)
class RegionReport:
    """Peak motion of a region, as shares of the face's width.

    asked: the driver's, times the intensity that was asked for. shown: the rig's. gain: what the least squares were
    multiplied by to get there.
    """

    asked: float
    shown: float
    gain: float


@dataclass(frozen=True)
class WeightsReport:
    """The solved controls.

    unseen, locked: names of those that were not solved. peaks: the largest excursion from rest, by name. residual: the
    share of the face's motion that no control explains, over the whole clip, and by region. live_link_face: names of
    the controls in the Live Link Face CSV. regions: the driver's motion and the rig's, where the face moves. match:
    what was matched there.
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
    regions: dict[str, RegionReport] = field(default_factory=dict)
    match: Match = "motion"
    at_limit: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProvenanceReport:
    """The marks in the pictures.

    identity: of the job that they are of. digital_source_type: IPTC's, of the frames. signed_by: SHA-256 of the
    certificates that they are signed with (C2PA), empty where they are not.
    """

    identity: str
    digital_source_type: str
    signed_by: str = ""


@dataclass(frozen=True)
class Report:
    """A run. Only a finished one has the sections; of those, `frames` and `weights` as they were asked for.

    `events` are the clip's onset, apex and offset in seconds, None when nothing stands out from the noise. `versions`
    are those of MagPlus, Python and the packages, and the device. `warnings` are sentences. `job_sha256` tells which
    job.json it is the report of.
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
    provenance: ProvenanceReport | None = None
    versions: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    job_sha256: str = ""
    quality: Quality | None = None
    shot: ShotReport | None = None

    def validated(self) -> Report:
        """Return self, or raise `InputError` naming the first number that no run can have measured.

        Whatever reads a report may then list its frames, lay its times out and draw its places without further ado.
        """
        for name, wrong in _impossible(self):
            raise InputError(
                f"{artefacts.REPORT} has a wrong entry ({name} can't be {str(wrong)[:40]}); {REPORT.remedy}."
            )
        return self


def _impossible(report: Report) -> Iterator[tuple[str, Any]]:
    """Yield what is out of bounds, by name."""
    yield from _beyond("report", report)
    if (timing := report.timing) is not None:
        if len(timing.seconds) > MOST_FRAMES:
            yield "timing.seconds", f"{len(timing.seconds)} frames"
        yield from (("timing.seconds", each) for each in timing.seconds if not 0 <= each <= MOST_SECONDS)
        if not SLOWEST <= timing.rate <= FASTEST:
            yield "timing.rate", timing.rate
    if (frames := report.frames) is not None:
        if frames.pattern != artefacts.FRAMES.pattern:  # another one would show pictures from elsewhere
            yield "frames.pattern", repr(frames.pattern)
        if frames.first != 1:
            yield "frames.first", frames.first
        if not 0 <= frames.count <= MOST_FRAMES:
            yield "frames.count", frames.count
        yield from (("frames.size", side) for side in frames.size if not 1 <= side <= MOST_PIXELS)
    if (shot := report.shot) is not None:
        if shot.pattern not in {artefacts.SHOT_PNG.pattern, artefacts.SHOT_EXR.pattern}:
            yield "shot.pattern", repr(shot.pattern)
        if not 1 <= shot.first <= MOST_FRAMES + 48_574 or not 1 <= shot.count <= MOST_FRAMES:
            yield "shot.first", shot.first
        if not SLOWEST <= shot.rate <= FASTEST or shot.stretch <= 0:
            yield "shot.rate", shot.rate
        yield from (("shot.size", side) for side in shot.size if not 1 <= side <= MOST_PIXELS)
    if report.driving is not None and not 0 <= report.driving.start <= MOST_SECONDS:
        yield "driving.start", report.driving.start
    if report.avatar is not None:
        yield from (("avatar.size", side) for side in report.avatar.size if not 1 <= side <= MOST_PIXELS)
    if (event := report.events) is not None:
        times: list[float] = [each for each in (event.onset, event.apex, event.offset) if each is not None]
        yield from (("events", each) for each in times if not -1 <= each <= MOST_SECONDS)


def _beyond(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the numbers in a part of a report that are larger than anything that is measured, and endless texts."""
    if is_dataclass(value):
        for each in fields(value):
            yield from _beyond(each.name, getattr(value, each.name))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _beyond(f"{name}.{key[:20]}", each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _beyond(name, each)
    elif isinstance(value, int | float | Fraction) and not -LARGEST <= value <= LARGEST:
        yield name, f"a number above {LARGEST:g}"
    elif isinstance(value, str) and len(value) > LONGEST_TEXT:
        yield name, f"{value[:20]}…"


# Format 1 had the same entries without the avatar's hash and the networks'.
REPORT = Format(Report, artefacts.REPORT, "a report", "run the job again", version=2, older={1: lambda data: data})
