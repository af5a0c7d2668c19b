# SPDX-License-Identifier: GPL-3.0-or-later
"""Half precision for the networks that bear it: those that paint, never those that estimate positions.

Eight bits of bfloat16's mantissa are half a pixel of a 256 px picture, as much as a micro-expression moves. So a
backend names the networks behind its motion; what they are given is rounded, and what they paint comes back as float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...backend_bridge.files.errors import InputError

Precision = Literal["float32", "bfloat16", "float16"]


def reduce(network: nn.Module, precision: Precision) -> None:
    """Keep a network's weights in half precision; batch norms, which cost nothing, stay as they are."""
    dtype = getattr(torch, precision)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            continue
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
        fixed = module.__dict__.get("weight")  # that of a spectral norm is no parameter
        if isinstance(fixed, Tensor):
            module.weight = fixed.to(dtype)


def like_weights(x: Tensor, network: nn.Module) -> Tensor:
    """Return x in the precision of a network's weights."""
    return x.to(next(network.parameters()).dtype)


def check_precision(precision: Precision, device: torch.device, painting: Sequence[str], title: str) -> None:
    """Raise `InputError` where no network bears half precision, or a device has no arithmetic of it worth the name."""
    if precision != "float32" and not painting:
        raise InputError(f"{title} computes in float32 only; leave its option precision out.")
    if precision == "float16" and device.type == "cpu":
        raise InputError(f"{title} can't use float16 on the CPU; choose bfloat16, or a GPU.")
