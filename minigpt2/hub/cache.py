"""A model's name → its files, in the cache folder that huggingface_hub and transformers share.

The cache keeps `refs/<revision>` (the commit a branch was last seen at), `snapshots/<commit>/<file>` and, behind those
links, `blobs/<hash>`. What is there is used without a request. What is not is downloaded by huggingface_hub between
two checks of ours: the hub's first answer before it (is this a hub, and soon?), the file's hash after it. That first
answer alone is what `minigpt2.weights.remote` needs to read a file by byte ranges.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from minigpt2.atomic_write import atomic_write
from minigpt2.hub.answers import (
    ANSWER_SECONDS,
    COMMIT,
    HubError,
    MissingFileError,
    Published,
    RefusedError,
    ask,
    missing,
    translated_errors,
)
from minigpt2.hub.names import LONG_NAME

_OTHER_NAME = LONG_NAME | {long: short for short, long in LONG_NAME.items()}

_NAME = r"\w(?:[\w.-]{0,94}\w)?"
_MODEL = re.compile(rf"(?!.*(?:--|\.\.|\.git$))(?:{_NAME}/)?{_NAME}", re.ASCII)


def fetch(
    model: str,
    filename: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:
    """The path of one of a model's files in the hub's cache, downloaded only if it is not there yet.

    A cached snapshot of the revision (the branch `main` by default) is used as it is, without a request; a file that
    it lacks is taken from the same commit, so that a model's files belong together.

    Raises `MissingFileError` if the repository has no such file, `HubError` for every other failure, and `ValueError`
    for a name that cannot be a model's.

    >>> fetch("gpt2", "model.safetensors", cache_dir="no/such/folder", local_files_only=True)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigpt2.hub.answers.HubError: gpt2: model.safetensors (revision main) is not in the cache; `minigpt2 download ...
    """
    path = cached(model, filename, revision=revision, cache_dir=cache_dir)
    if path is not None:
        return path
    revision = revision or "main"
    known_commit = _commit_to_ask(model, filename, revision, cache_dir)
    if local_files_only:
        raise HubError(
            f"{model}: {filename} (revision {revision}) is not in the cache; `minigpt2 download {model}` gets it"
        )
    return _download(model, filename, revision, known_commit, cache_dir)


def download(
    model: str,
    filename: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """The path of one of a model's files as the hub has it now: like `fetch`, but the hub is always asked.

    A file that the cache has already is not downloaded again. Until the new one has arrived and its hash is verified,
    the snapshot that was cached before stays the one in use. Raises as `fetch` does.

    >>> download("one/name/too/many", "config.json")
    Traceback (most recent call last):
    ValueError: 'one/name/too/many' is neither a directory nor a model's name, such as gpt2 or owner/name
    """
    _check_arguments(model, revision, filename)
    revision = revision or "main"
    return _download(model, filename, revision, revision, cache_dir)


def cached(
    model: str,
    filename: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path | None:
    """The path of one of a model's files if the cache has it, otherwise None; the hub is never asked.

    >>> cached("gpt2", "model.safetensors", cache_dir="no/such/folder") is None
    True
    """
    _check_arguments(model, revision, filename)
    snapshots = _snapshots(model, revision or "main", cache_dir)
    paths = (folder / "snapshots" / commit / filename for folder, commit in snapshots)
    return next(filter(_is_file, paths), None)


def published(
    model: str,
    filename: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    timeout: float = ANSWER_SECONDS,
) -> Published:
    """What the hub says of one of a model's files, in one request that brings none of its content.

    Where the cache knows the revision's commit it is that commit's file. `timeout` is how many seconds the hub may
    take. Raises as `fetch` does.

    >>> published("no model", "model.safetensors")
    Traceback (most recent call last):
    ValueError: 'no model' is neither a directory nor a model's name, such as gpt2 or owner/name
    """
    _check_arguments(model, revision, filename)
    revision = revision or "main"
    commit = _commit_to_ask(model, filename, revision, cache_dir)
    with _failures_of(model, filename, revision, cache_dir):
        return ask(model, filename, commit, timeout)


def known_commit(
    model: str, *, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> str | None:
    """The commit that the revision was last seen at, if the cache knows it, otherwise None; the hub is never asked.

    >>> known_commit("gpt2", cache_dir="no/such/folder") is None
    True
    """
    _check_arguments(model, revision)
    return next((commit for _, commit in _snapshots(model, revision or "main", cache_dir)), None)


def long_name(model: str) -> str:
    """The model's name as the hub has it today.

    >>> long_name("gpt2")
    'openai-community/gpt2'
    """
    return LONG_NAME.get(model, model)


def _commit_to_ask(model: str, filename: str, revision: str, cache_dir: str | os.PathLike[str] | None) -> str:
    """The commit that the cache knows the revision as, or the revision itself.

    Raises:
        MissingFileError: that commit is known to lack the file.
    """
    snapshots = list(_snapshots(model, revision, cache_dir))
    if any(_is_file(folder / ".no_exist" / commit / filename) for folder, commit in snapshots):
        raise MissingFileError(missing(model, filename, revision))
    return next((commit for _, commit in snapshots), revision)


def _check_arguments(model: str, revision: str | None, *filenames: str) -> None:
    names = [*filenames, "main" if revision is None else revision]
    for value in (model, *names):
        if not isinstance(value, str):
            raise TypeError(f"model, filename and revision are strings, not {type(value).__name__}: {value!r}")
    if not _MODEL.fullmatch(model):
        raise ValueError(f"{model!r} is neither a directory nor a model's name, such as gpt2 or owner/name")
    for value in names:
        if not _stays_inside(value):
            raise ValueError(f"{value!r} is no name of a file or revision: it would leave the model's cache folder")


def _stays_inside(name: str) -> bool:
    """Whether a folder joined with `name` is a place inside that folder, whatever the system."""
    parts = PurePosixPath(name).parts
    return "/".join(parts) == name != "" and ".." not in parts and not set("\\:\0") & set(name)


def _is_file(path: Path) -> bool:
    with suppress(OSError):  # a cache folder that may not be read is one that has nothing
        return path.is_file()
    return False


# --- the cache's layout


def cache_root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The cache folder: `cache_dir`, or the one that the environment names."""
    if "huggingface_hub" not in sys.modules:
        # It reads these when it is imported. Xet is a second protocol on other hosts, and hangs for minutes where
        # those are out of reach; telemetry begins with a request of its own, before the one that is wanted.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir).expanduser().resolve()


def model_folder(model: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    """Where a cache folder keeps a model's files."""
    return cache_root(cache_dir) / f"models--{model.replace('/', '--')}"


def _snapshots(model: str, revision: str, cache_dir: str | os.PathLike[str] | None) -> Iterator[tuple[Path, str]]:
    """The cache folders that know the revision, each with its commit; the model's name as given comes first."""
    for name in filter(None, (model, _OTHER_NAME.get(model))):
        folder = model_folder(name, cache_dir)
        commit = revision
        if not COMMIT.fullmatch(revision):
            with suppress(OSError):
                commit = (folder / "refs" / revision).read_text("ascii", "replace")
        if COMMIT.fullmatch(commit):
            yield folder, commit


def note_commit(folder: Path, revision: str, commit: str) -> None:
    """Let every user of the cache find `commit` when asking for `revision`."""
    ref = folder / "refs" / revision
    if revision == commit or (_is_file(ref) and ref.read_text("ascii", "replace") == commit):
        return
    ref.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(ref) as file:
        file.write(commit.encode("ascii"))


def _note_missing(folder: Path, commit: str, filename: str) -> None:
    """Spare every user of the cache the same question about this commit."""
    if COMMIT.fullmatch(commit):
        with suppress(OSError):
            note = folder / ".no_exist" / commit / filename
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()


def _verify(path: Path, expected: str) -> None:
    """Refuse a downloaded file, and take it out of the cache, unless its hash is the one the hub named.

    For a file in Git LFS that is the SHA-256 of its content, for any other the SHA-1 of its git blob.
    """
    import hashlib

    algorithm, header = "sha256", b""
    if len(expected) == 40:
        algorithm, header = "sha1", b"blob %d\0" % path.stat().st_size
    found = ""
    try:
        with path.open("rb") as file:
            hashed = hashlib.file_digest(file, lambda: hashlib.new(algorithm, header, usedforsecurity=False))
        found = hashed.hexdigest()
    finally:
        # An interrupted check counts as a failed one: whatever stays in the cache is trusted from then on.
        if found != expected:
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    if found != expected:
        raise RefusedError(f"it came damaged ({algorithm} {found}, not {expected}) and was removed; try again")


# --- the hub


def _download(model: str, filename: str, revision: str, commit: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    """The file as of `commit` (which may be a name for one), verified, then noted as what `revision` means."""
    folder = model_folder(model, cache_dir)
    from huggingface_hub import hf_hub_download

    with _failures_of(model, filename, revision, cache_dir):
        answer = ask(model, filename, commit, ANSWER_SECONDS)
        blob = folder / "blobs" / answer.hash
        others_have_it = _is_file(blob)
        path = Path(hf_hub_download(model, filename, revision=answer.commit, cache_dir=folder.parent))
        if not (others_have_it and path.resolve() == blob.resolve()):
            _verify(path, answer.hash)
        note_commit(folder, revision, answer.commit)
    return path


@contextmanager
def _failures_of(model: str, filename: str, revision: str, cache_dir: str | os.PathLike[str] | None) -> Iterator[None]:
    """Every failure as a `HubError`; that a commit lacks the file is noted, so that it is not asked for again."""
    folder = model_folder(model, cache_dir)
    try:
        with translated_errors(model, filename, revision, folder.parent):
            yield
    except MissingFileError as error:
        _note_missing(folder, error.commit, filename)
        raise
