"""Names in commands that a message tells the user to run."""

import os
import shlex


def quoted(name: str) -> str:
    r"""A name as a shell takes it. Messages escape what cannot be printed; here the shell has to read the escapes.

    >>> print(quoted("two words"), quoted("the\u3000end"))
    'two words' $'the\xe3\x80\x80end'
    """
    if name.isprintable():
        return shlex.quote(name)
    escaped = (rf"\{each}" if each in r"\'" else each if each.isprintable() else _bytes_of(each) for each in name)
    return f"$'{''.join(escaped)}'"


def file_argument(name: str) -> str:
    """A file's name as an argument of any command, never one of its options.

    >>> file_argument("-l.txt")
    './-l.txt'
    """
    return quoted(f"./{name}" if name.startswith("-") else name)


def _bytes_of(character: str) -> str:
    return "".join(rf"\x{byte:02x}" for byte in os.fsencode(character))
