"""A file that the hub lacks or withholds: one request, and a clear error."""

import errno
import hashlib
import json
import os
import subprocess
import time
from itertools import repeat
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, NoReturn

import huggingface_hub
import pytest
from filelock import FileLock

from minigpt2 import Checkpoint, HubError
from minigpt2.hub import answers as hub_answers
from minigpt2.hub.cache import pull_request_with
from minigpt2.hub.errors import missing, named, reason
from tests.hub.client import Client, refusal
from tests.hub_server import BEFORE_1, BEFORE_2, Fault, Hub
from tests.hub_settings import imported_with

NOT_TEXT = str(Path(__file__).parents[2] / "minigpt2" / "data" / "bundled" / "model.safetensors")


def test_a_missing_file_is_told_apart_and_remembered(hub: Hub, client: Client) -> None:
    client.fetch("owner/tiny", "config.json")
    missing = client.fetch("owner/tiny", "model.safetensors.index.json")
    assert refusal(missing, "MissingFileError")
    hub.requests.clear()
    assert refusal(client.fetch("owner/tiny", "model.safetensors.index.json"), "MissingFileError")
    assert hub.requests == []
    judged = client.call("huggingface_hub", "try_to_load_from_cache", "owner/tiny", "model.safetensors.index.json")
    assert "object object" in judged["path"], "huggingface_hub knows it to be missing too"


def test_what_huggingface_hub_knows_to_be_missing_is_not_asked_for(hub: Hub, client: Client) -> None:
    assert client.judge("owner/tiny", "model.safetensors.index.json")["error"].endswith("EntryNotFoundError")
    hub.requests.clear()
    assert refusal(client.fetch("owner/tiny", "model.safetensors.index.json"), "MissingFileError")
    assert hub.requests == []


def test_an_unknown_model_and_an_unknown_revision_say_so(hub: Hub, client: Client) -> None:
    assert "no such commit" in refusal(client.fetch("owner/tiny", "config.json", revision="v9"))
    del hub.commits["owner/tiny"]
    assert "no such model" in refusal(client.fetch("owner/tiny", "config.json"))
    assert not client.cache.exists()


@pytest.mark.parametrize("filename", ["config.json", "model.safetensors"])
def test_content_that_is_not_where_the_hub_leads_is_not_a_missing_file(hub: Hub, client: Client, filename: str) -> None:
    hub.statuses[filename] = repeat((404, {}))
    assert "answered 404" in refusal(client.fetch("owner/tiny", filename), "HubError")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (401, "HF_TOKEN"),
        (403, "HF_TOKEN"),
        (404, "HF_ENDPOINT"),
        pytest.param(429, "wait", marks=pytest.mark.skipif(BEFORE_2, reason="huggingface_hub itself asks again")),
        (500, "later"),
        (503, "later"),
        (Fault.GATED, "HF_TOKEN"),
        (Fault.LOGIN_PAGE, "proxy"),
        (Fault.HANG, "network"),
    ],
)
def test_a_first_answer_that_is_no_answer_ends_it_at_once(
    hub: Hub, client: Client, fault: Fault | int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault is Fault.HANG:
        monkeypatch.setattr(hub_answers, "_CONNECTION_SECONDS", 0.3)
    hub.faults["config.json"] = fault
    assert words in refusal(client.fetch("owner/tiny", "config.json"))
    assert (len(hub.requests) == 1 or BEFORE_1) and not client.cache.exists()  # some before 1.0 ask again by themselves


@pytest.mark.parametrize("is_redirected", [False, True])
def test_a_busy_hub_is_not_one_out_of_reach(is_redirected: bool, hub: Hub, client: Client) -> None:
    if is_redirected:
        hub.statuses["config.json"] = repeat((429, {}))
    else:
        hub.faults["config.json"] = 429  # which some versions of huggingface_hub repeat for longer than we wait
    assert "answered 429; too many requests: wait" in refusal(client.fetch("owner/tiny", "config.json"))


@pytest.mark.skipif(BEFORE_2, reason="huggingface_hub says in how many seconds it tries again, for each of its tries")
def test_a_long_wait_for_a_busy_storage_is_announced(hub: Hub, client: Client) -> None:
    hub.publish("owner/tiny", {"model.safetensors": b"weights"})
    hub.statuses["model.safetensors"] = iter([(429, {"Retry-After": "1"})])
    with client.start("download", "owner/tiny", "model.safetensors") as process:
        answer, complaints = process.communicate(timeout=60)
    assert "path" in json.loads(answer) and "Waiting" in complaints and complaints.count("\n") == 1


def test_a_wait_for_another_process_that_downloads_the_file_is_announced(hub: Hub, client: Client) -> None:
    hub.publish("owner/tiny", {"model.safetensors": b"weights"})
    locks = client.cache / ".locks" / "models--owner--tiny"
    locks.mkdir(parents=True)
    often = "from huggingface_hub import constants; constants.FILELOCK_LOG_EVERY_SECONDS = 0.1\n"
    pipe = subprocess.PIPE
    with FileLock(locks / (hashlib.sha256(b"weights").hexdigest() + ".lock")) as lock:
        command = client.command("download", "owner/tiny", "model.safetensors", before=often)
        process = subprocess.Popen(command, env=client.environment, stdout=pipe, stderr=pipe, text=True)
        assert process.stderr and lock.lock_file in process.stderr.readline()
    assert "path" in json.loads(process.communicate(timeout=60)[0])


@pytest.mark.parametrize("function", ["download", "remote"])
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "the proxy"),
        (403, "the proxy"),
        (404, "the proxy"),
        (407, "HTTP_PROXY can"),
        (503, "later"),
        (None, "proxy"),
    ],
)
def test_a_storage_that_does_not_answer_is_not_called_the_hub(
    status: int | None, words: str, function: str, hub: Hub, client: Client
) -> None:
    if BEFORE_1 and (function == "remote" or not status):
        pytest.skip("reading by ranges needs huggingface_hub 1.0, and some before it repeat what is not answered")
    hub.publish("owner/tiny", {"model.safetensors": b"weights"})
    if status:
        hub.statuses["model.safetensors"] = repeat((status, {}))
    else:
        hub.storage_url = "http://localhost:9"
    if function == "download":
        refused = client.download("owner/tiny", "model.safetensors")
    else:
        with pytest.raises(HubError) as caught, imported_with(client.environment):
            Checkpoint.remote("owner/tiny")
        refused = {"error": type(caught.value).__name__, "message": str(caught.value)}
    message = refusal(refused, "HubError" if status else "UnreachableError")
    assert hub.storage_url in message and words in message and "HF_TOKEN" not in message and hub.url not in message


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_of_a_proxy_that_wants_a_password_the_error_names_the_variable_for_it(kind: type[Exception]) -> None:
    error = kind("407 Proxy Authentication Required")
    assert "HTTPS_PROXY can give them" in reason(error, "owner/tiny", Path("cache"))


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_of_a_certificate_that_is_not_known_the_error_names_the_variable_for_it(kind: type[Exception]) -> None:
    error = kind("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate")
    assert "set SSL_CERT_FILE to its file" in reason(error, "owner/tiny", Path("cache"))


def test_the_signature_of_an_address_is_not_printed() -> None:
    error = OSError("404 Not Found for url 'https://storage.example/file?X-Signature=secret&more=1'")
    assert named(error) == "OSError: 404 Not Found for url 'https://storage.example/file?...'"


def test_an_error_whose_address_is_none_is_one_of_the_hub() -> None:
    error = ValueError("Port out of range 0-65535")
    error.request = SimpleNamespace(url="https://storage.example:99999/file")  # type: ignore[attr-defined]
    assert "asking https://huggingface.co failed" in reason(error, "owner/tiny", Path("cache"))


@pytest.mark.parametrize("path", ["", "/mirror"])
def test_a_password_in_the_address_of_the_hub_is_not_printed(path: str, client: Client) -> None:
    client.environment["HF_ENDPOINT"] = f"http://name:secret@127.0.0.1:9{path}"
    message = refusal(client.fetch("owner/tiny", "config.json"), "UnreachableError")
    assert "http://127.0.0.1:9" in message and "secret" not in message


def test_a_hub_that_recovers_while_it_is_asked_is_not_one_out_of_reach(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some huggingface_hub before 1.3 ask it again by themselves, for longer than we wait."""
    metadata, waits = huggingface_hub.get_hf_file_metadata, iter([0.5])

    def old_metadata(url: str, timeout: float) -> Any:
        time.sleep(next(waits, 0))
        return metadata(url, timeout=timeout)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", old_metadata)
    monkeypatch.setattr("minigpt2.hub.cache.ANSWER_SECONDS", 0.2)
    assert "path" in client.fetch("owner/tiny", "config.json")


def test_of_many_pull_requests_the_newest_and_the_oldest_are_looked_at_first(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 12):
        hub.publish("owner/tiny", {"config.json": b"{}"}, branch=f"refs/pr/{number}")
    asked = list[str]()

    def published(*_: str, revision: str) -> None:
        asked.append(revision)
        if revision != "refs/pr/2":
            raise HubError

    monkeypatch.setattr("minigpt2.hub.cache.published", published)
    found = client.call("minigpt2.hub", "pull_request_with", "owner/tiny", "model.safetensors")
    assert found == {"path": "refs/pr/2"}
    assert asked == ["refs/pr/11", "refs/pr/1", "refs/pr/10", "refs/pr/2"]


@pytest.mark.parametrize("ref", [None, 3, ["refs/pr/3"], "", "main", "refs/pr/", "refs/pr/" + "3" * 5000])
def test_of_the_refs_only_pull_requests_are_asked_for(ref: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = SimpleNamespace(pull_requests=[SimpleNamespace(ref=ref), SimpleNamespace(ref="refs/pr/2")])
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_refs", lambda *_, **__: refs)
    monkeypatch.setattr("minigpt2.hub.cache.published", lambda *_, **__: None)
    assert pull_request_with("owner/tiny", "config.json") == "refs/pr/2"


def test_a_warning_that_the_hub_sends_does_not_reach_the_terminal(hub: Hub, client: Client) -> None:
    hub.publish("owner/tiny", {"config.json": b"{}"}, branch="refs/pr/1")
    hub.headers["X-HF-Warning"] = "a topic; \x1b]0;another title\x07"
    found = client.call("minigpt2.hub", "pull_request_with", "owner/tiny", "config.json")  # which fails if it prints
    assert found == {"path": "refs/pr/1"}


def test_a_hub_out_of_reach_is_one_error(client: Client) -> None:
    client.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    assert "127.0.0.1:9" in refusal(client.fetch("owner/tiny", "config.json"), "UnreachableError")
    client.environment["HF_ENDPOINT"] = "http://hub.invalid"
    assert "hub.invalid" in refusal(client.fetch("owner/tiny", "config.json"), "UnreachableError")


@pytest.mark.skipif(BEFORE_1, reason="it is sent all the same")
def test_an_endpoint_that_is_not_utf8_is_named(client: Client) -> None:
    client.environment["HF_ENDPOINT"] = "http://127.0.0.1:9/\udcff"
    assert "HF_ENDPOINT" in refusal(client.fetch("owner/tiny", "config.json"))


# What a variable of the environment may say, and the words of the error: it names the variable or what that names.
SAID: list[tuple[str, str, str]] = [
    ("SSL_CERT_FILE", "/nonexistent", "SSL_CERT_FILE"),  # as in many an environment of conda
    ("SSL_CERT_FILE", "/", "SSL_CERT_FILE"),
    ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE"),
    ("HTTP_PROXY", "http://host:port", "HTTP_PROXY"),
    ("all_proxy", "ftp://host", "all_proxy"),
    ("HTTPS_PROXY", "socks9://host", "HTTPS_PROXY"),
    ("HF_TOKEN_PATH", "/", "/ cannot be used (Is a directory)"),
    ("HF_TOKEN_PATH", NOT_TEXT, "the file of the token"),
    ("HF_TOKEN", "\N{BULLET}" * 8, "HF_TOKEN"),
    ("HF_HUB_DOWNLOAD_TIMEOUT", "-1", "HF_HUB_DOWNLOAD_TIMEOUT is -1"),
    ("HF_HUB_ETAG_TIMEOUT", "9" * 30, "HF_HUB_ETAG_TIMEOUT is 999"),
    ("HF_ENDPOINT", "http://host:port", "HF_ENDPOINT"),
    (
        "HF_ENDPOINT",
        "hub.example",
        "'hub.example' is not an address, such as https://huggingface.co); check HF_ENDPOINT",
    ),
    ("HF_ENDPOINT", "ftp://hub.example", "check HF_ENDPOINT"),
    ("HF_ENDPOINT", " https://hub.example", "' https://hub.example' is not an address"),
    ("HF_ENDPOINT", "https://hub.example\r", "is not an address"),
]


@pytest.mark.skipif(BEFORE_1, reason="another session, which takes most of this as it comes")
@pytest.mark.parametrize(("name", "value", "words"), SAID, ids=str)
def test_what_the_environment_says_wrongly_is_not_blamed_on_the_cache(
    hub: Hub, client: Client, name: str, value: str, words: str
) -> None:
    client.environment[name] = value
    message = refusal(client.run("fetch", "owner/tiny", "config.json"))
    assert words in message and "the cache" not in message and "the network" not in message
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
        ("HF_HUB_ETAG_TIMEOUT", "1.5"),
        ("HF_ENDPOINT", "http://[::1"),
        ("HF_HUB_CACHE", ""),
    ],
)
def test_a_variable_that_huggingface_hub_cannot_read_is_named(client: Client, name: str, value: str) -> None:
    client.environment[name] = value
    answer = client.run("fetch", "owner/tiny", "config.json")
    assert answer["error"] in ("ValueError", "HubError") and name in answer["message"]  # it reads some of them late


def test_an_answer_that_takes_too_long_in_all_is_given_up() -> None:
    # As where a host's name is looked up at a server that keeps silent: no timeout of a connection covers that.
    forever = Event()
    with pytest.raises(TimeoutError, match="no answer"):
        hub_answers.within(0.01, forever.wait)
    forever.set()


def test_an_answer_that_comes_too_late_is_closed() -> None:
    comes, is_closed = Event(), Event()
    with pytest.raises(TimeoutError, match="no answer"):
        hub_answers.within(0.01, lambda: comes.wait(30), close=lambda _: is_closed.set())
    comes.set()
    assert is_closed.wait(30)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])  # huggingface_hub knows both
def test_offline_uses_the_cache_and_makes_no_request(name: str, hub: Hub, client: Client) -> None:
    path = client.fetch("owner/tiny", "config.json")["path"]
    hub.requests.clear()
    client.environment = {**client.environment, "HF_HUB_OFFLINE": "", name: "1"}
    assert client.fetch("owner/tiny", "config.json")["path"] == path
    assert f"{name} is set; unset it" in refusal(client.fetch("owner/tiny", "model.safetensors"), "UnreachableError")
    assert f"{name} is set; unset it" in refusal(client.download("owner/tiny", "config.json"), "UnreachableError")
    assert hub.requests == []


def test_local_files_only_makes_no_request(hub: Hub, client: Client) -> None:
    assert "`minigpt2 download owner/tiny`" in refusal(client.fetch("owner/tiny", "config.json", local_files_only=True))
    other = client.fetch("owner/tiny", "config.json", revision="v1", local_files_only=True)
    assert "`minigpt2 download owner/tiny --revision v1`" in refusal(other)
    assert hub.requests == []


@pytest.mark.parametrize(("revision", "option"), [("main", ""), ("pr 1", " --revision 'pr 1'"), ("a" * 40, "")])
def test_what_may_have_been_added_is_looked_for_where_it_can_come(revision: str, option: str) -> None:
    error = missing("owner/tiny", "config.json", revision, "a" * 40)
    assert f"`minigpt2 download owner/tiny{option}`" in str(error)


def test_a_link_that_the_caches_disk_has_no_room_for_is_the_caches(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    symlink = os.symlink

    def fail(target: str, link: str, **options: Any) -> None:
        if "snapshots" in str(link):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target, None, link)  # as Python names the two
        symlink(target, link, **options)

    monkeypatch.setattr(os, "symlink", fail)
    told = refusal(client.fetch("owner/tiny", "config.json"))
    assert f"cannot write to the cache {client.cache} (No space left on device)" in told


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_limit_of_open_files_is_not_blamed_on_the_cache(
    number: int, client: Client, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    told = refusal(client.fetch("owner/tiny", "config.json"))
    assert f"no further file can be opened ({os.strerror(number)})" in told and "cache" not in told
