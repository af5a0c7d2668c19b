# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job reads of rigs in a rendered driver's clip, for `bench rig`: filmed and read once, and kept.

Nearly all of a clip's time goes into the film and into the measuring of its motion, and neither depends on how controls
are solved from it. A job is run up to the solver, with any number of rigs laid over the same picture; what was read is
kept under `.magplus` by the hash of everything that it came from, so that another solver, or another rig, costs no
second film.
"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Magnification, Outputs
from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.models.backends import Animated, Backend, DrivingBatch, registry
from magplus.models.face import FaceLandmarks, select_face
from magplus.models.pipeline import run as job
from magplus.models.pipeline.batch import Batch
from magplus.models.pipeline.factors import Factors
from magplus.models.pipeline.notes import Unheard
from magplus.models.pipeline.rig_reader import ClipEquations, RigReader
from magplus.models.pipeline.session import Session
from magplus.models.pipeline.subjects import Subjects
from magplus.models.rig.codec_floor import above_codec
from magplus.models.training.actors import RATE, Actor, Film, film
from magplus.models.video import VideoReader, encode_png

from ._kept import Kept, hash_of

ROOT = Path(__file__).resolve().parent.parent
COMPRESSED = "H.264"
OWN = "own"  # the rig whose keys are the driver's
# Modules of `models/rig` that only see what was read.
_AFTER_READING = frozenset(
    (
        *("box_least_squares", "evidence", "expression", "head_motion", "homes", "matching", "measurement", "misfit"),
        *("selection", "smoothing", "solver", "support", "unknowns"),
    )
)


def reading_code() -> str:
    """Return a hash of all code and weights that what is read depends on."""
    rig = ROOT / "models" / "rig"
    files = {
        *(ROOT / "models").rglob("*.py"),
        *(ROOT / "models" / "weights").glob("*.safetensors"),
        *(ROOT / "backend_bridge").rglob("*.py"),
        Path(__file__),
    }
    return hash_of(files - {rig / f"{name}.py" for name in _AFTER_READING})


def all_code() -> str:
    """Return a hash of what figures depend on besides that."""
    benchmark = [ROOT / "benchmarks" / "rig.py", *(ROOT / "benchmarks" / "_rig").glob("*.py")]
    return hash_of([*(ROOT / "models" / "rig").glob("*.py"), *benchmark])


@dataclass(frozen=True)
class Found:
    """Control values [N, K], and the residual of each frame [N] where there is one; processor seconds in all."""

    values: NDArray[np.floating]
    residual: NDArray[np.floating] | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Reading:
    """What a job read of a rig; seconds: of the processor."""

    reader: RigReader
    clip: ClipEquations
    seconds: float

    def solve(self) -> Found:
        """Return the values that the job would leave in `weights.npz`, but for what it knows of an event's end."""
        start = time.process_time()
        curves = self.reader.solve(self.clip).curves
        if self.clip.compressed:
            curves, _ = above_codec(curves, self.reader.basis.controls, self.clip.moves)
        return Found(curves.values, curves.residual, self.seconds + time.process_time() - start)


class Clip:
    """A driver's clip, filmed when somebody asks for its pictures."""

    def __init__(
        self, driver: Actor, expression: str, peak: float, condition: str, seed: int, folder: Path, kept: Kept
    ) -> None:
        self._driver, self._seed, self._folder, self._kept = driver, seed, folder, kept
        self.expression, self.peak, self.condition = expression, peak, condition

    @property
    def made_from(self) -> tuple[Any, ...]:
        """What tells this clip from all others."""
        return (self._driver.seed, self._driver.size, self.expression, self.peak, self.condition, self._seed)

    @cached_property
    def film(self) -> Film:
        """The frames as they were filmed."""
        sway, noise = ("sway" in self.condition), ("noise" in self.condition)
        return film(self._driver, self.expression, self.peak, self._seed, sway=sway, noise=noise)

    @cached_property
    def truth(self) -> NDArray[np.float64]:
        """The true control values, [N, K]."""
        return self._kept.value("truth", self.made_from, lambda: self.film.values)

    @cached_property
    def file(self) -> Path:
        """The file or folder that the clip is in."""
        return self.film.write(self._folder / f"driver {self._seed}", self.condition == COMPRESSED)

    @cached_property
    def frames(self) -> list[Tensor]:
        """The frames [3, H, W] as they are in the file, which compression has changed."""
        reader = VideoReader(self.file, sequence_rate=str(RATE))
        return [torch.from_numpy(frame.image).permute(2, 0, 1) for frame in reader]


class Sessions:
    """Loaded models: those of a job, and those of one whose backend keeps the motion that it applied to itself."""

    def __init__(self) -> None:
        self.usual, self.alone = Session(), Session()

    def close(self) -> None:
        """Let the landmarkers go."""
        for session in (self.usual, self.alone):
            session.landmarker().close()


class Readings:
    """A driver and an avatar, and what jobs read of rigs that hang on the avatar."""

    def __init__(self, driver: Actor, avatar: Actor, sessions: Sessions, folder: Path, kept: Kept) -> None:
        self.driver, self.avatar, self.sessions, self.folder, self.kept = driver, avatar, sessions, folder, kept

    def clip(self, expression: str, peak: float, condition: str, seed: int) -> Clip:
        """Return a clip of the driver."""
        return Clip(self.driver, expression, peak, condition, seed, self.folder, self.kept)

    def faces(self, clip: Clip) -> list[FaceLandmarks]:
        """Return MediaPipe's landmarks and scores in every frame of a clip."""
        return self.kept.value("faces", clip.made_from, lambda: [self._detect(frame[None]) for frame in clip.frames])

    @cached_property
    def avatar_face(self) -> FaceLandmarks:
        """The face found in the avatar's picture."""
        return self._detect(self.avatar.neutral)

    def _detect(self, picture: Tensor) -> FaceLandmarks:
        """Return the face in a picture [1, 3, H, W]."""
        image = np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy())
        return select_face(self.sessions.usual.landmarker().detect(image))

    def of(self, clip: Clip, backend: str, bases: dict[str, RigBasis] | None = None) -> dict[str, Reading]:
        """Return what a job reads of each of these rigs, the avatar's own by default."""
        return self._read("job", clip, backend, bases or {OWN: self.avatar.basis})

    def alone(self, clip: Clip, backend: str) -> Reading:
        """Return what is read of a backend that is shown the driver as it is, and whose frames are all there is."""
        return self._read("alone", clip, backend, {OWN: self.avatar.basis}, Magnification(alpha=1.0))[OWN]

    def oracle(self, clip: Clip) -> Reading:
        """Return what is read of pictures of the avatar with the true values, in the driver's place."""
        return self._read("oracle", clip, "flow_transfer", {OWN: self.avatar.basis})[OWN]

    def _read(
        self,
        kind: str,
        clip: Clip,
        backend: str,
        bases: dict[str, RigBasis],
        magnification: Magnification | None = None,
    ) -> dict[str, Reading]:
        """Return what is kept, and run one job for all that isn't."""
        made: dict[str, Reading] = {}

        def read(name: str) -> Reading:
            if not made:
                alone = kind == "alone"
                session = self.sessions.alone if alone else self.sessions.usual
                driving = self._truth(clip) if kind == "oracle" else clip.file
                with only_frames(backend, alone):
                    made.update(self._job(driving, backend, session, bases, magnification or Magnification()))
            return made[name]

        made_from = (*clip.made_from, self.avatar.seed, self.avatar.size, backend)
        return {name: self.kept.value(kind, (*made_from, name), partial(read, name), _Light) for name in bases}

    def _truth(self, clip: Clip) -> Path:
        """Film the avatar with the true values."""
        return Film(self.avatar.pictures(clip.truth), clip.truth).write(
            self.folder / "truth", compressed=clip.condition == COMPRESSED
        )

    def _job(
        self, driving: Path, backend: str, session: Session, bases: dict[str, RigBasis], magnification: Magnification
    ) -> dict[str, Reading]:
        start = time.process_time()
        with tempfile.TemporaryDirectory(dir=self.folder, suffix=".magplus") as name:
            folder = JobFolder.create(Path(name))
            folder.write(artefacts.AVATAR_IMAGE, encode_png(self.avatar.neutral[0].permute(1, 2, 0).numpy()))
            next(iter(bases.values())).save(folder.path / artefacts.AVATAR_BASIS)
            spec = JobSpec(
                Driving(str(driving), sequence_rate=str(RATE)),
                Avatar(artefacts.AVATAR_IMAGE, rig_basis=artefacts.AVATAR_BASIS),
                backend=backend,
                magnification=magnification,
                outputs=Outputs(frames=False, weights=True),
                device="cpu",
            )
            folder.write_spec(spec)
            with recorded(list(bases.values())) as recording, suppress(_AllIsRead):
                job.run_job(folder, session, Unheard())
            found = recording[0]
        seconds = (time.process_time() - start) / len(bases)
        return {
            name: Reading(reader, clip, seconds)
            for name, reader, clip in zip(bases, found.readers, found.clips, strict=True)
        }


class _AllIsRead(Exception):  # noqa: N818 - it is no error
    """Ends a job where it would solve."""


class _Recording:
    """Stands in for a job's reader: reads for several rigs at once, and ends the job where it would solve."""

    def __init__(self, readers: Sequence[RigReader]) -> None:
        self.readers = readers
        self.basis, self.read_from = readers[0].basis, readers[0].read_from
        self.clips: list[ClipEquations] = []
        self._sites: list[int] = []

    def read(self, batch: Batch) -> NDArray[np.float32]:
        """Return what all rigs' sites say, one rig's after the other's, [N, S, 10]: the job orders the frames."""
        read = [reader.read(batch) for reader in self.readers]
        self._sites = [each.shape[1] for each in read]
        return np.concatenate(read, axis=1)

    def without(
        self, equations: NDArray[np.floating], doubtful: Mapping[str, NDArray[np.bool_]]
    ) -> NDArray[np.floating]:
        """Return what was read without the regions that something passes before, see `RigReader.without`."""
        of_each = zip(self.readers, self._apart(equations), strict=True)
        return np.concatenate([reader.without(own, doubtful) for reader, own in of_each], axis=1)

    def without_blinks(self, equations: NDArray[np.floating], closed: NDArray[np.float64]) -> NDArray[np.floating]:
        """Return what was read without what lids do that close, see `RigReader.without_blinks`."""
        of_each = zip(self.readers, self._apart(equations), strict=True)
        return np.concatenate([reader.without_blinks(own, closed) for reader, own in of_each], axis=1)

    def turning(self, equations: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far the head has turned, as the first rig's sites have it, see `RigReader.turning`."""
        return self.readers[0].turning(self._apart(equations)[0])

    def without_depth_error(self, equations: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return what was read without what a head's turning leaves, see `RigReader.without_depth_error`."""
        of_each = zip(self.readers, self._apart(equations), strict=True)
        return np.concatenate([reader.without_depth_error(own) for reader, own in of_each], axis=1)

    def solve(self, clip: ClipEquations) -> None:
        """Keep what would be solved, each rig's own, and end the job; see `RigReader.solve`."""
        self.clips = [replace(clip, equations=own) for own in self._apart(clip.equations)]
        raise _AllIsRead

    def _apart(self, equations: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        return np.split(equations, np.cumsum(self._sites)[:-1], axis=1)


@contextmanager
def recorded(bases: Sequence[RigBasis]) -> Iterator[list[_Recording]]:
    """Let the next job read these rigs, its own first."""
    usual, made = Subjects.rig_reader, list[_Recording]()

    def rig_reader(subjects: Subjects, factors: Factors) -> Any:
        of_each = [replace(subjects, order=replace(subjects.order, basis=each)) for each in bases]
        made.append(_Recording([usual(each, factors) for each in of_each]))
        return made[0]

    Subjects.rig_reader = rig_reader  # type: ignore[assignment, method-assign]
    try:
        yield made
    finally:
        Subjects.rig_reader = usual  # type: ignore[method-assign]


@contextmanager
def only_frames(backend: str, wanted: bool = True) -> Iterator[None]:
    """Make a backend that knows the motion it applied keep it to itself, as published ones do."""
    known: type[Backend] = registry[backend]

    class OnlyFrames(known):  # type: ignore[misc, valid-type]
        def animate(self, state: object, driving: DrivingBatch) -> Animated:
            return Animated(super().animate(state, driving).frames)

    registry[backend] = OnlyFrames if wanted else known
    try:
        yield
    finally:
        registry[backend] = known


class _Light(pickle.Pickler):
    """Leaves out what a reader needs for reading only: pictures, surfaces, and the clip."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, RigBasis):
            size = np.linalg.norm(obj.displacement, axis=2)
            extent = np.stack([size.max(1, initial=0.0), size[:, obj.visible].max(1, initial=0.0)], 1)
            return _with_extent, (obj.image_size, obj.controls, extent)
        if isinstance(obj, Tensor):
            return type(None), ()
        return NotImplemented


def _with_extent(image_size: tuple[int, int], controls: tuple[Control, ...], extent: NDArray[np.floating]) -> RigBasis:
    """Return a basis of two vertices, moved as far as any is and as any in sight is: `extent` [K, 2] px per unit."""
    return RigBasis(
        image_size,
        controls,
        positions=np.zeros((2, 2), np.float32),
        depth=np.zeros(2, np.float32),
        visible=np.array([False, True]),
        displacement=np.stack([extent, np.zeros_like(extent)], 2).astype(np.float32),
        triangles=np.zeros((0, 3), np.int32),
    )
