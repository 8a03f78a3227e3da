"""How Ctrl-C is taken: once by a command, and not in the middle of work that must not be broken off half-way."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

#: How long something may take to clean up before Ctrl-C ends it at once.
SECONDS_TO_CLEAN_UP: Final = 2.0


class OneInterrupt:
    """A handler of Ctrl-C that interrupts a command once, so that nothing breaks into its cleaning up.

    Two at once are common: programs that start commands pass on what the terminal has sent to both.
    """

    ended: float | None = None  # when the command was interrupted or came to its end, in seconds
    then: Any = signal.SIG_DFL  # what takes Ctrl-C some time after that: it ends the process

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.ended is None:
            self.ended = time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - self.ended > SECONDS_TO_CLEAN_UP:
            signal.signal(number, self.then)
            signal.raise_signal(number)


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block; one that comes some seconds after another does not wait.

    A pool that is shut down in half can hang, and an output closed in half stays locked. But a pool may also wait for a
    process that cannot end, as where a file system does not answer.
    """
    before, held = signal.getsignal(signal.SIGINT), list[float]()
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(time.monotonic())
        if held[-1] - held[0] > SECONDS_TO_CLEAN_UP:
            held.clear()
            before(number, frame)

    try:  # from here on another signal's handler may raise an exception at any moment
        signal.signal(signal.SIGINT, hold)
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            before(signal.SIGINT, None)
