"""The model that a command works on: `--model` and `--revision`, its weights and its tokenizer."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.hub.answers import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from minigpt2 import Checkpoint, Tokenizer


SOON = 3.0  # seconds that a hub may take where the command can do without it


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


def open_weights(
    options: argparse.Namespace, local_files_only: bool = False, timeout: float = ANSWER_SECONDS
) -> "Checkpoint":
    """The model's weights: of a path, or from the cache, or else read on the hub by the byte range.

    `timeout` is how many seconds the hub may take for its first answer. Raises as `Checkpoint.from_pretrained` and
    `Checkpoint.remote`.
    """
    from minigpt2 import Checkpoint, HubError

    try:
        return Checkpoint.from_pretrained(options.model, revision=options.revision, local_files_only=True)
    except HubError:
        if local_files_only:
            raise
    weights = Checkpoint.remote(options.model, revision=options.revision, timeout=timeout)
    options.remote = weights
    return weights


def note_what_was_read(options: argparse.Namespace) -> None:
    """Tell the user how much was read on the hub, if a command read there."""
    if remote := vars(options).get("remote"):
        whole = f"`minigpt2 download {options.model}` gets them all"
        read = f"read {remote.fetched_bytes:,} bytes from the hub instead of {remote.size:,}"
        streams.note(f"{options.model}: {read}; {whole}")


def open_both(
    options: argparse.Namespace, local_files_only: bool = False, timeout: float = ANSWER_SECONDS
) -> "tuple[Tokenizer, Checkpoint]":
    """The model's tokenizer and weights, both of one commit.

    A directory with weights alone, as a model's `save_pretrained` writes it, is read with GPT-2's vocabulary, and the
    user is told.
    """
    from minigpt2 import Tokenizer

    weights = open_weights(options, local_files_only, timeout)
    options.revision = weights.commit or options.revision
    try:
        return open_tokenizer(options, local_files_only), weights
    except FileNotFoundError:
        streams.note(f"{options.model} has no vocabulary beside its weights: taking GPT-2's")
        return Tokenizer(), weights


def open_cached(options: argparse.Namespace) -> "tuple[Tokenizer, Checkpoint | None]":
    """The model that was asked for, or else gpt2, with its weights if they are at hand: the hub is never asked.

    Raises:
        HubError: the model that was asked for is not in the cache.
        CheckpointError: its weights are damaged, or no GPT-2's.
    """
    from minigpt2 import HubError, Tokenizer

    if options.model is not None:
        return open_both(options, local_files_only=True)
    options.model = "gpt2"
    try:
        return open_both(options, local_files_only=True)
    except HubError:
        return Tokenizer(), None


def open_at_hand(
    options: argparse.Namespace, needed: "Callable[[Tokenizer, Checkpoint], object]"
) -> "tuple[Tokenizer, Checkpoint | None]":
    """The model that was asked for, or else gpt2, with its weights if they can be had soon.

    `needed` reads on the hub what the command will show, so that a failure is found out before anything is shown.

    Raises:
        HubError: the model that was asked for cannot be had.
        CheckpointError: its weights are damaged, or no GPT-2's.
    """
    from minigpt2 import HubError, Tokenizer

    if options.model is not None:
        return open_both(options)
    options.model = "gpt2"
    try:
        tokenizer, weights = open_both(options, timeout=SOON)
        if weights.commit is not None:
            needed(tokenizer, weights)
        return tokenizer, weights
    except HubError:
        options.remote = None
        return Tokenizer(), None


def is_random(weights: "Checkpoint") -> bool:
    """Whether these are the demonstration weights, whose numbers mean nothing."""
    from minigpt2.weights.demonstration import is_demonstration

    return is_demonstration(weights)


def print_label(weights: "Checkpoint") -> None:
    """Print the label that must stand above every table of demonstration weights; nothing for other weights."""
    from minigpt2.weights.demonstration import BANNER

    if is_random(weights):
        print(f"  {BANNER}")
