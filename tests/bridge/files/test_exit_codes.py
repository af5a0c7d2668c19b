# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that a farm is set up by says what the code does."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from magplus.backend_bridge.files.disk import disk_error
from magplus.backend_bridge.files.errors import ExitCode, InputError, InUseError, MachineError, error_of
from magplus.backend_bridge.worker.failures import explain

PAGE = Path(__file__).parents[3] / "docs" / "exit-codes.md"


def test_the_page_lists_the_codes_as_they_are() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (.+?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == [(str(code.value), code.name, code.meaning) for code in ExitCode]


def test_the_codes_stay_what_they_are() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        **{"OK": 0, "INTERNAL": 1, "BAD_INPUT": 2, "MACHINE": 3, "CANCELLED": 4, "IN_USE": 5, "NOT_GOOD": 6}
    }


NO_ERRORS = (ExitCode.OK, ExitCode.INTERNAL, ExitCode.NOT_GOOD)  # a result, a fault of ours, a result to be looked at


@pytest.mark.parametrize("code", [code for code in ExitCode if code not in NO_ERRORS])
def test_an_error_comes_back_from_its_code(code: ExitCode) -> None:
    assert error_of(code).exit_code == code


@pytest.mark.parametrize(
    ("number", "reading", "kind", "words"),
    [
        (errno.EACCES, True, InputError, "can't be read"),
        (errno.EACCES, False, InputError, "can't be written to"),
        (errno.EROFS, False, InputError, "can't be written to"),
        (errno.ENOSPC, False, MachineError, "is full"),
        (errno.ENOENT, False, MachineError, "is gone"),
        (errno.EIO, True, MachineError, "reports an error"),
    ],
)
def test_what_a_disk_says_has_its_sentence_and_its_code(
    tmp_path: Path, number: int, reading: bool, kind: type[Exception], words: str
) -> None:
    error = disk_error(OSError(number, "said the system"), tmp_path / "report.json", reading=reading)
    assert isinstance(error, kind) and words in str(error)


def test_a_job_folder_that_vanished_is_the_machines_whatever_was_missed_first(tmp_path: Path) -> None:
    vanished = tmp_path / "gone.magplus"
    for first in (FileNotFoundError(2, "No such file"), InputError("The picture can't be read."), ValueError("x")):
        assert explain(first, vanished).exit_code == ExitCode.MACHINE
    assert explain(InUseError("in use"), tmp_path).exit_code == ExitCode.IN_USE
