# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker keeps of a clip's motion: as much for a long clip as for a short one, and bit by bit what it was."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from magplus.models.face import split_rigid
from magplus.models.magnification import Motion
from magplus.models.pipeline.driver import DriverMotion
from magplus.models.pipeline.even_field import without_repeats
from magplus.models.pipeline.motion_store import MotionStore

SIDE = 64

# Some megabytes come and go for each batch of frames, and one is kept, as in a job.
HEAP = """
import torch
from pathlib import Path
from magplus.backend_bridge.worker.memory import keep_freed_memory
from magplus.models.pipeline.packed_field import PackedField

keep_freed_memory()

def used():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024

kept, before = [], 0.0
for batch in range(48):
    fields = [torch.ones(1, 1, 1000 + 16 * (number + batch), 1000) for number in range(8)]
    kept.append(PackedField.of(fields[batch % 8][:, :, :260]))
    del fields
    before = before or used()
print(used() - before - sum(each.nbytes for each in kept[1:]) / 2**20)
"""


def motion(shift: float) -> DriverMotion:
    flow = torch.full((3, 2, SIDE, SIDE), shift)
    flow[:, 1, :12] -= torch.linspace(0, 1, SIDE)
    rows = torch.linspace(-1, 1, SIDE)
    depth = 20 - 5 * (rows[:, None] ** 2 + rows**2)[None, None]
    split = split_rigid(Motion(flow, torch.ones_like(flow[:, :1])), depth, torch.ones_like(depth))
    none = torch.zeros_like(flow[:, :1])
    return DriverMotion(Motion(split.local, none + 1), split.rigid, none, none, none, none, split.head)


def test_what_is_kept_is_what_was_measured() -> None:
    measured = motion(0.7)
    packed = measured.packed()
    kept = packed.unpacked()
    for name, array in measured.arrays().items():
        assert (kept.arrays()[name] == array).all(), name
    of_the_head = packed.nbytes - packed.flow.nbytes - packed.confidence.nbytes
    assert of_the_head < 1000, "the head's motion is kept as what it is computed from"
    again = kept.packed().unpacked()
    assert (again.rigid == measured.rigid).all()


def test_no_more_is_kept_of_a_longer_clip() -> None:
    store = MotionStore[DriverMotion](DriverMotion.packed, most_bytes=2 * motion(0.0).packed().nbytes)
    measured = []

    def measure(shift: float) -> DriverMotion:
        measured.append(shift)
        return motion(shift)

    for number in range(6):
        store.get(f"{number}", lambda number=number: measure(number / 4))
    assert len(measured) == 6
    store.get("5", lambda: measure(0.0))
    assert len(measured) == 6, "the last is known"
    store.get("0", lambda: measure(0.0))
    assert len(measured) == 7, "the first had to go"


def test_what_nothing_identifies_is_measured_each_time() -> None:
    store = MotionStore[DriverMotion](DriverMotion.packed)
    first, second = (store.get(None, lambda shift=shift: motion(shift)) for shift in (0.5, 0.7))
    assert (first.total != second.total).any()


def test_a_field_of_one_value_is_held_as_that_value() -> None:
    even = without_repeats(torch.ones(8, 1, SIDE, SIDE))
    assert even.untyped_storage().nbytes() == 4 and (even == 1).all()
    uneven = torch.eye(SIDE).expand(1, 1, -1, -1)
    assert without_repeats(uneven) is uneven


@pytest.mark.skipif(sys.platform != "linux", reason="how memory is kept is set for glibc alone")
def test_what_is_kept_leaves_no_gaps_in_the_heap() -> None:
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    more = subprocess.run([sys.executable, "-c", HEAP], env=found, capture_output=True, text=True, check=True).stdout
    assert float(more) < 200, "MiB besides what is kept; 50 to 130, in the heap 400"
