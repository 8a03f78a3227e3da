"""Byte ranges: sets of bytes, joined into few requests, and the rows that an index needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2.weights.remote.byte_ranges import MOST_REQUESTS, ByteRanges, of_rows, together


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))), st.integers(0, 60), st.integers(0, 60))
def test_a_set_of_byte_ranges_is_a_set_of_bytes(ranges: list[tuple[int, int]], begin: int, end: int) -> None:
    known = ByteRanges(ranges)
    bytes_of = {offset for first, last in ranges for offset in range(first, last)}
    assert {offset for first, last in known for offset in range(first, last)} == bytes_of
    assert all(before[1] < after[0] for before, after in zip(list(known), list(known)[1:], strict=False))
    missing = [offset for first, last in known.missing(begin, end) for offset in range(first, last)]
    assert missing == sorted(set(range(begin, end)) - bytes_of)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 5000))))
def test_ranges_together_hold_every_byte_in_no_more_requests(ranges: list[tuple[int, int]]) -> None:
    wanted = ByteRanges((begin, begin + length) for begin, length in ranges)
    joined = ByteRanges(together(wanted))
    assert not [gap for begin, end in wanted for gap in joined.missing(begin, end)]
    assert len(list(joined)) <= len(list(wanted))


@pytest.mark.parametrize("step", [10_000, 100_000])
def test_however_many_rows_are_asked_for_the_requests_are_bounded(step: int) -> None:
    assert len(together((offset * step, offset * step + 100) for offset in range(5000))) <= MOST_REQUESTS


def test_the_rows_of_an_index_are_where_they_are() -> None:
    assert of_rows((10, 4), 160, slice(2, 4)) == [(32, 64)]
    assert of_rows((10, 4), 160, [1, 9, 1]) == [(16, 32), (144, 160)]
    assert of_rows((10, 4), 160, []) == [] and of_rows((0, 4), 0, ...) == []
    assert of_rows((), 4, ...) == [(0, 4)]
    assert of_rows((10, 4), 160, (slice(None), 3)) == [(0, 160)]
