# SPDX-License-Identifier: GPL-3.0-or-later
"""What the C library does with memory that was freed."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

# glibc's `M_...` of these names, see mallopt(3)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX, _LARGEST_FAST = -1, -3, -8, 1
_TUNABLES, _NO_CACHES = "GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"
_KEPT = 256 * 2**20  # bytes of freed memory
_LARGEST = 32 * 2**20  # bytes of a block that comes from it; glibc takes no more


def keep_freed_memory() -> None:
    """Keep freed memory for what is needed next, up to a bound, instead of giving every block back at once.

    Fields of some megabytes come and go all the time. glibc asks the system for them anew, which hands them over page
    by page, zeroed: two thirds of a job's page faults. All threads share what is kept; with an arena for each, a job
    took 190 MiB more. Nor are small blocks kept apart, see `without_thread_caches`. Under other C libraries nothing is
    changed.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # no glibc
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, _LARGEST)
            library.mallopt(_TRIM_THRESHOLD, _KEPT)
            library.mallopt(_ARENA_MAX, 1)
            library.mallopt(_LARGEST_FAST, 0)


def without_thread_caches() -> None:
    """Start the program again, once and in the same process, so that no thread keeps small blocks for itself.

    PyTorch's fields begin at multiples of 64 bytes, for which glibc cuts some bytes off a larger block. While a thread
    keeps those, that block is not whole again when the field is freed, and the next field of this size needs another
    one: 75 MiB of a job of 60 frames. glibc takes this setting only from what a process is started with.
    """
    set_already = os.environ.get(_TUNABLES, "")
    if sys.platform == "linux" and sys.executable and _NO_CACHES not in set_already:
        os.environ[_TUNABLES] = f"{set_already}:{_NO_CACHES}".lstrip(":")
        with suppress(OSError):  # then with the caches
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def give_freed_memory_back() -> None:
    """Give the system what is freed now, also from between what is in use: a worker waits for its next job for hours.

    After a job of 60 frames these are 500 MiB.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
