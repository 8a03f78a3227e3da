"""Runs of small numbers, two, four or eight to a word, so that numpy joins them a word at a time.

Joining writes each run where the one before it ends: first the words after each run's first one, then the first words,
from left to right. A run's last word may reach beyond the run's end, but only over a first word that is written later.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Indices, Words, indices_where, ragged_ranges, starts_of


class Packed(NamedTuple):
    """Runs of numbers.

    Attributes:
        dtype: of the numbers: `lanes = 8 // dtype.itemsize` of them fit in a word.
        heads: the first word of each run, (runs,) uint64.
        lengths: how many numbers each run has, (runs,) of any integer type.
        tail_starts: the index in `tails` of each run's second word, (runs,) of any integer type.
        tails: the words of all runs after their first, (words,) uint64.

    >>> runs = Packed.pack(np.array([1, 2, 3, 4, 5, 6]), np.array([5, 1]), np.dtype(np.uint16))
    >>> runs.tails.tolist(), runs.join(np.array([1, 0, 1])).tolist()
    ([5], [6, 1, 2, 3, 4, 5, 6])
    """

    dtype: np.dtype[Any]
    heads: Words
    lengths: NDArray[np.integer]
    tail_starts: NDArray[np.integer]
    tails: Words

    @classmethod
    def pack(cls, numbers: NDArray[Any], lengths: Indices, dtype: np.dtype[Any]) -> "Packed":  # (numbers,), (runs,)
        """Pack runs that lie one after the other; each has at least one number."""
        lanes = 8 // dtype.itemsize
        widths = -(-lengths // lanes)  # in words, (runs,)
        first = starts_of(widths)
        padded = np.zeros(int(widths.sum()) * lanes, dtype)
        padded[ragged_ranges(first * lanes, lengths)] = numbers
        words = padded.view(np.uint64)
        is_tail = np.ones(len(words), np.bool_)
        is_tail[first] = False
        return cls(dtype, words.take(first), lengths, starts_of(widths - 1), words[is_tail])

    def join(self, runs: NDArray[np.integer]) -> NDArray[Any]:  # (n,) -> (numbers,)
        """The numbers of the runs with the given indices, one run after the other, of type `dtype`."""
        return self.join_among(np.empty(len(runs), self.dtype), np.arange(len(runs)), runs)[0]

    def join_among(
        self, numbers: NDArray[Any], indices: Indices, runs: NDArray[np.integer]
    ) -> tuple[NDArray[Any], Indices]:
        """Put runs among single numbers: `runs[i]` in place of the number at `indices[i]`.

        Args:
            numbers: (n,) of type `dtype`; those at `indices` are overwritten.
            indices: ascending, (replaced,).
            runs: (replaced,).

        Returns: the result, (numbers,) of type `dtype`, and where in it each of the n starts, (n,).

        >>> pair = Packed.pack(np.array([7, 8]), np.array([2]), np.dtype(np.uint16))
        >>> joined, starts = pair.join_among(np.array([1, 0, 3], np.uint16), np.array([1]), np.array([0]))
        >>> joined.tolist(), starts.tolist()
        ([1, 7, 8, 3], [0, 1, 3])
        """
        lanes = 8 // self.dtype.itemsize
        lengths = np.ones(len(numbers), np.intp)
        lengths[indices] = run_lengths = self.lengths.take(runs).astype(np.intp)
        ends = np.cumsum(lengths)
        starts = ends - lengths
        total = int(ends[-1]) if len(ends) else 0
        joined = np.empty(total + lanes, self.dtype)  # room for the last run's last word
        heads = self.heads.take(runs)
        self._write_words(joined, runs, heads, starts.take(indices), run_lengths)
        numbers[indices] = heads.view(self.dtype)[::lanes]
        joined[starts] = numbers  # every first number again: a word may have reached over single ones
        return joined[:total], starts

    def _write_words(
        self, joined: NDArray[Any], runs: NDArray[np.integer], heads: Words, starts: Indices, lengths: Indices
    ) -> None:  # joined: (total + lanes,); all others (replaced,)
        lanes = 8 // self.dtype.itemsize
        # The same memory as unaligned words, one from each number on.
        words = np.ndarray((len(joined) - lanes + 1,), np.uint64, joined, strides=(self.dtype.itemsize,))
        longer = indices_where(lengths > lanes)
        widths = (lengths.take(longer) - 1) // lanes
        tail_starts = self.tail_starts.take(runs.take(longer)).astype(np.intp)
        tails = ragged_ranges(tail_starts, widths)
        # The word tails[tail_starts + j] goes to starts + lanes * (1 + j).
        targets = np.repeat(starts.take(longer) + lanes - lanes * tail_starts, widths) + lanes * tails
        words[targets] = self.tails.take(tails)
        words[starts] = heads
