# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that films are written to: pictures, which lose nothing, or what a codec leaves of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from magplus.models.video import encode_png


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg with its options, and the ending of the file that it goes into."""

    encoder: str
    options: tuple[tuple[str, str], ...]
    ending: str
    pixels: str = "yuv420p"


def write(path: Path, frames: Tensor, rate: int, codec: Codec | None) -> Path:
    """Write frames [N, 3, S, S] as a folder of PNGs, or as a film by a codec; return it."""
    pictures = (frames.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    if codec is None:
        path.mkdir(exist_ok=True)
        for number, picture in enumerate(frames.permute(0, 2, 3, 1).numpy()):
            (path / f"{number:04d}.png").write_bytes(encode_png(picture))
        return path
    file = path.with_suffix(codec.ending)
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec.encoder, rate=rate, options=dict(codec.options))
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = codec.pixels
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file
