"""Rows of a tensor, the first and last values of each.

Any tensor of the file can be shown, with or without `transformer.` before its name. Rows are given as in Python: 0:5 is
the first five, 7 is one row, ::1000 every thousandth, and --rows=-5: the last five.

  minigpt2 show wte.weight --rows 0:5
"""

import argparse
from math import prod

from minigpt2.cli import streams
from minigpt2.cli.columns import print_table, value_cells, value_headings
from minigpt2.cli.model_option import add_model, open_weights, print_label


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="the tensor's name; `minigpt2 params` lists them")
    parser.add_argument("--rows", type=_rows, default=slice(0, 5), help="which rows (default: 0:5)")
    parser.add_argument("--json", action="store_true", help="print a JSON object, with every value of these rows")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Print rows of a tensor."""
    weights = open_weights(options)
    info = weights.info(options.name)
    indices = _row_indices(options.rows, info.shape[0] if info.shape else 1, options.name)
    chosen = options.rows if isinstance(options.rows, slice) else slice(indices[0], indices[0] + 1)
    rows = weights.rows(options.name, chosen) if info.shape else weights[options.name].reshape(1)
    if options.json:
        values = ({"row": index, "values": row.tolist()} for index, row in zip(indices, rows, strict=True))
        streams.print_json_list(values, name=options.name, dtype=info.dtype, shape=info.shape, rows=[])
        return
    width = prod(info.shape[1:])
    title = f"{options.name}: {info.dtype} {info.shape}, {len(indices)} of {max(info.shape[:1], default=1):,} rows"
    print(streams.escaped(title))
    flat = rows.reshape(len(indices), width)
    cells = [[str(index), *value_cells(row)] for index, row in zip(indices, flat, strict=True)]
    print_label(weights)
    print_table([">row", *value_headings(width)], cells)


def _rows(text: str) -> slice | int:
    """Read rows as Python writes them."""
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
        if len(parts) == 1 and parts[0] is not None:
            return parts[0]
        if len(parts) in (2, 3) and parts[2:] != [0]:
            return slice(*parts)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected rows such as 0:5, 7 or ::1000, not {text!r}")


def _row_indices(rows: slice | int, count: int, name: str) -> range:
    """The indices of the rows that are asked for.

    Raises:
        ValueError: the tensor has no such row.
    """
    if isinstance(rows, slice):
        return range(count)[rows]
    if not -count <= rows < count:
        raise ValueError(f"{name} has {count} rows, so there is no row {rows}")
    return range(rows % count, rows % count + 1)
