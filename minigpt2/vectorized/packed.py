"""Runs of small numbers, two, four or eight to a word, so that numpy joins them a word at a time.

To join runs, each is written where the one before it ends, a word at a time, from left to right. The last word of a run
may reach beyond its end, but only into runs that are written after it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.merging import ragged_ranges
from minigpt2.vectorized.pairs import Places

Words = NDArray[np.uint64]

#: Runs of more words than this are written one by one.
_MANY_WORDS = 8


class Packed(NamedTuple):
    """Runs of numbers of type `kind`: the first word of each, how many numbers follow the first, and further words.

    A run's words after its first are `tails[tail_starts[run]:]`. Kept as numbers *after the first*, a table that is 0
    everywhere holds runs of one number.
    """

    kind: np.dtype[Any]
    heads: Words
    further: NDArray[np.integer]
    tail_starts: NDArray[np.integer]
    tails: Words

    @classmethod
    def pack(cls, numbers: NDArray[Any], lengths: Places, kind: np.dtype[Any]) -> "Packed":
        """Pack runs that lie one after the other; none is empty."""
        lanes = 8 // kind.itemsize
        widths = -(-lengths // lanes)
        first = np.cumsum(widths) - widths
        padded = np.zeros(int(widths.sum()) * lanes, kind)
        padded[ragged_ranges(first * lanes, lengths)] = numbers
        words = padded.view(np.uint64)
        is_tail = np.ones(len(words), np.bool_)
        is_tail[first] = False
        return cls(kind, words.take(first), lengths - 1, np.cumsum(widths - 1) - (widths - 1), words[is_tail])

    def join(self, runs: NDArray[np.integer]) -> tuple[NDArray[Any], Places]:
        """The numbers of some runs, one run after the other, and where each starts."""
        lanes = 8 // self.kind.itemsize
        lengths = self.further.take(runs).astype(np.int64) + 1
        ends = np.cumsum(lengths)
        starts = ends - lengths
        total = int(ends[-1]) if len(ends) else 0
        joined = np.empty(total + lanes, self.kind)
        words = np.ndarray((total + 1,), np.uint64, joined, strides=(self.kind.itemsize,))
        longer = np.flatnonzero(lengths > lanes)
        if len(longer):
            tails = self.tail_starts.take(runs.take(longer)).astype(np.int64)
            self._write_tails(words, starts.take(longer), lengths.take(longer), tails)
        words[starts] = self.heads.take(runs)
        for i in longer[lengths.take(longer) > lanes * _MANY_WORDS].tolist():
            tail = self.tails[self.tail_starts[runs[i]] :].view(self.kind)
            joined[starts[i] + lanes : ends[i]] = tail[: lengths[i] - lanes]
        return joined[:total], starts

    def _write_tails(self, words: Words, starts: Places, lengths: Places, tails: Places) -> None:
        """Write the words after the first, all runs' last words first: they may reach into others' earlier words."""
        lanes = 8 // self.kind.itemsize
        most = min(_MANY_WORDS, -(-int(lengths.max()) // lanes))
        for place in range(most - 1, 0, -1):
            some = np.flatnonzero(lengths > place * lanes)
            words[starts.take(some) + place * lanes] = self.tails.take(tails.take(some) + (place - 1))
