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
