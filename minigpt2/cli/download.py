"""Download a model's weights from the hub, or update them.

They are stored in the cache that transformers uses too. Every other command reads them there without a request. Files
that the cache has are not downloaded again, and every download is verified by its hash.

  minigpt2 download
"""

import argparse
from contextlib import suppress
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", nargs="?", default="gpt2", metavar="MODEL", help="the model's name (default: gpt2)")
    parser.add_argument("--revision", help="its branch, tag or commit (default: main)")


def run(options: argparse.Namespace) -> None:
    """Download a model, and say where it is."""
    from minigpt2 import Checkpoint, Tokenizer, hub

    if Path(options.model).exists():
        raise ValueError(f"{options.model!r} is a path on this machine: there is nothing to download")
    commit = _newest_commit(options.model, options.revision)
    weights = Checkpoint.from_pretrained(options.model, revision=commit)  # shards and config, and a look inside
    with suppress(hub.MissingFileError):
        Tokenizer.from_pretrained(options.model, revision=commit)
    nbytes = sum(weights.info(name).nbytes for name in weights)
    print(f"{options.model} at {commit or 'main'}: {len(weights)} tensors, {nbytes:,} bytes of numbers")
    print(weights.path)


def _newest_commit(model: str, revision: str | None) -> str | None:
    """The newest commit of the revision; if that has no safetensors weights, the revision as it was given."""
    from minigpt2 import hub
    from minigpt2.weights.checkpoint import INDEX, WEIGHTS

    for name in (WEIGHTS, INDEX):
        with suppress(hub.MissingFileError):
            return hub.download(model, name, revision=revision).parent.name
    return revision
