"""The tokens of every piece met so far, so that no piece is merged twice.

A piece is looked up among the short ones first, then by its key, together with those of several windows. Pieces that
are too long for a key are looked up as bytes in a dict. A new piece may be one of the vocabulary's tokens; otherwise it
is cut where no merge joins, and its parts are looked up or merged.
"""

from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minigpt2.forking import FORK_WAITS
from minigpt2.vectorized import keys as keys_
from minigpt2.vectorized.arrays import Bytes, Indices, Mask, indices_where, lengths_between, starts_of
from minigpt2.vectorized.boundaries import part_starts
from minigpt2.vectorized.hash_table import ABSENT, HashTable, distinct
from minigpt2.vectorized.keys import Keys
from minigpt2.vectorized.merging import Merged
from minigpt2.vectorized.store import Overflow, Store
from minigpt2.vectorized.vocabulary_tables import VocabularyTables

#: The longest pieces that are remembered, in bytes (a store can hold 65,535), and how many of those without a key.
LONGEST = 256
MOST_LONG = 1 << 13

#: How many pieces with keys are learned at once, and about how many bytes are merged at once: few enough that the
#: arrays stay in a processor's cache.
AT_ONCE = 1 << 15
BYTES_AT_ONCE = 1 << 17

#: The table's sizes: when a third of its slots is taken, it grows to at least eight times what it holds, up to the
#: largest size.
FIRST_BITS, MOST_BITS = 16, 18


class Found(NamedTuple):
    """The result of looking up a window's pieces among the short ones.

    Attributes:
        entries: of the pieces (see `store`), still undefined for the `others` and the `long` ones, (pieces,) intp.
        others: the indices of the pieces to look up by key, (others,) intp.
        keys: their keys, (others, 4) uint64.
        long: the indices of the pieces too long for a key, (long,) intp.
        long_pieces: their bytes.
    """

    entries: Indices
    others: Indices
    keys: Keys
    long: Indices
    long_pieces: list[bytes]

    @property
    def missed(self) -> int:
        """How many pieces have yet to be looked up by key or by bytes."""
        return len(self.others) + len(self.long)


class Memory:
    """The entries of pieces met so far: any thread may look them up; one at a time, of all memories, adds to them.

    >>> from minigpt2.vectorized.vocabulary_tables import tables_of
    >>> from minigpt2.vocabulary import gpt2
    >>> memory = Memory(tables_of(gpt2()))
    >>> found = memory.find(b"the thx", np.array([0, 3]), np.array([3, 4]))
    >>> found.missed  # " thx"
    1
    >>> ((symbols, starts),) = memory.symbols_of([found])
    >>> symbols.tolist(), starts.tolist()
    ([1169, 294, 87], [0, 1])
    """

    def __init__(self, tables: VocabularyTables) -> None:
        self._tables = tables
        self._short_pieces = tables.short_pieces.copy()
        self._table = HashTable(FIRST_BITS)
        self._long: dict[bytes, int] = {}
        self._store = Store(tables.tokens)
        self._version = 0  # odd while a thread writes to the tables

    @property
    def is_full(self) -> bool:
        """Whether it is time to forget everything and start with a new memory."""
        is_table_full = 4 * self._table.held > 3 << MOST_BITS
        return is_table_full or self._store.is_nearly_full or len(self._long) >= MOST_LONG

    def find(self, data: bytes, starts: Indices, lengths: Indices) -> Found:  # (pieces,), (pieces,)
        """Look up pieces among the short ones, given their text's UTF-8, their byte offsets and their lengths."""
        words = keys_.words_at(data)
        entries, missed = self._short_pieces.find(words.take(starts), lengths)
        is_long = lengths.take(missed) > keys_.LONGEST
        long, others = missed[is_long], missed[~is_long]
        keys = keys_.keys_of(words, starts.take(others), lengths.take(others))
        return Found(entries, others, keys, long, _slices(data, starts.take(long), lengths.take(long)))

    def symbols_of(self, windows: Sequence[Found]) -> list[tuple[NDArray[Any], Indices]]:
        """For each window, the symbols of its pieces and where each piece's start, as `Store.symbols_of` gives them.

        What the windows miss is looked up, and learned where it is new, for all of them at once.
        """
        overflow = Overflow(self._store.limit)
        if any(window.missed for window in windows):
            self._complete(windows, overflow)
        return [self._store.symbols_of(window.entries, overflow) for window in windows]

    def _complete(self, windows: Sequence[Found], overflow: Overflow) -> None:
        """Fill in the entries that the windows miss."""
        entries = self._entries(np.concatenate([window.keys for window in windows]), overflow)
        entry_of_long = self._entries_of_long(dict.fromkeys(chain(*(w.long_pieces for w in windows))), overflow)
        ends = np.cumsum([len(window.others) for window in windows])
        for window, own in zip(windows, np.split(entries, ends[:-1]), strict=True):
            window.entries[window.others] = own
            window.entries[window.long] = [entry_of_long[piece] for piece in window.long_pieces]

    def _entries_of_long(self, pieces: Collection[bytes], overflow: Overflow) -> Mapping[bytes, int]:
        """The entries of distinct pieces that are too long for a key; new ones are learned."""
        if all(piece in self._long for piece in pieces):
            return self._long
        with FORK_WAITS:
            new = [piece for piece in pieces if piece not in self._long]
            longest = 0 if self._is_interrupted else LONGEST
            brief, huge = [p for p in new if len(p) <= longest], [p for p in new if len(p) > longest]
            entry_of: dict[bytes, int] = {}
            if brief:
                self._version += 1
                try:
                    entry_of |= zip(brief, self._merge(*_joined(brief), overflow).tolist(), strict=True)
                    self._long |= {piece: entry for piece, entry in entry_of.items() if entry < self._store.limit}
                finally:
                    self._version += 1
            if huge:
                entry_of |= zip(huge, self._merge_apart(*_joined(huge), overflow).tolist(), strict=True)
        return ChainMap(entry_of, self._long)

    def _entries(self, keys: Keys, overflow: Overflow) -> Indices:  # (n, 4) -> (n,)
        """The entries of pieces by key; new ones are learned.

        What was looked up while another thread was writing may be wrong, and is looked up again.
        """
        version = self._version
        entries = self._table.find(keys)
        is_sure = version % 2 == 0 and version == self._version
        if is_sure and not (entries == ABSENT).any():
            return entries
        with FORK_WAITS:
            if not is_sure or version != self._version:
                entries = self._table.find(keys)
            new = indices_where(entries == ABSENT)
            if len(new) and self._is_interrupted:
                entries[new] = self._merge_apart(*keys_.bytes_of(keys.take(new, axis=0)), overflow)
            elif len(new):
                self._version += 1
                try:
                    entries[new] = self._learn(keys.take(new, axis=0), overflow)
                finally:
                    self._version += 1
        return entries

    @property
    def _is_interrupted(self) -> bool:
        """Whether a signal handler encodes while this same thread is writing; FORK_WAITS must be held.

        The handler may read the tables, but must not add to them.
        """
        return self._version % 2 == 1

    def _learn(self, keys: Keys, overflow: Overflow) -> Indices:  # (n, 4) -> (n,)
        """The entries of absent pieces, some of which may be equal."""
        few, which = distinct(keys)
        chunks = [few[start : start + AT_ONCE] for start in range(0, len(few), AT_ONCE)]
        return np.concatenate([self._learn_distinct(chunk, overflow) for chunk in chunks]).take(which)

    def _learn_distinct(self, keys: Keys, overflow: Overflow) -> Indices:  # (n, 4) -> (n,)
        """The entries of distinct absent pieces: those that can be cut are put together from their parts.

        (A part of an earlier chunk's piece may be learned again as a piece of its own. That only costs its room.)
        """
        is_cut, counts, found = self._cut(keys)
        if not len(counts):
            return self._learn_uncut(keys, overflow)
        cut, whole = indices_where(is_cut), indices_where(~is_cut)
        uncut, which = distinct(np.concatenate([keys.take(whole, axis=0), found.keys]))
        learned = self._learn_uncut(uncut, overflow).take(which)
        entries = np.empty(len(keys), np.intp)
        entries[whole], found.entries[found.others] = np.split(learned, [len(whole)])
        symbols, starts = self._store.symbols_of(found.entries, overflow)
        lengths = lengths_between(starts.take(starts_of(counts)), len(symbols))
        entries[cut] = self._store.add(Merged(symbols, lengths), overflow)
        self._keep(keys.take(cut, axis=0), entries.take(cut))
        return entries

    def _cut(self, keys: Keys) -> tuple[Mask, Indices, Found]:  # (n, 4) -> (n,), (cut,)
        """Cut pieces where no merge joins: which can be cut, into how many parts each, and what the parts' entries are.

        Pieces of ASCII alone are left whole: few of them can be cut.
        """
        pieces = keys_.beyond_ascii(keys)
        data, lengths = keys_.bytes_of(keys.take(pieces, axis=0))
        starts = starts_of(lengths)
        parts = part_starts(data, starts, self._tables.joinable)
        counts = lengths_between(np.searchsorted(parts, starts), len(parts))
        is_cut = np.zeros(len(keys), np.bool_)
        is_cut[pieces] = counts > 1
        of_cut = np.repeat(counts > 1, counts)
        found = self.find(data.tobytes(), parts[of_cut], lengths_between(parts, len(data))[of_cut])
        found.entries[found.others] = entries = self._table.find(found.keys)
        new = indices_where(entries == ABSENT)
        unknown = found._replace(others=found.others.take(new), keys=found.keys.take(new, axis=0))
        return is_cut, counts[counts > 1], unknown

    def _learn_uncut(self, keys: Keys, overflow: Overflow) -> Indices:  # (n, 4) -> (n,)
        """The entries of distinct absent pieces: the vocabulary's own, or else they are merged."""
        entries = self._tables.table.find(keys)
        new = indices_where(entries == ABSENT)
        entries[new] = self._merge(*keys_.bytes_of(keys.take(new, axis=0)), overflow)
        self._keep(keys, entries)
        return entries

    def _merge(self, data: Bytes, lengths: Indices, overflow: Overflow) -> Indices:  # (bytes,), (pieces,) -> (pieces,)
        """Merge pieces, laid one after the other, and remember their tokens if there is room."""
        merged = (self._tables.merged(*group) for group in _groups(data, lengths))
        return np.concatenate([self._store.add(group, overflow) for group in merged])

    def _merge_apart(self, data: Bytes, lengths: Indices, overflow: Overflow) -> Indices:
        """Merge pieces, (bytes,) and (pieces,), for this call alone; return their entries, (pieces,)."""
        merged = (self._tables.merged(*group) for group in _groups(data, lengths))
        return np.concatenate([overflow.add(self._store.pack(group)) for group in merged])

    def _keep(self, keys: Keys, entries: Indices) -> None:  # (n, 4), (n,)
        """Remember the entries of absent pieces, except those that end with the call."""
        kept = indices_where(entries < self._store.limit)
        keys, entries = keys.take(kept, axis=0), entries.take(kept)
        held = self._table.held + len(kept)
        if 3 * held > 1 << self._table.bits and self._table.bits < MOST_BITS:
            self._table = self._table.grown(min((8 * held).bit_length(), MOST_BITS))
        self._table.add(keys, entries)
        self._short_pieces.put(keys[:, 0], keys_.lengths_of(keys), entries)


def _joined(pieces: list[bytes]) -> tuple[Bytes, Indices]:  # -> (lengths.sum(),), (pieces,)
    """The bytes of pieces, one after the other, and their lengths."""
    return np.frombuffer(b"".join(pieces), np.uint8), np.array([len(piece) for piece in pieces], np.intp)


def _groups(data: Bytes, lengths: Indices) -> Iterator[tuple[Bytes, Indices]]:  # (lengths.sum(),), (pieces,)
    """Consecutive pieces, together of about `BYTES_AT_ONCE` bytes."""
    ends = np.cumsum(lengths)
    first = indices_where(np.diff(ends // BYTES_AT_ONCE)) + 1  # the first piece of each group but the first
    return zip(np.split(data, ends.take(first - 1)), np.split(lengths, first), strict=True)


def _slices(data: bytes, starts: Indices, lengths: Indices) -> list[bytes]:  # (n,), (n,)
    return [data[start:end] for start, end in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]
