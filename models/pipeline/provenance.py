# SPDX-License-Identifier: GPL-3.0-or-later
"""How a job's pictures are marked as generated: always a mark, and with the user's own key a signature (C2PA)."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.report import ProvenanceReport, Report
from ..video.marks import Mark, SourceType, marked_png
from .versions import magplus_version

CERTIFICATE, KEY = "MAGPLUS_C2PA_CERTIFICATE", "MAGPLUS_C2PA_KEY"  # variables that name PEM files
_LARGEST_PEM = 1 << 20  # bytes; a chain of certificates has some thousand
# The signature algorithms of C2PA, by what a key is: its kind and, of elliptic curves, the curve.
_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "rsa": "PS256", "ed25519": "ED25519"}


@dataclass(frozen=True)
class Signer:
    """The user's certificate chain and private key, PEM, and the algorithm that goes with them."""

    certificates: bytes
    key: bytes
    algorithm: str

    @property
    def certificate_sha256(self) -> str:
        """Hash of the certificates' file: who signed."""
        return hashlib.sha256(self.certificates).hexdigest()

    @classmethod
    def from_surroundings(cls, variables: Mapping[str, str] = os.environ) -> Signer | None:
        """Return the signer that the environment variables name, None without them.

        Raises `InputError` when it can't sign: a missing file, another kind of key, missing packages.
        """
        certificate, key = variables.get(CERTIFICATE, ""), variables.get(KEY, "")
        if not certificate and not key:
            return None
        if not (certificate and key):
            raise InputError(f"Pictures are signed with {CERTIFICATE} and {KEY} together; set both, or neither.")
        try:
            import c2pa  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"Pictures are to be signed ({KEY} is set), but the worker's environment can't; create it again with "
                "--signing, or unset that variable."
            ) from error
        try:
            files = [_read_pem(Path(path)) for path in (certificate, key)]
        except (OSError, ValueError) as error:
            raise InputError(f"The key or the certificate for signing can't be read ({error}); check {KEY}.") from error
        return cls(files[0], files[1], _algorithm_of(files[1]))

    def sign(self, png: bytes, source: SourceType) -> bytes:
        """Return the picture with a C2PA manifest. Raises `InputError` for a certificate that can't sign."""
        import c2pa

        manifest = {
            "claim_generator_info": [{"name": "MagPlus", "version": magplus_version()}],
            "format": "image/png",
            "assertions": [
                {
                    "label": "c2pa.actions",
                    "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": source.value}]},
                }
            ],
        }
        signed = io.BytesIO()
        try:
            info = c2pa.C2paSignerInfo(self.algorithm.lower().encode(), self.certificates, self.key, None)
            settings = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}})
            with (
                c2pa.Signer.from_info(info) as signer,
                c2pa.Context(settings) as context,
                c2pa.Builder(json.dumps(manifest), context) as builder,
            ):
                builder.sign(signer, "image/png", io.BytesIO(png), signed)
        except c2pa.C2paError as error:
            reason = (str(error).splitlines() or [""])[0][:160]
            raise InputError(f"The pictures can't be signed with this key ({reason}); check {CERTIFICATE}.") from error
        return signed.getvalue()


def _read_pem(path: Path) -> bytes:
    """Return a file's bytes. Raises `ValueError` for what is no file or too large for a key, `OSError`."""
    if path.exists() and not path.is_file():  # a pipe would be waited for, and /dev/zero has no end
        raise ValueError(f"{path} is no file")
    with path.open("rb") as file:
        data = file.read(_LARGEST_PEM + 1)
    if len(data) > _LARGEST_PEM:
        raise ValueError(f"{path} is too large")
    return data


@dataclass(frozen=True)
class Provenance:
    """The marks of one job's pictures. made_from: the fingerprint of everything that a frame is made from."""

    made_from: str
    signer: Signer | None = None

    def stamped(self, png: bytes, source: SourceType) -> bytes:
        """Return a picture with its mark, signed where there is a key."""
        marked = marked_png(png, self.mark(source))
        return marked if self.signer is None else self.signer.sign(marked, source)

    def mark(self, source: SourceType) -> Mark:
        """Return the mark of a picture or a video of the job."""
        return Mark(source, self.identity, self._program)

    @cached_property
    def _program(self) -> str:
        return f"MagPlus {magplus_version()}"

    @property
    def identity(self) -> str:
        """What names the job, the same in its report, its pictures and the actions baked from it."""
        return f"urn:magplus:job:{self.made_from}"

    def report(self) -> ProvenanceReport:
        """Return what the report says."""
        signed_by = "" if self.signer is None else self.signer.certificate_sha256
        return ProvenanceReport(self.identity, SourceType.COMPOSITE.value, signed_by)


def mark_of(report: Report) -> Mark:
    """Return the mark for what is made of a finished job's results elsewhere: a video, a contact sheet."""
    assert report.provenance is not None, "not a finished job"
    return Mark(SourceType.COMPOSITE, report.provenance.identity, f"MagPlus {magplus_version()}")


def _algorithm_of(key: bytes) -> str:
    """Return the signature algorithm of a private key, PEM without a password."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private: Any = load_pem_private_key(key, None)
        curve = getattr(private, "curve", None)
        return _ALGORITHMS[curve.name if curve is not None else type(private).__name__.strip("_").lower()[:-10]]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{KEY} names no private key that can sign (PEM without a password: ES256, ES384, ES512, PS256 or Ed25519)."
        ) from error
