"""The three standard streams: exact input, output that any terminal takes, errors in one line."""

import codecs
import errno
import io
import json
import os
import select
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from minigpt2.archives import POINTER, POINTER_REASON, TABLE, other_kind
from minigpt2.atomic_write import leads_to
from minigpt2.encodings import advice, utf16_instead
from minigpt2.shell import file_argument
from minigpt2.standard_input import waiting

# Characters of a message; one that repeats a longer input is shortened. The half that stays at its end has room for
# advice with the longest path, which has 4,096 bytes.
MOST_OF_A_NOTE = 10_000


def prepare() -> None:
    """Make standard streams blocking, and escape characters that the encoding of standard output lacks.

    A closed standard error is replaced by one that shows nothing: progress bars write to it unasked.

    Raises:
        OSError: standard output is closed.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it is open until the process ends
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # it is closed, or not a file
            os.set_blocking(stream.fileno(), True)  # the parent process may have made it non-blocking
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
        if isinstance(raw := getattr(sys.stdout.buffer, "raw", sys.stdout.buffer), io.FileIO):
            # With PYTHONUNBUFFERED nothing is buffered, and a single write can take only some of the bytes. A
            # BufferedWriter writes the others, even if its buffer holds one byte.
            size = 1 if raw is sys.stdout.buffer else io.DEFAULT_BUFFER_SIZE
            sys.stdout = io.TextIOWrapper(
                io.BufferedWriter(_StandardOutput(raw.fileno(), "w", closefd=False), size),
                sys.stdout.encoding,
                errors="backslashreplace",
                line_buffering=sys.stdout.line_buffering,
                write_through=sys.stdout.write_through,
            )


class _StandardOutput(io.FileIO):
    """Standard output. It waits while nothing can be written, and its errors name it."""

    def write(self, data: Any) -> int:
        try:
            while (count := super().write(data)) is None:  # another process made it non-blocking
                select.select([], [self], [])
            return count
        except OSError as error:
            error.filename = "standard output"
            raise


def can_show(text: str) -> bool:
    """Whether standard output's encoding has all the characters of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    """The text in one line that moves no cursor: characters that cannot be printed are escaped.

    >>> print(escaped("h.0\\x1b[2J\\n Ġlife 生命"))
    h.0\\x1b[2J\\n Ġlife 生命
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def note(message: str) -> None:
    """Tell the user something, or what went wrong, in one line on standard error.

    A long message loses its middle, where it repeats an input. Its end, which says what to do, stays.
    """
    line = escaped(message.strip())
    if len(line) > MOST_OF_A_NOTE:
        half = MOST_OF_A_NOTE // 2
        line = f"{line[:half]} [...] {line[-half:]}"
    try:
        print("minigpt2:", line, file=sys.stderr, flush=True)
    except OSError:  # it is closed, or its disk is full: the exit code has to do
        discard(sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, in ASCII, which any program reads under any locale.

    JSON has no NaN and no infinity: they become null.
    """
    print(_json(value))


def print_json_list(items: Iterable[Any], **before: Any) -> None:
    """Print a list as `print_json` does, an item at a time: there may be gigabytes of them.

    With `before`, print an object of these values. The last of them must be an empty list: the items go into it.
    """
    opening = _json(before)[:-2] if before else "["
    print(opening, end="")
    for index, item in enumerate(items):
        print(", " if index else "", _json(item), sep="", end="")
    print("]}" if before else "]")


def _json(value: Any) -> str:
    text = json.dumps(value, default=str)
    if any(name in text for name in ("NaN", "Infinity")):
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return text


def print_about(path: Path, line: str) -> None:
    """Print a line about a file that was written, unless that is standard output: the line would become part of it."""
    with suppress(OSError, ValueError):  # it is no longer there, or standard output has no descriptor
        if leads_to(path, sys.stdout.fileno()):
            return
    print(escaped(line))


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output exactly; on a terminal, end the line."""
    sys.stdout.buffer.write(data)
    if sys.stdout.isatty():
        print()


def read_utf8() -> str:
    """Standard input as text, exactly: nothing is stripped, line ends stay, the locale does not matter.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8.
    """
    return decoded("standard input", next(_chunks(-1), b""))


def decoded(name: str, data: bytes, path: str = "") -> str:
    """All bytes of an input as text; `path` is where a command can read them.

    Raises:
        ValueError: they are not UTF-8, or they are an archive, a table or a Git LFS pointer.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(not_utf8(name, error, path=path)) from None
    _refuse_other_kinds(name, text, data, path)
    return text


def _refuse_other_kinds(name: str, text: str, data: bytes, path: str = "") -> None:
    if data.startswith(POINTER):
        raise ValueError(f"{name} is {POINTER_REASON}")
    if "\0" in text[:512] and (kind := _not_text(name, data)):  # some archives are valid UTF-8
        raise ValueError(kind)
    if reason := utf16_instead(data, 0, partial(_reading, path)):
        raise ValueError(f"{name} is not UTF-8: {reason}")


# Byte order marks; that of UTF-32 begins with that of UTF-16.
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_as_it_comes() -> Iterator[str]:
    """Standard input as text, in parts, each as soon as it is there.

    It is UTF-8, or UTF-16 or UTF-32 behind a byte order mark; PowerShell puts such marks before what it pipes.

    Raises:
        OSError: it cannot be read.
        ValueError: it is in another encoding.
    """
    beginning = b""
    decoder: codecs.IncrementalDecoder | None = None
    encoding = "utf-8-sig"
    read = 0  # bytes that were decoded, or wait for the rest of their character
    for chunk in chain(_chunks(1 << 16), [b""]):
        data = beginning + chunk
        if decoder is None and len(data) < 4 and chunk and any(mark.startswith(data) for mark in _MARKS):
            beginning = data
            continue
        if decoder is None:
            encoding = next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), encoding)
            decoder = codecs.getincrementaldecoder(encoding)()
        beginning = b""
        try:
            text = decoder.decode(data, final=not chunk)
        except UnicodeDecodeError as error:
            before = read + len(data) - len(error.object)
            if encoding != "utf-8-sig":
                other = f"continues in another one at byte offset {before + error.start}: use one encoding"
                raise ValueError(f"standard input begins in {encoding.upper()} and {other}") from None
            raise ValueError(not_utf8("standard input", error, before)) from None
        if read == 0:
            _refuse_other_kinds("standard input", text, data)
        yield text
        read += len(data)


def _chunks(size: int) -> Iterator[bytes]:
    """Standard input as it comes, at most `size` bytes at a time, or all at once (-1)."""
    try:
        if sys.stdin is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if sys.stdin.isatty():
            note("reading from the terminal until Ctrl-D")
        file = waiting(sys.stdin.buffer)
        while chunk := file.read() if size < 0 else file.read1(size):
            yield chunk
    except OSError as error:
        error.filename = "standard input"
        raise


def not_utf8(name: str, error: UnicodeDecodeError, offset: int = 0, path: str = "") -> str:
    """The message that an input is not UTF-8: what it is instead, or at which byte, and the command that converts it.

    `offset` is where in the input the error's bytes begin.
    """
    data = error.object
    if offset == 0 and (kind := _not_text(name, data)):
        return kind
    if reason := utf16_instead(data, offset, partial(_reading, path)):
        return f"{name} is not UTF-8: {reason}"
    wrong = f"byte 0x{data[error.start]:02X} at byte offset {offset + error.start}"
    return f"{name} is not UTF-8: {wrong}; {advice(data, offset, partial(_reading, path))}"


def _reading(path: str, command: str) -> str:
    """The command with the file as its argument; without a path it reads standard input."""
    return f"{command} {file_argument(path)}" if path else command


def _not_text(name: str, data: bytes) -> str | None:
    """The message that an input is a file of another kind, by how it begins, or None if it may be text."""
    if data.startswith(TABLE):
        return f"{name} is a Parquet table, not text: write the texts of its rows to a file first"
    if other := other_kind(data):
        what, command = other
        return f"{name} is {what}, not text: `{command} FILE` unpacks it"
    return None


def flush() -> None:
    """Write what standard output has buffered, while an error can still be reported."""
    sys.stdout.flush()


def discard(stream: TextIO) -> None:
    """Drop what a stream has buffered: to write it would fail again, or wait for a reader."""
    with suppress(OSError, ValueError, AttributeError), ExitStack() as ends:
        descriptor = stream.fileno()
        kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
        ends.callback(os.close, kept)
        ends.callback(os.close, nowhere)
        ends.callback(os.dup2, kept, descriptor)  # the process may go on: a session of IPython that runs the command
        os.dup2(nowhere, descriptor)
        stream.flush()


def flush_or_discard() -> None:
    """Write what standard output has buffered, if that can be done."""
    try:
        flush()
    except (OSError, AttributeError):
        discard(sys.stdout)
