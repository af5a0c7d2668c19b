# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the frames' times."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from magplus.models.training.actors import CURVE, Actor, film

from .fault import COUNT, PEAK, Fault, at_rest, filmed


def interlaced(frames: Tensor) -> Tensor:
    """Take every other row from half a frame later."""
    result = frames.clone()
    later = torch.cat([frames[1:], frames[-1:]])
    result[:, :, 1::2] = (0.5 * (frames + later))[:, :, 1::2]
    return result


def of_time(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what is wrong with the frames' times."""
    yield Fault("harmless: interlaced", "", interlaced)
    twice = [index - index % 2 for index in range(COUNT)]
    yield Fault("harmless: repeated frames", "2 of each", lambda frames: frames[twice])
    pulled = [index - (index % 5 == 4) for index in range(COUNT)]
    yield Fault("harmless: pulldown", "24 in 30", lambda frames: frames[pulled])
    uneven = tuple(index for index in range(COUNT) if index % 3 != 1)
    yield Fault("harmless: uneven rate", "", lambda frames: frames[list(uneven)], numbers=uneven)
    dropped = tuple(index for index in range(COUNT) if not 19 <= index < 23)
    yield Fault("harmless: dropped frames", "4 in a row", lambda frames: frames[list(dropped)], numbers=dropped)
    slow = np.interp(np.arange(3 * COUNT) / 3, np.arange(COUNT), CURVE)
    mixture = film(driver, "AU4", PEAK, 1, curve=np.ones(1)).values[0]
    values = slow[:, None] * mixture
    yield Fault("harmless: slow motion", "3 times", lambda _: filmed(driver, list(values), 7), truth=values)
    # As a camera sees the curve that takes eight pictures for one, in steps of a sixteenth.
    often = np.round(np.interp(np.arange(6, 22, 1 / 8), np.arange(COUNT), CURVE) * 16)[:, None] / 16 * mixture
    yield Fault(
        "harmless: 240 frames a second", "0.5 s", lambda _: filmed(driver, list(often), 7), truth=often, rate=240
    )
    still = filmed(driver, [at_rest(driver)], 9)
    nothing = np.zeros((COUNT, len(mixture)))
    yield Fault("a photograph", "", lambda _: still.expand(COUNT, -1, -1, -1), (), "", nothing)
