"""Byte pair encoding: a pretoken's symbols, merged pair by pair until no pair is in the list of merges.

The list of merges is in order of importance: a merge's place in it is its *rank*. The algorithm is one sentence:
merge the pair of neighbours with the lowest rank, the leftmost of equals, and start over. `merge` is that sentence,
`merge_steps` the same keeping its trace, and `merge_long` the same again for pretokens so long that starting over
would be quadratic.

Source: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (2016), over bytes
as in Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import NamedTuple

#: From here on a pretoken goes through `merge_long`: where the two take equally long on random letters.
LONG = 16

#: Stands for the rank of a pair that is no merge: higher than any.
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
    """Merge as `merge` does in O(n log n): candidates wait in a heap instead of being looked for again.

    A symbol that was merged into its left neighbour leaves a hole (-1); neighbours are found across holes through
    two arrays of links. A candidate that the heap still holds after one of its symbols changed is recognised by
    its rank, which is no longer that of the pair at its position.

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
