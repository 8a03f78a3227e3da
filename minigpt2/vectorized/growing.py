"""An array of ids that grows as they come: its pages are moved, not copied, so that nothing is kept twice."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: By how many ids it grows at most at a time.
_ROOM = 1 << 20


class GrowingIds:
    """Ids, one after the other, of one integer type."""

    def __init__(self, kind: np.dtype[Any]) -> None:
        self._ids = np.empty(0, kind)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def extend(self, ids: NDArray[Any] | list[int]) -> None:
        """Add ids at the end."""
        end = self._used + len(ids)
        if end > len(self._ids):
            self._ids.resize(end + min(end, _ROOM), refcheck=False)
        self._ids[self._used : end] = ids
        self._used = end

    def cut(self, length: int) -> None:
        """Forget all ids but for the first ones."""
        self._used = length

    def array(self) -> NDArray[Any]:
        """The ids, shape (ids,); none can be added after that."""
        self._ids.resize(self._used, refcheck=False)
        return self._ids
