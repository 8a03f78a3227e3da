"""The symbols of learned pieces, and how entries become symbols again.

An *entry* is the answer for a piece. Below the number of tokens, it is the symbol of the one token that the piece is.
From there on, it is the number of tokens plus the index of a learned piece. From the store's limit on, it stands for a
piece that the store has no room for, which the call's own `Overflow` keeps.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Indices, indices_where
from minigpt2.vectorized.merging import Merged
from minigpt2.vectorized.packed import Packed

#: How many pieces are remembered, and how many words of theirs beyond their first, before everything is forgotten.
MOST_PIECES = 1 << 17
MOST_TAILS = 1 << 17


class Overflow:
    """The pieces of one call that are not remembered."""

    def __init__(self, limit: int) -> None:
        self._next = limit
        self.packed: list[Packed] = []

    def add(self, packed: Packed) -> Indices:  # -> (pieces,)
        """Keep pieces until the call ends, and return their entries."""
        entries = np.arange(self._next, self._next + len(packed.heads), dtype=np.intp)
        self.packed.append(packed)
        self._next += len(entries)
        return entries


class Store:
    """The symbols of learned pieces. An entry keeps its meaning for as long as the store lives.

    >>> store, overflow = Store(tokens=50257), Overflow(0)
    >>> store.add(Merged(np.array([400, 87], np.int32), np.array([2])), overflow).tolist()  # th x
    [50257]
    >>> symbols, starts = store.symbols_of(np.array([1169, 50257]), overflow)  # the, then th x
    >>> symbols.tolist(), starts.tolist()
    ([1169, 400, 87], [0, 1])
    """

    def __init__(self, tokens: int) -> None:
        self._dtype = np.dtype(np.uint16 if tokens <= 1 << 16 else np.uint32)
        self._tokens, self.limit = tokens, tokens + MOST_PIECES
        self._packed = Packed(
            self._dtype,
            heads=np.empty(MOST_PIECES, np.uint64),
            lengths=np.empty(MOST_PIECES, np.uint16),
            tail_starts=np.empty(MOST_PIECES, np.int32),
            tails=np.empty(MOST_TAILS, np.uint64),
        )
        self.pieces = 0  # learned so far
        self._used = 0  # words of `tails`
        self._had_no_room = False

    @property
    def is_nearly_full(self) -> bool:
        """Whether the store has little room left, or had too little for a call."""
        return self._had_no_room or self.pieces > MOST_PIECES // 4 * 3 or self._used > MOST_TAILS // 4 * 3

    def pack(self, merged: Merged) -> Packed:
        """Merged pieces as the store keeps them."""
        return Packed.pack(merged.symbols, merged.lengths, self._dtype)

    def add(self, merged: Merged, overflow: Overflow) -> Indices:  # -> (pieces,)
        """Remember pieces if there is room for all of them, else leave them to the overflow; return their entries."""
        packed = self.pack(merged)
        new = slice(self.pieces, self.pieces + len(packed.heads))
        used = self._used + len(packed.tails)
        if new.stop > MOST_PIECES or used > MOST_TAILS:
            self._had_no_room = True
            return overflow.add(packed)
        self._packed.tails[self._used : used] = packed.tails
        self._packed.heads[new], self._packed.lengths[new] = packed.heads, packed.lengths
        self._packed.tail_starts[new] = self._used + packed.tail_starts
        self.pieces, self._used = new.stop, used
        return np.arange(new.start, new.stop) + self._tokens

    def symbols_of(self, entries: Indices, overflow: Overflow) -> tuple[NDArray[Any], Indices]:
        """The symbols of pieces, given their entries, (pieces,).

        Returns: the symbols of all pieces, one piece after the other, (symbols,) uint16 or uint32; and the index at
        which each piece's start, (pieces,) intp.
        """
        learned = indices_where(entries >= self._tokens)
        runs = entries.take(learned) - self._tokens
        return self._with(overflow.packed).join_among(entries.astype(self._dtype), learned, runs)

    def _with(self, spilled: list[Packed]) -> Packed:
        """The store's runs and, from the index `limit - tokens` on, those that it had no room for."""
        if not spilled:
            return self._packed
        parts = [self._packed, *spilled]
        used = np.cumsum([0, *(len(part.tails) for part in parts)])
        return Packed(
            self._dtype,
            np.concatenate([part.heads for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([u + part.tail_starts for u, part in zip(used, parts, strict=False)]),
            np.concatenate([part.tails for part in parts]),
        )
