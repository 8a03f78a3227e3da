"""An array of ids that grows as they come, without keeping many of them twice.

Ids wait until they are many, and are then put into the array together. Of most texts all wait until the end, and the
array is made of just the size. Only that of a long text grows, by whole pages, which are moved, not copied.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How many ids wait at most, and in how many pieces; and by how many ids the array grows at most ahead of them.
MOST_WAITING = 1 << 20
MOST_PIECES = 1 << 12


class GrowingIds:
    """Ids, one after the other, of one integer type."""

    def __init__(self, kind: np.dtype[Any]) -> None:
        self._ids = np.empty(0, kind)
        self._used = self._length = 0
        self._waiting: list[NDArray[Any] | list[int]] = []

    def __len__(self) -> int:
        return self._length

    def extend(self, ids: NDArray[Any] | list[int]) -> None:
        """Add ids at the end."""
        self._waiting.append(ids)
        self._length += len(ids)
        if self._length - self._used > MOST_WAITING or len(self._waiting) > MOST_PIECES:
            self._put()

    def _put(self) -> None:
        """Put the ids that wait into the array."""
        if self._length > len(self._ids):
            self._ids.resize(self._length + min(self._used, MOST_WAITING), refcheck=False)
        for ids in self._waiting:
            self._ids[self._used : self._used + len(ids)] = ids
            self._used += len(ids)
        self._waiting.clear()

    def cut(self, length: int) -> None:
        """Forget all ids but for the first ones."""
        self._put()
        self._used = self._length = length

    def array(self) -> NDArray[Any]:
        """The ids, shape (ids,); none can be added after that."""
        self._put()
        self._ids.resize(self._length, refcheck=False)
        return self._ids
