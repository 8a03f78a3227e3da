"""The page with a live box for text, served on this machine to this machine alone."""

import errno
import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any, Final

from minigpt2.explain.page import page, payload
from minigpt2.explain.rows import RowReader
from minigpt2.explain.trace import trace_text
from minigpt2.tokenizer import Tokenizer
from minigpt2.weights.checkpoint import Checkpoint

HOST: Final = "127.0.0.1"
MOST_BYTES: Final = 1 << 20  # of a request's body

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",
}


class ExplainServer(ThreadingHTTPServer):
    """Serves the live page at `/`, and at `/explain` what the page asks: a text as JSON in, its trace out.

    It listens on 127.0.0.1, and answers only those who call it so: a page of another site, or another name that leads
    here (DNS rebinding), is refused.

    Raises:
        OSError: the port is taken, or not to be had.
    """

    daemon_threads = True

    def __init__(
        self,
        port: int,
        tokenizer: Tokenizer,
        weights: Checkpoint | None = None,
        text: str = "",
    ) -> None:
        self._tokenizer = tokenizer
        self._reader = None if weights is None else RowReader(tokenizer, weights)
        self._one_at_a_time = Lock()
        self._text = text
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise OSError(_why_not(port, error)) from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def own_names(self) -> set[str]:
        """What a request may call this server."""
        names = {f"{host}:{self.server_port}" for host in (HOST, "localhost")}
        return names | {HOST, "localhost"} if self.server_port == 80 else names

    def page(self) -> str:
        """The live page, with the text that the server was started with."""
        with self._one_at_a_time:
            return page(trace_text(self._tokenizer, self._text, self._reader), live=True)

    def explain(self, text: str) -> dict[str, Any]:
        """What the page draws of a text."""
        with self._one_at_a_time:
            return payload(trace_text(self._tokenizer, text, self._reader))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone before its answer came; all else is a fault of ours, and shows."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ExplainServer
    timeout = 10  # seconds for a request to come in
    server_version = "minigpt2"
    sys_version = ""

    def do_GET(self) -> None:
        if self._refused():
            return
        if self.path != "/":
            self._answer_error(HTTPStatus.NOT_FOUND, "there is only the page at /")
            return
        self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page())

    def do_POST(self) -> None:
        if self._refused():
            return
        if self.path != "/explain":
            self._answer_error(HTTPStatus.NOT_FOUND, "texts go to /explain")
            return
        try:
            text = self._text()
            answer = self.server.explain(text)
        except _RequestError as error:
            self._answer_error(error.status, str(error))
        except ValueError as error:
            self._answer_error(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._answer(HTTPStatus.OK, "application/json", json.dumps(answer))

    def _refused(self) -> bool:
        """Whether the request came under a foreign name or from a foreign page; if so, it has been answered."""
        names = self.server.own_names()
        origin = self.headers.get("Origin")
        if self.headers.get("Host", "").lower() not in names:
            self._answer_error(HTTPStatus.FORBIDDEN, f"this server is {self.server.url} and answers to no other name")
        elif origin is not None and origin.lower() not in {f"http://{name}" for name in names}:
            self._answer_error(HTTPStatus.FORBIDDEN, "this server answers its own page alone")
        else:
            return False
        return True

    def _text(self) -> str:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _RequestError(HTTPStatus.LENGTH_REQUIRED, "a request needs a Content-Length")
        if len(length) > 18 or int(length) > MOST_BYTES:
            self._discard(int(length[:18]))
            raise _RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a text may have {MOST_BYTES:,} bytes at most")
        # Other sites' pages cannot send this type without asking first, which is refused like everything of theirs.
        if self.headers.get_content_type() != "application/json":
            raise _RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, 'expected JSON: {"text": "..."}')
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _RequestError(HTTPStatus.BAD_REQUEST, "the request's body is no JSON") from None
        if not isinstance(body, dict) or not isinstance(body.get("text"), str):
            raise _RequestError(HTTPStatus.BAD_REQUEST, 'expected {"text": "..."}')
        return str(body["text"])

    def _discard(self, length: int) -> None:
        """Read what is too long, within reason: a connection closed on it would take the answer along."""
        for _ in range(min(length, 32 * MOST_BYTES) // MOST_BYTES + 1):
            if not self.rfile.read(min(length, MOST_BYTES)):
                break
            length -= MOST_BYTES

    def _answer_error(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True  # what may still come of its body is no request
        self._answer(status, "application/json", json.dumps({"error": message}))

    def _answer(self, status: HTTPStatus, content_type: str, content: str) -> None:
        data = content.encode("utf-8")
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(data)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Log nothing: what people type is theirs."""


class _RequestError(ValueError):
    """A request that is refused, and with which status."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def _why_not(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: give another with --port, or 0 for any that is free"
    return f"port {port} is not to be had: {error.strerror}"
