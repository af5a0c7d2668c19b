# SPDX-License-Identifier: GPL-3.0-or-later
"""How something goes over from 0 to 1, in time or over a face, without a kink at either end."""

from __future__ import annotations

from typing import Any, TypeVar

_Share = TypeVar("_Share", bound=Any)  # a number or an array


def smooth_step(share: _Share) -> _Share:
    """Return 3 t^2 - 2 t^3 of a share t in [0, 1] of the way: it rises from 0 to 1, and is level at both.

    >>> [smooth_step(share) for share in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.15625, 0.5, 1.0]
    """
    eased: _Share = share * share * (3 - 2 * share)
    return eased
