"""The session that asks the hub, and the first question to it."""

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
from minigpt2.hub.errors import (
    COMMIT,
    HubError,
    RefusedError,
    UnreachableError,
    endpoint,
    missing,
    named,
    reason,
    says_unreachable,
)

_Result = TypeVar("_Result")

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Asked for once: Python holds a lock meanwhile, which Ctrl-C can leave held.
_LOGGER = logging.getLogger("huggingface_hub")
# It says every 10 seconds that another process has a file's lock, as information, which is not shown by default.
_LOGGER_OF_LOCKS = logging.getLogger("huggingface_hub.utils._fixes")
_WAITS = ("Rate limited. Waiting", "Still waiting to acquire lock")
_CONNECTION_SECONDS = 3
_FIRST_NAME_SECONDS = 1.0
ANSWER_SECONDS: Final = 8.0
LONGEST_WAIT: Final = 8.0  # seconds that a busy server may ask us to wait
_MOST_SECONDS = 1e6  # of a timeout; some of those who wait cannot wait for much longer
_OF_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_OF_ADDRESSES = ("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")  # those of proxies in small letters too


@dataclass(frozen=True)
class Published:
    """The hub's facts about a file: its commit, the hash of its content, its size in bytes, and its URL.

    The hash is the SHA-256 of a file in Git LFS, and the SHA-1 of the git blob of any other; a mirror may name the
    SHA-1 of the content. A storage of the Xet kind may name the content by another hash.
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
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(model, filename, revision=revision)
    answer = _metadata(url, timeout, min(timeout, _CONNECTION_SECONDS))
    commit, file_hash = answer.commit_hash or "", answer.etag or ""
    if not COMMIT.fullmatch(commit) or not _HASH.fullmatch(file_hash):
        raise RefusedError(
            f"{endpoint()} did not answer as a hub does (commit {commit!r}, hash {file_hash!r}); "
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
        kind = UnreachableError if says_unreachable(error) else HubError
        why = reason(error, model, cache)
        failure = kind(f"{model}: {filename} (revision {revision}) could not be downloaded: {why}")
        failure.status = getattr(response, "status_code", None)
        raise failure from error


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

            _require_an_address(constants.ENDPOINT)
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
            raise RefusedError(f"no connection can be set up ({named(error)}); check {', '.join(names)}") from error
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        if not 0 < (seconds := getattr(constants, name)) <= _MOST_SECONDS:
            raise RefusedError(f"{name} is {seconds}; set it to a number of seconds, or unset it")


def _require_an_address(url: str) -> None:
    """Raise ValueError if HF_ENDPOINT is not an address; some versions of huggingface_hub find out later."""
    parts = urlsplit(url)
    if (
        url != url.strip() or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    ):  # asking for the port checks it
        raise ValueError(f"{url!r} is not an address, such as https://huggingface.co")


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
    """Keep huggingface_hub's warnings off stderr, unless the user raised its verbosity.

    What it says of long waits is shown.
    """
    handlers = list(_LOGGER.handlers)

    def is_wanted(record: logging.LogRecord) -> bool:
        is_urgent = record.levelno > logging.WARNING or record.getMessage().startswith(_WAITS)
        return is_urgent or _LOGGER.level < logging.WARNING

    for handler in handlers:
        handler.addFilter(is_wanted)
    if _LOGGER.level <= logging.WARNING:  # otherwise the user has asked for silence
        _LOGGER_OF_LOCKS.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LOGGER_OF_LOCKS.setLevel(logging.NOTSET)
        for handler in handlers:
            handler.removeFilter(is_wanted)
