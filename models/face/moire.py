# SPDX-License-Identifier: GPL-3.0-or-later
"""Moiré: waves of light over a face that is filmed from a screen, whose pixels beat with those of the sensor.

A wave has one spatial frequency, nearly. Of what a frame's light and the reference's differ by beside a smooth gain,
most then lies around one place of the frequency plane: 0.76 to 0.93 within 1.5 cycles a face's width of it, where
expressions, blinks, hands, captions, edges of light and codecs have 0.32 and less (seed 9500). It is taken out as a
gain whose amplitude and phase are smooth over the face (complex demodulation), in turns with the light, as either is
found the better without the other. An expression is too local to lose much by that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import Mask

Image = NDArray[np.float32]  # [C, H, W]
Plane = NDArray[np.float32]  # [H, W]

_SMOOTH = 0.09  # of the face's width, over which a wave's amplitude and phase are smooth
_AROUND = 1.5  # cycles a face's width: how far from the wave's frequency its energy lies
_LONGEST = 2.0  # cycles a face's width; what is slower is shading, which a smooth gain takes out
_SHORTEST = 4.0  # px a cycle; what is shorter is noise
_MOSTLY = 0.5  # share of the energy
_VISIBLE = 0.006  # mean size of the logarithm, without pixels' noise, from which on waves are looked for
_ROUNDS = 3  # of what the first wave leaves, or of another one
_DARKEST = 0.02  # of white, which keeps ratios of black from meaning anything
_MOST = 0.5  # of the logarithm
_NOISE_SIGMA = 1.5  # px
_LEAST = 0.01  # of a smooth weight, beside which nothing is known


def without_moire(
    frame: Image, lit: Image, light: Callable[[Image], Image], reference: Image, inside: Mask, width: float
) -> Image | None:
    """Return the gain [C, H, W] that takes waves of light out of a frame; None where there are none.

    lit: the frame in the reference's light; light: what brings a frame to it. All are [C, H, W]. inside: [H, W], where
    both show the same skin; the gain is 1 far from there. width: of the face, px.

    >>> y, x = np.mgrid[:96, :96].astype(np.float32)
    >>> skin, face = np.full((3, 96, 96), 0.5, np.float32), (x - 48) ** 2 + (y - 48) ** 2 < 36**2
    >>> waved, edge = skin * (1 + 0.1 * np.sin(0.3 * x + 0.1 * y)), skin * np.where(x < 48, np.float32(1.1), 1)
    >>> gain = without_moire(waved, waved, lambda frame: frame, skin, face, 72.0)
    >>> [round(float(np.abs(each - skin)[:, face].mean()), 3) for each in (waved, waved * gain)]
    [0.032, 0.001]
    >>> without_moire(edge, edge, lambda frame: frame, skin, face, 72.0) is None
    True
    """
    grey = _logs(reference.mean(0), lit.mean(0))
    if np.abs(cv2.GaussianBlur(inside * grey, (0, 0), _NOISE_SIGMA)).sum() <= _VISIBLE * inside.sum():
        return None  # nearly always
    carrier = _carrier(grey, inside, width)
    if carrier is None:
        return None
    waves = _wave(lit, carrier, reference, inside, width)
    for _ in range(_ROUNDS):
        lit = light(frame * waves)
        further = _carrier(_logs(reference.mean(0), lit.mean(0)), inside, width)
        carrier = carrier if further is None else further
        waves = waves * _wave(lit, carrier, reference, inside, width)
    return waves


def _wave(lit: Image, carrier: NDArray[np.complex64], reference: Image, inside: Mask, width: float) -> Image:
    """Return the gain [C, H, W] that takes the wave of one frequency out of a frame in the reference's light."""
    weight, sigma = np.float32(inside), _SMOOTH * width
    known = cv2.GaussianBlur(weight, (0, 0), sigma) + _LEAST
    beats = weight * _logs(reference, lit) * carrier.conj()
    smooth = [[cv2.GaussianBlur(part, (0, 0), sigma) / known for part in (each.real, each.imag)] for each in beats]
    logs = [2 * (real * carrier.real - imaginary * carrier.imag) for real, imaginary in smooth]
    return np.asarray(np.exp(np.stack(logs)), np.float32)


def _carrier(left: Plane, inside: Mask, width: float) -> NDArray[np.complex64] | None:
    """Return the wave [H, W] of size 1 that most of what is left [H, W] has the frequency of; None where none is."""
    weight = _window(inside.tobytes(), inside.shape, _SMOOTH * width)
    down, across = _frequencies(left.shape)
    frequency = np.hypot(down, across)
    spectrum = np.fft.rfft2(weight * left)
    energy = (spectrum.real**2 + spectrum.imag**2) * ((frequency > 1 / width) & (frequency < 1 / _SHORTEST))
    v, u = np.unravel_index(int((energy * (frequency > _LONGEST / width)).argmax()), energy.shape)
    near = np.hypot(down - down[v, u], across - across[v, u]) < _AROUND / width
    if energy[near].sum() < _MOSTLY * energy.sum():
        return None
    y, x = np.indices(left.shape, np.float32)
    return np.asarray(np.exp(2j * np.pi * (down[v, u] * y + across[v, u] * x)), np.complex64)


@lru_cache(maxsize=4)
def _window(inside: bytes, shape: tuple[int, ...], sigma: float) -> Plane:
    """Return a weight [H, W] that falls to 0 at the edge of a mask, as an outline has all frequencies."""
    mask = np.frombuffer(inside, np.bool_).reshape(shape)
    return np.asarray(mask * cv2.GaussianBlur(np.float32(mask), (0, 0), sigma))


@cache
def _frequencies(shape: tuple[int, ...]) -> tuple[Plane, Plane]:
    """Return how often waves rise a px, down and across, at the places of `rfft2` of a plane [H, W]."""
    rows, columns = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    down, across = np.meshgrid(rows.astype(np.float32), columns.astype(np.float32), indexing="ij")
    return down, across


def _logs(reference: NDArray[np.float32], frame: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.log((reference + _DARKEST) / np.maximum(frame + _DARKEST, 1e-4)).clip(-_MOST, _MOST)
