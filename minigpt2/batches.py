"""Lists of token ids as a batch: truncated, padded, with masks, as arrays; what a tokenizer's call answers with."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Padding = bool | Literal["longest", "max_length", "do_not_pad"] | None
Truncation = bool | Literal["longest_first", "only_first", "do_not_truncate"] | None
Side = Literal["right", "left"]
Offsets = list[tuple[int, int]]
_T = TypeVar("_T")


class Encoding(dict[str, Any]):
    """What a tokenizer's call answers: a dict whose keys are attributes too.

    >>> Encoding(input_ids=[464]).input_ids
    [464]
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this encoding has no {name!r}, but {', '.join(self)}") from None


class Layout(NamedTuple):
    """How the rows of a batch are to be cut and filled; `checked` makes one of a call's options."""

    pad_to: int | Literal["longest"] | None
    cut_at: int | None
    side: Side
    pad_id: int


def checked(padding: Padding, truncation: Truncation, max_length: int | None, side: Side, pad_id: int) -> Layout:
    """Read the call's options.

    Raises:
        TypeError: `max_length` is no integer.
        ValueError: an option has a value that is none of its own, or does not fit the others.
    """
    longest, at_length, never = padding in (True, "longest"), padding == "max_length", padding in (False, None)
    if not (longest or at_length or never or padding == "do_not_pad"):
        raise ValueError(f"padding={padding!r} is none of True, 'longest', 'max_length', False, 'do_not_pad'")
    cuts = truncation in (True, "longest_first", "only_first")
    if not cuts and truncation not in (False, None, "do_not_truncate"):
        raise ValueError(
            f"truncation={truncation!r} is none of True, 'longest_first', 'only_first', False, 'do_not_truncate'"
        )
    if side not in ("right", "left"):
        raise ValueError(f"padding_side={side!r} is neither 'right' nor 'left'")
    _check_max_length(max_length, cuts, at_length)
    return Layout(
        max_length if at_length else "longest" if longest else None, max_length if cuts else None, side, pad_id
    )


def _check_max_length(max_length: int | None, cuts: bool, at_length: bool) -> None:
    if max_length is None:
        if cuts or at_length:
            option = "truncation" if cuts else "padding='max_length'"
            raise ValueError(f"{option} needs max_length: how many tokens may a row have?")
        return
    if isinstance(max_length, bool) or not isinstance(max_length, (int, np.integer)):
        raise TypeError(f"max_length is a number of tokens, not {max_length!r}")
    if max_length < 0:
        raise ValueError(f"max_length={max_length} is negative")
    if not (cuts or at_length):
        raise ValueError(
            f"max_length={max_length} does nothing by itself: pass truncation=True to cut at it,"
            " or padding='max_length' to fill up to it"
        )


def lay_out(rows: Sequence[list[int]], offsets: Sequence[Offsets] | None, layout: Layout) -> Encoding:
    """Cut and fill rows of token ids, with their masks (1 a token, 0 padding) and, where given, their offsets."""
    rows = [row[: layout.cut_at] for row in rows]
    width = max(map(len, rows), default=0) if layout.pad_to == "longest" else layout.pad_to or 0
    encoding = Encoding(
        input_ids=[_filled(row, layout.pad_id, width, layout.side) for row in rows],
        attention_mask=[_filled([1] * len(row), 0, width, layout.side) for row in rows],
    )
    if offsets is not None:
        cut = [row[: layout.cut_at] for row in offsets]
        encoding["offset_mapping"] = [_filled(row, (0, 0), width, layout.side) for row in cut]
    return encoding


def _filled(row: list[_T], fill: _T, width: int, side: Side) -> list[_T]:
    missing = [fill] * (width - len(row))
    return row + missing if side == "right" else missing + row


def as_arrays(encoding: Encoding) -> Encoding:
    """The rows as int64 arrays: ids and mask of shape (rows, tokens), offsets of shape (rows, tokens, 2).

    Raises:
        ValueError: the rows have different lengths.
    """
    lengths = sorted({len(row) for row in encoding["input_ids"]})
    if len(lengths) > 1:
        raise ValueError(
            f"rows of {lengths[0]} to {lengths[-1]} tokens make no array: pass padding=True, or truncate them"
        )
    return Encoding({key: _array(rows, lengths, key) for key, rows in encoding.items()})


def _array(rows: list[Any], lengths: list[int], key: str) -> NDArray[np.int64]:
    shape = (len(rows), *(lengths or [0]), *([2] if key == "offset_mapping" else []))
    return np.array(rows, np.int64).reshape(shape)


def require_known_tensors(return_tensors: str | None) -> None:
    """Refuse any `return_tensors` but None and "np", and say how to come to a framework's tensor.

    Raises:
        ValueError: it is something else.
    """
    if return_tensors == "pt":
        raise ValueError(
            "return_tensors='pt' would need torch, which this package does without:"
            " pass return_tensors='np' and call torch.from_numpy on the arrays"
        )
    if return_tensors not in (None, "np"):
        raise ValueError(f"return_tensors={return_tensors!r} is neither None (lists) nor 'np' (numpy arrays)")
