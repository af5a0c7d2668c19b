# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline: driving video -> face -> MagPlus -> backend -> DeMagPlus -> frames and rig controls.

The clip is read three times, a few frames in memory at a time: once for the face's landmarks, once for a few probe
frames that decide the magnification and the backend's gain, and once to make the result.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.folder import JobFolder, fingerprint_of, hash_file
from ...backend_bridge.job.spec import JobSpec, Outputs, Rig, resolve
from ...backend_bridge.rig.basis import RigBasis
from ...backend_bridge.rig.live_link import speaks_for_shapes, to_live_link
from ..backends import FaceImage
from ..backends.options import option_files, parse_options, with_files_in
from ..backends.preprocess import best_frame
from ..device import OutOfMemoryError, choose_device, frames_at_a_time, ran_out
from ..face import FaceLandmarker, MotionEvent, find_event
from ..magnification.motion import Motion
from ..rig.expression import action_units, excursions
from ..rig.smoothing import apex_kept, smoothed
from .animated_avatar import AnimatedAvatar
from .avatar import AvatarPicture
from .driver import Driver
from .driving_clip import DrivingClip
from .factors import LEAST_MOTION, Factors, automatic_alpha, measured_gain, peak_motion, restoring_factor
from .frame_maker import FrameMaker, unit_path
from .notes import Notes, magplus_version, versions
from .outputs.plot import plot_curves
from .placement import AvatarFace, anchors_on, find_avatar_face, in_crop
from .rig_reader import RigReader
from .session import Events, Session, find_backend

LARGEST_CROP = 512
PROBES = 12
WEAK_GAIN = 0.1


def run_job(folder: JobFolder, session: Session, events: Events) -> dict[str, Any]:
    """Do what `job.json` asks for; return the report, which is in the folder too.

    Finished frames of an earlier run with the same inputs are kept. Raises `InputError`, `MachineError` or
    `CancelledError`; whatever was finished until then stays in the folder.
    """
    spec = folder.read_spec()
    notes = Notes(events)
    device = choose_device(spec.device)
    try:
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
    return _run_on(torch.device("cpu"), folder, spec, session, notes)


def _run_on(device: torch.device, folder: JobFolder, spec: JobSpec, session: Session, notes: Notes) -> dict[str, Any]:
    picture = AvatarPicture.read(resolve(folder.path, spec.avatar.image))
    basis = _read_basis(folder, spec)
    kind = find_backend(spec.backend)
    info = kind.info
    options = parse_options(kind.Options, spec.backend_options, title=info.title)
    options = with_files_in(options, folder.path, title=info.title)
    origins = session.origins(spec.backend)
    backend = session.backend(spec.backend, origins, device, options)
    if not info.commercial_use:
        notes.warning(f"{info.title} is not for commercial use: {info.weights_licence}.")

    clip = DrivingClip.open(folder.path, spec.driving, session.landmarker(), notes, backend.info.frame_size)
    face = find_avatar_face(
        picture, spec.avatar.face_box, basis, session.landmarker(), clip.reference.landmarks, spec.rig.anchors
    )
    if not face.detected and not spec.rig.anchors:
        notes.warning(
            "No face was recognised in the avatar's picture; the driver's face was laid over the part that the rig's "
            "expressions move. Check the result, place anchors, or choose a vertex group that holds just the face."
        )
    if getattr(options, "best_frame", False):
        clip = _from_best_frame(clip, face, spec, notes)
    window = face.window(LARGEST_CROP, backend.info.frame_size)
    driver = Driver(clip, session.magnifier("magplus", device), spec.magnification.regions, device)
    more = [
        _further_source(Path(path), session.landmarker(), clip, info.frame_size)
        for path in getattr(options, "more_sources", ())
    ]
    avatar = AnimatedAvatar(
        picture, face, window, backend, session.magnifier("demagplus", device), driver, device, notes, more
    )

    made_from = [[hash_file(path) for path in paths] for paths in option_files(options).values()]
    fingerprint = _fingerprint(folder, spec, driver, [made_from, [each.tensors_sha256 for each in origins.values()]])
    factors = _factors(folder, spec, driver, avatar, notes, fingerprint)
    reader = None
    if spec.outputs.weights and basis is not None:
        reader = RigReader(basis, driver, avatar, factors, spec.intensity, spec.rig)
    maker = FrameMaker(folder, spec.outputs, driver, avatar, factors, reader, notes, fingerprint)
    resumed = maker.run()
    peaks = np.array([maker.peak(index) for index in range(clip.count)])

    event = find_event(clip.track.seconds, peaks)

    report = {
        "schema": 1,
        "status": "finished",
        **clip.to_report(),
        "avatar": {
            "size": list(picture.size),
            "face_detected": face.detected,
            "anchors": [dataclasses.asdict(anchor) for anchor in anchors_on(face.landmarks)],
            "window": dataclasses.asdict(window),
        },
        "magnification": {
            "alpha": factors.alpha,
            "chosen": "automatic" if spec.magnification.alpha is None else "given",
            "regions": spec.magnification.regions,
            "peak_share_of_face_width": factors.peak_share,
            "trained": driver.magnifier.trained,
        },
        "backend": {
            "name": info.name,
            "title": info.title,
            "code_licence": info.code_licence,
            "weights_licence": info.weights_licence,
            "commercial_use": info.commercial_use,
            "options": dataclasses.asdict(options),
            "checkpoint": {part: {"file": o.file, "sha256": o.file_sha256} for part, o in origins.items()},
        },
        "restoration": {
            "backend_gain": factors.gain,
            "factor": factors.restoring,
            "intensity_asked": spec.intensity,
            "intensity_measured": _measured_intensity(spec, maker, peaks),
        },
        "frames": {
            "pattern": "frames/%06d.png",
            "first": 1,
            "count": clip.count,
            "size": list(picture.size),
            "resumed": resumed,
        }
        if spec.outputs.frames
        else None,
        "weights": _solve_controls(maker, reader, spec, event) if reader is not None else None,
        "events": dataclasses.asdict(event) if event else None,
        "versions": versions(device),
        "warnings": notes.warnings,
    }
    folder.write_report(report)
    return report


def _read_basis(folder: JobFolder, spec: JobSpec) -> RigBasis | None:
    if spec.avatar.rig_basis is None:
        return None
    return RigBasis.load(resolve(folder.path, spec.avatar.rig_basis))


def _further_source(path: Path, landmarker: FaceLandmarker, clip: DrivingClip, size: int | None) -> FaceImage:
    """Return the face in a further picture of the avatar, cut out as in the first one; `InputError` without a face."""
    picture = AvatarPicture.read(path)
    try:
        face = find_avatar_face(picture, None, None, landmarker, clip.reference.landmarks)
    except InputError as error:
        raise InputError(f"No face was found in {path}, a further picture of the avatar; leave it out.") from error
    window = face.window(LARGEST_CROP, size)
    return FaceImage(window.cut(picture.over()), in_crop(face.landmarks, window))


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


def _fingerprint(folder: JobFolder, spec: JobSpec, driver: Driver, backend: Any) -> str:
    """Return one hash of everything a frame is made from; finished frames of other inputs are made again.

    `backend` stands for the backend's checkpoint and the files that its options name.
    """
    placing = Rig(anchors=spec.rig.anchors)  # the rest of it is asked for once all frames are there
    same = dataclasses.replace(spec, created_by={}, outputs=Outputs(), rig=placing, allow_cpu=False)
    asked = dataclasses.asdict(same)
    files = [resolve(folder.path, path) for path in (spec.avatar.image, spec.avatar.rig_basis) if path]
    return fingerprint_of(
        asked,
        [hash_file(path) for path in files],
        driver.clip.sha256,
        driver.clip.chosen.index,
        driver.magnifier.trained,
        backend,
        magplus_version(),
    )


def _factors(
    folder: JobFolder, spec: JobSpec, driver: Driver, avatar: AnimatedAvatar, notes: Notes, fingerprint: str
) -> Factors:
    """Return the factors of an earlier run with the same inputs, so that its frames fit ours, or choose them."""
    unit = "factors.json"
    if folder.finished(unit, fingerprint):
        return Factors(**json.loads((folder.path / unit).read_bytes()))
    factors = _choose_factors(spec, driver, avatar, notes)
    folder.commit(unit, json.dumps(dataclasses.asdict(factors)).encode(), fingerprint)
    return factors


def _choose_factors(spec: JobSpec, driver: Driver, avatar: AnimatedAvatar, notes: Notes) -> Factors:
    """Measure the frames in which the face moves most; a clip is a few of them and many still ones."""
    probes = driver.clip.liveliest(PROBES)
    batches: list[tuple[Tensor, Motion, Tensor]] = []
    done = 0
    for indices, frames in driver.clip.batches(frames_at_a_time(avatar.device), probes):
        frames = frames.to(avatar.device)
        batches.append((frames, *driver.observe(frames)))
        done += len(indices)
        notes.progress("measure", done, len(probes))
    peaks = torch.cat([peak_motion(local.flow, driver.mask) for _, local, _ in batches])
    peak = float(peaks.max())
    alpha = spec.magnification.alpha or automatic_alpha(peak, driver.face_width)

    shown, generated = [], []
    known = False
    for frames, local, rigid in batches:
        notes.check_cancelled()
        driving = driver.magnified(frames, local, rigid, alpha)
        animated, motion = avatar.animate(driving)
        known = animated.motion is not None
        if known:
            break  # it applies what it is shown: nothing to measure
        shown.append(peak_motion(driving.motion.flow, driver.mask) / driver.face_width)
        generated.append(peak_motion(motion.flow, avatar.mask) / avatar.face_width)
    gain = 1.0 if known else measured_gain(torch.cat(generated), torch.cat(shown))
    if gain < WEAK_GAIN:
        notes.warning(
            f"{avatar.backend.info.title} hardly answered the magnified motion (gain {gain:.3f}), so the result shows "
            "mostly noise; try a higher magnification or another backend."
        )
        gain = WEAK_GAIN
    return Factors(alpha, gain, restoring_factor(alpha, gain, spec.intensity), peak / driver.face_width)


def _measured_intensity(spec: JobSpec, maker: FrameMaker, peaks: NDArray[np.float64]) -> float | None:
    """Return the face-relative motion that the finished apex frame shows, per driver motion: the loop closed.

    None without frames, and where the driver's motion is too small for the ratio to mean anything.
    """
    apex = int(np.argmax(peaks))
    if not spec.outputs.frames or peaks[apex] < LEAST_MOTION:
        return None
    picture = AvatarPicture.read(maker.folder.path / unit_path("frames", apex))
    motion = maker.avatar.motion_of(picture)
    shown = float(peak_motion(motion.flow, maker.avatar.mask)[0]) / maker.avatar.face_width
    return shown / float(peaks[apex])


def _solve_controls(maker: FrameMaker, reader: RigReader, spec: JobSpec, event: MotionEvent | None) -> dict[str, Any]:
    """Solve the rig's controls from what the frames showed and leave them in the folder; return their report."""
    clip, folder, notes = maker.driver.clip, maker.folder, maker.notes
    controls = reader.basis.controls
    notes.progress("solve", 0, 1)
    equations = np.stack([maker.equations(index) for index in range(clip.count)])
    solved = reader.solve(equations, [float(second) for second in clip.track.seconds])
    curves = smoothed(solved.curves, spec.rig.smoothing)
    shares = excursions(curves, controls)
    folder.write("weights.npz", curves.encode())
    folder.write("weights.csv", curves.to_csv().encode())
    folder.write("curves.png", plot_curves(curves, shares, dataclasses.asdict(event) if event else {}))
    exchanged = [control.name for control in controls if speaks_for_shapes(control.name)]
    if exchanged:
        as_shares = dataclasses.replace(curves, values=np.clip(shares, 0, 1).astype(np.float32))
        folder.write("live_link_face.csv", to_live_link(as_shares).encode())
    notes.progress("solve", 1, 1)
    peaks = np.abs(curves.values - [control.rest for control in controls]).max(0)
    return {
        "controls": len(controls),
        "read_from": "the driver's picture" if reader.off_driver else "the generated frames",
        "unseen": [name for name, visibility in zip(curves.names, curves.visibility, strict=True) if visibility == 0],
        "locked": list(spec.rig.locked),
        "peaks": {name: float(peak) for name, peak in zip(curves.names, peaks, strict=True) if peak > 0},
        "residual": solved.residual,
        "residual_by_region": solved.region_residual,
        "smoothing": {
            "seconds": spec.rig.smoothing,
            "apex_kept": apex_kept(excursions(solved.curves, controls), shares),
        },
        "action_units": [dataclasses.asdict(unit) for unit in action_units(curves, controls)],
        "live_link_face": exchanged,
    }
