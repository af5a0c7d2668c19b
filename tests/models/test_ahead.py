# SPDX-License-Identifier: GPL-3.0-or-later
"""Making things in another thread while those before them are worked on."""

import gc
import threading
import time
import weakref
from contextlib import closing, suppress

import pytest

from magplus.models.ahead import Ahead, ahead


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "magplus-ahead"]


@pytest.mark.parametrize("count", [1, 3, 100])
def test_everything_comes_in_its_order(count):
    assert list(ahead(ahead(range(50), count), count)) == list(range(50))
    assert not threads()


def test_no_more_is_made_than_was_asked_for():
    made = []
    items = ahead((made.append(number) for number in range(20)), 2)
    for taken, _ in enumerate(items, start=1):
        time.sleep(0.005)
        assert len(made) <= taken + 2


def test_the_first_is_made_before_anybody_asks_and_closing_ends_the_thread():
    made = threading.Event()

    def items():
        made.set()
        yield from range(10)

    with closing(Ahead(items())) as begun:
        assert made.wait(10)
        assert next(begun) == 0
    assert list(begun) == [] and not threads()


def test_an_error_comes_where_the_item_would():
    def items():
        yield 1
        raise ValueError("the second can't be made")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second"):
        next(found)
    assert not threads()


def test_whoever_stops_asking_ends_the_thread_and_what_it_has_open():
    closed = []

    def items():
        try:
            yield from range(100)
        finally:
            closed.append(threading.current_thread().name)

    for number in ahead(items()):
        if number == 3:
            break
    assert closed == ["magplus-ahead"] and not threads()


def test_an_iterable_that_can_not_be_opened_is_an_error_and_no_wait():
    class Missing:
        def __iter__(self):
            raise FileNotFoundError("it is gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        next(ahead(Missing()))
    assert not threads()


def test_an_error_of_the_consumer_ends_the_thread_although_its_traceback_is_kept():
    with pytest.raises(ZeroDivisionError) as kept, closing(ahead(range(100))) as items:
        for number in items:
            1 / number
    assert kept.tb is not None and not threads()


def test_an_error_that_was_handled_keeps_nothing():
    class Tensor:
        pass

    held = []

    def items():
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        raise MemoryError
        yield tensor

    gc.disable()
    try:
        with suppress(MemoryError):
            next(ahead(items()))
        assert held[0]() is None  # at once: its memory is given back before the job goes on on the CPU
    finally:
        gc.enable()
