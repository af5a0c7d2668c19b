# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays from `.npz` files that somebody else may have made or damaged: sizes are checked before anything is unpacked.

numpy relies on an archive's own header: a few kilobytes can ask for gigabytes, and damage ends in whatever the
library below raises.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

LARGEST = 2**30  # bytes of all arrays of a file together; a rig of 500 controls and 100 000 vertices has 0.4 GB
FARTHEST = 1e9  # px, px per unit of a control, scene units, values of controls; squares of it are still finite
MOST_PIXELS = 65_536  # of a picture's side
_PLAIN_KINDS = "biufU"  # truth values, numbers and text; nothing that has to be unpickled

# What damaged archives end in, in zipfile, zlib, numpy and below.
_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError, MemoryError),
    *(NotImplementedError, RuntimeError, SyntaxError, UnicodeError, struct.error, tokenize.TokenError, zlib.error),
    *(zipfile.BadZipFile, zipfile.LargeZipFile, AssertionError),
)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` file by name. Raises `ValueError` with what is wrong, for any damage whatever."""
    try:
        if not path.is_file():  # a pipe would be waited for, and /dev/zero has no end
            raise ValueError("there is no such file")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > LARGEST:
                raise ValueError(f"it unpacks to {size / 1e9:.1f} GB")
            return {member.filename.removesuffix(".npy"): _read(archive, member) for member in members}
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ValueError(reason or type(error).__name__) from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran_order, dtype = reader(file)
        if dtype.kind not in _PLAIN_KINDS or dtype.hasobject:
            raise ValueError(f"{member.filename} holds {dtype}, which is no plain number")
        count = math.prod(shape)
        if min(shape, default=0) < 0 or count * dtype.itemsize != member.file_size - file.tell():
            raise ValueError(f"{member.filename} says it is of another size than it is")
        data = file.read()
        if file.read(1) or len(data) != count * dtype.itemsize:
            raise ValueError(f"{member.filename} is cut short")
    array = np.frombuffer(data, dtype)
    if dtype.kind == "b":
        array = np.frombuffer(data, np.uint8) != 0  # a truth value of 7 is none to numpy
    return array.reshape(shape, order="F" if fortran_order else "C").copy()


def checked(
    arrays: dict[str, NDArray[Any]], name: str, kinds: str, shape: tuple[int | None, ...], largest: float = math.inf
) -> NDArray[Any]:
    """Return the array `name`, which must have one of numpy's `kinds` ("f", "iu"), a shape and finite numbers.

    shape: None for a length that is free. largest: the greatest absolute value. Raises `ValueError` with what is wrong.
    """
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    array = arrays[name]
    fits = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in kinds or not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, which does not fit ({wanted})")
    if array.size and array.dtype.kind in "iuf":
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        if max(abs(float(array.max())), abs(float(array.min()))) > largest:
            raise ValueError(f"{name} holds numbers beyond {largest:g}")
    return array


@dataclass(frozen=True)
class CapturedMesh:
    """V vertices of a face in a picture, as files of a capture have them.

    image_size: (width, height) px. positions: [V, 2] float32 px. depth: [V] float32, scene units. visible: [V] bool.
    triangles: [T, 3] int32 into the vertices.
    """

    image_size: tuple[int, int]
    positions: NDArray[np.float32]
    depth: NDArray[np.float32]
    visible: NDArray[np.bool_]
    triangles: NDArray[np.int32]


def encode_captured(version: int, mesh: CapturedMesh, **more: NDArray[Any]) -> bytes:
    """Return what `read_captured` reads, as a compressed .npz (no pickles): the mesh and further arrays."""
    data = io.BytesIO()
    np.savez_compressed(
        data,
        format=np.int32(version),
        image_size=np.asarray(mesh.image_size, np.int32),
        positions=mesh.positions.astype(np.float32),
        depth=mesh.depth.astype(np.float32),
        visible=mesh.visible.astype(bool),
        triangles=mesh.triangles.astype(np.int32),
        **more,  # type: ignore[arg-type]  # the stubs take them for `allow_pickle`
    )
    return data.getvalue()


def read_captured(path: Path, version: int) -> tuple[dict[str, NDArray[Any]], CapturedMesh]:
    """Return the arrays of a file that a capture wrote, and the mesh among them.

    Raises `InputError` for another `version` of the format, `ValueError` for any damage.
    """
    arrays = read_arrays(path)
    if int(checked(arrays, "format", "iu", ())) != version:
        raise InputError(f"{path.name} was written by another MagPlus version; capture the avatar again.")
    width, height = (int(side) for side in checked(arrays, "image_size", "iu", (2,), MOST_PIXELS))
    if min(width, height) < 1:
        raise ValueError(f"its picture is {width} x {height} px large")
    positions = checked(arrays, "positions", "f", (None, 2), FARTHEST)
    count = len(positions)
    return arrays, CapturedMesh(
        image_size=(width, height),
        positions=positions.astype(np.float32, copy=False),
        depth=checked(arrays, "depth", "f", (count,), FARTHEST).astype(np.float32, copy=False),
        visible=checked(arrays, "visible", "b", (count,)),
        triangles=_checked_triangles(arrays, count),
    )


def _checked_triangles(arrays: dict[str, NDArray[Any]], vertices: int) -> NDArray[np.int32]:
    """Return the array `triangles`, [T, 3] int32 into so many `vertices`. Raises `ValueError` for others."""
    triangles = checked(arrays, "triangles", "iu", (None, 3))
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < vertices:
        raise ValueError("triangles join vertices that are not there")
    return triangles.astype(np.int32)
