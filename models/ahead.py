# SPDX-License-Identifier: GPL-3.0-or-later
"""A bounded producer thread: the next items are made while those before them are worked on."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Iterator[T], Generic[T]):
    """`items` in their order, of which up to `count` are made in another thread before they are asked for.

    The thread begins at once. No more than `count` are made before they are asked for, so memory stays bounded. What
    making one raises is raised where it would be asked for. When the iteration has ended or is closed, so has the
    thread: it makes the item that it is at, and no other. PyTorch, OpenCV and FFmpeg let other threads run meanwhile.
    """

    def __init__(self, items: Iterable[T], count: int = 1) -> None:
        self._made: SimpleQueue[list[T] | BaseException | None] = SimpleQueue()
        self._room = threading.Semaphore(count)
        self._abandoned = threading.Event()
        iterator = iter(items)
        arguments = (iterator, self._made, self._room, self._abandoned)
        self._thread = threading.Thread(target=_make, args=arguments, name="magplus-ahead", daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        item = None if self._abandoned.is_set() else self._made.get()
        if item is None:
            self.close()
            raise StopIteration
        if isinstance(item, BaseException):
            self.close()
            try:
                raise item
            finally:
                del item  # or its traceback would hold it, and what the makers held, until a garbage collection
        self._room.release()
        return item.pop()  # kept by whoever asked for it, and not here until there is another

    def close(self) -> None:
        """End the thread and what it has open; nothing more is given."""
        self._abandoned.set()
        self._room.release()
        self._thread.join()


def ahead(items: Iterable[T], count: int = 1) -> Generator[T, None, None]:
    """Yield what `Ahead` gives, from the first time that it is asked for one.

    An iteration that may be left early is closed by whoever leaves it (`contextlib.closing`), as a traceback would keep
    it.
    """
    with closing(Ahead(items, count)) as made:
        yield from made


def _make(
    iterator: Iterator[T],
    made: SimpleQueue[list[T] | BaseException | None],
    room: threading.Semaphore,
    abandoned: threading.Event,
) -> None:
    """Make items as long as there is room for them."""
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
