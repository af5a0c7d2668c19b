# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline: driving video -> face -> MagPlus -> backend -> DeMagPlus -> frames and rig controls.

The clip is read a few times, a few frames in memory at a time: for the face's landmarks, for the steady crop, for some
probe frames that decide the magnification and the backend's gain, and to make the result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...backend_bridge.backends import BackendInfo
from ...backend_bridge.files.errors import InputError
from ...backend_bridge.files.hashing import hash_file
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.judgement import NOTHING_MOVES, quality_of, strongly_compressed, unseen_regions
from ...backend_bridge.job.report import (
    AvatarReport,
    BackendReport,
    CheckpointReport,
    MagnificationReport,
    Report,
    RestorationReport,
    WindowReport,
)
from ...backend_bridge.job.spec import JobSpec, resolve
from ...backend_bridge.rig.basis import RigBasis
from ..backends import FaceImage, Framing
from ..backends.options import parse_options, with_files_in
from ..backends.preprocess import best_frame
from ..backends.store import Origin
from ..device import OutOfMemoryError, choose_device, ran_out
from ..face import FaceLandmarker
from ..face.window import Window
from ..magnification.magnifier import ROLES
from ..video import VideoReader
from .animated_avatar import AnimatedAvatar
from .avatar import AvatarPicture
from .driver import Driver
from .driving_clip import LARGEST_CROP, DrivingClip, begins_in_expression, reader_of
from .factors import Factors, factors_of
from .fingerprint import fingerprint, order_fingerprint
from .finished import finished_report
from .frame_maker import FrameMaker
from .neutral_reference import frame_at_rest
from .notes import Events, Notes
from .outputs import Output
from .outputs.comparison import Comparison
from .outputs.curves import Curves
from .outputs.driver_picture import DriverPicture
from .outputs.frames import Frames, Magnified
from .outputs.moving_shot import MovingShot
from .outputs.observed import Observed
from .outputs.plot import Plot
from .placement import AvatarFace, anchors_on, find_avatar_face
from .provenance import Provenance, Signer
from .rig_reader import rig_reader
from .session import Session, find_backend
from .short_clip import end_nearer_to_rest
from .versions import versions

MOST_INVENTED = 0.2  # of the avatar's crop; what lies beyond the picture looks like nothing a network has seen


def run_job(folder: JobFolder, session: Session, events: Events) -> Report:
    """Do what `job.json` asks for; return the report, which is in the folder too.

    Finished frames of an earlier run with the same inputs are kept. Raises `InputError`, `MachineError` or
    `CancelledError`; whatever was finished until then stays in the folder.
    """
    spec = folder.read_spec()
    notes = Notes(events)
    device = choose_device(spec.device)
    try:
        with session.job(notes.check_cancelled):
            return _run_on(device, folder, spec, session, notes)
    except Exception as error:
        if not ran_out(device, error):
            raise
    session.release(device)  # out here, where the error no longer holds on to tensors
    if not spec.allow_cpu:
        raise OutOfMemoryError(
            f"The memory of {device} is too small for this job; close other programs that use it, choose the CPU, or "
            "allow MagPlus to go on on the CPU when this happens (in the preferences, or with --allow-cpu)."
        )
    notes.warning(
        f"The memory of {device} was too small for this job; it went on on the CPU, as it was allowed to, and took "
        "longer."
    )
    with session.job(notes.check_cancelled):
        return _run_on(torch.device("cpu"), folder, spec, session, notes)


def _run_on(device: torch.device, folder: JobFolder, spec: JobSpec, session: Session, notes: Notes) -> Report:
    signer = Signer.from_surroundings()
    picture = AvatarPicture.read(resolve(folder.path, spec.avatar.image))
    basis = _read_basis(folder, spec)
    kind = find_backend(spec.backend)
    info = kind.info
    options = parse_options(kind.Options, spec.backend_options, title=info.title)
    options = with_files_in(options, folder.path, title=info.title)
    origins = session.origins(spec.backend)
    magnifiers = {role: session.magnifier(role, device) for role in ROLES}
    networks: dict[str, str] = {role: each.weights_sha256 for role, each in magnifiers.items() if each.trained}
    signed_by = "" if signer is None else signer.certificate_sha256

    reader = reader_of(folder.path, spec.driving)
    order = partial(order_fingerprint, folder, spec, networks, options, origins, signed_by, versions(device))
    if (earlier := _kept(folder, spec, reader, order, notes)) is not None:
        return earlier
    backend = session.backend(spec.backend, origins, device, options)
    if not info.commercial_use:
        notes.warning(f"{info.title} is not for commercial use: {info.weights_licence}.")

    framing = getattr(backend, "framing", Framing())
    clip = session.clips.open(folder.path, spec.driving, session.landmarker(), notes, info.frame_size, framing, reader)
    face = find_avatar_face(
        picture,
        spec.avatar.face_box,
        basis,
        session.landmarker(),
        clip.reference.landmarks,
        spec.avatar.anchors,
        spec.avatar.expected,
    )
    if not spec.avatar.anchors:
        _warn_of_placement(face, notes)
    if getattr(options, "best_frame", False):
        clip = _from_best_frame(clip, face, spec, notes)
    window = face.window(framing, picture.size, LARGEST_CROP, info.frame_size)
    if info.frame_size and (invented := window.square.invented(picture.size)) > MOST_INVENTED:
        notes.warning(
            f"{invented:.0%} of what {info.title} is shown of the avatar lies beyond its picture; capture it with more "
            "room around the head."
        )
    more = [
        _further_source(Path(path), session.landmarker(), clip, framing, info.frame_size)
        for path in getattr(options, "more_sources", ())
    ]

    def measured_against(clip: DrivingClip) -> tuple[Driver, AnimatedAvatar]:
        driver = Driver(clip, magnifiers["magplus"], spec.magnification.regions, device, session.motions)
        return driver, AnimatedAvatar(
            picture, face, window, backend, magnifiers["demagplus"], driver, device, notes, more
        )

    driver, avatar = measured_against(clip)
    if clip.chosen.chosen == "automatic":
        rested = end_nearer_to_rest(driver, avatar)
        if rested is None and basis is not None:
            rested = frame_at_rest(basis, driver, avatar, spec)
        if rested is not None:
            clip = clip.with_reference(rested, "rest", notes)
            driver, avatar = measured_against(clip)
    if clip.chosen.chosen == "rest":
        notes.warning(begins_in_expression(clip))

    painting = {role: weights for role, weights in networks.items() if role == "magplus" or not avatar.gives_motion}
    made_from = fingerprint(folder, spec, clip, painting, options, origins, signed_by)
    provenance = Provenance(made_from, signer)
    factors, probed = factors_of(folder, spec, driver, avatar, notes, made_from)
    outputs = _outputs(folder, spec, basis, driver, avatar, factors, notes, provenance)
    made = FrameMaker(folder, outputs, driver, avatar, factors.alpha, probed, notes, made_from).run()

    report = Report(
        "finished",
        driving=clip.driving_report(),
        timing=clip.timing_report(),
        reference=clip.reference_report(),
        face=clip.face_report(),
        avatar=_avatar_report(folder, spec, picture, face, window),
        magnification=MagnificationReport(
            alpha=factors.alpha,
            chosen="automatic" if spec.magnification.alpha is None else "given",
            regions=spec.magnification.regions,
            peak_share_of_face_width=factors.peak_share,
            trained=driver.magnifier.trained,
            weights=networks,
        ),
        backend=_backend_report(info, options, origins),
        restoration=RestorationReport(
            factors.gain, factors.restoring, spec.intensity, None, own=None if avatar.gives_motion else factors.own
        ),
        provenance=provenance.report(),
        versions=versions(device),
    )
    for output in outputs:
        report = output.finish(report, made)
    for remark in folder.remarks:
        notes.warning(remark)
    if report.events is None:
        notes.warning(NOTHING_MOVES)
    if report.face is not None and report.face.unseen:
        notes.warning(unseen_regions(report.face.unseen))
    if report.face is not None and report.face.compression.strong:
        notes.warning(strongly_compressed(report.face.compression))
    report = dataclasses.replace(report, warnings=tuple(notes.warnings))
    report = dataclasses.replace(report, quality=quality_of(report))
    return folder.write_report(report, order(clip.sha256))


def _warn_of_placement(face: AvatarFace, notes: Notes) -> None:
    """Warn where no face was recognised, and the driver's was laid over what the rig has."""
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


def _avatar_report(
    folder: JobFolder, spec: JobSpec, picture: AvatarPicture, face: AvatarFace, window: Window
) -> AvatarReport:
    return AvatarReport(
        size=picture.size,
        face_detected=face.detected,
        anchors=anchors_on(face.landmarks),
        window=WindowReport(window.origin, window.scale, window.crop_size, window.square.angle),
        sha256=hash_file(resolve(folder.path, spec.avatar.image)),
        anchored=bool(spec.avatar.anchors),
    )


def _backend_report(info: BackendInfo, options: Any, origins: Mapping[str, Origin]) -> BackendReport:
    return BackendReport(
        name=info.name,
        title=info.title,
        code_licence=info.code_licence,
        weights_licence=info.weights_licence,
        commercial_use=info.commercial_use,
        options=dataclasses.asdict(options),
        checkpoint={part: CheckpointReport(each.file, each.file_sha256) for part, each in origins.items()},
    )


def _kept(
    folder: JobFolder, spec: JobSpec, reader: VideoReader, order: Callable[[str], str], notes: Notes
) -> Report | None:
    """Return the report of an earlier run of this very order; `order` is its fingerprint, given the clip's hash."""
    if spec.shot is not None or not (folder.has_report and folder.has_finished_result()):
        return None
    made_from = order(reader.sha256)
    report = finished_report(folder, spec, made_from)
    if report is None:
        return None
    for sentence in report.warnings:
        notes.warning(sentence)
    return folder.write_report(report, made_from)


def _outputs(
    folder: JobFolder,
    spec: JobSpec,
    basis: RigBasis | None,
    driver: Driver,
    avatar: AnimatedAvatar,
    factors: Factors,
    notes: Notes,
    provenance: Provenance,
) -> list[Output]:
    """Return what the job asks for; each may build on those before it."""
    observed = Observed(folder, driver)
    outputs: list[Output] = [observed]
    if spec.outputs.magnified:
        outputs.append(Magnified(notes, provenance))
    if spec.outputs.compare:
        outputs.append(Comparison(avatar, factors, notes, provenance))
    if spec.outputs.frames and spec.shot is not None:
        outputs.append(MovingShot(folder, spec.shot, spec.outputs, avatar, factors, notes, provenance))
    elif spec.outputs.frames:
        outputs.append(Frames(folder, avatar, factors, observed, notes, provenance))
    if spec.outputs.weights and basis is not None:
        reader = rig_reader(basis, driver, avatar, factors, spec)
        curves = Curves(folder, driver.clip, reader, spec.rig, spec.intensity, observed, notes)
        outputs += [curves, Plot(folder, curves, notes, provenance)]
    outputs.append(DriverPicture(folder, driver, provenance))  # of the apex, which the curves may have moved
    return outputs


def _read_basis(folder: JobFolder, spec: JobSpec) -> RigBasis | None:
    if spec.avatar.rig_basis is None:
        return None
    basis = RigBasis.load(resolve(folder.path, spec.avatar.rig_basis))
    if not (len(basis.positions) and len(basis.triangles)):
        raise InputError("The captured rig has no surface on which a face could lie; capture the avatar again.")
    return basis


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


def _from_best_frame(clip: DrivingClip, face: AvatarFace, spec: JobSpec, notes: Notes) -> DrivingClip:
    """Return the clip with the frame for reference in which the driver's face is posed most like the avatar's."""
    if spec.driving.reference is not None:
        notes.warning("A reference frame is given, so the backend's search for the best frame was left out.")
        return clip
    if not face.detected:
        notes.warning("No face was recognised in the avatar's picture, so the best frame could not be searched for.")
        return clip
    found = best_frame(face.landmarks, [clip.track.points[index] for index in clip.present])
    return clip.with_reference(clip.present[found], "best frame", notes)
