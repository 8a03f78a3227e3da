"""Parameters as a tree: every part of the model, with its totals, above its own parts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minigpt2.weights.checkpoint import TensorInfo

HEADER = ["name", "dtype", "shape", ">count", ">bytes"]


def tree_rows(infos: "dict[str, TensorInfo]", part: str = "", depth: int = 0) -> list[list[str]]:
    """The table's rows, under `HEADER`, for the parameters whose names begin with `part`.

    A part of a single parameter is shown as that parameter.
    """
    rows = []
    children: dict[str, dict[str, TensorInfo]] = {}
    for name, info in infos.items():
        children.setdefault(_child(name, part), {})[name] = info
    for child, below in children.items():
        count, nbytes = sum(info.size for info in below.values()), sum(info.nbytes for info in below.values())
        totals = [f"{count:,}", f"{nbytes:,}"]
        if len(below) == 1:
            [(name, info)] = below.items()
            rows.append(["  " * depth + name, info.dtype, str(info.shape), *totals])
        else:
            dtypes = ", ".join(dict.fromkeys(info.dtype for info in below.values()))
            rows += [["  " * depth + child, dtypes, _made_of(child, below), *totals]]
            rows += tree_rows(below, child, depth + 1)
    return rows


def _child(name: str, part: str) -> str:
    """The part directly below `part` that a parameter belongs to.

    >>> _child("transformer.h.0.ln_1.weight", "transformer.h")
    'transformer.h.0'
    """
    depth = part.count(".") + 2 if part else 1
    return ".".join(name.split(".")[:depth])


def _made_of(part: str, below: "dict[str, TensorInfo]") -> str:
    """Shown in the column of shapes: how many layers, if the parts are numbered."""
    numbers = {_child(name, part).rpartition(".")[2] for name in below}
    if not all(number.isdecimal() for number in numbers):
        return ""
    return "1 layer" if len(numbers) == 1 else f"{len(numbers)} layers"
