# SPDX-License-Identifier: GPL-3.0-or-later
"""A bounded producer thread: the next items are made while those before them are worked on."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], count: int = 1) -> Generator[T, None, None]:
    """Yield `items` in their order, while up to `count` further ones are made in another thread.

    No more than that are made before they are asked for, so memory stays bounded. What making one raises is raised
    where it would be asked for. When the iteration ends or is closed, so has the thread: it makes the item that it is
    at, and no other. An iteration that may be left early is closed by whoever leaves it (`contextlib.closing`), as a
    traceback would keep it. PyTorch, OpenCV and FFmpeg let other threads run meanwhile.
    """
    iterator = iter(items)
    made: SimpleQueue[list[T] | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(count)
    abandoned = threading.Event()

    def make() -> None:
        try:
            while True:
                room.acquire()
                if abandoned.is_set():
                    break
                made.put([next(iterator)])
        except StopIteration:
            made.put(None)
        except BaseException as error:
            made.put(error)
        finally:
            if close := getattr(iterator, "close", None):
                close()

    thread = threading.Thread(target=make, name="magplus-ahead", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                try:
                    raise item
                finally:
                    del item  # or its traceback would hold it, and what the makers held, until a garbage collection
            room.release()
            yield item.pop()  # kept by whoever asked for it, and not here until there is another
    finally:
        abandoned.set()
        room.release()
        thread.join()
