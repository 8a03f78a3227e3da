"""Text to token ids: added tokens are found, and what is between them is encoded by the quicker of the two engines.

Short texts go pretoken by pretoken, through a dict of those met before; long ones, and many at once, through the numpy
engine, which gives the same ids.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from minigpt2 import bpe
from minigpt2.byte_alphabet import to_characters
from minigpt2.forking import FORK_WAITS
from minigpt2.pretokenize import pretokenize
from minigpt2.special_tokens import AddedTokens, Part, Selection
from minigpt2.vectorized.growing import GrowingIds
from minigpt2.vocabulary import Vocabulary

if TYPE_CHECKING:
    from minigpt2.vectorized.engine import Engine

# The length, in characters of ASCII, at which arrays become quicker, by `scripts/bench.py --crossover`, and the one for
# which it is worth building their tables.
_ARRAYS_FROM = 3000
_ENGINE_FROM = 1 << 15

# Characters of a batch that one thread takes at a time.
_BATCH = 1 << 20

# Default thread count; more would mostly wait for the interpreter's lock.
_THREADS = min(2, os.cpu_count() or 1)

# How many times as large windows are where several threads are at work: they hand the interpreter's lock to each other
# around every array operation, and the fewer these are, the less they wait.
_LARGER = 2

Offsets = list[tuple[int, int]]


class _PretokenIds(dict[str, list[int]]):
    """The token ids of pretokens: merged when first asked for, and remembered up to a bound."""

    MOST = 1 << 15
    LONGEST = 32

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def __missing__(self, pretoken: str) -> list[int]:
        token_ids = self._merged(pretoken.encode("utf-8"))
        if len(pretoken) <= self.LONGEST:
            if len(self) >= self.MOST:
                self.clear()
            self[pretoken] = token_ids
        return token_ids

    def _merged(self, pretoken: bytes) -> list[int]:
        vocabulary = self._vocabulary
        if vocabulary.ignores_merges and pretoken in vocabulary.id_of_bytes:
            return [vocabulary.id_of_bytes[pretoken]]
        symbols = vocabulary.symbols(pretoken)
        merge = bpe.merge if len(symbols) < bpe.LONG else bpe.merge_long
        return merge(symbols, vocabulary.merges)


class OrdinaryText:
    """A vocabulary's way from text without added tokens to ids; what it remembers changes no answer."""

    def __init__(self, vocabulary: Vocabulary, add_prefix_space: bool = False) -> None:
        self._vocabulary = vocabulary
        self._add_prefix_space = add_prefix_space
        self._ids_of = _PretokenIds(vocabulary)
        self._unknown_merges = vocabulary.unknown is not None and bool((vocabulary.pairs == vocabulary.unknown).any())
        self._engine: Engine | None = None

    def ids(self, text: str) -> list[int]:
        """The token ids of a text, as a list."""
        if self._add_prefix_space:
            text = self.prefixed(text)
        return self.pretoken_by_pretoken(text) if self.is_short(text) else self.arrays().encode(text).tolist()

    def array(self, text: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The token ids of a text, shape (tokens,)."""
        text = self.prefixed(text)
        if self.is_short(text):
            return np.array(self.pretoken_by_pretoken(text), dtype)
        return self.arrays().encode(text, dtype)

    def put(self, ids: GrowingIds, text: str, start: int, end: int, dtype: np.dtype[Any]) -> None:
        """Add the token ids of a part of a text; a long part is not copied."""
        if end - start < _ENGINE_FROM or self._add_prefix_space or not self._vocabulary.is_complete:
            ids.extend(self.array(text[start:end], dtype))
        else:
            self.arrays().encode_into(ids, text, start, end)

    def prefixed(self, text: str) -> str:
        """The text with a space before it, if that is the model's way and it has none."""
        return f" {text}" if self._add_prefix_space and text and text[0] != " " else text

    def is_short(self, text: str) -> bool:
        """Whether a text, or several joined, are quicker pretoken by pretoken."""
        return _length(text) < (_ARRAYS_FROM if self._engine else _ENGINE_FROM) or not self._vocabulary.is_complete

    def are_short(self, texts: Iterable[str]) -> bool:
        """Whether texts are quicker one by one than together."""
        limit = _ARRAYS_FROM if self._engine else _ENGINE_FROM
        return sum(map(_length, texts)) < limit or not self._vocabulary.is_complete

    def pretoken_by_pretoken(self, text: str) -> list[int]:
        """The ids of a text, in the way of short texts."""
        return list(chain.from_iterable(map(self._ids_of.__getitem__, pretokenize(text))))

    def arrays(self) -> "Engine":
        """The numpy engine, made when it is first needed."""
        if self._engine is None:
            with FORK_WAITS:
                from minigpt2.vectorized.engine import Engine

                self._engine = Engine(self._vocabulary)
        return self._engine

    def offsets(self, text: str, token_ids: list[int]) -> Offsets:
        """Where in a text each of its tokens lies, in characters, half-open.

        The tokens' bytes, one after the other, are the text's own, so their lengths say where each begins.
        """
        prefixed = self.prefixed(text)
        added = len(prefixed) - len(text)  # a space put before the text lies where its first character does
        if not self._vocabulary.is_complete:
            spans = self._offsets_pretoken_by_pretoken(prefixed)
            return [(max(0, start - added), max(1, end - added)) for start, end in spans]
        ids = np.fromiter(token_ids, np.int64, len(token_ids))
        lengths = self._vocabulary.lengths.take(self._vocabulary.indices_of(ids))  # (tokens,) int64
        data = np.frombuffer(prefixed.encode("utf-8"), np.uint8)
        first_bytes = (data & 0xC0) != 0x80  # a byte 10xxxxxx continues a character
        character_of_byte = np.maximum(np.cumsum(first_bytes) - 1 - added, 0)  # (bytes,)
        ends = np.cumsum(lengths)
        first, last = character_of_byte[ends - lengths], character_of_byte[ends - 1]
        return list(zip(first.tolist(), (last + 1).tolist(), strict=True))

    def _offsets_pretoken_by_pretoken(self, text: str) -> Iterator[tuple[int, int]]:
        """As `tokenizers` counts where some bytes have no token.

        It writes a pretoken in the byte alphabet and lays its tokens side by side over that string's UTF-8, without a
        gap for a byte that was dropped.
        """
        first = 0  # the pretoken's, in the text
        for pretoken in pretokenize(text):
            widths = [sum(map(_width, character.encode("utf-8"))) for character in pretoken]
            index_of_byte = [first + index for index, width in enumerate(widths) for _ in range(width)]
            end = 0
            for size in self._sizes(pretoken):
                start, end = end, end + size
                yield index_of_byte[start], index_of_byte[end - 1] + 1
            first += len(pretoken)

    def _sizes(self, pretoken: str) -> Iterator[int]:
        """How many bytes each token of a pretoken has, written in the byte alphabet and that in UTF-8."""
        data, vocabulary = pretoken.encode("utf-8"), self._vocabulary
        if vocabulary.ignores_merges and data in vocabulary.id_of_bytes:
            yield sum(map(_width, data))
            return
        found = vocabulary.symbols_with_bytes(data)
        sizes = [sum(map(_width, part)) for _, part in found]
        if self._unknown_merges:  # the unknown token stands for any bytes, so that only the merges tell
            for step in bpe.merge_steps([symbol for symbol, _ in found], vocabulary.merges):
                first = step.merged.position
                sizes[first : first + 2] = [sum(sizes[first : first + 2])]
            yield from sizes
            return
        index = 0
        for token_id in self._ids_of[pretoken]:
            is_unknown = token_id == found[index][0] == vocabulary.unknown
            count = 1 if is_unknown else len(vocabulary.token_bytes[token_id])
            yield sum(sizes[index : index + count])
            index += count


def _width(byte: int) -> int:
    """How many bytes of UTF-8 a byte's character in the byte alphabet takes."""
    return len(to_characters(bytes([byte])).encode("utf-8"))


class Located(NamedTuple):
    """The tokens of a text: their ids, where each lies in characters, and each as it is written."""

    ids: list[int]
    offsets: Offsets
    tokens: list[str]


class Encoder:
    """A tokenizer's way from text to ids; threads may share it."""

    def __init__(self, added: AddedTokens, ordinary: OrdinaryText, vocabulary: Vocabulary) -> None:
        self._added = added
        self._ordinary = ordinary
        self._vocabulary = vocabulary

    def ids(self, text: str, allowed: Selection, disallowed: Selection) -> list[int]:
        """The token ids of a text, as a list."""
        parts = self._added.parts(_required(text), allowed, disallowed)
        try:
            if not parts:
                return self._ordinary.ids(text)
            return list(chain.from_iterable(self._ids_of_part(text, part) for part in parts))
        except UnicodeEncodeError:
            _refuse_surrogate(text)

    def parts(self, text: str, allowed: Selection) -> list[Part]:
        """The added tokens in a text, and the ordinary text between them."""
        return list(self._added.parts(_required(text), allowed)) or [Part(0, len(text), None)][: len(text)]

    def _ids_of_part(self, text: str, part: Part) -> list[int]:
        start, end, token = part
        return self._ordinary.ids(text[start:end]) if token is None else [self._added.ids[token]]

    def array(self, text: str, dtype: np.dtype[Any], allowed: Selection, disallowed: Selection) -> NDArray[Any]:
        """The token ids of a text, shape (tokens,)."""
        parts = self._added.parts(_required(text), allowed, disallowed)
        ids = GrowingIds(dtype)
        try:
            if not parts:
                return self._ordinary.array(text, dtype)
            for start, end, token in parts:
                if token is None:
                    self._ordinary.put(ids, text, start, end, dtype)
                else:
                    ids.extend([self._added.ids[token]])
        except UnicodeEncodeError:
            _refuse_surrogate(text)
        return ids.array()

    def located(self, text: str, allowed: Selection, disallowed: Selection) -> Located:
        """The token ids of a text, with where each lies and how it is written."""
        found = Located([], [], [])
        parts = self._added.parts(_required(text), allowed, disallowed)
        try:
            for start, end, token in parts or [Part(0, len(text), None)]:
                if token is None:
                    ids = self._ordinary.ids(text[start:end])
                    found.ids.extend(ids)
                    offsets = self._ordinary.offsets(text[start:end], ids)
                    found.offsets.extend((start + first, start + last) for first, last in offsets)
                    found.tokens.extend(self._written(ids))
                else:
                    found.ids.append(self._added.ids[token])
                    found.offsets.append((start, end))
                    found.tokens.append(text[start:end])
        except UnicodeEncodeError:
            _refuse_surrogate(text)
        return found

    def _written(self, token_ids: list[int]) -> list[str]:
        written = {token_id: self._vocabulary.written(token_id) for token_id in set(token_ids)}
        return [written[token_id] for token_id in token_ids]

    def batch(
        self,
        texts: Sequence[str],
        threads: int | None,
        dtype: np.dtype[Any],
        allowed: Selection,
        disallowed: Selection,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The token ids of several texts, one after the other, and where each text's start, and the end of all.

        The ids have shape (tokens,), the offsets (texts + 1,).
        """
        if self._ordinary.are_short(texts):
            rows = [self.ids(text, allowed, disallowed) for text in texts]
            return np.array(list(chain.from_iterable(rows)), dtype), np.cumsum([0, *map(len, rows)])
        chunks = list(_chunks(texts, _BATCH))
        workers = min(threads or _THREADS, len(chunks))

        def encode(chunk: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
            return self._chunk(chunk, allowed, disallowed, 1 if workers == 1 else _LARGER)

        if workers <= 1:
            return _joined(map(encode, chunks), dtype)
        with ThreadPoolExecutor(workers) as pool:
            return _joined(pool.map(encode, chunks), dtype)

    def _chunk(
        self, texts: Sequence[str], allowed: Selection, disallowed: Selection, larger: int
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Encode the texts' ordinary parts together, and put the added tokens between them."""
        pieces: list[str | int] = []  # ordinary text, and the ids of added tokens
        ends = []  # of each text, among the pieces
        for text in texts:
            for start, end, token in self._added.parts(text, allowed, disallowed) or [Part(0, len(text), None)]:
                pieces.append(self._ordinary.prefixed(text[start:end]) if token is None else self._added.ids[token])
            ends.append(len(pieces))
        try:
            strings = [piece for piece in pieces if isinstance(piece, str)]
            ids, offsets = self._ordinary.arrays().encode_batch(strings, larger)
        except UnicodeEncodeError:
            _refuse_surrogate(*texts)
        is_added = np.array([isinstance(piece, int) for piece in pieces], np.bool_)  # (pieces,)
        counts = np.ones(len(pieces), np.int64)
        counts[~is_added] = np.diff(offsets)
        piece_ends = np.cumsum(counts)
        if is_added.any():
            added_ids = [piece for piece in pieces if isinstance(piece, int)]
            # An added token goes before the ordinary id that follows it: its own end less the added ones up to it.
            ids = np.insert(ids.astype(np.int64), (piece_ends - np.cumsum(is_added))[is_added], added_ids)
        return ids, np.concatenate([np.zeros(1, np.int64), piece_ends[np.array(ends, np.int64) - 1]])


def _length(text: str) -> int:
    """How long a text takes to encode, about, in characters of ASCII."""
    return len(text) if text.isascii() else 3 * len(text)


def _chunks(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Consecutive texts of together about `size` characters."""
    begin = total = 0
    for index, text in enumerate(texts):
        total += len(text)
        if total >= size:
            yield texts[begin : index + 1]
            begin, total = index + 1, 0
    if begin < len(texts):
        yield texts[begin:]


def _joined(
    results: Iterable[tuple[NDArray[Any], NDArray[np.int64]]], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The ids of several batches as one, and the offsets in it."""
    ids = GrowingIds(dtype)
    ends = [np.zeros(1, np.int64)]
    for more, offsets in results:
        ends.append(len(ids) + offsets[1:])
        ids.extend(more)
    return ids.array(), np.concatenate(ends)


def _required(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a text is a str, not {type(text).__name__}: {excerpt(text)}")
    return text


def _refuse_surrogate(*texts: str) -> NoReturn:
    """Raise the error of encoding a text whole, so that it names the index in the text."""
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            error.reason = _reason(text, error.start)
            raise error from None
    raise AssertionError("texts that can be encoded were refused")


def _reason(text: str, index: int) -> str:
    if "\ud800" <= text[index] < "\udc00" <= text[index + 1 : index + 2] < "\ue000":
        return (
            "a surrogate pair stands for one character but is not that character;"
            " text.encode('utf-16', 'surrogatepass').decode('utf-16') joins such pairs"
        )
    return "a lone surrogate is not text; text.encode('utf-8', 'replace').decode() puts '?' in its place"


def excerpt(value: object) -> str:
    """The start of a value's repr, for messages."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
