"""Spans and chunks to token ids."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minigpt2.corpus.chunks import SIZE, Chunk, Span, grouped
from minigpt2.corpus.documents import Reader, Text
from minigpt2.tokenizer import Tokenizer


@dataclass
class Tally:
    """Counts of what was read of a source: documents, the bytes of their text, and tokens."""

    bytes: int = 0
    documents: int = 0
    tokens: int = 0

    def add(self, other: "Tally") -> None:
        """Count another part of the same source."""
        self.bytes += other.bytes
        self.documents += other.documents
        self.tokens += other.tokens


class Part(NamedTuple):
    """The result of a chunk: the source's index, where its next chunk starts, what was read of it, and what it had."""

    source: int
    end: int
    is_last: bool
    stored: int
    tally: Tally


class Encoded(NamedTuple):
    """The token ids of some chunks, one after the other, as bytes, and what became of each chunk."""

    ids: bytes
    parts: list[Part]


@dataclass(frozen=True)
class CorpusEncoder:
    """Tokenizes documents as ordinary text, each followed by `end`, if there is one; otherwise ids are only counted.

    Attributes:
        tokenizer: what makes the ids.
        dtype: of the ids, in numpy's words.
        end: the id after each document.
        reader: what finds the documents.
    """

    tokenizer: Tokenizer
    dtype: str
    end: int | None
    reader: Reader

    def encoded(self, parts: Iterable[Span | Chunk]) -> Iterator[Encoded]:
        """The token ids of spans and chunks, in order, about a chunk's size at a time.

        Raises:
            OSError, ImportError: a span cannot be read.
            ValueError: a source is damaged, changed, or is not text.
        """
        for chunks in grouped(self._chunks(parts), SIZE):
            yield self._encoded(chunks)

    def _chunks(self, parts: Iterable[Span | Chunk]) -> Iterator[Chunk]:
        for part in parts:
            if isinstance(part, Chunk):
                yield part
            else:
                yield from self.reader.chunks(part)

    def _encoded(self, chunks: list[Chunk]) -> Encoded:
        texts: list[Text] = []
        firsts = [0]  # the index of each chunk's first text, and the end of all, shape (chunks + 1,)
        for chunk in chunks:
            texts.extend(self.reader.texts(chunk))
            firsts.append(len(texts))
        ids, starts = self.tokenizer.encode_batch_to_numpy(
            [text.text for text in texts], 1, self.dtype, add_special_tokens=False, allowed_special=()
        )  # (tokens,), (texts + 1,)
        documents = np.cumsum([0, *(text.is_end for text in texts)])  # that end before each text, shape (texts + 1,)
        if self.end is not None:
            ids = np.insert(ids, starts[1:][np.diff(documents) > 0], self.end)
            starts = starts + documents
        sizes = np.cumsum([0, *(text.size for text in texts)])
        counts = (np.diff(totals[firsts]).tolist() for totals in (sizes, documents, starts))  # of each chunk
        tallies = [Tally(*each) for each in zip(*counts, strict=True)]
        parts = [
            Part(chunk.source.index, chunk.end, chunk.is_last, chunk.stored, tally)
            for chunk, tally in zip(chunks, tallies, strict=True)
        ]
        return Encoded(b"" if self.end is None else ids.tobytes(), parts)
