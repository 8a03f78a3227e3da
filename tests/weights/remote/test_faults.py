"""A server that does not do what it should: the right numbers or a HubError, never another number."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import pytest

from minigpt2 import HubError
from minigpt2.hub.answers import within
from minigpt2.weights.remote import hub_file
from tests.hub_server import Fault, Hub
from tests.hub_settings import close_session, imported_with, online
from tests.weights.remote.published import MODEL, WEIGHTS, Array, Open, assert_same, ranges_asked_for

LIES: dict[Fault, str] = {
    Fault.WHOLE: "cannot give a part of a file",
    Fault.WHOLE_AS_PART: "announced .* bytes instead of 512",
    Fault.ANOTHER_PART: "sent 'bytes .* instead of 'bytes ",
    Fault.LONGER_PART: "sent more than the 512 bytes",
    Fault.GZIP: r"encoded the bytes \(gzip\)",
    Fault.NO_RANGE: "sent 'no range' instead",
    Fault.ANOTHER_SIZE: "sent 'bytes .* instead of 'bytes ",
    Fault.CHANGED: "has another file there now",
    Fault.RENAMED: "has another file there now",
    Fault.ELSEWHERE: r"redirects to another server, http://127\.0\.0\.2:9",
    Fault.STALL: "timed out",
    Fault.SLOW: "less than 1,000 bytes a second",
    Fault.DROP: "peer closed|ended",
}
FIRST_ANSWERS = [Fault.HANG, Fault.LOGIN_PAGE, Fault.ESCAPING_HASH, Fault.GATED, 401, 404, 500]
SILENT = {Fault.STALL, Fault.SLOW, Fault.HANG}


@contextmanager
def patience_with(fault: Fault | int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do not wait for a silent server for long, as if HF_HUB_DOWNLOAD_TIMEOUT had said so."""
    with monkeypatch.context() as patched:
        if fault in SILENT:
            patched.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
        yield


@pytest.mark.parametrize("fault", LIES, ids=lambda fault: fault.name)
def test_a_server_that_lies_or_stalls_is_a_hub_error_and_never_a_number(
    hub: Hub, remote: Open, wte: Array, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = remote()
    hub.requests.clear()
    hub.faults[WEIGHTS] = fault
    for _ in range(2):
        with pytest.raises(HubError, match=LIES[fault]) as refusal, patience_with(fault, monkeypatch):
            weights["wte.weight"][[40, 41]]
        assert MODEL in str(refusal.value) and WEIGHTS in str(refusal.value) and "\n" not in str(refusal.value)
    del hub.faults[WEIGHTS]
    assert_same(remote()["wte.weight"][[40, 41]], wte[[40, 41]])


# RENAMED is not among them: the first tag that is seen is right.
@pytest.mark.parametrize("fault", [*(each for each in LIES if each is not Fault.RENAMED), *FIRST_ANSWERS], ids=str)
def test_a_first_look_that_fails_is_a_hub_error_and_leaves_nothing_that_counts(
    hub: Hub, remote: Open, tmp_path: Path, cache: Path, fault: Fault | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.faults[WEIGHTS] = fault
    with pytest.raises(HubError, match=MODEL), patience_with(fault, monkeypatch):
        remote(timeout=0.3 if fault is Fault.HANG else 3)
    journals = list(cache.rglob("fetched"))
    assert all(journal.read_bytes().count(b"\n") == 1 for journal in journals), "the line that names the file"
    assert not (tmp_path / "escaped").exists()
    del hub.faults[WEIGHTS]
    assert remote().num_parameters()


@pytest.mark.parametrize("fault", [Fault.NO_LENGTH, Fault.CHUNKED, Fault.DROP_ONCE])
def test_an_answer_that_is_odd_but_right_is_read(hub: Hub, remote: Open, wte: Array, fault: Fault) -> None:
    weights = remote()
    hub.faults[WEIGHTS] = fault
    assert_same(weights["wte.weight"][40:300], wte[40:300])


def test_a_dropped_stream_goes_on_where_it_ended(hub: Hub, remote: Open) -> None:
    weights = remote()
    ranges_asked_for(hub)
    hub.faults[WEIGHTS] = Fault.DROP_ONCE
    weights["wte.weight"][:]
    first, second = (str(each).removeprefix("bytes=").split("-") for each in ranges_asked_for(hub))
    assert int(first[0]) < int(second[0]) < int(first[1]) and first[1] == second[1]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(
    hub: Hub, remote: Open, wte: Array, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    weights = remote()
    ranges_asked_for(hub)
    hub.statuses[WEIGHTS] = iter([(status, {"Retry-After": "3"})])
    with monkeypatch.context() as patched:
        patched.setattr("minigpt2.weights.remote.hub_file.time.sleep", pauses.append)
        assert_same(weights["wte.weight"][3], wte[3])
    assert pauses == [3.0] and len(ranges_asked_for(hub)) == 2


@pytest.mark.parametrize("retry_after", ["3600", "Wed, 21 Oct 2035 07:28:00 GMT", "-1", "", None])
def test_a_server_that_is_busy_for_long_is_a_hub_error_at_once(hub: Hub, remote: Open, retry_after: str | None) -> None:
    weights = remote()
    ranges_asked_for(hub)
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    hub.statuses[WEIGHTS] = repeat((429, headers))
    with pytest.raises(HubError, match="answered 429; too many requests: wait"):
        weights["wte.weight"][3]
    assert len(ranges_asked_for(hub)) <= 3


@pytest.mark.parametrize(("status", "words"), [(416, "says that the file has no bytes"), (500, "later"), (404, "404")])
def test_a_status_that_is_no_content_is_a_hub_error(hub: Hub, remote: Open, status: int, words: str) -> None:
    weights = remote()
    hub.statuses[WEIGHTS] = repeat((status, {}))
    with pytest.raises(HubError, match=words):
        weights["wte.weight"][3]


def test_another_file_under_the_same_commit_is_refused(hub: Hub, remote: Open) -> None:
    remote()
    [files] = hub.commits[MODEL].values()
    files[WEIGHTS] = type(files[WEIGHTS])(files[WEIGHTS].content[:-1] + b"\0", large=True)
    weights = remote()  # the header is here already
    with pytest.raises(HubError, match="has another file there now"):
        weights["wte.weight"][3]


def test_without_a_network_the_first_look_is_a_hub_error_and_the_second_needs_none(
    hub: Hub, remote: Open, wte: Array
) -> None:
    remote()["wte.weight"][3]
    hub.stop()
    close_session()  # the connections that are still open
    assert_same(remote()["wte.weight"][3], wte[3])
    with pytest.raises(HubError, match=hub.url):
        remote()["wte.weight"][4]
    with pytest.raises(HubError, match=hub.url):
        remote("owner/other")


def test_offline_makes_no_request(hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    remote()
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert remote().num_parameters()
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        remote()["wte.weight"][4]
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        remote("owner/other")
    assert hub.requests == []


def test_an_answer_that_comes_too_late_gives_its_connection_back(
    hub: Hub, remote: Open, monkeypatch: pytest.MonkeyPatch, wte: Array
) -> None:
    def until_late(seconds: float, call: Callable[[], Any], close: Callable[[Any], None]) -> Any:
        def close_and_note(answer: Any) -> None:
            close(answer)
            closed.put(answer.is_closed)

        return within(0, lambda: is_late.wait(30) and call(), close_and_note)

    weights, is_late, closed = remote(), Event(), SimpleQueue[bool]()
    with monkeypatch.context() as patched:
        patched.setattr(hub_file, "within", until_late)
        with pytest.raises(HubError, match="no answer"):
            weights["wte.weight"][100]
    is_late.set()
    assert [closed.get(timeout=30) for _ in range(hub_file.MOST_FAILURES)] == [True] * hub_file.MOST_FAILURES
    assert_same(weights["wte.weight"][100], wte[100])


def test_a_hub_that_accepts_and_never_answers_is_given_up_in_time(remote: Open, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with imported_with(online(url, tmp_path)), pytest.raises(HubError, match="check the network"):
            remote("owner/other", timeout=0.2)
