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

_EMPTY = np.uint64(2**64 - 1)
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Merges:
    """Ranks and products of merges over symbols, looked up for arrays of them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.ids, self.token_lengths = vocabulary.ids, vocabulary.lengths
        self.symbol_of_byte = np.searchsorted(self.ids, vocabulary.byte_ids).astype(np.int32)
        self.products = np.searchsorted(self.ids, vocabulary.products).astype(np.int32)
        self._vocabulary = vocabulary
        left, right = np.searchsorted(self.ids, vocabulary.pairs).T.astype(np.int64)
        self._build_table(left << 32 | right)
        ranks = self.ranks(left.astype(np.int32), right.astype(np.int32))
        self.in_order = _merges_come_after_their_parts(left, right, self.products, ranks)

    def _build_table(self, pairs: Places) -> None:
        """Open addressing, a probe a round; of a pair listed twice the later rank holds, as in `tokenizers`."""
        self._bits = max(10, len(pairs).bit_length() + 2)
        self._keys = np.full(1 << self._bits, _EMPTY)
        self._ranks = np.full(1 << self._bits, NO_RANK, np.int32)
        keys, ranks = pairs.astype(np.uint64), np.arange(len(pairs), dtype=np.int32)
        places = self._first_places(keys)
        while len(keys):
            free = np.flatnonzero(self._keys.take(places) == _EMPTY)
            self._keys[places.take(free)] = keys.take(free)
            settled = self._keys.take(places) == keys
            own = np.flatnonzero(settled)
            self._ranks[places.take(own)] = -1
            np.maximum.at(self._ranks, places.take(own), ranks.take(own))
            more = np.flatnonzero(~settled)
            keys, ranks, places = keys.take(more), ranks.take(more), self._next_places(places.take(more))

    def _first_places(self, keys: NDArray[np.uint64]) -> Places:
        mixed: NDArray[np.uint64] = keys * _MIX >> np.uint64(64 - self._bits)
        return mixed.view(np.int64)

    def _next_places(self, places: Places) -> Places:
        return (places + 1) & ((1 << self._bits) - 1)

    def ranks(self, left: Symbols, right: Symbols) -> Ranks:
        """The rank of each pair of symbols, `NO_RANK` where it is no merge."""
        keys = (left.astype(np.int64) << 32 | right).view(np.uint64)
        places = self._first_places(keys)
        held = self._keys.take(places)
        ranks = self._ranks.take(places)
        others = np.flatnonzero(held != keys)
        ranks[others] = NO_RANK
        waiting = others.take(np.flatnonzero(held.take(others) != _EMPTY))
        keys, places = keys.take(waiting), places.take(waiting)
        while len(waiting):
            places = self._next_places(places)
            held = self._keys.take(places)
            ranks[waiting] = np.where(held == keys, self._ranks.take(places), NO_RANK)
            more = np.flatnonzero((held != keys) & (held != _EMPTY))
            waiting, keys, places = waiting.take(more), keys.take(more), places.take(more)
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


def _merges_come_after_their_parts(left: Places, right: Places, products: Symbols, ranks: Ranks) -> bool:
    """Whether every pair ranks after all merges that make one of its two tokens, as in any trained vocabulary."""
    made = np.full(int(max(left.max(initial=0), right.max(initial=0), products.max(initial=0))) + 1, -1)
    np.maximum.at(made, products, ranks)
    return bool((ranks > np.maximum(made[left], made[right])).all())
