# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigs whose shapes are not the driver's: face units bent, merged, taken away, or drawn as a cartoon would draw them.

Between two families of heads a unit of the same name moves the skin in another direction, farther or less far, over
a larger or a smaller part of the face, and a rig has fewer keys than a face has muscles, or more. Real foreign heads
are few; these are as many as there are seeds, and their vertices are the driver's, so that what the driver does is
known at every vertex.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .head_mesh import Part
from .heads import HeadModel

Floats = NDArray[np.float64]

_WAVES = 16  # cosines in a random field; more change nothing that can be seen
_FIELD_SIZE = 0.04  # m, over which bends of a unit vary: about an eye's width
_BUMP = 0.016  # m, standard deviation of a cartoon's key


@dataclass(frozen=True)
class KeySet:
    """The keys of a rig: K names and what each moves at full strength, [K, V, 3] in metres."""

    names: tuple[str, ...]
    units: Floats


@dataclass(frozen=True)
class Bend:
    """How far units are bent, as standard deviations.

    gain: of the logarithm of the size. turn: of the direction, radians. shift: along the surface, metres. falloff: of
    the power p in |d|^p, with which a unit falls off from its middle; above 0 narrower, below 0 wider. spill: share of
    a unit's largest motion that it has all over the face, as sculpted keys do that nobody cleaned.
    """

    gain: float = 0.3
    turn: float = 0.35
    shift: float = 0.004
    falloff: float = 0.3
    spill: float = 0.0


HALF_WAY = Bend(gain=0.5, turn=0.6, shift=0.007, falloff=0.4, spill=0.03)


def bent(model: HeadModel, keys: KeySet, seed: int, bend: Bend | None = None) -> KeySet:
    """Return the keys, each bent by smooth random fields of its own; the largest motion of each stays.

    d'(x) = g(x) R(x) d(x + s(x)) |d|^p, with a gain g, a rotation R and a shift s that vary over a few centimetres.
    """
    bend = bend or Bend()
    rng = np.random.default_rng(seed)
    vertices = model.mean().astype(np.float64)
    skin = model.vertices_of(Part.SKIN)
    tree = cKDTree(vertices[skin])
    units = []
    for unit in keys.units:
        field = _random_field(vertices, 7, rng)
        everywhere = _random_field(vertices, 3, rng, 2 * _FIELD_SIZE)
        from_where = vertices + bend.shift * field[:, :3]
        moved = unit.copy()
        moved[skin] = unit[skin][tree.query(from_where[skin])[1]]
        moved = _turned(moved, bend.turn * field[:, 3:6]) * np.exp(bend.gain * field[:, 6:])
        size = np.linalg.norm(moved, axis=1, keepdims=True)
        share = size / max(float(size.max()), 1e-12)
        moved = moved * np.maximum(share, 1e-3) ** (bend.falloff * rng.standard_normal())
        largest = np.linalg.norm(moved, axis=1).max()
        moved[skin] += bend.spill * largest * everywhere[skin]
        units.append(moved * np.linalg.norm(unit, axis=1).max() / max(float(largest), 1e-12))
    return KeySet(keys.names, np.stack(units))


def merged(keys: KeySet, groups: dict[str, Sequence[str]]) -> KeySet:
    """Return the keys with those of each group added up in one of a new name, at the end."""
    taken = {name for group in groups.values() for name in group}
    kept = [index for index, name in enumerate(keys.names) if name not in taken]
    sums = [sum(keys.units[keys.names.index(name)] for name in group) for group in groups.values()]
    return KeySet((*(keys.names[index] for index in kept), *groups), np.stack([*keys.units[kept], *sums]))


def without(keys: KeySet, *patterns: str) -> KeySet:
    """Return the keys without those whose names begin with one of the patterns."""
    kept = [index for index, name in enumerate(keys.names) if not name.startswith(patterns)]
    return KeySet(tuple(keys.names[index] for index in kept), keys.units[kept])


def with_visemes(keys: KeySet, seed: int, count: int = 15) -> KeySet:
    """Return the keys and `count` more that mix those of mouth and jaw, as speech does."""
    rng = np.random.default_rng(seed)
    mouth = [index for index, name in enumerate(keys.names) if re.match("mouth|jaw", name)]
    mixture = rng.dirichlet(np.full(len(mouth), 0.15), count)
    visemes = np.tensordot(mixture, keys.units[mouth], 1)
    return KeySet((*keys.names, *(f"viseme_{number:02}" for number in range(count))), np.r_[keys.units, visemes])


def cartoon(model: HeadModel, keys: KeySet, groups: dict[str, Sequence[str]]) -> KeySet:
    """Return one coarse key for each group: round bumps where the group's units move most, all going one way each."""
    vertices = model.mean().astype(np.float64)
    skin = model.vertices_of(Part.SKIN)
    drawn = []
    for group in groups.values():
        key = np.zeros_like(vertices)
        for name in group:
            unit = keys.units[keys.names.index(name)]
            for side in (vertices[:, 0] > 0.004, vertices[:, 0] < -0.004):
                here = np.intersect1d(np.flatnonzero(side), skin)
                energy = (unit[here] ** 2).sum(1)
                if energy.sum() < 0.05 * (unit[skin] ** 2).sum():
                    continue
                middle = energy @ vertices[here] / energy.sum()
                push = energy @ unit[here] / energy.sum()
                bump = np.exp(-((vertices - middle) ** 2).sum(1) / (2 * _BUMP**2))
                here_more = np.linalg.norm(key, axis=1) < bump * np.linalg.norm(push)
                key[here_more] = bump[here_more, None] * push
        drawn.append(key)
    return KeySet(tuple(groups), np.stack(drawn))


_BOTH_SIDES = ("browDown", "eyeWide", "noseSneer", "mouthFrown", "mouthUpperUp", "cheekSquint")
_MERGED: dict[str, Sequence[str]] = {
    "browRaiseInner": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    **{shape: (f"{shape}Left", f"{shape}Right") for shape in _BOTH_SIDES},
}
_CARTOON: dict[str, Sequence[str]] = {
    "browRaiseInner": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "browDown": ("browDownLeft", "browDownRight"),
    "eyeWide": ("eyeWideLeft", "eyeWideRight"),
    "eyeBlink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "cheekSquint": ("cheekSquintLeft", "cheekSquintRight"),
    "mouthSmileLeft": ("mouthSmileLeft",),
    "mouthSmileRight": ("mouthSmileRight",),
    "mouthFrown": ("mouthFrownLeft", "mouthFrownRight"),
    "noseSneer": ("noseSneerLeft", "noseSneerRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    "mouthDimpleLeft": ("mouthDimpleLeft",),
    "mouthDimpleRight": ("mouthDimpleRight",),
    "mouthPucker": ("mouthPucker",),
    "jawOpen": ("jawOpen",),
}

# The first three are those that constants were chosen on; the others only ever measure.
FAMILIES: MappingProxyType[str, Callable[[HeadModel, KeySet, int], KeySet]] = MappingProxyType(
    {
        "bent": lambda model, keys, seed: bent(model, keys, seed),
        "half-way": lambda model, keys, seed: bent(model, keys, seed, HALF_WAY),
        "merged": lambda model, keys, seed: without(
            merged(bent(model, keys, seed, Bend(turn=0.2)), _MERGED), "mouthShrug", "mouthPress", "mouthStretch"
        ),
        "visemes": lambda model, keys, seed: with_visemes(bent(model, keys, seed, HALF_WAY), seed),
        "cartoon": lambda model, keys, _: cartoon(model, keys, _CARTOON),
    }
)
TUNED = ("bent", "half-way", "merged")


def _random_field(points: Floats, channels: int, rng: np.random.Generator, size: float = _FIELD_SIZE) -> Floats:
    """Return a smooth random field [V, C] of variance 1 at points [V, 3]: random Fourier features of a Gaussian."""
    waves = rng.standard_normal((3, channels, _WAVES)) / size
    phase = rng.uniform(0, 2 * np.pi, (channels, _WAVES))
    return np.sqrt(2 / _WAVES) * np.cos(np.einsum("vi,icw->vcw", points, waves) + phase).sum(2)


def _turned(vectors: Floats, angles: Floats) -> Floats:
    """Return vectors [V, 3], each turned about its own axis of `angles` [V, 3] by its length (Rodrigues)."""
    angle = np.linalg.norm(angles, axis=1, keepdims=True)
    axis = angles / np.maximum(angle, 1e-12)
    along = (axis * vectors).sum(1, keepdims=True) * axis
    return np.asarray(along + (vectors - along) * np.cos(angle) + np.cross(axis, vectors) * np.sin(angle))
