# SPDX-License-Identifier: GPL-3.0-or-later
"""Under which conditions the clips of `bench rig` are filmed, and how large."""

from __future__ import annotations

import sys

from .._readings import COMPRESSED

DRIVER_SIZE, AVATAR_SIZE = 256, 512
PEAKS = (0.25, 0.5, 1.0)
PLAIN, HARDEST = "plain", "noise and sway"
CONDITIONS = (PLAIN, "sway", "noise", COMPRESSED, HARDEST)
BOUNDED = (0.5,)
ESSENTIAL = (*((peak, PLAIN) for peak in PEAKS), (0.25, HARDEST))
FULL = (*ESSENTIAL, *((peak, condition) for peak in BOUNDED for condition in CONDITIONS if condition != PLAIN))


def progress(where: str) -> None:
    """Print on the terminal how far the run is."""
    print(f"\r{where:78}", end="", file=sys.stderr, flush=True)
