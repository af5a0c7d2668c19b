# SPDX-License-Identifier: GPL-3.0-or-later
"""Inner loops on the CPU, compiled by Numba: what takes a tensor library many passes over a picture is one here.

Whoever needs a loop imports its module in the function that does, as loading one takes a tenth of a second, and some
seconds where nothing is cached yet; on other devices, and where gradients are asked for, PyTorch computes the same.
Arrays are C-contiguous, pictures float32 [N, C, H, W]. The loops run in the thread that calls them, and let others run
meanwhile.

A loop calls only those of its own file: Numba keeps compiled code until that file changes, so that a change of what it
calls elsewhere would go unseen.
"""

from __future__ import annotations

import importlib
import pkgutil


def load_all() -> None:
    """Load every loop, so that it is compiled now where it isn't yet."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
