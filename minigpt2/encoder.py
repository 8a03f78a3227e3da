"""Text to token ids, by whichever of the two engines is quicker for the length at hand.

Short texts go pretoken by pretoken, through a dict of those met before; long ones, and many at once, through the numpy
engine, which gives the same ids.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from minigpt2 import bpe, special_tokens
from minigpt2.pretokenize import pretokenize
from minigpt2.special_tokens import Choice, Selection
from minigpt2.vectorized.growing import GrowingIds
from minigpt2.vocabulary import Vocabulary

if TYPE_CHECKING:
    from minigpt2.vectorized.engine import Engine

# The length, in characters of ASCII, at which arrays become quicker, by `scripts/bench.py --crossover`, and the one for
# which it is worth while to build their tables.
_ARRAYS_FROM = 3000
_ENGINE_FROM = 1 << 15

# Characters of a batch that one thread takes at a time.
_BATCH = 1 << 20

# Threads, if nobody says how many: more of them wait for the interpreter's lock longer than they work.
_THREADS = min(2, os.cpu_count() or 1)

# How many times as large windows are where several threads are at work: they hand the interpreter's lock to each other
# around every array operation, and the fewer these are, the less they wait.
_LARGER = 2


class _PretokenIds(dict[str, list[int]]):
    """The token ids of pretokens: merged when first asked for, and remembered up to a bound."""

    MOST = 1 << 15
    LONGEST = 32

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def __missing__(self, pretoken: str) -> list[int]:
        symbols = [self._vocabulary.byte_ids[byte] for byte in pretoken.encode("utf-8")]
        merge = bpe.merge if len(symbols) < bpe.LONG else bpe.merge_long
        token_ids = merge(symbols, self._vocabulary.merges)
        if len(pretoken) <= self.LONGEST:
            if len(self) >= self.MOST:
                self.clear()
            self[pretoken] = token_ids
        return token_ids


class Encoder:
    """A vocabulary's way from text to ids; what it remembers changes no answer, and threads may share it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._ids_of = _PretokenIds(vocabulary)
        self._engine: Engine | None = None
        self._default_choice = special_tokens.choose(vocabulary.added_tokens, "all", ())

    def ids(self, text: str, allowed: Selection, disallowed: Selection) -> list[int]:
        """The token ids of a text, as a list."""
        special = self._choice(allowed, disallowed).found_in(_required(text))
        try:
            if not special:
                return self._list(text)
            parts = self._parts(text, special)
            return list(chain.from_iterable([part] if isinstance(part, int) else self._list(part) for part in parts))
        except UnicodeEncodeError:
            _refuse_surrogate(text)

    def array(self, text: str, kind: np.dtype[Any], allowed: Selection, disallowed: Selection) -> NDArray[Any]:
        """The token ids of a text, shape (tokens,)."""
        special = self._choice(allowed, disallowed).found_in(_required(text))
        try:
            return self._with_special_tokens(text, kind, special) if special else self._ordinary(text, kind)
        except UnicodeEncodeError:
            _refuse_surrogate(text)

    def _with_special_tokens(self, text: str, kind: np.dtype[Any], special: frozenset[str]) -> NDArray[Any]:
        ids = GrowingIds(kind)
        for start, end, is_special in special_tokens.spans(text, special):
            if is_special:
                ids.extend([self._vocabulary.added_tokens[text[start:end]]])
            elif end - start < _ENGINE_FROM and self._is_short(part := text[start:end]):
                ids.extend(self.pretoken_by_pretoken(part))
            else:
                self._arrays().encode_into(ids, text, start, end)
        return ids.array()

    def batch(
        self, texts: Sequence[str], threads: int | None, kind: np.dtype[Any], allowed: Selection, disallowed: Selection
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The token ids of several texts, one after the other, and where each text's start, and the end of all."""
        choice = self._choice(allowed, disallowed)
        if sum(map(_length, texts)) < (_ARRAYS_FROM if self._engine else _ENGINE_FROM):
            rows = [self.ids(text, allowed, disallowed) for text in texts]
            return np.array(list(chain.from_iterable(rows)), kind), np.cumsum([0, *map(len, rows)])
        chunks = list(_chunks(texts, _BATCH))
        workers = min(threads or _THREADS, len(chunks))

        def encode(chunk: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
            return self._chunk(chunk, choice, 1 if workers == 1 else _LARGER)

        if workers <= 1:
            return _joined(map(encode, chunks), kind)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(workers) as pool:
            return _joined(pool.map(encode, chunks), kind)

    def _chunk(self, texts: Sequence[str], choice: Choice, larger: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Encode the texts' ordinary parts together, and put the special tokens between them."""
        parts: list[str | int] = []
        ends = []
        for text in texts:
            special = choice.found_in(text)
            parts.extend(self._parts(text, special) if special else [text])
            ends.append(len(parts))
        try:
            ids, offsets = self._arrays().encode_batch([part for part in parts if isinstance(part, str)], larger)
        except UnicodeEncodeError:
            _refuse_surrogate(*texts)
        is_special = np.array([isinstance(part, int) for part in parts], np.bool_)
        counts = np.ones(len(parts), np.int64)
        counts[~is_special] = np.diff(offsets)
        part_ends = np.cumsum(counts)
        if is_special.any():
            special_ids = [part for part in parts if isinstance(part, int)]
            ids = np.insert(ids, (part_ends - np.cumsum(is_special))[is_special], special_ids)
        return ids, np.concatenate([np.zeros(1, np.int64), part_ends[np.array(ends, np.int64) - 1]])

    def _choice(self, allowed: Selection, disallowed: Selection) -> Choice:
        if allowed == "all" and disallowed == ():
            return self._default_choice
        return special_tokens.choose(self._vocabulary.added_tokens, allowed, disallowed)

    def _parts(self, text: str, special: frozenset[str]) -> Iterator[str | int]:
        """The text between special tokens, and their ids."""
        for part, is_special in special_tokens.split(text, special):
            yield self._vocabulary.added_tokens[part] if is_special else part

    def _list(self, text: str) -> list[int]:
        return self.pretoken_by_pretoken(text) if self._is_short(text) else self._arrays().encode(text).tolist()

    def _ordinary(self, text: str, kind: np.dtype[Any]) -> NDArray[Any]:
        if self._is_short(text):
            return np.array(self.pretoken_by_pretoken(text), kind)
        return self._arrays().encode(text, kind)

    def _is_short(self, text: str) -> bool:
        return _length(text) < (_ARRAYS_FROM if self._engine else _ENGINE_FROM)

    def pretoken_by_pretoken(self, text: str) -> list[int]:
        """The ids of a text without special tokens, in the way of short texts."""
        return list(chain.from_iterable(map(self._ids_of.__getitem__, pretokenize(text))))

    def _arrays(self) -> "Engine":
        if self._engine is None:
            from minigpt2.vectorized.engine import Engine

            self._engine = Engine(self._vocabulary)
        return self._engine


def _length(text: str) -> int:
    """How long a text is for whoever encodes it, in characters of ASCII, about."""
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
    results: Iterable[tuple[NDArray[Any], NDArray[np.int64]]], kind: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The ids of several batches as one, and the offsets in it."""
    ids = GrowingIds(kind)
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
            error.reason = "a lone surrogate is no text; text.encode('utf-8', 'replace').decode() puts '?' in its place"
            raise error from None
    raise AssertionError("texts that can be encoded were refused")


def excerpt(value: object) -> str:
    """The start of a value's repr, for messages."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
