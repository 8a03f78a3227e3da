"""How many tokens files of text have.

They are read as `minigpt2 tokenize` reads them. The <|endoftext|> that it puts after each document is not counted.
Without FILES, standard input is counted.

  minigpt2 count README.md
"""

import argparse
from dataclasses import asdict

from minigpt2.cli import streams
from minigpt2.cli.model_option import add_model
from minigpt2.cli.tokenize import add_reading, reading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("files", nargs="*", default=["-"], metavar="FILE", help="as of `minigpt2 tokenize`")
    parser.add_argument("--json", action="store_true", help="print a JSON object, with the counts of each file")
    add_reading(parser)
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Print the number of tokens."""
    from minigpt2 import corpus

    with reading(options) as arguments:
        counts = corpus.count(options.files, **arguments)
    if options.json:
        streams.print_json(asdict(counts))
    else:
        print(counts.tokens)
