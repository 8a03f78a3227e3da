"""The model that a command works on: `--model` and `--revision`, its weights and its tokenizer."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt2.cli import streams

if TYPE_CHECKING:
    from minigpt2 import Checkpoint, Tokenizer


def add_model(parser: argparse.ArgumentParser, default: str | None = "gpt2") -> None:
    """Let a command be told which model to work on."""
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        default=default,
        help="a model on the hub, a directory or a .safetensors file (default: gpt2)",
    )
    parser.add_argument("--revision", help="the model's branch, tag or commit on the hub (default: main)")


def open_tokenizer(options: argparse.Namespace, local_files_only: bool = False) -> "Tokenizer":
    """The model's tokenizer; that of a file is the one beside it. Raises as `Tokenizer.from_pretrained`."""
    from minigpt2 import Tokenizer

    path = Path(options.model)
    model = path.parent if path.is_file() else options.model
    return Tokenizer.from_pretrained(model, revision=options.revision, local_files_only=local_files_only)


def open_weights(options: argparse.Namespace, local_files_only: bool = False) -> "Checkpoint":
    """The model's weights. Raises as `Checkpoint.from_pretrained`."""
    from minigpt2 import Checkpoint

    return Checkpoint.from_pretrained(options.model, revision=options.revision, local_files_only=local_files_only)


def open_both(options: argparse.Namespace, local_files_only: bool = False) -> "tuple[Tokenizer, Checkpoint]":
    """The model's tokenizer and weights.

    A directory with weights alone, as a model's `save_pretrained` writes it, is read with GPT-2's vocabulary, and the
    user is told.
    """
    from minigpt2 import Tokenizer

    weights = open_weights(options, local_files_only)
    try:
        return open_tokenizer(options, local_files_only), weights
    except FileNotFoundError:
        streams.note(f"{options.model} has no vocabulary beside its weights: taking GPT-2's")
        return Tokenizer(), weights


def is_random(weights: "Checkpoint") -> bool:
    """Whether these are the demonstration weights, whose numbers mean nothing."""
    from minigpt2.demonstration import is_demonstration

    return is_demonstration(weights)


def print_label(weights: "Checkpoint") -> None:
    """Print what must stand above every table that demonstration weights feed; nothing for other weights."""
    if is_random(weights):
        print("  *** DEMONSTRATION WEIGHTS, random numbers, not GPT-2's ***")
