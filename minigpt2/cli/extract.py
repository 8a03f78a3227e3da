"""Some of a model's tensors in a safetensors file of their own.

Each PATTERN selects by name, with or without `transformer.`; * matches anything. Without a pattern all tensors are
written. The file appears whole or not at all.

  minigpt2 extract embeddings.safetensors wte.weight wpe.weight
  minigpt2 extract half.safetensors --dtype F16
"""

import argparse
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.model_option import add_model, open_weights
from minigpt2.cli.text import file_name

if TYPE_CHECKING:
    from minigpt2 import Checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("output", type=file_name, metavar="FILE", help="the file to write")
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="which tensors (default: all)")
    parser.add_argument("--dtype", choices=["BF16", "F16", "F32", "F64"], help="write floating-point numbers as this")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    """Write a part of a checkpoint to a file."""
    weights = open_weights(options)
    names = _names(weights, options.patterns)
    weights.save(options.output, names=names, dtype=options.dtype)
    tensors = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    size = f", {options.output.stat().st_size:,} bytes" if options.output.is_file() else ""
    streams.print_about(options.output, f"{options.output}: {tensors}{size}")


def _names(weights: "Checkpoint", patterns: list[str]) -> list[str]:
    """The file's own names that match.

    Raises:
        ValueError: a pattern matches nothing.
    """
    from minigpt2.weights.gpt2_layout import adapter_in

    selected = {pattern: _selected(weights, pattern) for pattern in patterns}
    for pattern, names in selected.items():
        if not names:
            reason = f"; {adapter}" if (adapter := adapter_in(weights)) else ""
            raise ValueError(f"no tensor of {weights.path} is called {pattern!r}; `*` matches anything{reason}")
    return [name for name in weights if not patterns or any(name in names for names in selected.values())]


def _selected(weights: "Checkpoint", pattern: str) -> set[str]:
    """The tensor of this name, or else those whose names match: the file's own, or GPT-2's."""
    from minigpt2.weights.tensor_names import LM_HEAD, PART, PREFIX, WTE

    if pattern in list(weights):
        return {pattern}
    ambiguous = weights.ambiguous_names.keys()
    prefix = "" if WTE in ambiguous else PREFIX
    names: dict[str, set[str]] = {own: set() for own in weights}
    for name, own in weights.own_names.items():
        names[own].add(name)
    for bare, name in weights.bare_names.items():
        names[weights.own_names[name]] |= {bare, prefix * bool(PART.match(bare)) + bare} - ambiguous
    named = {own for own, each in names.items() if pattern in each}
    if pattern == LM_HEAD and not named and pattern in weights:  # it is wte
        return {weights.own_names[weights.bare_names[WTE]]}
    return named or {own for own, each in names.items() if any(fnmatchcase(name, pattern) for name in each)}
