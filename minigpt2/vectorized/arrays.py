"""The kinds of arrays that the engine works with, all of one dimension."""

import numpy as np
from numpy.typing import NDArray

#: UTF-8.
Bytes = NDArray[np.uint8]
#: Eight bytes each, or what has been packed in so many.
Words = NDArray[np.uint64]
#: Indices and lengths.
Places = NDArray[np.int64]
#: Tokens, each by its place among the vocabulary's ascending ids; for GPT-2 that is the id.
Symbols = NDArray[np.int32]
Ranks = NDArray[np.int32]


def keep_freed_memory() -> None:
    """Have the C library keep the memory of freed arrays for the next ones, up to 32 MB of it.

    glibc gives a large block back to the system as soon as it is freed, and the next array of that size pays for every
    page anew, which took a third of the time of a first pass. What it calls large grows to the largest block that was
    freed so far (mallopt(3), M_MMAP_THRESHOLD): so one is freed here, of which no page was ever touched.
    """
    np.empty(16 << 20, np.uint8)
