"""The first question to the hub, and its failures in plain words.

The errors of `huggingface_hub` have no common base class. Each of them becomes a `HubError` that says what to do.
"""

import errno
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

from minigpt2.forking import FORK_WAITS, RenewedLock, ordered_hooks
from minigpt2.shell import quoted

_Result = TypeVar("_Result")

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Asked for once: Python holds a lock meanwhile, which Ctrl-C can leave held.
_LOGGER = logging.getLogger("huggingface_hub")
_CONNECTION_SECONDS = 3
_FIRST_NAME_SECONDS = 1.0
ANSWER_SECONDS: Final = 8.0
LONGEST_WAIT: Final = 8.0  # seconds that a busy server may ask us to wait
_MOST_SECONDS = 1e6  # of a timeout; some of those who wait cannot wait for much longer
# The errors without an answer, of all HTTP clients that versions of huggingface_hub use.
_UNREACHABLE = {"ConnectError", "ConnectTimeout", "ConnectTimeoutError", "NameResolutionError", "NewConnectionError"}
_UNREACHABLE |= {"OfflineModeIsEnabled"}
_OF_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_OF_ADDRESSES = ("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")  # those of proxies in small letters too


class HubError(OSError):
    """A file is neither in the cache nor to be downloaded; the message says why and what to do.

    `status` is that of the hub's answer, such as 429, if it gave one.
    """

    status: int | None = None


class MissingFileError(HubError):
    """The repository exists at that revision and has no such file; `commit` is that of the revision, if it is known."""

    commit = ""


class UnreachableError(HubError):
    """The hub cannot be connected to, or is not asked because HF_HUB_OFFLINE is set."""


class RefusedError(Exception):
    """The hub's answer was refused; the message says why and what to do."""


@dataclass(frozen=True)
class Published:
    """The hub's facts about a file: its commit, the hash of its content, its size in bytes, and its URL.

    The hash is the SHA-256 of a file in Git LFS, and the SHA-1 of the git blob of any other. A storage of the Xet kind
    may name the content by another hash.
    """

    commit: str
    hash: str
    size: int | None
    url: str
    in_xet: bool = False


def ask(model: str, filename: str, revision: str, timeout: float) -> Published:
    """The hub's facts about the file, in one small request.

    Without it `hf_hub_download` would retry for minutes when the network is down, and would use any hash that a server
    sends as a file name.
    """
    from huggingface_hub import constants, hf_hub_url

    url = hf_hub_url(model, filename, revision=revision)
    answer = _metadata(url, timeout, min(timeout, _CONNECTION_SECONDS))
    commit, file_hash = answer.commit_hash or "", answer.etag or ""
    if not COMMIT.fullmatch(commit) or not _HASH.fullmatch(file_hash):
        raise RefusedError(
            f"{constants.ENDPOINT} did not answer as a hub does (commit {commit!r}, hash {file_hash!r}); "
            "check HF_ENDPOINT, and whether a proxy or a login page answered instead"
        )
    return Published(commit, file_hash, answer.size, urljoin(url, answer.location), answer.xet_file_data is not None)


def _metadata(url: str, timeout: float, seconds: float) -> Any:
    """huggingface_hub's metadata of the file at a URL; connecting may take up to `seconds`."""
    from huggingface_hub import get_hf_file_metadata

    def ask() -> Any:
        return within(timeout, lambda: get_hf_file_metadata(url, timeout=seconds))

    try:
        return _patiently(ask)
    except TimeoutError:
        if "retry_on_errors" in signature(get_hf_file_metadata).parameters:
            raise
    _refuse_if_busy(url, seconds)  # not within `except`, so that its errors keep their own causes
    return _patiently(ask)  # the hub answers again


def _refuse_if_busy(url: str, seconds: float) -> None:
    """Raise the hub's answer where it is an error, such as 429.

    Some huggingface_hub before 1.3 asks a busy hub again by itself, for longer than we wait. Without this question that
    would pass for a hub that cannot be reached.
    """
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    # Unlike `head` of some sessions, this follows the redirects of renamed models.
    answer = within(
        2 * seconds, lambda: get_session().request("HEAD", url, headers=build_hf_headers(), timeout=seconds)
    )
    hf_raise_for_status(answer)


def _patiently(ask: Callable[[], _Result]) -> _Result:
    """The result of `ask()`; it is called again if a busy hub says after how many seconds."""
    from huggingface_hub.errors import HfHubHTTPError

    give_up = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            return ask()
        except HfHubHTTPError as error:
            pause = asked_pause(error.response.status_code, error.response.headers)
            if pause is None or time.monotonic() + pause > give_up:
                raise
        time.sleep(pause)


def asked_pause(status: int, headers: Mapping[str, str]) -> float | None:
    """How many seconds, at least 1, a busy server asks us to wait (429 or 503 with `Retry-After`); None if it does not.

    >>> asked_pause(429, {"Retry-After": "2"})
    2.0
    >>> asked_pause(429, {}) is None
    True
    """
    seconds = headers.get("Retry-After", "").strip()
    return max(1.0, float(seconds)) if status in (429, 503) and re.fullmatch(r"[0-9]{1,9}", seconds) else None


def within(
    seconds: float, call: Callable[[], _Result], close: Callable[[_Result], object] = lambda result: None
) -> _Result:
    """The result of `call()`, or its error, or a `TimeoutError` if that takes longer; a later result is closed.

    The timeout of a connection starts again for each address of a host, and does not cover the lookup of its name.
    """
    outcome: Future[_Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    try:
        Thread(target=run, daemon=True).start()
        if not wait([outcome], seconds).done:
            raise TimeoutError(f"no answer within {seconds} seconds")
        return outcome.result()
    except BaseException:  # also that of Ctrl-C
        outcome.add_done_callback(lambda outcome: outcome.exception() or close(outcome.result()))
        raise


@contextmanager
def translated_errors(model: str, filename: str, revision: str, cache: Path) -> Iterator[None]:
    """Turn every error of huggingface_hub and its session into a `HubError` that says what to do."""
    try:
        prepare_client()
        with quiet():
            yield
    except HubError:
        raise
    except Exception as error:  # OSError, the HTTP client's own, RuntimeError (Xet), ValueError (names)
        from huggingface_hub.errors import EntryNotFoundError

        response = getattr(error, "response", None)  # none if it is the cache that lacks the file
        if isinstance(error, EntryNotFoundError) and response is not None:
            raise missing(model, filename, revision, response.headers.get("X-Repo-Commit", "")) from error
        reason, kind = _reason(error, model, cache), UnreachableError if _is_unreachable(error) else HubError
        failure = kind(f"{model}: {filename} (revision {revision}) could not be downloaded: {reason}")
        failure.status = getattr(response, "status_code", None)
        raise failure from error


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that no connection came about."""
    is_unreachable = isinstance(error, TimeoutError)  # of `within`
    while error is not None and not is_unreachable:
        is_unreachable = type(error).__name__ in _UNREACHABLE
        error = error.__cause__ or error.__context__
    return is_unreachable


class _LockOfBars(RenewedLock):
    """The lock of huggingface_hub's bars, which they hold while they draw: a child gets another one.

    It is one of Python's own: a lock that is written in Python could be left held by an exception of a signal handler.
    """

    bars: Any = None

    def renew(self) -> None:
        if self.bars and self.now._is_owned():  # type: ignore[attr-defined]
            return  # the thread that draws has forked, and will release it in the child too
        super().renew()
        if self.bars:
            self.bars.set_lock(self.now)


_LOCK_OF_BARS = _LockOfBars()


def prepare_client() -> None:
    """Import what asks the hub and make its session while forks wait.

    Otherwise a child could inherit a lock that an import holds.

    Raises:
        RefusedError: what the environment says about certificates, proxies and time is wrong.
    """
    with FORK_WAITS, ordered_hooks():
        try:
            import_module("huggingface_hub.file_download")  # it imports the rest; other ways to it print its errors
            from huggingface_hub import constants, get_session
            from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

            _ = urlsplit(constants.ENDPOINT).port  # raises a ValueError where some versions find out later
            tqdm.set_lock(_LOCK_OF_BARS.now)
            _LOCK_OF_BARS.bars = tqdm
            session: Any = get_session()
            if getattr(session, "made_in", os.getpid()) != os.getpid():
                session = _own_session()
            if not hasattr(session, "made_in"):
                _look_up_a_first_name()
                session.made_in = os.getpid()
                session.close = partial(_close_here, session.made_in, session.close)
        except Exception as error:
            to_check = _OF_CERTIFICATES if isinstance(error, OSError) else _OF_ADDRESSES
            names = [name for name in sorted(os.environ) if name.upper() in to_check and os.environ[name]] or to_check
            raise RefusedError(f"no connection can be set up ({_named(error)}); check {', '.join(names)}") from error
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        if not 0 < (seconds := getattr(constants, name)) <= _MOST_SECONDS:
            raise RefusedError(f"{name} is {seconds}; set it to a number of seconds, or unset it")


def _look_up_a_first_name() -> None:
    """Let the C library load what looks names up, and Python the codec of their names.

    Both hold locks meanwhile, and a child that is forked then can never look a name up. This name needs no name server
    on most machines; where it does, the lookup may take one second.
    """
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        with suppress(OSError, RuntimeError):  # RuntimeError: no thread can be started
            within(_FIRST_NAME_SECONDS, lambda: socket.getaddrinfo("localhost", None))


def _close_here(process: int, close: Callable[[], None]) -> None:
    """Close a session only in the process that made it.

    huggingface_hub also closes it in a forked child, where that can wait for ever for a lock.
    """
    if os.getpid() == process:
        close()


def _own_session() -> Any:
    """The session of a forked child, which huggingface_hub 1.x first gives its parent's, whose locks may be held."""
    from huggingface_hub import close_session, get_session

    close_session()
    return get_session()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep huggingface_hub's warnings, such as one for each retry, off stderr, unless the user raised its verbosity."""
    handlers = list(_LOGGER.handlers)

    def is_wanted(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING or _LOGGER.level < logging.WARNING

    for handler in handlers:
        handler.addFilter(is_wanted)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_wanted)


def _reason(error: BaseException, model: str, cache: Path) -> str:
    """The fault and the way out, in one line."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    explanations = {
        RefusedError: str(error),
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set; unset it to ask the hub",
        errors.GatedRepoError: f"access is granted on request at {hub}/{model}; ask there, then set HF_TOKEN",
        errors.RepositoryNotFoundError: f"{hub} shows no such model; check its name or, if it is private, set HF_TOKEN",
        errors.RevisionNotFoundError: f"there is no such commit; `minigpt2 download {model}` gets the newest",
    }
    if isinstance(error, (errors.LocalEntryNotFoundError, ValueError)) and error.__cause__:
        error = error.__cause__  # it says what that means for the download; its cause says what the hub answered
    for kind, explanation in explanations.items():
        if isinstance(error, kind):
            return explanation
    if status := getattr(getattr(error, "response", None), "status_code", None):  # also of the HTTP client's own errors
        return f"{hub} answered {status}; {advice(status)}"
    if isinstance(error, OSError) and error.errno:
        return _fault_of_this_machine(error, cache)
    if isinstance(error, UnicodeError):
        return f"what would be sent is not ASCII ({error}); check HF_ENDPOINT, HF_TOKEN and the file of the token"
    return (
        f"asking {hub} failed ({_named(error)}); "
        "check the network, the proxy and HF_ENDPOINT, or name a directory that holds the files"
    )


def _fault_of_this_machine(error: OSError, cache: Path) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"no further file can be opened ({error.strerror}); `ulimit -n` tells how many a process may open"
    filename = error.filename2 or error.filename
    if not isinstance(filename, str | bytes) or Path(os.fsdecode(filename)).is_relative_to(cache):  # writing names none
        return f"cannot write to the cache {cache} ({error.strerror}); set HF_HOME or cache_dir to another folder"
    return f"{error.filename} cannot be used ({error.strerror}); check HF_TOKEN_PATH, HF_HOME and TMPDIR"


def _named(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"


def download_command(model: str, revision: str | None) -> str:
    """The command that downloads a model's files at a revision.

    >>> download_command("gpt2", "main"), download_command("gpt2", "refs/pr/1")
    ('`minigpt2 download gpt2`', '`minigpt2 download gpt2 --revision refs/pr/1`')
    """
    option = [] if revision in (None, "main") else ["--revision", revision]
    return f"`{' '.join(map(quoted, ['minigpt2', 'download', model, *option]))}`"


def update_command(model: str, revision: str | None) -> str:
    """The command that gets files added later: at the same branch, or at `main` for a commit, which never changes."""
    return download_command(model, None if revision and COMMIT.fullmatch(revision) else revision)


def missing(model: str, filename: str, revision: str, commit: str) -> MissingFileError:
    """The error that a model has no such file at that revision, which is this commit."""
    error = MissingFileError(
        f"{model} has no file {filename} (revision {revision}); "
        f"if it was added recently, {update_command(model, revision)} gets the newest"
    )
    error.commit = commit
    return error


def advice(status: int) -> str:
    """The way out for an answer with this HTTP status."""
    if status in (401, 403):
        return "set HF_TOKEN to a token that may read the model, or unset it if it has expired"
    if status == 429:
        return "too many requests: wait a few minutes, or set HF_TOKEN, which allows more"
    if status >= 500:
        return "the server has a problem: try again later"
    return "check the model's name and HF_ENDPOINT"
