"""A vocabulary's merges as tables over symbols: ranks and products of many pairs in a few array operations.

A token's *symbol* is its index among the vocabulary's ascending ids; for GPT-2 it is the id.
"""

from itertools import chain

import numpy as np

from minigpt2 import bpe
from minigpt2.vectorized.arrays import Bytes, Indices, Ranks, Symbols, starts_of
from minigpt2.vectorized.ranks import MOST_SYMBOLS, NO_RANK, RankTable
from minigpt2.vocabulary import Vocabulary


class MergeTables:
    """The ranks and products of a vocabulary's merges, over symbols.

    Attributes:
        ids: the token id of each symbol, (symbols,) int64.
        token_lengths: the number of bytes of each symbol's token, (symbols,) intp.
        symbol_of_byte: (256,) int32.
        products: the symbol that each merge makes, by rank, (merges,) int32.
        in_order: whether every merge ranks after the merges that make its two tokens, as in any trained vocabulary.
        rank_of_byte_pair: the ranks that merging starts with: of bytes `a` and `b` at `a << 8 | b`, (65536,) int32.
        lowest_rank_between: the lowest rank of any merge that joins a token ending with byte `a` to one starting with
            `b`, at `a << 8 | b`, or `NO_RANK`: (65536,) int32.

    >>> from minigpt2.vocabulary import gpt2
    >>> tables = MergeTables(gpt2())
    >>> tables.rank_of_byte_pair[ord("h") << 8 | ord("e")].item()  # `h e` is the third merge
    2
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        larger = max(len(vocabulary.ids), len(vocabulary.pairs))
        if larger > MOST_SYMBOLS:
            raise ValueError(f"a vocabulary has at most {MOST_SYMBOLS:,} tokens and merges here, not {larger:,}")
        self._vocabulary = vocabulary
        self.ids, self.token_lengths = vocabulary.ids, vocabulary.lengths
        self.symbol_of_byte = vocabulary.indices_of(np.array(vocabulary.byte_ids)).astype(np.int32)
        self.products = vocabulary.indices_of(vocabulary.products).astype(np.int32)
        left, right = vocabulary.indices_of(vocabulary.pairs).T.astype(np.int32)
        self.ranks = RankTable(left, right).find
        self.in_order = _merges_come_after_their_parts(left, right, self.products, self.ranks(left, right))
        first, second = np.divmod(np.arange(65536), 256)
        self.rank_of_byte_pair = self.ranks(self.symbol_of_byte.take(first), self.symbol_of_byte.take(second))
        data = np.frombuffer(b"".join(vocabulary.token_bytes.values()), np.uint8)
        self.lowest_rank_between = _lowest_rank_between(data, self.token_lengths, left, right)

    def merge_each(self, symbols: Symbols, lengths: Indices) -> tuple[Symbols, Indices]:
        """Merge pieces one by one, as `bpe` does.

        Args:
            symbols: the symbols of all pieces, one piece after the other, (symbols,).
            lengths: how many of them each piece has, (pieces,).

        Returns: the same of the merged pieces.
        """
        ids, ends = self.ids.take(symbols).tolist(), np.cumsum(lengths).tolist()
        rows = [self._merge_one(ids[end - length : end]) for end, length in zip(ends, lengths.tolist(), strict=True)]
        merged = np.searchsorted(self.ids, np.array(list(chain.from_iterable(rows)), np.int64)).astype(np.int32)
        return merged, np.array([len(row) for row in rows], np.intp)

    def _merge_one(self, ids: list[int]) -> list[int]:
        merge = bpe.merge if len(ids) < bpe.LONG else bpe.merge_long
        return merge(ids, self._vocabulary.merges)


def _lowest_rank_between(data: Bytes, lengths: Indices, left: Symbols, right: Symbols) -> Ranks:
    """`MergeTables.lowest_rank_between`, from the bytes of all tokens and the pairs by rank."""
    ends = np.cumsum(lengths)
    last, first = data.take(ends.take(left) - 1).astype(np.intp), data.take(starts_of(lengths).take(right))
    lowest = np.full(65536, NO_RANK, np.int32)
    np.minimum.at(lowest, last << 8 | first, np.arange(len(left), dtype=np.int32))
    return lowest


def _merges_come_after_their_parts(left: Symbols, right: Symbols, products: Symbols, ranks: Ranks) -> bool:
    """Whether every pair ranks after all merges that make one of its two tokens: all (merges,)."""
    made = np.full(int(max(left.max(initial=0), right.max(initial=0), products.max(initial=0))) + 1, -1)
    np.maximum.at(made, products, ranks)
    return bool((ranks > np.maximum(made[left], made[right])).all())
