"""How work that must not be broken off half-way is kept from Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block, and in workers that it starts until they ignore it themselves.

    As they start it would print tracebacks, and be lost during a fork; a pool that is shut down in half can hang, and
    an output closed in half stays locked. What is blocked stays so in a process that is spawned, and the handler stays
    in one that is forked. Without the handler another thread could take what is blocked here.
    """
    before, held = signal.getsignal(signal.SIGINT), list[Any]()
    takes_it = callable(before) and threading.current_thread() is threading.main_thread()
    can_block = hasattr(signal, "pthread_sigmask")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, []) if can_block else None
    try:  # from here on another signal's handler may raise an exception at any moment
        if takes_it:
            signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
        if can_block:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        try:
            if blocked is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        finally:
            if takes_it:
                signal.signal(signal.SIGINT, before)
        if held and callable(before):
            before(*held[0])
