"""Byte pair encoding: a pretoken's symbols, merged pair by pair until no pair is in the list of merges.

The most important merge comes first in the list: a merge's index in it is its *rank*. The algorithm is one sentence:
merge the pair of neighbours with the lowest rank, the leftmost of equals, and start over. `merge` is that sentence,
`merge_steps` does the same and keeps a trace, and `merge_long` is for pretokens so long that starting over would be
quadratic. `train` shows where the list comes from.

Source: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (2016), over bytes
as in Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count, pairwise
from typing import NamedTuple

#: Pretokens of this many bytes or more go through `merge_long`: on random letters, `merge` is slower from here on.
LONG = 16

#: The rank of a pair that is not a merge: above every rank.
NO_MERGE = 1 << 31


class Merges(NamedTuple):
    """The list of merges over token ids: the rank of each pair, and by rank the token that the pair becomes."""

    ranks: dict[tuple[int, int], int]
    products: Sequence[int]


class Candidate(NamedTuple):
    """A pair of neighbours that could be merged: its rank, and the position of its left symbol."""

    rank: int
    position: int


class MergeStep(NamedTuple):
    """One merge of a trace: the symbols before it, every pair that could be merged, and the pair that was."""

    symbols: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    merged: Candidate
    product: int


def merge(symbols: Sequence[int], merges: Merges) -> list[int]:
    """Merge a pretoken's symbols, given as token ids of its bytes, into its token ids.

    >>> merges = Merges({(0, 1): 0, (2, 0): 1}, products=[2, 3])  # first 0 1 -> 2, then 2 0 -> 3
    >>> merge([0, 1, 0, 1, 0, 0, 1], merges)
    [2, 3, 2]
    """
    symbols = list(symbols)
    while len(symbols) > 1:
        ranks = [merges.ranks.get(pair, NO_MERGE) for pair in pairwise(symbols)]
        lowest = min(ranks)
        if lowest == NO_MERGE:
            break
        position = ranks.index(lowest)
        symbols[position : position + 2] = [merges.products[lowest]]
    return symbols


def _candidates(symbols: Sequence[int], merges: Merges) -> list[Candidate]:
    ranks = merges.ranks
    return [Candidate(ranks[pair], i) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]


def merge_steps(symbols: Sequence[int], merges: Merges) -> Iterator[MergeStep]:
    """Yield the steps that `merge` takes, in order.

    >>> merges = Merges({(0, 1): 0, (2, 0): 1}, products=[2, 3])
    >>> [(step.symbols, step.merged.rank) for step in merge_steps([0, 1, 0], merges)]
    [((0, 1, 0), 0), ((2, 0), 1)]
    """
    symbols = list(symbols)
    while candidates := _candidates(symbols, merges):
        best = min(candidates)
        product = merges.products[best.rank]
        yield MergeStep(tuple(symbols), tuple(candidates), best, product)
        symbols[best.position : best.position + 2] = [product]


def merge_long(symbols: Sequence[int], merges: Merges) -> list[int]:
    """Merge as `merge` does, in O(n log n): candidates wait in a heap instead of being searched for again.

    A symbol merged into its left neighbour leaves a hole (-1). Two lists of links lead to neighbours across holes. The
    heap may still hold a candidate after one of its symbols changed: its rank is then not that of the pair at its
    position, and it is skipped.

    >>> merges = Merges({(0, 1): 0, (2, 0): 1}, products=[2, 3])
    >>> merge_long([0, 1, 0, 1, 0, 0, 1], merges)
    [2, 3, 2]
    """
    symbols = [*symbols, -1]
    end = len(symbols) - 1
    following = list(range(1, end + 2))
    preceding = list(range(-1, end))
    heap = _candidates(symbols, merges)
    heapify(heap)
    while heap:
        rank, left = heappop(heap)
        right = following[left]
        if merges.ranks.get((symbols[left], symbols[right])) != rank:
            continue
        symbols[left], symbols[right] = merges.products[rank], -1
        following[left] = after = following[right]
        preceding[after] = left
        for position in (preceding[left], left):
            if position >= 0:
                pair = symbols[position], symbols[following[position]]
                if (new_rank := merges.ranks.get(pair)) is not None:
                    heappush(heap, Candidate(new_rank, position))
    return [symbol for symbol in symbols if symbol >= 0]


class LearnedMerge(NamedTuple):
    """A merge that training has found: the pair of token ids, and how often it occurred."""

    pair: tuple[int, int]
    occurrences: int


def train(pretokens: Mapping[tuple[int, ...], int]) -> Iterator[LearnedMerge]:
    """Learn merges from pretokens, given as their symbols with how often each occurs, until no pair is left.

    The most frequent pair of neighbours becomes a token, again and again; among equals the one with the lower ids, as
    in the trainer of Hugging Face's `tokenizers`. Symbols are ids from 0 to 255; the merge of rank r makes 256 + r.

    >>> for merge in train({tuple(b"low"): 5, tuple(b"lower"): 2}):  # l o, lo w, e r, low er
    ...     print(merge.pair, merge.occurrences)
    (108, 111) 7
    (256, 119) 7
    (101, 114) 2
    (257, 258) 2
    """
    pairs = _Pairs(pretokens)
    for product in count(256):
        best = pairs.most_frequent()
        if best is None:
            return
        yield LearnedMerge(best, pairs.counts[best])
        pairs.join(best, product)


class _Pairs:
    """The pairs of neighbours in pretokens: how often each occurs, and where.

    So the time of a merge depends only on how often its pair occurs.

    The symbols of all pretokens stand in one list, -1 around each pretoken. A joined symbol leaves a hole (-1), with
    links across it, as in `merge_long`.
    """

    def __init__(self, pretokens: Mapping[tuple[int, ...], int]) -> None:
        self.counts: Counter[tuple[int, int]] = Counter()
        self._symbols, self._frequencies = [-1], [0]
        for symbols, frequency in pretokens.items():
            self._symbols += [*symbols, -1]
            self._frequencies += [frequency] * (len(symbols) + 1)
        end = len(self._symbols)
        self._following, self._preceding = array("q", range(1, end + 1)), array("q", range(-1, end - 1))
        self._positions: dict[tuple[int, int], array[int]] = defaultdict(lambda: array("q"))
        self._new: set[tuple[int, int]] = set()  # not in the heap yet
        self._heap: list[tuple[int, tuple[int, int]]] = []  # with negative counts: the highest comes first
        for position in range(end - 1):
            self._tally(position, +1)

    def most_frequent(self) -> tuple[int, int] | None:
        """The pair that occurs most often, among equals the one with the lower ids; None where no pair is left."""
        heap, counts = self._heap, self.counts
        for pair in self._new:
            heappush(heap, (-counts[pair], pair))
        self._new.clear()
        while heap:
            # A pair becomes more frequent only while it is new, so its count in the heap is never too low.
            at_most, pair = -heap[0][0], heap[0][1]
            if not counts[pair]:
                heappop(heap)
            elif counts[pair] < at_most:
                heapreplace(heap, (-counts[pair], pair))
            else:
                return pair
        return None

    def join(self, pair: tuple[int, int], product: int) -> None:
        """Replace every occurrence of a pair by its product, from left to right."""
        symbols, following, preceding = self._symbols, self._following, self._preceding
        for left in self._positions.pop(pair):
            right = following[left]
            if (symbols[left], symbols[right]) != pair:
                continue  # a symbol of it has been joined to another
            self._tally(preceding[left], -1)
            self._tally(right, -1)
            symbols[left], symbols[right] = product, -1
            following[left] = after = following[right]
            preceding[after] = left
            self._tally(preceding[left], +1)
            self._tally(left, +1)
        del self.counts[pair]

    def _tally(self, left: int, sign: int) -> None:
        """Count the pair at a position once more, or once less."""
        pair = self._symbols[left], self._symbols[self._following[left]]
        if min(pair) < 0:
            return
        self.counts[pair] += sign * self._frequencies[left]
        if sign > 0:
            self._positions[pair].append(left)  # ascending, because `join` goes from left to right
            self._new.add(pair)
