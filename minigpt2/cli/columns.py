"""Tables in a terminal, whose columns line up with characters of any width."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from minigpt2.cli.fitting import fitted
from minigpt2.cli.streams import escaped
from minigpt2.cli.terminal import terminal_width
from minigpt2.explain.characters import display_width, padded, text_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

EDGE = 3  # values shown at either end of a row, as numpy shows them

Row = Sequence[str]


def print_table(header: Row, rows: Iterable[Row], indent: str = "") -> None:
    """Print rows under a header; a column whose heading begins with `>` is aligned right.

    On a terminal the table fits its width (`fitted`), elsewhere it is whole. What cannot be printed, such as an escape
    in a tensor's name, is shown escaped.

    >>> print_table([">id", "token"], [["464", "The"], ["0", "!"]])
     id  token
    464  The
      0  !
    """
    lines = [[escaped(cell) for cell in row] for row in (header, *rows)]
    if (width := terminal_width()) is not None:
        lines = fitted(lines, width - len(indent))
    header, lines[0] = lines[0], [heading.removeprefix(">") for heading in lines[0]]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(line, widths, header, strict=True)
        print((indent + "  ".join(padded(cell, width, heading[:1] == ">") for cell, width, heading in cells)).rstrip())


def quoted(data: bytes) -> str:
    """A token's text in quotes, with invisible characters escaped; or its bytes if they are not whole characters.

    >>> print(quoted(b" life"), quoted(b"\\n"), quoted("é".encode()), quoted(b" \\xf0\\x9f\\x98"))
    ' life' '\\n' 'é' b' \\xf0\\x9f\\x98'
    """
    text = text_of(data)
    shown = repr(data if text is None else text)
    if text and unicodedata.category(text[0]).startswith("M"):  # it would combine with the quote before it
        return shown.replace(text[0], ascii(text[0])[1:-1], 1)
    return shown


def value_headings(count: int) -> list[str]:
    """The headings over a row of `count` values, the first and the last of which are shown.

    >>> value_headings(768), value_headings(2)
    ([' 0', ' 1', ' 2', '…', ' 765', ' 766', ' 767'], [' 0', ' 1'])
    """
    return _first_and_last([f" {index}" for index in range(count)])


def value_cells(values: "NDArray[Any]") -> list[str]:
    """The first and last values of a row (n,), as numpy writes each: in the fewest digits that identify it.

    >>> import numpy as np
    >>> value_cells(np.array([-0.11010301, 0.5], np.float32))
    ['-0.11010301', ' 0.5']
    """
    shown = values if len(values) <= 2 * EDGE else [*values[:EDGE], *values[-EDGE:]]
    cells = [text if (text := str(value)).startswith("-") else f" {text}" for value in shown]
    return cells if len(values) <= 2 * EDGE else [*cells[:EDGE], "…", *cells[EDGE:]]


def _first_and_last(cells: list[str]) -> list[str]:
    return cells if len(cells) <= 2 * EDGE else [*cells[:EDGE], "…", *cells[-EDGE:]]
