"""Two kinds of locks for programs that fork.

A child has only the thread that forked: a lock that another thread held would stay locked there for ever.

Those that libraries hold for a moment are out of reach: OpenSSL's while a thread ends that has used it, pyarrow's while
it gets memory, tqdm's while it draws a bar, and multiprocessing's while its resource tracker is told that a pool
starts or ends.
"""

import concurrent.futures.thread  # noqa: F401  # see the end
import logging  # noqa: F401
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import call
from threading import RLock
from weakref import WeakSet

Hook = Callable[[], object]

#: A fork waits for it, so that a child finds whole what it guards. It is held while a memory learns, for example, and
#: for imports, because Python itself locks a module during its import: `with FORK_WAITS, ordered_hooks():`. Reentrant,
#: for a signal handler that forks.
FORK_WAITS = RLock()


@contextmanager
def ordered_hooks() -> Iterator[None]:
    """Make a fork take FORK_WAITS before it runs the hooks of modules that are imported meanwhile.

    Otherwise the hook of filelock, for example, would close a gate, and the fork would wait for the import of filelock,
    which has to pass that gate. So does the import of huggingface_hub where filelock is there already.

    It does not take FORK_WAITS itself: an exception of a signal handler could leave a lock held that is taken here.
    """
    register = getattr(os, "register_at_fork", None)
    if register:
        if gates := _gates() - _behind_ours:
            _register_ours(register)
            _behind_ours.update(gates)
        os.register_at_fork = partial(_register, register)
    try:
        yield
    finally:
        if register:
            os.register_at_fork = register


def _gates() -> set[str]:
    """The modules that close a gate before a fork and are often imported elsewhere, once they have their hooks."""
    return {"filelock"} if hasattr(sys.modules.get("filelock"), "FileLock") else set()


def _register(register: Callable[..., None], **hooks: Hook) -> None:
    if "before" in hooks and "after_in_parent" in hooks:
        # A fork that is waiting for FORK_WAITS has not run this `before`, so it must not run `after_in_parent` either.
        # `after_in_child` is always run: it may renew a lock that another thread holds.
        begun: list[Hook] = []
        register(before=_note(hooks["after_in_parent"], begun))
        hooks["after_in_parent"] = _call_noted(begun)
    register(**hooks)
    if "before" in hooks:
        _register_ours(register)  # the last that is registered is the first before a fork


def _register_ours(register: Callable[..., None]) -> None:
    # Hooks are run before a fork in the reverse of this order. They are C functions, because a signal handler can raise
    # an exception at the first instruction of a Python function. It can also end the wait of `acquire`, which then
    # takes nothing: `_wait_again` makes up for it.
    begun: list[Hook] = []
    register(before=partial(_wait_again, begun))
    register(before=_note(FORK_WAITS.release, begun))
    register(before=FORK_WAITS.acquire, after_in_parent=_call_noted(begun), after_in_child=_call_noted(begun))


def _note(hook: Hook, begun: list[Hook]) -> Hook:
    """A C function that makes this hook the only one in a list."""
    return partial(begun.__setitem__, slice(None), [hook])


def _call_noted(begun: list[Hook]) -> Hook:
    """A C function that calls the hook in a list, or does nothing where the list is empty."""
    return partial(sorted, begun, key=call)


class RenewedLock:
    """A reentrant lock, `with lock.now:`, that a forked child gets anew; a fork does not wait, however long it is held.

    What it guards must be sound at every moment, because a fork may come at any. `now` is Python's own lock, which no
    exception of a signal handler leaves held; where the holder forks, its block in the child releases the old one.
    """

    def __init__(self) -> None:
        self.renew()
        _renewed.add(self)

    def renew(self) -> None:
        """Forget who holds it."""
        self.now = RLock()


_renewed: WeakSet[RenewedLock] = WeakSet()


def _renew_all() -> None:
    for lock in _renewed:
        lock.renew()


def _wait_again(begun: list[Hook]) -> None:
    """Acquire FORK_WAITS if a signal handler's exception ended the wait: otherwise Python would fork without it.

    A fork that began between the registrations above may run this hook and not `_note`, so the release is noted here.
    """
    interrupt = None
    while not _is_held_here():
        try:
            begun[:] = [FORK_WAITS.release]
            FORK_WAITS.acquire()
        except BaseException as error:  # such as that of Ctrl-C
            interrupt = error
    if interrupt:
        raise interrupt  # Python prints it, as it does with every exception here, and forks


def _is_held_here() -> bool:
    return bool(FORK_WAITS._is_owned())  # type: ignore[attr-defined]  # as `threading.Condition` asks any lock


if hasattr(os, "register_at_fork"):
    # The last that is registered is acquired first. `logging` registers its lock when it is imported, before FORK_WAITS
    # here: otherwise a fork could hold logging's lock and wait for FORK_WAITS, while an import holds FORK_WAITS and
    # waits for logging's. So does `concurrent.futures.thread`: otherwise a fork that waits for FORK_WAITS while it is
    # imported would release its lock without having acquired it.
    _behind_ours = _gates()
    _register_ours(os.register_at_fork)
    os.register_at_fork(after_in_child=_renew_all)
