"""Text in another encoding than UTF-8: which one it may be, by its bytes."""

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable

# Some characters of UTF-16 in a row, the upper half of each behind the lower one or before it, and so of UTF-32.
_IN_A_ROW = (rb"[^\0][\0-\x1f]", rb"[\0-\x1f][^\0]", rb"[^\0][\0-\x1f]\0\0", rb"\0\0[\0-\x1f][^\0]")
_UTF16 = re.compile(b"|".join(b"(?:%b){6,}" % character for character in _IN_A_ROW))

_UTF16_MARK = re.compile(codecs.BOM_UTF16_LE + b"|" + codecs.BOM_UTF16_BE)
_OTHER_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")  # than those of text and of a terminal's colors

_MOST = 1 << 16  # bytes that are looked at to tell text from other data
_UNDEFINED = b"\x81\x8d\x8f\x90\x9d"  # bytes that CP1252 has no characters for
_ENDS_OF_WORDS = " \n\u3000\u3001\u3002\uff0c"  # and of parts of sentences, in Chinese and Japanese
_CONTROLS_OF_TEXT = "\t\n\f\r\b\x1a\x1b"  # also of old printers, of DOS's end of a file, and of terminals' colors


def advice(data: bytes, offset: int, command: Callable[[str], str]) -> str:
    """How to make UTF-8 of text that is not; `command` is the shell's command around `iconv ...`.

    >>> print(advice(b"caf\\xe9", 0, lambda convert: f"{convert} a.txt"))
    if it is CP1252 or Latin-1, `iconv -f CP1252 -t UTF-8 a.txt` converts it
    """
    encoding = likely_encoding(data, offset)
    if encoding is None:
        return "if it is text, convert it to UTF-8 from the encoding that it has"
    shown = "CP1252 or Latin-1" if encoding == "CP1252" else encoding
    return f"if it is {shown}, `{command(f'iconv -f {encoding} -t UTF-8')}` converts it"


def likely_encoding(data: bytes, offset: int) -> str | None:
    """The encoding of text that is not UTF-8; None where it is another one, or this is UTF-8 with damage, or not text.

    `offset` is where in the text the bytes begin. CP1252, which Windows calls ANSI, has all printable characters of
    Latin-1 at the same bytes, and quotes and dashes where that has none. It is named only for a whole text,
    because `iconv` would spoil lines in UTF-8. Text before the offset was UTF-8.

    >>> [likely_encoding("é a".encode(name), 0) for name in ("utf-32", "utf-16", "utf-16-be", "latin-1")]
    ['UTF-32', 'UTF-16', 'UTF-16BE', 'CP1252']
    """
    if offset == 0 and data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if offset == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    zeros, spaces = data.count(0), data.count(b" ") + data.count(b"\n")
    if zeros and zeros * 4 >= spaces:  # half of every ASCII character is one
        return None if _begins_with_a_line(data) else _wide_encoding(data, offset)
    is_of_another = any(byte in data for byte in _UNDEFINED) or offset > 0 or _is_partly_utf8(data)
    return None if is_of_another or not _is_text(data[:_MOST].decode("cp1252")) else "CP1252"


def _wide_encoding(data: bytes, offset: int) -> str | None:
    """The encoding of text in UTF-32 or UTF-16 without a mark; None if it is not text."""
    if b"\0\0" in data and offset % 4 == 0:
        for encoding in ("UTF-32LE", "UTF-32BE"):
            if _is_text(data[: min(len(data) // 4 * 4, _MOST)].decode(encoding, "replace")):
                return encoding
    encoding = _half_of_utf16(data, offset)
    return encoding if _is_text(data[offset % 2 :][:_MOST].decode(encoding, "replace")) else None


def is_utf16_without_mark(beginning: bytes) -> bool:
    """Whether a text begins as UTF-16 does, without a byte order mark; it may be UTF-8 all the same.

    In most alphabets, the upper half of every letter is below 32: for UTF-8 those are control characters. Text may have
    a tab or a line end at every second byte, but hardly another one among them, and logs have runs of zeros.

    >>> is_utf16_without_mark("The meaning of life".encode("utf-16-le")), is_utf16_without_mark(b"The meaning of life")
    (True, False)
    """
    if len(beginning) < 16:
        return False
    upper, lower = _halves(beginning[:256])
    others = upper.translate(None, b"\t\n\r")
    return _are_upper(upper) and _controls(others) * 16 >= len(upper) and lower.count(0) * 8 <= len(lower)


def utf16_instead(data: bytes, offset: int, command: Callable[[str], str]) -> str | None:
    """Why bytes are text in UTF-16 or UTF-32 in UTF-8's place or behind it, and what to do; None if they are not.

    PowerShell's `>>` appends it so. All of it has spaces or line ends, and so zeros. None also where it stands alone
    and is not UTF-8 at all: `advice` knows the encoding then.

    >>> print(utf16_instead(b"one\\n" + "two, three, four".encode("utf-16-le"), 0, str))
    near byte offset 2 it goes on in UTF-16 or UTF-32, which some shells append: write it again in one encoding
    """
    if b"\0" not in data:
        return None
    start = _start_as_utf8(data) if _is_utf8(data) else _start_behind_text(data)
    if start is None:
        return None
    if offset + start > 1:
        reason = "it goes on in UTF-16 or UTF-32, which some shells append: write it again in one encoding"
        return f"near byte offset {offset + start} {reason}"
    return f"every second byte where it begins is a control character; {advice(data, offset, command)}"


def _start_as_utf8(data: bytes) -> int | None:
    """Where in bytes that are UTF-8 they are UTF-16 or UTF-32 instead; up to 3 bytes early."""
    found = next((run for run in _UTF16.finditer(data) if run[0].count(0) >= max(2, len(run[0]) / 200)), None)
    if not found and not is_utf16_without_mark(data):
        return None
    start = found.start() if found else 0  # early where a run begins with a line end before it
    return 0 if _are_upper(_halves(data[: min(start, 256)])[0]) else start  # it begins so too


def _start_behind_text(data: bytes) -> int | None:
    """Where in bytes that are not UTF-8 text goes on in UTF-16 or UTF-32: behind a line, or at a byte order mark."""
    before_zero = data[: data.index(0)]
    marks = [mark.start() for mark in _UTF16_MARK.finditer(before_zero)]
    if marks[:1] == [0]:
        return None  # all of it is in that encoding
    line_ends = [end.end() for end in re.finditer(b"\n", before_zero)]
    # In some alphabets half of a character may look like a line end, so the last one need not be the one before it.
    for start in [*marks[:1], *reversed(line_ends[-8:])]:
        encodings = ["utf-16"] if start in marks else ["utf-16-le", "utf-32-le"]
        decoders = [codecs.getincrementaldecoder(each)("replace") for each in encodings]  # the end may be half of one
        rest = data[start : start + _MOST]
        is_wide = b"\0" in rest.rstrip(b"\0")  # a zero may end what a program in C has written
        if is_wide and _is_plain_text(data[:start]) and any(_has_words(decoder.decode(rest)) for decoder in decoders):
            return start
    return None


def _begins_with_a_line(data: bytes) -> bool:
    """Whether bytes that have a zero begin with a line of text in UTF-8."""
    line = data[: data.find(b"\n", 0, data.index(0)) + 1]
    return len(line) > 3 and _is_utf8(line) and _is_plain_text(line)  # fewer may be one or two characters of UTF-16


def _halves(data: bytes) -> tuple[bytes, bytes]:
    """The bytes at every second place, first those with more control characters."""
    return (data[::2], data[1::2]) if _controls(data[::2]) > _controls(data[1::2]) else (data[1::2], data[::2])


def _are_upper(halves: bytes) -> bool:
    """Whether these may be the upper halves of UTF-16's characters, by how many of them are control characters."""
    return _controls(halves) * 4 > len(halves) * 3


def _controls(data: bytes) -> int:
    """How many bytes are control characters."""
    return sum(byte < 32 for byte in data)


def _half_of_utf16(data: bytes, offset: int) -> str:
    """Which half of UTF-16's characters is first; the upper ones vary less: a text keeps to a few alphabets."""
    even, odd = (len(set(data[(start - offset) % 2 :: 2])) for start in (0, 1))
    return "UTF-16BE" if even < odd or (even == odd and (offset + data.index(b"\0")) % 2 == 0) else "UTF-16LE"


def _is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8; they may end within a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _is_plain_text(data: bytes) -> bool:
    """Whether bytes are text without control characters, in UTF-8 or, if a quarter at most is beyond ASCII, another."""
    is_plain = bool(data) and not _OTHER_CONTROLS.search(data)
    return is_plain and (_is_utf8(data) or sum(byte > 126 for byte in data) * 4 <= len(data))


def _is_partly_utf8(data: bytes) -> bool:
    """Whether a line is in UTF-8, or over 2 % of the characters beyond ASCII are; fewer may be valid by chance."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    sound = len(text) - len(text.encode("ascii", "ignore")) - broken
    has_line = any("\ufffd" not in line and not line.isascii() for line in text.split("\n"))
    return has_line or sound * 50 > broken


def _is_text(text: str) -> bool:
    """Whether of 50 characters at most one is a control character, or stands for nothing."""
    odd = sum(count for each, count in Counter(text).items() if _is_odd(each))
    return odd * 50 <= len(text)


def _has_words(text: str) -> bool:
    """Whether this is text with ends of words or lines: half of binary data's pairs of bytes are characters of CJK."""
    ends = sum(text.count(each) for each in _ENDS_OF_WORDS)
    return ends * 1000 >= max(1, len(text)) and _is_text(text)


def _is_odd(character: str) -> bool:
    kind = unicodedata.category(character)
    return character == "\ufffd" or (kind in ("Cc", "Cn", "Co", "Cs") and character not in _CONTROLS_OF_TEXT)
