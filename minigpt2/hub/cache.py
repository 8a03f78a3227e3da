"""A model's name → its files, in the cache folder that huggingface_hub and transformers share.

The cache has `refs/<revision>`, the commit that a branch was last seen at, and `snapshots/<commit>/<file>`, links to
`blobs/<hash>`. A cached file is used without a request. Any other is downloaded by huggingface_hub, between two checks:
that a hub answers, and soon, before it; the file's hash after it.
"""

import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, product
from pathlib import Path, PurePosixPath
from typing import Any

from minigpt2.atomic_write import atomic_write, resolved
from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.hub.answers import ANSWER_SECONDS, Published, ask, quiet, translated_errors, within
from minigpt2.hub.errors import COMMIT, HubError, MissingFileError, RefusedError, download_command, missing
from minigpt2.published_models import LONG_NAME

_OTHER_NAME = LONG_NAME | {long: short for short, long in LONG_NAME.items()}

_NAME = r"\w(?:[\w.-]{0,94}\w)?"
_PULL_REQUEST = re.compile(r"refs/pr/([0-9]{1,18})", re.ASCII)
_MODEL = re.compile(rf"(?!.*(?:--|\.\.|\.git$))(?:{_NAME}/)?{_NAME}", re.ASCII)


def fetch(
    model: str,
    filename: str,
    *,
    revision: str | None = None,
    commit: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:
    """The path of one of a model's files in the hub's cache; it is downloaded only if it is not there.

    A cached snapshot of the revision, by default the branch `main`, is used without a request. A file that the
    snapshot lacks is downloaded from the same commit, so that a model's files belong together. `commit` is that of
    files which the caller has already: this file is then of that commit, whatever the revision has become since.

    Raises `MissingFileError` if the repository has no such file, `HubError` for every other failure, and `ValueError`
    if `model` cannot be a model's name.

    >>> fetch("gpt2", "model.safetensors", cache_dir="no/such/folder", local_files_only=True)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigpt2.hub.errors.HubError: gpt2: model.safetensors (revision main) is not in the cache; `minigpt2 download ...
    """
    path = cached(model, filename, revision=commit or revision, cache_dir=cache_dir)
    if path is not None:
        return path
    revision = revision or "main"
    known_commit = _commit_to_ask(model, filename, commit or revision, cache_dir)
    if local_files_only:
        way_out = f"{download_command(model, revision)} gets it"
        raise HubError(f"{model}: {filename} (revision {revision}) is not in the cache; {way_out}")
    return _download(model, filename, revision, known_commit, cache_dir)


def download(
    model: str,
    filename: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """The path of one of a model's files as the hub has it now: like `fetch`, but the hub is always asked.

    A file that the cache has is not downloaded again. The snapshot that was cached before stays in use until the new
    file is here and its hash is verified. Raises as `fetch` does.

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
    """The path of one of a model's files if the cache has it, otherwise None. This makes no request.

    >>> cached("gpt2", "model.safetensors", cache_dir="no/such/folder") is None
    True
    """
    _check_arguments(model, revision, filename)
    snapshots = _snapshots(model, revision or "main", cache_dir)
    paths = (folder / "snapshots" / commit / filename for folder, commit in snapshots)
    return next(filter(_is_file, paths), None)


def refuse_broken_link(
    model: str, filename: str, *, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> None:
    """Refuse a link in the cache whose target is gone: the model has this file, so it does not count as missing.

    Raises:
        HubError: the file's link is such a link.
    """
    for folder, commit in _snapshots(model, revision or "main", cache_dir):
        link = folder / "snapshots" / commit / filename
        if link.is_symlink() and not link.exists():
            way_out = f"`minigpt2 download {model} --revision {commit}` gets the file again"
            raise HubError(f"{link}: this symbolic link leads nowhere; {way_out}")


def published(
    model: str,
    filename: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    timeout: float = ANSWER_SECONDS,
) -> Published:
    """The hub's facts about one of a model's files, in one request without its content.

    If the cache knows the commit of the revision, it is the file of that commit. The answer may take `timeout` seconds.
    Raises as `fetch` does.

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
    """The commit that the revision was last seen at, if the cache knows it, otherwise None. This makes no request.

    >>> known_commit("gpt2", cache_dir="no/such/folder") is None
    True
    """
    _check_arguments(model, revision)
    return next((commit for _, commit in _snapshots(model, revision or "main", cache_dir)), None)


def pull_request_with(model: str, *filenames: str) -> str | None:
    """A pull request of a model, as a revision, that has one of these files: a conversion that was not merged.

    The newest and the oldest are looked at first. None if the hub does not answer or the search takes too long.
    """
    give_up = time.monotonic() + ANSWER_SECONDS
    refs = _answer(lambda api: api.list_repo_refs(model, include_pull_requests=True))
    found = (_PULL_REQUEST.fullmatch(str(each.ref)) for each in (refs and refs.pull_requests) or [])
    oldest = [match[0] for match in sorted(filter(None, found), key=lambda match: int(match[1]))]
    in_turn = dict.fromkeys(chain.from_iterable(zip(reversed(oldest), oldest, strict=True)))
    for revision, filename in product(in_turn, filenames):
        if time.monotonic() > give_up:
            break
        with suppress(HubError, ValueError):
            published(model, filename, revision=revision)
            return revision
    return None


def file_names(model: str, revision: str | None) -> list[str]:
    """The paths of all files of a model; none if the hub does not answer."""
    found = _answer(lambda api: api.model_info(model, revision=revision or "main"))
    return [str(each.rfilename) for each in (found and found.siblings) or []]


def _answer(ask: Callable[[Any], Any]) -> Any:
    """The answer of the hub's API, or None if it fails. It is only used to make an error message more helpful."""
    import_huggingface_hub()
    try:
        with FORK_WAITS, ordered_hooks():
            from huggingface_hub import HfApi

        with quiet():
            return within(ANSWER_SECONDS, lambda: ask(HfApi()))
    except Exception:
        return None


def long_name(model: str) -> str:
    """The model's name as the hub has it today.

    >>> long_name("gpt2")
    'openai-community/gpt2'
    """
    return LONG_NAME.get(model, model)


def _commit_to_ask(model: str, filename: str, revision: str, cache_dir: str | os.PathLike[str] | None) -> str:
    """The commit of the revision if the cache knows it, otherwise the revision itself.

    Raises:
        MissingFileError: the cache knows that this commit lacks the file.
    """
    snapshots = list(_snapshots(model, revision, cache_dir))
    for folder, commit in snapshots:
        if _is_file(folder / ".no_exist" / commit / filename):
            raise missing(model, filename, revision, commit)
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
            raise ValueError(f"{value!r} is not a file or revision: it would lead out of the model's cache folder")


def _stays_inside(name: str) -> bool:
    """Whether a folder joined with `name` stays inside that folder, on any system."""
    parts = PurePosixPath(name).parts
    return "/".join(parts) == name != "" and ".." not in parts and not set("\\:\0") & set(name)


def _is_file(path: Path) -> bool:
    with suppress(OSError):  # a folder that cannot be read counts as empty
        return path.is_file()
    return False


# --- the cache's layout


def import_huggingface_hub() -> Any:
    """Import huggingface_hub, before any other line does; its `constants`.

    Raises:
        ValueError: it cannot read a variable of the environment.
    """
    if "huggingface_hub" not in sys.modules:
        # It reads these when it is imported. Xet, a second protocol on other hosts, hangs for minutes if those cannot
        # be reached; telemetry sends a request of its own first.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        with FORK_WAITS, ordered_hooks():
            from huggingface_hub import constants
    except ValueError as error:
        values = {name: value for name, value in sorted(os.environ.items()) if name.startswith("HF_")}
        names = [name for name, value in values.items() if repr(value) in str(error)]
        names = names or [name for name, value in values.items() if value not in {"", "0", "1"}]  # any flag can be read
        raise ValueError(f"huggingface_hub cannot be imported ({error}): check {', '.join(names)}") from error
    return constants


def cache_root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The cache folder: `cache_dir`, or the one that the environment names."""
    root = import_huggingface_hub().HF_HUB_CACHE if cache_dir is None else cache_dir
    if not os.fspath(root):
        raise ValueError(f"the name of the cache folder is empty: set {'HF_HUB_CACHE' if cache_dir is None else 'it'}")
    # Without a home directory this leaves `~` as it is, like huggingface_hub; `Path.expanduser` would raise.
    return resolved(os.path.expanduser(root))  # noqa: PTH111


def model_folder(model: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    """The folder of a model's files in a cache folder."""
    return cache_root(cache_dir) / f"models--{model.replace('/', '--')}"


def _snapshots(model: str, revision: str, cache_dir: str | os.PathLike[str] | None) -> Iterator[tuple[Path, str]]:
    """Each cache folder of the model that knows the revision, and its commit; the name as given comes first."""
    for name in filter(None, (model, _OTHER_NAME.get(model))):
        folder = model_folder(name, cache_dir)
        commit = revision
        if not COMMIT.fullmatch(revision):
            with suppress(OSError):
                commit = (folder / "refs" / revision).read_text("ascii", "replace")
        if COMMIT.fullmatch(commit):
            yield folder, commit


def note_commit(folder: Path, revision: str, commit: str) -> None:
    """Note in the cache that `revision` is `commit`, for every program that uses it."""
    ref = folder / "refs" / revision
    if revision == commit or (_is_file(ref) and ref.read_text("ascii", "replace") == commit):
        return
    ref.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(ref) as file:
        file.write(commit.encode("ascii"))


def _note_missing(folder: Path, commit: str, filename: str) -> None:
    """Note in the cache that this commit lacks the file, for every program that uses it."""
    if COMMIT.fullmatch(commit):
        with suppress(OSError):
            note = folder / ".no_exist" / commit / filename
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()


def _verify_new(path: Path, blob: Path, expected: str, *, keeps_link: bool) -> None:
    """Refuse what was downloaded to a path if it is damaged.

    A link that was there before stays, so that the file does not count as missing. Without links, huggingface_hub keeps
    an old file at `path` and puts the new one at `blob`. Other snapshots may still link to `blob`, so it is copied.
    """
    if path.is_symlink() or not _is_file(blob):
        _verify(path, expected, keeps_link=keeps_link)
    elif _hash(path, expected) != expected:
        _verify(blob, expected)
        with atomic_write(path) as file, blob.open("rb") as new:
            shutil.copyfileobj(new, file)


def _verify(path: Path, expected: str, *, keeps_link: bool = False) -> None:
    """Refuse a downloaded file, and remove it from the cache, unless it has the hash that the hub named."""
    found = ""
    # A file of a snapshot is a link to the model's blob. That may be a link too, to a blob that several models share.
    is_in_snapshot = path.is_symlink() and path.parent.name != "blobs"
    blob = path.parent / path.readlink() if is_in_snapshot else path
    way_out = "try again with HF_HUB_DISABLE_XET=1, which shares no blobs" if blob.is_symlink() else "try again"
    try:
        found = _hash(path, expected)
    finally:
        # Also if the check was interrupted: a file that stays in the cache is trusted from then on.
        if found != expected:
            blob.unlink(missing_ok=True)
            if not keeps_link:
                path.unlink(missing_ok=True)
    if found != expected:
        raise RefusedError(f"it arrived damaged (its hash is {found}, not {expected}) and was removed; {way_out}")


def _hash(path: Path, like: str) -> str:
    """The hash of a file of the kind that another one is: SHA-256, git's SHA-1 of small files, or a mirror's SHA-1."""
    if len(like) != 40:
        return _digest(path, "sha256")
    of_git = _digest(path, "sha1", b"blob %d\0" % path.stat().st_size)
    return like if of_git != like and _digest(path, "sha1") == like else of_git


def _digest(path: Path, algorithm: str, header: bytes = b"") -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, header, usedforsecurity=False)).hexdigest()


# --- the hub


def _download(model: str, filename: str, revision: str, commit: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    """Download the file of `commit` (or of a branch or tag), verify it, and note its commit as that of `revision`."""
    folder = model_folder(model, cache_dir)
    with _failures_of(model, filename, revision, cache_dir):
        from huggingface_hub import hf_hub_download

        answer = ask(model, filename, commit, ANSWER_SECONDS)
        blob = folder / "blobs" / answer.hash
        # The first of the two is a link to the second, or in a cache without links the file itself.
        found = next(filter(_is_file, (folder / "snapshots" / answer.commit / filename, blob)), None)
        is_sound = found is not None and _hash(found, answer.hash) == answer.hash
        # A disk that is full gives an error anyway. The filter stays: to remove it is not safe beside other threads.
        warnings.filterwarnings("ignore", "Not enough free disk space", UserWarning)
        options: Any = {"revision": answer.commit, "cache_dir": folder.parent}
        # What was damaged here would not be downloaded again by itself. It stays until the new file is here. And before
        # 1.18, huggingface_hub goes on behind a broken part even where that is too long, as a server that knows no
        # ranges makes it, or two machines whose file system has no locks.
        is_too_long = answer.size is not None and _size(blob.with_name(f"{blob.name}.incomplete")) > answer.size
        options["force_download"] = not is_sound and (is_too_long or found is not None)
        path = Path(hf_hub_download(model, filename, **options))
        if not (found and is_sound and path.samefile(found)):
            _verify_new(path, blob, answer.hash, keeps_link=found is not None)
        if commit == revision or not _is_file(folder / "refs" / revision):  # a revision that moved on stays there
            note_commit(folder, revision, answer.commit)
    return path


def _size(path: Path) -> int:
    """A file's size in bytes, 0 where it cannot be told."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def _failures_of(model: str, filename: str, revision: str, cache_dir: str | os.PathLike[str] | None) -> Iterator[None]:
    """Turn every failure into a `HubError`, and note in the cache if the commit lacks the file."""
    folder = model_folder(model, cache_dir)
    try:
        with translated_errors(model, filename, revision, folder.parent):
            yield
    except MissingFileError as error:
        _note_missing(folder, error.commit, filename)
        raise
