"""Download a model's weights from the hub, or update them.

They are stored in the cache that transformers uses too. Every other command reads them there without a request. Files
that the cache has are not downloaded again unless they were damaged there. Each file is verified by its hash.

  minigpt2 download
"""

import argparse
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from minigpt2.cli import streams
from minigpt2.cli.text import not_empty


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "model", nargs="?", type=not_empty, default="gpt2", metavar="MODEL", help="the model's name (default: gpt2)"
    )
    parser.add_argument("--revision", type=not_empty, help="its branch, tag or commit (default: main)")


def run(options: argparse.Namespace) -> None:
    """Download a model, and say where it is."""
    from minigpt2 import Checkpoint
    from minigpt2.weights.files import is_local, on_hub
    from minigpt2.weights.other_files import config_names

    options.model = on_hub(options.model)
    if Path(options.model).exists() and is_local(options.model):
        raise ValueError(f"{options.model!r} is a path on this machine: there is nothing to download")
    commit = _newest_commit(options.model, options.revision)
    weights = Checkpoint.from_pretrained(options.model, revision=commit)  # shards too, and a look inside
    _bring(options.model, commit, config_names(options.model))  # weights that were cached before can be without them
    nbytes = sum(weights.info(name).nbytes for name in weights)
    print(f"{options.model} at {commit}: {len(weights)} tensors, {nbytes:,} bytes of numbers")
    if line := _tokenizer(options.model, commit):
        print(line)
    print(streams.escaped(str(weights.path)))


def _tokenizer(model: str, commit: str) -> str:
    """Fetch the model's tokenizer files; of a published GPT-2, say that they are the package's.

    Raises:
        ValueError: a published GPT-2 has another vocabulary than the package.
    """
    from minigpt2 import Tokenizer, hub
    from minigpt2.published_models import GPT2_MODELS
    from minigpt2.tokenizer_files.files import NAMES, OPENAI_NAMES

    paths = _bring(model, commit, NAMES)
    if "vocab.json" not in paths:
        _bring(model, commit, OPENAI_NAMES)
    if model not in GPT2_MODELS:
        with suppress(hub.MissingFileError):
            _note_what_is_refused(model, commit)
    if model not in GPT2_MODELS or not {"vocab.json", "merges.txt"} <= paths.keys():
        return ""
    theirs, ours = Tokenizer.from_files(paths["vocab.json"], paths["merges.txt"]).vocabulary, Tokenizer().vocabulary
    if theirs.token_ids() != ours.token_ids() or theirs.merges != ours.merges:
        raise ValueError(f"{paths['vocab.json'].parent}: vocab.json and merges.txt are not GPT-2's")
    return "tokenizer: vocab.json and merges.txt agree with the vocabulary in this package"


def _bring(model: str, commit: str, names: Iterable[str]) -> dict[str, Path]:
    """The paths of those files that the model has, each as the hub has it: what was damaged here is replaced."""
    from minigpt2 import hub

    paths = {}
    for name in names:
        with suppress(hub.MissingFileError):
            paths[name] = hub.download(model, name, revision=commit)
    return paths


def _note_what_is_refused(model: str, commit: str) -> None:
    from minigpt2 import Tokenizer

    try:
        Tokenizer.from_pretrained(model, revision=commit)
    except ValueError as error:
        streams.note(f"the weights are there, but not a tokenizer that this package opens: {error}")


def _newest_commit(model: str, revision: str | None) -> str:
    """The newest commit of the revision, whose weights are in the cache then, each file as the hub has it.

    Raises:
        HubError: the hub cannot be reached, or has no such model or revision.
        CheckpointError: that commit has no weights, or their index is malformed.
    """
    from minigpt2 import hub
    from minigpt2.weights.files import WEIGHTS, fetch_index, shards_of

    fetch = partial(hub.download, model)
    with suppress(hub.MissingFileError):
        return fetch(WEIGHTS, revision=revision).parent.name
    index = fetch_index(fetch, model, revision, asks=True)
    _bring(model, index.parent.name, shards_of(index))
    return index.parent.name
