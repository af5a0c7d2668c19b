# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that no artist drew: heads of other proportions, and units that lie.

Whoever has learned the exact shape of 51 units overrules what is seen of a face that has others. So in most of the
films the units are bent by smooth random maps, anew in every pair: what remains to be learned of them is that they are
local, smooth, few, and run along the skin.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .head_mesh import Part
from .head_texture import HEAD_CENTRE
from .heads import HeadModel

Floats: TypeAlias = NDArray[np.floating]

WAVES = 14  # of a smooth random field
REACH = (0.02, 0.06)  # m over which a bend changes
GAIN = 0.6  # standard deviation of a gain's logarithm
TURN = 0.3  # standard deviation of a turn, radians
MOST_TURN = 0.61
SHIFT = 0.006  # standard deviation of a shift along the skin, m
MOST_SHIFT = 0.015
MIXED, SPLIT = 0.3, 0.2  # shares of the units that take something of another one, that lose a part
WIDE = (0.04, 0.10)  # m over which a flow of the whole face changes
PROPORTIONS = (0.86, 1.16)  # of width, height and depth
RESHAPED = 0.004  # standard deviation of what a head's form is off by, m


def smooth_field(places: Floats, reach: float, channels: int, rng: np.random.Generator) -> Floats:
    """Return a random function of places [N, 3] of unit variance that changes over `reach` metres: [N, channels].

    A sum of plane waves (random Fourier features; Rahimi & Recht 2007).
    """
    waves = rng.normal(size=(WAVES, 3)) / reach
    phases = rng.uniform(0, 2 * np.pi, WAVES)
    amplitudes = rng.normal(size=(WAVES, channels)) * np.sqrt(2 / WAVES)
    return np.asarray(np.cos(places @ waves.T + phases) @ amplitudes, np.float32)


def bent_units(model: HeadModel, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the head's units as no artist drew them, [K, V, 3]: each still reaches as far as the head's own.

    On the skin they are laid out elsewhere, turned about its normal, stronger here and weaker there, mixed and split.
    Eyes, teeth and tongue move as they do.
    """
    skin = model.vertices_of(Part.SKIN, Part.LASHES)
    places = model.mean()[skin]
    reach = rng.uniform(*REACH)
    units = model.units[:, skin]
    units = _laid_out_elsewhere(units, places, reach, rng)
    units = _turned(units, places, reach, rng)
    units = units * np.exp(GAIN * smooth_field(places, reach, len(units), rng)).T[..., None]
    units = _mixed(units, rng)
    for number in np.flatnonzero(rng.random(len(units)) < SPLIT):
        units[number] *= _side(places, units[number], rng)[:, None]
    before, after = (np.linalg.norm(each, axis=2).max(1) for each in (model.units[:, skin], units))
    bent = model.units.copy()
    bent[:, skin] = units * (before / np.maximum(after, 1e-9))[:, None, None]
    return np.asarray(bent, np.float32)


def wide_flow(model: HeadModel, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a slow motion of all of the face along its skin, the largest 1, [V, 3]; eyes and teeth stay."""
    places = model.mean()
    outwards = _outwards(places)
    flow = smooth_field(places, rng.uniform(*WIDE), 3, rng) + rng.normal(size=3)
    flow -= 0.8 * (flow * outwards).sum(1, keepdims=True) * outwards
    there = np.zeros(len(places))
    there[model.vertices_of(Part.SKIN, Part.LASHES)] = 1
    flow *= (there * np.clip((places[:, 2] + 0.08) / 0.06, 0, 1))[:, None]
    return np.asarray(flow / np.linalg.norm(flow, axis=1).max(), np.float32)


def reshaped(model: HeadModel, vertices: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a person [V, 3] with other proportions and a form that no identity target has; eyeballs stay round."""
    places = vertices * [0, 1, 1] + np.abs(vertices) * [1, 0, 0]  # both sides alike
    off = RESHAPED * smooth_field(places, rng.uniform(0.05, 0.09), 3, rng)
    off[:, 0] *= np.tanh(vertices[:, 0] / 0.02)
    for eye in (Part.LEFT_EYE, Part.RIGHT_EYE):
        rows = model.vertices_of(eye)
        off[rows] = off[rows].mean(0)
    return np.asarray((vertices + off) * rng.uniform(*PROPORTIONS, 3) ** [1, 1, 0.5], np.float32)


def _laid_out_elsewhere(units: Floats, places: Floats, reach: float, rng: np.random.Generator) -> Floats:
    shift = (SHIFT * smooth_field(places, 1.5 * reach, 3, rng)).clip(-MOST_SHIFT, MOST_SHIFT)
    distance, nearest = cKDTree(places).query(places - shift, 4)
    weight = 1 / (distance + 1e-4)
    weight /= weight.sum(1, keepdims=True)
    moved = np.zeros_like(units)
    for corner in range(4):
        moved += weight[:, corner, None] * units[:, nearest[:, corner]]
    return moved


def _turned(units: Floats, places: Floats, reach: float, rng: np.random.Generator) -> Floats:
    """Turn displacements about the skin's normal (Rodrigues' formula), each place by an angle of its own."""
    angle = (TURN * smooth_field(places, 1.5 * reach, 1, rng)).clip(-MOST_TURN, MOST_TURN)
    normal = _outwards(places)
    along = (units * normal).sum(2, keepdims=True) * normal
    return np.asarray(along + np.cos(angle) * (units - along) + np.sin(angle) * np.cross(normal, units), np.float32)


def _mixed(units: Floats, rng: np.random.Generator) -> Floats:
    mixed = units.copy()
    for number in np.flatnonzero(rng.random(len(units)) < MIXED):
        other = int(rng.integers(len(units)))
        sizes = [np.linalg.norm(units[each], axis=1).max() for each in (number, other)]
        mixed[number] += rng.uniform(-0.5, 0.7) * sizes[0] / max(sizes[1], 1e-9) * units[other]
    return mixed


def _side(places: Floats, unit: Floats, rng: np.random.Generator) -> Floats:
    """Return about 1 on one side of a plane through a unit's middle, about 0 on the other."""
    size = np.linalg.norm(unit, axis=1)
    middle = (size[:, None] * places).sum(0) / max(float(size.sum()), 1e-9)
    across = rng.normal(size=3) * [1, 1, 0.2]
    distance = (places - middle) @ (across / np.linalg.norm(across))
    return np.asarray(1 / (1 + np.exp(-distance / rng.uniform(0.002, 0.01))), np.float32)


def _outwards(places: Floats) -> Floats:
    """Return the direction out of the head at places [N, 3], about the skin's normal."""
    out = places - HEAD_CENTRE
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6), np.float32)
