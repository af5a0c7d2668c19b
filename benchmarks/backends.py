# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the published backends are: `python3 dev.py bench backends [NAME ...] [--json FILE]`.

The weights are those of the reference cases in `tests/parity`: the pictures are abstract, the arithmetic is not. Every
mode of a backend makes the same frame, one after another, again and again, so that what else the machine does meets
all of them alike.

Modes. "port": a straightforward port, which encodes the source anew for every frame and computes plainly, in the plain
memory layout (see `published` for what else its authors' code does). "cached": the same with the source encoded once.
"best": what a job runs. "bfloat16": the same with the option `precision`, for backends that have it. On a GPU: frames
in batches, in float32 and float16; without one that is said and left out.

Columns, medians over the repetitions. seconds: for a frame, by the clock. CPU: processor seconds for a frame, over all
threads; on a machine that has other things to do it is the figure to trust. times: CPU seconds of the port over those
of the mode. difference: largest absolute difference of the picture to the port's (on a GPU to the CPU's), where white
is 1. memory: the largest resident size of a process of its own that loads the backend, encodes a source and makes two
frames; on a GPU, the most that was taken of its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from magplus.models.backends import DrivingBatch, FaceImage, fsrt, registry
from magplus.models.backends.metaportrait import networks
from magplus.models.backends.options import parse_options
from magplus.models.backends.preprocess import resize
from magplus.models.backends.published import PublishedBackend
from magplus.models.backends.store import CheckpointStore
from magplus.models.device import choose_device
from magplus.models.magnification import Motion
from magplus.tests.parity.reference import ReferenceCase

ROOT = Path(__file__).resolve().parent.parent
MODES = ("port", "cached", "best", "bfloat16")
BATCH = 16  # frames at a time on a GPU

Row = dict[str, Any]


@contextmanager
def fsrt_as_published() -> Iterator[None]:
    """Attention by two matrix products with the softmax between them, all weights in memory at once."""

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        weights = (queries @ keys.transpose(-2, -1) * fsrt.HEAD_WIDTH**-0.5).softmax(dim=-1)
        return (weights @ values).transpose(1, 2).flatten(2)

    ours, fsrt.attend = fsrt.attend, attend
    try:
        yield
    finally:
        fsrt.attend = ours


@contextmanager
def metaportrait_as_published() -> Iterator[None]:
    """Instance norm as PyTorch has it, then scale and shift."""

    def instance_norm(x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        normalised = F.instance_norm(x)
        return normalised if scale is None or shift is None else normalised * scale + shift

    ours, networks.instance_norm = networks.instance_norm, instance_norm
    try:
        yield
    finally:
        networks.instance_norm = ours


@dataclass(frozen=True)
class Trial:
    """How one backend is measured. A registered backend without an entry is measured with these defaults.

    cases: where its weights come from, by default the case of its name. frames: that it makes at a time. encode: what a
    port does again for every frame, given the backend, its state and both faces; by default, all of `encode_source`.
    published: surrounds what the port does.
    """

    cases: tuple[str, ...] = ()
    frames: int = 1
    repetitions: int = 5
    options: dict[str, Any] = field(default_factory=dict)
    encode: Callable[[Any, Any, FaceImage, FaceImage], Any] = lambda backend, _, *faces: backend.encode_source(*faces)
    published: Callable[[], Any] = nullcontext


def encode_fomm(backend: Any, state: Any, source: FaceImage, _: FaceImage) -> Any:
    """The published loop keeps the key points, but its generator takes the picture."""
    return state._replace(encoded=backend.generator.encode(source.image))


def encode_metaportrait(backend: Any, state: Any, source: FaceImage, _: FaceImage) -> Any:
    """The published loop draws the source's landmarks once, but its generator takes the picture."""
    image = resize(source.image, networks.SIZE)
    return state._replace(encoded=backend.generator.encode(image, state.encoded.line, state.encoded.identity))


TRIALS = {
    "fomm": Trial(encode=encode_fomm),
    "fsrt": Trial(repetitions=3, published=fsrt_as_published),
    "metaportrait": Trial(encode=encode_metaportrait, published=metaportrait_as_published),
    "metaportrait_sr": Trial(
        cases=("metaportrait", "metaportrait_sr"),
        frames=3,
        repetitions=3,
        encode=encode_metaportrait,
        published=metaportrait_as_published,
    ),
    "emoportraits": Trial(repetitions=3, options={"crop": False}),
    "liveportrait": Trial(repetitions=3, options={"crop": False}),
}


# ----------------------------------------------------------------------------------------------------- what is run


def published_backends() -> dict[str, type[PublishedBackend]]:
    """Return the backends with published checkpoints, by name; of those with the same networks, one."""
    published = {name: backend for name, backend in registry.items() if issubclass(backend, PublishedBackend)}
    return {name: backend for name, backend in published.items() if not backend.info.path_words}


def fill(store: CheckpointStore, name: str) -> None:
    """Leave the filled weights of a backend in the store."""
    backend = published_backends()[name]
    cases = [ReferenceCase(case) for case in TRIALS.get(name, Trial()).cases or (name,)]
    for part, network in backend.build_parts().items():
        for case in cases:
            if part in case.manifest and not store.has(backend.info.folder, part):
                store.write(backend.info.folder, part, case.filling.state_dict(part, network), case.folder.name, "")


def faces(size: int) -> tuple[FaceImage, FaceImage]:
    """Return the avatar and the driver's neutral frame; their landmarks are somewhere in the middle."""
    case = ReferenceCase("fomm")
    landmarks = np.random.default_rng(0).uniform(0.25, 0.75, (478, 3)).astype(np.float32) * size
    shift = np.array([2, 1, 0], np.float32)
    pictures = (
        F.interpolate(case.image(name), (size, size), mode="bilinear") for name in ("source", "driving_initial")
    )
    source, reference = pictures
    return FaceImage(source, landmarks), FaceImage(reference, landmarks + shift)


def driving(size: int, count: int) -> DrivingBatch:
    """Return `count` driving frames."""
    case = ReferenceCase("fomm")
    two = torch.cat([case.image("driving"), case.image("driving_2")])
    frames = F.interpolate(two, (size, size), mode="bilinear").repeat((count + 1) // 2, 1, 1, 1)[:count]
    flow = torch.linspace(-3, 3, count * 2).view(count, 2, 1, 1).expand(-1, -1, size, size)
    return DrivingBatch(frames, Motion(flow.contiguous(), torch.ones(count, 1, size, size)))


class Mode:
    """A backend, loaded in one of the modes, that makes the same frames whenever it is called."""

    def __init__(self, folder: Path, name: str, mode: str, device: str = "cpu", frames: int | None = None) -> None:
        backend = published_backends()[name]
        self.trial = TRIALS.get(name, Trial())
        given = self.trial.options | ({"precision": mode} if mode in ("bfloat16", "float16") else {})
        options = parse_options(backend.Options, given, title=backend.info.title)
        self.mode = mode
        self.plain = mode in ("port", "cached")
        if self.plain:
            tensors = CheckpointStore(folder).read_backend(backend.info)
            self.backend = backend.from_state_dicts(tensors, device, options, prepared=False)
        else:
            self.backend = backend.load(choose_device(device), folder, options)
        size = backend.info.frame_size or 256
        self.faces = faces(size)
        self.driving = driving(size, frames or self.trial.frames)
        self.state = self.backend.encode_source(*self.faces)

    @torch.inference_mode()
    def __call__(self) -> Tensor:
        """Make the frames."""
        with self.trial.published() if self.plain else nullcontext():
            state = self.state
            for _ in range(self.trial.frames if self.mode == "port" else 0):
                state = self.trial.encode(self.backend, state, *self.faces)
            return self.backend.animate(state, self.driving).frames


def available(name: str) -> list[str]:
    """Return the modes that a backend has."""
    return [mode for mode in MODES if mode != "bfloat16" or published_backends()[name].painting]


# ----------------------------------------------------------------------------------------------------- measurements


def measure(folder: Path, name: str, repetitions: int | None) -> list[Row]:
    """Return a row for every mode of a backend, on the CPU."""
    modes = {mode: Mode(folder, name, mode) for mode in available(name)}
    pictures = {mode: run() for mode, run in modes.items()}  # the first call makes what is made once
    clock: dict[str, list[float]] = {mode: [] for mode in modes}
    processor: dict[str, list[float]] = {mode: [] for mode in modes}
    frames = modes["port"].trial.frames
    for _ in range(repetitions or modes["port"].trial.repetitions):
        for mode, run in modes.items():
            began, spent = time.perf_counter(), time.process_time()
            run()
            clock[mode].append((time.perf_counter() - began) / frames)
            processor[mode].append((time.process_time() - spent) / frames)
    del modes
    return [
        {
            "backend": name,
            "mode": mode,
            "repetitions": len(clock[mode]),
            "seconds": median(clock[mode]),
            "seconds_least": min(clock[mode]),
            "cpu_seconds": median(processor[mode]),
            "times_by_cpu": median(processor["port"]) / median(processor[mode]),
            "times_by_clock": median(clock["port"]) / median(clock[mode]),
            "difference": float((pictures[mode] - pictures["port"]).abs().max()),
            "memory_gb": memory(folder, name, mode),
        }
        for mode in clock
    ]


def memory(folder: Path, name: str, mode: str) -> float:
    """Return the peak resident size, in GB, of a process that makes frames in this mode."""
    command = [sys.executable, __file__, "--alone", str(folder), name, mode]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return float(answer.stdout)


def run_alone(folder: Path, name: str, mode: str) -> None:
    """Make frames twice and print the peak resident size in GB."""
    run = Mode(folder, name, mode)
    run(), run()
    print(peak_resident_size() / 1e9)


def peak_resident_size() -> int:
    """Return this process's peak resident size in bytes.

    On Linux not from `getrusage`, where a process starts with the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_on_gpu(folder: Path, name: str, repetitions: int = 10) -> list[Row]:
    """Return frames per second in float32 and float16, and how far their pictures are from the CPU's."""
    rows: list[Row] = []
    choose_device("cuda")  # as the worker does: float32 is float32, and not TF32
    expected = Mode(folder, name, "best")()
    for precision in ("float32", "float16") if published_backends()[name].painting else ("float32",):
        picture = Mode(folder, name, precision, "cuda", len(expected))().float().cpu()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        run = Mode(folder, name, precision, "cuda", BATCH)
        run()
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(repetitions):
            run()
        torch.cuda.synchronize()
        rows.append(
            {
                "backend": name,
                "mode": precision,
                "frames_per_second": repetitions * BATCH / (time.perf_counter() - began),
                "difference": float((picture - expected).abs().max()),
                "memory_gb": torch.cuda.max_memory_allocated() / 1e9,
            }
        )
        del run
    return rows


# ------------------------------------------------------------------------------------------------------------ report


def show(rows: Sequence[Row]) -> None:
    """Print the CPU's rows."""
    for row in rows:
        print(
            f"{row['backend']:<16} {row['mode']:<9} {row['seconds']:8.3f} s {row['cpu_seconds']:8.3f} CPU s"
            f" {row['times_by_cpu']:6.2f} times  difference {row['difference']:.1e}  {row['memory_gb']:.2f} GB",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="the backends to measure; default: all of them")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--repetitions", type=int, help="of every mode; default: 3 or 5")
    parser.add_argument("--threads", type=int, default=2, help="that compute (%(default)s)")
    parser.add_argument("--gpu", action="store_true", help="leave out the CPU's figures")
    parser.add_argument("--alone", nargs=3, metavar=("FOLDER", "NAME", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        run_alone(Path(options.alone[0]), *options.alone[1:])
        return 0
    if unknown := set(options.names) - set(published_backends()):
        parser.error(f"there is no published backend {min(unknown)!r}; there are {', '.join(published_backends())}")
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    on_cpu: list[Row] = []
    on_gpu: list[Row] = []
    print(f"torch {torch.__version__}, {options.threads} threads, {torch.backends.cpu.get_cpu_capability()}")
    for name in options.names or published_backends():
        with tempfile.TemporaryDirectory(prefix="magplus-bench-") as folder:
            fill(CheckpointStore(Path(folder)), name)
            if not options.gpu:
                rows = measure(Path(folder), name, options.repetitions)
                show(rows)
                on_cpu += rows
            if torch.cuda.is_available():
                on_gpu += measure_on_gpu(Path(folder), name)
    for row in on_gpu:
        print(
            f"{row['backend']:<16} {row['mode']:<9} {row['frames_per_second']:8.1f} frames/s on"
            f" {torch.cuda.get_device_name()}  difference {row['difference']:.1e}  {row['memory_gb']:.2f} GB"
        )
    if not torch.cuda.is_available():
        print("No GPU here: frames per second in batches, in float32 and float16, were not measured.")
    if options.json:
        options.json.write_text(json.dumps({"cpu": on_cpu, "gpu": on_gpu}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
