# SPDX-License-Identifier: GPL-3.0-or-later
"""MetaPortrait's super-resolution is equal to the authors' network on the reference case."""

from __future__ import annotations

import pytest
import torch

from magplus.models.backends import metaportrait_sr
from magplus.models.backends.convolution import Faster, prepare
from magplus.models.backends.metaportrait_sr import ModulatedConv2d, ResBlock, TemporalSuperResolution, TemporalWindow
from tests.parity.reference import Recorder, ReferenceCase


@pytest.mark.slow
@torch.inference_mode()
def test_every_stored_tensor():
    case = ReferenceCase("metaportrait_sr")
    network = TemporalSuperResolution().eval()
    case.load("params", network)
    clip = torch.cat([case.image(name) for name in ("source", "driving", "driving_2")])
    with Recorder(network, "condition_scale.5") as seen:
        restored = network(clip)
    case.check("prediction", restored.frames[None], atol=1e-4, half_atol=1e-3)
    case.check("style_code", restored.style_codes, atol=1e-4, half_atol=1e-3)
    case.check("condition_scale5", torch.cat(seen["condition_scale.5"]), atol=1e-4, half_atol=2e-3)
    assert {key.split("[")[0] for key in case.stored if not key.startswith("input/")} == {
        "prediction", "style_code", "condition_scale5"
    }  # fmt: skip


def test_window_repeats_the_ends_of_the_clip():
    window = TemporalWindow(2)
    clip = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    alone = window(clip[:1])
    repeated = window(clip[:1].expand(3, -1, -1, -1))[1:2]
    torch.testing.assert_close(alone, repeated)
    assert not torch.allclose(window(clip)[:1], alone)


@torch.inference_mode()
def test_a_size_of_the_network_gives_back_what_it_prepared(monkeypatch):
    made = []
    compute = Faster.__call__
    monkeypatch.setattr(Faster, "__call__", lambda layer, x: (compute(layer, x), made.append(layer.made))[0])
    stage = torch.nn.ModuleList([ResBlock(128, 128, 0.5), TemporalWindow(128)])
    clip = torch.randn(2, 128, 64, 64, generator=torch.Generator().manual_seed(1))
    plain = metaportrait_sr.at_one_size(*stage, clip)
    prepare(stage)
    torch.testing.assert_close(metaportrait_sr.at_one_size(*stage, clip), plain, atol=1e-4, rtol=1e-4)
    layers = [module.forward for module in stage.modules() if isinstance(module.forward, Faster)]
    assert len(layers) == 4 and len(made) == 8 and all(tensor is not None for tensor in made)
    assert all(layer.made is None and layer.workspace.size == 0 for layer in layers)


def test_scaling_input_and_output_is_modulating_the_weight():
    conv = ModulatedConv2d(6, 4, 3, demodulate=True)
    x, style = torch.randn(2, 6, 8, 8), torch.randn(2, 512)
    modulated = conv.weight * conv.modulation(style)[:, None, :, None, None]  # [2, 4, 6, 3, 3]
    modulated = modulated / modulated.square().sum(dim=(2, 3, 4), keepdim=True).add(1e-8).sqrt()
    wanted = torch.cat([torch.nn.functional.conv2d(x[i : i + 1], modulated[i], padding=1) for i in range(2)])
    torch.testing.assert_close(conv(x, style), wanted, atol=1e-5, rtol=1e-5)
