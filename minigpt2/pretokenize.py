"""Text to pretokens: the split before any merge. No merge crosses it.

GPT-2 splits with one regular expression. Which characters are letters or numbers depends on the Unicode version of the
reference tokenizers, 16.0 (transformers 5.23, tokenizers 0.23.3, tiktoken 0.14), and not on the installed Python or
regular expression library. So the package carries the classes itself, and the pattern runs over *stand-ins*: each
character beyond ASCII is replaced by an ASCII character of its class, and the pretokens are cut from the original text
at the spans found.

Source of the pattern: OpenAI's GPT-2 release (https://github.com/openai/gpt-2, src/encoder.py).
"""

# Callers that look up the classes encode text as "utf-32-le". Python would import that codec at the first such call,
# and a child forked during an import inherits the import's lock.
import encodings.utf_32_le  # noqa: F401
import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from minigpt2 import data

#: The branches of the split pattern in the order they are tried, each under a name.
BRANCHES = {
    "contraction": r"'s|'t|'re|'ve|'m|'ll|'d",
    "letters": r" ?\p{L}+",
    "numbers": r" ?\p{N}+",
    "others": r" ?[^\s\p{L}\p{N}]+",
    "whitespace_run": r"\s+(?!\S)",
    "single_whitespace": r"\s+",
}

#: OpenAI's split pattern as published; `\p{L}` and `\p{N}` are the letters and numbers of Unicode 16.0.
SPLIT_PATTERN = "|".join(BRANCHES.values())

#: The four classes of characters that the pattern tells apart.
OTHER, LETTER, NUMBER, SPACE = range(4)

# A stand-in must not be a character that the pattern names: an apostrophe, a space, a letter of a contraction.
_STAND_IN_OF_CLASS = np.frombuffer(b"!A0\t", np.uint8)  # other, letter, number, space


def _over_stand_ins(pattern: str) -> str:
    """The pattern for text that is all ASCII: 52 letters, 10 numbers."""
    pattern = pattern.replace(r"[^\s\p{L}\p{N}]", r"[^\sA-Za-z0-9]")
    return pattern.replace(r"\p{L}", "[A-Za-z]").replace(r"\p{N}", "[0-9]")


_SPLIT = re.compile(_over_stand_ins(SPLIT_PATTERN), re.ASCII)
_SPLIT_BY_BRANCH = re.compile(
    "|".join(f"(?P<{name}>{_over_stand_ins(branch)})" for name, branch in BRANCHES.items()), re.ASCII
)


@cache
def character_classes() -> NDArray[np.uint8]:
    """The class of every code point, `OTHER`, `LETTER`, `NUMBER` or `SPACE`, shape (1114112,) uint8, read-only.

    Source: the Unicode Character Database 16.0, general categories L* and N* and the property White_Space.

    >>> character_classes()[[ord("é"), ord("²"), 0x3000, ord("😀")]].tolist()
    [1, 2, 3, 0]
    """
    classes = np.full(0x110000, OTHER, np.uint8)
    ranges = data.read("unicode_classes.txt").decode("ascii")
    named = {"letter": LETTER, "number": NUMBER, "space": SPACE}
    for line in ranges.splitlines():
        name, first, last = line.split()
        classes[int(first, 16) : int(last, 16) + 1] = named[name]
    classes.flags.writeable = False
    return classes


@cache
def _stand_ins() -> str:
    """The stand-in of every code point, as a table for `str.translate`; ASCII stands for itself."""
    ascii_itself = bytes(range(128)).decode("ascii")
    return ascii_itself + _STAND_IN_OF_CLASS[character_classes()[128:]].tobytes().decode("ascii")


def pretokenize(text: str) -> list[str]:
    """Split text into GPT-2's pretokens; joined, they are the text again.

    >>> pretokenize("I'm 36  years old!")
    ['I', "'m", ' 36', ' ', ' years', ' old', '!']
    """
    if text.isascii():
        return _SPLIT.findall(text)
    return [text[slice(*match.span())] for match in _SPLIT.finditer(text.translate(_stand_ins()))]


def pretokenize_by_branch(text: str) -> list[tuple[str, str]]:
    """Split as `pretokenize` does, and name for each pretoken the one of `BRANCHES` that matched it.

    >>> pretokenize_by_branch("It's 4")
    [('It', 'letters'), ("'s", 'contraction'), (' 4', 'numbers')]
    """
    matches = _SPLIT_BY_BRANCH.finditer(text.translate(_stand_ins()))
    return [(text[slice(*match.span())], str(match.lastgroup)) for match in matches]
