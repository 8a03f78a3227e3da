"""The engine: texts of any size in windows, each a handful of array operations.

A window ends where a piece surely starts, so that the next one splits its text as if there had been no window. A piece
larger than a window is taken in parts, which overlap: the next window starts with a character well before the end of
what this one merged. From the first token on that both have at the same place, those of the next are the right ones, up
to there those of this (`long_pieces` says why). Should they have none in common, all is done again with larger windows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minigpt2.vectorized.arrays import Places, Symbols
from minigpt2.vectorized.boundaries import pieces
from minigpt2.vectorized.growing import GrowingIds
from minigpt2.vectorized.known import known
from minigpt2.vectorized.memory import Found, Memory
from minigpt2.vocabulary import Vocabulary

#: Characters in a window.
WINDOW = 1 << 17

#: Learning has a price for each time, so windows wait for each other: at most so many, which miss about so many pieces,
#: if the next one misses as many as the last.
GROUP = 12
MOST_MISSED = 1 << 17

#: Bytes before a window's end in which no piece may start: a start depends on three characters after it.
_LOOK_AHEAD = 16

#: Bytes before a window's end in which the tokens of a larger piece may still change.
_UNSETTLED = 1024

_APOSTROPHE, *_SUFFIX_STARTS = b"'stmdrvl"

Ids = NDArray[Any]


class _Window(NamedTuple):
    """UTF-8, the bytes at which its pieces start, their lengths, and the byte at which the last of them ends."""

    data: bytes
    starts: Places
    lengths: Places
    end: int


class _Row(NamedTuple):
    """Tokens of a part of a piece: their symbols, and the bytes of the window at which they start."""

    symbols: Symbols
    starts: Places


class _TornError(Exception):
    """Two parts of a piece do not fit together."""


class Engine:
    """Encodes texts to ids with one vocabulary, remembering pieces; safe to share between threads."""

    def __init__(self, vocabulary: Vocabulary, window: int = WINDOW) -> None:
        self._known = known(vocabulary)
        self._memory = Memory(self._known)
        self._window = window
        ids = vocabulary.ids
        self._ids = None if ids[-1] == len(ids) - 1 else ids
        self._kind = np.min_scalar_type(int(ids[-1]))

    def encode(self, text: str, kind: DTypeLike | None = None) -> Ids:
        """The ids of a text in which special tokens are plain text, shape (tokens,), by default of the smallest type.

        Raises:
            UnicodeEncodeError: the text has a lone surrogate.
        """
        ids = GrowingIds(np.dtype(kind or self._kind))
        self.encode_into(ids, text, 0, len(text))
        return ids.array()

    def encode_into(self, ids: GrowingIds, text: str, start: int, stop: int, larger: int = 1) -> None:
        """Add to some ids those of a text from one index to another, in windows so many times as large.

        Raises:
            UnicodeEncodeError: the text has a lone surrogate.
        """
        before = len(ids)
        while True:
            try:
                for symbols in self._symbols(text, start, stop, larger):
                    ids.extend(self._ids_of(symbols))
                return
            except _TornError:
                ids.cut(before)
                larger *= 2

    def encode_batch(self, texts: Sequence[str], larger: int = 1) -> tuple[Ids, Places]:
        """The ids of several texts, one after the other, and where each text's start, and the end of all.

        Windows are so many times as large as others, and short texts are taken together, as many as fill one.

        Raises:
            UnicodeEncodeError: a text has a lone surrogate.
        """
        ids = GrowingIds(self._kind)
        ends = [np.zeros(1, np.int64)]
        for group in _groups(texts, larger * self._window):
            if len(group) == 1:
                self.encode_into(ids, group[0], 0, len(group[0]), larger)
                ends.append(np.array([len(ids)]))
            else:
                symbols, counts = self._encode_joined(group)
                ends.append(len(ids) + np.cumsum(counts))
                ids.extend(self._ids_of(symbols))
        return ids.array(), np.concatenate(ends)

    def _encode_joined(self, texts: Sequence[str]) -> tuple[NDArray[Any], Places]:
        """Short texts in one window, each with a newline at its end, at which a piece starts and ends in any case.

        What precedes a newline is split as at the end of a text: whitespace goes with it, anything else does not. The
        newlines' tokens are taken out again.
        """
        lines = [f"{text}\n" for text in texts]
        sizes = np.fromiter((len(line.encode("utf-8")) for line in lines), np.int64, len(lines))
        ends = np.cumsum(sizes)
        text = "".join(lines)
        data = text.encode("utf-8")
        starts_here = np.zeros(len(data), np.bool_)
        for places in (pieces(text, data, self._known.joinable)[0], ends - sizes, ends - 1):
            starts_here[places] = True
        starts = np.flatnonzero(starts_here)
        memory = self._current_memory()
        window = _Window(data, starts, np.diff(starts, append=len(data)), len(data))
        ((symbols, first),) = memory.symbols_of([memory.find(window.data, window.starts, window.lengths)])
        newlines = first.take(np.searchsorted(starts, ends - 1))
        kept = np.ones(len(symbols), np.bool_)
        kept[newlines] = False
        return symbols[kept], np.diff(newlines, prepend=-1) - 1

    def _ids_of(self, symbols: NDArray[Any]) -> Ids:
        return symbols if self._ids is None else self._ids.take(symbols)

    def _current_memory(self) -> Memory:
        memory = self._memory
        if memory.is_full:
            memory = self._memory = Memory(self._known)
        return memory

    def _symbols(self, text: str, start: int, stop: int, larger: int) -> Iterator[NDArray[Any]]:
        """The symbols of each window; some windows at a time look up what they miss, and learn what is new."""
        memory = self._current_memory()
        waiting: list[Found] = []
        missed = 0
        for window in self._windows(text, start, stop, larger):
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

    def _windows(self, text: str, position: int, stop: int, larger: int) -> Iterator[_Window | Symbols]:
        """Cut a text into windows, and pieces larger than a window into the symbols of their parts."""
        ahead: _Row | None = None  # what a part merged beyond its end
        while position < stop:
            width = larger * self._window
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
        """The pieces of a window but for the last, which its end may have cut; none, where all is a part of one."""
        data = part.encode("utf-8")
        starts, lengths = pieces(part, data, self._known.joinable)
        if is_end:
            return _Window(data, starts, lengths, len(data))
        sure = len(data) - _LOOK_AHEAD
        last = int(np.searchsorted(starts, sure, side="right")) - 1
        if sure <= 0:
            raise _TornError
        return _Window(data, starts[:last], lengths[:last], int(starts[last]) if last else sure)

    def _merge_first(self, window: _Window) -> _Row:
        """The tokens of a window's first piece, or of the part of one that it is."""
        end = window.end if len(window.starts) < 2 else int(window.starts[1])
        data = np.frombuffer(window.data, np.uint8)[:end]
        symbols = self._known.merged(data, np.array([end])).symbols
        lengths = self._known.merges.token_lengths.take(symbols)
        return _Row(symbols, np.cumsum(lengths) - lengths)


def _sewn(left: _Row, right: _Row) -> _Row:
    """The tokens of the left row up to the first that both have at the same place, then those of the right one."""
    places = np.minimum(np.searchsorted(right.starts, left.starts), len(right.starts) - 1)
    same = (right.starts.take(places) == left.starts) & (right.symbols.take(places) == left.symbols)
    seams = np.flatnonzero(same)
    if not len(seams):
        raise _TornError
    end, begin = seams[0], places[seams[0]]
    symbols = np.concatenate([left.symbols[:end], right.symbols[begin:]])
    return _Row(symbols, np.concatenate([left.starts[:end], right.starts[begin:]]))


def _settled(row: _Row, data: bytes) -> tuple[_Row, int, _Row]:
    """The tokens of a part, as far as it goes; the byte at which the next starts; and the tokens ahead, from there on.

    A part starts with a character's first byte, and not with what would be a contraction at a pretoken's start.
    """
    utf8 = np.frombuffer(data + b" ", np.uint8)
    characters = np.flatnonzero(utf8 & 0xC0 != 0x80)
    begins = characters.take(np.searchsorted(characters, row.starts, side="right") - 1)
    first, second = utf8.take(begins), utf8.take(begins + 1)
    fit = (begins > 0) & (row.starts <= len(data) - min(_UNSETTLED, len(data) // 2))
    fit &= ~((first == _APOSTROPHE) & np.isin(second, _SUFFIX_STARTS))
    places = np.flatnonzero(fit)
    if not len(places):
        raise _TornError
    place = places[-1]
    begin = int(begins[place])
    ahead = _Row(row.symbols[place:], row.starts[place:] - begin)
    return _Row(row.symbols[:place], row.starts[:place]), begin, ahead


def _groups(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Consecutive texts, together of at most about `size` bytes if they are several."""
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
    """How many characters UTF-8 holds up to a byte: as many as bytes that are no 10xxxxxx."""
    return end if data.isascii() else int(np.count_nonzero(np.frombuffer(data, np.int8, end) >= -64))
