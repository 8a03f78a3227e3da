"""The tokens whose rows of wte have the highest cosine with a token's row.

Give the token as text (" life" and "life" are two tokens), as GPT-2 writes it (Ġlife), or by its id.

  minigpt2 nearest " life"
  minigpt2 nearest --id 1204 -k 20
"""

import argparse
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.columns import print_table, quoted
from minigpt2.cli.model_option import add_model, open_or_bundled, print_label
from minigpt2.cli.numbers import positive
from minigpt2.cli.text import argument
from minigpt2.cli.tokens import name
from minigpt2.explain.characters import text_of

if TYPE_CHECKING:
    from minigpt2 import Tokenizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    token = parser.add_mutually_exclusive_group(required=True)
    token.add_argument("token", nargs="?", metavar="TOKEN", help="one token, as text or as GPT-2 writes it")
    token.add_argument("--id", type=int, metavar="N", help="one token, by its id")
    parser.add_argument("-k", type=positive, default=10, metavar="K", help="how many (default: 10)")
    parser.add_argument("--json", action="store_true", help="print a JSON list of objects")
    add_model(parser, has_default=False)


def run(options: argparse.Namespace) -> None:
    """Print a token's nearest tokens."""
    from minigpt2 import Embeddings

    text = None if options.token is None else argument(options.token)
    tokenizer, weights = open_or_bundled(options, labelled=not options.json)
    token_id = options.id if text is None else _one_token(tokenizer, text)
    found = [
        (other, *name(tokenizer, other), cosine) for other, cosine in Embeddings(weights).nearest(token_id, options.k)
    ]
    if options.json:
        streams.print_json(
            [{"id": i, "token": token, "text": text_of(data), "cosine": cosine} for i, token, data, cosine in found]
        )
        return
    token, data = name(tokenizer, token_id)
    print(streams.escaped(f"nearest to {token_id}, {token}, {quoted(data)}:"))
    print_label(weights)
    rows = [[f"{cosine:.4f}", str(i), token, quoted(data)] for i, token, data, cosine in found]
    print_table([">cosine", ">id", "token", "text"], rows)


def _one_token(tokenizer: "Tokenizer", text: str) -> int:
    """The id of a token given as text or as GPT-2 writes it.

    Raises:
        ValueError: the text is several tokens, or none.
    """
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) == 1:
        return ids[0]
    try:
        return tokenizer.convert_tokens_to_ids(text)
    except ValueError:
        parts = " ".join(
            f"{quoted(data)} ({i})" for i, data in zip(ids, tokenizer.decode_tokens_bytes(ids), strict=True)
        )
        raise ValueError(f"{text!r} is {len(ids)} tokens, not one: {parts or 'no text'}") from None
