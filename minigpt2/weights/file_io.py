"""Reading and writing at a place of a file, for many threads and processes at once.

POSIX has a call for each, with a position of its own; a descriptor's own position is shared by threads, and by a forked
process too. Windows has neither these calls nor forks: there a lock does.
"""

import os
import weakref
from pathlib import Path
from threading import Lock
from typing import Any

_POSITION = Lock()


def opened(owner: object, path: Path, flags: int) -> int:
    """A descriptor of a file, closed when its owner goes."""
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    weakref.finalize(owner, os.close, descriptor)
    return descriptor


def read_at(descriptor: int, size: int, place: int) -> bytes:
    """Up to `size` bytes from `place` on; fewer where the file ends."""
    data = bytearray(size)
    return bytes(memoryview(data)[: read_into(descriptor, data, place)])


def read_into(descriptor: int, buffer: Any, place: int) -> int:
    """Fill a buffer with the bytes from `place` on, and return how many there were: fewer where the file ends."""
    left = memoryview(buffer).cast("B")
    while left and (count := _read_some(descriptor, left, place)):
        left, place = left[count:], place + count
    return memoryview(buffer).nbytes - len(left)


def write_at(descriptor: int, data: bytes, place: int) -> None:
    """Write all of the data at `place`.

    Raises:
        OSError: the disk takes no more of it.
    """
    left = memoryview(data)
    while left:
        count = _write_some(descriptor, left, place)
        left, place = left[count:], place + count


def _read_some(descriptor: int, buffer: memoryview, place: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [buffer], place)
    with _POSITION:
        os.lseek(descriptor, place, os.SEEK_SET)
        data = os.read(descriptor, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _write_some(descriptor: int, data: memoryview, place: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, place)
    with _POSITION:
        os.lseek(descriptor, place, os.SEEK_SET)
        return os.write(descriptor, data)
