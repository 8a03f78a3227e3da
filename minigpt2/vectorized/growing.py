"""An array of ids that grows as they come, without keeping many of them twice.

Ids wait until there are many, and are then copied into the array together. For most texts all of them wait until the
end, and the array is made at its final size. For a long text it grows by large steps, so that the C library extends it
in whole pages, which are moved and not copied.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: At most how many ids wait, and in how many arrays; and by at most how many ids the array grows ahead of them.
MOST_WAITING = 1 << 20
MOST_ARRAYS = 1 << 12


class GrowingIds:
    """Ids, one after the other, of one integer type.

    >>> ids = GrowingIds(np.dtype(np.uint16))
    >>> ids.extend(np.array([464, 3616]))
    >>> ids.extend([286])
    >>> len(ids), ids.array()
    (3, array([ 464, 3616,  286], dtype=uint16))
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._ids = np.empty(0, dtype)
        self._used = self._length = 0
        self._waiting: list[NDArray[Any] | list[int]] = []

    def __len__(self) -> int:
        return self._length

    def extend(self, ids: NDArray[Any] | list[int]) -> None:  # (ids,) of any integer type
        """Add ids at the end."""
        self._waiting.append(ids)
        self._length += len(ids)
        if self._length - self._used > MOST_WAITING or len(self._waiting) > MOST_ARRAYS:
            self._flush()

    def _flush(self) -> None:
        """Copy the ids that wait into the array."""
        if self._length > len(self._ids):
            self._ids.resize(self._length + min(self._used, MOST_WAITING), refcheck=False)
        for ids in self._waiting:
            self._ids[self._used : self._used + len(ids)] = ids
            self._used += len(ids)
        self._waiting.clear()

    def cut(self, length: int) -> None:
        """Forget all ids after the first `length`."""
        self._flush()
        self._used = self._length = length

    def array(self) -> NDArray[Any]:
        """The ids, (ids,) of the type given; none can be added after that."""
        self._flush()
        self._ids.resize(self._length, refcheck=False)
        return self._ids
