# SPDX-License-Identifier: GPL-3.0-or-later
"""The device that computes, and what happens when its memory is too small."""

from __future__ import annotations

import gc

import torch
from torch import Tensor

from ..backend_bridge.files.errors import MachineError, is_out_of_memory


class OutOfMemoryError(MachineError):
    """The device's memory is too small even for the smallest piece of work; the CPU's may not be."""


def choose_device(wanted: str) -> torch.device:
    """Return the torch device for "auto", "cpu", "cuda", "cuda:1", "mps" ...

    "auto" takes the best one that is there. A device that was named and is absent is a `MachineError`, never a silent
    fallback.

    From here on, convolutions in float32 are computed in float32: PyTorch's default on a GPU is TF32, whose 10 bits put
    a backend's pictures 1e-3 off, about what a micro-expression changes.
    """
    torch.backends.cudnn.allow_tf32 = False
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise MachineError(f"This machine has no usable device {wanted!r}; choose 'auto' or 'cpu'.") from error
    return device


def frames_at_a_time(device: torch.device) -> int:
    """Return how many frames to compute together: a GPU is slow with few, and MagPlus averages noise over a group."""
    return 8 if device.type == "cpu" else 16


def ran_out(device: torch.device, error: BaseException) -> bool:
    """Whether an error says that the memory of this GPU ran out; never of a CPU, which has nothing to fall back to."""
    return device.type != "cpu" and is_out_of_memory(error)


def free_memory(device: torch.device) -> None:
    """Give what nobody uses any more back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def fits_loops(*tensors: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether tensors are on the CPU, of this type, and without gradients, so that `loops` can compute on them."""
    return all(each.is_cpu and each.dtype == dtype and not each.requires_grad for each in tensors)
