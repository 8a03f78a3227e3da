"""A small hub on loopback: as much of one as huggingface_hub asks for, with faults that a test switches on by file.

Like the real one it redirects a small file to a relative address, a large one (in Git LFS) to a storage host, and a
renamed model to its new name; it names the commit and the file's hash in its headers and a missing thing in
`X-Error-Code`. `HF_ENDPOINT` must hold `Hub.url` before huggingface_hub is imported: its clients are new processes, or
calls within `tests.hub_settings.imported_with`.
"""

import hashlib
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from threading import Event, Thread
from typing import Any, Final, Self
from urllib.parse import quote, unquote, urlsplit

# What the tests expect of huggingface_hub itself is what 2.x does; reading by ranges needs 1.0.
_MAJOR = int(version("huggingface_hub").partition(".")[0])
BEFORE_1: Final = _MAJOR < 1
BEFORE_2: Final = _MAJOR < 2


class Fault(Enum):
    """A fault with a file. A plain number is a status to answer instead."""

    HANG = auto()  # the question is taken and never answered
    LOGIN_PAGE = auto()  # a friendly page of another kind, as a captive portal shows
    ESCAPING_HASH = auto()  # a hash that is a path out of the cache
    GATED = auto()  # access on request only
    DROP = auto()  # each connection ends where the content should begin
    DROP_ONCE = auto()  # the first one ends in the middle of it
    TRUNCATE = auto()  # half of the content, announced as if it were all
    CORRUPT = auto()  # one bit is not as it was
    STALL = auto()  # the content is announced and never comes
    HOLD = auto()  # the content comes when the test calls `release`
    # And with a part of the content that is asked for by its range:
    WHOLE = auto()  # all of it is sent instead, with a 200
    WHOLE_AS_PART = auto()  # all of it is sent instead, as if it were the part
    ANOTHER_PART = auto()  # the part after it is sent, and honestly called that
    LONGER_PART = auto()  # more is sent than was asked for, in an answer of no announced length
    NO_LENGTH = auto()  # the answer's length is not announced: its end is the connection's
    CHUNKED = auto()  # nor here, where it comes in chunks
    GZIP = auto()  # it is compressed although the request did not ask for that
    NO_RANGE = auto()  # it comes without saying which part it is
    ANOTHER_SIZE = auto()  # it is called a part of a larger file
    CHANGED = auto()  # it is of a content with another hash than before
    RENAMED = auto()  # each answer names its content by another tag, none of them a hash
    ELSEWHERE = auto()  # the storage sends the client on to another server
    SLOW = auto()  # it comes byte by byte, about 50 a second


@dataclass
class File:
    content: bytes
    large: bool

    @cached_property
    def hash(self) -> str:
        if self.large:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass
class Request:
    method: str
    path: str
    at_storage: bool
    token: str | None
    range: str | None
    sent_bytes: int = 0


@dataclass
class Hub:
    """The server: models by name and commit, faults by file name, and everything that it was asked.

    `statuses` are answers (status and headers) that are given to the next requests for a file's content instead of it,
    `storage_tags` the ETags that it gives to files where that is not the quoted hash. `withheld` are headers that the
    answer to a question for a missing file lacks, as those of mirrors do.
    """

    commits: dict[str, dict[str, dict[str, File]]] = field(default_factory=dict)
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Fault | int] = field(default_factory=dict)
    statuses: dict[str, Iterator[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    storage_tags: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.closing = Event()
        self.released = Event()
        self._hub = _Server(self, at_storage=False)
        self._storage = _Server(self, at_storage=True)
        self.url = f"http://127.0.0.1:{self._hub.server_port}"
        self.storage_url = f"http://localhost:{self._storage.server_port}"

    def __enter__(self) -> Self:
        for server in (self._hub, self._storage):
            Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.closing.set()
        self.released.set()
        for server in (self._hub, self._storage):
            server.shutdown()
            server.server_close()

    def publish(self, model: str, files: Mapping[str, bytes], *, branch: str = "main") -> str:
        """Commit `files` (all that the model has from now on) to a branch or pull request; the commit."""
        commit_files = {name: File(content, name.endswith(".safetensors")) for name, content in files.items()}
        history = self.commits.setdefault(model, {})
        names = json.dumps([model, len(history), {name: file.hash for name, file in commit_files.items()}])
        commit = hashlib.sha1(names.encode()).hexdigest()
        history[commit] = commit_files
        self.branches.setdefault(model, {})[branch] = commit
        return commit

    def release(self) -> None:
        self.released.set()

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.requests)

    @property
    def sent_bytes(self) -> int:
        return sum(request.sent_bytes for request in self.requests)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, hub: Hub, *, at_storage: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.at_storage = at_storage

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # clients may go away
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        hub = self.server.hub
        headers = self.headers
        path = unquote(urlsplit(self.path).path)
        self.asked = Request(
            self.command, path, self.server.at_storage, headers.get("Authorization"), headers.get("Range")
        )
        hub.requests.append(self.asked)
        if self.server.at_storage:
            _, commit, model, filename = path.split("/", 3)
            model = model.replace("--", "/")
            instead = next(hub.statuses.get(filename, iter(())), None)
            if instead:
                self._send(*instead, b"")
            else:
                self._send_file(hub.commits[model][commit][filename], filename)
        elif match := re.fullmatch(r"/api/resolve-cache/models/(.+)/([0-9a-f]{40})/([^/]+)", path):
            model, commit, filename = match.groups()
            if instead := next(hub.statuses.get(filename, iter(())), None):
                self._send(*instead, b"")
                return
            self._send_file(hub.commits[model][commit][filename], filename, {"X-Repo-Commit": commit})
        elif match := re.fullmatch(r"/api/models/(.+)/refs", path):
            self._list_branches(match[1])
        elif match := re.fullmatch(r"/api/models/(.+)/(revision|tree)/([^/]+)", path):
            self._describe(*match.groups())
        elif match := re.fullmatch(r"/(.+)/resolve/(.+)/([^/]+)", path):
            self._resolve(*match.groups())
        else:
            self._send(404, {}, b"")

    def _describe(self, model: str, what: str, revision: str) -> None:
        """Answer `snapshot_download`, which first asks for the names of several files, or their sizes and hashes."""
        hub = self.server.hub
        commit = hub.branches.get(model, {}).get(revision, revision)
        files = hub.commits.get(model, {}).get(commit)
        if files is None:
            self._send(404, {"X-Error-Code": "RepoNotFound"}, b"")
            return
        listed: object = [
            {"type": "file", "path": name, "size": len(file.content), "oid": file.hash} for name, file in files.items()
        ]
        if what == "revision":
            listed = {"id": model, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
        self._send(200, {"Content-Type": "application/json"}, json.dumps(listed).encode())

    def _list_branches(self, model: str) -> None:
        refs = [
            {"name": name, "ref": name if name.startswith("refs/") else f"refs/heads/{name}", "targetCommit": commit}
            for name, commit in self.server.hub.branches[model].items()
        ]
        pulls = [each for each in refs if each["ref"].startswith("refs/pr/")]
        branches = [each for each in refs if each not in pulls]
        answer = {"branches": branches, "converts": [], "tags": [], "pullRequests": pulls}
        self._send(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _resolve(self, model: str, revision: str, filename: str) -> None:
        hub = self.server.hub
        commits = hub.commits.get(model, {})
        commit = hub.branches.get(model, {}).get(revision, revision)
        fault = hub.faults.get(filename)
        if model in hub.renamed:
            self._send(307, {"Location": f"/{hub.renamed[model]}/resolve/{revision}/{filename}"}, b"")
        elif fault is Fault.HANG:
            hub.closing.wait()
            self.close_connection = True
        elif isinstance(fault, int):
            self._send(fault, {"Retry-After": "3600"}, b"")
        elif fault is Fault.GATED:
            self._send(403, {"X-Error-Code": "GatedRepo"}, b"")
        elif fault is Fault.LOGIN_PAGE:
            self._send(200, {"Content-Type": "text/html", "ETag": '"welcome"'}, b"<html>Welcome to the airport</html>")
        elif model not in hub.commits:
            self._send(401, {"X-Error-Code": "RepoNotFound"}, b"")
        elif commit not in commits:
            self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"")
        elif filename not in commits[commit]:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            self._send(404, {name: value for name, value in headers.items() if name not in hub.withheld}, b"")
        else:
            self._redirect(model, commit, filename, commits[commit][filename])

    def _redirect(self, model: str, commit: str, filename: str, file: File) -> None:
        hub = self.server.hub
        file_hash = "../../../escaped" if hub.faults.get(filename) is Fault.ESCAPING_HASH else file.hash
        headers = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{file_hash}"', "X-Linked-Size": str(len(file.content))}
        if file.large:
            location = f"{hub.storage_url}/{commit}/{model.replace('/', '--')}/{quote(filename)}"
            self._send(302, headers | {"Location": location}, b"")
        else:
            self._send(307, headers | {"Location": f"/api/resolve-cache/models/{model}/{commit}/{filename}"}, b"")

    def _send_file(self, file: File, filename: str, headers: Mapping[str, str] = {}) -> None:
        hub = self.server.hub
        content, headers = file.content, {"ETag": hub.storage_tags.get(filename, f'"{file.hash}"'), **headers}
        fault = hub.faults.get(filename)
        if self.command == "HEAD":
            if fault is Fault.ESCAPING_HASH:
                headers["ETag"] = '"../../../escaped"'
            self._send(200, headers, content)
            return
        if fault is Fault.CORRUPT:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault is Fault.TRUNCATE:
            content = content[: len(content) // 2]
        if fault is Fault.HOLD:
            hub.released.wait()
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.asked.range or ""):
            start, stop = int(match[1]), min(int(match[2] or len(content)) + 1, len(content))
            self._send_part(content, start, stop, headers, fault)
            return
        arrives = len(content)
        if fault in (Fault.DROP, Fault.STALL, Fault.DROP_ONCE):
            arrives = len(content) // 2 if fault is Fault.DROP_ONCE else 0
        self._send(200, headers, content, arrives)
        if fault is Fault.STALL:
            hub.closing.wait()
        if fault is Fault.DROP_ONCE:
            del hub.faults[filename]

    def _send_part(
        self, content: bytes, start: int, stop: int, headers: dict[str, str], fault: Fault | int | None
    ) -> None:
        if fault is Fault.ANOTHER_PART:
            start, stop = stop, 2 * stop - start
        size = len(content) + (fault is Fault.ANOTHER_SIZE)
        part, arrives = content[start:stop], stop - start
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if fault is Fault.WHOLE:
            del headers["Content-Range"]
            self._send(200, headers, content)
            return
        if fault is Fault.NO_RANGE:
            del headers["Content-Range"]
        if fault is Fault.CHANGED:
            headers["ETag"] = f'"{hashlib.sha256(b"something else").hexdigest()}"'
        if fault is Fault.RENAMED:
            headers["ETag"] = f'"version-{len(self.server.hub.requests)}"'
        if fault is Fault.GZIP:
            part = zlib.compress(part, wbits=31)
            arrives, headers["Content-Encoding"] = len(part), "gzip"
        if fault is Fault.ELSEWHERE:
            self._send(302, {"Location": f"http://127.0.0.2:9/{headers['ETag']}"}, b"")
            return
        if fault in (Fault.WHOLE_AS_PART, Fault.LONGER_PART):
            part = content if fault is Fault.WHOLE_AS_PART else content[start : stop + 10]
        if fault in (Fault.NO_LENGTH, Fault.LONGER_PART, Fault.CHUNKED, Fault.SLOW):
            self._send_unannounced(headers, part, fault)
            return
        if fault in (Fault.DROP, Fault.STALL, Fault.DROP_ONCE):
            arrives = len(part) // 2 if fault is Fault.DROP_ONCE else 0
        self._send(206, headers, part, len(part) if fault is Fault.WHOLE_AS_PART else arrives)
        if fault is Fault.STALL:
            self.server.hub.closing.wait()
        if fault is Fault.DROP_ONCE:
            self.server.hub.faults.clear()

    def _send_unannounced(self, headers: Mapping[str, str], part: bytes, fault: Fault | int | None) -> None:
        self.send_response(206)
        chunked = {"Transfer-Encoding": "chunked"} if fault is Fault.CHUNKED else {"Connection": "close"}
        for name, value in {**headers, **chunked}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        if fault is Fault.CHUNKED:
            self.wfile.write(b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in (part[:1], part[1:]) if half))
            self.wfile.write(b"0\r\n\r\n")
        elif fault is Fault.SLOW:
            for offset in range(len(part)):
                self.wfile.write(part[offset : offset + 1])
                if self.server.hub.closing.wait(0.02):
                    return
        else:
            self.wfile.write(part)
        self.asked.sent_bytes = len(part)

    def _send(self, status: int, headers: Mapping[str, str], content: bytes, arrives: int | None = None) -> None:
        """Answer with `content`, or announce all of it and send its first bytes alone."""
        self.send_response(status)
        for name, value in {**headers, **self.server.hub.headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.asked.sent_bytes = self.wfile.write(content[:arrives])
            self.close_connection = self.asked.sent_bytes < len(content)
