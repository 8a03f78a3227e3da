"""HTML tables of checkpoints and rows, for notebooks. Everything in them is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from minigpt2.weights.safetensors_file import TensorInfo

_MOST_TENSORS = 200
_EDGE = 3  # how many values are shown at either end of a row, as numpy does


def checkpoint_table(title: str, metadata: Mapping[str, str], tensors: Mapping[str, "TensorInfo"]) -> str:
    """The tensors of a checkpoint: name, dtype, shape, count, bytes."""
    rows = [(name, each.dtype, each.shape, f"{each.size:,}", f"{each.nbytes:,}") for name, each in tensors.items()]
    if (rest := len(rows) - _MOST_TENSORS) > 0:
        rows[_MOST_TENSORS:] = [(f"and {rest:,} more", "", (), "", "")]
    return _table([title, *_said(metadata)], ["name", "dtype", "shape", "count", "bytes"], rows)


def rows_table(title: str, metadata: Mapping[str, str], ids: Sequence[int], rows: "NDArray[Any]") -> str:
    """Some rows of `wte`, shape (ids, n_embd), by their ids: the first and last values of each."""
    width = rows.shape[1]
    shown = range(width) if width <= 2 * _EDGE else [*range(_EDGE), *range(width - _EDGE, width)]
    cells = [[token_id, *(row[index] for index in shown)] for token_id, row in zip(ids, rows, strict=True)]
    return _table([title, *_said(metadata)], ["id", *map(str, shown)], cells)


def _said(metadata: Mapping[str, str]) -> list[str]:
    """A file's own metadata, such as the label of the bundled model."""
    return [f"{key}: {text}" for key, text in metadata.items() if key != "format"]


def _table(captions: Iterable[str], header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    caption = "<br>".join(map(escape, captions))
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
