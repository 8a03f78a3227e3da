"""Chunks to the texts of documents, and the errors of what is not text."""

import codecs
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from minigpt2.archives import BEGINNING, POINTER, POINTER_REASON, TABLE, other_kind
from minigpt2.corpus import hub_files
from minigpt2.corpus.chunks import SIZE, Chunk, Span, chunks_in, spans_of
from minigpt2.corpus.cutting import Cut, Delimiter, first_line_start, last_line_end, last_sure_start, nowhere
from minigpt2.corpus.opening import opened
from minigpt2.corpus.sources import Source, kind_of
from minigpt2.encodings import advice, utf16_instead
from minigpt2.shell import file_argument
from minigpt2.vocabulary import ComputedOnce

ERRORS = ("strict", "replace", "ignore")

_BOM = b"\xef\xbb\xbf"
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # UTF-32-LE begins with UTF-16-LE's

_LOOKED_AT = 16 << 20  # bytes of a source that tell its encoding

_OF_ARCHIVES = ("unzip", "tar -xf")
_DECOMPRESS = {".gz": "gzip -dc", ".zst": "zstd -dc"}

# Says which part of a source an error is about; called only if there is an error.
Where = Callable[[], str]


class Text(NamedTuple):
    """Some text of a document, how many bytes it was, and whether the document ends with it."""

    text: str
    size: int
    is_end: bool


@dataclass(frozen=True)
class Reader:
    """How the documents of a source are found in its bytes.

    Attributes:
        errors: what to do about bytes that are not UTF-8, in the words of `bytes.decode`.
        field: the field of a JSON object, or the column of a table, that is the document.
        separator: what stands between the documents of a text; None where a text is one document.
        is_whole: whether each document is read whole, however long it is.
    """

    errors: str = "strict"
    field: str = "text"
    separator: str | None = None
    is_whole: bool = False

    def __post_init__(self) -> None:
        if self.errors not in ERRORS:
            raise ValueError(f"errors is one of {', '.join(ERRORS)}, not {self.errors!r}")
        if self.separator is not None:
            try:
                _ = self.delimiter
            except UnicodeEncodeError:
                raise ValueError(f"the separator {self.separator!r} has a lone surrogate, which is not text") from None

    @ComputedOnce
    def delimiter(self) -> Delimiter | None:
        """The delimiter between the documents of a text; None without a separator."""
        return None if self.separator is None else Delimiter(self.separator.encode("utf-8"))

    def spans(self, source: Source, start: int = 0, stop: int | None = None) -> Iterator[Span]:
        """The spans of a source, or of its part from `start` to `stop`. Raises as `spans_of`."""
        return spans_of(source, self._cut(source), start, stop)

    def chunks(self, span: Span) -> Iterator[Chunk]:
        """The chunks of a span. Raises as `chunks_in`."""
        return chunks_in(span, self._cut(span.source), self.field)

    def _cut(self, source: Source) -> Cut:
        if source.kind == "jsonl":
            return last_line_end
        if self.is_whole:
            return self.delimiter.last_end if self.delimiter else nowhere
        return self.delimiter.last_cut if self.delimiter else last_sure_start

    def first_start(self, source: Source, start: int) -> int | None:
        """The first byte from `start` on at which a document starts; None where only the source's own start is one."""
        find = first_line_start if source.kind == "jsonl" else self.delimiter and self.delimiter.first_start
        if not find or not source.is_divisible:
            return None
        with opened(source) as (_, file):
            return find(file, source.size, start)

    def require_text(self, source: Source) -> None:
        """Refuse a file that begins as one of another kind does, before the work begins.

        Of a table this asks only whether it is a Git LFS pointer; streams and files on the hub are not read.

        Raises:
            OSError, ValueError, ImportError: it cannot be read, as `opened`.
            ValueError: it is of another kind, or in another encoding.
        """
        if source.is_stream or source.is_remote:
            return
        is_table = source.kind == "parquet"
        with opened(source) as (stored, file):
            beginning = (stored if is_table else file).read(BEGINNING)  # a table's suffix may name what it has within
        if not is_table or beginning.startswith(POINTER):
            _refuse_other_kinds(source, beginning)
            self._require_utf8_alone(source, beginning)
            if beginning.startswith(_MARKS):
                mark = beginning[:4]
                self._decode(
                    mark, Chunk(source, 0, len(mark), False, len(mark), mark)
                )  # raises, unless `errors` lets it through

    def texts(self, chunk: Chunk) -> Iterator[Text]:
        """The texts of a chunk's documents.

        Raises:
            ValueError: the chunk is not UTF-8, or a line is not a JSON object with such a field.
        """
        if isinstance(chunk.data, list):
            for row, utf8 in enumerate(chunk.data, chunk.start):
                text = self._decode(utf8, chunk, where=partial(_row, chunk.source, row))
                yield Text(text, len(utf8), is_end=True)
            return
        if chunk.start == 0:
            _refuse_other_kinds(chunk.source, chunk.data)
        self._require_utf8_alone(chunk.source, chunk.data, chunk.start)
        if chunk.source.kind == "jsonl":
            yield from self._records(chunk, chunk.data)
        else:
            yield from self._parts(chunk, chunk.data)

    def _require_utf8_alone(self, source: Source, data: bytes, offset: int = 0) -> None:
        """Refuse text in UTF-16 that is UTF-8 too, or stands behind text in UTF-8."""
        if self.errors == "strict" and (reason := utf16_instead(data, offset, partial(_piped, source))):
            raise ValueError(f"{source.shown} is not UTF-8: {reason}, or --errors replace takes it as it is")

    def _parts(self, chunk: Chunk, data: bytes) -> Iterator[Text]:
        """The documents of a text, the last of which may go on in the next chunk."""
        *whole, (last, rest) = self.delimiter.documents(data) if self.delimiter else [(0, data)]
        for start, part in whole:
            yield Text(self._decode(part, chunk, chunk.start + start), len(part), is_end=True)
        if rest or not self.delimiter:  # nothing after the last separator is not a document
            text = self._decode(rest, chunk, chunk.start + last)
            yield Text(text, len(rest), is_end=chunk.is_last)

    def _records(self, chunk: Chunk, lines: bytes) -> Iterator[Text]:
        source, start = chunk.source, chunk.start
        for number, line in enumerate(lines.split(b"\n")):
            where = partial(_line, source, start)
            is_first = start == 0 and number == 0
            if line.strip() and not (is_first and line.strip() == _BOM):
                record = self._decode(line, chunk, start, where).removeprefix("\ufeff" if is_first else "")
                text = self._field_of(record, source, where)
                yield Text(text, len(text.encode("utf-8")), is_end=True)
            start += len(line) + 1

    def _field_of(self, line: str, source: Source, where: Where) -> str:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where()} is not JSON: {error}{_one_a_line(source, line)}") from None
        text = record.get(self.field) if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise ValueError(f"{where()} {_lack(record, self.field)}{_one_a_line(source, line)}")
        try:  # JSON can write half of a surrogate pair, as in "\ud800", which is not text
            return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", self.errors)
        except UnicodeDecodeError:
            reason = f"has a lone surrogate in {self.field!r}, which is not text: mend it, or pass --errors replace"
            raise ValueError(f"{where()} {reason}") from None

    def _decode(self, data: bytes, chunk: Chunk, offset: int = 0, where: Where | None = None) -> str:
        """The text of a chunk's bytes at an offset in the source."""
        try:
            return data.decode("utf-8", self.errors)
        except UnicodeDecodeError as error:
            name, place = where() if where else chunk.source.shown, offset + error.start
            wrong = f"{name} is not UTF-8: byte 0x{data[error.start]:02X} at byte offset {place}"
            raise ValueError(f"{wrong}; {_advice(chunk, place)}pass --errors replace") from None


def _advice(chunk: Chunk, wrong: int) -> str:
    """How to convert a chunk's source to UTF-8, where a byte at an offset is wrong; nothing for a table.

    The beginning of a local file tells its encoding. A stream cannot be read again: the chunk tells that of a stream.
    """
    source, data, offset = chunk.source, chunk.data, chunk.start
    if isinstance(data, list):
        return ""
    if wrong < _LOOKED_AT and not (source.is_stream or source.is_remote):
        with opened(source) as (_, file):
            data, offset = file.read(_LOOKED_AT), 0
    return f"{advice(data, offset, partial(_piped, source))}, or "


def _refuse_other_kinds(source: Source, data: bytes) -> None:
    """Refuse what begins as a file of another kind does, even where `errors` would let it through as text."""
    if data.startswith(POINTER):
        raise ValueError(f"{source.shown} is {POINTER_REASON}")
    if data.startswith(TABLE):
        way = "save it as a file, since a table cannot be read from a pipe, and " * source.is_stream
        raise ValueError(f"{source.shown} is a Parquet table: {way}pass --input-format parquet")
    if other := other_kind(data):
        what, command = other
        if command in _OF_ARCHIVES:
            way = f"`{command}` unpacks it, and its files can be read"
        elif kind_of(Path(source.name).stem) == "parquet":
            way = f"save what `{command}` unpacks as a file, since a table cannot be read from a pipe"
        else:
            is_lines = "jsonl" in (source.kind, kind_of(Path(source.name).stem))
            reads = f"minigpt2 tokenize - {'--input-format jsonl ' if is_lines else ''}-o OUT"
            way = f"`{_piped(source, command)} | {reads}` reads it"
        raise ValueError(f"{source.shown} is {what}, not text: {way}")


def _piped(source: Source, command: str) -> str:
    """A command that reads a source, decompressed first if need be."""
    if source.compression:
        return f"{_DECOMPRESS[source.compression]}{_argument(source)} | {command}"
    return f"{command}{_argument(source)}"


def _argument(source: Source) -> str:
    """A source as the argument of a command that reads standard input where it has none."""
    if source.is_stream:
        return ""
    if source.is_remote:
        return f' "$({hub_files.download_command(source.name)})"'
    return f" {file_argument(source.name)}"


def _row(source: Source, row: int) -> str:
    return f"{source.name}, row {row} (counted from 0),"


def _line(source: Source, start: int) -> str:
    """A name for the line that starts at a byte. Its number is not kept: it takes reading the source again."""
    if source.is_stream:
        return f"{source.shown}, the line from byte offset {start} on,"
    return f"{source.shown}, line {1 + _lines_before(source, start)},"


def _lines_before(source: Source, end: int) -> int:
    lines = 0
    with opened(source) as (_, file):
        while end > 0 and (data := file.read(min(end, SIZE))):
            lines += data.count(b"\n")
            end -= len(data)
    return lines


def _lack(record: object, field: str) -> str:
    if not isinstance(record, dict):
        return f"is not a JSON object but a value of type {type(record).__name__}"
    if field not in record:
        return f"has no field {field!r}; it has {', '.join(map(repr, record)) or 'none'}"
    return f"has no text in {field!r} but a value of type {type(record[field]).__name__}"


def _one_a_line(source: Source, line: str) -> str:
    """The way out for a `.json` file that is one document of JSON."""
    if not source.name.lower().removesuffix(source.compression).endswith(".json"):
        return ""
    records = "'.[]'" if line.lstrip().startswith("[") else "."
    return (
        f"; a .json file needs one object a line: `{_piped(source, f'jq -c {records}')}` writes it so "
        "(or pass --input-format text to take it as text)"
    )
