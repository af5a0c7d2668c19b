# SPDX-License-Identifier: GPL-3.0-or-later
"""What jobs of one worker share: measured once for the same content, within bounds."""

import errno
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from magplus.backend_bridge.files.arrays import checked
from magplus.backend_bridge.files.errors import CancelledError, InputError
from magplus.backend_bridge.files.plain import NotPlainError
from magplus.backend_bridge.files.whole import TEMPORARY
from magplus.backend_bridge.job.spec import Driving
from magplus.backend_bridge.rig.footage import Untrusted
from magplus.models.backends import Framing
from magplus.models.face import FaceTrack, Reference, SteadyCrop
from magplus.models.face.similarity import Similarity
from magplus.models.face.wobble import Wobble
from magplus.models.pipeline import clip_cache, shared_measurements
from magplus.models.pipeline.clip_cache import ClipCache
from magplus.models.pipeline.clip_request import ClipRequest
from magplus.models.pipeline.kept_clip import KeptClip
from magplus.models.pipeline.motion_store import MotionStore
from magplus.models.pipeline.shared_measurements import Codec, SharedMeasurements
from magplus.models.video import reader
from tests.models.clips import numbered_frames, write_clip

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Found:
    number: int
    nbytes: int = 40

    def unpacked(self):
        return self


def test_the_same_frames_are_measured_once_and_the_oldest_go_first():
    store, asked = MotionStore(lambda found: found, 100), []

    def get(value, weights="a"):
        def measure():
            asked.append(value)
            return Found(value)

        return store.get(f"{value} {weights}", measure).number

    assert [get(1), get(1), get(2), get(1), get(3), get(1), get(2)] == [1, 1, 2, 1, 3, 1, 2]
    assert asked == [1, 2, 3, 2], "two fit; the one that was used longest ago had gone"
    get(2, "other weights")
    assert asked[-1] == 2 and len(asked) == 5
    assert store.get("0", lambda: Found(9, 1000)).number == 9, "what never fits is not kept"


class Silent:
    def __init__(self):
        self.warnings = []

    def warning(self, text):
        if text not in self.warnings:  # as a run's notes do
            self.warnings.append(text)


@pytest.fixture
def opened(monkeypatch):
    """How often a clip was really opened; each time it warns."""
    times = []

    def open_clip(request, landmarker, notes):
        times.append(request)
        notes.warning("Something to know.")
        return object()

    monkeypatch.setattr(clip_cache, "open_clip", open_clip)
    return times


def test_a_clip_is_known_by_its_content_and_what_was_asked_of_it(tmp_path, opened):
    path, cache = write_clip(tmp_path / "a.mp4", numbered_frames(4)), ClipCache()

    def ask(**changes):
        notes = Silent()
        driving = Driving(**({"path": str(path)} | changes))
        return cache.open(ClipRequest.of(tmp_path, driving, None, Framing()), None, notes), notes.warnings

    first, warnings = ask()
    again, warnings_again = ask()
    assert first is again and warnings == warnings_again == ["Something to know."] and len(opened) == 1
    assert ask(trim=(0.0, 0.1))[0] is not first and ask(reference=0.04)[0] is not first
    write_clip(path, numbered_frames(5))
    assert ask()[0] is not first, "another clip under the same name"


def test_a_file_that_is_replaced_while_it_is_measured_is_not_kept(tmp_path, opened, monkeypatch):
    path, cache = write_clip(tmp_path / "a.mp4", numbered_frames(4)), ClipCache()
    open_clip = clip_cache.open_clip

    def replaced_meanwhile(*arguments):
        write_clip(path, numbered_frames(6))
        return open_clip(*arguments)

    monkeypatch.setattr(clip_cache, "open_clip", replaced_meanwhile)
    cache.open(ClipRequest.of(tmp_path, Driving(str(path)), None, Framing()), None, Silent())
    monkeypatch.setattr(clip_cache, "open_clip", open_clip)
    write_clip(path, numbered_frames(4))
    cache.open(ClipRequest.of(tmp_path, Driving(str(path)), None, Framing()), None, Silent())
    assert len(opened) == 2, "what was measured was of neither file for certain"


def test_a_clip_is_hashed_once_a_job(tmp_path, opened, monkeypatch):
    path, hashed = write_clip(tmp_path / "a.mp4", numbered_frames(4)), []
    monkeypatch.setattr(reader, "hash_file", lambda file: hashed.append(file) or "a hash")
    for cache in [ClipCache()] * 2:
        video = reader.VideoReader(path)
        assert video.sha256 == "a hash"  # for what a finished job was made from
        cache.open(ClipRequest.of(tmp_path, Driving(str(path)), None, Framing(), video), None, Silent())
    assert hashed == [path] * 2 and len(opened) == 1


def test_of_a_clip_that_is_known_no_second_file_stays_open(tmp_path, opened, monkeypatch):
    path, cache, containers, open_container = (
        write_clip(tmp_path / "a.mp4", numbered_frames(4)),
        ClipCache(),
        [],
        av.open,
    )

    def noted(*arguments, **options):
        containers.append(open_container(*arguments, **options))
        return containers[-1]

    monkeypatch.setattr(av, "open", noted)
    videos = [reader.VideoReader(path) for _ in range(2)]
    for video in videos:
        cache.open(ClipRequest.of(tmp_path, Driving(str(path)), None, Framing(), video), None, Silent())
    assert len(opened) == 1
    with pytest.raises(AssertionError, match="not open"):
        containers[-1].seek(0)  # of the video that was only described


def test_only_the_last_few_clips_are_kept(tmp_path, opened):
    path, cache = write_clip(tmp_path / "a.mp4", numbered_frames(4)), ClipCache()
    for index in [*range(clip_cache.MOST_CLIPS + 1), 0]:
        cache.open(ClipRequest.of(tmp_path, Driving(str(path), face_index=index), None, Framing()), None, Silent())
    assert len(opened) == clip_cache.MOST_CLIPS + 2


def numbers(value=1.0, size=10):
    return {"a": np.full(size, value)}


PLAIN = Codec(encode=lambda arrays: arrays, decode=lambda arrays: {"a": checked(arrays, "a", "f", (10,))})


def shared_in(folder, **changes):
    """Give what a worker has that shares measurements, and how often it has measured."""
    shared, times = SharedMeasurements(folder, **({"made_by": "this code"} | changes)), []

    def get(key, value=1.0, wait=0.0):
        def measure():
            times.append(key)
            time.sleep(wait)
            return numbers(value)

        return float(shared.get("motion", key, measure, PLAIN)["a"][0])

    return get, times


def test_what_one_worker_has_measured_another_one_reads(tmp_path):
    one, of_one = shared_in(tmp_path / "kept")
    other, of_other = shared_in(tmp_path / "kept")
    newer, of_newer = shared_in(tmp_path / "kept", made_by="other code")
    assert [one("x", 0.1 + 0.2), other("x", 9.0)] == [0.1 + 0.2] * 2 and (of_one, of_other) == (["x"], [])
    assert newer("x", 5.0) == 5.0 and of_newer == ["x"], "other code may measure otherwise"
    shutil.rmtree(tmp_path / "kept")
    assert other("x", 9.0) == 9.0 and of_other == ["x"], "safe to delete"


def test_two_workers_at_once_measure_once(tmp_path):
    one, of_one = shared_in(tmp_path)
    other, of_other = shared_in(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda get: get("x", wait=0.3), (one, other)))
    assert found == [1.0, 1.0] and len(of_one + of_other) == 1


HOLDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from magplus.backend_bridge.files.locks import hold
with hold(Path(sys.argv[2]), "measurements"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_worker_measures(folder):
    """A process that has the locks which stand for each of the folder's measurements."""
    folder.mkdir(exist_ok=True)
    (folder / ".lock-0").touch()
    command = [sys.executable, "-c", HOLDER, str(ROOT / "checkout"), str(folder / ".lock-0")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        yield other
        other.kill()


@pytest.fixture
def one_lock(monkeypatch):
    monkeypatch.setattr(shared_measurements, "LOCKS", 1)


def test_waiting_for_another_worker_is_cancelled_at_once(tmp_path, one_lock):
    shared, asked = SharedMeasurements(tmp_path, "this code"), []

    def cancelled():
        asked.append(time.monotonic())
        if len(asked) == 3:
            raise CancelledError("Cancelled.")

    with another_worker_measures(tmp_path):
        began = time.monotonic()
        with pytest.raises(CancelledError), shared.interruptible(cancelled):
            shared.get("motion", "x", lambda: pytest.fail("measured although it was cancelled"), PLAIN)
        assert time.monotonic() - began < 1 and not list(tmp_path.glob("*.npz"))
    assert shared.get("motion", "x", lambda: numbers(2.0), PLAIN)["a"][0] == 2.0, "and it is as good as before"


def test_a_wait_ends_when_the_other_worker_dies(tmp_path, one_lock):
    get, times = shared_in(tmp_path)
    with another_worker_measures(tmp_path) as other, ThreadPoolExecutor(1) as pool:
        found = pool.submit(get, "x", 4.0)
        time.sleep(0.2)
        assert times == [], "the other one may still be measuring it"
        other.kill()
        assert found.result(timeout=5) == 4.0 and times == ["x"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-20]),
        lambda file: file.write_bytes(file.read_bytes().replace(np.float64(1).tobytes(), np.float64(2).tobytes())),
        lambda file: np.savez(file, a=np.array([{"pickled": 1}], object)),
        lambda file: np.savez(file, a=np.full(10, np.nan)),
        lambda file: np.savez(file, a=np.zeros(11)),
    ],
    ids=["empty", "cut short", "changed", "pickled", "no numbers", "another shape"],
)
def test_what_is_damaged_or_somebody_elses_is_measured_anew(tmp_path, spoil):
    one, _ = shared_in(tmp_path)
    one("x")
    [file] = tmp_path.glob("*.npz")
    spoil(file)
    other, of_other = shared_in(tmp_path)
    assert other("x") == 1.0 and of_other == ["x"]
    again, of_again = shared_in(tmp_path)
    assert again("x") == 1.0 and of_again == [], "and it is whole again"


def test_no_link_is_followed_and_a_full_disk_is_no_reason_to_stop(tmp_path, monkeypatch, capfd):
    one, _ = shared_in(tmp_path / "kept")
    one("x")
    [file] = (tmp_path / "kept").glob("*.npz")
    file.rename(tmp_path / "elsewhere.npz")
    file.symlink_to(tmp_path / "elsewhere.npz")
    with pytest.raises(NotPlainError, match="is a link"):
        one("x")
    (tmp_path / "linked").symlink_to(tmp_path / "kept", target_is_directory=True)
    with pytest.raises(NotPlainError, match="is a link"):
        shared_in(tmp_path / "linked")[0]("y")
    (tmp_path / "file").write_bytes(b"not a folder")
    with pytest.raises(InputError):
        shared_in(tmp_path / "file")[0]("y")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    get, times = shared_in(tmp_path / "full")
    assert [get("y", 3.0), get("y", 4.0)] == [3.0, 4.0] and times == ["y", "y"]
    assert "No space left" in capfd.readouterr().err and not list((tmp_path / "full").glob("*.npz"))


def test_of_a_read_only_folder_what_is_there_is_used(tmp_path, monkeypatch, capfd):
    shared_in(tmp_path)[0]("x", 1.0)

    def protected(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(shared_measurements, "hold", protected)
    get, times = shared_in(tmp_path)
    assert [get("x", 2.0), get("y", 3.0)] == [1.0, 3.0] and times == ["y"]
    assert "can't be written to" in capfd.readouterr().err


def test_the_folder_is_bounded_and_the_longest_unused_go_first(tmp_path):
    shared_in(tmp_path / "one")[0]("x")
    [one] = (tmp_path / "one").glob("*.npz")
    get, times = shared_in(tmp_path, most_bytes=round(3.1 * one.stat().st_size))
    for number, key in enumerate("abc"):
        get(key)
        for file in tmp_path.glob("*.npz"):
            if file.stat().st_mtime > 1000:
                os.utime(file, (number, number))
    get("a")
    get("d")
    assert times == [*"abcd"]
    get("a")
    assert times == [*"abcd"], "it was used lately"
    get("b")
    assert times == [*"abcdb"]


def test_what_a_killed_worker_has_left_goes(tmp_path):
    left, fresh = (tmp_path / f"{TEMPORARY}{name}" for name in ("1-00000000", "2-00000000"))
    left.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(left, (1, 1))
    shared_in(tmp_path)[0]("x")
    assert fresh.exists() and not left.exists()


def a_clip(count=4):
    rng = np.random.default_rng(0)
    seconds = tuple(Fraction(1001 * index, 24000) for index in range(count))
    track = FaceTrack(
        seconds,
        rng.uniform(0, 500, (count, 478, 3)).astype(np.float32),
        rng.uniform(0, 1, (count, 52)).astype(np.float32),
        tuple(f"score {number}" for number in range(52)),
        np.arange(count) != 2,
        (Untrusted(0.08, 0.08, "a flash"),),
        faces=3,
        taken=2,
    )
    maps = [Similarity(1 + rng.normal() / 99, rng.normal() / 99, *rng.normal(size=2)) for _ in range(count + 1)]
    crop = SteadyCrop(tuple(maps[:-1]), maps[-1], "black", Wobble("columns", -3.5, 320.25, rng.normal(size=(count, 9))))
    return KeptClip(("Something to know.",), track, Reference(1, seconds[1], "automatic"), crop, 384, Fraction(7, 3))


def test_a_kept_clip_is_the_same_to_the_last_bit():
    clip = a_clip()
    found = KeptClip.decode(clip.encode())
    for name in ("points", "blendshapes", "present"):
        assert np.array_equal(getattr(found.track, name), getattr(clip.track, name))
    for name in ("seconds", "untrusted", "faces", "taken"):
        assert getattr(found.track, name) == getattr(clip.track, name)
    assert found.crop.wobble is not None and clip.crop.wobble is not None
    for name in ("lines", "low", "high"):
        assert getattr(found.crop.wobble, name) == getattr(clip.crop.wobble, name)
    assert np.array_equal(found.crop.wobble.terms, clip.crop.wobble.terms)
    assert replace(found.crop, wobble=None) == replace(clip.crop, wobble=None)
    assert (found.chosen, found.size, found.resting) == (clip.chosen, clip.size, clip.resting)
    assert found.warnings == clip.warnings


def test_a_clip_has_a_name_of_its_own_by_what_was_measured_of_it():
    clip = a_clip()
    moved = replace(clip.crop, to_reference=clip.crop.to_reference[::-1])
    steady = replace(clip.crop, wobble=None)
    looked_at = replace(clip.track, points=clip.track.points + 1)
    others = [*(replace(clip, crop=crop) for crop in (moved, steady)), replace(clip, track=looked_at)]
    others += [replace(clip, chosen=Reference(3, clip.track.seconds[3], "given")), replace(clip, size=386)]
    assert a_clip().fingerprint == clip.fingerprint
    assert len({each.fingerprint for each in (clip, *others)}) == 1 + len(others)


@pytest.mark.parametrize("name", ["record", "points", "scores", "present", "maps", "wobble"])
def test_arrays_that_no_clip_has_left_are_refused(name):
    arrays = a_clip().encode()
    broken = [arrays[name][: len(arrays[name]) // 2], arrays[name].astype("U8")]
    if name not in ("points", "scores", "wobble"):  # of which zeros are as good as other numbers
        broken.append(np.zeros_like(arrays[name]))
    for array in broken:
        with pytest.raises(ValueError):
            KeptClip.decode(arrays | {name: array})
