"""Lines of a terminal: colours, and text that fits the width."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from minigpt2.explain.characters import cut, display_width, padded, visible
from minigpt2.vocabulary import bytes_of

# Backgrounds of the 256-colour palette for neighbouring pretokens, each in two shades for the tokens of one.
_SHADES: Final = ((153, 117), (157, 114), (229, 221), (225, 218), (223, 216), (159, 116))


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours if they are on, else the bare text."""

    on: bool

    def _painted(self, text: str, codes: str) -> str:
        return f"\x1b[{codes}m{text}\x1b[0m" if self.on else text

    def dim(self, text: str) -> str:
        return self._painted(text, "2")

    def strong(self, text: str) -> str:
        return self._painted(text, "1")

    def token(self, text: str, pretoken: int, index: int) -> str:
        return self._painted(text, f"38;5;16;48;5;{_SHADES[pretoken % len(_SHADES)][index % 2]}")

    def special(self, text: str) -> str:
        return self._painted(text, "7")


def flow(words: Iterable[tuple[list[str], list[str]]], width: int, between: str, apart: str) -> Iterator[str]:
    """Words, each in parts and the same painted, in lines of `width`; a line also ends after a `↵`."""
    line, used = "", 0
    for parts, painted in words:
        for index, (part, shown) in enumerate(zip(parts, painted, strict=True)):
            separator = between if index else apart
            needed = display_width(part) + len(separator)
            if used and used + needed > width:
                yield line
                line, used = "", 0
            line += (separator if used else "") + shown
            used += needed
        if parts[-1].endswith("↵"):
            yield line
            line, used = "", 0
    if used:
        yield line


def filled(sentence: str, width: int) -> list[str]:
    """A sentence in lines of at most `width` columns; what moves a cursor is escaped, a wider word is cut."""
    plain = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in sentence)
    lines = textwrap.wrap(plain, width, break_long_words=False, break_on_hyphens=False)
    return [cut(line, width) for line in lines]


def shown_token(written: str) -> str:
    """A token that is given as GPT-2 writes it, in a form that can be seen.

    >>> shown_token("Ġlife")
    '·life'
    """
    return visible(bytes_of(written)[0])


def wrapped(words: Sequence[str], width: int, separator: str) -> Iterator[str]:
    """Words in lines of `width` columns."""
    yield from flow([([word], [word]) for word in words], width, "", separator)


def hanging(start: str, words: Sequence[str], width: int, separator: str) -> Iterator[str]:
    """Words in lines of `width` columns, the first line after `start` and the others indented as far."""
    for index, line in enumerate(wrapped(words, width - len(start), separator)):
        yield (" " * len(start) if index else start) + line


def columns(lines: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Lines of cells in columns that line up, cut at the terminal's edge."""
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield cut("  ".join(map(padded, line, widths)).rstrip(), width)
