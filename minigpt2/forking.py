"""Two kinds of locks for programs that fork.

A child has only the thread that forked: a lock that another thread held would stay locked there for ever.

Those that libraries hold in C for a moment are out of reach: OpenSSL's while a thread ends that has used it, and
pyarrow's while it gets memory.
"""

import logging  # noqa: F401  # see the end
import os
from threading import RLock
from typing import Any
from weakref import WeakSet

#: A fork waits for it, so that a child finds whole what it guards. It is held while a memory learns, for example, and
#: for imports, because Python itself locks a module during its import. Reentrant, for a signal handler that forks.
FORK_WAITS = RLock()


class RenewedLock:
    """A reentrant lock that a forked child gets anew; a fork does not wait for it, however long it is held.

    What it guards must be sound at every moment, because a fork may come at any.
    """

    def __init__(self) -> None:
        self._held: list[Any] = []  # the locks to release, the last first: another one where the holder itself forks
        self.renew()
        _renewed.add(self)

    def renew(self) -> None:
        """Forget who holds it."""
        self._lock = RLock()

    def __enter__(self) -> None:
        lock = self._lock
        lock.acquire()
        self._held.append(lock)

    def __exit__(self, *_: object) -> None:
        self._held.pop().release()


_renewed: WeakSet[RenewedLock] = WeakSet()


def _renew_all() -> None:
    for lock in _renewed:
        lock.renew()


if hasattr(os, "register_at_fork"):
    # The last that is registered is acquired first. `logging` registers its lock when it is imported, before FORK_WAITS
    # here: otherwise a fork could hold logging's lock and wait for FORK_WAITS, while an import holds FORK_WAITS and
    # waits for logging's.
    os.register_at_fork(
        before=FORK_WAITS.acquire, after_in_parent=FORK_WAITS.release, after_in_child=FORK_WAITS.release
    )
    os.register_at_fork(after_in_child=_renew_all)
