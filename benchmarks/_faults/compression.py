# SPDX-License-Identifier: GPL-3.0-or-later
"""What codecs leave of a face, at rates that are low, and at one that is high."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from magplus.models.training.actors import Actor

from .._codecs import Codec
from .fault import COMPRESSION, Fault


def of_compression(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield codecs, each at its strongest last."""
    for quality, concern in ((18, None), (28, COMPRESSION)):
        codec = Codec("libx264", (("crf", str(quality)),), ".mp4")
        yield Fault("H.264" if concern else "harmless: H.264", f"CRF {quality}", _as_it_is, (), concern, codec=codec)
    for quality, concern in ((23, ""), (28, COMPRESSION)):
        options = (("crf", str(quality)), ("x265-params", "log-level=none"))
        yield Fault("HEVC", f"CRF {quality}", _as_it_is, (), concern, codec=Codec("libx265", options, ".mp4"))
    vp9 = Codec("libvpx-vp9", (("crf", "34"), ("b", "0"), ("cpu-used", "4")), ".webm")
    yield Fault("VP9", "CRF 34", _as_it_is, (), COMPRESSION, codec=vp9)
    for quantiser in (5, 10):
        codec = Codec("mpeg4", (("qmin", str(quantiser)), ("qmax", str(quantiser))), ".avi")
        yield Fault("MPEG-4", f"quantiser {quantiser}", _as_it_is, (), COMPRESSION, codec=codec)
    for quantiser, concern in ((4, None), (12, COMPRESSION)):
        codec = Codec("mjpeg", (("qmin", str(quantiser)), ("qmax", str(quantiser))), ".avi", "yuvj420p")
        name = "MJPEG" if concern else "harmless: MJPEG"
        yield Fault(name, f"quantiser {quantiser}", _as_it_is, (), concern, codec=codec)


def _as_it_is(frames: Tensor) -> Tensor:
    return frames
