"""Reading and writing at an offset of a file, from many threads and processes at once.

Threads and forked processes share a descriptor's position, so `preadv` and `pwrite` are given the offset. Windows has
neither call, and no forks: a lock suffices there.
"""

import os
import weakref
from pathlib import Path
from threading import Lock
from typing import Any

_POSITION = Lock()


def opened(owner: object, path: Path, flags: int) -> int:
    """A descriptor of a file, closed when its owner is garbage-collected."""
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    weakref.finalize(owner, os.close, descriptor)
    return descriptor


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """The `size` bytes at `offset`; fewer if the file ends before."""
    data = bytearray(size)
    return bytes(memoryview(data)[: read_into(descriptor, data, offset)])


def read_into(descriptor: int, buffer: Any, offset: int) -> int:
    """Fill a buffer with the bytes at `offset`, and return how many there were: fewer if the file ends before."""
    left = memoryview(buffer).cast("B")
    while left and (count := _read_some(descriptor, left, offset)):
        left, offset = left[count:], offset + count
    return memoryview(buffer).nbytes - len(left)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of the data at `offset`.

    Raises:
        OSError: the disk is full, or fails.
    """
    left = memoryview(data)
    while left:
        count = _write_some(descriptor, left, offset)
        left, offset = left[count:], offset + count


def _read_some(descriptor: int, buffer: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [buffer], offset)
    with _POSITION:
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = os.read(descriptor, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _write_some(descriptor: int, data: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, offset)
    with _POSITION:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)
