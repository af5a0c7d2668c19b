# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender and the worker say to each other: one JSON object a line, ASCII only, over the worker's pipes.

Only control messages travel here; data lives in the job folder. The worker serves one job at a time, so messages need
no job number: everything between a `Start` and the `Result`, `Error` or `Cancelled` that ends it belongs to that job.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..files.typed_json import from_data, to_data

PROTOCOL = 1


@dataclass(frozen=True)
class Start:
    """To the worker: run the job in this folder.

    order: SHA-256 of the job.json that is meant; the job is left alone when another one has taken its place. Empty for
    whichever there is.
    """

    folder: str
    order: str = ""


@dataclass(frozen=True)
class Cancel:
    """To the worker: stop the running job. Without a running job it means nothing."""


@dataclass(frozen=True)
class Hello:
    """From the worker, once, when it is ready to serve."""

    pid: int
    python: str
    protocol: int = PROTOCOL


@dataclass(frozen=True)
class Progress:
    """From the worker: `done` of `total` steps of a stage; `total` is 0 while it is not known."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class JobWarning:
    """From the worker: something a person should know although the job goes on; it is in the report, too."""

    text: str


@dataclass(frozen=True)
class Result:
    """From the worker: the job is finished; `report` is the path of its report.json."""

    report: str


@dataclass(frozen=True)
class Cancelled:
    """The job was stopped because somebody asked for it. What was finished stays in the job folder."""


@dataclass(frozen=True)
class Error:
    """The job failed. `sentence` is for the user, `log` the file that has the details; "" where a job was refused."""

    exit_code: int
    sentence: str
    log: str

    @property
    def text(self) -> str:
        """The sentence, and where to read more, if there is more."""
        return f"{self.sentence} The log is {self.log}." if self.log else self.sentence


@dataclass(frozen=True)
class Exit:
    """The worker's process has ended; `code` as the system gives it (negative: the signal that ended it)."""

    code: int


Message = Start | Cancel | Hello | Progress | JobWarning | Result | Cancelled | Error | Exit
_KINDS: dict[str, type[Message]] = {  # by what they are called on the pipe
    "start": Start,
    "cancel": Cancel,
    "hello": Hello,
    "progress": Progress,
    "warning": JobWarning,
    "result": Result,
    "cancelled": Cancelled,
    "error": Error,
    "exit": Exit,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode(message: Message) -> bytes:
    r"""Return the message as one line, newline included.

    >>> encode(JobWarning("The face is missing at 0.12 s."))
    b'{"type": "warning", "text": "The face is missing at 0.12 s."}\n'
    """
    body = {"type": _NAMES[type(message)], **to_data(message)}
    return json.dumps(body).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of one line. Raises `ValueError` for anything that `encode` did not write."""
    try:
        body = json.loads(line)
        kind = _KINDS[body.pop("type")]
        message: Message = from_data(kind, body)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a message ({error}): {line[:200]!r}") from error
    return message
