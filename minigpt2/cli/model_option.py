"""The model that a command works on: `--model` and `--revision`, its weights and its tokenizer."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt2.cli import streams
from minigpt2.cli.terminal import say
from minigpt2.cli.text import not_empty
from minigpt2.hub.answers import ANSWER_SECONDS
from minigpt2.hub.errors import download_command
from minigpt2.published_models import GPT2_MODELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from minigpt2 import Checkpoint, Tokenizer


_NOT_GIVEN = "\0"  # which no argument can be; the folders here decide only when a command runs
SOON = 3.0  # seconds that the hub may take if the command can run without it


def add_model(parser: argparse.ArgumentParser, has_default: bool = True) -> None:
    """Add the options that name a command's model.

    One that falls back to the bundled model if GPT-2 cannot be read has no default.
    """
    parser.add_argument(
        "--model",
        type=_name,
        metavar="NAME_OR_PATH",
        default=_NOT_GIVEN if has_default else None,
        help="a model on the hub, a directory, a .safetensors file, or bundled: the small model that comes with"
        " minigpt2 (default: gpt2)",
    )
    parser.add_argument(
        "--revision", type=not_empty, help="the model's branch, tag or commit on the hub (default: main)"
    )


def _name(text: str) -> str:
    return default_model() if text == _NOT_GIVEN else not_empty(text)


def default_model() -> str:
    """The name of the published GPT-2: gpt2, or its longer name where a folder with a model is called gpt2."""
    if not Path("gpt2").is_dir():
        return "gpt2"
    from minigpt2.weights.files import on_hub

    return on_hub("gpt2")


def open_tokenizer(options: argparse.Namespace) -> "Tokenizer":
    """The model's tokenizer; for a file, the one beside it. Raises as `Tokenizer.from_pretrained` does."""
    from minigpt2 import Tokenizer
    from minigpt2.weights import bundled

    if options.model == bundled.NAME:
        return Tokenizer()
    path = path_of(options)
    model = path.parent if path and path.is_file() else options.model
    return Tokenizer.from_pretrained(model, revision=options.revision)


def path_of(options: argparse.Namespace) -> Path | None:
    """The model's path, if it is one; a published model's name is that of a directory only, not of any file."""
    path = Path(options.model)
    is_there = path.is_dir() if options.model in GPT2_MODELS else path.exists()
    return path if is_there else None


def open_weights(
    options: argparse.Namespace, local_files_only: bool = False, timeout: float = ANSWER_SECONDS
) -> "Checkpoint":
    """The model's weights: the bundled ones, those of a path or the cache, or else read on the hub by byte ranges.

    The hub's first answer may take `timeout` seconds. Raises as `Checkpoint.from_pretrained` and `.remote` do.
    """
    from minigpt2 import Checkpoint, HubError
    from minigpt2.weights import bundled

    if options.model == bundled.NAME:
        return Checkpoint.bundled()
    try:
        weights = Checkpoint.from_pretrained(options.model, revision=options.revision, local_files_only=True)
        if weights.commit is None or local_files_only:
            return weights
        return Checkpoint.from_pretrained(options.model, revision=weights.commit)  # whose other files may be asked for
    except HubError:
        if local_files_only:
            raise
    weights = Checkpoint.remote(options.model, revision=options.revision, timeout=timeout)
    options.remote = weights
    return weights


def note_what_was_read(options: argparse.Namespace) -> None:
    """Tell the user how many bytes a command read on the hub, if it did."""
    if remote := vars(options).get("remote"):
        whole = f"{download_command(options.model, options.revision)} gets them all"
        read = f"read {remote.fetched_bytes:,} of {remote.size:,} bytes from the hub"
        streams.note(f"{options.model}: {read}; {whole}")


def open_both(
    options: argparse.Namespace, local_files_only: bool = False, timeout: float = ANSWER_SECONDS
) -> "tuple[Tokenizer, Checkpoint]":
    """The model's tokenizer and weights, of the same commit.

    A directory with weights alone, as a model's `save_pretrained` writes it, is read with GPT-2's vocabulary; the user
    is told so.

    Raises:
        ValueError: the model has no vocabulary, and fewer tokens than GPT-2's vocabulary.
        OSError, ValueError: as `open_weights`, or a file of the tokenizer is malformed.
    """
    from minigpt2 import Tokenizer
    from minigpt2.tokenizer_files.files import NoTokenizerError
    from minigpt2.weights import bundled
    from minigpt2.weights.gpt2_layout import embedding_sizes

    weights = open_weights(options, local_files_only, timeout)
    if options.model == bundled.NAME:
        return Tokenizer(), weights
    try:
        return weights.other_files.tokenizer(), weights
    except NoTokenizerError:
        tokenizer, vocab_size = Tokenizer(), embedding_sizes(weights)[0]
        if len(tokenizer) > vocab_size:
            counts = f"{options.model} has {vocab_size} tokens and GPT-2's tokenizer {len(tokenizer)}"
            raise ValueError(f"{counts}: put the model's own vocabulary beside its weights") from None
        streams.note(f"{options.model} has no vocabulary beside its weights: using GPT-2's")
        return tokenizer, weights


def open_or_bundled(
    options: argparse.Namespace,
    needed: "Callable[[Tokenizer, Checkpoint], object] | None" = None,
    *,
    labelled: bool = True,
    local_files_only: bool = False,
) -> "tuple[Tokenizer, Checkpoint]":
    """The model of `--model`. Without it: gpt2, or the bundled model if gpt2 cannot be read soon.

    `needed` reads what the command will show, so that the hub fails before anything is shown. `labelled` is False for
    output such as JSON, which does not say that its numbers are the bundled model's: that needs gpt2. Afterwards
    `options.model` is the name of the model that was opened. Raises as `open_both` does.
    """
    from minigpt2 import HubError
    from minigpt2.weights import bundled

    was_asked_for = options.model is not None
    options.model = options.model or default_model()
    if was_asked_for or not labelled:
        return open_both(options, local_files_only)
    try:
        tokenizer, weights = open_both(options, local_files_only, timeout=SOON)
        if needed is not None and weights.is_remote:
            needed(tokenizer, weights)
        return tokenizer, weights
    except HubError:
        options.model, options.revision, options.remote = bundled.NAME, None, None
        return open_both(options)


def fetch_all(_: "Tokenizer", weights: "Checkpoint") -> None:
    """Bring all the parameters, for a command that computes with the whole model."""
    weights.fetch(weights.parameter_names())


def print_label(weights: "Checkpoint") -> None:
    """Print what must stand above every table of the bundled model's numbers; nothing for other weights."""
    from minigpt2.weights.bundled import LABEL, is_bundled

    if is_bundled(weights):
        say(LABEL)
