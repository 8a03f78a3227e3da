"""Text to token ids.

The ids are printed in one line, separated by spaces, or with --json as a list. Standard input is encoded exactly, its
final newline included.

  minigpt2 encode "The meaning of life is"
  minigpt2 encode < text.txt | minigpt2 decode
"""

import argparse

from minigpt2.cli import streams
from minigpt2.cli.model_option import add_model, open_tokenizer
from minigpt2.cli.text import add_text, read_text, token_ids


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_text(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Print the token ids of a text."""
    text = read_text(options)
    ids = token_ids(open_tokenizer(options), text, options)
    if options.json:
        streams.print_json(ids)
    else:
        print(*ids)
