"""Learn merges from texts of your own: count the pairs of neighbours, merge the most frequent, and start over.

FILES are texts in UTF-8; - stands for standard input. The merges are printed in the order in which they were learned.
With -o they are also written as vocab.json and merges.txt, which this package and transformers open as a GPT-2
tokenizer.

  minigpt2 train-bpe README.md --merges 20
  minigpt2 train-bpe README.md --merges 1000 -o my-tokenizer
"""

import argparse
import sys
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from minigpt2.atomic_write import is_one_name, require_writable, resolved
from minigpt2.cli import streams
from minigpt2.cli.columns import print_table
from minigpt2.cli.numbers import positive
from minigpt2.cli.text import file_name, read_file
from minigpt2.standard_input import is_standard_input
from minigpt2.tokenizer_files.files import NAMES

if TYPE_CHECKING:
    from minigpt2.bpe import LearnedMerge
    from minigpt2.vocabulary import Vocabulary

MOST_SHOWN = 20
HEADER = [">rank", ">count", "pair", "token", ">id"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a text in UTF-8, or - (standard input)")
    parser.add_argument("--merges", type=positive, required=True, metavar="N", help="how many merges to learn")
    output_help = "write vocab.json and merges.txt into DIR; all files of a tokenizer that is there are replaced"
    parser.add_argument("-o", "--output", type=file_name, metavar="DIR", help=output_help)


def run(options: argparse.Namespace) -> None:
    """Learn merges, show the first of them, and write them where that is wanted."""
    import numpy as np

    from minigpt2 import Tokenizer, bpe
    from minigpt2.vocabulary import from_pairs

    if options.output:
        for path in (options.output / name for name in NAMES):
            require_writable(path, makes_directories=True)
            if any(
                is_standard_input(path) if each == "-" else is_one_name(resolved(each), resolved(path))
                for each in options.files
            ):
                raise ValueError(f"{path} is read, and would be replaced: name another directory")
    learned = [*islice(bpe.train(pretoken_counts(options.files)), min(options.merges, sys.maxsize))]
    if not learned:
        raise ValueError("there is nothing to learn: no two bytes stand next to each other in a word")
    vocabulary = from_pairs(np.array([merge.pair for merge in learned], np.int64))
    print_table(HEADER, merge_rows(vocabulary, learned[:MOST_SHOWN]))
    if (more := len(learned) - MOST_SHOWN) > 0:
        print(f"… and {more:,} more merges")
    if len(learned) < options.merges:
        print(f"Every pretoken is one token after {len(learned):,} merges, so there is nothing left to learn.")
    if options.output:
        for path in Tokenizer(vocabulary).save_pretrained(options.output):
            print(streams.escaped(str(path)))


def pretoken_counts(names: list[str]) -> dict[tuple[int, ...], int]:
    """How often each pretoken occurs in the files, by the token ids of its bytes."""
    from minigpt2.byte_alphabet import ALPHABET_ORDER
    from minigpt2.pretokenize import pretokenize

    counts = Counter(pretoken for name in names for pretoken in pretokenize(read_file(name)))
    ids = {byte: token_id for token_id, byte in enumerate(ALPHABET_ORDER)}
    return {tuple(ids[byte] for byte in pretoken.encode()): count for pretoken, count in counts.items()}


def merge_rows(vocabulary: "Vocabulary", learned: "list[LearnedMerge]") -> list[list[str]]:
    """A row of the table under `HEADER` for each merge."""
    return [
        [
            str(rank),
            f"{occurrences:,}",
            " + ".join(map(vocabulary.written, pair)),
            vocabulary.written(256 + rank),
            str(256 + rank),
        ]
        for rank, (pair, occurrences) in enumerate(learned)
    ]
