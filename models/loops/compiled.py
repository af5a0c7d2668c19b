# SPDX-License-Identifier: GPL-3.0-or-later
"""How the loops are compiled, and the arrays that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]  # [N, C, H, W]
Planes: TypeAlias = NDArray[np.float32]  # [C, H, W]
Plane: TypeAlias = NDArray[np.float32]  # [H, W]
Picture: TypeAlias = NDArray[np.float32]  # [H, W, C]
Codes: TypeAlias = NDArray[np.uint16]  # [H, W]
Row: TypeAlias = NDArray[np.float32]  # [W]
Places: TypeAlias = NDArray[np.int64]  # [W]
Counts: TypeAlias = NDArray[np.int64]  # [N, P]
Numbers: TypeAlias = NDArray[np.float64]  # [P]
Matrix: TypeAlias = NDArray[np.float64]  # [P, P]
Flags: TypeAlias = NDArray[np.bool_]  # [P]
Stack: TypeAlias = NDArray[np.float64]  # [N, S, P]
Stacks: TypeAlias = NDArray[np.float64]  # [N, S, Q, P]
Loop = TypeVar("Loop", bound=Callable[..., Any])

FIELD = "float32[:,:,:,::1]"
STACK, STACKS = "float64[:,:,::1]", "float64[:,:,:,::1]"
NUMBERS, MATRIX, FLAGS = "float64[::1]", "float64[:,::1]", "boolean[::1]"


def compiled(signature: str, fused: bool = False) -> Callable[[Loop], Loop]:
    """Compile a loop for one signature; the code is kept on the disk, in `NUMBA_CACHE_DIR` or where Numba can.

    fused: a product and the sum that it goes into are rounded once where the processor does so, as OpenCV has it.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"} if fused else False}

    def compile_(loop: Loop) -> Loop:
        try:
            return cast(Loop, numba.njit(signature, cache=True, **options)(loop))
        except RuntimeError:  # no folder can be written to
            return cast(Loop, numba.njit(signature, **options)(loop))

    return compile_
