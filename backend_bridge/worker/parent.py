# SPDX-License-Identifier: GPL-3.0-or-later
"""Noticing that Blender is gone.

The end of standard input usually tells first. It does not when a process that Blender had forked still holds the other
end of the pipe, so the worker looks for itself, too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

_INTERVAL = 1.0  # seconds between two looks


def wait_for_parents_end(pid: int, callback: Callable[[], None]) -> None:
    """Block until process `pid` has ended, then call `callback`."""
    if sys.platform == "win32":
        import ctypes

        synchronize, infinite = 0x00100000, 0xFFFFFFFF
        kernel = ctypes.WinDLL("kernel32")
        kernel.OpenProcess.argtypes = (ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32)
        kernel.OpenProcess.restype = ctypes.c_void_p
        kernel.WaitForSingleObject.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        handle = kernel.OpenProcess(synchronize, False, pid)
        if handle:
            kernel.WaitForSingleObject(handle, infinite)
    else:
        # A dead parent that nobody has buried yet still has its number, but its children have been given away.
        started_by = os.getppid()
        while os.getppid() == started_by and _exists(pid):
            time.sleep(_INTERVAL)
    callback()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
