"""Byte ranges of a file: those of a tensor's rows, those that are missing, and how few requests fetch them.

A range is a half-open pair (begin, end), in bytes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np

Range = tuple[int, int]

GAP: Final = 8192  # ranges this many bytes apart are fetched in one request: cheaper than two
MOST_REQUESTS: Final = 1024  # for one look; beyond that, wider gaps are fetched too


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
        """Add a range, joining it with those that it touches."""
        if begin >= end:
            return
        first, last = bisect_left(self._ends, begin), bisect_right(self._begins, end)
        if first < last:
            begin, end = min(begin, self._begins[first]), max(end, self._ends[last - 1])
        self._begins[first:last] = [begin]
        self._ends[first:last] = [end]

    def missing(self, begin: int, end: int) -> Iterator[Range]:
        """The parts of a range that are not in the set."""
        index = bisect_right(self._ends, begin)
        while begin < end:
            known = self._begins[index] if index < len(self._begins) else end
            if begin < known:
                yield begin, min(known, end)
            if index == len(self._begins):
                return
            begin, index = self._ends[index], index + 1


def together(ranges: Iterable[Range]) -> list[Range]:
    """The ranges as requests: ascending, joined over small gaps, at most `MOST_REQUESTS`.

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
    """The byte ranges of the rows that `tensor[key]` needs, counted from the first byte of the tensor.

    A key of another kind, such as a mask of several dimensions, needs all rows. Rows out of range are left out: numpy
    refuses such a key itself.

    >>> of_rows((10, 768), 30720, [2, 3, -1])
    [(6144, 12288), (27648, 30720)]
    """
    if not shape or not nbytes:
        return [(0, nbytes)] if nbytes else []
    row, first_part = nbytes // shape[0], key[0] if isinstance(key, tuple) and key else key
    return [(first * row, last * row) for first, last in _runs(shape[0], first_part)]


def _runs(count: int, key: Any) -> list[Range]:
    """The runs of consecutive rows, out of `count`, that the first part of an index needs."""
    if isinstance(key, slice):
        rows = range(count)[key]
        if abs(rows.step) == 1:
            return [(min(rows[0], rows[-1]), max(rows[0], rows[-1]) + 1)] if rows else []
        return _consecutive(np.arange(rows.start, rows.stop, rows.step))
    indices = np.asarray(key) if isinstance(key, int | np.integer | list | np.ndarray) else None
    if indices is not None and (indices.dtype.kind in "iu" or not indices.size):
        indices = indices.astype(np.int64, copy=False).ravel()
        indices = np.where(indices < 0, indices + count, indices)
        return _consecutive(indices[(indices >= 0) & (indices < count)])
    if indices is not None and indices.dtype.kind == "b" and indices.shape == (count,):
        return _consecutive(np.flatnonzero(indices))
    return [(0, count)]


def _consecutive(rows: Any) -> list[Range]:
    """Row indices (n,) in any order, as runs of consecutive ones."""
    rows = np.sort(rows)  # not np.unique, which imports numpy.ma
    if not rows.size:
        return []
    last = np.flatnonzero(np.diff(rows) > 1)
    firsts, lasts = rows[np.r_[0, last + 1]], rows[np.r_[last, rows.size - 1]]
    return [(int(first), int(end) + 1) for first, end in zip(firsts, lasts, strict=True)]
