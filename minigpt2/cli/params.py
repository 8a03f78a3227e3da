"""A model's parameters: name, dtype, shape, count, and totals.

Names and order are those of transformers. PATTERN selects by name, with or without `transformer.`; * matches anything.

  minigpt2 params
  minigpt2 params "h.0.*"
  minigpt2 params --tree
"""

import argparse
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.columns import print_table
from minigpt2.cli.model_option import add_model, open_weights, print_label
from minigpt2.cli.parameter_tree import HEADER as TREE_HEADER
from minigpt2.cli.parameter_tree import tree_rows
from minigpt2.cli.terminal import say

if TYPE_CHECKING:
    from minigpt2 import Checkpoint

HEADER = ["name", "dtype", "shape", ">count"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="list only names that match it")
    parser.add_argument("--tree", action="store_true", help="add the totals of every part and layer, and the bytes")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """List a model's parameters."""
    weights = open_weights(options)
    names = [name for name in weights.parameter_names() if matches(name, options.pattern)]
    if not names:
        raise ValueError(f"no parameter of {options.model} is called {options.pattern!r}; `*` matches anything")
    if options.json:
        streams.print_json(_as_json(weights, names))
        return
    print_label(weights)
    if options.tree:
        print_table(TREE_HEADER, tree_rows({name: weights.info(name) for name in names}))
    else:
        print_table(HEADER, parameter_rows(weights, names))
    print()
    say(total(weights, names))
    if options.pattern == "*":
        for remark in remarks(weights):
            say(remark)


def parameter_rows(weights: "Checkpoint", names: list[str]) -> list[list[str]]:
    """A row of the table under `HEADER` for each parameter."""
    infos = [weights.info(name) for name in names]
    return [[name, info.dtype, str(info.shape), f"{info.size:,}"] for name, info in zip(names, infos, strict=True)]


def total(weights: "Checkpoint", names: list[str]) -> str:
    """One line: how many parameters, numbers and bytes."""
    infos = [weights.info(name) for name in names]
    size, nbytes = sum(info.size for info in infos), sum(info.nbytes for info in infos)
    of_all = "" if size == (every := weights.num_parameters()) else f" of the model's {every:,}"
    parameters = "1 parameter" if len(names) == 1 else f"{len(names)} parameters"
    return f"{parameters}: {size:,} numbers{of_all}, {nbytes:,} bytes"


def remarks(weights: "Checkpoint") -> list[str]:
    """Lines about tensors of the file that are not counted, and about the output matrix."""
    from minigpt2.weights.gpt2_layout import is_mask, other_tensors

    others = other_tensors(weights)
    lines = []
    if others:
        what = "causal masks, which are not parameters" if all(map(is_mask, others)) else "not parameters of GPT-2"
        lines.append(
            f"not counted: {len(others)} more tensors of the file, such as {streams.escaped(others[0])}: {what}"
        )
    if "lm_head.weight" not in weights.parameter_names():
        lines.append("not counted: lm_head.weight, which is wte.weight again")
    return lines


def matches(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern, with or without `transformer.`; `*` matches anything."""
    from minigpt2.weights.tensor_names import PREFIX

    return fnmatchcase(name, pattern) or fnmatchcase(name.removeprefix(PREFIX), pattern)


def _as_json(weights: "Checkpoint", names: list[str]) -> dict[str, object]:
    parameters = [
        {"name": name, "dtype": info.dtype, "shape": info.shape, "count": info.size}
        for name, info in ((name, weights.info(name)) for name in names)
    ]
    return {"parameters": parameters, "num_parameters": sum(weights.info(name).size for name in names)}
