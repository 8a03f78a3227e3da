"""Merge many pieces at once: the textbook loop, one round of which does the next merge of every piece.

All pieces lie in one flat array of symbols; a second array holds the rank of each symbol with its right neighbour. A
round finds the lowest rank of each piece and merges that pair wherever it occurs in the piece. There are as many rounds
as the piece with the most merges needs, however many pieces there are.
"""

from typing import NamedTuple

import numpy as np

from minigpt2.vectorized.arrays import Bytes, Indices, Ranks, Symbols, indices_where, ragged_ranges, starts_of
from minigpt2.vectorized.merge_tables import MergeTables
from minigpt2.vectorized.ranks import NO_RANK

#: A round has a fixed price that many pieces must share. After so many rounds, or when so few symbols are left, the
#: rest is merged piece by piece, in O(n log n).
MOST_ROUNDS = 256
FEW = 96


class Merged(NamedTuple):
    """The tokens of pieces: the symbols of all, (symbols,), one piece after the other; how many each has, (pieces,)."""

    symbols: Symbols
    lengths: Indices


def merge(tables: MergeTables, data: Bytes, lengths: Indices) -> Merged:  # (bytes,), (pieces,)
    """Merge the bytes of pieces, laid one after the other, into tokens; every piece has at least one byte.

    >>> from minigpt2.vocabulary import gpt2
    >>> merged = merge(MergeTables(gpt2()), np.frombuffer(b"thethx", np.uint8), np.array([3, 3]))
    >>> merged.symbols.tolist(), merged.lengths.tolist()  # the | th x
    ([1169, 400, 87], [1, 2])
    """
    if not len(lengths):
        return Merged(np.empty(0, np.int32), lengths)
    pairs, last = _byte_pairs(data), lengths.cumsum() - 1
    ranks, lowest = tables.rank_of_byte_pair.take(pairs), tables.lowest_rank_between.take(pairs)
    ranks[last] = lowest[last] = NO_RANK
    state = _State(tables.symbol_of_byte.take(data), ranks, lengths, np.arange(len(lengths)))
    if tables.in_order:
        _merge_pairs(tables, state, _unrivalled(ranks, lowest))
    done: list[_State] = []
    for _ in range(MOST_ROUNDS):
        if len(state.symbols) < FEW:
            break
        lowest = np.minimum.reduceat(state.ranks, state.ends - state.lengths)
        finished = lowest == NO_RANK
        if 2 * np.count_nonzero(finished) >= len(finished):  # setting finished rows aside only pays when they are many
            done.append(state.rows(indices_where(finished)))
            going = indices_where(~finished)
            if not len(going):
                return _in_order_of_rows(done, len(lengths))
            state, lowest, finished = state.rows(going), lowest.take(going), finished.take(going)
        lowest[finished] = -1
        _merge_pairs(tables, state, _chosen(state, lowest, tables.in_order))
    symbols, counts = tables.merge_each(state.symbols, state.lengths)
    return _in_order_of_rows([*done, _State(symbols, symbols, counts, state.row_ids)], len(lengths))


def _byte_pairs(data: Bytes) -> Indices:  # (n,) -> (n,)
    """Each byte `a` and the next `b` as `a << 8 | b`; after the last byte comes 0."""
    pairs = data.astype(np.intp)
    pairs <<= 8
    pairs[:-1] |= data[1:]
    return pairs


def _unrivalled(ranks: Ranks, lowest: Ranks) -> Indices:  # (n,), (n,) -> (pairs,)
    """The byte pairs that merge whatever happens around them: almost half of all merges, done in one round.

    `lowest` has the lowest rank of any merge, of bytes or of tokens yet to be made, between a byte and the next. A pair
    that ranks before every merge possible at either side of it keeps both of its bytes until its turn comes.
    """
    alone = np.zeros(len(ranks), np.bool_)
    np.less(ranks[:-1], lowest[1:], out=alone[:-1])
    alone[1:] &= ranks[1:] < lowest[:-1]
    return indices_where(alone)


class _State:
    """The state between two rounds: rows of symbols, one after the other.

    Attributes:
        symbols: (symbols,) int32.
        ranks: of each symbol with its right neighbour, `NO_RANK` at the end of a row, (symbols,) int32.
        lengths: how many symbols each row has, (rows,) intp.
        row_ids: which of the original pieces each row is, (rows,) intp.
        ends: the index after each row's last symbol, (rows,) intp.
        is_last: which symbols end a row, (symbols,) bool.
    """

    def __init__(self, symbols: Symbols, ranks: Ranks, lengths: Indices, row_ids: Indices) -> None:
        self.symbols, self.ranks, self.lengths, self.row_ids = symbols, ranks, lengths, row_ids
        self.ends = lengths.cumsum()
        self.is_last = np.zeros(len(symbols), np.bool_)
        self.is_last[self.ends - 1] = True

    def rows(self, chosen: Indices) -> "_State":  # (chosen,)
        """Some of the rows, as a state of their own."""
        lengths = self.lengths.take(chosen)
        flat = ragged_ranges(self.ends.take(chosen) - lengths, lengths)
        return _State(self.symbols.take(flat), self.ranks.take(flat), lengths, self.row_ids.take(chosen))

    def replace_pairs(self, left: Indices, products: Symbols) -> None:  # (pairs,), (pairs,)
        """Put each product in its pair's left symbol, and remove the right one."""
        keep = np.ones(len(self.symbols), np.bool_)
        keep[left + 1] = False
        kept = indices_where(keep)
        self.symbols[left] = products
        self.is_last[left] = self.is_last.take(left + 1)
        self.symbols, self.ranks, self.is_last = self.symbols.take(kept), self.ranks.take(kept), self.is_last.take(kept)
        self.ends = indices_where(self.is_last) + 1
        self.lengths = self.ends.copy()
        self.lengths[1:] -= self.ends[:-1]


def _chosen(state: _State, lowest: Ranks, in_order: bool) -> Indices:  # (rows,) -> (pairs,)
    """The indices of the left symbols to merge: in each row, those whose rank is the row's lowest.

    A merge never makes a pair that ranks before it, so nothing can come between two occurrences of the lowest, and all
    are merged in one round. In a vocabulary where that does not hold, each round merges only the first of each row.
    """
    chosen = indices_where(state.ranks == lowest.repeat(state.lengths))
    apart = np.empty(len(chosen), np.bool_)
    apart[:1] = True
    if not in_order:
        rows = np.searchsorted(state.ends, chosen, side="right")
        np.not_equal(rows[1:], rows[:-1], out=apart[1:])
        return chosen[apart]
    np.not_equal(chosen[1:], chosen[:-1] + 1, out=apart[1:])
    if apart.all():
        return chosen
    # In x x x x the pairs overlap: every other one is merged, counted from the left of the run, as the textbook does.
    order = np.arange(len(chosen))
    run_start = np.maximum.accumulate(np.where(apart, order, 0))
    alternate: Indices = chosen[(order - run_start) % 2 == 0]
    return alternate


def _merge_pairs(tables: MergeTables, state: _State, left: Indices) -> None:  # (pairs,)
    """Merge the pairs whose left symbols are given, and look up the ranks of the pairs that are new."""
    state.replace_pairs(left, tables.products.take(state.ranks.take(left)))
    merged = left - np.arange(len(left))  # every pair before one has lost a symbol
    state.ranks[merged] = NO_RANK
    changed = np.concatenate([merged, merged[merged > 0] - 1])
    changed = changed.take(indices_where(~state.is_last.take(changed)))
    symbols = state.symbols
    state.ranks[changed] = tables.ranks(symbols.take(changed), symbols.take(changed + 1))


def _in_order_of_rows(parts: list[_State], rows: int) -> Merged:
    """The rows of all parts in the order of the original pieces."""
    lengths = np.empty(rows, np.intp)
    for part in parts:
        lengths[part.row_ids] = part.lengths
    starts = starts_of(lengths)
    symbols = np.empty(lengths.sum(), np.int32)
    for part in parts:
        symbols[ragged_ranges(starts.take(part.row_ids), part.lengths)] = part.symbols
    return Merged(symbols, lengths)
