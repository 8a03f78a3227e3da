"""Files of data sets on the Hugging Face hub, found and read through huggingface_hub's own file system.

A name is pinned to the commit that its revision has when it is found: later commits change nothing.
"""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import has_magic
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.hub.answers import ANSWER_SECONDS, prepare_client, quiet
from minigpt2.hub.cache import import_huggingface_hub
from minigpt2.hub.errors import HubError, RefusedError, named, of_a_server, offline_reason
from minigpt2.shell import quoted

_PROTOCOL = "hf://"
_NAME = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@((?:refs/(?:convert|pr)/)?[^/]+))?(?:/(.*))?", re.DOTALL)

#: The bytes that are asked for at a time: a request costs as much as megabytes do.
BLOCK = 16 << 20


def is_hub_name(name: str) -> bool:
    """Whether a name is one on the hub."""
    return name.startswith(_PROTOCOL)


def find(name: str, commits: dict[tuple[str, str], str]) -> list[tuple[str, int]]:
    """The files that a file, a directory or a glob on the hub stands for, each pinned to a commit, with their sizes.

    `commits` has the commit of each data set and revision that was asked for, so that several names have the same one.

    Raises:
        FileNotFoundError: there is no such file.
        HubError: the hub cannot be asked, or has no such data set.
        ValueError: the name is not of the form `hf://datasets/OWNER/NAME/PATH`.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError(f"{name} is not a data set on the hub: write hf://datasets/OWNER/NAME[@REVISION]/PATH")
    repository, revision, path = match.groups(default="")
    import_huggingface_hub()
    with _hub_errors(name):
        with FORK_WAITS, ordered_hooks():
            from huggingface_hub import HfApi, HfFileSystem

        asked = repository, revision.replace("%2F", "/") or "main"
        if asked not in commits:
            commits[asked] = str(HfApi().dataset_info(asked[0], revision=asked[1], timeout=ANSWER_SECONDS).sha)
        commit = commits[asked]
        pinned = f"datasets/{repository}@{commit}/{path}".rstrip("/")
        files: Any = HfFileSystem()
        is_glob = has_magic(path) and not files.exists(pinned)
        found: dict[str, Any] = {}
        with suppress(FileNotFoundError):  # raised before huggingface_hub 2.0
            found = (files.glob if is_glob else files.find)(pinned, detail=True)
            # Before huggingface_hub 2.0 nothing is known of a single file.
            found = {each: detail or files.info(each) for each, detail in found.items()}
        found = {each: detail for each, detail in found.items() if detail["type"] == "file"}
        if odd := [each for each, detail in found.items() if not _is_a_size(detail["size"])]:
            raise ValueError(f"the hub says that {odd[0]!r} has {found[odd[0]]['size']!r} bytes")
    spelled_out = re.split(r"/[^/]*[*?[]", pinned, maxsplit=1)[0] if is_glob else pinned
    sizes = {
        _PROTOCOL + each: detail["size"] for each, detail in found.items() if "/." not in each.removeprefix(spelled_out)
    }
    if not sizes:
        raise FileNotFoundError(errno.ENOENT, "this data set has no such file", name)
    return sorted(sizes.items(), key=lambda item: PurePosixPath(item[0]).parts)


def _is_a_size(size: object) -> bool:
    return isinstance(size, int) and size >= 0


def download_command(name: str) -> str:
    """The command that downloads a file of a pinned name and prints where it is.

    >>> download_command("hf://datasets/owner/name@0123/a.txt")
    'hf download --quiet --repo-type dataset --revision 0123 -- owner/name a.txt'
    """
    repository, revision, path = _NAME.fullmatch(name).groups(default="")  # type: ignore[union-attr]
    options = f"--quiet --repo-type dataset --revision {quoted(revision)}"
    return f"hf download {options} -- {quoted(repository)} {quoted(path)}"


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open a file of a pinned name.

    Raises:
        HubError: it cannot be read.
    """
    import_huggingface_hub()
    with _hub_errors(name):
        with FORK_WAITS, ordered_hooks():
            from huggingface_hub import HfFileSystem

        file = HfFileSystem().open(name, "rb", block_size=BLOCK)
    with file:
        file.cache.fetcher = _exactly(name, file.cache.fetcher)
        yield cast(BinaryIO, file)


def _exactly(name: str, fetch: Callable[[int, int], bytes]) -> Callable[[int, int], bytes]:
    """Refuse an answer of another length: a server that ignores the range sends the whole file."""

    def checked(start: int, end: int) -> bytes:
        with _hub_errors(name):
            data = fetch(start, end)
            if len(data) != end - start:
                raise ValueError(f"{len(data):,} bytes came instead of {end - start:,}")
            return data

    return checked


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    try:
        prepare_client()
        with quiet():
            yield
    except RefusedError as error:
        raise HubError(f"{name} cannot be read: {error}") from error
    except Exception as error:  # huggingface_hub's have no common root
        raise HubError(f"{name} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if type(error).__name__ == "OfflineModeIsEnabled":
        return offline_reason()
    way_out = "check the name, the network and HF_ENDPOINT, and for a private data set HF_TOKEN"
    return of_a_server(error) or f"{named(error)}; {way_out}"
