"""`minigpt2 serve`: the live page on 127.0.0.1, for a browser on this machine only."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, NoReturn

import pytest

from minigpt2 import Checkpoint, Tokenizer
from minigpt2.explain import Trace, explain
from minigpt2.explain.payload import payload
from minigpt2.explain.server import HOST, MOST_BYTES, ExplainServer
from minigpt2.explain.trace import WeightsReader, trace_text
from tests.command import command, environment, one_line, run
from tests.serving import serving


@pytest.fixture(scope="module")
def server(weights: Checkpoint) -> Iterator[ExplainServer]:
    with ExplainServer(0, Tokenizer(), weights, "The meaning of <life>") as server, serving(server):
        yield server


def ask(
    server: ExplainServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, Any]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent.setdefault("Content-Type", "application/json")
    connection.request(method, path, body, sent)
    response: HTTPResponse = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content, response.headers


def test_the_page_is_served_live_with_its_text(server: ExplainServer) -> None:
    status, content, headers = ask(server, "GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b'<body class="live">' in content
    assert b"connect-src 'self'" in content
    assert b'"text":"The meaning of \\u003clife\\u003e"' in content
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_text_is_explained_as_the_library_explains_it(server: ExplainServer, weights: Checkpoint) -> None:
    text = "It's naïve 😀<|endoftext|>"
    status, content, _ = ask(server, "POST", "/explain", json.dumps({"text": text}).encode())
    expected = payload(explain(Tokenizer(), text, weights))
    assert (status, json.loads(content)) == (200, json.loads(json.dumps(expected)))


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file", "model.safetensors"), MemoryError()], ids=repr)
def test_a_text_that_cannot_be_explained_is_answered_with_the_reason(
    error: Exception, server: ExplainServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> NoReturn:
        raise error

    monkeypatch.setattr(server, "explain", fail)
    status, content, _ = ask(server, "POST", "/explain", b'{"text": "life"}')
    assert status == 500
    assert json.loads(content)["error"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/explain")])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}", ""]
)
def test_a_foreign_host_is_refused(host: str, method: str, path: str, server: ExplainServer) -> None:
    named = host.format(port=server.server_port)
    status, content, _ = ask(server, method, path, b'{"text": "secret"}', Host=named)
    assert status == 403
    assert "answers to that name only" in json.loads(content)["error"]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1", "http://127.0.0.1:1"]
)
def test_a_foreign_origin_is_refused(origin: str, server: ExplainServer) -> None:
    named = origin.format(port=server.server_port)
    status, content, headers = ask(server, "POST", "/explain", b'{"text": "secret"}', Origin=named)
    assert status == 403
    assert "its own page only" in json.loads(content)["error"]
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_its_own_names_and_origins_are_answered(name: str, server: ExplainServer) -> None:
    own = f"{name}:{server.server_port}"
    assert ask(server, "POST", "/explain", b'{"text": "x"}', Host=own, Origin=f"http://{own}")[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/explain"), ("GET", "/../"), ("GET", "/minigpt2"), ("GET", "/?x"), ("POST", "/")],
)
def test_there_is_nothing_else(method: str, path: str, server: ExplainServer) -> None:
    assert ask(server, method, path, b'{"text": "x"}' if method == "POST" else None)[0] == 404


def test_other_methods_are_not_answered(server: ExplainServer) -> None:
    assert {ask(server, method, "/")[0] for method in ("PUT", "DELETE", "OPTIONS", "HEAD")} == {501}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "expected"),
        (b'{"text": 5}', "expected"),
        (b"{}", "expected"),
        (b'{"text": "a\\ud800"}', "position 1"),
    ],
)
def test_what_is_no_text_is_a_bad_request(body: bytes, said: str, server: ExplainServer) -> None:
    status, content, _ = ask(server, "POST", "/explain", body)
    assert status == 400
    assert said in json.loads(content)["error"]


def test_a_text_that_is_too_long_is_refused(server: ExplainServer) -> None:
    body = json.dumps({"text": "a" * MOST_BYTES}).encode()
    status, content, _ = ask(server, "POST", "/explain", body)
    assert status == 413
    assert "at most 1,048,576 bytes" in json.loads(content)["error"]


def test_a_length_that_is_a_lie_is_refused(server: ExplainServer) -> None:
    for length, status in (("-1", 411), ("x", 411), ("9" * 30, 413)):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
            request = (
                f"POST /explain HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: {length}\r\n\r\n"
            )
            connection.sendall(request.encode())
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100).split()[1] == str(status).encode()


def test_a_form_of_another_site_cannot_send_a_text(server: ExplainServer) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(server, "POST", "/explain", b'{"text": "x"}', Content_Type=content_type)[0] == 415


def test_it_listens_on_this_machine_alone(server: ExplainServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_a_burst_of_connections_is_answered(server: ExplainServer) -> None:
    body = json.dumps({"text": "life"}).encode()
    request = (
        f"POST /explain HTTP/1.1\r\nHost: {server.url[7:-1]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with ExitStack() as stack:
        address = ("127.0.0.1", server.server_port)
        connections = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(200)]
        for connection in connections:
            connection.sendall(request.encode() + body)
        statuses = [connection.recv(12) for connection in connections]
    assert statuses == [b"HTTP/1.0 200"] * 200


def test_the_page_is_made_once_however_many_ask_for_it_first(
    weights: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def slow_trace(tokenizer: Tokenizer, text: str, reader: WeightsReader) -> Trace:
        made.append(text)
        time.sleep(0.1)  # so that all ask before it is made
        return trace_text(tokenizer, text, reader)

    monkeypatch.setattr("minigpt2.explain.server.trace_text", slow_trace)
    with ExplainServer(0, Tokenizer(), weights, "life") as server, serving(server), ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: ask(server, "GET", "/")[0], range(20)))
    assert (statuses, made) == ([200] * 20, ["life"])


def test_without_a_further_thread_connections_are_answered_one_by_one(
    server: ExplainServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def start(_: Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", start)
    assert [ask(server, "POST", "/explain", b'{"text": "life"}')[0] for _ in range(3)] == [200] * 3
    assert capfd.readouterr().err == ""


def test_connections_that_say_nothing_do_not_hold_up_the_others(server: ExplainServer) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.server_port), timeout=30))
        assert ask(server, "POST", "/explain", b'{"text": "life"}')[0] == 200


def test_a_short_text_does_not_wait_for_a_long_one(server: ExplainServer, monkeypatch: pytest.MonkeyPatch) -> None:
    long_may_end = Event()

    def trace_slowly(tokenizer: Tokenizer, text: str, reader: Any) -> Trace:
        assert text != "long" or long_may_end.wait(30)
        return trace_text(tokenizer, text, reader)

    monkeypatch.setattr("minigpt2.explain.server.trace_text", trace_slowly)
    waiting = Thread(target=ask, args=(server, "POST", "/explain", b'{"text": "long"}'))
    waiting.start()
    assert ask(server, "POST", "/explain", b'{"text": "short"}')[0] == 200
    assert waiting.is_alive()
    long_may_end.set()
    waiting.join()


def test_a_request_that_ctrl_c_cuts_off_as_its_thread_starts_prints_nothing(
    weights: Checkpoint, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    is_closed = Event()
    start, answer = ThreadingHTTPServer.process_request, ThreadingHTTPServer.finish_request

    def start_and_interrupt(*arguments: Any) -> NoReturn:
        start(*arguments)
        raise KeyboardInterrupt

    def answer_late(*arguments: Any) -> None:
        assert is_closed.wait(30)
        answer(*arguments)

    monkeypatch.setattr(ThreadingHTTPServer, "process_request", start_and_interrupt)
    monkeypatch.setattr(ThreadingHTTPServer, "finish_request", answer_late)
    with ExplainServer(0, Tokenizer(), weights, "") as server:
        server.daemon_threads = False  # closing it waits for them
        with socket.create_connection((HOST, server.server_port)), pytest.raises(KeyboardInterrupt):
            server.handle_request()
        is_closed.set()
    assert capfd.readouterr().err == ""


# ---- the command


def test_a_port_in_use_is_one_line(server: ExplainServer) -> None:
    finished = run("serve", "--port", str(server.server_port))
    assert (finished.returncode, finished.stdout) == (1, b"")
    assert f"port {server.server_port} is in use: give another with --port" in one_line(finished.stderr)


@pytest.mark.parametrize("port", ["x", "-1", "65536", "1.5"])
def test_what_is_no_port_is_wrong_usage(port: str) -> None:
    finished = run("serve", f"--port={port}")
    assert finished.returncode == 2
    assert "expected a port" in one_line(finished.stderr)


def test_it_says_where_it_is_answers_and_ends_cleanly_when_interrupted(tmp_path: Path) -> None:
    with subprocess.Popen(
        command("serve", "--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline().decode()
        port = int(line.partition(":")[2].partition(":")[2].partition("/")[0])
        assert line == f"http://127.0.0.1:{port}/  (Ctrl-C ends it)\n"
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == b""
