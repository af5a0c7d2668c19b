# SPDX-License-Identifier: GPL-3.0-or-later
"""A hash of all that a frame is made from: a later run keeps the finished frames whose hash is its own.

Hashes of the clip, the avatar, its rig, the networks and the backend's checkpoint go in, and what was asked of them.
Paths, the device and what only decides what is made of finished frames stay out: a job that was moved, or that another
machine goes on with, keeps its frames.
"""

from __future__ import annotations

from typing import Any

from ...backend_bridge.files.hashing import fingerprint_of, hash_file
from ...backend_bridge.files.plain import hash_plain
from ...backend_bridge.files.version import magplus_version
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.spec import JobSpec, resolve
from ..backends.options import content_of
from ..backends.store import Origin
from .driving_clip import DrivingClip

_MARKS = 1  # version of the marks in pictures (`provenance`)
_RECORDS = 5  # version of what a frame leaves besides pictures (`outputs`); those of others can't be read with its own


def fingerprint(
    folder: JobFolder,
    spec: JobSpec,
    clip: DrivingClip,
    networks: dict[str, str],
    options: Any,
    origins: dict[str, Origin],
    signed_by: str = "",
) -> str:
    """Return one hash of everything a frame is made from.

    networks: SHA-256 of the weights, by role, of those of MagPlus and DeMagPlus that make the frames. options: the
    backend's, of its own kind, with absolute paths. origins: where each part of the backend's checkpoint came from.
    signed_by: hash of the certificates that the pictures are signed with, empty where they are not.
    """
    avatar = spec.avatar
    return fingerprint_of(
        {
            "magplus": magplus_version(),
            "marks": [_MARKS, signed_by],
            "records": _RECORDS,
            "networks": networks,
            "clip": clip.sha256,
            "untrusted": clip.track.untrusted,
            "frames": clip.times,
            "reference": clip.chosen.seconds,
            "face": spec.driving.face_index,
            "avatar": [hash_file(resolve(folder.path, path)) for path in (avatar.image, avatar.rig_basis) if path],
            "placing": [avatar.face_box, avatar.anchors, avatar.expected],
            "magnification": spec.magnification,
            "intensity": spec.intensity,
            "backend": spec.backend,
            "options": content_of(options),
            "checkpoint": {part: origin.tensors_sha256 for part, origin in origins.items()},
        }
    )


def order_fingerprint(
    folder: JobFolder,
    spec: JobSpec,
    networks: dict[str, str],
    options: Any,
    origins: dict[str, Origin],
    signed_by: str,
    versions: dict[str, str],
    clip_sha256: str,
) -> str:
    """Return one hash of everything that a whole result is made from, all of it known before anything is computed.

    It is of the order as it stands in `job.json`, and of the machine's versions: where it is the same, so is the
    result. Any other difference has the job run, which keeps what frames it can (`fingerprint`). The arguments are
    those of `fingerprint`; networks: all that are loaded.
    """
    avatar = spec.avatar
    return fingerprint_of(
        {
            "job": hash_plain(folder.spec_path),
            "marks": [_MARKS, signed_by],
            "networks": networks,
            "clip": clip_sha256,
            "avatar": [hash_file(resolve(folder.path, path)) for path in (avatar.image, avatar.rig_basis) if path],
            "options": content_of(options),
            "checkpoint": {part: origin.tensors_sha256 for part, origin in origins.items()},
            "versions": versions,
        }
    )
