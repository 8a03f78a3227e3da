"""Standard input: read to its end, and not written over."""

import io
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO, cast

from minigpt2.atomic_write import leads_to


def waiting(stream: BinaryIO) -> io.BufferedReader:
    """A file over `sys.stdin.buffer` whose reads block until there is data or the input ends.

    Another process that shares the pipe or terminal can make it non-blocking. Python then takes a moment without data
    for the end of the input.
    """
    if isinstance(stream, io.BufferedReader):
        return io.BufferedReader(_Waiting(stream))
    return cast(io.BufferedReader, stream)  # a program has put another object there


class _Waiting(io.RawIOBase):
    def __init__(self, stream: io.BufferedReader):
        self._stream = stream

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def readinto(self, buffer: Any) -> int:
        while (count := self._stream.readinto1(buffer)) is None:
            select.select([self._stream], [], [])
        return int(count)


def is_standard_input(path: Path) -> bool:
    """Whether standard input is the file at this path, as in `minigpt2 tokenize - < FILE`, or a hard link to it."""
    with suppress(OSError, ValueError, AttributeError):  # it is closed, or not a file
        return S_ISREG(os.fstat(sys.stdin.fileno()).st_mode) and leads_to(path, sys.stdin.fileno())
    return False
