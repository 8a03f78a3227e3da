"""The terminal that a command writes to: its width and colours, and sentences that fit it."""

import os
import shutil
import sys

from minigpt2.explain.characters import display_width

NARROWEST = 20
MOST = 100  # columns of a paragraph, however wide the terminal is


def terminal_width() -> int | None:
    """How many columns there are: of the terminal, or what COLUMNS says; None for a file or a pipe."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return max(NARROWEST, shutil.get_terminal_size().columns)
    return None


def has_colours() -> bool:
    """Whether output goes to a terminal that has colours and whose user wants them (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str, width: int | None = None) -> None:
    """Print a paragraph in lines of `width` columns or those of the terminal; in one line for a file or a pipe."""
    width = width or terminal_width()
    line = ""
    for word in text.split():
        if line and width is not None and display_width(f"{line} {word}") > min(width, MOST):
            print(line)
            line = ""
        line = f"{line} {word}" if line else word
    print(line)
