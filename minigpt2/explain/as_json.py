"""A trace in the values that JSON has: dicts, lists, strings and numbers."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_json(value: Any) -> Any:
    """A dataclass as a dict, bytes in hexadecimal, tuples and arrays as lists, NaN and infinities as None.

    >>> as_json((b" life", 0.5, float("nan")))
    ['206c696665', 0.5, None]
    """
    return _converted(value, {})


def _converted(value: Any, known: dict[int, list[Any]]) -> Any:
    """Convert a value; `known` has the lists made so far by their tuple's identity: equal pretokens share merges."""
    if isinstance(value, tuple):
        if id(value) not in known:
            known[id(value)] = [_converted(item, known) for item in value]
        return known[id(value)]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float | np.ndarray):
        return _finite(value)
    if isinstance(value, dict):
        return {str(key): _converted(item, known) for key, item in value.items()}
    if is_dataclass(value):
        return {field.name: _converted(getattr(value, field.name), known) for field in fields(value)}
    return value


def _finite(value: float | NDArray[Any]) -> Any:
    """Numbers as they are, and None for those that JSON lacks."""
    numbers = np.asarray(value).astype(object)
    numbers[~np.isfinite(value)] = None
    return numbers.tolist()
