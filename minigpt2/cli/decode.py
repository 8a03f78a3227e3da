"""Token ids to text.

Writes exactly the bytes that the ids stand for, so that encode and decode give a file back byte for byte; on a
terminal the line is ended. The ids are separated by spaces, line ends or commas, or are a JSON list.

  minigpt2 decode 464 3616 286 1204 318
  minigpt2 encode --json < text.txt | minigpt2 decode
"""

import argparse
import json
import re
from typing import Any

from minigpt2.cli import streams
from minigpt2.cli.model_option import add_model, open_tokenizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="token ids; without any, standard input")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Write the bytes of token ids to standard output."""
    written = " ".join(options.ids) if options.ids else streams.read_utf8()
    streams.write_bytes(open_tokenizer(options).decode_bytes(_parse(written)))


def _parse(written: str) -> list[int]:
    """The ids that are written, as a JSON list or with spaces and commas between.

    Raises:
        ValueError: something there is no integer.
    """
    words: list[Any] = [word for word in re.split(r"[\s,]+", written) if word]
    if written.lstrip().startswith("["):
        try:
            words = json.loads(written)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the token ids start like a JSON list and are none: {error}") from None
    return [_integer(word) for word in words]


def _integer(word: object) -> int:
    if type(word) is int:
        return word
    if isinstance(word, str) and re.fullmatch(r"-?[0-9]{1,18}", word):
        return int(word)
    shown = repr(word)
    raise ValueError(f"{shown if len(shown) <= 60 else shown[:57] + '...'} is no token id: ids are integers")
