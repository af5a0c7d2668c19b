# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magplus.backend_bridge.worker_client import messages
from magplus.backend_bridge.worker_client.messages import Error, Hello, Message, Progress, Start, decode, encode

kinds = [messages.Start, messages.Cancel, messages.Hello, messages.Progress, messages.JobWarning]
kinds += [messages.Result, messages.Cancelled, messages.Error, messages.Exit]
any_message = st.one_of(st.from_type(kind) for kind in kinds)


@given(any_message)
def test_every_message_survives_the_way_through_the_pipe(message: Message) -> None:
    line = encode(message)
    assert decode(line) == message
    assert line.endswith(b"\n") and line.count(b"\n") == 1, "one message, one line"
    assert line.isascii()


@given(st.binary())
def test_no_garbage_is_taken_for_a_message(line: bytes) -> None:
    try:
        message = decode(line)
    except ValueError:
        return
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"Downloading model: 100%",
        b'{"type": "telepathy"}',
        b'{"type": ["progress"]}',
        b'{"type": "progress", "stage": "magnify", "done": 1}',
        b'{"type": "progress", "stage": "magnify", "done": "1", "total": 2}',
        b'{"type": "progress", "stage": "magnify", "done": true, "total": 2}',
        b'{"type": "progress", "stage": "magnify", "done": 1, "total": 2, "extra": 3}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


def test_messages_look_as_documented() -> None:
    assert encode(Progress("magnify", 3, 12)) == b'{"type": "progress", "stage": "magnify", "done": 3, "total": 12}\n'
    start = b'{"type": "start", "folder": "/filme/Gr\\u00fc\\u00dfe", "order": "5feceb66"}\n'
    assert encode(Start("/filme/Grüße", "5feceb66")) == start
    assert decode(encode(Hello(1, "3.11.7"))) == Hello(1, "3.11.7", messages.PROTOCOL)


def test_an_error_reads_as_a_sentence_and_a_place() -> None:
    assert Error(3, "The disk is full.", "/job/worker.log").text == "The disk is full. The log is /job/worker.log."
