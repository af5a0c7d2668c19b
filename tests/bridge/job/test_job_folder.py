# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magplus.backend_bridge.files.errors import InputError, InUseError, MachineError
from magplus.backend_bridge.files.hashing import fingerprint_of
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.artefacts import FRAME_KINDS, FRAMES, MAGNIFIED, SCENE_KINDS, SHOT_EXR, FrameKind
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import FramesReport, Report, RestorationReport, Timing
from magplus.backend_bridge.job.spec import JobSpec

CHECKOUT = Path(__file__).parents[3] / "checkout"
OrdinaryUser = Callable[[Path], AbstractContextManager[None]]


def contents(folder: JobFolder) -> set[str]:
    return {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file()}


def test_a_spec_survives_the_way_through_the_folder(folder: JobFolder, spec: JobSpec) -> None:
    assert JobFolder.open(folder.path).read_spec() == spec


def test_a_folder_is_made_with_its_parents_and_reopened_with_its_results(tmp_path: Path, spec: JobSpec) -> None:
    path = tmp_path / "film" / "shot 7" / "brow.magplus"
    first = JobFolder.create(path)
    first.write_spec(spec)
    first.commit("frames/000001.png", b"one", "a")
    assert JobFolder.create(path).finished("frames/000001.png", "a")


def test_a_folder_with_somebody_elses_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="holds other files"):
        JobFolder.create(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is held can't be removed there")
def test_a_folder_in_which_nothing_came_about_is_removed_and_another_is_not(tmp_path: Path) -> None:
    folder = JobFolder.create(tmp_path / "shot.magplus")
    with folder.lock():
        folder.remove_unused()
    assert not folder.path.exists()
    for unit in ("job.json", "avatar/avatar.png", "a person's.txt"):
        folder = JobFolder.create(tmp_path / "shot.magplus")
        (folder.path / unit).write_text("kept")
        with folder.lock():
            folder.remove_unused()
        assert (folder.path / unit).read_text() == "kept" and (folder.path / artefacts.LOCK).exists()
        (folder.path / unit).unlink()


def test_what_is_no_job_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no job folder"):
        JobFolder.open(tmp_path / "missing.magplus")
    with pytest.raises(InputError, match=r"no job\.json"):
        JobFolder.open(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError):
        JobFolder.create(tmp_path / "file" / "shot.magplus")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"null", b"[]", b"\xff\xfe\x00", b'{"schema": 1}', b'{"schema": 1, "driving": 5, "avatar": {}}'],
)
def test_a_damaged_job_is_an_input_error(folder: JobFolder, text: bytes) -> None:
    folder.spec_path.write_bytes(text)
    with pytest.raises(InputError, match="capture the avatar again"):
        folder.read_spec()


def test_a_job_of_a_newer_version_says_so(folder: JobFolder) -> None:
    data = json.loads(folder.spec_path.read_bytes()) | {"schema": 99}
    folder.spec_path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="format 99"):
        folder.read_spec()


def test_a_finished_unit_needs_journal_fingerprint_and_bytes_to_agree(folder: JobFolder) -> None:
    frame = folder.path / "frames" / "000001.png"
    assert not folder.finished("frames/000001.png", "a")
    folder.commit("frames/000001.png", b"pixels", "a")
    assert folder.finished("frames/000001.png", "a")
    assert not folder.finished("frames/000001.png", "b"), "made from other inputs"
    frame.write_bytes(b"pixelz")
    assert not folder.finished("frames/000001.png", "a"), "same size, other bytes"
    frame.unlink()
    assert not folder.finished("frames/000001.png", "a"), "gone"


def test_a_file_without_a_journal_line_is_not_finished(folder: JobFolder) -> None:
    folder.write("frames/000001.png", b"pixels")
    assert not folder.finished("frames/000001.png", "a")


def test_a_unit_made_again_counts_with_its_last_line(folder: JobFolder) -> None:
    folder.commit("frames/000001.png", b"first", "a")
    folder.commit("frames/000001.png", b"second", "b")
    again = JobFolder.open(folder.path)
    assert again.finished("frames/000001.png", "b")
    assert not again.finished("frames/000001.png", "a")


def test_another_process_sees_units_as_they_are_finished(folder: JobFolder) -> None:
    reader = JobFolder.open(folder.path)
    for name in ("frames/000001.png", "frames/000002.png"):
        assert not reader.finished(name, "a")
        folder.commit(name, b"pixels", "a")
        assert reader.finished(name, "a")


@settings(deadline=None)  # the disk is slow at times
@given(cut=st.integers(min_value=1, max_value=200))
def test_a_journal_cut_short_by_a_crash_loses_one_unit_at_most(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = JobFolder.create(tmp_path_factory.mktemp("job") / "shot.magplus")
    folder.commit("frames/000001.png", b"one", "a")
    whole = (folder.path / "journal.jsonl").read_bytes()
    folder.commit("frames/000002.png", b"two", "a")
    crashed = (folder.path / "journal.jsonl").read_bytes()[: len(whole) + cut]
    (folder.path / "journal.jsonl").write_bytes(crashed)
    resumed = JobFolder(folder.path)
    assert resumed.finished("frames/000001.png", "a")
    resumed.commit("frames/000003.png", b"three", "a")
    assert JobFolder(folder.path).finished("frames/000003.png", "a"), "the cut line must not swallow the next one"


@settings(deadline=None)
@given(
    units=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="/\\:\0"), min_size=1, max_size=40).filter(
            lambda name: name.strip(". ") != "" and not name.startswith(".")
        ),
        st.tuples(st.binary(max_size=64), st.text(max_size=20)),
        max_size=5,
    )
)
def test_every_committed_unit_is_finished_for_whoever_opens_the_folder_next(
    tmp_path_factory: pytest.TempPathFactory, units: dict[str, tuple[bytes, str]]
) -> None:
    folder = JobFolder.create(tmp_path_factory.mktemp("job") / "shot.magplus")
    for name, (data, fingerprint) in units.items():
        folder.commit(f"frames/{name}", data, fingerprint)
    again = JobFolder(folder.path)
    for name, (data, fingerprint) in units.items():
        assert again.finished(f"frames/{name}", fingerprint)
        assert (folder.path / "frames" / name).read_bytes() == data


@pytest.mark.parametrize("relative", ["../escape", "/etc/passwd", "frames/../../x", "", "C:/x"])
def test_no_file_is_written_outside_the_folder(folder: JobFolder, relative: str) -> None:
    with pytest.raises(ValueError, match="not a path inside"):
        folder.write(relative, b"")


def test_a_longer_run_before_leaves_no_frames_behind(folder: JobFolder) -> None:
    for number in range(1, 5):
        folder.commit(f"frames/{number:06d}.png", b"x", "a")
    (folder.path / "frames" / "000005.png").write_bytes(b"the user's own")
    folder.keep_only(FRAMES, 2)
    assert sorted(entry.name for entry in (folder.path / "frames").iterdir()) == [
        "000001.png",
        "000002.png",
        "000005.png",
    ]
    folder.keep_only(FRAMES, 1, first=1)
    assert sorted(entry.name for entry in (folder.path / "frames").iterdir()) == ["000002.png", "000005.png"]
    folder.keep_only(MAGNIFIED, 0)  # a subfolder that was never made is no error


@pytest.mark.parametrize("kind", (*FRAME_KINDS, *SCENE_KINDS))
@given(index=st.integers(0, 10**7))
def test_the_files_of_a_kind_are_recognised_by_their_names(kind: FrameKind, index: int) -> None:
    assert kind.index_of(kind.unit(index)) == index
    others = (f"../{kind.unit(index)}", f"{kind.folder}/x{index}", f"{kind.folder}/{index}", f"{kind.unit(index)}.png")
    assert [kind.index_of(other) for other in others] == [None] * 4


def test_every_kind_of_frame_file_is_in_the_table_that_clearing_up_goes_by() -> None:
    kinds = {value for value in vars(artefacts).values() if isinstance(value, FrameKind)}
    assert kinds == {*FRAME_KINDS, *SCENE_KINDS} and not {*FRAME_KINDS} & {*SCENE_KINDS}
    assert len({kind.folder for kind in kinds - {SHOT_EXR}}) == len(kinds) - 1  # the shot is PNG or EXR


def test_reports_take_what_the_pipeline_measures(folder: JobFolder) -> None:
    folder.write_report(
        Report(
            "finished",
            timing=Timing((Fraction(0), Fraction(1001, 24000)), Fraction(24000, 1001)),
            restoration=RestorationReport(1.0, np.float32(0.25), 1.0, float("nan")),
            frames=FramesReport(FRAMES.pattern, 1, 2, np.array([640, 360])),
            warnings=("The face was lost.",),
        )
    )
    written = json.loads(folder.report_path.read_bytes())
    assert written["timing"]["seconds"] == ["0", "1001/24000"] and written["timing"]["rate"] == "24000/1001"
    read = folder.read_report()
    assert read.restoration == RestorationReport(1.0, 0.25, 1.0, None), "JSON has no word for what is no number"
    assert read.frames == FramesReport("frames/%06d.png", 1, 2, (640, 360))
    assert read.timing == Timing((Fraction(0), Fraction(1001, 24000)), Fraction(24000, 1001))
    assert read.error is None and read.warnings == ("The face was lost.",)


def test_a_missing_or_damaged_report_is_a_sentence(folder: JobFolder) -> None:
    with pytest.raises(InputError, match="no report yet"):
        folder.read_report()
    for damaged in (b'{"status": "fin', b"[]", b'{"schema": 2}', b'{"schema": 2, "status": "done"}'):
        folder.report_path.write_bytes(damaged)
        with pytest.raises(InputError, match="run the job again"):
            folder.read_report()


def test_fingerprints_depend_on_content_not_on_order() -> None:
    assert fingerprint_of({"a": 1, "b": 2}, "x") == fingerprint_of({"b": 2, "a": 1}, "x")
    assert fingerprint_of("a", "b") != fingerprint_of("ab")
    assert fingerprint_of(None) != fingerprint_of()


@pytest.mark.parametrize("name", ["Grüße 表情 😀", "name with\nnewline", "n" * 200])
def test_unusual_names_work(tmp_path: Path, spec: JobSpec, name: str) -> None:
    folder = JobFolder.create(tmp_path / f"{name}.magplus")
    folder.write_spec(spec)
    folder.commit("frames/000001.png", b"pixels", "a")
    assert JobFolder.open(folder.path).finished("frames/000001.png", "a")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_a_driving_video_whose_name_is_not_unicode_is_found_again(folder: JobFolder) -> None:
    path = os.fsdecode(b"/videos/caf\xe9.mp4")
    spec = folder.read_spec()
    folder.write_spec(replace(spec, driving=replace(spec.driving, path=path)))
    assert folder.read_spec().driving.path == path


def test_a_deep_path_works_and_an_impossible_one_is_a_sentence(tmp_path: Path, spec: JobSpec) -> None:
    deep = tmp_path.joinpath(*["folder with a long name" * 4] * 20, "shot.magplus")
    folder = JobFolder.create(deep)
    folder.write_spec(spec)
    assert JobFolder.open(deep).read_spec() == spec
    with pytest.raises(InputError, match="shorter"):
        JobFolder.create(tmp_path / ("n" * 300))


def test_a_read_only_place_is_an_input_error(tmp_path: Path, as_ordinary_user: OrdinaryUser) -> None:
    place = tmp_path / "archive"
    place.mkdir(mode=0o555)
    with as_ordinary_user(place), pytest.raises(InputError, match="can't be written"):
        JobFolder.create(place / "shot.magplus")


def test_a_folder_that_became_read_only_is_an_input_error(folder: JobFolder, as_ordinary_user: OrdinaryUser) -> None:
    folder.path.chmod(0o555)
    with as_ordinary_user(folder.path):
        with pytest.raises(InputError, match="can't be written"):
            folder.write("weights.csv", b"")
        with pytest.raises(InputError, match="can't be written"), folder.lock():
            pass
    folder.path.chmod(0o755)


def test_a_full_disk_loses_nothing_finished_and_leaves_no_half_file(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.commit("frames/000001.png", b"one", "a")
    before = contents(folder)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(MachineError, match="full; free some space"):
            folder.commit("frames/000002.png", b"two", "a")
        with pytest.raises(MachineError, match="full"):
            folder.commit("frames/000001.png", b"changed", "b")
    assert contents(folder) == before
    assert JobFolder.open(folder.path).finished("frames/000001.png", "a")
    folder.commit("frames/000002.png", b"two", "a")
    assert JobFolder.open(folder.path).finished("frames/000002.png", "a")


TINY_DISK = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from magplus.backend_bridge.files.errors import MachineError
from magplus.backend_bridge.job.folder import JobFolder
folder = JobFolder.create(Path(sys.argv[2]) / "shot.magplus")
folder.commit("frames/000001.png", bytes(10_000), "a")
try:
    folder.commit("frames/000002.png", bytes(100_000), "a")
except MachineError as error:
    print(error)
print(folder.finished("frames/000001.png", "a"), sorted(entry.name for entry in (folder.path / "frames").iterdir()))
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a tiny disk needs root on Linux")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=64k tmpfs "$3" && exec "$0" -c "$1" "$2" "$3"'
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, sys.executable, TINY_DISK, str(CHECKOUT), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount" in run.stderr:
        pytest.skip("this machine forbids mounting")
    assert run.stdout == (
        f"The disk that holds {tmp_path}/shot.magplus/frames is full; free some space and run the job again: "
        "finished frames are kept.\nTrue ['000001.png']\n"
    )


HOLDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from magplus.backend_bridge.job.folder import JobFolder
with JobFolder(Path(sys.argv[2])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_keeps_a_second_run_out_until_its_holder_dies(folder: JobFolder) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(CHECKOUT), str(folder.path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InUseError, match=f"process {holder.pid}"), folder.lock():
            pass
        holder.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        holder.wait()
    with folder.lock():
        pass


def test_the_lock_also_keeps_out_a_second_run_of_the_same_process(folder: JobFolder) -> None:
    with folder.lock(), pytest.raises(InUseError, match="in use"), JobFolder.open(folder.path).lock():
        pass
    with folder.lock():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="locks otherwise")
def test_a_share_without_locks_is_the_machines_and_says_what_to_do(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(MachineError, match=r"No locks available.*local disk.*local_lock=flock"), folder.lock():
        pass


def test_taking_the_lock_clears_what_killed_runs_left(folder: JobFolder) -> None:
    folder.commit("frames/000001.png", b"one", "a")
    (folder.path / "frames" / ".writing-4711-1").write_bytes(b"half a fra")
    (folder.path / "frames" / ".writing-down-my-notes").write_bytes(b"mine")
    with folder.lock():
        assert sorted(entry.name for entry in (folder.path / "frames").iterdir()) == [
            ".writing-down-my-notes",
            "000001.png",
        ]
