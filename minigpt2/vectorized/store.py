"""The symbols of learned pieces, and how entries become symbols again.

An *entry* is the answer for a piece. Below the number of tokens it is itself the symbol of the one token that the piece
is. From there on it counts the pieces that were learned; from the store's limit on, those of one call that the store
has no room for, which are kept in that call's `Overflow`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.merging import Pieces
from minigpt2.vectorized.packed import Packed
from minigpt2.vectorized.pairs import Places

#: How many pieces, and words of pieces beyond their first, are remembered before all are forgotten.
MOST_PIECES = 1 << 17
MOST_TAILS = 1 << 17

Entries = NDArray[np.int32]


class Overflow:
    """Pieces of one call that are not remembered."""

    def __init__(self, limit: int) -> None:
        self._next = limit
        self.packed: list[Packed] = []

    def add(self, packed: Packed) -> Entries:
        """Keep pieces until the call ends, and give their entries."""
        entries = np.arange(self._next, self._next + len(packed.heads), dtype=np.int32)
        self.packed.append(packed)
        self._next += len(entries)
        return entries


class Store:
    """What learned pieces became; entries once given out stay what they are."""

    def __init__(self, tokens: int) -> None:
        self._kind = np.dtype(np.uint16 if tokens <= 1 << 16 else np.uint32)
        self.limit = tokens + MOST_PIECES
        self._heads = np.zeros(self.limit, np.uint64)
        lanes = 8 // self._kind.itemsize
        self._heads.view(self._kind)[: tokens * lanes : lanes] = np.arange(tokens)
        self._further = np.zeros(self.limit, np.uint16)
        self._tail_starts = np.zeros(self.limit, np.int32)
        self._tails = np.empty(MOST_TAILS, np.uint64)
        self._tokens = self._entries = tokens
        self._used = 0
        self._had_no_room = False

    @property
    def pieces(self) -> int:
        """How many pieces were learned so far."""
        return self._entries - self._tokens

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
        end, used = self._entries + len(packed.heads), self._used + len(packed.tails)
        if end > self.limit or used > len(self._tails):
            self._had_no_room = True
            return overflow.add(packed)
        new = slice(self._entries, end)
        self._tails[self._used : used] = packed.tails
        self._heads[new], self._further[new] = packed.heads, packed.further
        self._tail_starts[new] = self._used + packed.tail_starts
        self._entries, self._used = end, used
        return np.arange(new.start, new.stop, dtype=np.int32)

    def symbols_of(self, entries: Entries, overflow: Overflow) -> tuple[NDArray[Any], Places]:
        """The symbols of pieces by their entries, one piece after the other, and where each piece's start."""
        return self._with(overflow.packed).join(entries)

    def _with(self, spilled: list[Packed]) -> Packed:
        if not spilled:
            return Packed(self._kind, self._heads, self._further, self._tail_starts, self._tails)
        used = np.cumsum([len(self._tails), *(len(packed.tails) for packed in spilled)])
        return Packed(
            self._kind,
            np.concatenate([self._heads, *(packed.heads for packed in spilled)]),
            np.concatenate([self._further, *(packed.further for packed in spilled)]),
            np.concatenate([self._tail_starts, *(u + p.tail_starts for u, p in zip(used, spilled, strict=False))]),
            np.concatenate([self._tails, *(packed.tails for packed in spilled)]),
        )
