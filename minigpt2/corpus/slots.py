"""Memory that processes share: a worker leaves a batch's ids there, and only their number goes through the pipe.

A pipe holds 64 KiB at a time, so whoever sends a megabyte through it waits for the other end again and again. The
memory is anonymous, shared by a process and its later copies, and gone with the last of them.
"""

import mmap


class Slots:
    """Some slots of equal size. One process takes them and reads them, others write."""

    def __init__(self, count: int, size: int) -> None:
        self._memory = mmap.mmap(-1, count * size)
        self._size = size
        self._free = list(range(count))

    def take(self) -> int | None:
        """A slot that nobody uses, if there is one; of those used last, so that few pages are ever touched."""
        return self._free.pop() if self._free else None

    def write(self, slot: int, data: bytes) -> bool:
        """Put data into a slot, if it has room for them."""
        start = slot * self._size
        if len(data) > self._size:
            return False
        self._memory[start : start + len(data)] = data
        return True

    def read(self, slot: int, length: int) -> bytes:
        """The data that were written to a slot."""
        start = slot * self._size
        return self._memory[start : start + length]

    def give_back(self, slot: int) -> None:
        """Let the slot be taken again."""
        self._free.append(slot)
