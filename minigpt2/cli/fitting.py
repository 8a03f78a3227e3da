"""Tables that fit the width of a terminal: first digits go, then columns, and only then the ends of texts."""

import re
from collections.abc import Sequence
from itertools import zip_longest

from minigpt2.explain.characters import cut, display_width

BETWEEN = 2  # columns between two cells
NARROWEST = 6  # columns that a cell keeps
_LONG_NUMBER = re.compile(r" ?-?\d+\.\d{4,}(e[+-]\d+)?")

Lines = list[list[str]]


def fitted(lines: Lines, width: int) -> Lines:
    """The lines of a table, the heading first, so that all of them fit into `width` columns.

    >>> fitted([["id", " 0", " 1", "…", " 9"], ["7", " 0.12345678", "-0.5", "…", " 1.0"]], 26)
    [['id', ' 0', ' 1', '…', ' 9'], ['7', ' 0.123', '-0.5', '…', ' 1.0']]
    """
    if needed(lines) > width:
        lines = [lines[0], *([_LONG_NUMBER.sub(_short, cell) for cell in line] for line in lines[1:])]
    while needed(lines) > width and (column := _dispensable(lines[0])) is not None:
        lines = [[*line[:column], *line[column + 1 :]] for line in lines]
    while (excess := needed(lines) - width) > 0:
        widths = _widths(lines)
        column = widths.index(max(widths))
        if widths[column] <= NARROWEST:
            break
        room = max(NARROWEST, widths[column] - excess)
        lines = [[*line[:column], cut(line[column], room), *line[column + 1 :]] for line in lines]
    return lines


def needed(lines: Lines) -> int:
    """How many columns a table takes."""
    widths = _widths(lines)
    return sum(widths) + BETWEEN * (len(widths) - 1)


def _widths(lines: Lines) -> list[int]:
    return [max(map(display_width, column)) for column in zip_longest(*lines, fillvalue="")]


def _short(number: re.Match[str]) -> str:
    value = float(number[0])
    return f"{value: .3f}" if abs(value) < 1000 else f"{value: .2e}"


def _dispensable(heading: Sequence[str]) -> int | None:
    """The column of values to leave out next: one beside the gap, on the side that has more of them."""
    if "…" not in heading:
        return None
    gap = heading.index("…")
    before = sum(name.startswith(" ") for name in heading[:gap])
    after = len(heading) - gap - 1
    if before + after <= 1:
        return None
    return gap - 1 if before >= after else gap + 1
