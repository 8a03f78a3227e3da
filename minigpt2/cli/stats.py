"""The numbers of a tensor: extremes, mean, standard deviation, norms, and a histogram.

The figures are those of the finite numbers, in double precision. NaNs and infinities are counted separately.

  minigpt2 stats wte.weight
"""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.bars import bar
from minigpt2.cli.columns import print_table
from minigpt2.cli.model_option import add_model, open_weights, print_label
from minigpt2.cli.terminal import MOST, say, terminal_width

if TYPE_CHECKING:
    from minigpt2.weights.stats import TensorStats

WIDTH = 50  # of the longest bar, in characters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="the tensor's name; `minigpt2 params` lists them")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Print a tensor's figures and its histogram."""
    from minigpt2.weights.stats import tensor_stats

    weights = open_weights(options)
    info = weights.info(options.name)
    stats = tensor_stats(weights, options.name)
    if options.json:
        streams.print_json(_as_json(options.name, stats))
        return
    say(streams.escaped(f"{options.name}: {info.dtype} {info.shape}, {info.size:,} numbers, {info.nbytes:,} bytes"))
    print_label(weights)
    print_table(["", ">"], _figures(stats), "  ")
    print()
    for line in _histogram(stats):
        print(line)


def _figures(stats: "TensorStats") -> list[list[str]]:
    figures = {"min": stats.least, "max": stats.greatest, "mean": stats.mean, "std": stats.std}
    figures |= {"L1 norm": stats.l1, "L2 norm": stats.l2, "max norm": stats.largest}
    counts = {"zeros": stats.zeros, "NaN": stats.nans, "infinite": stats.infinities}
    return [
        *([name, f"{figure:.8g}"] for name, figure in figures.items()),
        *([name, f"{count:,}"] for name, count in counts.items()),
    ]


def _histogram(stats: "TensorStats") -> list[str]:
    """A line for each step: its lower end, how many numbers lie in it, and a bar."""
    counts = stats.histogram.tolist()
    most, step = max(counts), stats.greatest / len(counts) - stats.least / len(counts)
    if not most:
        return ["no finite numbers"]
    width = min(WIDTH, (terminal_width() or MOST) - len(f"{'':>11}  {'':>13}  "))
    begins = [f"{stats.least + index * step:.4g}" for index in range(len(counts))]
    rows = [
        f"{begin:>11}  {count:>13,}  {bar(count / most, width)}".rstrip()
        for begin, count in zip(begins, counts, strict=True)
    ]
    return [f"{'from':>11}  {'count':>13}", *rows]


def _as_json(name: str, stats: "TensorStats") -> dict[str, object]:
    return {"name": name, **asdict(stats), "histogram": stats.histogram.tolist()}
