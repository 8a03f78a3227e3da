"""The symbols of learned pieces, and how entries become symbols again.

An *entry* is the answer for a piece. Below the number of tokens it is itself the symbol of the one token that the piece
is. From there on it counts the pieces that were learned; from the store's limit on, those of one call that the store
has no room for, which are kept in that call's `Overflow`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Places
from minigpt2.vectorized.merging import Pieces
from minigpt2.vectorized.packed import Packed

#: How many pieces, and words of pieces beyond their first, are remembered before all are forgotten.
MOST_PIECES = 1 << 17
MOST_TAILS = 1 << 17

Entries = NDArray[np.int64]


class Overflow:
    """Pieces of one call that are not remembered."""

    def __init__(self, limit: int) -> None:
        self._next = limit
        self.packed: list[Packed] = []

    def add(self, packed: Packed) -> Entries:
        """Keep pieces until the call ends, and give their entries."""
        entries = np.arange(self._next, self._next + len(packed.heads), dtype=np.int64)
        self.packed.append(packed)
        self._next += len(entries)
        return entries


class Store:
    """What learned pieces became; entries once given out stay what they are."""

    def __init__(self, tokens: int) -> None:
        self._kind = np.dtype(np.uint16 if tokens <= 1 << 16 else np.uint32)
        self._tokens, self.limit = tokens, tokens + MOST_PIECES
        self._packed = Packed(
            self._kind,
            heads=np.empty(MOST_PIECES, np.uint64),
            lengths=np.empty(MOST_PIECES, np.uint16),
            tail_starts=np.empty(MOST_PIECES, np.int32),
            tails=np.empty(MOST_TAILS, np.uint64),
        )
        self.pieces = 0  # learned so far
        self._used = 0
        self._had_no_room = False

    @property
    def is_nearly_full(self) -> bool:
        """Whether new pieces hardly have room."""
        return self._had_no_room or self.pieces > MOST_PIECES // 4 * 3 or self._used > MOST_TAILS // 4 * 3

    def pack(self, merged: Pieces) -> Packed:
        """Merged pieces as the store keeps them."""
        return Packed.pack(merged.symbols, merged.lengths, self._kind)

    def add(self, merged: Pieces, overflow: Overflow) -> Entries:
        """Remember pieces if there is room for all, else leave them to the overflow; give their entries."""
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

    def symbols_of(self, entries: Entries, overflow: Overflow) -> tuple[NDArray[Any], Places]:
        """The symbols of pieces by their entries, one piece after the other, and where each piece's start."""
        learned = np.flatnonzero(entries >= self._tokens)
        runs = entries.take(learned) - self._tokens
        return self._with(overflow.packed).join_among(entries.astype(self._kind), learned, runs)

    def _with(self, spilled: list[Packed]) -> Packed:
        if not spilled:
            return self._packed
        parts = [self._packed, *spilled]
        used = np.cumsum([0, *(len(part.tails) for part in parts)])
        return Packed(
            self._kind,
            np.concatenate([part.heads for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([u + part.tail_starts for u, part in zip(used, parts, strict=False)]),
            np.concatenate([part.tails for part in parts]),
        )
