# SPDX-License-Identifier: GPL-3.0-or-later
"""A rolling shutter's wobble: rows (columns, of a phone held upright) that are shifted against each other.

A sensor that is read row by row shows each row where the shaking camera looked at that moment. So a row is shifted as a
whole, by a smooth function of its place; a face does nothing like that. An expression moves one half of a row and not
the other, or both apart; a jaw that goes aside moves none of the upper face; a head that turns moves what is near by
more than what is far, which has terms of its own here. So a clip wobbles where both halves of the picture, looked at by
themselves, show the same shifts, in one half of the face along the lines' order as in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .alignment import FINEST_BLUR, Comparison, evened
from .similarity import Similarity

Lines: TypeAlias = Literal["rows", "columns"]
Terms: TypeAlias = NDArray[np.float32]  # [N, K]

_TERMS = 14  # of the spline over the crop, an eleventh of it apart: for up to three swings
FEWEST_TERMS = 4  # a cubic spline's
_ROUNDS, _ROUNDS_OF_SIGNS = 6, 4  # Gauss-Newton steps
_BESIDE_FACE = 0.3  # weight of what isn't the face: hair, neck, what stands still behind
_RIDGE = 1e-3  # of the mean precision: lines without texture aren't shifted
_EVERY = 2  # px: as closely as blurred pictures are looked at for signs of it
_LOOKED_AT = 24  # lines, across the face
_ALIKE = 0.8  # correlation of both halves' shifts: wobbles have 0.85 and more, expressions and turning heads 0.75
_LEAST = 3e-4  # px² of the pictures, the mean product of both halves' shifts: such a wobble has 14e-4, noise 0.8e-4
_FEWEST = 3  # frames


@dataclass(frozen=True)
class Wobble:
    """How far the lines of N frames are shifted against those of the reference frame, px of that.

    lines: what is shifted, rows across or columns down. low, high: where the splines begin and end, px across the
    lines. terms: [N, K] px, of the cubic B-splines.
    """

    lines: Lines
    low: float
    high: float
    terms: NDArray[np.float64]

    def shifts(self, frame: int, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far the lines at some places px are shifted in a frame, [...]."""
        share = torch.from_numpy((np.asarray(places, np.float64) - self.low) / (self.high - self.low))
        return np.asarray((_splines(share, self.terms.shape[1]) @ torch.from_numpy(self.terms[frame])).numpy())


class WobbleFit:
    """Finds how the lines of frames are shifted against those of a template; all are [N, 1, s, s], grey.

    face: [1, 1, s, s] in [0, 1], the rigidity of each part of the face (`rigid_mask`). depth: [1, 1, s, s], of the
    face. to_pictures: from px of the reference frame, whose lines they are, to px of the pictures.
    """

    def __init__(self, template: Tensor, face: Tensor, depth: Tensor, to_pictures: Similarity, lines: Lines) -> None:
        size = template.shape[-1]
        self._lines, self._to_pictures, self._size = lines, to_pictures, size
        across = complex(to_pictures.a, to_pictures.b) / to_pictures.scale  # the reference's, in the pictures
        self._way, order = (across, across * 1j) if lines == "rows" else (across * 1j, across)
        self._reach = 0.5 * size * (abs(across.real) + abs(across.imag))  # from the middle, across the lines
        self._template = evened(template, FINEST_BLUR)[0, 0]
        down, right = torch.meshgrid(*(torch.arange(size, dtype=torch.float32) - (size - 1) / 2,) * 2, indexing="ij")
        points = torch.complex(right, down)
        place = (points * order.conjugate()).real / (2 * self._reach) + 0.5
        self._points, self._basis = points, _splines(place, _TERMS)
        slope_down, slope_right = torch.gradient(self._template)
        slope = torch.complex(slope_right, slope_down)
        along = (slope.conj() * self._way).real
        x, y = points.real * 2 / size, points.imag * 2 / size
        inside = (face[0, 0] > 0).float() * (depth[0, 0] - depth.mean()) / depth.std().clamp(min=1e-6)
        nuisance = (
            *(slope.real * x + slope.imag * y, slope.imag * x - slope.real * y, slope.real, slope.imag),
            *(inside * slope.real, inside * slope.imag),  # a head that turns and nods
        )
        self._jacobian = torch.cat([torch.stack(nuisance, -1), self._basis * along[..., None]], -1)
        self._prior = _BESIDE_FACE + (1 - _BESIDE_FACE) * face[0, 0]
        middle = (face[0, 0] * points).sum() / face.sum().clamp(min=1e-6)
        half = ((points - middle) * complex(self._way).conjugate()).real > 0
        self._halves = self._places(half, _EVERY), self._places(~half, _EVERY)
        seen = place[face[0, 0] > 0.5]
        self._face = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)

    @property
    def count(self) -> int:
        """Number of terms of a frame."""
        return _TERMS

    def signs(self, pictures: Tensor, similarities: Sequence[Similarity]) -> Tensor:
        """Return the shifts [N, 2, R] px that both halves of aligned frames show by themselves, in lines of the face.

        pictures: the frames, `evened` by `FINEST_BLUR`. similarities: from px of the template to px of each frame.
        """
        lines = _splines(torch.linspace(*self._face, _LOOKED_AT), _TERMS).numpy().T
        terms: list[Terms] = [np.zeros((len(pictures), _TERMS), np.float32) for _ in self._halves]
        for _ in range(_ROUNDS_OF_SIGNS):
            pairs = zip(terms, self._halves, strict=True)
            terms = [each - self._step(pictures, similarities, each, half) for each, half in pairs]
            found = np.stack([each @ lines for each in terms], 1)
            if not (found.prod(1).mean(1) > _LEAST).any():
                break  # nearly always
        return torch.from_numpy(found)

    def terms(self, frames: Tensor) -> NDArray[np.float64]:
        """Return the splines' terms [N, K] of aligned frames, px of the reference frame."""
        pictures, unit = evened(frames, FINEST_BLUR), (Similarity(),) * len(frames)
        everywhere = self._places(torch.ones_like(self._prior) > 0)
        found: Terms = np.zeros((len(frames), _TERMS), np.float32)
        for _ in range(_ROUNDS):
            found = found - self._step(pictures, unit, found, everywhere)
        return found.astype(np.float64) / self._to_pictures.scale

    def wobble(self, terms: NDArray[np.float64]) -> Wobble:
        """Return the wobble of a clip from the terms [N, K] of its frames."""
        middle = self._to_pictures.inverse()(np.full(2, (self._size - 1) / 2))
        centre = float(middle[1 if self._lines == "rows" else 0])
        reach = self._reach / self._to_pictures.scale
        return Wobble(self._lines, centre - reach, centre + reach, terms)

    def _places(self, where: Tensor, every: int = 1) -> _Places:
        y, x = (each[::every] for each in torch.nonzero(where, as_tuple=True))
        points, jacobian = self._points[y, x], self._jacobian[y, x].T
        comparison = Comparison(self._template[y, x].numpy(), self._prior[y, x].numpy(), jacobian.numpy())
        return _Places(points.real.numpy(), points.imag.numpy(), self._basis[y, x].T.contiguous().numpy(), comparison)

    def _step(self, pictures: Tensor, similarities: Sequence[Similarity], terms: Terms, places: _Places) -> Terms:
        """Return how much more lines of `evened` frames are shifted than by `terms` [N, K], as some places show."""
        shifts, centre = terms @ places.basis, complex(1, 1) * (self._size - 1) / 2
        x, y = places.x + np.float32(self._way.real) * shifts, places.y + np.float32(self._way.imag) * shifts
        turn = np.array([complex(each.a, each.b) for each in similarities])
        shift = np.array([complex(each.tx, each.ty) for each in similarities]) + turn * centre
        normal, gradient = places.comparison.equations(pictures, turn, shift, x, y)
        count = normal.shape[1]
        ridge = _RIDGE * np.trace(normal, axis1=1, axis2=2) / count + 1e-9
        step = np.linalg.solve(normal + ridge[:, None, None] * np.eye(count), gradient[..., None])
        return step[:, -_TERMS:, 0].astype(np.float32)


@dataclass(frozen=True)
class _Places:
    """P places of the pictures, x and y [P] px from the middle; basis: [K, P], what each term shifts them by."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    basis: NDArray[np.float32]
    comparison: Comparison


def wobbling(signs: Mapping[Lines, Tensor]) -> Lines | None:
    """Return which lines of a clip wobble, by what both halves of its frames show by themselves [N, 2, R] px of each.

    Rows that wobble look in part as if columns did, and the other way round, where a face has few edges that tell; the
    lines that do have the larger shifts. Shifts of all lines alike are the head's, in both halves of the lines.

    >>> lines, frames = torch.linspace(0, 6, 24), torch.arange(9.0)[:, None]
    >>> shaken, still = 0.2 * torch.sin(lines + frames), torch.zeros(9, 2, 24)
    >>> wobbling({"rows": torch.stack([shaken, -shaken], 1), "columns": torch.stack([shaken, shaken], 1)})
    'columns'
    >>> aside = 0.2 * (lines > 3) * lines * torch.sin(frames)  # a jaw
    >>> print(wobbling({"rows": torch.stack([aside, aside], 1), "columns": still}))
    None
    """
    sizes: dict[Lines, float] = {}
    for lines, seen in signs.items():
        middle = seen.shape[2] // 2
        parts = [part - part.mean(2, keepdim=True) for part in (seen[..., :middle], seen[..., middle:])]
        if all(_alike(part) for part in parts):
            sizes[lines] = sum(float(part.prod(1).sum()) for part in parts)
    return max(sizes, key=lambda lines: sizes[lines], default=None)


def _alike(part: Tensor) -> bool:
    one, other = part.unbind(1)
    large = (one * other).mean(1) > _LEAST
    if int(large.sum()) < _FEWEST:
        return False
    one, other = one[large], other[large]
    return bool((one * other).sum() > _ALIKE * one.norm() * other.norm())


LINES: tuple[Lines, ...] = get_args(Lines)


def _splines(share: Tensor, count: int) -> Tensor:
    """Return the cubic B-splines [..., K] at places [...] in [0, 1] of an interval that they cover."""
    away = (share[..., None] * (count - 3) + 1 - torch.arange(count).to(share)).abs()
    near = 2 / 3 - away**2 + away**3 / 2
    return torch.where(away < 1, near, (2 - away).clamp(min=0) ** 3 / 6)
