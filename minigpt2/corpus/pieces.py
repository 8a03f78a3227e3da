"""A source in pieces of bounded size, cut where it makes no difference to the tokens.

A document of any length can be tokenized in parts, if each part begins where a pretoken of the whole begins whatever
stands around it. By the split pattern (see `minigpt2.pretokenize`) that is so wherever the class of character changes
(letter, number, other, whitespace), except

- after whitespace, whose last character may belong to what follows;
- after an apostrophe, which may open a contraction.

Only a run of characters of one class, such as a line of nothing but letters, has no such place. It stays whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np

from minigpt2.corpus import parquet
from minigpt2.corpus.sources import Source, opened, require_unchanged
from minigpt2.pretokenize import SPACE, character_classes

#: The bytes of a piece. A longer one is a single record or pretoken.
SIZE = 1 << 20

# Where to cut is looked for in so many bytes first.
_TAIL = 1 << 12

Cut = Callable[[bytes], int]


@dataclass(frozen=True)
class Piece:
    """A part of a source: of its text, or some of its lines or rows.

    Attributes:
        source: what it is a part of.
        start: the byte of the decompressed source at which it starts; of Parquet, the row.
        end: where the next piece starts.
        is_last: whether the source ends with it.
        stored: the bytes of the stored file that were read for it.
        data: its bytes, or those of each row; None where `read` takes them from the file.
    """

    source: Source
    start: int
    end: int
    is_last: bool
    stored: int
    data: bytes | list[bytes] | None = None

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return sum(map(len, self.data)) if isinstance(self.data, list) else self.end - self.start

    def read(self) -> bytes | list[bytes]:
        """Its bytes, or those of each row, not yet checked to be UTF-8.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file changed since it was found.
        """
        if self.data is not None:
            return self.data
        with opened(self.source) as (stored, _):
            stored.seek(self.start)
            data = stored.read(self.end - self.start)
            require_unchanged(self.source, stored)
            return data


def is_lines(source: Source) -> bool:
    """Whether each line of a source is a document, as JSON."""
    return source.suffixes[-1:] == [".jsonl"] or source.suffixes[-2:] in ([".jsonl", ".gz"], [".jsonl", ".zst"])


def pieces_of(source: Source, field: str, start: int = 0) -> Iterator[Piece]:
    """The pieces of a source, from the start or the end of another piece of it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, has no such column, or changed since it was found.
        ImportError: the package that reads such files is not installed.
    """
    if source.suffixes[-1:] == [".parquet"]:
        return _of_rows(source, field, start)
    cut = last_line_end if is_lines(source) else last_sure_start
    is_plain = source.suffixes[-1:] not in ([".gz"], [".zst"]) and not source.is_stream and source.size > 0
    return _of_file(source, start, cut) if is_plain else _of_stream(source, start, cut)


def _of_file(source: Source, start: int, cut: Cut) -> Iterator[Piece]:
    """Pieces of a file that whoever works on them can read, so that none but they need to."""
    if source.size - start > SIZE:
        with opened(source) as (_, file):
            for end in ends(file, source.size, start, cut, SIZE):
                yield Piece(source, start, end, False, end - start)
                start = end
    yield Piece(source, start, source.size, True, source.size - start)


def ends(file: BinaryIO, file_size: int, start: int, cut: Cut, size: int) -> Iterator[int]:
    """Where to end the pieces of a file of about `size` bytes, but for the last, which ends with the file."""

    def read(first: int, end: int) -> bytes:
        file.seek(first)
        return file.read(end - first)

    length = size
    while start + length < file_size:
        end = _last_cut(read, start, start + length, cut)
        if end > start:
            yield end
        start, length = end, size if end > start else 2 * length


def _of_stream(source: Source, start: int, cut: Cut) -> Iterator[Piece]:
    """Pieces of what can only be read from its beginning to its end, such as a compressed file."""
    before = 0
    with opened(source) as (stored, file):
        if start:
            file.seek(start)
        for data, is_last in blocks(file, cut, SIZE):
            if is_last:
                require_unchanged(source, stored)
            position = start + len(data) if source.is_stream else stored.tell()
            yield Piece(source, start, start + len(data), is_last, position - before, data)
            start, before = start + len(data), position


def blocks(file: BinaryIO, cut: Cut, size: int) -> Iterator[tuple[bytes, bool]]:
    """The rest of a file in blocks of about `size` bytes, each with whether it is the last."""
    held, is_last = b"", False
    while not is_last:
        wanted = max(size - len(held), len(held), 1)  # twice as much where there was no place to cut
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
    """Where to cut the bytes from `start` to `end` as late as can be; `start` where they cannot be cut."""
    for first in (max(start, end - _TAIL), start):
        if place := cut(read(first, end)):
            return first + place
    return start


def last_line_end(data: bytes) -> int:
    """The byte after the last line that is whole; 0 where there is none."""
    return data.rfind(b"\n") + 1


def last_sure_start(data: bytes) -> int:
    """The last byte at which a pretoken surely starts, whatever comes before and after; 0 where there is none.

    Bytes that are no UTF-8 decide nothing, and nothing is decided beside them: they may be left out of the text.

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
    places = np.flatnonzero(is_sure)
    if not len(places):
        return 0
    return len(data) - len(text[places[-1] + 1 :].encode("utf-8", "surrogateescape"))


def lines_before(source: Source, end: int) -> int:
    """How many lines of a source end before a byte of it."""
    lines = 0
    with opened(source) as (_, file):
        while end > 0 and (data := file.read(min(end, SIZE))):
            lines += data.count(b"\n")
            end -= len(data)
    return lines


def _of_rows(source: Source, field: str, start: int) -> Iterator[Piece]:
    before = 0
    for texts, share in parquet.rows(source, field, start, SIZE):
        stored = int(share * source.size)
        yield Piece(source, start, start + len(texts), False, stored - before, texts)
        start, before = start + len(texts), stored
    yield Piece(source, start, start, True, source.size - before, [])
