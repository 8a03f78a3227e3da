"""The hub's failures in plain words: what happened, and what to do.

The errors of `huggingface_hub` have no common base class. Each of them becomes a `HubError`.
"""

import errno
import os
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from minigpt2.shell import quoted

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
# The errors without an answer, of all HTTP clients that versions of huggingface_hub use.
_UNREACHABLE = {"ConnectError", "ConnectTimeout", "ConnectTimeoutError", "NameResolutionError", "NewConnectionError"}
_UNREACHABLE |= {"OfflineModeIsEnabled"}
_QUERY = re.compile(r"(?<=[\w/])\?[\w%-]+=[^\s'\")]*")
_PORTS = {"http": 80, "https": 443}


class HubError(OSError):
    """A file is neither in the cache nor to be downloaded; the message says why and what to do.

    `status` is that of the hub's answer, such as 429, if it gave one.
    """

    status: int | None = None


class MissingFileError(HubError):
    """The repository exists at that revision and has no such file; `commit` is that of the revision, if it is known."""

    commit = ""


class UnreachableError(HubError):
    """The hub cannot be connected to, or is not asked because of HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""


class RefusedError(Exception):
    """The hub's answer was refused; the message says why and what to do."""


def says_unreachable(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that no connection came about."""
    is_unreachable = isinstance(error, TimeoutError)  # of `within`
    while error is not None and not is_unreachable:
        is_unreachable = type(error).__name__ in _UNREACHABLE
        error = error.__cause__ or error.__context__
    return is_unreachable


def reason(error: BaseException, model: str, cache: Path) -> str:
    """The fault and the way out, in one line."""
    from huggingface_hub import errors

    hub = endpoint()
    place = f"at {hub}" if Path(model).exists() else f"at {hub}, and no such directory here"
    if_private = "if it is private, set HF_TOKEN to a token that may read it"
    explanations = {
        RefusedError: str(error),
        errors.OfflineModeIsEnabled: offline_reason(),
        errors.GatedRepoError: f"access is granted on request at {hub}/{model}; ask there, then set HF_TOKEN",
        errors.RepositoryNotFoundError: f"no such model {place}: check its name; {if_private}",
        errors.RevisionNotFoundError: f"there is no such commit; `minigpt2 download {model}` gets the newest",
    }
    if isinstance(error, (errors.LocalEntryNotFoundError, ValueError)) and error.__cause__:
        error = error.__cause__  # it says what that means for the download; its cause says what the hub answered
    for kind, explanation in explanations.items():
        if isinstance(error, kind):
            return explanation
    response = getattr(error, "response", None)
    if response is not None and response.status_code:  # also of the HTTP client's own errors
        return answered(response)
    if isinstance(error, OSError) and error.errno:
        return _fault_of_this_machine(error, cache)
    if isinstance(error, UnicodeError):
        return f"what would be sent is not ASCII ({error}); check HF_ENDPOINT, HF_TOKEN and the file of the token"
    return _unanswered(error, _asked(error) or endpoint())


def offline_reason() -> str:
    """Why the hub is not asked, by the variable that is set."""
    offline = next(filter(os.environ.get, ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")), "HF_HUB_OFFLINE")
    return f"{offline} is set; unset it to ask the hub"


def of_a_server(error: BaseException) -> str | None:
    """The failure and its server, in words; None if the hub itself answered, or if the server is not known."""
    response = getattr(error, "response", None)
    if response is not None and response.status_code:
        return answered(response) if origin(str(response.url)) != origin(endpoint()) else None
    server = _asked(error)
    return _unanswered(error, server) if server else None


def _asked(error: BaseException) -> str | None:
    """The server that an error without an answer is about: the hub, or a storage that it redirects to."""
    try:
        return server_of(str(error.request.url))  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError, ValueError):  # no request is known (httpx raises), or it has no address
        return None


def _unanswered(error: BaseException, server: str) -> str:
    return f"asking {server} failed ({named(error)}); {_way_around(error, server)}"


def _way_around(error: BaseException, server: str) -> str:
    if re.search(r"\b407\b", str(error)):
        return _way_through_a_proxy(server)
    if "certificate" in str(error).lower():  # the network's own proxy reads along
        return (
            "if your network has a certificate of its own, set SSL_CERT_FILE to its file "
            "(before huggingface_hub 1.0, REQUESTS_CA_BUNDLE), or name a directory that holds the files"
        )
    return "check the network, the proxy and HF_ENDPOINT, or name a directory that holds the files"


def _way_through_a_proxy(url: str) -> str:
    variable = f"{origin(url)[0].upper()}_PROXY"
    return f"the proxy wants a name and a password: {variable} can give them, as in http://name:password@proxy:8080"


def _fault_of_this_machine(error: OSError, cache: Path) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"no further file can be opened ({error.strerror}); `ulimit -n` tells how many a process may open"
    filename = error.filename2 or error.filename
    if not isinstance(filename, str | bytes) or Path(os.fsdecode(filename)).is_relative_to(cache):  # writing names none
        return f"cannot write to the cache {cache} ({error.strerror}); set HF_HOME or cache_dir to another folder"
    return f"{error.filename} cannot be used ({error.strerror}); check HF_TOKEN_PATH, HF_HOME and TMPDIR"


def named(error: BaseException) -> str:
    """The kind of an error and the first line of its message, without what follows `?` in an address: a signature."""
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {_QUERY.sub('?...', first_line)}"


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


def answered(response: Any) -> str:
    """The status that the hub or a storage answered, and what to do about it."""
    url, status = str(response.url), response.status_code
    way_out = _way_through_a_proxy(url) if status == 407 else _advice(status, origin(url) == origin(endpoint()))
    return f"{server_of(url)} answered {status}; {way_out}"


def _advice(status: int, is_of_hub: bool) -> str:
    if status in (401, 403) and is_of_hub:
        return "set HF_TOKEN to a token that may read the model, or unset it if it has expired"
    if status == 429:
        return "too many requests: wait a few minutes, or set HF_TOKEN, which allows more"
    if status >= 500:
        return "the server has a problem: try again later"
    if is_of_hub:
        return "check the model's name and HF_ENDPOINT"
    return "check the network, the proxy and this machine's clock, or name a directory that holds the files"


def endpoint() -> str:
    """The hub's address, without a password."""
    from huggingface_hub import constants

    try:
        parts = urlsplit(constants.ENDPOINT)
    except ValueError:  # not an address
        return constants.ENDPOINT
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def origin(url: str) -> tuple[str, str, int]:
    """The scheme, host and port of a URL.

    >>> origin("https://name:password@hub.example/models")
    ('https', 'hub.example', 443)
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def server_of(url: str) -> str:
    """The server of a URL, without the rest, which may hold secrets.

    >>> server_of("https://name:password@hub.example:443/models"), server_of("http://[::1]:8000/?token=1")
    ('https://hub.example', 'http://[::1]:8000')
    """
    scheme, host, port = origin(url)
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" + (f":{port}" if port != _PORTS.get(scheme) else "")
