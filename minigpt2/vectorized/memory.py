"""What each piece's tokens are: remembered from when it was first met.

A piece is looked up among the short ones, then by its key among all, several windows' at once; longer ones that no cut
makes shorter, as bytes in a dict. One that nobody met before is the vocabulary's own, or is cut where no merge joins
and its parts are looked up, or is merged.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized import keys as keys_
from minigpt2.vectorized.arrays import Bytes, Places
from minigpt2.vectorized.boundaries import part_starts
from minigpt2.vectorized.keys import Keys
from minigpt2.vectorized.known import Known
from minigpt2.vectorized.merging import Pieces
from minigpt2.vectorized.store import Entries, Overflow, Store
from minigpt2.vectorized.table import ABSENT, Table, owners

#: The longest pieces that are remembered, in bytes (a store can hold ones of 65,535), and how many without a key.
LONGEST = 256
MOST_LONG = 1 << 13

#: Pieces with keys that are learned at once, and bytes of pieces that are merged at once, about: what that takes stays
#: small, and in a processor's cache.
AT_ONCE = 1 << 15
BYTES_AT_ONCE = 1 << 17

#: The table's sizes: when a third is taken, it grows to eight times what it holds or more, up to the largest.
FIRST_BITS, MOST_BITS = 16, 18


class Found(NamedTuple):
    """The entries of a window's pieces, as far as they are short ones: where the others are, and what."""

    entries: Entries
    others: Places
    keys: Keys
    long: Places
    long_pieces: list[bytes]

    @property
    def missed(self) -> int:
        """How many pieces are yet to be looked up by their keys or bytes."""
        return len(self.others) + len(self.long)


class _Parts(NamedTuple):
    """The indices of the pieces that can be cut, how many parts each of them has, and what was found for the parts."""

    pieces: Places
    counts: Places
    found: Found


class Memory:
    """The entries of pieces met so far: any thread may look them up, one at a time adds to them."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._short_pieces = known.short_pieces.copy()
        self._table = Table(FIRST_BITS)
        self._long: dict[bytes, int] = {}
        self._store = Store(known.tokens)
        self._lock = Lock()
        self._times_learned = 0
        self._is_learning = False

    @property
    def is_full(self) -> bool:
        """Whether it is so full that it is time to forget everything and start anew."""
        is_table_full = 4 * self._table.held > 3 << MOST_BITS
        return is_table_full or self._store.is_nearly_full or len(self._long) >= MOST_LONG

    def find(self, data: bytes, starts: Places, lengths: Places) -> Found:
        """Look up pieces of a text's UTF-8 among the short ones, by the bytes at which they start and their lengths."""
        words = keys_.words_at(data)
        entries, missed = self._short_pieces.find(words.take(starts), lengths)
        is_long = lengths.take(missed) > keys_.LONGEST
        long, others = missed[is_long], missed[~is_long]
        keys = keys_.keys_of(words, starts.take(others), lengths.take(others))
        return Found(entries, others, keys, long, _slices(data, starts.take(long), lengths.take(long)))

    def symbols_of(self, windows: Sequence[Found]) -> list[tuple[NDArray[Any], Places]]:
        """The symbols of each window's pieces, one piece after the other, and where each piece's start.

        What the windows miss is looked up, and if nobody met it before, learned, for all of them at once.
        """
        overflow = Overflow(self._store.limit)
        if any(window.missed for window in windows):
            self._complete(windows, overflow)
        return [self._store.symbols_of(window.entries, overflow) for window in windows]

    def _complete(self, windows: Sequence[Found], overflow: Overflow) -> None:
        """Fill in the entries that the windows miss."""
        keys = np.concatenate([window.keys for window in windows])
        long = dict.fromkeys(piece for window in windows for piece in window.long_pieces)
        entries, entry_of_long = self._entries(keys, list(long), overflow)
        ends = np.cumsum([len(window.others) for window in windows])
        for window, own in zip(windows, np.split(entries, ends[:-1]), strict=True):
            window.entries[window.others] = own
            window.entries[window.long] = [self._long.get(p) or entry_of_long[p] for p in window.long_pieces]

    def _entries(self, keys: Keys, long: list[bytes], overflow: Overflow) -> tuple[Entries, dict[bytes, int]]:
        """The entries of pieces by key, and those of long ones that nobody met before, by their bytes.

        What was looked up while another thread was learning may be wrong, and is looked up again.
        """
        times, is_quiet = self._times_learned, not self._is_learning
        entries = self._table.find(keys)
        is_sure = is_quiet and not self._is_learning and times == self._times_learned
        if is_sure and not (entries == ABSENT).any() and all(piece in self._long for piece in long):
            return entries, {}
        with self._lock:
            if not is_sure or times != self._times_learned:
                entries = self._table.find(keys)
            new = np.flatnonzero(entries == ABSENT)
            new_long = [piece for piece in long if piece not in self._long]
            if not len(new) and not new_long:
                return entries, {}
            self._is_learning = True
            try:
                entries[new], entry_of_long = self._learn(keys.take(new, axis=0), new_long, overflow)
            finally:
                self._times_learned += 1  # before it is quiet again
                self._is_learning = False
        return entries, entry_of_long

    def _learn(self, keys: Keys, long: list[bytes], overflow: Overflow) -> tuple[Entries, dict[bytes, int]]:
        """The entries of absent pieces, which may be equal, by key, and those of absent long ones, by their bytes."""
        distinct, which = _distinct(keys)
        entries, entry_of_long = self._learn_some(distinct[:AT_ONCE], long, overflow)
        for start in range(AT_ONCE, len(distinct), AT_ONCE):
            some = self._table.find(distinct[start : start + AT_ONCE])  # parts of those before may be among them
            new = np.flatnonzero(some == ABSENT)
            some[new], _ = self._learn_some(distinct[start:].take(new, axis=0), [], overflow)
            entries = np.append(entries, some)
        return entries.take(which), entry_of_long

    def _learn_some(self, keys: Keys, long: list[bytes], overflow: Overflow) -> tuple[Entries, dict[bytes, int]]:
        """The same for distinct ones, of which there are few."""
        parts = self._parts(keys)
        learn = self._learn_uncut if not len(parts.pieces) else partial(self._learn_by_parts, parts)
        return learn(keys, long, overflow)

    def _parts(self, keys: Keys) -> _Parts:
        """Cut pieces where no merge joins, and look up the parts; the few of ASCII alone are not worth it."""
        pieces = keys_.beyond_ascii(keys)
        data, lengths = keys_.bytes_of(keys.take(pieces, axis=0))
        starts = np.cumsum(lengths) - lengths
        parts = part_starts(data, starts, self._known.joinable)
        counts = np.diff(np.searchsorted(parts, starts), append=len(parts))
        is_cut = counts > 1
        of_cut = np.repeat(is_cut, counts)
        part_lengths = np.diff(parts, append=len(data))
        found = self.find(data.tobytes(), parts[of_cut], part_lengths[of_cut])
        found.entries[found.others] = entries = self._table.find(found.keys)
        new = np.flatnonzero(entries == ABSENT)
        unknown = found._replace(others=found.others.take(new), keys=found.keys.take(new, axis=0))
        return _Parts(pieces[is_cut], counts[is_cut], unknown)

    def _learn_by_parts(
        self, parts: _Parts, keys: Keys, long: list[bytes], overflow: Overflow
    ) -> tuple[Entries, dict[bytes, int]]:
        """Learn what cannot be cut, unknown parts included, and make up the other pieces of their parts."""
        is_whole = np.ones(len(keys), np.bool_)
        is_whole[parts.pieces] = False
        whole = np.flatnonzero(is_whole)
        found = parts.found
        uncut, which = _distinct(np.concatenate([keys.take(whole, axis=0), found.keys]))
        learned, entry_of_long = self._learn_uncut(uncut, long, overflow)
        entries = np.empty(len(is_whole), np.int64)
        entries[whole], found.entries[found.others] = np.split(learned.take(which), [len(whole)])
        symbols, starts = self._store.symbols_of(found.entries, overflow)
        lengths = np.diff(starts.take(np.cumsum(parts.counts) - parts.counts), append=len(symbols))
        entries[parts.pieces] = self._store.add(Pieces(symbols, lengths), overflow)
        self._keep(keys.take(parts.pieces, axis=0), entries.take(parts.pieces))
        return entries, entry_of_long

    def _learn_uncut(self, keys: Keys, long: list[bytes], overflow: Overflow) -> tuple[Entries, dict[bytes, int]]:
        """Of distinct pieces, take what the vocabulary has, and merge what it has not."""
        entries = self._known.table.find(keys)
        new = np.flatnonzero(entries == ABSENT)
        entries[new], entry_of_long = self._merge(keys.take(new, axis=0), long, overflow)
        self._keep(keys, entries)
        return entries, entry_of_long

    def _merge(self, keys: Keys, long: list[bytes], overflow: Overflow) -> tuple[Entries, dict[bytes, int]]:
        brief = [piece for piece in long if len(piece) <= LONGEST]
        huge = [piece for piece in long if len(piece) > LONGEST]
        data, lengths = keys_.bytes_of(keys)
        more_data, more_lengths = _joined(brief)
        groups = _groups(np.concatenate([data, more_data]), np.concatenate([lengths, more_lengths]))
        added = np.concatenate([self._store.add(self._known.merged(*group), overflow) for group in groups])
        entry_of = dict(zip(brief, added[len(keys) :].tolist(), strict=True))
        self._long |= {piece: entry for piece, entry in entry_of.items() if entry < self._store.limit}
        if huge:
            spilled = [self._store.pack(self._known.merged(*group)) for group in _groups(*_joined(huge))]
            entry_of |= zip(huge, np.concatenate([overflow.add(packed) for packed in spilled]).tolist(), strict=True)
        return added[: len(keys)], entry_of

    def _keep(self, keys: Keys, entries: Entries) -> None:
        """Remember the entries of absent pieces, but for those that end with the call."""
        kept = np.flatnonzero(entries < self._store.limit)
        keys, entries = keys.take(kept, axis=0), entries.take(kept)
        held = self._table.held + len(kept)
        if 3 * held > 1 << self._table.bits and self._table.bits < MOST_BITS:
            self._table = self._table.grown(min((8 * held).bit_length(), MOST_BITS))
        self._table.add(keys, entries)
        lengths = keys_.lengths_of(keys)
        self._short_pieces.put(keys[:, 0], lengths, entries)


def _distinct(keys: Keys) -> tuple[Keys, Places]:
    """Each key once, and for every key which of them it is."""
    owner = owners(keys)
    first = np.flatnonzero(owner == np.arange(len(owner)))
    index = np.empty(len(owner), np.int64)
    index[first] = np.arange(len(first))
    return keys.take(first, axis=0), index.take(owner)


def _joined(pieces: list[bytes]) -> tuple[Bytes, Places]:
    """The bytes of pieces, one after the other, and their lengths."""
    return np.frombuffer(b"".join(pieces), np.uint8), np.array([len(piece) for piece in pieces], np.int64)


def _groups(data: Bytes, lengths: Places) -> Iterator[tuple[Bytes, Places]]:
    """Consecutive pieces, together of about `BYTES_AT_ONCE` bytes."""
    ends = np.cumsum(lengths)
    first = np.flatnonzero(np.diff(ends // BYTES_AT_ONCE)) + 1  # piece of each group but for the first
    return zip(np.split(data, ends.take(first - 1)), np.split(lengths, first), strict=True)


def _slices(data: bytes, starts: Places, lengths: Places) -> list[bytes]:
    return [data[start:end] for start, end in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]
