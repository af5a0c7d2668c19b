# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of PyTorch suits a machine, and where PyTorch publishes it."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..files.errors import InputError
from ..worker_client.process import popen_options
from .locked import system

# (identifier, label, what it means), as Blender's enumerations want it.
VARIANTS = (
    ("auto", "Automatic", "The build that fits this machine's graphics card and driver"),
    ("cuda", "NVIDIA (CUDA)", "For NVIDIA graphics cards"),
    ("rocm", "AMD (ROCm)", "For AMD graphics cards, on Linux"),
    ("mps", "Apple (Metal)", "For Apple computers with their own processors"),
    ("cpu", "CPU", "The smallest; works on every machine"),
    (
        "pip",
        "As pip Has It",
        "The build of pip's own index, for where PyTorch's index is blocked",
    ),
)

_PYTORCH = "https://download.pytorch.org/whl/"

# The builds of the PyTorch version in worker/requirements.txt, from its release notes.
_CUDA_13, _CUDA_12, _ROCM = "cu130", "cu126", "rocm7.2"
# What pip's default index has, by system (`locked.system`), and what only PyTorch's own index has.
PUBLISHED = {"linux-x86_64": _CUDA_13, "windows-x86_64": "cpu", "macos-arm64": "mps"}
OWN_INDEX = tuple(
    (system, tag, _PYTORCH + tag)
    for system, tags in {
        "linux-x86_64": ("cpu", _CUDA_12, _ROCM),
        "windows-x86_64": (_CUDA_13, _CUDA_12),
    }.items()
    for tag in tags
)
_CUDA_13_DRIVER = 580  # oldest driver series that runs CUDA 13
_CUDA_12_DRIVER = 528 if sys.platform == "win32" else 525
_CUDA_13_CAPABILITY = 7.5  # cards older than Turing are only in the CUDA 12 build


@dataclass(frozen=True)
class Build:
    """A build of PyTorch.

    `variant` is "cuda", "rocm", "mps", "cpu" or "pip". `tag` names the build ("cu130") and the index of PyTorch's own
    that has it. `disk` is the size of the whole environment in bytes, roughly. `warning` is a sentence for the user, or
    empty.
    """

    variant: str
    tag: str
    warning: str = ""

    @property
    def index(self) -> str:
        """Address of PyTorch's own index, or empty when pip's default index has this build."""
        return "" if self.tag == _published() else _PYTORCH + self.tag

    @property
    def megabytes(self) -> int:
        """Megabytes that are downloaded for the whole environment, roughly."""
        return 500 if self.tag in {"cpu", "mps"} else 3000

    @property
    def disk(self) -> int:
        """Bytes that the whole environment takes, with room to unpack."""
        return (12 if self.variant in {"cuda", "rocm", "pip"} else 4) * 10**9


@dataclass(frozen=True)
class NvidiaCard:
    """`driver` is the driver's series (580), `capability` the oldest card's compute capability (8.6)."""

    driver: int
    capability: float


def choose_build(variant: str, card: NvidiaCard | None) -> Build:
    """Return the build for a variant; "auto" looks at the machine. Raises `InputError` for one that can't work here.

    card: what `find_nvidia_card` returned.
    """
    if variant == "auto":
        return _automatic(card)
    if variant == "cuda":
        if sys.platform == "darwin":
            raise InputError("There is no CUDA on Apple computers; choose another variant of PyTorch.")
        if card is None:
            warning = "No NVIDIA driver was found; the CUDA build will compute on the CPU until one is installed."
            return Build("cuda", _CUDA_13, warning)
        if (build := _cuda(card)) is None:
            raise InputError(f"The NVIDIA driver ({card.driver}) is too old for PyTorch; update it, or choose the CPU.")
        return build
    if variant == "rocm":
        if not sys.platform.startswith("linux"):
            raise InputError("PyTorch supports ROCm on Linux only; choose another variant.")
        return Build("rocm", _ROCM)
    if variant == "mps":
        if sys.platform != "darwin" or platform.machine() != "arm64":
            raise InputError("Metal needs an Apple computer with its own processor; choose another variant.")
        return Build("mps", "mps")
    if variant == "cpu":
        return Build("cpu", "cpu" if sys.platform != "darwin" else _published())
    if variant == "pip":
        return Build("pip", _published())
    raise InputError(f"There is no PyTorch variant {variant!r}; choose {', '.join(name for name, *_ in VARIANTS)}.")


def find_nvidia_card() -> NvidiaCard | None:
    """Ask the NVIDIA driver what there is; None without a driver that answers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=True, **popen_options(),
        )  # fmt: skip
        return parse_nvidia_answer(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def parse_nvidia_answer(text: str) -> NvidiaCard:
    """Read lines such as "580.65.06, 8.9". Raises `ValueError` for anything else."""
    lines = [line.split(",") for line in text.splitlines() if line.strip()]
    if not lines or any(len(line) != 2 for line in lines):
        raise ValueError(f"not an answer of the NVIDIA driver: {text[:100]!r}")
    return NvidiaCard(int(lines[0][0].split(".")[0]), min(float(capability) for _, capability in lines))


def _published() -> str:
    """Return the tag of the build that pip's default index has for this system, empty where it has none."""
    return PUBLISHED.get(system(), "")


def _automatic(card: NvidiaCard | None) -> Build:
    if sys.platform == "darwin":
        return choose_build("mps" if platform.machine() == "arm64" else "cpu", None)
    if card is not None:
        if (build := _cuda(card)) is not None:
            return build
        cpu = choose_build("cpu", None)
        return Build(
            cpu.variant,
            cpu.tag,
            f"The NVIDIA driver ({card.driver}) is too old for PyTorch, so the CPU build is installed; update the "
            "driver and create the environment again to use the graphics card.",
        )
    if sys.platform.startswith("linux") and Path("/dev/kfd").exists():
        return choose_build("rocm", None)
    return choose_build("cpu", None)


def _cuda(card: NvidiaCard) -> Build | None:
    if card.driver >= _CUDA_13_DRIVER and card.capability >= _CUDA_13_CAPABILITY:
        return Build("cuda", _CUDA_13)
    return Build("cuda", _CUDA_12) if card.driver >= _CUDA_12_DRIVER else None
