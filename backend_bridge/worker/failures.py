# SPDX-License-Identifier: GPL-3.0-or-later
"""From exceptions to sentences, and to whose fault a failure is."""

from __future__ import annotations

from pathlib import Path

from ..files.disk import explain_disk_trouble, gone
from ..files.errors import CancelledError, InputError, MachineError, MagPlusError, is_out_of_memory
from .cancellation import STOPPED

_OURS = "magplus"

_NO_MEMORY = (
    "The machine ran out of memory; close other programs or use a shorter clip, then run again: finished frames are "
    "kept."
)
_NO_GPU_MEMORY = (
    "The graphics card ran out of memory; close other programs or use a shorter clip, then run again: finished frames "
    "are kept."
)

# Parts of what the devices' runtimes say; torch passes their texts on as RuntimeError.
_DRIVER_TROUBLE = {
    "driver version is insufficient": "The graphics driver is too old for the installed PyTorch; update the driver, or "
    "choose the CPU.",
    "no kernel image is available": "The installed PyTorch does not support this graphics card; create the environment "
    "again with another variant, or choose the CPU.",
    "not compiled with cuda enabled": "The installed PyTorch can't use a graphics card; create the environment again "
    "with the CUDA variant, or choose the CPU.",
    "found no nvidia driver": "No NVIDIA driver was found; install it, or choose the CPU.",
    "cuda error": "The graphics card reported an error; restart the worker or choose the CPU, and update the driver if "
    "it comes again.",
    "hip error": "The graphics card reported an error; restart the worker or choose the CPU, and update the driver if "
    "it comes again.",
}


def explain(error: BaseException, folder: Path) -> MagPlusError:
    """Return what to tell the user about an exception that ended a job in `folder`."""
    if isinstance(error, KeyboardInterrupt):
        return CancelledError(STOPPED)
    if not isinstance(error, CancelledError) and not folder.is_dir():
        return gone(folder)  # whatever was missed first
    if isinstance(error, MagPlusError):
        return error
    if is_out_of_memory(error):
        return MachineError(_NO_GPU_MEMORY if _is_gpu_memory(error) else _NO_MEMORY)
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] != _OURS:
        return MachineError(f"The worker's Python can't load a package ({_first_line(error)}); repair the environment.")
    if isinstance(error, OSError):
        if disk_trouble := explain_disk_trouble(error, folder):
            return disk_trouble
        if isinstance(error, PermissionError) and error.filename:
            return InputError(f"{error.filename} can't be opened: permission denied; check its permissions.")
    text = str(error).lower()
    for part, sentence in _DRIVER_TROUBLE.items():
        if isinstance(error, RuntimeError) and part in text:
            return MachineError(sentence)
    return MagPlusError(
        f"MagPlus failed unexpectedly ({type(error).__name__}: {_first_line(error)}); please report it with the log."
    )


def _is_gpu_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return any(device in text for device in ("cuda", "hip", "mps", "gpu"))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
