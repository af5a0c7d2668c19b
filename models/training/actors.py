# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered people who act: films of expressions whose control values are known in every frame, and rigs to put them on.

For benchmarks and tests of the whole pipeline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.rig.basis import Control, RigBasis
from ..rig.sites import frontmost
from ..video import Mp4Writer, encode_png
from .head_mesh import Part
from .heads import HeadModel
from .rasteriser import Rasteriser, Shot
from .scenes import EXPRESSIONS, random_shot, rotation
from .skin import SkinPainter

LARGEST = 512
RATE = 30
NOISE = 2 / 255
CRF = 20
_KEPT_PICTURES = 64  # of one actor, so that a film is rendered once for what is done to it: compression, noise
# At rest, onset in 4 frames, apex of 2, offset in 6, at rest again.
CURVE = np.concatenate(
    [np.zeros(8), [0.1, 0.35, 0.65, 0.9], [1.0, 1.0], [0.92, 0.75, 0.52, 0.3, 0.14, 0.05], np.zeros(8)]
)
_UNSEEN = ("eyeLook", "tongueOut")  # no skin moves with the gaze, and the tongue is behind the lips


class Stage:
    """Where actors are rendered: everything that is loaded once."""

    def __init__(self, model: HeadModel) -> None:
        self.model = model
        self.painter = SkinPainter(model)
        self.rasteriser = Rasteriser(model, LARGEST, oversampling=1)
        self.seated: Actor | None = None
        self.controls = [name for name in map(str, model.unit_names) if not name.startswith(_UNSEEN)]
        self.units = np.stack([model.unit(name) for name in self.controls])


class Actor:
    """One person before one camera, looking a little aside."""

    def __init__(self, stage: Stage, seed: int, size: int) -> None:
        rng = np.random.default_rng(seed)
        self.stage, self.seed, self.size = stage, seed, size
        self._shown: dict[bytes, Tensor] = {}
        self.shot: Shot = random_shot(rng)
        self.turn = rotation(np.deg2rad(rng.uniform([-4, -6, -3], [4, 6, 3])))
        self.vertices = stage.model.identity(seed)
        self.albedo = stage.painter.paint(seed).albedo

    def posed(self, values: NDArray[np.floating], head: NDArray[np.floating] | None = None) -> NDArray[np.floating]:
        """Return the vertices for control values [K] and a head motion [6] (angles in radians, shift in metres)."""
        vertices = self.vertices + np.tensordot(values, self.stage.units, 1)
        neck = np.array([0.0, -0.03, -0.08])
        turn = self.turn if head is None else self.turn @ rotation(head[:3])
        shift = 0.0 if head is None else head[3:]
        return (vertices - neck) @ turn.T + neck + shift

    def picture(self, values: NDArray[np.floating], head: NDArray[np.floating] | None = None) -> Tensor:
        """Return the picture [1, 3, S, S]."""
        if self.stage.seated is not self:
            self.stage.rasteriser.dress(self.albedo)
            self.stage.seated = self
        vertices = self.posed(values, head)
        image = self.stage.rasteriser.render(vertices, vertices, self.shot).image
        whole = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        return torch.nn.functional.avg_pool2d(whole, LARGEST // self.size)

    def pictures(self, values: NDArray[np.floating], head: NDArray[np.floating] | None = None) -> Tensor:
        """Return the pictures [N, 3, S, S] of a film, values [N, K] and head motion [N, 6].

        Poses that recur, in this film or the one before it, are rendered once.
        """
        poses = [None] * len(values) if head is None or not head.any() else list(head)
        keys = [
            value.tobytes() + (b"" if pose is None else pose.tobytes())
            for value, pose in zip(values, poses, strict=True)
        ]
        if len(self._shown) > _KEPT_PICTURES:
            self._shown.clear()
        for key, value, pose in zip(keys, values, poses, strict=True):
            if key not in self._shown:
                self._shown[key] = self.picture(value, pose)
        return torch.cat([self._shown[key] for key in keys])

    def projected(self, vertices: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return where points [V, 3] are in the picture, px [V, 2]."""
        clip = np.c_[vertices, np.ones(len(vertices))] @ self.shot.camera().T.astype(np.float64)
        x, y = clip[:, 0] / clip[:, 3], clip[:, 1] / clip[:, 3]
        return np.stack([(0.5 + 0.5 * x) * self.size - 0.5, (0.5 - 0.5 * y) * self.size - 0.5], 1)

    @cached_property
    def basis(self) -> RigBasis:
        """What the controls do to the picture."""
        return self.basis_of(self.stage.controls, self.stage.units)

    def basis_of(self, names: Sequence[str], units: NDArray[np.floating]) -> RigBasis:
        """Return what keys of these names and full-strength displacements [K, V, 3] do to the picture."""
        model, still, step = self.stage.model, np.zeros(len(self.stage.controls)), 0.02
        vertices = self.posed(still)
        rest = self.projected(vertices)
        moved = [self.projected(vertices + step * unit @ self.turn.T) for unit in units]
        quads = model.faces[model.part != Part.LASHES]
        basis = RigBasis(
            image_size=(self.size, self.size),
            controls=tuple(Control(name, "shape_key", "Head", name, 0.0, 0.0, 1.0) for name in names),
            positions=rest.astype(np.float32),
            depth=(self.shot.distance - vertices[:, 2]).astype(np.float32),
            visible=np.asarray(((rest > 0) & (rest < self.size - 1)).all(1)),
            displacement=((np.stack(moved) - rest) / step).astype(np.float32),
            triangles=np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32),
        )
        return dataclasses.replace(basis, visible=basis.visible & unhidden(basis))

    @cached_property
    def neutral(self) -> Tensor:
        """The neutral picture."""
        return self.picture(np.zeros(len(self.stage.controls)))


def unhidden(basis: RigBasis) -> NDArray[np.bool_]:
    """Return [V], vertices that no nearer part of the surface covers."""
    size = basis.image_size[0]
    triangle, share = frontmost(basis.positions.astype(np.float64), basis, (size, size))
    nearest = np.where(triangle >= 0, (basis.depth[basis.triangles[triangle]] * share).sum(2), -np.inf)
    x, y = basis.positions.round().astype(int).clip(1, size - 2).T
    behind = np.max([nearest[y + j, x + i] for j in (-1, 0, 1) for i in (-1, 0, 1)], axis=0)
    return np.asarray(basis.depth < behind + 0.002)  # metres


@dataclass(frozen=True)
class Film:
    """Frames [N, 3, S, S] and the true control values in them, [N, K]."""

    frames: Tensor
    values: NDArray[np.float64]

    def write(self, path: Path, compressed: bool = False) -> Path:
        """Write H.264 (4:2:0, as cameras write it) or PNGs, which lose nothing; return the file or the folder."""
        pictures = self.frames.permute(0, 2, 3, 1).numpy()
        if compressed:
            size = (self.frames.shape[3], self.frames.shape[2])
            with Mp4Writer(path.with_suffix(".mp4"), Fraction(RATE), size, CRF) as writer:
                for picture in pictures:
                    writer.write(picture)
            return path.with_suffix(".mp4")
        path.mkdir(exist_ok=True)
        for number, picture in enumerate(pictures):
            (path / f"{number:04d}.png").write_bytes(encode_png(picture))
        return path


def film(
    actor: Actor,
    expression: str,
    peak: float,
    seed: int,
    sway: bool = False,
    noise: bool = False,
    curve: NDArray[np.floating] = CURVE,
) -> Film:
    """Film an expression of `EXPRESSIONS` that follows `curve` and whose largest visible motion is `peak` px.

    sway: the head moves by up to half a degree and half a millimetre. noise: of a camera, 2/255.
    """
    rng = np.random.default_rng(seed)
    mixture = np.array([float(name in EXPRESSIONS[expression]) for name in actor.stage.controls])
    visible = actor.basis.visible
    reach = np.linalg.norm(np.tensordot(mixture, actor.basis.displacement, 1)[visible], axis=1).max()
    values = np.asarray(curve)[:, None] * mixture * peak / reach
    seconds = np.arange(len(curve)) / RATE
    phase = rng.uniform(0, 2 * np.pi, 6)
    wave = 0.5 * (np.sin(2 * np.pi * seconds[:, None] / rng.uniform(0.8, 1.6, 6) + phase) - np.sin(phase))
    head = wave * np.r_[np.deg2rad([0.5, 0.5, 0.5]), [0.0005] * 3] * float(sway)
    frames = actor.pictures(values, head)
    if noise:
        frames = frames + NOISE * torch.from_numpy(rng.standard_normal(frames.shape).astype(np.float32))
    return Film((frames.clamp(0, 1) * 255).round() / 255, values)
