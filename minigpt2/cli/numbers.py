"""Numbers as arguments of a command."""

import argparse
import math
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def positive(text: str) -> int:
    """An argument that must be a whole number, 1 or more.

    >>> positive("10")
    10
    """
    return _checked(text, int, lambda number: number >= 1, "a whole number, 1 or more")


def not_negative(text: str) -> int:
    """An argument that must be a whole number, 0 or more."""
    return _checked(text, int, lambda number: number >= 0, "a whole number, 0 or more")


def port(text: str) -> int:
    """An argument that must be the number of a port."""
    return _checked(text, int, lambda number: 0 <= number <= 65535, "a port, 0 to 65535")


def above_zero(text: str) -> float:
    """An argument that must be a number above 0."""
    return _checked(text, float, lambda number: 0 < number < math.inf, "a number above 0")


def probability(text: str) -> float:
    """An argument that must be a number above 0 and at most 1."""
    return _checked(text, float, lambda number: 0 < number <= 1, "a number above 0 and at most 1")


def share(text: str) -> float:
    """An argument that must be a number from 0 to less than 1."""
    return _checked(text, float, lambda number: 0 <= number < 1, "a number from 0 to less than 1")


def _checked(text: str, convert: Callable[[str], Number], is_right: Callable[[Number], bool], expected: str) -> Number:
    try:
        if is_right(number := convert(text)):
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {expected}, not {text!r}")
