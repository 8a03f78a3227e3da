"""Merge many pieces at once: the textbook loop, a round of which does the next merge of every piece.

All pieces lie in one flat array of symbols, with the rank of each pair of neighbours in a second. In a round, each
piece's lowest rank is found, and that pair is merged, in its every occurrence: no merge makes a pair that ranks before
it, so nothing could come between two of them. (In a vocabulary for which that does not hold, one a round.) The rounds
are as many as the piece with most merges needs, not as many as there are pieces. Almost half of all merges need no such
order, and are done in a round before the others: pairs of bytes to whose left and right nothing can happen sooner.
"""

from typing import NamedTuple

import numpy as np

from minigpt2.vectorized.arrays import Bytes, Places, Ranks, Symbols
from minigpt2.vectorized.pairs import Merges
from minigpt2.vectorized.ranks import NO_RANK

#: After so many rounds, or when so few bytes are left, the rest is merged piece by piece, in O(n log n): rounds have a
#: price that many pieces must share.
MOST_ROUNDS = 256
FEW = 128


class Pieces(NamedTuple):
    """Pieces in one flat array: the symbols of all, one piece after the other, and the length of each."""

    symbols: Symbols
    lengths: Places


def merge(merges: Merges, data: Bytes, lengths: Places) -> Pieces:
    """Merge the bytes of pieces, laid one after the other, into tokens; no piece is empty."""
    if not len(lengths):
        return Pieces(np.empty(0, np.int32), lengths)
    ranks = _between_bytes(merges.rank_of_byte_pair, data, lengths)
    round_ = _Round(merges.symbol_of_byte.take(data), ranks, lengths, np.arange(len(lengths)))
    if merges.in_order:
        _merge_pairs(merges, round_, _unrivalled(ranks, _between_bytes(merges.lowest_rank_between, data, lengths)))
    done: list[_Round] = []
    for _ in range(MOST_ROUNDS):
        if len(round_.symbols) < FEW:
            break
        lowest = np.minimum.reduceat(round_.ranks, round_.ends - round_.lengths)
        finished = lowest == NO_RANK
        if 2 * np.count_nonzero(finished) >= len(finished):
            done.append(round_.rows(np.flatnonzero(finished)))
            going = np.flatnonzero(~finished)
            if not len(going):
                return _in_order_of_rows(done, len(lengths))
            round_, lowest, finished = round_.rows(going), lowest.take(going), finished.take(going)
        lowest[finished] = -1
        _merge_pairs(merges, round_, _chosen(round_, lowest, merges.in_order))
    return _in_order_of_rows([*done, _finish_one_by_one(merges, round_)], len(lengths))


def _between_bytes(of_byte_pair: Ranks, data: Bytes, lengths: Places) -> Ranks:
    """A rank for each byte and the next, shape (bytes,), and `NO_RANK` where a piece ends."""
    pairs = data.astype(np.int64)
    pairs <<= 8
    pairs[:-1] |= data[1:]
    ranks = of_byte_pair.take(pairs)
    ranks[np.cumsum(lengths) - 1] = NO_RANK
    return ranks


def _unrivalled(ranks: Ranks, lowest: Ranks) -> Places:
    """The pairs of bytes that are merged whatever happens around them.

    `lowest` is the lowest rank of any merge, of bytes or of tokens yet to be made, at the place between two bytes. A
    pair that ranks before all that could happen at either side of it keeps both of its bytes until its turn comes.
    """
    alone = np.zeros(len(ranks), np.bool_)
    np.less(ranks[:-1], lowest[1:], out=alone[:-1])
    alone[1:] &= ranks[1:] < lowest[:-1]
    return np.flatnonzero(alone)


class _Round:
    """The state between two rounds: symbols and the rank of each with its right neighbour, row after row.

    `row_ids` tells which of the original pieces each row is, `is_last` marks the symbols that end a row.
    """

    def __init__(self, symbols: Symbols, ranks: Ranks, lengths: Places, row_ids: Places) -> None:
        self.symbols, self.ranks, self.lengths, self.row_ids = symbols, ranks, lengths, row_ids
        self.ends = np.cumsum(lengths)
        self.is_last = np.zeros(len(symbols), np.bool_)
        self.is_last[self.ends - 1] = True

    def rows(self, index: Places) -> "_Round":
        """Some of the rows, as a state of their own."""
        lengths = self.lengths.take(index)
        flat = ragged_ranges(self.ends.take(index) - lengths, lengths)
        return _Round(self.symbols.take(flat), self.ranks.take(flat), lengths, self.row_ids.take(index))

    def take_out(self, chosen: Places, products: Symbols) -> None:
        """Replace the symbols at `chosen` by products and remove the ones after them."""
        keep = np.ones(len(self.symbols), np.bool_)
        keep[chosen + 1] = False
        kept = np.flatnonzero(keep)
        self.symbols[chosen] = products
        self.is_last[chosen] = self.is_last.take(chosen + 1)
        self.symbols, self.ranks, self.is_last = self.symbols.take(kept), self.ranks.take(kept), self.is_last.take(kept)
        self.ends = np.flatnonzero(self.is_last) + 1
        self.lengths = self.ends.copy()
        self.lengths[1:] -= self.ends[:-1]


def _chosen(round_: _Round, lowest: Ranks, in_order: bool) -> Places:
    """The positions of the left symbols to merge: where a piece's lowest rank stands."""
    chosen = np.flatnonzero(round_.ranks == np.repeat(lowest, round_.lengths))
    apart = np.empty(len(chosen), np.bool_)
    apart[:1] = True
    if not in_order:
        rows = np.searchsorted(round_.ends, chosen, side="right")
        np.not_equal(rows[1:], rows[:-1], out=apart[1:])
        return chosen[apart]
    np.not_equal(chosen[1:], chosen[:-1] + 1, out=apart[1:])
    if apart.all():
        return chosen
    # Of overlapping pairs x x x x, every other is merged, counted from the left of the run.
    index = np.arange(len(chosen))
    run_start = np.maximum.accumulate(np.where(apart, index, 0))
    alternate: Places = chosen[(index - run_start) % 2 == 0]
    return alternate


def _merge_pairs(merges: Merges, round_: _Round, chosen: Places) -> None:
    """Put the product in the left symbol's place, take the right one out, and rank the pairs that are new."""
    round_.take_out(chosen, merges.products.take(round_.ranks.take(chosen)))
    merged = chosen - np.arange(len(chosen))
    round_.ranks[merged] = NO_RANK
    changed = np.concatenate([merged, merged[merged > 0] - 1])
    changed = changed.take(np.flatnonzero(~round_.is_last.take(changed)))
    symbols = round_.symbols
    round_.ranks[changed] = merges.ranks(symbols.take(changed), symbols.take(changed + 1))


def _finish_one_by_one(merges: Merges, round_: _Round) -> _Round:
    symbols, lengths = merges.merge_each(round_.symbols, round_.lengths)
    return _Round(symbols, symbols, lengths, round_.row_ids)


def ragged_ranges(starts: Places, lengths: Places) -> Places:
    """The positions `starts[i]` to `starts[i] + lengths[i]` of every i, one range after the other; none is empty.

    >>> ragged_ranges(np.array([10, 20]), np.array([2, 3])).tolist()
    [10, 11, 20, 21, 22]
    """
    if not len(starts):
        return starts
    ends = np.cumsum(lengths)
    steps = np.ones(ends[-1], np.int64)  # from one position to the next, and between ranges whatever it takes
    steps[0] = starts[0]
    steps[ends[:-1]] = starts[1:] - starts[:-1] - lengths[:-1] + 1
    return np.cumsum(steps)


def _in_order_of_rows(parts: list[_Round], rows: int) -> Pieces:
    lengths = np.empty(rows, np.int64)
    for part in parts:
        lengths[part.row_ids] = part.lengths
    starts = np.cumsum(lengths) - lengths
    symbols = np.empty(lengths.sum(), np.int32)
    for part in parts:
        symbols[ragged_ranges(starts.take(part.row_ids), part.lengths)] = part.symbols
    return Pieces(symbols, lengths)
