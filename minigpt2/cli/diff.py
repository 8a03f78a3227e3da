"""Two checkpoints compared: names that only one has, shapes, and how far apart the numbers of each tensor are.

A and B are models on the hub, directories or files. Names are compared without `transformer.`, or whatever stands
before wte.weight. Tensors whose numbers are all equal are listed with --all only.

  minigpt2 diff gpt2 ./my-fine-tuned-gpt2
"""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.columns import print_table
from minigpt2.cli.model_option import print_label
from minigpt2.cli.terminal import say
from minigpt2.cli.text import not_empty

if TYPE_CHECKING:
    from minigpt2 import Checkpoint
    from minigpt2.weights.diff import Difference, Names

HEADER = ["name", "dtype", "shape", ">differing", ">largest", ">mean"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "a", type=not_empty, metavar="A", help="a model on the hub, a directory, a .safetensors file, or bundled"
    )
    parser.add_argument("b", type=not_empty, metavar="B", help="another one")
    parser.add_argument("--all", action="store_true", help="list equal tensors too")
    parser.add_argument("--json", action="store_true", help="print a JSON object, with every tensor")


def run(options: argparse.Namespace) -> None:
    """Compare two checkpoints."""
    from minigpt2.weights.bundled import is_bundled
    from minigpt2.weights.diff import compare_all, compare_names

    first, second = _opened(options.a), _opened(options.b)
    names = compare_names(first, second)
    differences = compare_all(first, second, names.common)
    if options.json:
        streams.print_json(_as_json(names, differences))
        return
    print_label(second if is_bundled(second) else first)
    for label, checkpoint, alone in (("A", first, names.only_first), ("B", second, names.only_second)):
        for name in alone:
            _say(f"only in {label}: {name}, {checkpoint.info(name).dtype} {checkpoint.info(name).shape}")
    for name in names.other_shape:
        _say(f"other shape: {name}, {first.info(name).shape} in A, {second.info(name).shape} in B")
    for name in names.unreadable:
        _say(
            f"not compared: {name}, {first.info(name).dtype} in A, {second.info(name).dtype} in B: numpy lacks a dtype"
        )
    shown = [difference for difference in differences if options.all or difference.differing]
    if shown:
        print_table(HEADER, [_row(first, second, difference) for difference in shown])
    say(_summary(names, differences))


def _opened(model: str) -> "Checkpoint":
    from minigpt2 import Checkpoint
    from minigpt2.weights import bundled

    return Checkpoint.bundled() if model == bundled.NAME else Checkpoint.from_pretrained(model)


def _say(line: str) -> None:
    say(streams.escaped(line))


def _row(first: "Checkpoint", second: "Checkpoint", difference: "Difference") -> list[str]:
    info, other = first.info(difference.name), second.info(difference.name)
    dtype = info.dtype if info.dtype == other.dtype else f"{info.dtype}/{other.dtype}"
    figures = [f"{difference.differing:,}", f"{difference.largest:.6g}", f"{difference.mean:.6g}"]
    return [difference.name, dtype, str(info.shape), *figures]


def _summary(names: "Names", differences: list["Difference"]) -> str:
    differing = sum(difference.differing > 0 for difference in differences)
    alone = f"{len(names.only_first)} only in A, {len(names.only_second)} only in B"
    return (
        f"{len(differences)} tensors in both with the same shape, {differing} of them with other numbers; "
        f"{alone}, {len(names.other_shape)} of another shape"
        + (f", {len(names.unreadable)} not compared" if names.unreadable else "")
    )


def _as_json(names: "Names", differences: list["Difference"]) -> dict[str, object]:
    alone = {"only_in_a": names.only_first, "only_in_b": names.only_second, "other_shape": names.other_shape}
    return {**alone, "not_compared": names.unreadable, "tensors": list(map(asdict, differences))}
