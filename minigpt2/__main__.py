"""The process of the command `minigpt2`, also as `python -m minigpt2`: how Ctrl-C ends it."""

import atexit
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from minigpt2.interrupts import OneInterrupt


def main() -> int:
    """Run the command with the process's arguments, and return its exit code.

    Raises:
        KeyboardInterrupt: Ctrl-C ended it. So Python too ends by that signal, and a shell ends the loop it is in.
    """
    interrupts, before = OneInterrupt(), signal.getsignal(signal.SIGINT)
    is_taken = before is signal.default_int_handler or isinstance(before, OneInterrupt)  # a background job ignores it
    if is_taken and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupts)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # Python sets the default before its last steps
    try:
        from minigpt2 import cli

        status = cli.main()
        if status == cli.INTERRUPTED:
            raise KeyboardInterrupt
        return status
    except KeyboardInterrupt:
        sys.excepthook = _without_interrupts(sys.excepthook)
        raise
    finally:  # the process may go on: a session of IPython that runs the command
        interrupts.ended, interrupts.then = time.monotonic(), signal.default_int_handler


def _without_interrupts(show: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that shows all uncaught errors but Ctrl-C."""
    return lambda kind, *error: None if issubclass(kind, KeyboardInterrupt) else show(kind, *error)


if __name__ == "__main__":
    sys.exit(main())
