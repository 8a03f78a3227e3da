"""The rank of any pair of symbols, found with one look: a perfect hash.

A slot holds a pair and its rank in one word. The slot where a pair would be is told by the top bits of its word,
multiplied by a number that all pairs of its *bucket* share. Each bucket has the number that gave all of its pairs slots
of their own, free ones; the numbers are random, so that no vocabulary can be made for which there are none.
"""

import os

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Places, Ranks, Symbols, Words

#: A pair's word: two symbols of 21 bits, the left one inverted, lest a word be 0, and 22 bits for the rank.
_SYMBOL_BITS = 21
_RANK_BITS = np.uint64(22)
_EMPTY = np.uint64(2**64 - 1)

#: The rank of a pair that is no merge: higher than any.
NO_RANK = 1 << int(_RANK_BITS)

#: How many symbols there may be, so that no pair's word is 0 or that of an empty slot.
MOST_SYMBOLS = (1 << _SYMBOL_BITS) - 1

#: There are at least four slots for a pair, and one bucket for 16 slots.
_SLOT_BITS_OF_A_PAIR = 2
_SLOT_BITS_OF_A_BUCKET = 4


class RankTable:
    """The ranks of pairs; of a pair listed twice the later holds, as in `tokenizers`."""

    def __init__(self, left: Symbols, right: Symbols) -> None:
        words = _words(left, right)
        order = np.argsort(words, kind="stable")
        ascending = words.take(order)
        last = order[np.append(ascending[1:] != ascending[:-1], True)[: len(order)]]  # of each run of equal ones
        self._bits = max(10, len(last).bit_length() + _SLOT_BITS_OF_A_PAIR)
        self._slots = np.full(1 << self._bits, _EMPTY)
        self._multipliers = np.zeros(1 << self._bits - _SLOT_BITS_OF_A_BUCKET, np.uint64)
        self._bucket_multiplier = _random_odd()
        words, ranks = words.take(last), last.astype(np.uint64)
        while len(words):
            waits = ~self._place(words, ranks, _random_odd())
            words, ranks = words[waits], ranks[waits]

    def _place(self, words: Words, ranks: Words, multiplier: Words) -> NDArray[np.bool_]:
        """Try a number for some buckets, of which these are the pairs, and tell which pairs have their slots now."""
        buckets, places = self._buckets(words), _top_bits(words * multiplier, self._bits)
        free = np.flatnonzero(self._slots.take(places) == _EMPTY)
        self._slots[places.take(free)] = words.take(free)  # of rivals for a slot, one stays
        fits = self._slots.take(places) == words
        is_torn = np.zeros(len(self._multipliers), np.bool_)
        is_torn[buckets[~fits]] = True
        stays = ~is_torn.take(buckets)
        self._slots[places[fits & ~stays]] = _EMPTY
        self._slots[places[stays]] |= ranks[stays]
        self._multipliers[buckets[stays]] = multiplier
        return stays

    def find(self, left: Symbols, right: Symbols) -> Ranks:
        """The rank of each pair of symbols, `NO_RANK` where it is no merge."""
        words = _words(left, right)
        places = _top_bits(words * self._multipliers.take(self._buckets(words)), self._bits)
        words ^= self._slots.take(places)  # the rank alone where the slot holds the pair, else more than any
        return np.minimum(words, np.uint64(NO_RANK)).astype(np.int32)

    def _buckets(self, words: Words) -> Places:
        return _top_bits(words * self._bucket_multiplier, self._bits - _SLOT_BITS_OF_A_BUCKET)


def _words(left: Symbols, right: Symbols) -> Words:
    words = (~left).astype(np.uint64)
    words <<= np.uint64(_SYMBOL_BITS)
    words |= right.astype(np.uint64)
    words <<= _RANK_BITS
    return words


def _top_bits(words: Words, bits: int) -> Places:
    words >>= np.uint64(64 - bits)
    return words.view(np.int64)


def _random_odd() -> Words:
    return np.frombuffer(os.urandom(8), np.uint64) | np.uint64(1)
