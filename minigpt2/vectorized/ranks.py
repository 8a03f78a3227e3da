"""The rank of any pair of symbols, found with one look: a perfect hash.

A slot holds a pair and its rank in one word. A pair's slot is given by the top bits of its word times a multiplier,
which it shares with the pairs of its *bucket*: about 16 slots' worth of pairs. While the table is built, each bucket
draws random multipliers until all its pairs get free slots of their own. Once in thousands of times so many pairs share
a bucket that none is found; then the buckets are drawn anew. No vocabulary can be made for which that always happens.
"""

import os

import numpy as np

from minigpt2.vectorized.arrays import Indices, Mask, Ranks, Symbols, Words, as_indices, indices_where

#: A pair's word: 21 bits for each symbol, the left one inverted so that a word is never 0, and 22 bits for the rank.
_SYMBOL_BITS = 21
_RANK_BITS = np.uint64(22)
_EMPTY = np.uint64(2**64 - 1)

#: The rank of a pair that is not a merge: above every rank.
NO_RANK = 1 << int(_RANK_BITS)

#: The most symbols there may be: with one more, a pair's word could be 0 or that of an empty slot.
MOST_SYMBOLS = (1 << _SYMBOL_BITS) - 1

#: At least 2**2 slots for each pair, and 2**4 slots for each bucket.
_SLOT_BITS_OF_A_PAIR = 2
_SLOT_BITS_OF_A_BUCKET = 4

#: The multipliers that a bucket may draw. GPT-2's need 32 in the median, and hardly ever more than 150.
_MOST_ROUNDS = 1000


class RankTable:
    """The ranks of the pairs `left[rank]`, `right[rank]`; of a pair listed twice the later counts, as in `tokenizers`.

    >>> table = RankTable(np.array([0, 2], np.int32), np.array([1, 0], np.int32))
    >>> table.find(np.array([2, 0], np.int32), np.array([0, 0], np.int32)).tolist() == [1, NO_RANK]
    True
    """

    def __init__(self, left: Symbols, right: Symbols) -> None:  # (merges,), (merges,)
        words = _words(left, right)
        order = np.argsort(words, kind="stable")
        ascending = words.take(order)
        last = order[np.append(ascending[1:] != ascending[:-1], True)[: len(order)]]  # of each run of equal words
        self._bits = max(10, len(last).bit_length() + _SLOT_BITS_OF_A_PAIR)
        while not self._fill(words.take(last), last.astype(np.uint64)):
            pass

    def _fill(self, words: Words, ranks: Words) -> bool:  # (pairs,), (pairs,)
        """Fill the table with new buckets, and tell whether all of them found a multiplier."""
        self._slots = np.full(1 << self._bits, _EMPTY)
        self._multipliers = np.zeros(1 << self._bits - _SLOT_BITS_OF_A_BUCKET, np.uint64)
        self._bucket_multiplier = _random_odd()
        for _ in range(_MOST_ROUNDS):
            if not len(words):
                return True
            waits = ~self._fit(words, ranks, _random_odd())
            words, ranks = words[waits], ranks[waits]
        return False

    def _fit(self, words: Words, ranks: Words, multiplier: Words) -> Mask:  # (pairs,), (pairs,), (1,) -> (pairs,)
        """Try a multiplier for the buckets that still lack one, and tell which of their pairs now have their slots."""
        buckets, slots = self._buckets(words), _top_bits(words * multiplier, self._bits)
        free = indices_where(self._slots.take(slots) == _EMPTY)
        self._slots[slots.take(free)] = words.take(free)  # of several pairs for one slot, one stays
        fits = self._slots.take(slots) == words
        is_torn = np.zeros(len(self._multipliers), np.bool_)
        is_torn[buckets[~fits]] = True
        stays = ~is_torn.take(buckets)
        self._slots[slots[fits & ~stays]] = _EMPTY
        self._slots[slots[stays]] |= ranks[stays]
        self._multipliers[buckets[stays]] = multiplier
        return stays

    def find(self, left: Symbols, right: Symbols) -> Ranks:  # (n,), (n,) -> (n,)
        """The rank of each pair of symbols, or `NO_RANK`."""
        words = _words(left, right)
        slots = _top_bits(words * self._multipliers.take(self._buckets(words)), self._bits)
        words ^= self._slots.take(slots)  # if the slot holds the pair, its rank alone; else more than any rank
        return np.minimum(words, np.uint64(NO_RANK)).astype(np.int32)

    def _buckets(self, words: Words) -> Indices:  # (n,) -> (n,)
        return _top_bits(words * self._bucket_multiplier, self._bits - _SLOT_BITS_OF_A_BUCKET)


def _words(left: Symbols, right: Symbols) -> Words:  # (n,), (n,) -> (n,)
    words = (~left).astype(np.uint64)
    words <<= np.uint64(_SYMBOL_BITS)
    words |= right.astype(np.uint64)
    words <<= _RANK_BITS
    return words


def _top_bits(words: Words, bits: int) -> Indices:  # (n,) -> (n,)
    words >>= np.uint64(64 - bits)
    return as_indices(words)


def _random_odd() -> Words:  # -> (1,)
    return np.frombuffer(os.urandom(8), np.uint64) | np.uint64(1)
