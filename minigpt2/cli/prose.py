"""Paragraphs and headings in the terminal."""

import textwrap

WIDTH = 100


def say(paragraph: str) -> None:
    """Print a paragraph, in lines of `WIDTH` columns, whatever lines it was written in."""
    print(textwrap.fill(" ".join(paragraph.split()), WIDTH, break_long_words=False, break_on_hyphens=False))


def heading(title: str, command: str) -> None:
    """Print the title of a step, and the command that shows it alone."""
    print(f"\n\n{title}\n{'-' * len(title)}\n$ {command}\n")


def aside(title: str, command: str) -> None:
    """Print the title of a question within a step, and the command that shows more."""
    print(f"\n* {title}\n  $ {command}\n")
