"""The three standard streams, treated as well-kept commands treat them."""

import errno
import io
import json
import os
import sys
from contextlib import suppress
from typing import Any


def prepare() -> None:
    """Make standard output take every character, escaped where its encoding has none.

    Raises:
        OSError: standard output is closed.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def can_show(text: str) -> bool:
    """Whether standard output's encoding has all the characters of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def note(message: str) -> None:
    """Tell the user something, or what went wrong, in one line on standard error."""
    with suppress(OSError):  # where nobody can read it, the exit code must do
        if sys.stderr is not None:
            print("minigpt2:", " ".join(message.splitlines()), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, in ASCII, which any program reads under any locale."""
    print(json.dumps(value, default=str))


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output exactly; on a terminal, end the line."""
    sys.stdout.buffer.write(data)
    if sys.stdout.isatty():
        print()


def read_utf8() -> str:
    """Standard input as text, exactly: nothing is stripped, no line end changed, whatever the locale.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8.
    """
    try:
        if sys.stdin is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if sys.stdin.isatty():
            note("reading from the terminal until Ctrl-D")
        return sys.stdin.buffer.read().decode("utf-8")
    except OSError as error:
        error.filename = "standard input"
        raise
    except UnicodeDecodeError as error:
        raise ValueError(not_utf8("standard input", error)) from None


def not_utf8(name: str, error: UnicodeDecodeError) -> str:
    """Say which byte of an input is no UTF-8, and what to do."""
    byte = error.object[error.start]
    return f"{name} is not UTF-8: byte 0x{byte:02X} at byte offset {error.start}; convert it first (`iconv -t UTF-8`)"


def flush() -> None:
    """Write what standard output still holds back, while an error can still be reported."""
    sys.stdout.flush()


def discard() -> None:
    """Let the interpreter's last flush go nowhere: nobody reads it, and it would complain or wait."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def flush_or_discard() -> None:
    """Write what standard output still holds back, if that can be."""
    try:
        flush()
    except (OSError, AttributeError):
        discard()
