"""The process of the command `minigpt2`, also as `python -m minigpt2`: how Ctrl-C ends it."""

import atexit
import signal
import sys
import time
from types import FrameType
from typing import Final

# How long a command may take to clean up before Ctrl-C ends it at once.
_SECONDS_TO_CLEAN_UP: Final = 2.0

_INTERRUPTED = 130  # as a shell reports it: 128 + SIGINT


class _OneInterrupt:
    """A handler of Ctrl-C that interrupts a command once, so that nothing breaks into its cleaning up.

    Two at once are common: programs that start commands pass on what the terminal has sent to both.
    """

    ended: float | None = None  # when the command was interrupted or came to its end, in seconds

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.ended is None:
            self.ended = time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - self.ended > _SECONDS_TO_CLEAN_UP:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def main() -> int:
    """Run the command with the process's arguments, and return its exit code."""
    interrupts = _OneInterrupt()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in a shell's background, which ignores it
        signal.signal(signal.SIGINT, interrupts)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # Python's last steps have the default set
    try:
        from minigpt2 import cli

        return cli.main()
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        interrupts.ended = interrupts.ended or time.monotonic()


if __name__ == "__main__":
    sys.exit(main())
