# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference of a clip that is too short to show rest: the end that lies farther from its apex.

A few frames cut from the middle of an expression are quietest at its apex, where it turns. Measured against that, its
onset and its offset are the opposite of what the driver does: raised brows for lowered ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from ..device import frames_at_a_time
from ..face import nearer_to_rest, with_open_eyes
from .driver import DriverMotion
from .factors import skin_motion
from .probes import Probes

SHORT = 0.5  # s: as long as a micro-expression; a longer clip is cut to show rest, or goes from one state to another
_SIDE = 64  # px of the motion fields that are compared
_ONE_WAY = 0.5  # of the motion's energy, that lies along one field: an expression's amount, and no noise
_NEARER = 1.3  # times as far from the apex
_CLEARLY = 1e-3  # of the face's width; also how far the apex stands out from both ends


def end_nearer_to_rest(probes: Probes) -> int | None:
    """Return the first or last frame of a short clip if it is clearly nearer to rest than the reference, else None.

    Frames in a blink are left out; an end that by the mesh's scores shows an expression is none.
    """
    driver, clip = probes.driver, probes.driver.clip
    seconds = clip.track.seconds
    if float(seconds[clip.present[-1]] - seconds[clip.present[0]]) > SHORT:
        return None
    candidates = with_open_eyes(clip.track).tolist()
    reference, ends = clip.chosen.index, (candidates[0], candidates[-1])
    fields: dict[int, NDArray[np.floating]] = {}
    sizes: dict[int, float] = {}

    def take(frames: Sequence[int], observed: DriverMotion) -> None:
        skin = F.interpolate(observed.local.flow * (1 - observed.from_mesh), (_SIDE, _SIDE), mode="area")
        fields.update(zip(frames, skin.flatten(1).cpu().numpy(), strict=True))
        sizes.update(zip(frames, (skin_motion(driver, observed) / driver.face_width).tolist(), strict=True))

    for each in probes:
        take(each.indices, each.observed)
    further = sorted({*ends} - {*probes.indices, reference})
    device = probes.avatar.device
    for indices, seen in clip.batches(frames_at_a_time(device), further) if further else ():
        take(indices, driver.observe(seen.to(device)))
    frames = sorted({*fields} & {*candidates} - {reference})
    if not frames:
        return None
    place = int(np.searchsorted(frames, reference))
    end = farther_end(np.stack([fields[each] for each in frames]), np.array([sizes[each] for each in frames]), place)
    if end is None or nearer_to_rest(clip.track, ends[end]) is not None:
        return None
    return ends[end]


def farther_end(fields: NDArray[np.floating], sizes: NDArray[np.floating], place: int) -> int | None:
    """Return which end of a clip, 0 or -1, is clearly farther from its apex than the reference, else None.

    fields: [P, D], the motion of its frames against the reference, in the order of their times. sizes: [P], how large
    it is, as shares of the face's width. place: how many of the frames come before the reference.

    >>> amount = np.array([0.3, 0.6, 1.0, 0.7, 0.4]) * 4e-3
    >>> shape = np.ones((1, 8)) / 8**0.5
    >>> away = np.delete(amount, 2) - amount[2]  # measured against the apex
    >>> farther_end(away[:, None] * shape, np.abs(away), 2)
    0
    >>> away = amount[1:] - amount[0]  # against the first frame
    >>> farther_end(away[:, None] * shape, np.abs(away), 0) is None
    True
    """
    if len(fields) < 2:
        return None
    _, strength, ways = np.linalg.svd(fields.astype(np.float64), full_matrices=False)
    if strength[0] ** 2 < _ONE_WAY * (strength**2).sum() or not sizes.any():
        return None
    along = fields @ ways[0]
    amounts = np.insert(along * (float(sizes.max()) / max(float(np.abs(along).max()), 1e-12)), place, 0.0)
    turning = max((1, -1), key=lambda way: _stands_out(way * amounts))
    if _stands_out(turning * amounts) < _CLEARLY:
        return None
    distance = np.abs(amounts - (turning * amounts).max() * turning)
    end = 0 if distance[0] >= distance[-1] else -1
    clear = distance[end] > max(_NEARER * distance[place], distance[place] + _CLEARLY)
    return end if clear else None


def _stands_out(amounts: NDArray[np.float64]) -> float:
    """Return by how much the largest amount is above both ends."""
    return float(amounts.max() - max(amounts[0], amounts[-1]))
