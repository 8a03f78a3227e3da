"""Where a tokenizer's files are, and how JSON and text are read from them."""

import json
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from minigpt2.archives import POINTER, POINTER_REASON
from minigpt2.atomic_write import naming

PathLike = str | os.PathLike[str]

#: How a conversation becomes a text; no id of a text depends on it.
CHAT_TEMPLATE = "chat_template.jinja"

#: Every file that can say something about a tokenizer of GPT-2's kind, beside the model's `config.json`.
NAMES: tuple[str, ...] = ("tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt")
NAMES += ("added_tokens.json", "special_tokens_map.json", CHAT_TEMPLATE)

#: OpenAI's names for the tokens and the merges.
OPENAI_NAMES = ("encoder.json", "vocab.bpe")


class NoTokenizerError(FileNotFoundError):
    """A directory has no file of a tokenizer. A file that vanishes while it is read gives another error."""


#: Gives the path of a file by its name, or None where the model has no such file.
Find = Callable[[str], Path | None]


def in_directory(directory: PathLike) -> Find:
    """Find files in a directory.

    It raises ValueError where a symbolic link has the name and leads nowhere: without its file, others would be taken.
    """

    def find(name: str) -> Path | None:
        path = Path(directory) / name
        if path.is_symlink() and not path.exists():
            raise ValueError(f"{path}: this symbolic link leads nowhere: put the file there, or delete the link")
        return path if path.is_file() else None

    return find


def on_hub(model: str, revision: str | None, cache_dir: PathLike | None, local_files_only: bool) -> Find:
    """Find files of a model on the hub, all of one commit: the cache's, or else that of the hub's first answer.

    A file that the cache lacks counts as missing, as in transformers, if we are offline, and with a warning if the hub
    cannot be reached and the cache had a vocabulary before. Any other failure is an error, except for the chat template
    and for files of other kinds of tokenizers: what brought the vocabulary into the cache would have brought those.
    """
    from minigpt2 import hub

    commit = hub.known_commit(model, revision=revision, cache_dir=cache_dir)
    fetch = partial(hub.fetch, model, revision=revision, cache_dir=cache_dir)
    asks = asks_for_others = not local_files_only
    names = ("tokenizer.json", "vocab.json") if commit else ()
    had_vocabulary = any(hub.cached(model, name, revision=commit, cache_dir=cache_dir) for name in names)

    def find(name: str) -> Path | None:
        nonlocal commit, asks, asks_for_others
        is_other = name == CHAT_TEMPLATE or name not in (*NAMES, "config.json")
        asks_now = asks and (asks_for_others or not is_other)
        try:
            path = fetch(name, commit=commit, local_files_only=not asks_now)
            commit = path.parent.name  # a snapshot's directory is named by its commit
            return path
        except hub.MissingFileError as error:
            commit = commit or error.commit or None
            return None
        except hub.HubError as error:
            from huggingface_hub import constants

            hub.refuse_broken_link(model, name, revision=commit or revision, cache_dir=cache_dir)
            if asks_now and not constants.HF_HUB_OFFLINE:
                if not (had_vocabulary and (is_other or isinstance(error, hub.UnreachableError))):
                    raise
                if not is_other:
                    warnings.warn(f"the tokenizer may lack what only the hub has: {error}", stacklevel=2)
            # Once is enough.
            asks_for_others = False
            asks = asks and is_other
            return None

    return find


def read_text(path: PathLike) -> str:
    """The text of a file in UTF-8.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8, or a Git LFS pointer.
    """
    try:
        with naming(path):
            data = Path(path).read_bytes()
        if data.startswith(POINTER):
            raise ValueError(f"{os.fspath(path)}: {POINTER_REASON}")
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)}: not UTF-8 text at byte {error.start}") from None


def read_object(path: PathLike) -> dict[str, Any]:
    """The content of a JSON file that holds an object.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or something else than an object.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # not only JSONDecodeError: numbers may have too many digits
        raise ValueError(f"{os.fspath(path)}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{os.fspath(path)}: expected an object, found {excerpt(content)}")
    return content


@contextmanager
def named(path: PathLike) -> Iterator[None]:
    """Put a file's name before the message of a `ValueError`."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def refuse_other_keys(content: Mapping[str, Any], understood: Collection[str], where: str = "") -> None:
    """Refuse a key that is not understood, whatever its value.

    Raises:
        ValueError: there is one; the message names it.
    """
    for key, value in content.items():
        if key not in understood:
            name = key if key.isprintable() else excerpt(key)
            raise ValueError(f"{where}{name} is {excerpt(value)}, which this package does not understand")


def expect(content: Mapping[str, Any], values: Mapping[str, Collection[Any]], where: str = "") -> None:
    """Refuse a key whose value is not among those that are understood; a missing key counts as None.

    Raises:
        ValueError: there is one; the message names it.
    """
    for key, allowed in values.items():
        value = content.get(key)
        if not any(type(value) is type(each) and value == each for each in allowed):
            raise ValueError(f"{where}{key} is {excerpt(value)}, which GPT-2's tokenizer does not have")


def excerpt(value: Any) -> str:
    """The start of a value's JSON, for messages."""
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
