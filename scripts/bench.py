"""Time this package beside the others: tiktoken, gigatoken, tokie, tokenizers, transformers, and its readable engine.

Usage: python scripts/bench.py [FILE ...] [--only SECTION ...]. `--help` lists the sections.

Without files, texts are Python's own sources and documentation. Ratios are taken run by run, the two in turn, in one
process where that is possible, and their median is shown: machines are noisy, ratios less so. gigatoken and tokie are
left out where they are not installed (`pip install -e ".[bench]"`).
"""

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from scripts.benchmarks import added_tokens, corpus, encoding, model, processes


def sections(files: Sequence[Path]) -> dict[str, Callable[[], None]]:
    """The subjects that can be measured, by name; `files` are the texts of the first two."""
    return {
        "text": partial(encoding.bench_text, files),
        "lists": partial(encoding.bench_lists, files),
        "input": encoding.bench_input,
        "decode": encoding.bench_decode,
        "batch": encoding.bench_batch,
        "added": added_tokens.bench_added,
        "crossover": encoding.bench_crossover,
        "start": processes.bench_start,
        "malloc": processes.bench_malloc,
        "corpus": corpus.bench_corpus,
        "weights": processes.bench_weights,
        "model": model.bench_model,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--only", nargs="+", metavar="SECTION", choices=list(sections([])), default=list(sections([])))
    options = parser.parse_args()
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    for name in options.only:
        sections(options.files)[name]()


if __name__ == "__main__":
    main()
