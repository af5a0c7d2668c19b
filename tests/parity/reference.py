# SPDX-License-Identifier: GPL-3.0-or-later
"""Reference cases: what the authors' own networks gave for weights that everybody can make again.

The published checkpoints can't be had in a test. Instead, every tensor of a state dict is filled with values that
depend on nothing but its part, name and shape, and the outputs are compared with stored outputs of the authors' code
run with the same filling. The README beside this file says what a filling proves and what it does not.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parent


def standard_normal(part: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw the float32 normal values that belong to this part, name and shape, the same on every machine."""
    seed = int.from_bytes(hashlib.sha256(f"{part}:{name}".encode()).digest()[:8], "little")
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal(math.prod(shape), dtype=np.float32)
    return values.reshape(shape)


@dataclass(frozen=True)
class Filling:
    """A case's `fill_rules.json`: keep, gain, special, channel_scale and sn_dim1, each matched on "part:name"."""

    rules: Mapping[str, Any]

    def state_dict(self, part: str, network: nn.Module) -> dict[str, Tensor]:
        """Return `network`'s state dict filled; constants that the rules keep are left as the network made them."""
        own = network.state_dict()
        filled = {
            name: tensor if self._kept(part, name) else self._tensor(part, name, tensor) for name, tensor in own.items()
        }
        for name in filled:
            if name.endswith("weight_u"):
                self._fill_singular_vectors(part, name.removesuffix("weight_u"), filled)
        return filled

    def _kept(self, part: str, name: str) -> bool:
        return any(re.search(pattern, f"{part}:{name}") for pattern in self.rules.get("keep", ()))

    def _first_match(self, rule: str, key: str, default: Any) -> Any:
        return next((value for pattern, value in self.rules.get(rule, ()) if re.search(pattern, key)), default)

    def _tensor(self, part: str, name: str, like: Tensor) -> Tensor:
        if not like.is_floating_point():
            return torch.zeros_like(like, device="cpu")
        return torch.from_numpy(self._values(part, name, tuple(like.shape)))

    def _values(self, part: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        key, z = f"{part}:{name}", standard_normal(part, name, shape)
        fan_in = math.prod(shape[1:])
        if special := self._first_match("special", key, None):
            return _special_values(special, z)
        if name.endswith("running_mean"):
            return np.float32(0.1) * z
        if name.endswith("running_var"):
            magnitude: NDArray[np.float32] = np.abs(z)
            return np.float32(0.5) + magnitude / (np.float32(1) + magnitude)
        if len(shape) >= 2 and fan_in > 1:
            gain = np.float32(self._first_match("gain", key, self.rules["default_gain"]))
            weight = z * (gain / np.sqrt(np.float32(fan_in)))
            for first, end, factor in self._first_match("channel_scale", key, ()):
                weight[:, first:end] *= np.float32(factor)
            return weight
        if name.endswith(("bias", "beta")):
            return np.float32(self.rules.get("bias_scale", 0.05)) * z
        return np.float32(1) + np.float32(0.1) * z

    def _fill_singular_vectors(self, part: str, layer: str, filled: dict[str, Tensor]) -> None:
        """Spectral norm's u is a random direction and v = Wᵀu, both of length 1."""
        weight = filled[layer + "weight_orig"].double().numpy()
        if any(re.search(pattern, f"{part}:{layer}") for pattern in self.rules.get("sn_dim1", ())):
            weight = np.moveaxis(weight, 1, 0)
        weight = weight.reshape(len(weight), -1)
        u = standard_normal(part, layer + "weight_u", (len(weight),)).astype(np.float64)
        u /= np.sqrt(np.square(u).sum())
        v = weight.T @ u
        v /= np.sqrt(np.square(v).sum())
        filled[layer + "weight_u"] = torch.from_numpy(u.astype(np.float32))
        if layer + "weight_v" in filled:
            filled[layer + "weight_v"] = torch.from_numpy(v.astype(np.float32))


def _special_values(rule: Mapping[str, Any], z: NDArray[np.float32]) -> NDArray[np.float32]:
    match rule["kind"]:
        case "const":
            return np.full_like(z, rule["value"])
        case "affine":
            return np.float32(rule["mean"]) + np.float32(rule["std"]) * z
        case "tile":
            return np.resize(np.float32(rule["pattern"]), z.shape) + np.float32(rule["std"]) * z
    raise ValueError(f"fill_rules.json has an unknown kind {rule['kind']!r}")


class ReferenceCase:
    """One folder beside this file: `case.npz`, `fill_rules.json`, `state_dict_manifest.json`."""

    def __init__(self, name: str) -> None:
        self.folder = FOLDER / name
        self.filling = Filling(json.loads((self.folder / "fill_rules.json").read_text()))

    @cached_property
    def manifest(self) -> dict[str, list[dict[str, Any]]]:
        """Rows {name, shape, dtype, kept, sum, abs_max} of every part of the published checkpoint."""
        return json.loads((self.folder / "state_dict_manifest.json").read_text())["parts"]

    @cached_property
    def stored(self) -> dict[str, NDArray[Any]]:
        """Arrays of `case.npz`; a key that ends in "[...]" holds the tensor after that numpy index."""
        with np.load(self.folder / "case.npz") as arrays:
            return dict(arrays)

    def image(self, name: str) -> Tensor:
        """Return input picture `name` as [1, 3, H, W] in [0, 1]."""
        return torch.from_numpy(self.stored[f"input/{name}"] / np.float32(255)).permute(2, 0, 1)[None].contiguous()

    def load(self, part: str, network: nn.Module) -> None:
        """Fill `network` and check names, order, shapes and the filling itself against the manifest."""
        filled = self.filling.state_dict(part, network)
        rows = self.manifest[part]
        assert sorted(filled) == sorted(row["name"] for row in rows)
        for row in rows:
            values = filled[row["name"]].double()
            assert list(values.shape) == row["shape"], row["name"]
            assert math.isclose(values.sum().item(), row["sum"], rel_tol=1e-5, abs_tol=1e-5), row["name"]
            assert math.isclose(values.abs().max().item(), row["abs_max"], rel_tol=1e-6, abs_tol=1e-6), row["name"]
        network.load_state_dict(filled, strict=True)

    def keys(self, name: str) -> list[str]:
        """Return the stored keys of tensor `name`, with or without an index."""
        keys = [key for key in self.stored if key.split("[")[0] == name]
        assert keys, f"{name} is not stored"
        return keys

    def error(self, key: str, full: Tensor) -> float:
        """Return the largest absolute difference of the full tensor, indexed as the key says, to the stored one."""
        ours, stored = full.detach().float().numpy()[_index(key)], self.stored[key]
        assert ours.shape == stored.shape, f"{key}: {ours.shape} instead of {stored.shape}"
        return float(np.abs(ours.astype(np.float64) - stored.astype(np.float64)).max())

    def check(self, name: str, full: Tensor, *, atol: float, half_atol: float, half_rtol: float = 0.0) -> None:
        """Assert that everything stored under `name` agrees; the half_ tolerances are for what is kept as float16."""
        for key in self.keys(name):
            stored = self.stored[key]
            allowed = half_atol + half_rtol * float(np.abs(stored).max()) if stored.dtype == np.float16 else atol
            error = self.error(key, full)
            assert error <= allowed, f"{key}: off by {error:.3g}, allowed {allowed:.3g}"


def _index(key: str) -> tuple[slice | int, ...]:
    if not key.endswith("]"):
        return ()
    entries = key[:-1].split("[", 1)[1].split(",")
    return tuple(
        slice(*(int(bound) if bound else None for bound in entry.split(":"))) if ":" in entry else int(entry)
        for entry in entries
    )


class Recorder:
    """Keeps what named submodules return, call by call: `with Recorder(network, "first", ...) as seen`."""

    def __init__(self, network: nn.Module, *names: str) -> None:
        self.outputs: dict[str, list[Any]] = {name: [] for name in names}
        self._hooks = [
            network.get_submodule(name).register_forward_hook(
                lambda _m, _i, out, name=name: self.outputs[name].append(out)
            )
            for name in names
        ]

    def __enter__(self) -> dict[str, list[Any]]:
        return self.outputs

    def __exit__(self, *exc_info: object) -> None:
        for hook in self._hooks:
            hook.remove()
