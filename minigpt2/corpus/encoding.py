"""Pieces to token ids, and the errors of what is no text."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from minigpt2.corpus.pieces import Piece, is_lines, lines_before
from minigpt2.corpus.sources import Source
from minigpt2.tokenizer import Tokenizer


@dataclass
class Tally:
    """What was read of a source: documents, the bytes of their text, and tokens."""

    bytes: int = 0
    documents: int = 0
    tokens: int = 0

    def add(self, other: "Tally") -> None:
        """Count another part of the same source."""
        self.bytes += other.bytes
        self.documents += other.documents
        self.tokens += other.tokens


# Says which part of a source an error is about; asked only if there is one.
Where = Callable[[], str]


class Text(NamedTuple):
    """Some text of a document, how many bytes it was, and whether the document ends with it."""

    text: str
    size: int
    is_end: bool


@dataclass(frozen=True)
class PieceEncoder:
    """Tokenizes pieces as ordinary text, each document followed by `end`, if there is one.

    Attributes:
        tokenizer: what makes the ids.
        dtype: of the ids, in numpy's words.
        end: the id after each document.
        errors: what to do about bytes that are no UTF-8, in the words of `bytes.decode`.
        field: the field of a line of JSON that is the document.
    """

    tokenizer: Tokenizer
    dtype: str
    end: int | None
    errors: str
    field: str

    def __call__(self, batch: list[Piece]) -> tuple[bytes, list[Tally]]:
        """The ids of some pieces, one after the other, as bytes, and what each piece amounts to.

        Raises:
            ValueError: a piece is no UTF-8, or a line no JSON with such a field.
        """
        texts: list[Text] = []
        firsts = [0]
        for piece in batch:
            texts.extend(self._texts(piece))
            firsts.append(len(texts))
        ids, starts = self.tokenizer.encode_batch_to_numpy(
            [text.text for text in texts], 1, self.dtype, allowed_special=()
        )
        documents = np.cumsum([0, *(text.is_end for text in texts)])  # up to each text
        if self.end is not None:
            ids = np.insert(ids, starts[1:][np.diff(documents) > 0], self.end)
            starts = starts + documents
        sizes = np.cumsum([0, *(text.size for text in texts)])
        per_piece = [np.diff(counts[firsts]).tolist() for counts in (sizes, documents, starts)]
        return ids.tobytes(), [Tally(*counts) for counts in zip(*per_piece, strict=True)]

    def _texts(self, piece: Piece) -> Iterator[Text]:
        data = piece.read()
        if isinstance(data, list):
            for row, utf8 in enumerate(data, piece.start):
                text = self._decode(utf8, partial(_row, piece.source, row))
                yield Text(text, len(utf8), is_end=True)
        elif is_lines(piece.source):
            yield from self._records(piece.source, piece.start, data)
        else:
            text = self._decode(data, lambda: piece.source.shown, piece.start)
            yield Text(text, len(data), is_end=piece.is_last)

    def _records(self, source: Source, start: int, lines: bytes) -> Iterator[Text]:
        for line in lines.split(b"\n"):
            if line.strip():
                where = partial(_line, source, start)
                text = self._record(self._decode(line, where, start), where)
                yield Text(text, len(text.encode("utf-8")), is_end=True)
            start += len(line) + 1

    def _record(self, line: str, where: Where) -> str:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where()} is no JSON: {error}") from None
        text = record.get(self.field) if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise ValueError(f"{where()} {_lack(record, self.field)}")
        try:  # JSON can write half of a surrogate pair, as in "\ud800", which is no text
            return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", self.errors)
        except UnicodeDecodeError:
            reason = f"has a lone surrogate in {self.field!r}, which is no text: mend it, or pass --errors replace"
            raise ValueError(f"{where()} {reason}") from None

    def _decode(self, data: bytes, where: Where, offset: int = 0) -> str:
        try:
            return data.decode("utf-8", self.errors)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{where()} is not UTF-8: byte 0x{data[error.start]:02X} at byte offset {offset + error.start}; "
                "convert it first (`iconv -t UTF-8`), or pass --errors replace"
            ) from None


def _row(source: Source, row: int) -> str:
    return f"{source.name}, row {row} (counted from 0),"


def _line(source: Source, start: int) -> str:
    """What to call the line that starts at a byte. Its number is nowhere kept: it takes reading the source again."""
    if source.is_stream:
        return f"{source.shown}, the line from byte offset {start} on,"
    return f"{source.shown}, line {1 + lines_before(source, start)},"


def _lack(record: object, field: str) -> str:
    if not isinstance(record, dict):
        return f"is no JSON object but a {type(record).__name__}"
    if field not in record:
        return f"has no field {field!r}; it has {', '.join(map(repr, record)) or 'none'}"
    return f"has no text in {field!r} but a {type(record[field]).__name__}"
