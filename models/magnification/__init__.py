# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion magnification (MagPlus) and restoration (DeMagPlus)."""

from .magnifier import Magnifier
from .motion import Motion

__all__ = ["Magnifier", "Motion"]
