# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pictures say of how they were made, and what a key makes of that."""

from __future__ import annotations

import datetime
import io
import json
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from magplus.backend_bridge.files.errors import InputError
from magplus.models.pipeline.provenance import CERTIFICATE, KEY, Provenance, Signer
from magplus.models.video import Mp4Writer, encode_png
from magplus.models.video.marks import Mark, SourceType, marked_mp4, marked_png

MARK = Mark(SourceType.COMPOSITE, 'urn:magplus:job:<"&>', "MagPlus 1")
IPTC = b"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_marked_picture_is_the_same_picture_and_says_what_it_is(depth: int, channels: int) -> None:
    png = encode_png(np.random.default_rng(0).uniform(size=(20, 30, channels)), depth)
    marked = marked_png(png, MARK)
    before, after = (cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_UNCHANGED) for each in (png, marked))
    assert before.dtype == after.dtype and (before == after).all()
    assert b'Iptc4xmpExt:DigitalSourceType="' + IPTC in marked
    assert b"urn:magplus:job:&lt;&quot;&amp;&gt;" in marked or b'urn:magplus:job:&lt;"&amp;&gt;' in marked
    assert marked == marked_png(png, MARK), "a finished frame is known again by its bytes"


def test_a_marked_video_plays_and_its_xmp_is_found(tmp_path: Path) -> None:
    path = tmp_path / "result.mp4"
    with Mp4Writer(path, Fraction(25), (64, 48)) as writer:
        for _ in range(3):
            writer.write(np.zeros((48, 64, 3)))
    path.write_bytes(marked_mp4(path.read_bytes(), MARK))
    with av.open(str(path), options={"export_xmp": "1"}) as container:
        assert IPTC.decode() in container.metadata["xmp"]
        assert len(list(container.decode(video=0))) == 3


def test_only_pictures_and_videos_are_marked() -> None:
    for mark in (marked_png, marked_mp4):
        with pytest.raises(ValueError):
            mark(b"nothing of the kind", MARK)


# --- with the user's own key ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A studio's key, with a certificate of a certificate authority of its own."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Studio"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
        )

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only"), False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("CA"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage),
                critical=True,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(ca_key, hashes.SHA256())

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    folder = tmp_path_factory.mktemp("key")
    chain = [certificate("Signer", key, False), certificate("CA", ca_key, True)]
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(b"".join(each.public_bytes(pem) for each in chain))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {CERTIFICATE: str(folder / "chain.pem"), KEY: str(folder / "key.pem")}


def test_nothing_is_signed_unless_it_is_asked_for() -> None:
    assert Signer.from_surroundings({}) is None
    assert Provenance("abc").report().signed_by == ""


def test_a_signed_picture_holds_its_mark_and_a_valid_manifest_without_thumbnails(key_files: dict[str, str]) -> None:
    import c2pa

    signer = Signer.from_surroundings(key_files)
    assert signer is not None and signer.algorithm == "ES256"
    signed = Provenance("abc", signer).stamped(encode_png(np.ones((20, 30, 3))), SourceType.COMPOSITE)
    manifest = c2pa.Reader("image/png", io.BytesIO(signed)).json()
    assert json.loads(manifest)["validation_state"] == "Valid"
    assert IPTC.decode() in manifest and "thumbnail" not in manifest
    assert b"urn:magplus:job:abc" in signed and len(signed) < 8000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({KEY: ""}, "set both, or neither"),
        ({KEY: "/nowhere/key.pem"}, "can't be read"),
        ({KEY: "\0"}, "can't be read"),
        ({KEY: "/dev/zero"}, "can't be read"),
        ({CERTIFICATE: "/dev/zero"}, "can't be read"),
        ({KEY: __file__}, "names no private key that can sign"),
    ],
)
def test_a_key_that_can_not_sign_is_reported_before_the_work(
    changes: dict[str, str], words: str, key_files: dict[str, str]
) -> None:
    with pytest.raises(InputError, match=words):
        Signer.from_surroundings(key_files | changes)


def test_a_certificate_of_another_kind_is_one_sentence(key_files: dict[str, str]) -> None:
    with pytest.raises(InputError, match="can't be signed with this key"):
        Signer.from_surroundings(key_files | {CERTIFICATE: __file__}).sign(  # type: ignore[union-attr]
            encode_png(np.ones((4, 4, 3))), SourceType.COMPOSITE
        )


def test_an_environment_without_the_packages_says_how_to_get_them(
    key_files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(InputError, match="again with --signing"):
        Signer.from_surroundings(key_files)
