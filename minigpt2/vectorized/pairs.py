"""A vocabulary's merges for whole arrays: the ranks and products of many pairs of symbols in a few array operations.

A token's *symbol* is its place among the vocabulary's ascending ids; for GPT-2 it is the id.
"""

from functools import cached_property
from itertools import chain

import numpy as np

from minigpt2 import bpe
from minigpt2.vectorized.arrays import Places, Ranks, Symbols
from minigpt2.vectorized.ranks import MOST_SYMBOLS, NO_RANK, RankTable
from minigpt2.vocabulary import Vocabulary


class Merges:
    """Ranks and products of merges over symbols, looked up for arrays of them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        larger = max(len(vocabulary.ids), len(vocabulary.pairs))
        if larger > MOST_SYMBOLS:
            raise ValueError(f"a vocabulary has at most {MOST_SYMBOLS:,} tokens and merges here, not {larger:,}")
        self.ids, self.token_lengths = vocabulary.ids, vocabulary.lengths
        self.symbol_of_byte = vocabulary.places(np.array(vocabulary.byte_ids)).astype(np.int32)
        self.products = vocabulary.places(vocabulary.products).astype(np.int32)
        self._vocabulary = vocabulary
        left, right = vocabulary.places(vocabulary.pairs).T.astype(np.int32)
        table = RankTable(left, right)
        self.ranks = table.find
        self.in_order = _merges_come_after_their_parts(left, right, self.products, table.find(left, right))
        self.lowest_rank_between = self._lowest_rank_between(left, right)

    def _lowest_rank_between(self, left: Symbols, right: Symbols) -> Ranks:
        """Of all merges that join two tokens between a byte, times 256, and the next, the lowest rank, shape (65536,).

        `NO_RANK` where no merge does.
        """
        data = np.frombuffer(b"".join(self._vocabulary.token_bytes.values()), np.uint8).astype(np.int64)
        ends = np.cumsum(self.token_lengths)
        last, first = data.take(ends.take(left) - 1), data.take((ends - self.token_lengths).take(right))
        lowest = np.full(65536, NO_RANK, np.int32)
        np.minimum.at(lowest, last << 8 | first, np.arange(len(left), dtype=np.int32))
        return lowest

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


def _merges_come_after_their_parts(left: Symbols, right: Symbols, products: Symbols, ranks: Ranks) -> bool:
    """Whether every pair ranks after all merges that make one of its two tokens, as in any trained vocabulary."""
    made = np.full(int(max(left.max(initial=0), right.max(initial=0), products.max(initial=0))) + 1, -1)
    np.maximum.at(made, products, ranks)
    return bool((ranks > np.maximum(made[left], made[right])).all())
