# SPDX-License-Identifier: GPL-3.0-or-later
"""Painted skin for the synthetic heads: tone, blood, pores, lips, brows as hairs, lids, freckles, stubble, and eyes.

Everything is drawn in the texture layout of `heads.py` from smooth functions of the place on the mean head, so that one
painting fits every identity and the same seed always gives the same person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, LinearNDInterpolator

from .head_mesh import EYE_TILE_REACH, Part
from .head_texture import STRIP, project, tile_box
from .heads import SKIN_MASKS, HeadModel

Floats: TypeAlias = NDArray[np.floating]
Colour: TypeAlias = tuple[float, float, float]

# sRGB in [0, 1]: skin from light to dark, hair and iris as they occur.
TONES: tuple[Colour, ...] = (
    (0.93, 0.78, 0.70),
    (0.87, 0.69, 0.59),
    (0.79, 0.59, 0.47),
    (0.66, 0.46, 0.34),
    (0.49, 0.33, 0.24),
    (0.34, 0.23, 0.18),
)
HAIRS: tuple[Colour, ...] = ((0.08, 0.06, 0.05), (0.16, 0.10, 0.07), (0.29, 0.19, 0.12), (0.46, 0.34, 0.21))
IRISES: tuple[Colour, ...] = (
    (0.23, 0.13, 0.07),
    (0.36, 0.22, 0.11),
    (0.40, 0.36, 0.20),
    (0.33, 0.45, 0.54),
    (0.42, 0.50, 0.52),
)
BLOOD = np.array([1.02, 0.80, 0.78], np.float32)  # how blood under the skin filters its colour
MELANIN = np.array([0.80, 0.70, 0.62], np.float32)

# The left brow's centre line seen from the front, metres from the point between the eyes, from the nose outwards.
BROW = np.array([[0.0125, 0.0128], [0.0230, 0.0180], [0.0350, 0.0215], [0.0470, 0.0200], [0.0560, 0.0138]])


@dataclass(frozen=True)
class Skin:
    """One painted person.

    albedo: [S, S, 3] uint8 sRGB, row 0 at the top of the texture. relief: [S, S] float32, height of pores, creases and
    hairs in [-1, 1], where 1 is about 0.15 mm. tone, hair, iris: sRGB in [0, 1].
    """

    albedo: NDArray[np.uint8]
    relief: Floats
    tone: Colour
    hair: Colour
    iris: Colour


class SkinPainter:
    """Paints skins of one size; what doesn't depend on the person is prepared once."""

    def __init__(self, head: HeadModel, size: int = 1024) -> None:
        self.size = size
        self._mean = head.mean()
        self._prepare_places(head)

    def _prepare_places(self, head: HeadModel) -> None:
        """Find where on the mean head every texel lies, and sample the masks there, at a quarter of the size."""
        vertices = head.vertices_of(Part.SKIN)
        # Folded skin (behind the ears, inside the lips and nostrils) shares texels with what lies in front of it.
        grid = max(256, self.size // 4)
        centres = (np.arange(grid) + 0.5) / grid
        u, v = np.meshgrid(centres, centres[::-1])
        values = np.c_[self._mean[vertices], head.masks[:, vertices].T]
        sampled = LinearNDInterpolator(project(self._mean[vertices]), values, fill_value=0.0)(u, v).astype(np.float32)
        full = _enlarged(sampled, (self.size, self.size))
        self._places = full[..., :3]
        self._masks = {name: np.clip(full[..., 3 + k], 0, 1) for k, name in enumerate(SKIN_MASKS)}
        self._front = self._mean[vertices][self._mean[vertices][:, 2] > -0.06]
        lashes = head.vertices_of(Part.LASHES)
        self._lash_roots = self._mean[lashes].reshape(-1, 10, 3)[:, :2].mean(1)

    def paint(self, seed: int, tone: float | None = None, hair: Colour | None = None) -> Skin:
        """Paint a person; `tone` in [0, 1] from light to dark and the hair's colour are the seed's unless given."""
        rng = np.random.default_rng(seed)
        shade = float(rng.uniform()) if tone is None else tone
        darkness = shade * (len(TONES) - 1)
        colour = np.array([np.interp(darkness, range(len(TONES)), channel) for channel in zip(*TONES, strict=True)])
        colour = (colour * rng.normal(1.0, [0.02, 0.015, 0.03])).astype(np.float32)
        own_hair = self._hair_colour(rng, shade)
        hair = own_hair if hair is None else hair
        iris = IRISES[int(rng.integers(2)) if shade > 0.5 else int(rng.integers(len(IRISES)))]

        albedo = np.broadcast_to(colour, (self.size, self.size, 3)).copy()
        albedo *= 1.0 + 0.022 * self._noise(rng, 10)[..., None] * np.array([0.6, 1.0, 1.1], np.float32)
        albedo *= 1.0 + 0.018 * self._noise(rng, 60)[..., None]
        blood = self._blood(rng, shade)
        albedo *= 1.0 + blood[..., None] * (BLOOD - 1.0)
        albedo *= 1.0 + self._melanin(rng, shade)[..., None] * (MELANIN - 1.0)
        pores = self._pores(rng)
        albedo *= 1.0 + 0.10 * pores[..., None] * np.array([0.7, 1.0, 1.0], np.float32)
        relief = 0.6 * pores + 0.15 * self._noise(rng, self.size // 6)

        albedo, relief = self._lips(rng, albedo, relief, shade)
        albedo = self._lids(rng, albedo, shade)
        albedo = self._stubble(rng, albedo, np.array(hair, np.float32))
        strokes = self._brows(rng)
        albedo += strokes[..., None] * (np.array(hair, np.float32) - albedo)
        relief = np.maximum(relief, 0.8 * strokes)
        self._tiles(rng, albedo, relief, colour, np.array(hair, np.float32), np.array(iris, np.float32))

        tone_out = (float(colour[0]), float(colour[1]), float(colour[2]))
        painted = np.clip(albedo * 255 + 0.5, 0, 255).astype(np.uint8)
        return Skin(painted, np.clip(relief, -1, 1).astype(np.float32), tone_out, hair, iris)

    def _noise(self, rng: np.random.Generator, cells: int) -> Floats:
        """Smooth noise of unit variance with `cells` cells across the texture."""
        grid = rng.standard_normal((cells, cells), dtype=np.float32)
        smooth = _enlarged(grid, (self.size, self.size))
        return smooth / max(float(smooth[:: max(1, self.size // 256)].std()), 1e-6)

    def _near(self, x: float, y: float, radius: float, both_sides: bool = True) -> Floats:
        """Soft spot around a place of the front of the face, metres, 1 in the middle."""
        place = self._places
        across = np.abs(place[..., 0]) if both_sides else place[..., 0]
        distance = (across - x) ** 2 + (place[..., 1] - y) ** 2
        return np.exp(-0.5 * distance / radius**2) * (place[..., 2] > -0.07)

    def _blood(self, rng: np.random.Generator, shade: float) -> Floats:
        strength = rng.uniform(0.5, 1.0) * (1.0 - 0.45 * shade)
        flushed = (
            0.75 * self._near(0.040, -0.036, 0.017)
            + 0.70 * self._near(0.0, -0.034, 0.011)
            + 0.35 * self._near(0.0, -0.092, 0.014)
            + 0.30 * self._near(0.026, -0.004, 0.015)
            + 0.60 * self._masks["ears"]
        )
        mottle = 1.0 + 0.16 * self._noise(rng, 30) + 0.10 * self._noise(rng, 150)
        return (0.55 * strength * (flushed * mottle + 0.06 * self._noise(rng, 90))).astype(np.float32)

    def _melanin(self, rng: np.random.Generator, shade: float) -> Floats:
        tired = rng.uniform(0.15, 0.45) * self._near(0.027, -0.012, 0.008)
        spots: Floats = np.zeros((self.size, self.size), np.float32)
        if shade < 0.5 and rng.uniform() < 0.5:  # freckles: over the cheeks and the nose
            field = self._noise(rng, self.size // 5) + 0.8 * self._noise(rng, self.size // 12)
            region = self._near(0.03, -0.025, 0.022) + self._near(0.0, -0.025, 0.015)
            spots = rng.uniform(0.15, 0.4) * np.clip(field - 1.6, 0, 1) * np.clip(region, 0, 1)
        for _ in range(int(rng.integers(0, 5))):  # a few moles
            place = (rng.uniform(-0.06, 0.06), rng.uniform(-0.11, 0.06))
            spots = spots + rng.uniform(0.6, 1.6) * self._near(*place, rng.uniform(0.0006, 0.0013), both_sides=False)
        blotches = 0.03 * self._noise(rng, 24)
        return (tired + spots + blotches).astype(np.float32)

    def _pores(self, rng: np.random.Generator) -> Floats:
        """Pores and fine texture, negative where light is lost; coarser on nose and cheeks."""
        fine = self._noise(rng, int(self.size / 2.4))
        medium = self._noise(rng, int(self.size / 4.5))
        holes = -np.clip(medium - 0.7, 0, 2)
        oily = np.clip(self._near(0.0, -0.03, 0.014) + self._near(0.03, -0.035, 0.018) + 0.35, 0, 1)
        return (oily * (0.7 * holes + 0.25) + 0.16 * fine).astype(np.float32)

    def _lips(self, rng: np.random.Generator, albedo: Floats, relief: Floats, shade: float) -> tuple[Floats, Floats]:
        closed = cv2.morphologyEx(self._masks["lips"], cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        mask = _blurred(np.clip(closed * 1.6 - 0.3, 0, 1), self.size / 900)
        creases = _enlarged(
            rng.standard_normal((self.size // 40, int(self.size / 3.5)), dtype=np.float32), (self.size, self.size)
        )
        filtered = np.array([0.90, 0.60, 0.64], np.float32) * rng.normal(1.0, [0.03, 0.05, 0.05]).astype(np.float32)
        filtered = filtered + shade * np.array([-0.05, 0.06, 0.08], np.float32)
        weight = mask[..., None] * 0.9
        lips = albedo * filtered * (1.0 + 0.045 * creases[..., None])
        return albedo + weight * (lips - albedo), relief * (1 - mask) - 0.45 * mask * np.abs(creases)

    def _lids(self, rng: np.random.Generator, albedo: Floats, shade: float) -> Floats:
        lids = _blurred(self._masks["eyelids"], self.size / 250)
        albedo = albedo * (1.0 + rng.uniform(0.15, 0.4) * lids[..., None] * (BLOOD * 0.92 - 1.0))
        rim: Floats = np.zeros((self.size, self.size), np.float32)
        for root in self._pixels(project(self._lash_roots.astype(np.float32))):
            cv2.circle(rim, (int(root[0] * 16), int(root[1] * 16)), max(8, self.size // 90), (1.0,), -1, cv2.LINE_AA, 4)
        rim = _blurred(rim, self.size / 900)
        dark = np.array([0.62, 0.48, 0.46], np.float32) * (1.0 - 0.2 * shade)
        return albedo * (1.0 + 0.6 * rim[..., None] * (dark - 1.0))

    def _stubble(self, rng: np.random.Generator, albedo: Floats, hair: Floats) -> Floats:
        """Cropped hair on the scalp of most, a shaved beard on some."""
        x, y, z = np.moveaxis(self._places, -1, 0)
        ragged = 0.0015 * self._noise(rng, 40)
        scalp = np.clip(scalp_depth(self._places) + ragged, 0, 0.012) / 0.012 * (1 - self._masks["ears"])
        grain = 0.75 + 0.25 * np.clip(self._noise(rng, int(self.size / 2.2)), -1.5, 1.5)
        cover = scalp * rng.choice([0.0, 0.55, 0.8], p=[0.2, 0.3, 0.5])
        if rng.uniform() < 0.3:
            jaw = np.clip((-0.052 - y + 1.1 * np.clip(np.abs(x) - 0.045, 0, 1)) / 0.012, 0, 1)
            jaw *= np.clip((y + 0.15) / 0.03, 0, 1) * np.clip((z + 0.09) / 0.03, 0, 1) * (1 - self._masks["lips"])
            cover = np.maximum(cover, rng.uniform(0.12, 0.3) * jaw)
        weight = np.clip(cover * grain, 0, 1)[..., None]
        return albedo + weight * (hair * 1.1 - albedo)

    def brow_hairs(self, rng: np.random.Generator, count: int = 420) -> Floats:
        """Return both brows' hairs on the mean head seen from the front, root to tip: [2, count, 3, 2] metres."""
        spine = np.linspace(0.0, 1.0, 64)
        knots = np.linspace(0.0, 1.0, len(BROW))
        line = np.stack([_smooth_curve(knots, axis, spine) for axis in BROW.T], 1)
        line[:, 1] += rng.normal(0.0, 0.0010)
        thickness = rng.uniform(0.8, 1.25) * 0.0048
        sides = []
        for side in (1.0, -1.0):
            t = rng.beta(1.15, 1.25, count)
            at = np.stack([np.interp(t, spine, axis) for axis in line.T], 1)
            width = thickness * np.interp(t, [0.0, 0.25, 0.6, 1.0], [0.85, 1.0, 0.75, 0.22])
            across = np.clip(rng.normal(0.0, 0.5, count), -1, 1)
            root = at + np.stack([np.zeros(count), across * width], 1)
            # Inner hairs stand up, then they lean outwards, and those of the upper edge turn down to meet the others.
            lean = np.interp(t, [0.0, 0.15, 0.5, 1.0], [80.0, 55.0, 22.0, -22.0]) - 22.0 * across * (t > 0.2)
            angle = np.deg2rad(lean + rng.normal(0.0, 7.0, count))
            length = rng.uniform(0.0055, 0.0085, count) * np.interp(t, [0.0, 0.3, 1.0], [0.75, 1.0, 0.7])
            step = np.stack([np.cos(angle), np.sin(angle)], 1) * length[:, None]
            bent = np.deg2rad(-10.0)
            turned = step @ np.array([[np.cos(bent), np.sin(bent)], [-np.sin(bent), np.cos(bent)]])
            hairs = np.stack([root, root + 0.5 * step, root + 0.5 * step + 0.5 * turned], 1)
            sides.append(hairs * [side, 1.0])
        return np.stack(sides).astype(np.float32)

    def _brows(self, rng: np.random.Generator) -> Floats:
        strokes: Floats = np.zeros((self.size, self.size), np.float32)
        opacity = 0.5 if self.size >= 1536 else 0.3  # below that a hair is thinner than a texel
        hairs = self.brow_hairs(rng).reshape(-1, 3, 2)
        depth = self._front_depth(hairs.reshape(-1, 2)).reshape(-1, 3)
        pixels = self._pixels(project(np.concatenate([hairs, depth[..., None]], -1).reshape(-1, 3))).reshape(-1, 3, 2)
        for hair in pixels:
            low, high = hair.min(0).astype(int) - 2, hair.max(0).astype(int) + 3
            window = strokes[low[1] : high[1], low[0] : high[0]]
            stroke = np.zeros(window.shape, np.float32)
            cv2.polylines(stroke, [((hair - low) * 16).round().astype(np.int32)], False, (1.0,), 1, cv2.LINE_AA, 4)
            window += opacity * stroke * (1.0 - window)
        soft = _blurred(strokes, self.size / 500)
        return np.clip(0.9 * strokes + 0.25 * soft, 0, 0.95)

    def _front_depth(self, points: NDArray[np.floating]) -> Floats:
        """Return z of the front of the mean head at places (x, y), [N]."""
        return LinearNDInterpolator(self._front[:, :2], self._front[:, 2], fill_value=0.0)(points).astype(np.float32)

    def _pixels(self, uv: Floats) -> Floats:
        return np.stack([uv[:, 0] * self.size - 0.5, (1 - uv[:, 1]) * self.size - 0.5], 1)

    def _hair_colour(self, rng: np.random.Generator, shade: float) -> Colour:
        darkest = shade > 0.6
        colour = np.array(HAIRS[0 if darkest else int(rng.integers(len(HAIRS)))])
        red, green, blue = np.clip(colour * rng.normal(1.0, 0.08, 3), 0, 1)
        return float(red), float(green), float(blue)

    def _tiles(
        self, rng: np.random.Generator, albedo: Floats, relief: Floats, tone: Floats, hair: Floats, iris: Floats
    ) -> None:
        """Fill the row of tiles below the skin."""
        relief[round((1 - STRIP) * self.size) :] = 0.0
        wet = np.array([0.62, 0.28, 0.27], np.float32)
        plain = {
            "mouth": wet * 0.75,
            "teeth": np.array([0.86, 0.81, 0.72], np.float32),
            "tongue": wet,
            "lashes": hair * 0.45,
            "socket": tone * np.array([0.95, 0.68, 0.66], np.float32),
        }
        for name, colour in plain.items():
            rows, columns = self._tile(name)
            grain = 1.0 + 0.05 * self._noise(rng, 40)[rows, columns, None] * (name != "lashes")
            albedo[rows, columns] = colour * grain
        rows, columns = self._tile("eye")
        albedo[rows, columns] = paint_eye(rng, rows.stop - rows.start, iris)

    def _tile(self, name: str) -> tuple[slice, slice]:
        (u, v), side = tile_box(name)
        length = round(side * self.size)
        left, bottom = round(float(u) * self.size), self.size - round(float(v) * self.size)
        return slice(bottom - length, bottom), slice(left, left + length)


def scalp_depth(points: Floats) -> Floats:
    """Return how far inside the hairline points of the mean head are, in metres, below 0 outside: [..., 3] -> [...]."""
    x, y, z = np.moveaxis(np.asarray(points), -1, 0)
    side = np.clip((np.abs(x) - 0.052) / 0.02, 0, 1)
    top = y - 0.072 + side * (0.055 + 0.9 * np.clip(-z - 0.02, 0, 0.06))
    nape = np.minimum(-0.6 * (z + 0.10), 0.6 * (y + 0.10))
    return np.maximum(top, nape)


def paint_eye(rng: np.random.Generator, size: int, iris: Floats) -> Floats:
    """Paint an eye seen along its axis, [size, size, 3] sRGB; distance from the middle is the polar angle."""
    half = 0.5 * (size - 1)
    y, x = (np.mgrid[:size, :size].astype(np.float32) - half) / half
    angle = np.hypot(x, y) / 0.98 / 0.94 * EYE_TILE_REACH  # polar, degrees
    turn = np.arctan2(y, x)

    sclera = np.array([0.89, 0.86, 0.83], np.float32) * np.ones((size, size, 1), np.float32)
    redness = np.clip((angle - 30) / 50, 0, 1)[..., None]
    sclera = sclera * (1.0 - redness * np.array([0.06, 0.26, 0.26], np.float32))
    veins: Floats = np.zeros((size, size), np.float32)
    for _ in range(46):
        start, drift = rng.uniform(0, 2 * np.pi), 0.0
        reach = np.linspace(rng.uniform(85, 100), rng.uniform(34, 60), 14)
        points = []
        for polar in reach:
            drift += rng.normal(0.0, 0.05)
            radius = polar / EYE_TILE_REACH * 0.98 * 0.94 * half
            points.append([half + radius * np.cos(start + drift), half + radius * np.sin(start + drift)])
        line = (np.array(points) * 16).round().astype(np.int32)
        cv2.polylines(veins, [line], False, (rng.uniform(0.2, 0.7),), 1, cv2.LINE_AA, 4)
    veins = _blurred(veins, max(size / 500, 0.4))
    sclera = sclera * (1.0 - 0.5 * veins[..., None] * np.array([0.25, 0.9, 0.9], np.float32))

    limbus, pupil = 26.0, rng.uniform(8.5, 10.5)  # degrees from the axis
    depth = np.clip((angle - pupil) / (limbus - pupil), 0, 1)
    fibres = _radial_fibres(rng, turn, depth)
    collarette = np.exp(-0.5 * ((depth - 0.28) / 0.10) ** 2)
    coloured = iris * (0.75 + 0.55 * fibres + 0.35 * collarette)[..., None]
    coloured = coloured * (1.0 + 0.25 * collarette[..., None] * np.array([0.9, 0.3, -0.3], np.float32))
    ring = np.clip((depth - 0.80) / 0.2, 0, 1)[..., None]
    coloured = coloured * (1.0 - 0.72 * ring)
    soft = 120.0 / size + 0.5  # degrees over which edges fade
    inside = np.clip((limbus - angle) / (2.2 * soft) + 0.5, 0, 1)[..., None]
    black = np.clip((pupil - angle) / soft + 0.5, 0, 1)[..., None]
    eye = sclera + inside * (coloured - sclera)
    return (eye + black * (0.012 - eye)).astype(np.float32)


def _radial_fibres(rng: np.random.Generator, turn: Floats, depth: Floats) -> Floats:
    """Streaks that run from the pupil outwards, in [0, 1]."""
    streaks = rng.standard_normal((12, 96)).astype(np.float32)
    streaks = _enlarged(np.concatenate([streaks, streaks[:, :1]], 1), (512, 64))
    columns = ((turn / (2 * np.pi) + 0.5) * 511).astype(np.float32)
    rows = (depth * 20).astype(np.float32)
    return np.clip(0.5 + 0.28 * cv2.remap(streaks, columns, rows, cv2.INTER_LINEAR), 0, 1)


def _smooth_curve(knots: Floats, values: Floats, at: Floats) -> Floats:
    return CubicSpline(knots, values, bc_type="natural")(at)


def _blurred(image: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _enlarged(grid: Floats, size: tuple[int, int]) -> Floats:
    """Interpolate a grid smoothly to (width, height)."""
    return np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC), np.float32)
