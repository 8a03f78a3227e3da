"""Lists of token ids as a batch: cut, completed, padded, with masks, as arrays: the answer of a tokenizer's call."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from minigpt2.special_tokens.added import WHITESPACE

Padding = bool | Literal["longest", "max_length", "do_not_pad"] | None
Truncation = bool | Literal["longest_first", "only_first", "do_not_truncate"] | None
Side = Literal["right", "left"]
Offsets = list[tuple[int, int]]
_T = TypeVar("_T")


class Encoding(dict[str, Any]):
    """The answer of a tokenizer's call: a dict whose keys are attributes too.

    >>> Encoding(input_ids=[464]).input_ids
    [464]
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this encoding has no {name!r}, but {', '.join(self)}") from None


class Template(NamedTuple):
    """The ids that a model wants before and after each text."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class TrimOffsets(NamedTuple):
    """Leave spaces at a token's ends out of its offsets, except, if so told, a single one before the first token."""

    keeps_first_space: bool


PostProcessing = Sequence[Template | TrimOffsets]


def ids_around(steps: PostProcessing) -> tuple[list[int], list[int]]:
    """The ids that all templates together put before and after each text; the first template is the innermost."""
    templates = [step for step in steps if isinstance(step, Template)]
    before = [token_id for template in reversed(templates) for token_id in template.before]
    return before, [token_id for template in templates for token_id in template.after]


class Row(NamedTuple):
    """The tokens of one text: ids and, where offsets are asked for, where each lies and how it is written."""

    ids: list[int]
    offsets: Offsets | None = None
    tokens: list[str] | None = None


class Layout(NamedTuple):
    """How rows are cut, completed and padded; `checked` makes one of a call's options."""

    pad_to: int | Literal["longest"] | None
    cut_at: int | None
    padding_side: Side
    truncation_side: Side
    pad_id: int | None
    steps: PostProcessing


def checked(
    padding: Padding,
    truncation: Truncation,
    max_length: int | None,
    model_max_length: int | None,
    padding_side: Side,
    truncation_side: Side,
    pad_id: int | None,
    steps: PostProcessing,
) -> Layout:
    """Read the call's options; where no `max_length` is given, the model's counts.

    Raises:
        TypeError: `max_length` is not an integer.
        ValueError: an option has a value that is not one of its own, or does not fit the others.
    """
    longest, at_length, never = padding in (True, "longest"), padding == "max_length", padding in (False, None)
    if not (longest or at_length or never or padding == "do_not_pad"):
        raise ValueError(f"padding={padding!r} is not one of True, 'longest', 'max_length', False, 'do_not_pad'")
    cuts = truncation in (True, "longest_first", "only_first")
    if not cuts and truncation not in (False, None, "do_not_truncate"):
        raise ValueError(
            f"truncation={truncation!r} is not one of True, 'longest_first', 'only_first', False, 'do_not_truncate'"
        )
    for option, side in (("padding_side", padding_side), ("truncation_side", truncation_side)):
        if side not in ("right", "left"):
            raise ValueError(f"{option}={side!r} is neither 'right' nor 'left'")
    if max_length is None and (cuts or at_length):
        max_length = model_max_length
    _check_max_length(max_length, cuts, at_length)
    if (longest or at_length) and pad_id is None:
        raise ValueError("this tokenizer has no token to pad with: set tokenizer.pad_token to one of its tokens")
    pad_to: int | Literal["longest"] | None = max_length if at_length else "longest" if longest else None
    return Layout(pad_to, max_length if cuts else None, padding_side, truncation_side, pad_id, steps)


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


def lay_out(rows: Sequence[Row], layout: Layout) -> Encoding:
    """Cut, complete and pad rows, with their masks (1 a token, 0 padding) and, where given, their offsets.

    Raises:
        ValueError: the model's own tokens are more than `max_length`.
    """
    rows = [_completed(_cut(row, layout), layout.steps) for row in rows]
    lengths = [len(row.ids) for row in rows]
    width = max(lengths, default=0) if layout.pad_to == "longest" else layout.pad_to or 0
    pad_id, side = layout.pad_id or 0, layout.padding_side
    encoding = Encoding(
        input_ids=[_filled(row.ids, pad_id, width, side) for row in rows],
        attention_mask=[_filled([1] * length, 0, width, side) for length in lengths],
    )
    offsets = [row.offsets for row in rows if row.offsets is not None]
    if len(offsets) == len(rows) > 0:
        encoding["offset_mapping"] = [_filled(each, (0, 0), width, side) for each in offsets]
    return encoding


def _cut(row: Row, layout: Layout) -> Row:
    """The row with as many tokens as `max_length` leaves for them beside the model's own."""
    if layout.cut_at is None:
        return row
    own = sum(len(step.before) + len(step.after) for step in layout.steps if isinstance(step, Template))
    left = layout.cut_at - own
    if left < 0:
        raise ValueError(f"max_length={layout.cut_at} is less than the {own} tokens that the model adds to each text")
    kept = slice(left) if layout.truncation_side == "right" else slice(max(0, len(row.ids) - left), None)
    return Row(row.ids[kept], row.offsets and row.offsets[kept], row.tokens and row.tokens[kept])


def _completed(row: Row, steps: PostProcessing) -> Row:
    """Trim the text's own offsets first: in `tokenizers`, wherever trimming stands, it sees the text alone."""
    for step in steps:
        row = _trimmed(row, step.keeps_first_space) if isinstance(step, TrimOffsets) else row
    for step in steps:
        row = _inside(row, step) if isinstance(step, Template) else row
    return row


def _inside(row: Row, template: Template) -> Row:
    """The row between the ids of a template; these lie nowhere in the text."""
    before, after = template
    ids = [*before, *row.ids, *after]
    if row.offsets is None or row.tokens is None:
        return Row(ids)
    offsets = [*[(0, 0)] * len(before), *row.offsets, *[(0, 0)] * len(after)]
    return Row(ids, offsets, [*[""] * len(before), *row.tokens, *[""] * len(after)])


def _trimmed(row: Row, keeps_first_space: bool) -> Row:
    """The row without the spaces at its tokens' ends in its offsets, counted as `tokenizers` counts them."""
    if row.offsets is None or row.tokens is None:
        return row
    offsets = []
    for index, ((start, end), token) in enumerate(zip(row.offsets, row.tokens, strict=True)):
        text = token.replace("Ġ", " ")
        leading, trailing = len(text) - len(text.lstrip(WHITESPACE)), len(text) - len(text.rstrip(WHITESPACE))
        if leading == 1 and keeps_first_space and (index == 0 or start == 0):
            leading = 0
        first = min(start + leading, end)
        offsets.append((first, max(end - trailing, first) if end >= trailing else end))
    return Row(row.ids, offsets, row.tokens)


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


def around_each(
    ids: NDArray[Any], offsets: NDArray[np.int64], before: list[int], after: list[int]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Ids (tokens,) and offsets (texts + 1,) of a flat batch, with some ids before and after each text.

    >>> ids, offsets = around_each(np.array([5, 6, 7]), np.array([0, 2, 3]), [1], [2])
    >>> ids.tolist(), offsets.tolist()
    ([1, 5, 6, 2, 1, 7, 2], [0, 4, 7])
    """
    starts, ends = offsets[:-1, None], offsets[1:, None]
    where = np.concatenate([starts.repeat(len(before), 1), ends.repeat(len(after), 1)], 1)  # (texts, own tokens)
    ids = np.insert(ids, where.ravel(), np.tile([*before, *after], len(where)))
    return ids, offsets + np.arange(len(offsets)) * (len(before) + len(after))


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
