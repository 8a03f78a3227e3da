"""Numbers as arguments of a command."""

import argparse


def positive(text: str) -> int:
    """An argument that must be a whole number, 1 or more.

    >>> positive("10")
    10
    """
    try:
        if (number := int(text)) >= 1:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, not {text!r}")
