# SPDX-License-Identifier: GPL-3.0-or-later
"""Rig bases and curves that were damaged, or made by somebody who means no good."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magplus.backend_bridge.files import arrays
from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.basis import Channel, Control, RigBasis
from magplus.backend_bridge.rig.curves import ControlCurves

K, V, N = 3, 40, 7
GOOD = RigBasis(
    image_size=(64, 48),
    controls=tuple(
        Control(f"c{k}", "bone", "Rig", "pose", 0, -1, 1, (Channel("Teeth", "v"),), ((-1.0, -2.0), (1.0, 0.5)))
        for k in range(K)
    ),
    positions=np.random.default_rng(0).uniform(0, 48, (V, 2)).astype(np.float32),
    depth=np.ones(V, np.float32),
    visible=np.arange(V) % 4 > 0,
    displacement=np.random.default_rng(1).normal(size=(K, V, 2)).astype(np.float32),
    triangles=np.arange(30, dtype=np.int32).reshape(10, 3),
    excluded={"x": "is driven"},
)
CURVES = ControlCurves(
    names=("a", "b"),
    seconds=np.arange(N) / 25,
    values=np.zeros((N, 2), np.float32),
    residual=np.zeros(N, np.float32),
    visibility=np.ones(2, np.float32),
    regions=("mouth",),
    region_residual=np.full((N, 1), np.nan, np.float32),
)


def changed(encoded: bytes, **changes: Any) -> bytes:
    """Return an archive with some arrays replaced, or left out where they are None."""
    with np.load(io.BytesIO(encoded)) as loaded:
        kept = {name: loaded[name] for name in loaded.files} | changes
    data = io.BytesIO()
    np.savez_compressed(data, **{name: each for name, each in kept.items() if each is not None})
    return data.getvalue()


@pytest.mark.parametrize("kind", [GOOD, CURVES], ids=["basis", "curves"])
def test_whatever_is_damaged_ends_in_one_sentence(kind: RigBasis | ControlCurves, tmp_path: Path) -> None:
    """Bytes flipped, cut off, repeated and zeroed, at places of a fixed seed; a good file loads as it is."""
    encoded, path, rng = kind.encode(), tmp_path / "it.npz", random.Random(0)
    path.write_bytes(encoded)
    type(kind).load(path)
    refused = 0
    for _ in range(400):
        data = bytearray(encoded)
        match rng.randrange(4):
            case 0:
                for _ in range(rng.randint(1, 6)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
            case 1:
                del data[rng.randrange(len(data)) :]
            case 2:
                start = rng.randrange(len(data))
                data[start : start + rng.randrange(200)] = b"\0" * rng.randrange(200)
            case _:
                start = rng.randrange(len(data))
                data[start:start] = data[start : start + rng.randrange(300)]
        path.write_bytes(bytes(data))
        try:
            type(kind).load(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 300


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"positions": np.full((V, 2), np.nan, np.float32)}, "positions holds numbers that are not finite"),
        ({"positions": GOOD.positions * np.float32(1e30)}, "positions holds numbers beyond"),
        ({"positions": GOOD.positions + 1000}, "lie outside the picture"),
        ({"positions": GOOD.positions[:-1]}, r"depth is .* which does not fit \(39\)"),
        ({"displacement": np.full((K, V, 2), np.inf, np.float32)}, "displacement holds numbers that are not finite"),
        ({"displacement": GOOD.displacement[:-1]}, "displacement is"),
        ({"displacement": GOOD.displacement.astype(complex)}, "holds complex128"),
        ({"depth": np.full(V, np.nan, np.float32)}, "depth holds"),
        ({"visible": np.full(V, 7)}, "visible is int64"),
        ({"triangles": GOOD.triangles + 10**6}, "vertices that are not there"),
        ({"triangles": -GOOD.triangles - 1}, "vertices that are not there"),
        ({"image_size": np.array([0, 0])}, "0 x 0 px"),
        ({"image_size": np.array([2**31 - 1] * 2)}, "image_size holds numbers beyond"),
        ({"positions": np.array([{}], object)}, "object"),
        ({"depth": None}, "depth is missing"),
        ({"controls": np.frombuffer(b"[" * 100_000, np.uint8)}, "recursion"),
    ],
)
def test_numbers_that_no_rig_has_are_named(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "rig_basis.npz"
    path.write_bytes(changed(GOOD.encode(), **changes))
    with pytest.raises(InputError, match=words):
        RigBasis.load(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "c1"}, "the control name 'c1'"),
        ({"name": ""}, "the control name ''"),
        ({"name": "half of a character \ud800"}, r"the control name 'half of a character \\ud800'"),
        ({"low": 5.0, "high": -5.0}, "ends before it begins"),
        ({"low": -1e300, "high": 1e300}, "values beyond"),
        ({"response": ((1.0, 0.5), (-1.0, 2.0))}, "ends before it begins"),
        ({"rest": float("nan")}, "can't be NaN"),
    ],
)
def test_controls_that_no_rig_has_are_named(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    from dataclasses import replace

    path = tmp_path / "rig_basis.npz"
    path.write_bytes(replace(GOOD, controls=(replace(GOOD.controls[0], **changes), *GOOD.controls[1:])).encode())
    with pytest.raises(InputError, match=words):
        RigBasis.load(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"values": np.full((N, 2), np.nan, np.float32)}, "values holds numbers that are not finite"),
        ({"seconds": np.full(N, 1e300)}, "seconds holds numbers beyond"),
        ({"seconds": np.zeros(N)}, "repeat themselves"),
        ({"names": np.array(["a", "a"])}, "repeat themselves"),
        ({"values": np.zeros((N, 3), np.float32)}, "values is"),
    ],
)
def test_curves_that_would_make_nonsense_of_keys_are_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(changed(CURVES.encode(), **changes))
    with pytest.raises(InputError, match=words):
        ControlCurves.load(path)


def bomb(shape: tuple[int, ...], megabytes: int) -> bytes:
    """Return an archive whose positions unpack to so many zeros, and say that they have a shape."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        with zipfile.ZipFile(io.BytesIO(changed(GOOD.encode(), positions=None))) as good:
            for name in good.namelist():
                archive.writestr(name, good.read(name))
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        with archive.open("positions.npy", "w", force_zip64=True) as file:
            file.write(header.getvalue())
            for _ in range(megabytes):
                file.write(b"\0" * 2**20)
    return data.getvalue()


@pytest.mark.parametrize(
    ("shape", "megabytes", "words"),
    [((2**18, 2), 2, "unpacks to 0.0 GB"), ((2**60, 2), 1, "another size"), ((-1, 2), 1, "another size")],
)
def test_an_archive_that_would_fill_the_memory_is_not_unpacked(
    shape: tuple[int, ...], megabytes: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "LARGEST", 2**21)
    path = tmp_path / "rig_basis.npz"
    path.write_bytes(bomb(shape, megabytes))
    with pytest.raises(InputError, match=words):
        RigBasis.load(path)
