"""Short pieces, which are most of any text: looked up with one gather each.

A piece of up to 7 bytes, with a bit that marks its end, is a number of 57 bits. Multiplying it by an odd number modulo
2**57 loses nothing. The top 17 bits of the product are the piece's slot, so the slot need not repeat them: it holds the
other 40 bits, and the piece's entry (see `store`) in the remaining 24. One comparison then tells whether the slot holds
the piece, and gives the entry.

Of pieces that share a slot, it holds the one that came last. Slots are read and written whole, so threads need no lock.
"""

import numpy as np

from minigpt2.vectorized.arrays import Indices, Words, as_indices, as_words, indices_where

#: The length in bytes of the longest short piece.
LONGEST = 7

_SLOT_BITS = 17
_ENTRY_BITS = 24
_SLOT_WIDTH = np.uint64(_SLOT_BITS)
_TO_SLOT = np.uint64(64 - _SLOT_BITS)
_MARK = np.uint64(1 << 7)
#: Above every entry that a slot can hold. A look-up that finds another piece gives this or more, never an entry.
_NOT_FOUND = np.uint64((1 << _ENTRY_BITS) - 1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class ShortPieces:
    """The entries of short pieces, each in the one slot that it can be in.

    >>> short, word = ShortPieces(), np.array([0x6D27], np.uint64)  # "'m", little-endian
    >>> short.put(word, np.array([2]), np.array([1101]))
    >>> entries, missed = short.find(word, np.array([2]))
    >>> entries.tolist(), missed.tolist()
    ([1101], [])
    """

    def __init__(self, slots: Words | None = None) -> None:  # (2**17,)
        self._slots = np.full(1 << _SLOT_BITS, 2**64 - 1, np.uint64) if slots is None else slots

    def copy(self) -> "ShortPieces":
        """Slots with the same content."""
        return ShortPieces(self._slots.copy())

    def find(self, words: Words, lengths: Indices) -> tuple[Indices, Indices]:  # (n,), (n,) -> (n,), (missed,)
        """The entries of pieces, given the eight bytes from their starts on, and the indices of those not found.

        The entries of those not found mean nothing.
        """
        products = _products(words, lengths)
        entries = self._slots.take(_slots_of(products))
        entries ^= products << _SLOT_WIDTH  # equal upper bits leave the entry alone; unequal ones, a larger number
        return as_indices(entries), indices_where(entries >= _NOT_FOUND)

    def put(self, words: Words, lengths: Indices, entries: Indices) -> None:  # (n,), (n,), (n,)
        """Store the pieces that are short; of those that share a slot, the first."""
        short = indices_where((lengths <= LONGEST) & (entries < int(_NOT_FOUND)))[::-1]
        products = _products(words.take(short), lengths.take(short))
        self._slots[_slots_of(products)] = products << _SLOT_WIDTH | as_words(entries.take(short))


def _products(words: Words, lengths: Indices) -> Words:  # (n,), (n,) -> (n,)
    """The number of each piece, multiplied: its bytes in the top bits, below them the mark of its end, then zeros.

    Longer pieces give a negative shift, a huge one as a word, and numpy shifts everything out: 0, which a short piece
    with its mark never is.
    """
    shifts = LONGEST - lengths
    shifts <<= 3
    products: Words = words << np.uint64(8)
    products |= _MARK
    products <<= as_words(shifts)
    products *= _MULTIPLIER
    return products


def _slots_of(products: Words) -> Indices:  # (n,) -> (n,)
    return as_indices(products >> _TO_SLOT)
