"""The kinds of arrays that the engine works with, what every step does with them, and where their memory comes from.

Every array has one dimension, unless its line says otherwise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: UTF-8.
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
#: Eight bytes each, or whatever was packed into 64 bits.
Words = NDArray[np.uint64]
#: Indices, offsets, lengths and counts, in the type that numpy indexes with: 32 bits wide on a 32-bit platform.
Indices = NDArray[np.intp]
#: A token as its index among the vocabulary's ascending ids. For GPT-2 that index is the id.
Symbols = NDArray[np.int32]
Ranks = NDArray[np.int32]

#: Freed blocks of up to so many bytes are kept: the most that glibc's own adjusting reaches on 64-bit platforms.
_LARGEST_KEPT = 1 << 25

#: mallopt's numbers for its parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def as_indices(words: Words) -> Indices:  # (n,) -> (n,)
    """Words that are small numbers, as indices: the same memory where an index has 64 bits.

    >>> as_indices(np.array([3, 5], np.uint64)).tolist()
    [3, 5]
    """
    return words.view(np.int64).astype(np.intp, copy=False)


def as_words(indices: Indices) -> Words:  # (n,) -> (n,)
    """Indices as words, the same memory where an index has 64 bits; a negative one becomes a word of at least 2**63.

    >>> as_words(np.array([3, -1])).tolist()
    [3, 18446744073709551615]
    """
    return indices.astype(np.int64, copy=False).view(np.uint64)


def indices_where(values: NDArray[Any]) -> Indices:  # (n,) -> (found,)
    """The indices at which a mask is true, or a number other than 0: `np.flatnonzero` without its fixed price of 1 µs.

    >>> indices_where(np.array([True, False, True])).tolist()
    [0, 2]
    """
    return values.nonzero()[0]


def starts_of(lengths: Indices) -> Indices:  # (runs,) -> (runs,)
    """Where each of some runs starts, when they lie one after the other.

    >>> starts_of(np.array([2, 3, 1])).tolist()
    [0, 2, 5]
    """
    starts: Indices = lengths.cumsum(dtype=np.intp)
    starts -= lengths
    return starts


def lengths_between(starts: Indices, end: int) -> Indices:  # (runs,) -> (runs,)
    """The length of each of some runs that lie one after the other: from each start to the next, the last to the end.

    >>> lengths_between(np.array([0, 2, 5]), 6).tolist()
    [2, 3, 1]
    """
    lengths = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
    lengths[-1:] = end - starts[-1:]
    return lengths


def ragged_ranges(starts: Indices, lengths: Indices) -> Indices:  # (runs,), (runs,) -> (lengths.sum(),)
    """The indices `starts[i]` to `starts[i] + lengths[i]` of every i, one range after the other; none is empty.

    >>> ragged_ranges(np.array([10, 20]), np.array([2, 3])).tolist()
    [10, 11, 20, 21, 22]
    """
    if not len(starts):
        return starts
    ends = lengths.cumsum()
    steps = np.ones(ends[-1], np.intp)  # from each index to the next: 1 within a range, else the way to the next range
    steps[0] = starts[0]
    steps[ends[:-1]] = starts[1:] - starts[:-1] - lengths[:-1] + 1
    return steps.cumsum()


def keep_freed_memory() -> None:
    """Make the C library keep the memory of freed arrays for the arrays to come, where it is glibc.

    Each step makes arrays of a few megabytes and frees those of the step before. By default glibc returns such blocks
    to the system at once, and every page of the next array is faulted in anew, which costs a quarter to a third of the
    time of a first pass. glibc keeps larger blocks after it has seen some freed, but not where `MALLOC_TRIM_THRESHOLD_`
    is set, as it is in Dask's workers: there the engine ran at a third of its speed (mallopt(3)).
    """
    try:
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
    except (ImportError, OSError, TypeError, AttributeError):  # ctypes or mallopt is missing: not glibc
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_KEPT)
