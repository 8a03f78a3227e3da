"""Text in a form that can be seen: signs for what has no shape, and the width of characters in a terminal."""

import re
import unicodedata
from bisect import bisect_right
from itertools import accumulate, groupby
from operator import itemgetter

# Unicode has pictures of control characters from U+2400 on; these four have better known signs.
_SIGNS = {" ": "·", "\t": "→", "\n": "↵", "\x7f": "␡"}

# Characters that print nothing, which their category does not tell: fillers, selectors, the empty Braille cell.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0]")
_MARKS = ("Mn", "Me", "Mc")


def display_width(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> display_width("life"), display_width("生命"), display_width("e\\u0301")
    (4, 4, 1)
    """
    return sum(map(_character_width, text)) if not text.isascii() else len(text)


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The text if it fits, or else as much of it as does with `…` behind it."""
    if display_width(text) <= width:
        return text
    used = list(accumulate(map(display_width, text)))
    return text[: bisect_right(used, width - 1)] + "…"


def padded(text: str, width: int, right: bool = False) -> str:
    """The text with spaces after it, or before it if it stands at the `right`, so that it takes `width` columns.

    >>> padded("生命", 6), padded("life", 6, right=True)
    ('生命  ', '  life')
    """
    padding = " " * (width - display_width(text))
    return padding + text if right else text + padding


def text_of(data: bytes) -> str | None:
    """The text that bytes are, or None if they are not whole characters."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def segments(data: bytes) -> list[tuple[str, bool]]:
    """The bytes of a text or token in a form that can be seen, in runs: what is shown, and whether it is a sign.

    A sign stands for something without a shape: `·` for a space, `↵` for a line end, a picture or the number for
    another character, hexadecimal for bytes that are not a whole character. Joined, the runs are one line.

    >>> segments(b" life\\n")
    [('·', True), ('life', False), ('↵', True)]
    >>> segments(b" \\xf0\\x9f\\x98")
    [('·⟨f0 9f 98⟩', True)]
    """
    # This error handler turns a byte outside any character into U+DC00 + byte, which no text contains.
    parts = re.findall("[\udc80-\udcff]+|[^\udc80-\udcff]", data.decode("utf-8", "surrogateescape"))
    signs = [(shown, shown != part) for part, shown in zip(parts, map(_shown, parts), strict=True)]
    runs = groupby(signs, key=itemgetter(1))
    return [(_after_nothing("".join(shown for shown, _ in run)), is_sign) for is_sign, run in runs]


def visible(data: bytes) -> str:
    """The runs of `segments` in one.

    >>> visible("a\\u200b b".encode())
    'a‹U+200B›·b'
    """
    return "".join(shown for shown, _ in segments(data))


def _shown(part: str) -> str:
    """The text shown for a character, or for a run of bytes outside any character."""
    if "\udc80" <= part[0] <= "\udcff":
        return f"⟨{part.encode('utf-8', 'surrogateescape').hex(' ')}⟩"
    if part in _SIGNS:
        return _SIGNS[part]
    if part < " ":
        return chr(0x2400 + ord(part))
    return f"‹U+{ord(part):04X}›" if _has_no_shape(part) else part


def _has_no_shape(character: str) -> bool:
    code = ord(character)
    not_a_character = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return (
        unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Zs")
        or not_a_character
        or 0xE0100 <= code <= 0xE01EF
        or _BLANK.match(character) is not None
    )


def _after_nothing(shown: str) -> str:
    """Put a dotted circle before a combining mark; it would combine with whatever is printed before it."""
    return "◌" + shown if unicodedata.category(shown[0]) in _MARKS else shown
