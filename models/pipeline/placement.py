# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the avatar's face is in its picture: by the detector, by the rig where no detector accepts it, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.spec import Anchor, Expected
from ...backend_bridge.rig.anchors import FACE_ANCHORS, MESH_POINTS
from ...backend_bridge.rig.basis import RigBasis
from ...backend_bridge.rig.face_parts import FacePart, part_of
from ..backends import Framing
from ..face import FaceLandmarker, Window, select_face
from .avatar import AvatarPicture

Box = tuple[float, float, float, float]

DETECTION_MARGIN = 0.5  # of the face's box, on every side: the detector needs the head around the face
BROWS = (63, 105, 66, 293, 334, 296)  # mesh points along the brows, from where their outer thirds act
CHIN = 200  # mesh point between lower lip and chin, around which a jaw's opening acts
LEAST_SPREAD = 0.3  # of the moved part's height
ENOUGH_ANCHORS = 3  # to place a face without anything else
LEAST_APART = 0.5  # px between anchors


# The eyes, brows and mouth of a face, each the middle of two anchors.
_FEATURES = tuple(
    (FACE_ANCHORS[one], FACE_ANCHORS[other])
    for one, other in (
        ("right eye, outer corner", "right eye, inner corner"),
        ("left eye, outer corner", "left eye, inner corner"),
        ("right brow, outer end", "right brow, inner end"),
        ("left brow, outer end", "left brow, inner end"),
        ("mouth, right corner", "mouth, left corner"),
    )
)
# How far a detected feature may lie from where the rig has it, as a share of the height from the uppermost to the
# lowest: where a mesh is called after it, and where controls act that are. On heads of people: at most 0.08 and 0.2.
SURE, ROUGH = 0.12, 0.35
PLATE = 1e-3  # smoothing of the plate through what the rig expects, which is rough


@dataclass(frozen=True)
class AvatarFace:
    """landmarks: [478, 3] px of the picture; `detected` is False where the driver's mesh was laid over it.

    `rejected`: a face was detected, but not where the rig has its eyes, brows or mouth.
    """

    landmarks: NDArray[np.float32]
    detected: bool
    rejected: bool = False

    def window(self, framing: Framing, picture: tuple[int, int], largest: int, frame_size: int | None) -> Window:
        """Return the square that a backend is shown: at its own `frame_size`, or as the picture is, up to `largest`.

        picture: (width, height) px of the avatar's picture.
        """
        square = framing.source(self.landmarks, picture)
        size = frame_size or int(min(max(2 * round(square.side / 2), 128), largest))
        return Window(square, size, framing.beyond)


def find_avatar_face(
    avatar: AvatarPicture,
    face_box: Box | None,
    basis: RigBasis | None,
    landmarker: FaceLandmarker,
    driver_landmarks: NDArray[np.float32],
    anchors: Sequence[Anchor] = (),
    expected: Sequence[Expected] = (),
) -> AvatarFace:
    """Detect the avatar's face; failing that, lay the driver's neutral mesh where the rig says the face is.

    A detection is rejected where it lies elsewhere than what the rig `expected`.
    Whatever was found is then bent to pass through the `anchors`; the named ones that are not among them hold where
    they were found, so that moving one moves its surroundings. Raises `InputError` when there is neither a detected
    face, nor a rig or three anchors that show its place, and for anchors that can't be.
    """
    _check(anchors, avatar.size)
    _check_box(face_box, avatar.size)
    found = _found(avatar, face_box, basis, landmarker, driver_landmarks, expected)
    if found is not None:
        given = {anchor.landmark for anchor in anchors}
        held = [anchor for anchor in anchors_on(found.landmarks) if anchor.landmark not in given]
        landmarks = pinned(found.landmarks, [*anchors, *held]) if anchors else found.landmarks
        return replace(found, landmarks=landmarks)
    if len(anchors) < ENOUGH_ANCHORS:
        raise InputError(
            "No face was found in the avatar's picture; turn the character to the camera, light its face, capture it "
            "with its rig so that its place is known, or place at least three anchors."
        )
    return AvatarFace(pinned(driver_landmarks, anchors), False)


def anchors_on(landmarks: NDArray[np.float32]) -> tuple[Anchor, ...]:
    """Return where the points that a person can place by eye lie on a face, [478, 3] px."""
    return tuple(
        Anchor(index, (float(landmarks[index, 0]), float(landmarks[index, 1]))) for index in FACE_ANCHORS.values()
    )


def pinned(landmarks: NDArray[np.float32], anchors: Sequence[Anchor], smoothing: float = 0.0) -> NDArray[np.float32]:
    """Return the mesh [478, 3] px, bent as a thin plate through three or more anchors, as flat as they allow.

    With `smoothing` it passes them by where it would have to fold. Depth is scaled with the whole.
    """
    here = landmarks[[anchor.landmark for anchor in anchors], :2].astype(np.float64)
    there = np.array([anchor.position for anchor in anchors])
    points = landmarks[:, :2].astype(np.float64)
    unit = max(float(np.ptp(here, axis=0).max()), 1e-6)
    moved = RBFInterpolator(here / unit, there, kernel="thin_plate_spline", degree=1, smoothing=smoothing)(
        points / unit
    )
    depth = landmarks[:, 2:] * np.sqrt(np.prod(np.ptp(moved, axis=0) / np.ptp(points, axis=0)))
    return np.concatenate([moved, depth], 1).astype(np.float32)


def _check(anchors: Sequence[Anchor], size: tuple[int, int]) -> None:
    for anchor in anchors:
        x, y = anchor.position
        if not (-0.5 <= x <= size[0] - 0.5 and -0.5 <= y <= size[1] - 0.5):
            named = (name for name, landmark in FACE_ANCHORS.items() if landmark == anchor.landmark)
            name = next(named, f"face landmark {anchor.landmark}")
            raise InputError(f"The anchor of '{name}' lies outside the avatar's picture; move it onto the face.")
    places = np.array([anchor.position for anchor in anchors]).reshape(-1, 2)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(len(places)) * LEAST_APART
    if (apart < LEAST_APART).any():
        raise InputError("Two anchors lie on the same place; move one of them onto its own point of the face.")
    if len(places) >= ENOUGH_ANCHORS:
        spread = np.linalg.svd(places - places.mean(0), compute_uv=False)
        if spread[1] < 0.02 * spread[0]:
            raise InputError("All anchors lie on one line; move one of them off it, or add one elsewhere on the face.")


def _check_box(box: Box | None, size: tuple[int, int]) -> None:
    if box is not None and not (-box[2] < box[0] < size[0] and -box[3] < box[1] < size[1]):
        raise InputError("The avatar's face box lies outside its picture; capture the avatar again.")


def _found(
    avatar: AvatarPicture,
    face_box: Box | None,
    basis: RigBasis | None,
    landmarker: FaceLandmarker,
    driver_landmarks: NDArray[np.float32],
    expected: Sequence[Expected],
) -> AvatarFace | None:
    """Return the face that the detector finds, or else the driver's mesh where the rig or the box says the face is."""
    picture = avatar.over()[0].permute(1, 2, 0).numpy()
    left, top, right, bottom = _grown(face_box, DETECTION_MARGIN, avatar.size)
    faces = landmarker.detect(np.ascontiguousarray(picture[top:bottom, left:right]), thorough=True)
    if faces:
        seen = (select_face(faces).points + np.array([left, top, 0])).astype(np.float32)
        if _agrees(seen, expected):
            return AvatarFace(seen, True)
    if len(expected) >= ENOUGH_ANCHORS:
        return AvatarFace(pinned(driver_landmarks, expected, PLATE), False, rejected=bool(faces))
    placed = _laid_onto(driver_landmarks, basis) if basis is not None else None
    if placed is None and face_box is not None:
        placed = _laid_into(driver_landmarks, face_box)
    return None if placed is None else AvatarFace(placed, False)


def _agrees(landmarks: NDArray[np.float32], expected: Sequence[Expected]) -> bool:
    """Whether a detected face has its eyes, brows and mouth where the rig has them."""
    places = {anchor.landmark: anchor for anchor in expected}
    pairs = [pair for pair in _FEATURES if set(pair) <= places.keys()]
    if len(pairs) < ENOUGH_ANCHORS:
        return True
    there = np.array([np.mean([places[index].position for index in pair], axis=0) for pair in pairs])
    here = landmarks[np.array(pairs), :2].mean(axis=1)
    apart = np.linalg.norm(here - there, axis=1) / max(min(np.ptp(here[:, 1]), np.ptp(there[:, 1])), 1e-6)
    allowed = [SURE if all(places[index].sure for index in pair) else ROUGH for pair in pairs]
    return bool((apart <= allowed).all())


def _grown(box: Box | None, margin: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    if box is None:
        return 0, 0, width, height
    x, y, box_width, box_height = box
    by = margin * max(box_width, box_height)
    left, top = max(0, int(x - by)), max(0, int(y - by))
    return left, top, min(width, int(x + box_width + by) + 1), min(height, int(y + box_height + by) + 1)


def _laid_onto(landmarks: NDArray[np.float32], basis: RigBasis) -> NDArray[np.float32] | None:
    """Return the mesh, moved and scaled so that its brows and chin lie where the rig's topmost and lowest controls act.

    None where the controls don't spread over a face: a rig of a few mouth shapes has no control at the brows.
    """
    of_the_face = np.array([part_of(control.part) is not FacePart.OTHER for control in basis.controls], bool)
    energy = (basis.displacement[of_the_face] ** 2).sum(2) * basis.visible  # ears lie above the brows
    total = energy.sum(1)
    if not (total > 0).any():
        return None
    centres = energy[total > 0] @ basis.positions / total[total > 0, None]
    low, high = centres.min(0), centres.max(0)
    moved = basis.positions[energy.max(0) > 0]
    if high[1] - low[1] < LEAST_SPREAD * np.ptp(moved[:, 1]):
        return None
    brows, chin = landmarks[list(BROWS), :2], landmarks[CHIN, :2]
    top, bottom = brows[:, 1].mean(), chin[1]
    scale_y = (high[1] - low[1]) / max(float(bottom - top), 1e-6)
    across = float(np.ptp(brows[:, 0]))
    # Controls that move both sides at once act in the middle: then the width follows from the height.
    scale_x = (high[0] - low[0]) / across if high[0] - low[0] > 0.5 * scale_y * across else scale_y
    placed = landmarks.copy()
    placed[:, 0] = (landmarks[:, 0] - brows[:, 0].mean()) * scale_x + 0.5 * (low[0] + high[0])
    placed[:, 1] = (landmarks[:, 1] - top) * scale_y + low[1]
    placed[:, 2] *= 0.5 * (scale_x + scale_y)
    return placed


def _laid_into(landmarks: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    """Return the mesh, scaled per axis so that it fills the box."""
    mesh = landmarks[:MESH_POINTS, :2]
    low, extent = mesh.min(0), np.ptp(mesh, axis=0)
    scale = np.array([box[2], box[3]]) / np.maximum(extent, 1e-6)
    placed = landmarks.copy()
    placed[:, :2] = (landmarks[:, :2] - low) * scale + [box[0], box[1]]
    placed[:, 2] *= float(scale.mean())
    return placed
