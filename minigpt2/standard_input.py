"""Standard input: read to its end, and not written over."""

import io
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from minigpt2.atomic_write import leads_to


def waiting(stream: BinaryIO) -> io.BufferedReader:
    """What `sys.stdin.buffer` still has to give, as a file that waits while there is nothing to read.

    Whoever shares an open pipe or terminal can make it non-blocking. Python then takes "nothing for now" for the end.
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
        return leads_to(path, sys.stdin.fileno())
    return False
