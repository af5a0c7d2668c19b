# SPDX-License-Identifier: GPL-3.0-or-later
"""What the driver does: blinks, and begins in an expression."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from magplus.models.training.actors import CURVE, Actor, film

from .fault import COUNT, LATE, PEAK, Fault, Spoil, Values, filmed


def of_the_driver(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what the driver does: blinks, and begins in an expression."""
    mixture = film(driver, "AU4", PEAK, 1, curve=np.ones(1)).values[0]
    shut = np.zeros(COUNT)
    shut[LATE : LATE + 5] = [0.5, 1, 1, 0.7, 0.3]
    for name, wanted in (("blink", "eyeBlink"), ("wink", "eyeBlinkLeft")):
        lids = np.array([float(control.startswith(wanted)) for control in driver.stage.controls])
        values = CURVE[:, None] * mixture + shut[:, None] * lids
        yield Fault(name, "shut", _shows(driver, values, 5), (), "blinks", values)
        if name == "blink":
            opening = np.interp(np.arange(COUNT), np.arange(4), [1, 0.7, 0.3, 0])
            begun = CURVE[:, None] * mixture + opening[:, None] * lids
            yield Fault("blink that has begun", "shut at first", _shows(driver, begun, 5), (), "", begun)
    for name, wanted, amount in (("squint that is held", "eyeSquint", 0.6), ("one eye shut", "eyeBlinkLeft", 1.0)):
        held = amount * np.array([float(control.startswith(wanted)) for control in driver.stage.controls])
        values = CURVE[:, None] * mixture
        yield Fault(f"harmless: {name}", "all the time", _shows(driver, values + held, 5), truth=values)
    for name, wanted, amounts in (("smile", "mouthSmile", (0.15, 0.3)), ("frown", "browDown", (0.3,))):
        controls = np.array([float(control.startswith(wanted)) for control in driver.stage.controls])
        for amount in amounts:
            fading = np.clip(1 - np.arange(COUNT) / 12, 0, 1)[:, None] * amount * controls
            shown = _shows(driver, fading, 6)
            yield Fault("begins in an expression", f"{name} of {amount:g}", shown, (), "", fading)
    stays = np.maximum.accumulate(CURVE)[:, None] * mixture
    yield Fault("harmless: frown that stays", "until the end", _shows(driver, stays, 6), truth=stays)


def _shows(driver: Actor, values: Values, seed: int) -> Spoil:
    return lambda _: filmed(driver, list(values), seed)
