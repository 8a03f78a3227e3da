"""Files of text to files of token ids.

Each document's ids are followed by that of <|endoftext|>, which in the text itself is plain text. OUT holds uint16
numbers and nothing else, as numpy.memmap and nanoGPT read them; OUT.json says what made it.

A file is a document, or as many as --separator stands between; of JSON lines (.jsonl, .ndjson, .jsonlines, .json) and
.parquet files, the field of each record is one. Files may be .gz or .zst. A directory stands for all files in it whose
names do not begin with a dot, a quoted glob for the files it matches, both without symbolic links. - is standard input,
and hf://datasets/OWNER/NAME/PATH stands for files on the hub.

OUT appears when it is complete. Until then OUT.partial holds what is done: after an interruption, the same command with
--resume continues it.

  minigpt2 tokenize books/ "web/**/*.jsonl.gz" -o train.bin --jobs 4
  minigpt2 tokenize TinyStories.txt --separator "<|endoftext|>" -o train.bin --val-fraction 0.01
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigpt2.cli import streams
from minigpt2.cli.model_option import add_model, open_tokenizer, path_of
from minigpt2.cli.numbers import positive, share

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from minigpt2 import Tokenizer
    from minigpt2.corpus import Counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file, a directory, a glob, or - (standard input)")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the file to write")
    parser.add_argument(
        "--output-format", choices=("bin", "llm.c", "megatron"), default="bin", help="what reads it (default: bin)"
    )
    parser.add_argument(
        "--val-fraction",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="write this share of the documents to a second file, named val instead of train",
    )
    parser.add_argument("--seed", type=int, default=0, help="which documents these are (default: 0)")
    parser.add_argument(
        "--shard", type=shard, metavar="I/N", help="only part I of N, from 1 to N, for `minigpt2 merge`"
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue where an interrupted run ended, if there is one"
    )
    add_reading(parser)
    add_model(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Let a command be told how to read a corpus."""
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="how many processes work (default: 1)")
    parser.add_argument("--dask", metavar="ADDRESS", help="work on the Dask cluster of this scheduler instead")
    parser.add_argument(
        "--errors",
        choices=("strict", "replace", "ignore"),
        default="strict",
        help="bytes that are not UTF-8: stop, put U+FFFD in their place, or leave them out (default: strict)",
    )
    parser.add_argument("--field", default="text", help="the field of records that is the document (default: text)")
    parser.add_argument(
        "--input-format", choices=("text", "jsonl", "parquet"), help="what files hold whose names do not say it"
    )
    parser.add_argument("--separator", metavar="TEXT", help="what stands between the documents of a text")


def shard(text: str) -> tuple[int, int]:
    """An argument that names one shard of several.

    >>> shard("2/8")
    (2, 8)
    """
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"expected I/N, such as 1/8, with I from 1 to N, not {text!r}")
    return int(number), int(count)


def note_terminal(options: argparse.Namespace) -> None:
    """Tell the user of a terminal that it is read from."""
    if "-" in options.files and sys.stdin is not None and sys.stdin.isatty():
        streams.note("reading from the terminal until Ctrl-D")


@contextmanager
def reading(options: argparse.Namespace) -> "Iterator[dict[str, Any]]":
    """How a corpus is read, as arguments of `corpus.tokenize` and `corpus.count`."""
    note_terminal(options)
    kept = {name: vars(options)[name] for name in ("errors", "field", "input_format", "separator", "jobs")}
    with _executor(options) as executor:
        tokenizer = open_tokenizer(options)
        _note_added_tokens(tokenizer)
        yield kept | {"executor": executor, "tokenizer": tokenizer, "progress": True}


def _note_added_tokens(tokenizer: "Tokenizer") -> None:
    """Tell the user that a corpus has no added tokens: of those that are not special this is not expected."""
    added = tokenizer.settings.added
    if plain := [token for token in added.tokens if token not in added.special]:
        more = f" and {len(plain) - 1:,} more are" if len(plain) > 1 else " is"
        streams.note(f"{plain[0]!r}{more} plain text in a document, as special tokens are")


@contextmanager
def _executor(options: argparse.Namespace) -> "Iterator[Executor | None]":
    """The Dask cluster, if one was named.

    Raises:
        ImportError: Dask is not installed.
        OSError: there is no scheduler at the address.
    """
    if options.dask is None:
        yield None
        return
    with _dask_client(options.dask) as client:
        yield client.get_executor()


def _dask_client(address: str) -> Any:
    """A client of the Dask scheduler at an address. Raises as `_executor` does."""
    import logging

    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise ImportError("--dask needs the package distributed: pip install 'minigpt2[dask]'") from None
    logging.disable()  # Dask writes its own account of what becomes one line here

    class ClosedIfNotStarted(Client):  # type: ignore[misc]
        def start(self, **options: Any) -> None:
            try:
                super().start(**options)
            except BaseException:
                self.close()  # otherwise it waits for ever when Python ends
                raise

    try:
        return ClosedIfNotStarted(address, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise OSError(f"there is no Dask scheduler at {address} ({error})") from None


def require_row(options: argparse.Namespace, tokenizer: "Tokenizer") -> None:
    """Refuse an end of text that the model has no row for: training on such ids would fail.

    Raises:
        ValueError: the model's `config.json` has a smaller `vocab_size`.
    """
    end, config = tokenizer.eos_token_id, config_of(options)
    try:
        rows = json.loads(config.read_bytes())["vocab_size"] if config else None
    except (OSError, ValueError, LookupError, TypeError):
        return  # there is none, or it does not say
    if end is not None and isinstance(rows, int) and end >= rows:
        raise ValueError(
            f"the end of text of {options.model} is id {end}, and {config} says that the model has only {rows} rows: "
            "add it to the model first"
        )


def config_of(options: argparse.Namespace) -> "Path | None":
    """The `config.json` of the model; None for GPT-2's published models, and where there is none."""
    from minigpt2 import HubError, hub
    from minigpt2.published_models import GPT2_MODELS
    from minigpt2.weights import bundled

    path = path_of(options)
    if options.model == bundled.NAME or (options.model in GPT2_MODELS and not path):
        return None
    if path:
        return (path.parent if path.is_file() else path) / "config.json"
    try:
        return hub.fetch(options.model, "config.json", revision=options.revision)
    except (HubError, ValueError):
        return None


def run(options: argparse.Namespace) -> None:
    """Write the token ids of files to a file."""
    from minigpt2 import corpus

    _refuse_model_files(options)
    with reading(options) as arguments:
        require_row(options, arguments["tokenizer"])
        counts = corpus.tokenize(
            options.files,
            options.output,
            output_format=options.output_format,
            val_fraction=options.val_fraction,
            seed=options.seed,
            shard=options.shard,
            resume=options.resume,
            **arguments,
        )
    print_counts(options.output, counts)


def _refuse_model_files(options: argparse.Namespace) -> None:
    """Raise ValueError if the output would replace a file of the model whose tokenizer is used."""
    from minigpt2.weights import bundled
    from minigpt2.weights.files import WEIGHTS, refuse_to_replace
    from minigpt2.weights.other_files import NAMES_BESIDE

    path = path_of(options)
    if options.output and path and options.model != bundled.NAME:
        directory = path.parent if path.is_file() else path
        beside = {directory / name for name in (WEIGHTS, *NAMES_BESIDE)}
        refuse_to_replace(Path(options.output), beside | {*directory.glob("*.safetensors*")})


def print_counts(output: str, counts: "Counts") -> None:
    """Say how much was written."""
    documents = "1 document" if counts.documents == 1 else f"{counts.documents:,} documents"
    print(streams.escaped(f"{output}: {counts.tokens:,} tokens of {documents}"))
