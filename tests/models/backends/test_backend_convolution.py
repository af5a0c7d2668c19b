# SPDX-License-Identifier: GPL-3.0-or-later
"""A prepared network gives what the plain one gives, and keeps its tensors."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm

from magplus.models.backends.convolution import WIDE, DoublingConv2d, Winograd, lay_out, let_go, prepare
from magplus.models.backends.fomm import ConvBlock, DownBlock, ResBlock, UpBlock


def with_statistics(network: nn.Module) -> nn.Module:
    """Give batch norms something to do."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    return network


NETWORKS = {
    "winograd": lambda: nn.Conv2d(WIDE, WIDE + 16, 3, padding=1),
    "without bias": lambda: nn.Conv2d(WIDE, WIDE, 3, padding=1, bias=False),
    "doubling": lambda: DoublingConv2d(WIDE, 24),
    "to three channels": lambda: nn.Conv2d(WIDE, 3, 7, padding=3),
    "to one channel, unpadded": lambda: nn.Conv2d(WIDE, 1, 7),
    "block": lambda: ConvBlock(WIDE, WIDE),
    "narrow block": lambda: ConvBlock(WIDE, 8),
    "down": lambda: DownBlock(WIDE, WIDE),
    "up": lambda: UpBlock(WIDE, 32),
    "residual": lambda: ResBlock(WIDE),
    "strided, which is left alone": lambda: nn.Conv2d(WIDE, WIDE, 3, stride=2, padding=1),
    "grouped, which is left alone": lambda: nn.Conv2d(WIDE, WIDE, 3, padding=1, groups=WIDE),
    "spectral norm": lambda: spectral_norm(nn.Conv2d(WIDE, WIDE, 3, padding=1)),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 32, 48), (2, 32, 32), (1, 30, 41), (1, 4, 4)])
@torch.inference_mode()
def test_the_same_pictures_from_the_same_tensors(kind, shape):
    torch.manual_seed(0)
    plain = with_statistics(NETWORKS[kind]()).eval()
    fast = copy.deepcopy(plain)
    lay_out(fast)
    prepare(fast)
    if kind == "to one channel, unpadded" and shape[-1] < 7:
        pytest.skip("smaller than the kernel")
    x = torch.randn(shape[0], WIDE, *shape[1:])
    wanted = plain(x)
    for layout in (torch.contiguous_format, torch.channels_last):
        given = fast(x.contiguous(memory_format=layout))
        torch.testing.assert_close(given, wanted, atol=2e-5 * float(wanted.abs().max()), rtol=0)
    assert fast.state_dict().keys() == plain.state_dict().keys()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], tensor, rtol=0, atol=0)


def test_a_pictures_result_outlives_the_next_one():
    """Buffers are used again; what was returned is not among them."""
    network = nn.Sequential(nn.Conv2d(WIDE, WIDE, 3, padding=1)).requires_grad_(False)
    prepare(network)
    first, second = torch.rand(2, 1, WIDE, 32, 32)
    result = network(first)
    kept = result.clone()
    with torch.inference_mode():
        network(second)
    network(second)
    assert isinstance(network[0].forward, Winograd) and torch.equal(result, kept)


def test_what_was_made_can_be_let_go_and_is_made_again():
    network = torch.nn.Sequential(torch.nn.Conv2d(128, 128, 3, padding=1)).requires_grad_(False)
    lay_out(network)
    prepare(network)
    x = torch.rand(1, 128, 64, 64).contiguous(memory_format=torch.channels_last)
    before = network(x)
    assert network[0].forward.made is not None
    let_go(network)
    assert network[0].forward.made is None
    torch.testing.assert_close(network(x), before, rtol=0, atol=0)
