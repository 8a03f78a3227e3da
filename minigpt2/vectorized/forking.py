"""A lock that a fork waits for: a child never inherits it held by a thread that the child does not have.

It is held while a memory learns, so that a child finds its tables whole, and while the engine is imported, because
Python itself locks a module during its import.
"""

import os
from threading import RLock

#: Reentrant, for a signal handler that forks.
FORK_WAITS = RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=FORK_WAITS.acquire, after_in_parent=FORK_WAITS.release, after_in_child=FORK_WAITS.release
    )
