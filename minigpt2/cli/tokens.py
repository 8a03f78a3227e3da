"""A text's tokens as a table: position, id, token, bytes, text.

The token is shown as GPT-2 writes it (Ġ is the byte 0x20), its bytes in hexadecimal, and its text in quotes with what
cannot be seen escaped; a token that is only part of a character is shown as bytes, b'...'.

  minigpt2 tokens "I'm 😀 ok"
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.columns import print_table, quoted
from minigpt2.cli.model_option import add_model, open_tokenizer
from minigpt2.cli.text import add_text, read_text, token_ids
from minigpt2.explain.characters import text_of

if TYPE_CHECKING:
    from minigpt2 import Tokenizer

HEADER = [">position", ">id", "token", "bytes", "text"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_text(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list of objects")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Print a text's tokens."""
    text = read_text(options)
    tokenizer = open_tokenizer(options)
    ids = token_ids(tokenizer, text, options)
    if options.json:
        listed = enumerate(as_json(tokenizer, ids))
        streams.print_json_list({"position": position, **token} for position, token in listed)
    else:
        print_table(HEADER, token_rows(tokenizer, ids))


def token_rows(tokenizer: "Tokenizer", ids: list[int]) -> list[list[str]]:
    """A row of the table under `HEADER` for each token id."""
    written, data = tokenizer.convert_ids_to_tokens(ids), tokenizer.decode_tokens_bytes(ids)
    return [
        [str(position), str(token_id), token, token_bytes.hex(" "), quoted(token_bytes)]
        for position, (token_id, token, token_bytes) in enumerate(zip(ids, written, data, strict=True))
    ]


def as_json(tokenizer: "Tokenizer", ids: Sequence[int]) -> Iterator[dict[str, object]]:
    """An object for each token id: bytes in hexadecimal, the text null where it is not whole characters."""
    tokens = zip(ids, tokenizer.convert_ids_to_tokens(ids), tokenizer.decode_tokens_bytes(ids), strict=True)
    for token_id, token, data in tokens:
        yield {"id": token_id, "token": token, "bytes": data.hex(), "text": text_of(data)}


def name(tokenizer: "Tokenizer", token_id: int) -> tuple[str, bytes]:
    """A token as GPT-2 writes it, and its bytes; nothing for a row of `wte` that the vocabulary has no token for."""
    try:
        return str(tokenizer.convert_ids_to_tokens(token_id)), tokenizer.decode_bytes([token_id])
    except ValueError:
        return "", b""
