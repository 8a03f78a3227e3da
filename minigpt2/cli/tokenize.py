"""Files of text to one file of token ids.

Each document's ids are followed by that of <|endoftext|>, which in the text itself is plain text. OUT holds uint16
numbers and nothing else, as numpy.memmap reads them; OUT.json says what made it.

A file is a document; of .jsonl and .parquet files, the field of each record. Files may be .gz or .zst. A directory
stands for all files in it whose names begin with no dot, a quoted glob for the files it matches, - for standard input.

OUT appears when it is complete. Until then OUT.partial holds what is done: after an interruption, the same command with
--resume continues it.

  minigpt2 tokenize books/ "web/**/*.jsonl.gz" -o train.bin --jobs 4
"""

import argparse
import sys

from minigpt2.cli import streams
from minigpt2.cli.model_option import add_model, open_tokenizer
from minigpt2.cli.numbers import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file, a directory, a glob, or - (standard input)")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the file to write")
    parser.add_argument(
        "--resume", action="store_true", help="continue where an interrupted run ended, if there is one"
    )
    add_reading(parser)
    add_model(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Let a command be told how to read a corpus."""
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="how many processes work (default: 1)")
    parser.add_argument(
        "--errors",
        choices=("strict", "replace", "ignore"),
        default="strict",
        help="bytes that are no UTF-8: stop, put U+FFFD in their place, or leave them out (default: strict)",
    )
    parser.add_argument("--field", default="text", help="the field of records that is the document (default: text)")


def note_terminal(options: argparse.Namespace) -> None:
    """Tell who sits at a terminal that it is read from."""
    if "-" in options.files and sys.stdin is not None and sys.stdin.isatty():
        streams.note("reading from the terminal until Ctrl-D")


def run(options: argparse.Namespace) -> None:
    """Write the token ids of files to a file."""
    from minigpt2 import corpus

    note_terminal(options)
    counts = corpus.tokenize(
        options.files,
        options.output,
        tokenizer=open_tokenizer(options),
        jobs=options.jobs,
        errors=options.errors,
        field=options.field,
        resume=options.resume,
        progress=True,
    )
    documents = "1 document" if counts.documents == 1 else f"{counts.documents:,} documents"
    print(f"{options.output}: {counts.tokens:,} tokens of {documents}")
