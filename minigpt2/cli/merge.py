"""The shards that `minigpt2 tokenize --shard` wrote to the file of the whole corpus.

The shards may be named in any order. OUT, and what else the format takes, are byte for byte what `minigpt2 tokenize`
writes without --shard, with the same options.

  minigpt2 merge shard-*.bin -o train.bin
"""

import argparse

from minigpt2.cli.tokenize import print_counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shards", nargs="+", metavar="SHARD", help="a file that `minigpt2 tokenize --shard` wrote")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the file to write")


def run(options: argparse.Namespace) -> None:
    """Merge shards."""
    from minigpt2 import corpus

    print_counts(options.output, corpus.merge(options.shards, options.output))
