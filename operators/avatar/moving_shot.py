# SPDX-License-Identifier: GPL-3.0-or-later
"""Capturing a shot in which the avatar or the camera moves: each frame's picture, and where the face's surface is."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.disk import explained
from ...backend_bridge.files.errors import InputError
from ...backend_bridge.files.hashing import KnownHashes, fingerprint_of
from ...backend_bridge.files.version import magplus_version
from ...backend_bridge.job import artefacts
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.shot import Shot, check_plates
from ...backend_bridge.rig.surface import Surface
from ...backend_bridge.worker_client.messages import Progress
from ..rig.face import Face, face_steps, points_of
from ..rig.face_controls import default_controls
from ..rig.projection import Points, Projection, present_projection
from ..rig.steady import Place, steadily, switched_off
from ..rig.studio import Style, camera_to_use, photograph
from ..rig.surface import visible_points
from ..running.steps import in_one_scene, told_as
from .bare_scene import bare_scene
from .capture import CaptureRequest
from .capture_cache import CaptureCache
from .capture_key import is_as_saved, key_of
from .picture_state import state_of, unknown_in
from .rig_state import rig_of

CAPTURING = "Capturing the shot"
ON_THE_SKIN = 0.03  # of the face: lashes, brows and a beard are nearer, glasses and hands farther away


@dataclass(frozen=True)
class _Neutral:
    """The face in the neutral picture, and the modifiers without which it is measured."""

    face: Face
    unmeasured: list[Place]

    @property
    def clearance(self) -> float:
        """What lies nearer to the skin than that, in scene units, moves with it."""
        face = self.face
        expressive = face.visible & face.own & face.moved
        points = face.points[expressive if expressive.any() else face.visible & face.own]
        return float(np.ptp(points, axis=0).max()) * ON_THE_SKIN


class KnownFrames:
    """The files of a shot's frames that were captured before, by what they are made from.

    They are in the job folder, where an earlier attempt has left them, or in a batch's captures.
    """

    def __init__(self, folder: JobFolder, key: str, captures: CaptureCache | None = None) -> None:
        """`key` is of what all frames are made from; an empty one makes every frame anew."""
        self._folder = folder
        self._key = key
        self._captures = captures

    @classmethod
    def of(
        cls, context: bpy.types.Context, request: CaptureRequest, folder: JobFolder, captures: CaptureCache | None
    ) -> KnownFrames:
        """Return those of the open file; none of one that isn't as it is saved, or that can't be told from another."""
        if (captures is None and not is_as_saved()) or unknown_in(context):
            return cls(folder, "", captures)
        with explained(Path(bpy.data.filepath), reading=True):
            key = captures.key(context, request) if captures is not None else _own_key(context, request)
        with bare_scene(context, request.frame):
            return cls(folder, fingerprint_of(key, request.frame, state_of(context)), captures)

    def made_from(self, context: bpy.types.Context, number: int) -> str:
        """Return what the present frame, the scene's `number`, is made from; an empty text where it can't be known."""
        return fingerprint_of(self._key, number, state_of(context)) if self._key else ""

    def has(self, names: Sequence[str], made_from: str) -> bool:
        """Whether these files are in the job folder, made from that; those in a batch's captures are put there."""
        if not made_from:
            return False
        anew = self._captures is not None and self._captures.anew
        if not anew and all(self._folder.finished(name, made_from) for name in names):
            return True
        found = [self._captures.frame(made_from, _flat(name)) for name in names] if self._captures is not None else []
        whole = [data for data in found if data is not None]
        if not whole or len(whole) < len(names):
            return False
        for name, data in zip(names, whole, strict=True):
            self._folder.write(name, data, made_from)
        return True

    def keep(self, name: str, data: bytes, made_from: str) -> None:
        """Put a file into the job folder, and into a batch's captures."""
        self._folder.write(name, data, made_from)
        if self._captures is not None and made_from:
            self._captures.keep_frame(made_from, _flat(name), data)


def _own_key(context: bpy.types.Context, request: CaptureRequest) -> str:
    """Return what frames are made from where a script may have changed the rig since the file was opened."""
    return key_of(context, request, magplus_version(), KnownHashes()) + rig_of((request.target, *request.further))


def _flat(name: str) -> str:
    return name.replace("/", "-")


def capture_shot(
    context: bpy.types.Context,
    request: CaptureRequest,
    shot: Shot,
    size: tuple[int, int],
    folder: JobFolder,
    *,
    blocking: bool,
    captures: CaptureCache | None = None,
) -> Generator[Progress, None, None]:
    """Write the evidence of every frame of a moving shot into a job folder, and its pictures where there are no plates.

    Frames that an earlier attempt has left there, made from the same file and the same pose, are kept.

    Args:
        context: its scene and view layer are captured.
        request: how the neutral picture was captured; the shot's pictures are taken likewise, in the scene's size.
        shot: the frames. size: (width, height) px of the neutral picture. folder, blocking: as `capture` has them.
        captures: of a batch, whose other shots may have the same frames.

    Raises:
        InputError: plates are missing, the mesh gets other vertices within the shot, or another scene was chosen
            meanwhile. MachineError: a render failed.
    """
    steps = _capture_shot(context, request, shot, size, folder, blocking, captures)
    return (yield from in_one_scene(context, steps))


def _capture_shot(
    context: bpy.types.Context,
    request: CaptureRequest,
    shot: Shot,
    size: tuple[int, int],
    folder: JobFolder,
    blocking: bool,
    captures: CaptureCache | None,
) -> Generator[Progress, None, None]:
    if request.view is not None:
        raise InputError("A moving shot is seen through the scene's camera; look through that instead of the viewport.")
    if shot.plates:
        check_plates(shot.plates, shot.numbers)
    here = Progress(CAPTURING, 0, len(shot.numbers))
    yield here
    neutral = yield from told_as(here, _find_neutral(context, request, size))
    seen = np.array([False])
    known = KnownFrames.of(context, request, folder, captures)
    with folder.lock():
        with bare_scene(context, request.frame), switched_off(neutral.unmeasured):
            steps = _surface(context, neutral, neutral.face.projection, neutral.face.points)
            surface = yield from told_as(here, steps)
        folder.write(artefacts.AVATAR_SURFACE, surface.encode())
        for done, number in enumerate(shot.numbers, 1):
            frame = _capture_frame(context, request, neutral, number, shot, folder, known, blocking)
            surface = yield from told_as(here, frame)
            seen = seen | surface.visible
            here = Progress(CAPTURING, done, len(shot.numbers))
            yield here
        for kind in (artefacts.SURFACES, artefacts.PLATES):
            kept = 0 if shot.plates and kind is artefacts.PLATES else len(shot.numbers)
            folder.keep_only(kind, kept, shot.frames[0] - 1)
    if not seen.any():
        raise InputError(
            f"The camera sees nothing of {request.target.name!r} from frame {shot.frames[0]} to {shot.frames[1]}; "
            "choose frames that show its face."
        )


def _find_neutral(
    context: bpy.types.Context, request: CaptureRequest, size: tuple[int, int]
) -> Generator[Progress, None, _Neutral]:
    """Choose the vertices to follow, as they are seen in the neutral picture of (width, height) px."""
    with bare_scene(context, request.frame), camera_to_use(context.scene, None) as camera:

        def measure() -> Generator[Progress, None, Face]:
            objects = (request.target, *request.further)
            controls = default_controls(objects)[0] if request.controls is None else request.controls
            projection = present_projection(context, camera, size)
            return (yield from face_steps(context, objects, projection, controls, request.vertex_group))

        face, unmeasured = yield from steadily(measure)
    return _Neutral(face, unmeasured)


def _capture_frame(
    context: bpy.types.Context,
    request: CaptureRequest,
    neutral: _Neutral,
    number: int,
    shot: Shot,
    folder: JobFolder,
    known: KnownFrames,
    blocking: bool,
) -> Generator[Progress, None, Surface]:
    face = neutral.face
    evidence, plate = artefacts.SURFACES.unit(number - 1), artefacts.PLATES.unit(number - 1)
    with bare_scene(context, number), camera_to_use(context.scene, None) as camera:
        projection = present_projection(context, camera)
        with switched_off(neutral.unmeasured):
            points = points_of(context, face.objects, face.topology, f"frame {number}")[face.vertices]
            made_from = known.made_from(context, number)
            if known.has([evidence] if shot.plates else [evidence, plate], made_from):
                return Surface.load(folder.path / evidence)
            surface = yield from _surface(context, neutral, projection, points)
        if not shot.plates:
            positions, depth = projection.project(points)
            moved = replace(
                face, projection=projection, points=points, positions=positions, depth=depth, visible=surface.visible
            )
            style = Style(None, request.transparent, request.samples)
            picture = yield from photograph(context, camera, moved, style, blocking, neutral.unmeasured)
            known.keep(plate, picture, made_from)
    known.keep(evidence, surface.encode(), made_from)
    return surface


def _surface(
    context: bpy.types.Context, neutral: _Neutral, projection: Projection, points: Points
) -> Generator[Progress, None, Surface]:
    """Return where world points of the face [V, 3] are in a picture, and how they are seen there."""
    positions, depth = projection.project(points)
    ahead = depth > projection.clip[0]
    positions = np.where(ahead[:, None] & np.isfinite(positions).all(axis=1, keepdims=True), positions, -1e6)
    return Surface(
        image_size=projection.size,
        positions=np.clip(positions, -1e6, 1e6).astype(np.float32),
        depth=depth.astype(np.float32),
        visible=(yield from visible_points(context, points, projection, neutral.clearance)),
        facing=_facing(points, projection.eye(points), neutral.face.triangles),
        triangles=neutral.face.triangles,
    )


def _facing(points: Points, eyes: Points, triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the cosine of the angle between each vertex's normal and its view ray, [V] in [0, 1]."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)  # twice as long as the triangle is large
    normals = np.zeros_like(points)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], across)
    toward = eyes - points
    length = np.linalg.norm(normals, axis=1) * np.linalg.norm(toward, axis=1)
    cosine = np.abs((normals * toward).sum(axis=1)) / np.maximum(length, 1e-30)
    return np.clip(cosine, 0.0, 1.0).astype(np.float32)
