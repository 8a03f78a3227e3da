"""The page with a live text box, served to this machine only."""

import errno
import json
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock
from typing import Any, Final

from minigpt2.explain.page import page
from minigpt2.explain.payload import payload
from minigpt2.explain.trace import WeightsReader, trace_text
from minigpt2.tokenizer import Tokenizer
from minigpt2.weights.checkpoint import Checkpoint

HOST: Final = "127.0.0.1"
MOST_BYTES: Final = 1 << 20  # of a request's body
_WAITING: Final = 1024  # connections that the system keeps until a thread takes them; http.server's 5 drop a burst
_AT_ONCE: Final = 4  # texts in work, so that a short text does not wait for a long one

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",
}


class ExplainServer(ThreadingHTTPServer):
    """Serves the live page at `/`; `/explain` takes a text as JSON and answers with its trace.

    It listens on 127.0.0.1 and answers requests under that name only. Pages of other sites, and other host names that
    resolve to this machine (DNS rebinding), are refused.

    Raises:
        OSError: it cannot listen on the port.
    """

    daemon_threads = True
    request_queue_size = _WAITING

    def __init__(self, port: int, tokenizer: Tokenizer, weights: Checkpoint, text: str) -> None:
        self._tokenizer = tokenizer
        self._reader = WeightsReader(tokenizer, weights)
        self._in_work = BoundedSemaphore(_AT_ONCE)
        self._text = text
        self._page: str | None = None
        self._in_making = Lock()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise OSError(_why_not(port, error)) from error

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, or here where the machine lets no more start."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self.process_request_thread(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def own_names(self) -> set[str]:
        """The host names that a request may use for this server."""
        names = {f"{host}:{self.server_port}" for host in (HOST, "localhost")}
        return names | {HOST, "localhost"} if self.server_port == 80 else names

    def page(self) -> str:
        """The live page, with the text that the server was started with: made once, for it does not change."""
        with self._in_making:  # those who come before it is there wait for it
            if self._page is None:
                self._page = page(trace_text(self._tokenizer, self._text, self._reader), live=True)
            return self._page

    def explain(self, text: str) -> dict[str, Any]:
        """The data that the page draws for a text."""
        with self._in_work:
            return payload(trace_text(self._tokenizer, text, self._reader))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that left before its answer came; show every other error, which is a fault of ours."""
        is_closed = request.fileno() == -1  # by socketserver, which Ctrl-C met as it handed the request to a thread
        if not is_closed and not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ExplainServer
    timeout = 10  # seconds for a request to come in
    server_version = "minigpt2"
    sys_version = ""

    def do_GET(self) -> None:
        self._respond("/", "the only page is /", "text/html; charset=utf-8", self.server.page)

    def do_POST(self) -> None:
        def explained() -> str:
            return json.dumps(self.server.explain(self._text()))

        self._respond("/explain", "texts go to /explain", "application/json", explained)

    def _respond(self, path: str, elsewhere: str, content_type: str, content: Callable[[], str]) -> None:
        """Answer a request for this path with its content, or with the reason why not: `elsewhere` for another path."""
        try:
            self._refuse_foreign()
            if self.path != path:
                raise _RequestError(HTTPStatus.NOT_FOUND, elsewhere)
            answer = content()
        except ValueError as error:
            self.close_connection = True  # the rest of its body is not a request
            status = error.status if isinstance(error, _RequestError) else HTTPStatus.BAD_REQUEST
            self._answer(status, "application/json", json.dumps({"error": str(error)}))
        except (ConnectionError, TimeoutError):  # the browser has gone, or says nothing
            raise
        except MemoryError:
            reason = "this needs more memory than there is"
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "application/json", json.dumps({"error": reason}))
        except OSError as error:  # the model's files are gone, say
            reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "application/json", json.dumps({"error": reason}))
        else:
            self._answer(HTTPStatus.OK, content_type, answer)

    def _refuse_foreign(self) -> None:
        """Refuse a request that uses a foreign name for this server, or comes from a foreign page."""
        names = self.server.own_names()
        origin = self.headers.get("Origin")
        if self.headers.get("Host", "").lower() not in names:
            raise _RequestError(HTTPStatus.FORBIDDEN, f"this server is {self.server.url} and answers to that name only")
        if origin is not None and origin.lower() not in {f"http://{name}" for name in names}:
            raise _RequestError(HTTPStatus.FORBIDDEN, "this server answers its own page only")

    def _text(self) -> str:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _RequestError(HTTPStatus.LENGTH_REQUIRED, "a request needs a Content-Length")
        if len(length) > 18 or int(length) > MOST_BYTES:
            self._discard(int(length[:18]))
            raise _RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a text has at most {MOST_BYTES:,} bytes")
        # A page of another site can only send this type after a preflight request, which is refused.
        if self.headers.get_content_type() != "application/json":
            raise _RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, 'expected JSON: {"text": "..."}')
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _RequestError(HTTPStatus.BAD_REQUEST, "the request's body is not JSON") from None
        if not isinstance(body, dict) or not isinstance(body.get("text"), str):
            raise _RequestError(HTTPStatus.BAD_REQUEST, 'expected {"text": "..."}')
        return str(body["text"])

    def _discard(self, length: int) -> None:
        """Read a body that is too long, up to a limit: closing the connection on unread data would lose the answer."""
        for _ in range(min(length, 32 * MOST_BYTES) // MOST_BYTES + 1):
            if not self.rfile.read(min(length, MOST_BYTES)):
                break
            length -= MOST_BYTES

    def _answer(self, status: HTTPStatus, content_type: str, content: str) -> None:
        data = content.encode("utf-8")
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(data)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Log nothing: what people type is private."""


class _RequestError(ValueError):
    """A request that is refused, with its status."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def _why_not(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: give another with --port, or 0 for any that is free"
    return f"cannot listen on port {port}: {error.strerror}"
