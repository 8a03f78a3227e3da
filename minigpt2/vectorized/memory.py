"""What each piece's tokens are: the vocabulary's own, and what was merged before.

A piece of up to 15 bytes is looked up as two words: its bytes as little-endian integers, its length in the top byte of
the second. Up to 7 bytes are one word, which has a fast table of its own, one probe and no more. Longer pieces are
looked up as bytes.
"""

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized import long_pieces, merging
from minigpt2.vectorized.pairs import Merges, Places
from minigpt2.vectorized.store import Entries, Overflow, Store
from minigpt2.vectorized.table import ABSENT, Table, Words
from minigpt2.vocabulary import Vocabulary, gpt2

#: The bytes of the longest piece that is looked up as two words.
TWO_WORDS = 15

#: What is put behind a text, so that two words can be read at its last piece.
_PADDING = bytes(16)

#: The longest pieces that are remembered, in bytes, and how many longer than two words.
LONGEST = 256
MOST_LONG = 1 << 13

_FAST_BITS = 16
_TAG_SHIFT = np.uint64(56)
_LOW_MASK = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(TWO_WORDS + 1)], np.uint64)
_HIGH_MASK = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(TWO_WORDS + 1)], np.uint64)
_TAG = np.arange(TWO_WORDS + 1, dtype=np.uint64) << _TAG_SHIFT
# By length, as far as 16 and more: what is too long for one word gets a tag that no length has, and is not found.
_ONE_WORD_MASK = np.array([(1 << 8 * n) - 1 if n < 8 else 0 for n in range(TWO_WORDS + 2)], np.uint64)
_ONE_WORD_TAG = np.array([n if n < 8 else 255 for n in range(TWO_WORDS + 2)], np.uint64) << _TAG_SHIFT


class Known:
    """What follows from a vocabulary alone: its merges, the bytes that tokens join, and its tokens as pieces."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.merges = Merges(vocabulary)
        tokens = list(vocabulary.token_bytes.values())
        self.tokens = len(tokens)
        self.joinable = _joinable(tokens)
        symbols = _tokens_that_merge_to_themselves(vocabulary, tokens, self.merges)
        data = np.frombuffer(b"".join(tokens) + _PADDING, np.uint8)
        lengths = self.merges.token_lengths
        starts = np.cumsum(lengths) - lengths
        low, high = _two_words(_words_at(data), starts.take(symbols), lengths.take(symbols))
        self.table = Table((4 * len(symbols)).bit_length())
        self.table.add(low, high, symbols.astype(np.int32))
        self.fast_words = np.zeros(1 << _FAST_BITS, np.uint64)
        self.fast_entries = np.zeros(1 << _FAST_BITS, np.int32)
        short = np.flatnonzero(lengths.take(symbols) < 8)[::-1]  # of rivals the last stays: the one with the lowest id
        words = low[short] | high[short]
        self.fast_words[_fast_places(words)] = words
        self.fast_entries[_fast_places(words)] = symbols[short]


@lru_cache(maxsize=4)
def known(vocabulary: Vocabulary) -> Known:
    """The tables of a vocabulary, made when first asked for."""
    return Known(vocabulary)


def _joinable(tokens: list[bytes]) -> NDArray[np.bool_]:
    """Which two bytes are neighbours in some token, shape (65536,): of the first, times 256, and the second."""
    data = np.frombuffer(b"".join(tokens), np.uint8)
    within = np.ones(len(data) + 1, np.bool_)
    within[np.cumsum([0, *map(len, tokens)])] = False
    joinable = np.zeros(65536, np.bool_)
    joinable[(data[:-1].astype(np.int64) << 8 | data[1:])[within[1:-1]]] = True
    return joinable


def _tokens_that_merge_to_themselves(vocabulary: Vocabulary, tokens: list[bytes], merges: Merges) -> Places:
    """The symbols of the tokens of up to 15 bytes that may be looked up whole, shape (symbols,)."""
    short = np.flatnonzero((merges.token_lengths <= TWO_WORDS) & (merges.token_lengths > 0))
    if vocabulary is gpt2():
        added = np.searchsorted(merges.ids, list(vocabulary.added_tokens.values()))
        return np.setdiff1d(short, added)  # a test shows that all of these do
    data = np.frombuffer(b"".join(tokens[symbol] for symbol in short), np.uint8)
    merged = merging.merge(merges, data, merges.token_lengths.take(short))
    alone = np.flatnonzero(merged.lengths == 1)
    first = np.cumsum(merged.lengths) - merged.lengths
    is_itself = merged.symbols.take(first.take(alone)) == short.take(alone)
    return short.take(alone.take(np.flatnonzero(is_itself)))


def _fast_places(words: Words) -> Places:
    mixed: Words = words * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - _FAST_BITS)
    return mixed.view(np.int64)


def _words_at(data: NDArray[np.uint8]) -> Words:
    """From each byte on, eight bytes as one word: a copy, for what is unaligned is slow to gather from."""
    return np.ascontiguousarray(np.ndarray((len(data) - 7,), "<u8", data, strides=(1,)))


def _two_words(words: Words, starts: Places, lengths: Places) -> tuple[Words, Words]:
    low = words.take(starts) & _LOW_MASK.take(lengths)
    high = words.take(starts + 8) & _HIGH_MASK.take(lengths) | _TAG.take(lengths)
    return low, high


def _bytes_of(low: Words, high: Words) -> tuple[NDArray[np.uint8], Places]:
    """The bytes of pieces given as two words, one after the other, and their lengths."""
    lengths = (high >> _TAG_SHIFT).astype(np.int64)
    rows = np.stack([low, high], axis=1).astype("<u8").view(np.uint8)
    return rows[np.arange(16) < lengths[:, None]], lengths


def _slices(data: bytes, starts: Places, lengths: Places) -> list[bytes]:
    return [data[start:end] for start, end in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]


class Found(NamedTuple):
    """The entries of a window's pieces, but for those that nobody met before: where they are, and what."""

    version: int
    entries: Entries
    unknown: Places
    low: Words
    high: Words
    long: Places
    long_pieces: list[bytes]

    @property
    def unknown_pieces(self) -> int:
        """How many pieces wait to be merged."""
        return len(self.unknown) + len(self.long_pieces)


class Memory:
    """The entries of pieces met so far: any thread may look them up, one at a time adds to them."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._table = known.table.copy(known.table.bits)
        self._fast_words, self._fast_entries = known.fast_words.copy(), known.fast_entries.copy()
        self._long: dict[bytes, int] = {}
        self._store = Store(known.tokens)
        self._lock = Lock()
        self._version = 0
        self.characters = 0  # met so far, about

    @property
    def is_full(self) -> bool:
        """Whether it is so full that it is time to forget everything and start anew."""
        return self._store.is_nearly_full or len(self._long) >= MOST_LONG

    def find(self, data: bytes, starts: Places, lengths: Places) -> Found:
        """Look up the pieces of a window."""
        version = self._version
        words_at = _words_at(np.frombuffer(data + _PADDING, np.uint8))
        words = words_at.take(starts)
        clipped = np.minimum(lengths, TWO_WORDS + 1)
        words &= _ONE_WORD_MASK.take(clipped)
        words |= _ONE_WORD_TAG.take(clipped)
        places = _fast_places(words)
        missed = np.flatnonzero(self._fast_words.take(places) != words)
        entries = self._fast_entries.take(places)
        is_long = lengths.take(missed) > TWO_WORDS
        long, short = missed[is_long], missed[~is_long]
        low, high = _two_words(words_at, starts.take(short), lengths.take(short))
        found = self._table.find(low, high)
        entries[short] = found
        unknown = np.flatnonzero(found == ABSENT)
        pieces = _slices(data, starts.take(long), lengths.take(long))
        entries[long] = [self._long.get(piece, ABSENT) for piece in pieces]
        new = np.flatnonzero(entries.take(long) == ABSENT).tolist()
        return Found(
            version,
            entries,
            short.take(unknown),
            low.take(unknown),
            high.take(unknown),
            long.take(new),
            [pieces[i] for i in new],
        )

    def symbols_of(self, windows: Sequence[Found]) -> list[tuple[NDArray[Any], Places]]:
        """The symbols of each window's pieces, one piece after the other, and where each piece's start.

        What is unknown is merged, for all windows at once.
        """
        overflow = Overflow(self._store.limit)
        if any(window.unknown_pieces for window in windows):
            with self._lock:
                self._learn(windows, overflow)
        return [self._store.symbols_of(window.entries, overflow) for window in windows]

    def _learn(self, windows: Sequence[Found], overflow: Overflow) -> None:
        """Merge each distinct piece once, fill in the windows' entries, and keep what the store has room for."""
        low = np.concatenate([window.low for window in windows])
        high = np.concatenate([window.high for window in windows])
        entries = self._entries_by_now(windows, low, high)
        new = np.flatnonzero(entries == ABSENT)
        low, high = low.take(new), high.take(new)
        homes, owners = self._table.place(low, high)
        first = np.flatnonzero(owners == np.arange(len(owners)))
        long = dict.fromkeys(piece for window in windows for piece in window.long_pieces if piece not in self._long)
        added, entry_of_long = self._merge(low.take(first), high.take(first), list(long), overflow)
        entry_of = np.empty(len(low), np.int32)
        entry_of[first] = added
        entries[new] = entry_of.take(owners)
        if len(first) and added[0] < self._store.limit:
            kept = first[homes.take(first) != ABSENT]
            self._keep(homes.take(kept), low.take(kept), high.take(kept), entry_of.take(kept))
        self._fill_in(windows, entries, entry_of_long)
        self._version += 1  # last, so that whoever looks up from now on finds all of it

    def _entries_by_now(self, windows: Sequence[Found], low: Words, high: Words) -> Entries:
        """Another thread may have met them since they were looked up."""
        if all(window.version == self._version for window in windows):
            return np.full(len(low), ABSENT, np.int32)
        return self._table.find(low, high)

    def _merge(
        self, low: Words, high: Words, long: list[bytes], overflow: Overflow
    ) -> tuple[Entries, dict[bytes, int]]:
        """Merge pieces given as two words and as bytes; give the entries of the former, and of the latter by piece."""
        data, lengths = _bytes_of(low, high)
        brief = [piece for piece in long if len(piece) <= LONGEST]
        huge = [piece for piece in long if len(piece) > LONGEST]
        entry_of: dict[bytes, int] = {}
        added = np.empty(0, np.int32)
        if len(lengths) or brief:
            data = np.concatenate([data, np.frombuffer(b"".join(brief), np.uint8)])
            lengths = np.concatenate([lengths, np.array([len(piece) for piece in brief], np.int64)])
            added = self._store.add(long_pieces.merge(self._known.merges, data, lengths), overflow)
            entry_of |= zip(brief, added[len(low) :].tolist(), strict=True)
            if added[0] < self._store.limit:
                self._long |= entry_of
        if huge:
            lengths = np.array([len(piece) for piece in huge])
            merged = long_pieces.merge(self._known.merges, np.frombuffer(b"".join(huge), np.uint8), lengths)
            entry_of |= zip(huge, overflow.add(self._store.pack(merged)).tolist(), strict=True)
        return added[: len(low)], entry_of

    def _keep(self, homes: Places, low: Words, high: Words, entries: Entries) -> None:
        self._table.store(homes, low, high, entries)
        short = np.flatnonzero(high >> _TAG_SHIFT < 8)
        self._make_fast(low.take(short) | high.take(short), entries.take(short))
        if 3 * (self._known.tokens + self._store.pieces) > 1 << self._table.bits:
            self._table = self._table.copy(self._table.bits + 1)

    def _fill_in(self, windows: Sequence[Found], entries: Entries, entry_of_long: dict[bytes, int]) -> None:
        ends = np.cumsum([len(window.unknown) for window in windows])
        for window, own in zip(windows, np.split(entries, ends[:-1]), strict=True):
            window.entries[window.unknown] = own
            window.entries[window.long] = [self._long.get(p) or entry_of_long[p] for p in window.long_pieces]

    def _make_fast(self, words: Words, entries: Entries) -> None:
        """Give pieces of one word the fast places that are free; a taken one is never given away."""
        places, first = np.unique(_fast_places(words), return_index=True)
        free = np.flatnonzero(self._fast_words.take(places) == 0)
        self._fast_entries[places.take(free)] = entries.take(first.take(free))
        self._fast_words[places.take(free)] = words.take(first.take(free))
