# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a run before its outputs are finished, as the sections of its report."""

from __future__ import annotations

from dataclasses import asdict

from ...backend_bridge.files.hashing import hash_file
from ...backend_bridge.job.report import (
    AvatarReport,
    BackendReport,
    CheckpointReport,
    MagnificationReport,
    Report,
    RestorationReport,
    WindowReport,
)
from ...backend_bridge.job.spec import resolve
from .factors import Factors
from .order import Order
from .placement import anchors_on
from .provenance import Provenance
from .subjects import Subjects
from .versions import versions


def report_of_measurement(order: Order, subjects: Subjects, factors: Factors, provenance: Provenance) -> Report:
    """Return the report without what the outputs add to it when they are finished."""
    clip, avatar = subjects.clip, subjects.avatar
    return Report(
        "finished",
        driving=clip.driving_report(),
        timing=clip.timing_report(),
        reference=clip.reference_report(),
        face=clip.face_report(),
        avatar=_avatar(order, subjects),
        magnification=_magnification(order, subjects, factors),
        backend=_backend(order),
        restoration=RestorationReport(
            factors.gain, factors.restoring, order.spec.intensity, None, None if avatar.gives_motion else factors.own
        ),
        provenance=provenance.report(),
        versions=versions(order.device),
    )


def _avatar(order: Order, subjects: Subjects) -> AvatarReport:
    face, window = subjects.face, subjects.window
    return AvatarReport(
        size=order.picture.size,
        face_detected=face.detected,
        anchors=anchors_on(face.landmarks),
        window=WindowReport(window.origin, window.scale, window.crop_size, window.square.angle),
        sha256=hash_file(resolve(order.folder.path, order.spec.avatar.image)),
        anchored=bool(order.spec.avatar.anchors),
    )


def _magnification(order: Order, subjects: Subjects, factors: Factors) -> MagnificationReport:
    asked = order.spec.magnification
    return MagnificationReport(
        alpha=factors.alpha,
        chosen="automatic" if asked.alpha is None else "given",
        regions=asked.regions,
        peak_share_of_face_width=factors.peak_share,
        trained=subjects.driver.magnifier.trained,
        weights=order.networks,
    )


def _backend(order: Order) -> BackendReport:
    info = order.info
    return BackendReport(
        name=info.name,
        title=info.title,
        code_licence=info.code_licence,
        weights_licence=info.weights_licence,
        commercial_use=info.commercial_use,
        options=asdict(order.options),
        checkpoint={part: CheckpointReport(each.file, each.file_sha256) for part, each in order.origins.items()},
    )
