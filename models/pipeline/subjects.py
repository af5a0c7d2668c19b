# SPDX-License-Identifier: GPL-3.0-or-later
"""The two faces of a job: the driver's in its clip and the avatar's in its picture, found and made ready to compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.artefacts import FACTORS
from ..backends import FaceImage, Framing
from ..backends.preprocess import best_frame
from ..face import FaceLandmarker
from ..face.window import Window
from .animated_avatar import AnimatedAvatar
from .avatar import AvatarPicture
from .clip_opening import against
from .clip_reference import begins_in_expression
from .clip_request import LARGEST_CROP, ClipRequest
from .driver import Driver
from .driving_clip import DrivingClip
from .factors import Factors
from .neutral_reference import WHOLE_FACE, frame_at_rest
from .notes import Notes
from .order import Order
from .placement import AvatarFace, find_avatar_face
from .probes import Probes
from .rig_reader import DriverReader, GeneratedReader, RigReader, driver_reader
from .session import Session
from .short_clip import end_nearer_to_rest

MOST_INVENTED = 0.2  # of the avatar's crop; what lies beyond the picture looks like nothing a network has seen


@dataclass(frozen=True)
class Subjects:
    """The driver and the animated avatar; `face` is the avatar's, `window` the part of its picture that is animated.

    order: what the job asks for.
    """

    driver: Driver
    avatar: AnimatedAvatar
    face: AvatarFace
    window: Window
    order: Order

    @property
    def clip(self) -> DrivingClip:
        """The driver's clip, with the reference frame that everything is measured against."""
        return self.driver.clip

    @cached_property
    def probes(self) -> Probes:
        """The frames that the factors are chosen from."""
        return Probes(self.driver, self.avatar)

    @cached_property
    def driver_reader(self) -> DriverReader:
        """What reads the rig in the driver's picture, of a job with a rig. Raises `InputError` as `rig_reader` does."""
        assert self.order.basis is not None
        return driver_reader(self.order.basis, self.driver, self.avatar, self.order.spec)

    def close(self) -> None:
        """End the thread in which the driver's frames are measured."""
        self.probes.close()

    def rig_reader(self, factors: Factors) -> RigReader:
        """Return what reads the rig where the motion shows most clearly, of a job with a rig.

        Raises `InputError` when none of the rig is visible there, or the order names controls that it has not.
        """
        if self.avatar.correspondence is not None:
            return self.driver_reader
        assert self.order.basis is not None
        return GeneratedReader.laid(self.order.basis, self.driver, self.avatar, factors, self.order.spec)


@contextmanager
def found_subjects(order: Order, session: Session, notes: Notes) -> Iterator[Subjects]:
    """Find both faces and load the backend; `InputError` where a face or a checkpoint is missing.

    Where the face shows an expression in the reference that MagPlus chose, a frame at rest takes its place. The
    driver's frames are measured ahead until the block ends.
    """
    spec, landmarker, size = order.spec, session.landmarker(), order.info.frame_size
    backend = session.backend(spec.backend, order.origins, order.device, order.options)
    if not order.info.commercial_use:
        notes.warning(f"{order.info.title} is not for commercial use: {order.info.weights_licence}.")
    framing = getattr(backend, "framing", Framing())
    request = ClipRequest.of(order.folder.path, spec.driving, size, framing, order.reader)
    clip = session.clips.open(request, landmarker, notes)
    face = _face_of_avatar(order, clip, landmarker, notes)
    if getattr(order.options, "best_frame", False):
        clip = _from_best_frame(order, clip, face, notes)
    window = _window(order, face, framing, notes)
    paths = getattr(order.options, "more_sources", ())
    more = [_further_source(Path(path), landmarker, clip, framing, size) for path in paths]

    def measured_against(clip: DrivingClip) -> Subjects:
        magnifiers, device = order.magnifiers, order.device
        driver = Driver(clip, magnifiers["magplus"], spec.magnification.regions, device, session.motions)
        avatar = AnimatedAvatar(
            order.picture, face, window, backend, magnifiers["demagplus"], driver, device, notes, more
        )
        subjects = Subjects(driver, avatar, face, window, order)
        if not (order.folder.path / FACTORS).exists():  # else frames may be finished already
            subjects.probes.begin(go_on=True)
        return subjects

    with ExitStack() as begun:
        subjects = begun.enter_context(closing(measured_against(clip)))
        if clip.chosen.chosen == "automatic" and (rested := _rested(subjects)) is not None:
            begun.close()
            subjects = begun.enter_context(closing(measured_against(against(clip, rested, "rest", notes))))
        if subjects.clip.chosen.chosen == "rest":
            clip = subjects.clip
            notes.warning(begins_in_expression(float(clip.reader.info.start + clip.chosen.seconds)))
        yield subjects


def _rested(subjects: Subjects) -> int | None:
    """Return a frame in which the driver's face is at rest if it shows an expression in the reference, else None."""
    basis = subjects.order.basis
    rested = end_nearer_to_rest(subjects.probes)
    if rested is None and basis is not None and len(basis.controls) >= WHOLE_FACE:
        return frame_at_rest(lambda: subjects.driver_reader, subjects.probes)
    return rested


def _face_of_avatar(order: Order, clip: DrivingClip, landmarker: FaceLandmarker, notes: Notes) -> AvatarFace:
    """Find the avatar's face; warn where none was recognised, and the driver's was laid over what the rig has."""
    avatar = order.spec.avatar
    face = find_avatar_face(
        order.picture,
        avatar.face_box,
        order.basis,
        landmarker,
        clip.reference.landmarks,
        avatar.anchors,
        avatar.expected,
    )
    if avatar.anchors:
        return face
    if face.rejected:
        notes.warning(
            "No face was recognised in the avatar's picture where the rig has its eyes, brows and mouth; the driver's "
            "face was laid over those. Check the result with Show Face Match, and place anchors if it is off."
        )
    elif not face.detected:
        notes.warning(
            "No face was recognised in the avatar's picture; the driver's face was laid over the part that the rig's "
            "expressions move. Check the result, place anchors, or choose a vertex group that holds just the face."
        )
    return face


def _window(order: Order, face: AvatarFace, framing: Framing, notes: Notes) -> Window:
    size, picture, title = order.info.frame_size, order.picture, order.info.title
    window = face.window(framing, picture.size, LARGEST_CROP, size)
    if size and (invented := window.square.invented(picture.size)) > MOST_INVENTED:
        notes.warning(
            f"{invented:.0%} of what {title} is shown of the avatar lies beyond its picture; capture it with more "
            "room around the head."
        )
    return window


def _further_source(
    path: Path, landmarker: FaceLandmarker, clip: DrivingClip, framing: Framing, size: int | None
) -> FaceImage:
    """Return the face in a further picture of the avatar, cut out as in the first one; `InputError` without a face."""
    picture = AvatarPicture.read(path)
    try:
        face = find_avatar_face(picture, None, None, landmarker, clip.reference.landmarks)
    except InputError as error:
        raise InputError(f"No face was found in {path}, a further picture of the avatar; leave it out.") from error
    window = face.window(framing, picture.size, LARGEST_CROP, size)
    return FaceImage(window.cut(picture.over()), window.landmarks(face.landmarks))


def _from_best_frame(order: Order, clip: DrivingClip, face: AvatarFace, notes: Notes) -> DrivingClip:
    """Return the clip with the frame for reference in which the driver's face is posed most like the avatar's."""
    if order.spec.driving.reference is not None:
        notes.warning("A reference frame is given, so the backend's search for the best frame was left out.")
        return clip
    if not face.detected:
        notes.warning("No face was recognised in the avatar's picture, so the best frame could not be searched for.")
        return clip
    found = best_frame(face.landmarks, [clip.track.points[index] for index in clip.present])
    return against(clip, clip.present[found], "best frame", notes)
