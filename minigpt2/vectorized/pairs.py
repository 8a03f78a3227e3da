"""A vocabulary's merges for whole arrays: the rank of each of many pairs of symbols, in a few array operations.

A token's *symbol* is its place among the vocabulary's ascending ids; for GPT-2 it is the id.
"""

from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from minigpt2 import bpe
from minigpt2.vocabulary import Vocabulary

Symbols = NDArray[np.int32]
Ranks = NDArray[np.int32]
Places = NDArray[np.int64]

#: The rank of a pair that is no merge: higher than any.
NO_RANK = np.iinfo(np.int32).max

#: A pair and its rank share a word: two symbols of 21 bits, the rank in the low 22.
_SYMBOL_BITS = 21
_RANK_BITS = np.uint64(22)
_EMPTY = np.uint64(2**64 - 1)
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Merges:
    """Ranks and products of merges over symbols, looked up for arrays of them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        if max(len(vocabulary.ids), len(vocabulary.pairs)) > 1 << _SYMBOL_BITS:
            raise ValueError(f"a vocabulary has at most {1 << _SYMBOL_BITS:,} tokens here, not {len(vocabulary.ids):,}")
        self.ids, self.token_lengths = vocabulary.ids, vocabulary.lengths
        self.symbol_of_byte = np.searchsorted(self.ids, vocabulary.byte_ids).astype(np.int32)
        self.products = np.searchsorted(self.ids, vocabulary.products).astype(np.int32)
        self._vocabulary = vocabulary
        left, right = np.searchsorted(self.ids, vocabulary.pairs).T.astype(np.int32)
        self._build_table(_keys(left, right))
        ranks = self.ranks(left, right)
        self.in_order = _merges_come_after_their_parts(left, right, self.products, ranks)

    def _build_table(self, keys: NDArray[np.uint64]) -> None:
        """Open addressing, a probe a round; of a pair listed twice the later rank holds, as in `tokenizers`."""
        self._bits = max(10, len(keys).bit_length() + 2)
        self._slots = np.full(1 << self._bits, _EMPTY)
        last = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
        words, places = keys.take(last) | last.astype(np.uint64), self._first_places(keys.take(last))
        while len(words):
            free = np.flatnonzero(self._slots.take(places) == _EMPTY)
            self._slots[places.take(free)] = words.take(free)
            more = np.flatnonzero(self._slots.take(places) != words)
            words, places = words.take(more), self._next_places(places.take(more))

    def _first_places(self, keys: NDArray[np.uint64]) -> Places:
        mixed: NDArray[np.uint64] = keys * _MIX
        mixed >>= np.uint64(64 - self._bits)
        return mixed.view(np.int64)

    def _next_places(self, places: Places) -> Places:
        return (places + 1) & ((1 << self._bits) - 1)

    def ranks(self, left: Symbols, right: Symbols) -> Ranks:
        """The rank of each pair of symbols, `NO_RANK` where it is no merge."""
        keys = _keys(left, right)
        places = self._first_places(keys)
        found = self._slots.take(places) ^ keys  # a rank alone, where the slot holds the pair
        ranks = found.astype(np.int32)
        others = np.flatnonzero(found >> _RANK_BITS)
        ranks[others] = NO_RANK
        waiting, keys, places, found = others, keys.take(others), places.take(others), found.take(others)
        while len(waiting):
            taken = np.flatnonzero(found ^ keys != _EMPTY)
            waiting, keys, places = waiting.take(taken), keys.take(taken), self._next_places(places.take(taken))
            found = self._slots.take(places) ^ keys
            hits = np.flatnonzero(found >> _RANK_BITS == 0)
            ranks[waiting.take(hits)] = found.take(hits).astype(np.int32)
            keys[hits] = found[hits] ^ _EMPTY  # done, as if the next slot were empty
        return ranks

    @cached_property
    def rank_of_byte_pair(self) -> Ranks:
        """The ranks that merging starts with, shape (65536,): of each byte, times 256, and the next."""
        left, right = np.divmod(np.arange(65536), 256)
        return self.ranks(self.symbol_of_byte[left], self.symbol_of_byte[right])

    def merge_each(self, symbols: Symbols, lengths: Places) -> tuple[Symbols, Places]:
        """Merge the symbols of pieces, laid one after the other, as `bpe` does: one piece after the other."""
        ids, ends = self.ids.take(symbols).tolist(), np.cumsum(lengths).tolist()
        rows = [self._merge_one(ids[end - length : end]) for end, length in zip(ends, lengths.tolist(), strict=True)]
        merged = np.searchsorted(self.ids, np.array(list(chain.from_iterable(rows)), np.int64)).astype(np.int32)
        return merged, np.array([len(row) for row in rows], np.int64)

    def _merge_one(self, ids: list[int]) -> list[int]:
        merge = bpe.merge if len(ids) < bpe.LONG else bpe.merge_long
        return merge(ids, self._vocabulary.merges)


def _keys(left: Symbols, right: Symbols) -> NDArray[np.uint64]:
    keys = left.astype(np.uint64)
    keys <<= np.uint64(_SYMBOL_BITS)
    keys |= right.astype(np.uint64)
    keys <<= _RANK_BITS
    return keys


def _merges_come_after_their_parts(left: Symbols, right: Symbols, products: Symbols, ranks: Ranks) -> bool:
    """Whether every pair ranks after all merges that make one of its two tokens, as in any trained vocabulary."""
    made = np.full(int(max(left.max(initial=0), right.max(initial=0), products.max(initial=0))) + 1, -1)
    np.maximum.at(made, products, ranks)
    return bool((ranks > np.maximum(made[left], made[right])).all())
