"""A text's rows of wte, one for each token.

Prints the first and last values of each row, or with -o saves all values as a numpy array of shape (tokens, n_embd).
With --positions the rows of wpe are added, which gives the input of GPT-2's first layer.

  minigpt2 embed "The meaning of life is"
  minigpt2 embed "The meaning of life is" -o rows.npy
"""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from minigpt2.atomic_write import atomic_write
from minigpt2.cli import streams
from minigpt2.cli.columns import print_table, value_cells, value_headings
from minigpt2.cli.model_option import add_model, open_both, print_label
from minigpt2.cli.text import add_text, file_name, read_text, token_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from minigpt2 import Tokenizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_text(parser)
    parser.add_argument("--positions", action="store_true", help="add the rows of wpe: hidden_states[0]")
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "-o", "--output", type=file_name, metavar="FILE", help="save the rows to this .npy file instead"
    )
    output.add_argument("--json", action="store_true", help="print a JSON list of objects, with every value")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Print or save a text's embeddings."""
    from minigpt2 import Embeddings

    if not (text := read_text(options, options.output)):
        raise ValueError("the text is empty: it has no tokens, so there are no rows")
    tokenizer, weights = open_both(options)
    ids = token_ids(tokenizer, text, options)
    embeddings = Embeddings(weights)
    rows = embeddings(ids) if options.positions else embeddings.tokens(ids)
    if options.output:
        weights.refuse_to_replace(options.output)
        with atomic_write(options.output) as file:
            _write_npy(file, rows)
        streams.print_about(options.output, f"{options.output}: {rows.dtype} {rows.shape}")
    elif options.json:
        streams.print_json_list(_as_json(tokenizer, ids, rows))
    else:
        print(f"{'wte[id] + wpe[position]' if options.positions else 'wte[id]'}: {rows.dtype} {rows.shape}")
        print_label(weights)
        header = [">position", ">id", "token", *value_headings(rows.shape[1])]
        print_table(header, embedding_rows(tokenizer, ids, rows))


def embedding_rows(tokenizer: "Tokenizer", ids: list[int], rows: "NDArray[Any]") -> list[list[str]]:
    """A row of the table for each token id, with the first and last values of its row of `rows` (tokens, n_embd)."""
    written = tokenizer.convert_ids_to_tokens(ids)
    return [
        [str(position), str(token_id), token, *value_cells(row)]
        for position, (token_id, token, row) in enumerate(zip(ids, written, rows, strict=True))
    ]


def _as_json(tokenizer: "Tokenizer", ids: list[int], rows: "NDArray[Any]") -> Iterator[dict[str, object]]:
    written = tokenizer.convert_ids_to_tokens(ids)
    for position, (token_id, token, row) in enumerate(zip(ids, written, rows, strict=True)):
        yield {"position": position, "id": token_id, "token": token, "values": row.tolist()}


def _write_npy(file: BinaryIO, array: "NDArray[Any]") -> None:
    """Write an array of any shape as `.npy`. `numpy.save` hides the reason of a failure, and cannot write to a pipe."""
    import numpy as np

    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)
