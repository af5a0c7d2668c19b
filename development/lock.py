# SPDX-License-Identifier: GPL-3.0-or-later
"""`dev.py lock`: makes the hash-locked lists in `backend_bridge/worker/locked/` from `backend_bridge/worker/`.

Three resolutions with uv: everything for every system and Python (its PyTorch is the build of pip's default index),
the pip that installs it, and what signing takes; then PyTorch's other builds, each from PyTorch's own index. A build
whose index can't be reached from here keeps the list that it has.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from backend_bridge.environment import locked
from backend_bridge.environment.interpreters import SERIES
from backend_bridge.environment.requirements import read_requirements
from backend_bridge.environment.torch_builds import OWN_INDEX, PUBLISHED

_HEADER = "# Made by `python3 dev.py lock`; change backend_bridge/worker/requirements.txt instead.\n"
_WITH_TORCH = re.compile(r"(torch|triton\S*|pytorch-triton\S*|nvidia-\S+|cuda-\S+)==")  # what no other package needs
_TARGETS = ("x86_64-manylinux_2_28", "x86_64-pc-windows-msvc", "aarch64-apple-darwin")
INSTALLER, SIGNING = "pip==26.0", "c2pa-python==0.38.0"


def lock(uv: Path) -> Iterator[str]:
    """Write all lists; yield a line about each. `uv`: the Python that has uv. Raises `CalledProcessError`."""
    requirements = read_requirements()
    [torch] = [str(each) for each in requirements if each.name == "torch"]
    direct = [str(each) for each in requirements if not each.data_only]
    entries = _resolved(uv, direct)
    with_torch = [entry for entry in entries if _WITH_TORCH.match(entry)]
    data = _resolved(uv, [str(each) for each in requirements if each.data_only], "--no-deps")
    yield _write(locked.PACKAGES, [*(set(entries) - set(with_torch)), *data])
    yield _write(locked.INSTALLER, _resolved(uv, [INSTALLER]))
    yield _write(locked.SIGNING, set(_resolved(uv, [*direct, SIGNING])) - set(entries))
    for system, tag in PUBLISHED.items():
        linux = system.startswith("linux")
        yield _write(_list(system, tag), [entry for entry in with_torch if linux or entry.startswith("torch==")])
    for system, tag, index in OWN_INDEX:
        try:
            entries = _resolved(uv, [f"{torch}+{tag}"], "--index-url", index, quiet=True)
        except subprocess.CalledProcessError:
            kept = "kept as it is" if _list(system, tag).exists() else "not locked"
            yield f"{_list(system, tag).name}: {kept}, PyTorch's own index can't be reached or has no such build"
            continue
        yield _write(_list(system, tag), [entry for entry in entries if _WITH_TORCH.match(entry)])


def check(uv: Path) -> None:
    """Raise `CalledProcessError` unless every package of the common lists has a wheel for every system and Python."""
    for path in (locked.PACKAGES, locked.INSTALLER, locked.SIGNING):
        for target in _TARGETS:
            for series in SERIES:
                command = [uv, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--only-binary", ":all:", path]
                command += ["--python-platform", target, "--python-version", series]
                surroundings = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}  # PyTorch's oldest
                subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL, env=surroundings)


def _list(system: str, tag: str) -> Path:
    return locked.LOCKED / f"torch-{system}-{tag}.txt"


def _resolved(uv: Path, wanted: Sequence[str], *options: str, quiet: bool = False) -> list[str]:
    """Return the entries, each a pin with its hashes, of everything that `wanted` takes. quiet: keep uv's errors."""
    command = [uv, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", SERIES[0]]
    command += ["--generate-hashes", "--only-binary", ":all:", "--no-header", "--no-annotate", *options, "-"]
    printed = subprocess.run(
        [*map(str, command)], input="\n".join(wanted), check=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if quiet else None,
    )  # fmt: skip
    return re.split(r"\n(?=\S)", printed.stdout.strip())


def _write(path: Path, entries: Iterable[str]) -> str:
    listed = sorted(entries)
    path.parent.mkdir(exist_ok=True)
    path.write_text(_HEADER + "\n".join(listed) + "\n", "utf-8")
    return f"{path.name}: {len(listed)} packages"


if __name__ == "__main__":
    for line in lock(Path(sys.executable)):
        print(line)
    check(Path(sys.executable))
