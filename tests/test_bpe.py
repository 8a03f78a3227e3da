"""The merge loop, its trace and its quick twin for long pretokens, on small lists of merges; and learning merges."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count, pairwise

from hypothesis import given
from hypothesis import strategies as st

from minigpt2.bpe import LearnedMerge, Merges, merge, merge_long, merge_steps, train


@st.composite
def merge_lists(draw: st.DrawFn) -> Merges:
    """Merges over the symbols 0 to 3 and what they make, in any order of ranks."""
    pairs: list[tuple[int, int]] = []
    for product in range(4, 4 + draw(st.integers(0, 12))):
        pair = draw(st.tuples(st.integers(0, product - 1), st.integers(0, product - 1)))
        if pair not in pairs:
            pairs.append(pair)
    order = draw(st.permutations(range(len(pairs))))
    return Merges({pairs[i]: rank for rank, i in enumerate(order)}, [4 + i for i in order])


SYMBOLS = st.lists(st.integers(0, 3), max_size=40)


def test_the_lowest_rank_is_merged_first_wherever_it_stands() -> None:
    merges = Merges({(1, 2): 0, (0, 1): 1}, [3, 4])
    assert merge([0, 1, 2], merges) == [0, 3]


def test_of_equal_ranks_the_leftmost_is_merged_first() -> None:
    assert merge([0, 0, 0], Merges({(0, 0): 0}, [1])) == [1, 0]


def test_what_no_merge_joins_stays() -> None:
    assert merge([0, 1], Merges({}, [])) == [0, 1]
    assert merge([], Merges({(0, 1): 0}, [2])) == []


@given(SYMBOLS, merge_lists())
def test_the_heap_merges_as_the_textbook_does(symbols: list[int], merges: Merges) -> None:
    assert merge_long(symbols, merges) == merge(symbols, merges)


@given(SYMBOLS, merge_lists())
def test_the_trace_replays_to_the_same_symbols(symbols: list[int], merges: Merges) -> None:
    for step in merge_steps(symbols, merges):
        assert list(step.symbols) == symbols
        assert step.merged == min(step.candidates)
        symbols = [*symbols[: step.merged.position], step.product, *symbols[step.merged.position + 2 :]]
    assert symbols == merge(symbols, merges)


@given(SYMBOLS, merge_lists())
def test_the_trace_ends_where_the_loop_does(symbols: list[int], merges: Merges) -> None:
    steps = list(merge_steps(symbols, merges))
    assert len(symbols) - len(steps) == len(merge(symbols, merges))


def test_a_candidate_is_every_pair_that_some_merge_joins() -> None:
    merges = Merges({(0, 1): 0, (1, 0): 1}, [2, 3])
    (first, *_) = merge_steps([0, 1, 0], merges)
    assert [tuple(candidate) for candidate in first.candidates] == [(0, 0), (1, 1)]


def train_simply(pretokens: Mapping[tuple[int, ...], int]) -> Iterator[LearnedMerge]:
    """Learn merges as a textbook does: count every pair anew before each merge."""
    words = [(list(symbols), occurrences) for symbols, occurrences in pretokens.items()]
    for product in count(256):
        counts: Counter[tuple[int, int]] = Counter()
        for symbols, occurrences in words:
            for pair in pairwise(symbols):
                counts[pair] += occurrences
        if not counts:
            return
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        yield LearnedMerge(best, counts[best])
        only = Merges({best: 0}, [product])
        words = [(merge(symbols, only), occurrences) for symbols, occurrences in words]


@given(st.dictionaries(st.lists(st.integers(0, 3), max_size=30).map(tuple), st.integers(1, 5), max_size=8))
def test_merges_are_learned_as_the_textbook_does(pretokens: dict[tuple[int, ...], int]) -> None:
    assert [*train(pretokens)] == [*train_simply(pretokens)]
