"""A hub on loopback with one data set, as `HfFileSystem` asks for it: commits, trees, and files by their ranges."""

import hashlib
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

NAME = "owner/name"


class DataSetHub(ThreadingHTTPServer):
    """The server. `ignores_ranges` makes it answer with the whole file; `ranges` are those that were asked for."""

    def __init__(self) -> None:
        self.commits: dict[str, Mapping[str, bytes]] = {}
        self.ranges: list[str] = []
        self.ignores_ranges = False
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def commit(self, files: Mapping[str, bytes]) -> str:
        """Make these files the newest commit, and return its name."""
        name = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[name] = files
        return name

    def files(self, revision: str | None) -> tuple[str, Mapping[str, bytes]] | None:
        """A revision's commit and files."""
        name = [*self.commits][-1] if revision in (None, "main") else revision
        return (name, self.commits[name]) if name in self.commits else None


class _Handler(BaseHTTPRequestHandler):
    server: DataSetHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        pattern = rf"(/api)?/datasets/{NAME}(?:/(revision|tree|paths-info|resolve)/([^/]+)/?(.*))?"
        match = re.fullmatch(pattern, unquote(urlsplit(self.path).path), re.DOTALL)
        found = match and self.server.files(match[3])
        if not match or not found:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound" if match else "RepoNotFound"})
            return
        commit, files = found
        if match[2] == "resolve":
            self._send_file(commit, files[match[4]])
        elif match[2] == "tree":
            tree = self._tree(files, match[4])
            if tree or not match[4]:
                self._send_json(tree)
            else:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif match[2] == "paths-info":
            asked = parse_qs(body.decode())["paths"]
            self._send_json([_entry(path, data) for path, data in files.items() if path in asked])
        else:
            self._send_json({"id": NAME, "sha": commit, "siblings": []})

    def _tree(self, files: Mapping[str, bytes], directory: str) -> list[dict[str, object]]:
        below = {path: data for path, data in files.items() if path.startswith(f"{directory}/" if directory else "")}
        parents = {path.rsplit("/", depth)[0] for path in below for depth in range(1, 1 + path.count("/"))}
        folders: list[dict[str, object]] = [
            {"type": "directory", "path": path, "oid": "0" * 40} for path in parents - {directory}
        ]
        entries = folders + [_entry(path, data) for path, data in below.items()]
        if "recursive=true" in self.path.lower():
            return entries
        depth = directory.count("/") + bool(directory)
        return [entry for entry in entries if str(entry["path"]).count("/") == depth]

    def _send_file(self, commit: str, data: bytes) -> None:
        described = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked or self.server.ignores_ranges:
            self._send(200, data, described)
            return
        self.server.ranges.append(asked[0])
        start, last = int(asked[1]), int(asked[2])
        self._send(206, data[start : last + 1], {**described, "Content-Range": f"bytes {start}-{last}/{len(data)}"})

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _entry(path: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
