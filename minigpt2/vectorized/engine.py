"""The engine: texts of any size in windows, each a handful of array operations.

A window ends where a piece surely starts, so that the next one splits its text as if there were no windows. A piece
larger than a window is taken in parts that overlap: the next window starts well before the end of what this one merged,
and the two are sewn together at the first token that both have at the same offset (`long_pieces` says why that is
exact). If they share no token, the text is encoded again with larger windows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minigpt2.vectorized.arrays import Indices, Symbols, indices_where, lengths_between, starts_of
from minigpt2.vectorized.boundaries import split_into_pieces
from minigpt2.vectorized.growing import GrowingIds
from minigpt2.vectorized.memory import Found, Memory
from minigpt2.vectorized.vocabulary_tables import tables_of
from minigpt2.vocabulary import Vocabulary

#: Characters in a window.
WINDOW = 1 << 17

#: Learning has a fixed price, which a group of windows shares: at most so many windows, and so many missed pieces, if
#: the next window misses as many as the last.
GROUP = 12
MOST_MISSED = 1 << 17

#: Bytes before a window's end in which a start is not certain: it depends on up to three characters after it.
_LOOK_AHEAD = 16

#: Bytes before a window's end in which the tokens of a larger piece may still change.
_UNSETTLED = 1024

_APOSTROPHE, *_SUFFIX_STARTS = b"'stmdrvl"

Ids = NDArray[Any]


class _Window(NamedTuple):
    """A window's UTF-8, the byte offsets and lengths of its pieces, (pieces,), and where the last of them ends."""

    data: bytes
    starts: Indices
    lengths: Indices
    end: int


class _Row(NamedTuple):
    """The tokens of a part of a piece, and the byte offsets in the window at which they start: each (tokens,)."""

    symbols: Symbols
    starts: Indices


class _TornError(Exception):
    """Two parts of a piece share no token."""


class Engine:
    """Encodes texts to ids with one vocabulary, remembering pieces; threads may share it.

    >>> from minigpt2.vocabulary import gpt2
    >>> engine = Engine(gpt2())
    >>> engine.encode("The meaning of life is").tolist()
    [464, 3616, 286, 1204, 318]
    """

    def __init__(self, vocabulary: Vocabulary, window: int = WINDOW) -> None:
        self._tables = tables_of(vocabulary)
        self._memory = Memory(self._tables)
        self._window = window
        ids = vocabulary.ids
        self._ids = None if ids[-1] == len(ids) - 1 else ids  # None: a symbol is its own id
        self._dtype = np.min_scalar_type(int(ids[-1]))

    def encode(self, text: str, dtype: DTypeLike | None = None) -> Ids:  # -> (tokens,)
        """The ids of a text, in which special tokens are plain text, by default of the smallest type that holds them.

        Raises:
            UnicodeEncodeError: the text has a lone surrogate.
        """
        ids = GrowingIds(np.dtype(dtype or self._dtype))
        self.encode_into(ids, text, 0, len(text))
        return ids.array()

    def encode_into(self, ids: GrowingIds, text: str, start: int, stop: int, scale: int = 1) -> None:
        """Add the ids of `text[start:stop]` to others, in windows `scale` times as large.

        Raises:
            UnicodeEncodeError: the text has a lone surrogate.
        """
        before = len(ids)
        while True:
            try:
                for symbols in self._symbols(text, start, stop, scale):
                    ids.extend(self._ids_of(symbols))
                return
            except _TornError:
                ids.cut(before)
                scale *= 2

    def encode_batch(self, texts: Sequence[str], scale: int = 1) -> tuple[Ids, Indices]:  # -> (tokens,), (texts + 1,)
        """The ids of several texts, one text after the other, and where each text's start, then the end of all.

        Windows are `scale` times as large; short texts share one.

        Raises:
            UnicodeEncodeError: a text has a lone surrogate.

        >>> from minigpt2.vocabulary import gpt2
        >>> ids, offsets = Engine(gpt2()).encode_batch(["The meaning", "", "of life"])
        >>> ids.tolist(), offsets.tolist()
        ([464, 3616, 1659, 1204], [0, 2, 2, 4])
        """
        ids = GrowingIds(self._dtype)
        ends = [np.zeros(1, np.intp)]
        for group in _groups(texts, scale * self._window):
            if len(group) == 1:
                self.encode_into(ids, group[0], 0, len(group[0]), scale)
                ends.append(np.array([len(ids)]))
            else:
                symbols, counts = self._encode_joined(group)
                ends.append(len(ids) + np.cumsum(counts))
                ids.extend(self._ids_of(symbols))
        return ids.array(), np.concatenate(ends)

    def _encode_joined(self, texts: Sequence[str]) -> tuple[NDArray[Any], Indices]:  # -> (tokens,), (texts,)
        """The symbols of short texts, encoded as one window, and how many each text has.

        Each text gets a newline at its end, at which a piece is made to start and to end. So the text is split as if it
        ended there: a newline only ever continues whitespace, and the start at the newline cuts that off. The newlines'
        tokens are taken out again.
        """
        lines = [f"{text}\n" for text in texts]
        sizes = np.fromiter((len(line.encode("utf-8")) for line in lines), np.intp, len(lines))
        ends = np.cumsum(sizes)
        text = "".join(lines)
        data = text.encode("utf-8")
        is_start = np.zeros(len(data), np.bool_)
        for offsets in (split_into_pieces(text, data, self._tables.joinable)[0], ends - sizes, ends - 1):
            is_start[offsets] = True
        starts = indices_where(is_start)
        memory = self._current_memory()
        ((symbols, first),) = memory.symbols_of([memory.find(data, starts, lengths_between(starts, len(data)))])
        newlines = first.take(np.searchsorted(starts, ends - 1))
        kept = np.ones(len(symbols), np.bool_)
        kept[newlines] = False
        return symbols[kept], np.diff(newlines, prepend=-1) - 1

    def _ids_of(self, symbols: NDArray[Any]) -> Ids:  # (tokens,) -> (tokens,)
        return symbols if self._ids is None else self._ids.take(symbols)

    def _current_memory(self) -> Memory:
        memory = self._memory
        if memory.is_full:
            memory = self._memory = Memory(self._tables)
        return memory

    def _symbols(self, text: str, start: int, stop: int, scale: int) -> Iterator[NDArray[Any]]:
        """The symbols of each window, (tokens,). Windows are looked up, and their new pieces learned, in groups."""
        memory = self._current_memory()
        waiting: list[Found] = []
        missed = 0
        for window in self._windows(text, start, stop, scale):
            if isinstance(window, _Window):
                waiting.append(memory.find(window.data, window.starts, window.lengths))
                missed += waiting[-1].missed
                if missed + waiting[-1].missed < MOST_MISSED and len(waiting) < GROUP:
                    continue
            yield from (symbols for symbols, _ in memory.symbols_of(waiting))
            waiting, missed, memory = [], 0, self._current_memory()
            if not isinstance(window, _Window):
                yield window
        yield from (symbols for symbols, _ in memory.symbols_of(waiting))

    def _windows(self, text: str, position: int, stop: int, scale: int) -> Iterator[_Window | Symbols]:
        """Cut a text into windows; a piece larger than a window gives the symbols of its parts, (tokens,)."""
        ahead: _Row | None = None  # the tokens that a part has beyond where the next window starts
        while position < stop:
            width = scale * self._window
            part = text[position : min(position + width, stop)]
            window = self._cut(part, is_end=position + width >= stop)
            end, is_part = window.end, not len(window.starts)
            if is_part or ahead:
                row = self._merge_first(window)
                row, ahead = _sewn(ahead, row) if ahead else row, None
                if is_part:
                    row, end, ahead = _settled(row, window.data[:end])
                yield row.symbols
                window = window._replace(starts=window.starts[1:], lengths=window.lengths[1:])
            if not is_part:
                yield window
            position += _characters(window.data, end)

    def _cut(self, part: str, is_end: bool) -> _Window:
        """A window of its text's pieces, without the last, which may go on; without pieces, if all is a part of one."""
        data = part.encode("utf-8")
        starts, lengths = split_into_pieces(part, data, self._tables.joinable)
        if is_end:
            return _Window(data, starts, lengths, len(data))
        sure = len(data) - _LOOK_AHEAD
        last = int(np.searchsorted(starts, sure, side="right")) - 1
        if sure <= 0:
            raise _TornError
        return _Window(data, starts[:last], lengths[:last], int(starts[last]) if last else sure)

    def _merge_first(self, window: _Window) -> _Row:
        """The tokens of a window's first piece, or of the part of a piece that the window is."""
        end = window.end if len(window.starts) < 2 else int(window.starts[1])
        data = np.frombuffer(window.data, np.uint8)[:end]
        symbols = self._tables.merged(data, np.array([end])).symbols
        return _Row(symbols, starts_of(self._tables.merges.token_lengths.take(symbols)))


def _sewn(left: _Row, right: _Row) -> _Row:
    """The tokens of the left row up to the first that both have at the same offset, then those of the right row.

    The left row's offsets count from where the right row starts.
    """
    nearest = np.minimum(np.searchsorted(right.starts, left.starts), len(right.starts) - 1)  # in right, (left,)
    same = (right.starts.take(nearest) == left.starts) & (right.symbols.take(nearest) == left.symbols)
    seams = indices_where(same)
    if not len(seams):
        raise _TornError
    end, begin = seams[0], nearest[seams[0]]
    symbols = np.concatenate([left.symbols[:end], right.symbols[begin:]])
    return _Row(symbols, np.concatenate([left.starts[:end], right.starts[begin:]]))


def _settled(row: _Row, data: bytes) -> tuple[_Row, int, _Row]:
    """The tokens of a part that will not change, the byte at which the next window starts, and the tokens after it.

    A window starts with the first byte of a character, and not with what would be a contraction at a pretoken's start.
    """
    utf8 = np.frombuffer(data + b" ", np.uint8)
    characters = indices_where(utf8 & 0xC0 != 0x80)  # the first bytes of all characters
    begins = characters.take(np.searchsorted(characters, row.starts, side="right") - 1)  # of each token's, (tokens,)
    first, second = utf8.take(begins), utf8.take(begins + 1)
    fits = (begins > 0) & (row.starts <= len(data) - min(_UNSETTLED, len(data) // 2))
    fits &= ~((first == _APOSTROPHE) & np.isin(second, _SUFFIX_STARTS))
    candidates = indices_where(fits)
    if not len(candidates):
        raise _TornError
    last = candidates[-1]
    begin = int(begins[last])
    return _Row(row.symbols[:last], row.starts[:last]), begin, _Row(row.symbols[last:], row.starts[last:] - begin)


def _groups(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Consecutive texts; several together have at most about `size` bytes."""
    begin = total = 0
    for index, text in enumerate(texts):
        own = len(text) if text.isascii() else 3 * len(text)
        if total + own >= size and index > begin:
            yield texts[begin:index]
            begin, total = index, 0
        total += own + 1
    if begin < len(texts):
        yield texts[begin:]


def _characters(data: bytes, end: int) -> int:
    """How many characters UTF-8 has up to a byte: the bytes other than 10xxxxxx, which as signed numbers are lowest."""
    return end if data.isascii() else int(np.count_nonzero(np.frombuffer(data, np.int8, end) >= -64))
