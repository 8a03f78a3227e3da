"""Runs of small numbers, two, four or eight to a word, so that numpy joins them a word at a time.

To join runs, each is written where the one before it ends, a word at a time: the words after the first ones, then the
first ones, from left to right. A run's last word may reach beyond its end, but only into first words yet to be written.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Places, Words
from minigpt2.vectorized.merging import ragged_ranges


class Packed(NamedTuple):
    """Runs of numbers of type `kind`: the first word of each, how many numbers it has, and further words.

    A run's words after its first are `tails[tail_starts[run]:]`.
    """

    kind: np.dtype[Any]
    heads: Words
    lengths: NDArray[np.integer]
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
        return cls(kind, words.take(first), lengths, np.cumsum(widths - 1) - (widths - 1), words[is_tail])

    def join(self, runs: NDArray[np.integer]) -> NDArray[Any]:
        """The numbers of some runs, one run after the other."""
        return self.join_among(np.empty(len(runs), self.kind), np.arange(len(runs)), runs)[0]

    def join_among(
        self, numbers: NDArray[Any], places: Places, runs: NDArray[np.integer]
    ) -> tuple[NDArray[Any], Places]:
        """Numbers, but for the ones at some places, which become runs; and where what became of each starts.

        The numbers at those places are overwritten.
        """
        lanes = 8 // self.kind.itemsize
        lengths = np.ones(len(numbers), np.int64)
        lengths[places] = run_lengths = self.lengths.take(runs).astype(np.int64)
        ends = np.cumsum(lengths)
        starts = ends - lengths
        total = int(ends[-1]) if len(ends) else 0
        joined = np.empty(total + lanes, self.kind)
        heads = self.heads.take(runs)
        self._write_words(joined, runs, heads, starts.take(places), run_lengths)
        numbers[places] = heads.view(self.kind)[::lanes]
        joined[starts] = numbers
        return joined[:total], starts

    def _write_words(
        self, joined: NDArray[Any], runs: NDArray[np.integer], heads: Words, starts: Places, lengths: Places
    ) -> None:
        lanes = 8 // self.kind.itemsize
        words = np.ndarray((len(joined) - lanes + 1,), np.uint64, joined, strides=(self.kind.itemsize,))
        longer = np.flatnonzero(lengths > lanes)
        widths = (lengths.take(longer) - 1) // lanes
        tails = self.tail_starts.take(runs.take(longer)).astype(np.int64)
        further = ragged_ranges(tails, widths)
        places = np.repeat(starts.take(longer) + lanes - lanes * tails, widths) + lanes * further
        words[places] = self.tails.take(further)
        words[starts] = heads
