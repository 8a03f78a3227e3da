"""Where a text can be cut so that its parts have the tokens of the whole.

Between two documents any text can be cut. Within a document a part must begin where a pretoken begins whatever
stands around it. By the split pattern (see `minigpt2.pretokenize`) a pretoken begins wherever the class of character
changes (letter, number, other, whitespace), except

- after whitespace, whose last character may belong to what follows;
- after an apostrophe, which may open a contraction.

Only a run of characters of one class, such as a line of nothing but letters, has no such index. It stays whole.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import BinaryIO

import numpy as np

from minigpt2.pretokenize import SPACE, character_classes
from minigpt2.vocabulary import ComputedOnce

# How many bytes at the end of a chunk are searched first for an index to cut at.
_TAIL = 1 << 12

# The index at which some bytes can be cut, as late as possible; 0 where they cannot be cut.
Cut = Callable[[bytes], int]


@dataclass(frozen=True)
class Delimiter:
    """The text between two documents: a line end, or some text and one line end after it.

    The text must not overlap itself, so that it is found in any part of a file as in the whole.
    """

    separator: bytes

    def __post_init__(self) -> None:
        text = self.separator
        if not text or text[:1] in b"\r\n" or any(text[k:] == text[:-k] for k in range(1, len(text))):
            raise ValueError(
                f"{text.decode('utf-8', 'replace')!r} cannot separate documents: a separator is some text that does "
                "not begin with a line end and does not begin as it ends, such as '<|endoftext|>'"
            )

    @ComputedOnce
    def _pattern(self) -> re.Pattern[bytes]:
        return re.compile(re.escape(self.separator) + rb"(?:\r?\n)?")

    def documents(self, data: bytes) -> list[tuple[int, bytes]]:
        """The pieces before, between and after the delimiters, each with the offset at which it starts."""
        bounds = [0, *chain.from_iterable(match.span() for match in self._pattern.finditer(data)), len(data)]
        return [(start, data[start:end]) for start, end in zip(bounds[::2], bounds[1::2], strict=True)]

    def last_cut(self, data: bytes) -> int:
        """The end of the last delimiter that is certainly whole, or else the last sure start of a pretoken."""
        end, unsure = self._last_end(data)
        return self._sure(end or last_sure_start(data[:unsure]))

    def last_end(self, data: bytes) -> int:
        """The end of the last delimiter that is certainly whole; 0 where there is none."""
        return self._sure(self._last_end(data)[0])

    def _last_end(self, data: bytes) -> tuple[int, int]:
        """The end of the last delimiter that is certainly whole, or 0, and from where on others may be that are not."""
        unsure = len(data) - len(self.separator) + 1  # from here on a separator may begin that is not yet whole
        end = 0
        for match in self._pattern.finditer(data):
            if match.end() > len(data) - 2:  # half of its line end, or none of it, may be here
                unsure = min(unsure, match.start())
            else:
                end = match.end()
        return end, max(unsure, 0)

    def _sure(self, end: int) -> int:
        """`end`, or 0 where it may be within a delimiter that the data began in, which must not be cut."""
        return end if end >= len(self.separator) + 2 else 0

    def first_start(self, file: BinaryIO, size: int, start: int) -> int:
        """The first byte from `start` on at which a document of a file begins; the file's size where none does."""
        return _first_end(file, size, start, self._pattern, len(self.separator) + 2)


def first_line_start(file: BinaryIO, size: int, start: int) -> int:
    """The first byte from `start` on at which a line of a file begins; the file's size where none does."""
    return _first_end(file, size, start, re.compile(rb"\n"), 1)


def _first_end(file: BinaryIO, size: int, start: int, pattern: re.Pattern[bytes], longest: int) -> int:
    """The first end of a match, of at most `longest` bytes, that is at `start` or after it."""
    if start == 0:
        return 0
    first, length = max(0, start - longest), 1 << 16
    while True:
        file.seek(first)
        data = file.read(length)
        is_whole = first + len(data) >= size
        for match in pattern.finditer(data):
            if first + match.end() >= start and (is_whole or match.end() <= len(data) - 2):
                return first + match.end()
        if is_whole:
            return size
        length *= 2


def last_line_end(data: bytes) -> int:
    """The byte after the last line that is whole; 0 where there is none."""
    return data.rfind(b"\n") + 1


def nowhere(_: bytes) -> int:
    """The cut of what must stay whole: 0."""
    return 0


def last_sure_start(data: bytes) -> int:
    """The last byte at which a pretoken surely starts, whatever comes before and after; 0 where there is none.

    Bytes that are not UTF-8 decide nothing, and nothing is decided beside them: they may be left out of the text.

    >>> data = "C'est ça, n'est-ce".encode()
    >>> data[: last_sure_start(data)].decode()
    "C'est ça, n'est-"
    """
    text = data.decode("utf-8", "surrogateescape")  # such a byte becomes one of U+DC80 to U+DCFF
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    classes = character_classes().take(characters)
    is_text = (characters < 0xD800) | (characters >= 0xE000)
    is_sure = (classes[1:] != classes[:-1]) & is_text[1:] & is_text[:-1]
    is_sure &= (classes[:-1] != SPACE) & (characters[:-1] != ord("'"))
    sure = np.flatnonzero(is_sure)
    if not len(sure):
        return 0
    return len(data) - len(text[sure[-1] + 1 :].encode("utf-8", "surrogateescape"))


def ends(file: BinaryIO, start: int, stop: int, cut: Cut, size: int) -> Iterator[int]:
    """Where to end the chunks, of about `size` bytes, of the part of a file from `start` to `stop`."""

    def read(first: int, end: int) -> bytes:
        file.seek(first)
        return file.read(end - first)

    length = size
    while start + length < stop:
        end = _last_cut(read, start, start + length, cut)
        if end > start:
            yield end
        start, length = end, size if end > start else 2 * length
    yield stop


def blocks(file: BinaryIO, cut: Cut, size: int) -> Iterator[tuple[bytes, bool]]:
    """The rest of a file in blocks of about `size` bytes, each with whether it is the last."""
    held, is_last = b"", False
    while not is_last:
        wanted = max(size - len(held), len(held), 1)  # twice as much where it could not be cut
        more = file.read(wanted)
        is_last = len(more) < wanted  # a terminal must not be asked twice
        held += more
        if not is_last and (end := _last_cut(partial(_part, held), 0, len(held), cut)):
            yield held[:end], False
            held = held[end:]
    yield held, True


def _part(data: bytes, start: int, end: int) -> bytes:
    return data[start:end]


def _last_cut(read: Callable[[int, int], bytes], start: int, end: int, cut: Cut) -> int:
    """Where to cut the bytes from `start` to `end` as late as possible; `start` where they cannot be cut."""
    for first in (max(start, end - _TAIL), start):
        if index := cut(read(first, end)):
            return first + index
    return start
