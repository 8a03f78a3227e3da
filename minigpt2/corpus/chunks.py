"""A source in spans, which say what to read, and in chunks, which hold what was read: both of bounded size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from minigpt2.corpus import parquet
from minigpt2.corpus.cutting import Cut, blocks, ends
from minigpt2.corpus.opening import opened, require_unchanged
from minigpt2.corpus.sources import Source

#: The bytes of a chunk. A longer one is a single record or pretoken.
SIZE = 1 << 20


@dataclass(frozen=True)
class Span:
    """A part of a source that is still to be read, by another process if need be.

    Attributes:
        source: what it is a part of.
        start: the byte of the decompressed source at which it starts; of Parquet, the row.
        end: the byte after it; None for all that is left of a source that must be read from its start.
    """

    source: Source
    start: int
    end: int | None

    @property
    def size(self) -> int:
        """How many stored bytes are to be read."""
        return (self.source.size if self.end is None else self.end) - self.start


@dataclass(frozen=True)
class Chunk:
    """A part of a source that was read: of its text, or some of its lines or rows.

    Attributes:
        source: what it is a part of.
        start: the byte of the decompressed source at which it starts; of Parquet, the row.
        end: where the next chunk starts.
        is_last: whether the source ends with it.
        stored: the bytes of the stored file that were read for it.
        data: its bytes, or those of each row, not yet checked to be UTF-8.
    """

    source: Source
    start: int
    end: int
    is_last: bool
    stored: int
    data: bytes | list[bytes]

    @property
    def size(self) -> int:
        """Its length in bytes, with some for each row: even an empty one takes memory."""
        return sum(map(len, self.data)) + 16 * len(self.data) if isinstance(self.data, list) else len(self.data)


Sized = TypeVar("Sized", Span, Chunk, Span | Chunk)


def spans_of(source: Source, cut: Cut, start: int = 0, stop: int | None = None) -> Iterator[Span]:
    """The spans of a source, or of its part from `start` to `stop`, at both of which it was cut.

    Raises:
        OSError: it cannot be read.
        ValueError: it changed since it was found.
    """
    stop = source.size if stop is None else stop
    if not source.is_divisible:
        yield Span(source, start, None)
    elif stop - start <= SIZE:
        yield Span(source, start, stop)
    else:
        with opened(source) as (_, file):
            for end in ends(file, start, stop, cut, SIZE):
                yield Span(source, start, end)
                start = end


def chunks_in(span: Span, cut: Cut, field: str) -> Iterator[Chunk]:
    """Read a span: one chunk if its end is known, otherwise as many as there are.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, has no such column, or changed since it was found.
        ImportError: the package that reads such files is not installed.
    """
    if span.end is not None:
        yield _read(span.source, span.start, span.end)
    elif span.source.kind == "parquet":
        yield from _of_rows(span.source, field, span.start)
    else:
        yield from _of_stream(span.source, span.start, cut)


def _read(source: Source, start: int, end: int) -> Chunk:
    with opened(source) as (stored, _):
        stored.seek(start)
        data = stored.read(end - start)
        require_unchanged(source, stored)
        return Chunk(source, start, end, end == source.size, end - start, data)


def _of_stream(source: Source, start: int, cut: Cut) -> Iterator[Chunk]:
    """Chunks of what can only be read from its start to its end, such as a compressed file."""
    before = 0
    with opened(source) as (stored, file):
        if start:
            file.seek(start)
        for data, is_last in blocks(file, cut, SIZE):
            if is_last:
                require_unchanged(source, stored)
            position = start + len(data) if source.is_stream else stored.tell()
            yield Chunk(source, start, start + len(data), is_last, position - before, data)
            start, before = start + len(data), position


def _of_rows(source: Source, field: str, start: int) -> Iterator[Chunk]:
    before = 0
    for texts, share in parquet.rows(source, field, start, SIZE):
        stored = int(share * source.size)
        yield Chunk(source, start, start + len(texts), False, stored - before, texts)
        start, before = start + len(texts), stored
    yield Chunk(source, start, start, True, source.size - before, [])


def grouped(parts: Iterable[Sized], size: int) -> Iterator[list[Sized]]:
    """Small spans or chunks together, up to `size` bytes, so that handing them over costs little.

    Where they cannot be read on, those before come first: whatever the groups, what is done ends at the same byte.
    """
    group: list[Sized] = []
    held = 0
    failure: Exception | None = None
    try:
        for part in parts:
            if group and held + part.size > size:
                yield group
                group, held = [], 0
            group.append(part)
            held += part.size
    except (OSError, ValueError, ImportError) as error:
        failure = error
    if group:
        yield group
    if failure:
        raise failure
