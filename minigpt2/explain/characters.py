"""Text that can be seen: how wide a character is in a terminal, and what stands for one that has no shape."""

import re
import unicodedata

# The control characters have pictures from U+2400 on; these four have signs that are better known.
_SIGNS = {" ": "·", "\t": "→", "\n": "↵", "\x7f": "␡"}

# Characters that print nothing although their category does not say so: fillers, selectors, the empty Braille cell.
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


def text_of(data: bytes) -> str | None:
    """The text that bytes are, or None where they are no whole characters."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def segments(data: bytes) -> list[tuple[str, bool]]:
    """The bytes of a text or token in a form that can be seen, in runs: what is shown, and whether it stands for it.

    A space is shown as `·`, a line end as `↵`, any other character without a shape by its picture or its number, and
    bytes that are no whole character in hexadecimal. Joined, the runs are one line.

    >>> segments(b" life\\n")
    [('·', True), ('life', False), ('↵', True)]
    >>> segments(b" \\xf0\\x9f\\x98")
    [('·⟨f0 9f 98⟩', True)]
    """
    runs: list[tuple[str, bool]] = []
    # Under this error handler a byte that belongs to no character becomes U+DC00 + byte, which no text contains.
    for part in re.findall("[\udc80-\udcff]+|[^\udc80-\udcff]", data.decode("utf-8", "surrogateescape")):
        shown = _shown(part)
        if runs and runs[-1][1] == (shown != part):
            runs[-1] = (runs[-1][0] + shown, runs[-1][1])
        else:
            runs.append((_after_nothing(shown), shown != part))
    return runs


def visible(data: bytes) -> str:
    """The runs of `segments` in one.

    >>> visible("a\\u200b b".encode())
    'a‹U+200B›·b'
    """
    return "".join(shown for shown, _ in segments(data))


def _shown(part: str) -> str:
    """What is seen of a character, or of a run of bytes that are none."""
    if "\udc80" <= part[0] <= "\udcff":
        return f"⟨{part.encode('utf-8', 'surrogateescape').hex(' ')}⟩"
    if part in _SIGNS:
        return _SIGNS[part]
    if part < " ":
        return chr(0x2400 + ord(part))
    return f"‹U+{ord(part):04X}›" if _has_no_shape(part) else part


def _has_no_shape(character: str) -> bool:
    code = ord(character)
    no_character = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return (
        unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Zs")
        or no_character
        or 0xE0100 <= code <= 0xE01EF
        or _BLANK.match(character) is not None
    )


def _after_nothing(shown: str) -> str:
    """A mark that has nothing to sit on gets a dotted circle; it would sit on whatever is printed before it."""
    return "◌" + shown if unicodedata.category(shown[0]) in _MARKS else shown
