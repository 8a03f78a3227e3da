"""A model's name → its files, in the cache folder that huggingface_hub and transformers share.

The cache keeps `refs/<revision>` (the commit a branch was last seen at), `snapshots/<commit>/<file>` and, behind those
links, `blobs/<hash>`. What is there is used without a request. What is not is downloaded by huggingface_hub between
two checks of ours: the hub's first answer before it (is this a hub, and soon?), the file's hash after it.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

_Result = TypeVar("_Result")

# The hub moved its oldest models into organizations and redirects their short names: one model, two cache folders.
_LONG_NAME = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}
_OTHER_NAME = _LONG_NAME | {long: short for short, long in _LONG_NAME.items()}

_NAME = r"\w(?:[\w.-]{0,94}\w)?"
_MODEL = re.compile(rf"(?!.*(?:--|\.\.|\.git$))(?:{_NAME}/)?{_NAME}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_CONNECTION_SECONDS = 3
_ANSWER_SECONDS = 8


class HubError(OSError):
    """A file could not be had, neither from the cache nor from the hub; the message says why and what to do."""


class MissingFileError(HubError):
    """The repository is there at that revision, and has no such file."""


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

    >>> fetch("gpt2", "model.safetensors", cache_dir="no/such/folder", local_files_only=True)
    Traceback (most recent call last):
    minigpt2.hub.HubError: gpt2: model.safetensors (revision main) is not in the cache; `minigpt2 download gpt2` gets it
    """
    path = cached(model, filename, revision=revision, cache_dir=cache_dir)
    if path is not None:
        return path
    revision = revision or "main"
    snapshots = list(_snapshots(model, revision, cache_dir))
    if any(_is_file(folder / ".no_exist" / commit / filename) for folder, commit in snapshots):
        raise MissingFileError(_missing(model, filename, revision))
    if local_files_only:
        raise HubError(
            f"{model}: {filename} (revision {revision}) is not in the cache; `minigpt2 download {model}` gets it"
        )
    known_commit = next((commit for _, commit in snapshots), revision)
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
    _check_arguments(model, filename, revision)
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
    _check_arguments(model, filename, revision)
    snapshots = _snapshots(model, revision or "main", cache_dir)
    paths = (folder / "snapshots" / commit / filename for folder, commit in snapshots)
    return next(filter(_is_file, paths), None)


def _check_arguments(model: str, filename: str, revision: str | None) -> None:
    for value in (model, filename, "main" if revision is None else revision):
        if not isinstance(value, str):
            raise TypeError(f"model, filename and revision are strings, not {type(value).__name__}: {value!r}")
    if not _MODEL.fullmatch(model):
        raise ValueError(f"{model!r} is neither a directory nor a model's name, such as gpt2 or owner/name")
    for value in (filename, "main" if revision is None else revision):
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


def _folder(model: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    if "huggingface_hub" not in sys.modules:
        # It reads these when it is imported. Xet is a second protocol on other hosts, and hangs for minutes where
        # those are out of reach; telemetry begins with a request of its own, before the one that is wanted.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants

    root = Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir).expanduser().resolve()
    return root / f"models--{model.replace('/', '--')}"


def _snapshots(model: str, revision: str, cache_dir: str | os.PathLike[str] | None) -> Iterator[tuple[Path, str]]:
    """The cache folders that know the revision, each with its commit; the model's name as given comes first."""
    for name in filter(None, (model, _OTHER_NAME.get(model))):
        folder = _folder(name, cache_dir)
        commit = revision
        if not _COMMIT.fullmatch(revision):
            with suppress(OSError):
                commit = (folder / "refs" / revision).read_text("ascii", "replace")
        if _COMMIT.fullmatch(commit):
            yield folder, commit


def _note_commit(folder: Path, revision: str, commit: str) -> None:
    """Let every user of the cache find `commit` when asking for `revision`."""
    from uuid import uuid4

    ref = folder / "refs" / revision
    if revision == commit or (_is_file(ref) and ref.read_text("ascii", "replace") == commit):
        return
    ref.parent.mkdir(parents=True, exist_ok=True)
    half_written = ref.with_name(f"{ref.name}.{uuid4().hex}.tmp")
    try:
        half_written.write_text(commit, "ascii")
        half_written.replace(ref)
    finally:
        half_written.unlink(missing_ok=True)


def _note_missing(folder: Path, commit: str, filename: str) -> None:
    """Spare every user of the cache the same question about this commit."""
    if _COMMIT.fullmatch(commit):
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
        raise _RefusedError(f"it came damaged ({algorithm} {found}, not {expected}) and was removed; try again")


# --- the hub


class _RefusedError(Exception):
    """What came from the hub was refused; the message says why and what to do."""


def _download(model: str, filename: str, revision: str, commit: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    """The file as of `commit` (which may be a name for one), verified, then noted as what `revision` means."""
    folder = _folder(model, cache_dir)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        with _quiet():
            commit, expected_hash = _ask(model, filename, commit)
            blob = folder / "blobs" / expected_hash
            others_have_it = _is_file(blob)
            path = Path(hf_hub_download(model, filename, revision=commit, cache_dir=folder.parent))
            if not (others_have_it and path.resolve() == blob.resolve()):
                _verify(path, expected_hash)
            _note_commit(folder, revision, commit)
            return path
    except RemoteEntryNotFoundError as error:
        _note_missing(folder, error.response.headers.get("X-Repo-Commit", ""), filename)
        raise MissingFileError(_missing(model, filename, revision)) from error
    except Exception as error:  # huggingface_hub's have no common root: OSError, httpx2's, RuntimeError, ValueError
        reason = _reason(error, model, folder.parent)
        raise HubError(f"{model}: {filename} (revision {revision}) could not be downloaded: {reason}") from error


def _ask(model: str, filename: str, revision: str) -> tuple[str, str]:
    """The commit that the revision stands for on the hub, and the file's hash there: one small request.

    `hf_hub_download` alone would retry for minutes where the network is down, and would use whatever hash it is told
    as a file's name.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(model, filename, revision=revision)
    answer = _within(_ANSWER_SECONDS, lambda: get_hf_file_metadata(url, timeout=_CONNECTION_SECONDS))
    commit, file_hash = answer.commit_hash or "", answer.etag or ""
    if not _COMMIT.fullmatch(commit) or not _HASH.fullmatch(file_hash):
        raise _RefusedError(
            f"{constants.ENDPOINT} did not answer as a hub does (commit {commit!r}, hash {file_hash!r}); "
            "check HF_ENDPOINT, and that no proxy or login page stands between"
        )
    return commit, file_hash


def _within(seconds: float, call: Callable[[], _Result]) -> _Result:
    """What `call()` returns or raises, or a `TimeoutError` if that takes longer.

    A connection's own timeout counts for each address of a host anew, and not at all while its name is looked up.
    """
    from concurrent.futures import Future, wait
    from threading import Thread

    outcome: Future[_Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    if not wait([outcome], seconds).done:
        raise TimeoutError(f"no answer within {seconds} seconds")
    return outcome.result()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep huggingface_hub's warnings (one for each retry, say) off stderr, unless the user asked to see even more."""
    import logging

    logger = logging.getLogger("huggingface_hub")
    handlers = list(logger.handlers)

    def is_wanted(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING or logger.level < logging.WARNING

    for handler in handlers:
        handler.addFilter(is_wanted)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_wanted)


def _reason(error: BaseException, model: str, cache: Path) -> str:
    """What went wrong and what to do about it, in one line."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    explanations = {
        _RefusedError: str(error),
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set; unset it to ask the hub",
        errors.GatedRepoError: f"access is granted on request at {hub}/{model}; ask there, then set HF_TOKEN",
        errors.RepositoryNotFoundError: f"{hub} shows no such model; check its name or, if it is private, set HF_TOKEN",
        errors.RevisionNotFoundError: f"there is no such commit; `minigpt2 download {model}` gets the newest",
    }
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__  # it only says that the cache could not replace the answer which this one is about
    for kind, explanation in explanations.items():
        if isinstance(error, kind):
            return explanation
    if isinstance(error, errors.HfHubHTTPError):
        return f"{hub} answered {error.response.status_code}; {_advice(error.response.status_code)}"
    if isinstance(error, OSError) and error.errno:
        return f"the cache {cache} does not take it ({error.strerror}); set HF_HOME or cache_dir to a folder that does"
    first_line = str(error).strip().partition("\n")[0]
    return (
        f"asking {hub} failed ({type(error).__name__}: {first_line}); "
        "check the network, the proxy and HF_ENDPOINT, then try again, or name a directory that holds the files"
    )


def _missing(model: str, filename: str, revision: str) -> str:
    return (
        f"{model} has no file {filename} (revision {revision}); "
        f"should it have been added lately, `minigpt2 download {model}` gets the newest"
    )


def _advice(status: int) -> str:
    if status in (401, 403):
        return "set HF_TOKEN to a token that may read the model, or unset it if it is not valid any more"
    if status == 429:
        return "those were too many requests: wait a few minutes, or set HF_TOKEN to be allowed more"
    if status >= 500:
        return "the fault is there: try again later"
    return "check the model's name and HF_ENDPOINT"
