# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job asks for, read and checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...backend_bridge.backends import BackendInfo
from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.spec import JobSpec, resolve
from ...backend_bridge.rig.basis import RigBasis
from ..backends.options import parse_options, with_files_in
from ..backends.store import Origin
from ..magnification import Magnifier
from ..magnification.magnifier import ROLES, Role
from ..video import VideoReader
from .avatar import AvatarPicture
from .clip_request import reader_of
from .driving_clip import DrivingClip
from .fingerprint import fingerprint, order_fingerprint
from .provenance import Signer
from .session import Session, find_backend
from .versions import versions


@dataclass(frozen=True)
class Order:
    """A job's folder with its inputs, and the networks that it is run with.

    basis: of the avatar's rig; None where no controls are asked for. options: the backend's, of its own kind, with
    absolute paths. origins: where each part of the backend's checkpoint came from.
    """

    folder: JobFolder
    spec: JobSpec
    device: torch.device
    picture: AvatarPicture
    basis: RigBasis | None
    info: BackendInfo
    options: Any
    origins: dict[str, Origin]
    magnifiers: dict[Role, Magnifier]
    reader: VideoReader
    signer: Signer | None

    @classmethod
    def read(cls, folder: JobFolder, spec: JobSpec, session: Session, device: torch.device) -> Order:
        """Read what `job.json` names; raises `InputError` for what is missing, damaged or unknown."""
        return cls(
            folder,
            spec,
            device,
            AvatarPicture.read(resolve(folder.path, spec.avatar.image)),
            _read_basis(folder, spec),
            find_backend(spec.backend).info,
            read_options(spec.backend, spec.backend_options, folder.path),
            session.origins(spec.backend),
            {role: session.magnifier(role, device) for role in ROLES},
            reader_of(folder.path, spec.driving),
            Signer.from_surroundings(),
        )

    @property
    def networks(self) -> dict[str, str]:
        """SHA-256 of the trained weights, by role."""
        return {role: each.weights_sha256 for role, each in self.magnifiers.items() if each.trained}

    def fingerprint(self) -> str:
        """Return one hash of everything that the whole result is made from, see `order_fingerprint`."""
        return order_fingerprint(
            self.folder,
            self.spec,
            self.networks,
            self.options,
            self.origins,
            self._signed_by,
            versions(self.device),
            self.reader.sha256,
        )

    def frames_fingerprint(self, clip: DrivingClip, restored: bool) -> str:
        """Return one hash of everything that the frames are made from, see `fingerprint`.

        restored: whether DeMagPlus measures what the backend generated, and so takes part in them.
        """
        painting = {role: weights for role, weights in self.networks.items() if restored or role == "magplus"}
        return fingerprint(self.folder, self.spec, clip, painting, self.options, self.origins, self._signed_by)

    @property
    def _signed_by(self) -> str:
        return "" if self.signer is None else self.signer.certificate_sha256


def read_options(backend: str, given: Mapping[str, Any], folder: Path) -> Any:
    """Return a backend's options, of its own kind, with absolute paths; relative ones are of `folder`.

    Raises `InputError` for a backend that there isn't, and as `parse_options` and `with_files_in` do.
    """
    kind = find_backend(backend)
    return with_files_in(parse_options(kind.Options, given, title=kind.info.title), folder, title=kind.info.title)


def _read_basis(folder: JobFolder, spec: JobSpec) -> RigBasis | None:
    if spec.avatar.rig_basis is None:
        return None
    basis = RigBasis.load(resolve(folder.path, spec.avatar.rig_basis))
    if not (len(basis.positions) and len(basis.triangles)):
        raise InputError("The captured rig has no surface on which a face could lie; capture the avatar again.")
    return basis
