"""Byte ranges: which rows lie where, which of them are missing, and which are worth one request.

A range is a pair (begin, end), half-open, in bytes of a file.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np

Range = tuple[int, int]

GAP: Final = 8192  # bytes between two ranges that cost less to fetch along than another request
MOST_REQUESTS: Final = 1024  # for one look; wider gaps are fetched along rather than to ask more often


class ByteRanges:
    """A set of bytes, held as disjoint ranges in ascending order.

    >>> fetched = ByteRanges([(0, 10), (20, 30)])
    >>> list(fetched.missing(5, 40))
    [(10, 20), (30, 40)]
    >>> fetched.add(8, 20)
    >>> list(fetched)
    [(0, 30)]
    """

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in ranges:
            self.add(begin, end)

    def __iter__(self) -> Iterator[Range]:
        return zip(self._begins, self._ends, strict=True)

    def add(self, begin: int, end: int) -> None:
        """Put the bytes of a range into the set, joining it with those that it touches."""
        if begin >= end:
            return
        first, last = bisect_left(self._ends, begin), bisect_right(self._begins, end)
        if first < last:
            begin, end = min(begin, self._begins[first]), max(end, self._ends[last - 1])
        self._begins[first:last] = [begin]
        self._ends[first:last] = [end]

    def missing(self, begin: int, end: int) -> Iterator[Range]:
        """The parts of a range that are not in the set."""
        place = bisect_right(self._ends, begin)
        while begin < end:
            known = self._begins[place] if place < len(self._begins) else end
            if begin < known:
                yield begin, min(known, end)
            if place == len(self._begins):
                return
            begin, place = self._ends[place], place + 1


def together(ranges: Iterable[Range]) -> list[Range]:
    """The ranges as few requests: ascending, neighbours joined over small gaps, no more than `MOST_REQUESTS`.

    >>> together([(0, 3072), (3072, 6144), (9216, 12288), (287_000_000, 287_003_072)])
    [(0, 12288), (287000000, 287003072)]
    """
    ordered = list(ByteRanges(ranges))
    gaps = [after[0] - before[1] for before, after in pairwise(ordered)]
    bearable = max([GAP, *sorted(gaps, reverse=True)[MOST_REQUESTS - 1 : MOST_REQUESTS]])
    joined = ordered[:1]
    for gap, (begin, end) in zip(gaps, ordered[1:], strict=True):
        if gap <= bearable:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((begin, end))
    return joined


def of_rows(shape: tuple[int, ...], nbytes: int, key: Any) -> list[Range]:
    """Where in a tensor of this shape the rows lie that `tensor[key]` looks at, from the tensor's first byte.

    A key that does not say its rows plainly (a mask of several dimensions, say) looks at all of them. Rows that there
    are not are left out: numpy refuses such a key itself.

    >>> of_rows((10, 768), 30720, [2, 3, -1])
    [(6144, 12288), (27648, 30720)]
    """
    if not shape or not nbytes:
        return [(0, nbytes)] if nbytes else []
    row = nbytes // shape[0]
    return [(first * row, last * row) for first, last in _runs(shape[0], key[0] if _is_tuple(key) else key)]


def _is_tuple(key: object) -> bool:
    return isinstance(key, tuple) and len(key) > 0


def _runs(count: int, key: Any) -> list[Range]:
    """The runs of rows, of `count`, that the first part of an index looks at."""
    if isinstance(key, slice):
        rows = range(count)[key]
        if abs(rows.step) == 1:
            return [(min(rows[0], rows[-1]), max(rows[0], rows[-1]) + 1)] if rows else []
        return _consecutive(np.arange(rows.start, rows.stop, rows.step))
    places = np.asarray(key) if isinstance(key, int | np.integer | list | np.ndarray) else None
    if places is not None and (places.dtype.kind in "iu" or not places.size):
        places = places.astype(np.int64, copy=False).ravel()
        places = np.where(places < 0, places + count, places)
        return _consecutive(places[(places >= 0) & (places < count)])
    if places is not None and places.dtype.kind == "b" and places.shape == (count,):
        return _consecutive(np.flatnonzero(places))
    return [(0, count)]


def _consecutive(rows: Any) -> list[Range]:
    """Rows in any order as runs of consecutive ones."""
    rows = np.unique(rows)
    if not rows.size:
        return []
    last = np.flatnonzero(np.diff(rows) != 1)
    firsts, lasts = rows[np.r_[0, last + 1]], rows[np.r_[last, rows.size - 1]]
    return [(int(first), int(end) + 1) for first, end in zip(firsts, lasts, strict=True)]
