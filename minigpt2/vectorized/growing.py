"""An array of ids that grows as they come, without keeping anything twice.

Ids wait until they are many, and are then put into the array together: most texts' wait until the end, and make it of
just the size. Only a large array grows, by whole pages, which are moved and not copied.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How many ids wait at most before they are put into the array.
_ROOM = 1 << 20


class GrowingIds:
    """Ids, one after the other, of one integer type."""

    def __init__(self, kind: np.dtype[Any]) -> None:
        self._ids = np.empty(0, kind)
        self._waiting: list[NDArray[Any] | list[int]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def extend(self, ids: NDArray[Any] | list[int]) -> None:
        """Add ids at the end."""
        self._waiting.append(ids)
        self._length += len(ids)
        if self._length - len(self._ids) > _ROOM:
            self.array()

    def cut(self, length: int) -> None:
        """Forget all ids but for the first ones."""
        self.array().resize(length, refcheck=False)
        self._length = length

    def array(self) -> NDArray[Any]:
        """The ids, shape (ids,)."""
        end = len(self._ids)
        self._ids.resize(self._length, refcheck=False)
        for ids in self._waiting:
            self._ids[end : end + len(ids)] = ids
            end += len(ids)
        self._waiting = []
        return self._ids
