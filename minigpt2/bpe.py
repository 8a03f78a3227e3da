"""Byte pair encoding: a pretoken's symbols, merged pair by pair until no pair is in the list of merges.

The most important merge comes first in the list: a merge's index in it is its *rank*. The algorithm is one sentence:
merge the pair of neighbours with the lowest rank, the leftmost of equals, and start over. `merge` is that sentence,
`merge_steps` does the same and keeps a trace, and `merge_long` is for pretokens so long that starting over would be
quadratic. `train` shows where the list comes from.

Source: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (2016), over bytes
as in Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
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
    words, frequencies = [*map(list, pretokens)], [*pretokens.values()]
    pair_counts: Counter[tuple[int, int]] = Counter()
    words_with: dict[tuple[int, int], set[int]] = defaultdict(set)

    def tally(index: int, sign: int) -> None:
        for pair in pairwise(words[index]):
            pair_counts[pair] += sign * frequencies[index]
            words_with[pair].add(index)

    for index in range(len(words)):
        tally(index, +1)
    for product in count(256):
        best = max(pair_counts, key=lambda pair: (pair_counts[pair], -pair[0], -pair[1]), default=None)
        if best is None or not pair_counts[best]:
            return
        yield LearnedMerge(best, pair_counts[best])
        for index in words_with.pop(best):  # only these words change, so only their pairs are counted anew
            tally(index, -1)
            words[index] = _join(words[index], best, product)
            tally(index, +1)


def _join(symbols: Sequence[int], pair: tuple[int, int], product: int) -> list[int]:
    """Replace every occurrence of a pair by its product, from left to right."""
    joined: list[int] = []
    for symbol in symbols:
        # A product is newer than its parts, so one that was just made is never taken for the left part again.
        if joined and (joined[-1], symbol) == pair:
            joined[-1] = product
        else:
            joined.append(symbol)
    return joined
