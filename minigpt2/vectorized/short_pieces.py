"""Short pieces: most of any text, looked up with one gather each.

A piece of up to 7 bytes, with a bit to mark its end, is a number of 57 bits. Multiplied by an odd number, modulo
2**57, it loses nothing. The top 17 bits of the product say in which slot the piece would be. So a slot need not repeat
them: it holds the other 40 bits, and the piece's entry in the 24 bits that are left. One comparison tells both whether
a slot holds the piece and what its entry is.

Of pieces that share a slot, the one put last is held. A slot is read and written whole, so that threads need no lock.
"""

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Places, Words

#: The bytes of the longest short piece.
LONGEST = 7

_SLOT_BITS = np.uint64(17)
_ENTRY_BITS = 24
_MARK = np.uint64(1 << 7)
#: No entry is so high; where a piece is not found, what stands for its entry is not lower.
_NOT_FOUND = np.uint64((1 << _ENTRY_BITS) - 1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class ShortPieces:
    """The entries of short pieces, as far as they have found a slot."""

    def __init__(self, slots: Words | None = None) -> None:
        self._slots = np.full(1 << int(_SLOT_BITS), 2**64 - 1, np.uint64) if slots is None else slots

    def copy(self) -> "ShortPieces":
        """Slots of the same content, to go on from."""
        return ShortPieces(self._slots.copy())

    def find(self, words: Words, lengths: Places) -> tuple[NDArray[np.int64], Places]:
        """The entries of pieces by the eight bytes from their starts on, and the indices of those not found."""
        products = _products(words, lengths)
        entries = self._slots.take(_slots_of(products))
        entries ^= products << _SLOT_BITS
        return entries.view(np.int64), np.flatnonzero(entries >= _NOT_FOUND)

    def put(self, words: Words, lengths: Places, entries: NDArray[np.int64]) -> None:
        """Give each piece its slot; of rivals the first gets it."""
        fit = np.flatnonzero((lengths <= LONGEST) & (entries < _NOT_FOUND))[::-1]
        products = _products(words.take(fit), lengths.take(fit))
        self._slots[_slots_of(products)] = products << _SLOT_BITS | entries.take(fit).astype(np.uint64)


def _products(words: Words, lengths: Places) -> Words:
    """A piece's bytes at the top, the bit that marks its end below them, then nothing: multiplied.

    What is longer has all its bytes shifted out, by less than nothing, and its mark: no short piece is 0.
    """
    shifts = LONGEST - lengths
    shifts <<= 3
    products: Words = words << np.uint64(8)
    products |= _MARK
    products <<= shifts.view(np.uint64)
    products *= _MULTIPLIER
    return products


def _slots_of(products: Words) -> Places:
    return (products >> np.uint64(64 - int(_SLOT_BITS))).view(np.int64)
