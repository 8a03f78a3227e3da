"""Files by a model's name, against a hub on loopback; huggingface_hub and transformers are the judges of the cache."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from minigpt2 import hub as minigpt2_hub
from minigpt2.hub import answers as hub_answers
from minigpt2.hub import cache as hub_cache
from tests.hub_server import BEFORE_2, Fault, Hub

ROOT = Path(__file__).parents[2]
CONFIG = b'{"model_type": "gpt2", "n_embd": 8}\n'
WEIGHTS = bytes(range(256)) * 300

# A client is a process of its own: huggingface_hub reads its environment when it is imported.
CLIENT = """
import importlib, json, sys
module, function, arguments, options = json.loads(sys.argv[1])
try:
    answer = {"path": str(getattr(importlib.import_module(module), function)(*arguments, **options))}
except Exception as error:
    answer = {"error": type(error).__name__, "message": str(error)}
print(json.dumps(answer | {"imported": "huggingface_hub.file_download" in sys.modules}))
"""


class Client:
    """Calls functions of minigpt2.hub and huggingface_hub in fresh processes that share one HF_HOME."""

    def __init__(self, hub: Hub, home: Path, **environment: str) -> None:
        ours = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DOWNLOAD_TIMEOUT": "1", "PYTHONPATH": str(ROOT)}
        foreign = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "HTTP", "http", "ALL_PROXY", "all_proxy")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.environment |= ours | environment
        self.cache = home / "hub"

    def start(self, module: str, function: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        call = json.dumps([module, function, arguments, options])
        command = [sys.executable, "-W", "error", "-c", CLIENT, call]
        environment = (
            self.environment if module == "minigpt2.hub" else {"HF_HUB_DISABLE_TELEMETRY": "1"} | self.environment
        )
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)

    def call(self, module: str, function: str, *arguments: str, **options: Any) -> dict[str, Any]:
        with self.start(module, function, *arguments, **options) as process:
            answer, complaints = process.communicate(timeout=60)
        assert complaints == ""
        return dict(json.loads(answer))

    def fetch(self, model: str, filename: str, **options: Any) -> dict[str, Any]:
        return self.call("minigpt2.hub", "fetch", model, filename, **options)

    def download(self, model: str, filename: str, **options: Any) -> dict[str, Any]:
        return self.call("minigpt2.hub", "download", model, filename, **options)

    def judge(self, model: str, filename: str, **options: Any) -> dict[str, Any]:
        return self.call("huggingface_hub", "hf_hub_download", model, filename, **options)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.publish("owner/tiny", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
        yield hub


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    return Client(hub, tmp_path / "home")


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; a link as the file it leads to."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def finished(folder: Path) -> list[str]:
    """Every file below a folder, without the unfinished ones that huggingface_hub kept before 2.0, to resume later."""
    return [name for name in files(folder) if not (BEFORE_2 and name.endswith(".incomplete"))]


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def refusal(answer: dict[str, Any], error: str = "HubError") -> str:
    """The message, having checked what every failure owes: one line that names the model, its file and the way out."""
    assert answer.get("error") == error, answer
    message = str(answer["message"])
    assert "owner/tiny" in message and ("config.json" in message or "model.safetensors" in message)
    assert "\n" not in message and (";" in message or "`minigpt2 download" in message)
    return message


# --- what is downloaded, and what is used again


@pytest.mark.parametrize("filename", ["config.json", "model.safetensors"])
def test_the_cache_after_a_download_is_the_one_that_huggingface_hub_makes(
    hub: Hub, client: Client, tmp_path: Path, filename: str
) -> None:
    judge = Client(hub, tmp_path / "judge")
    path = Path(client.fetch("owner/tiny", filename)["path"])
    judged = Path(judge.judge("owner/tiny", filename)["path"])
    assert path.relative_to(client.cache) == judged.relative_to(judge.cache)
    assert files(client.cache) == files(judge.cache)
    assert path.readlink() == judged.readlink()


def test_a_first_download_asks_twice_and_gets_the_content_once(hub: Hub, client: Client) -> None:
    path = Path(client.fetch("owner/tiny", "model.safetensors")["path"])
    assert path.read_bytes() == WEIGHTS
    assert (hub.count("HEAD"), hub.count("GET")) == (2, 1)
    assert sum(request.sent_bytes for request in hub.requests) == len(WEIGHTS)


def test_a_cached_file_is_used_without_a_request_or_the_means_to_make_one(hub: Hub, client: Client) -> None:
    first = client.judge("owner/tiny", "config.json")
    hub.requests.clear()
    again = client.fetch("owner/tiny", "config.json")
    assert again["path"] == first["path"] and not again["imported"]
    assert hub.requests == []


def test_huggingface_hub_finds_what_was_downloaded_here(hub: Hub, client: Client) -> None:
    first = client.fetch("owner/tiny", "config.json")
    hub.requests.clear()
    assert client.judge("owner/tiny", "config.json", local_files_only=True)["path"] == first["path"]
    assert (
        client.call("huggingface_hub", "try_to_load_from_cache", "owner/tiny", "config.json")["path"] == first["path"]
    )
    assert hub.requests == []


def test_a_commit_and_a_tag_are_revisions_too(hub: Hub, client: Client) -> None:
    old = hub.branches["owner/tiny"]["main"]
    hub.branches["owner/tiny"]["v1.0"] = old
    hub.publish("owner/tiny", {"config.json": b"{}"})
    for revision in (old, "v1.0"):
        path = Path(client.fetch("owner/tiny", "config.json", revision=revision)["path"])
        assert path.parent.name == old and path.read_bytes() == CONFIG
        assert client.judge("owner/tiny", "config.json", revision=revision, local_files_only=True)["path"] == str(path)
    assert "error" in client.fetch("owner/tiny", "config.json", local_files_only=True)


def test_cache_dir_takes_the_place_of_the_environments_cache(client: Client, tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    path = client.fetch("owner/tiny", "config.json", cache_dir=elsewhere)["path"]
    assert path == client.judge("owner/tiny", "config.json", cache_dir=elsewhere, local_files_only=True)["path"]
    assert not client.cache.exists()


def test_a_new_commit_is_seen_by_download_and_not_by_fetch(hub: Hub, client: Client) -> None:
    before = client.fetch("owner/tiny", "config.json")["path"]
    hub.publish("owner/tiny", {"config.json": b"{}"})
    assert client.fetch("owner/tiny", "config.json")["path"] == before
    renewed = client.download("owner/tiny", "config.json")["path"]
    assert Path(renewed).read_bytes() == b"{}"
    assert client.fetch("owner/tiny", "config.json")["path"] == renewed
    assert client.judge("owner/tiny", "config.json", local_files_only=True)["path"] == renewed


def test_download_of_what_is_there_already_moves_no_content(hub: Hub, client: Client) -> None:
    client.fetch("owner/tiny", "model.safetensors")
    hub.publish("owner/tiny", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    hub.requests.clear()
    client.download("owner/tiny", "model.safetensors")
    assert hub.count("GET") == 0


def test_a_file_that_the_snapshot_lacks_comes_from_the_same_commit(hub: Hub, client: Client) -> None:
    config = client.fetch("owner/tiny", "config.json")["path"]
    hub.publish("owner/tiny", {"config.json": b"{}", "model.safetensors": b"other weights"})
    weights = Path(client.fetch("owner/tiny", "model.safetensors")["path"])
    assert weights.parent == Path(config).parent and weights.read_bytes() == WEIGHTS


def test_a_cached_commit_that_the_hub_has_lost_is_renewed_by_download(hub: Hub, client: Client) -> None:
    old = Path(client.fetch("owner/tiny", "config.json")["path"]).parent.name
    hub.publish("owner/tiny", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    del hub.commits["owner/tiny"][old]
    assert "`minigpt2 download owner/tiny`" in refusal(client.fetch("owner/tiny", "model.safetensors"))
    weights = client.download("owner/tiny", "model.safetensors")["path"]
    assert client.fetch("owner/tiny", "config.json")["path"] == str(Path(weights).with_name("config.json"))


def test_two_processes_at_once_make_one_download(hub: Hub, client: Client) -> None:
    hub.faults["model.safetensors"] = Fault.HOLD
    call = ("minigpt2.hub", "fetch", "owner/tiny", "model.safetensors")
    with client.start(*call) as one, client.start(*call) as other:
        wait_until(lambda: hub.count("HEAD") == 4)
        hub.release()
        answers = [json.loads(process.communicate(timeout=60)[0]) for process in (one, other)]
    assert answers[0] == answers[1] and Path(answers[0]["path"]).read_bytes() == WEIGHTS
    assert hub.count("GET") == 1


def test_gpt2_is_found_under_the_short_name_and_the_long_one(hub: Hub, client: Client) -> None:
    hub.publish("openai-community/gpt2", {"config.json": CONFIG})
    hub.renamed["gpt2"] = "openai-community/gpt2"
    path = client.fetch("gpt2", "config.json")["path"]
    assert client.judge("gpt2", "config.json", local_files_only=True)["path"] == path
    hub.requests.clear()
    assert client.fetch("openai-community/gpt2", "config.json")["path"] == path
    assert hub.requests == []


def test_transformers_and_this_package_find_each_others_downloads(hub: Hub, client: Client, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="it may need another huggingface_hub", exc_type=ImportError)
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=9, n_positions=4)).save_pretrained(tmp_path)
    saved = {name: (tmp_path / name).read_bytes() for name in ("config.json", "model.safetensors")}
    hub.publish("owner/model", saved)
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    for name in saved:
        client.fetch("owner/model", name, cache_dir=ours)
    hub.requests.clear()
    loads = "transformers.GPT2LMHeadModel.from_pretrained('owner/model', cache_dir={!r}, local_files_only={})"
    script = f"import transformers; {loads.format(ours, True)}; {loads.format(theirs, False)}"
    subprocess.run([sys.executable, "-c", script], env=client.environment, check=True, capture_output=True, timeout=120)
    contents = [request for request in hub.requests if request.sent_bytes and "/api/models/" not in request.path]
    downloads = [request.path for request in contents]
    assert len(downloads) == len(saved), "once, where it may not use ours"
    hub.requests.clear()
    for name, content in saved.items():
        assert Path(client.fetch("owner/model", name, cache_dir=theirs)["path"]).read_bytes() == content
    assert hub.requests == []


# --- what the hub does not have, or does not give


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
    hub: Hub, client: Client, fault: Fault | int, words: str
) -> None:
    hub.faults["config.json"] = fault
    assert words in refusal(client.fetch("owner/tiny", "config.json"))
    assert len(hub.requests) == 1 and not client.cache.exists()


def test_a_hub_out_of_reach_is_one_error(client: Client) -> None:
    client.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    assert "127.0.0.1:9" in refusal(client.fetch("owner/tiny", "config.json"))
    client.environment["HF_ENDPOINT"] = "http://hub.invalid"
    assert "hub.invalid" in refusal(client.fetch("owner/tiny", "config.json"))


def test_an_answer_that_takes_too_long_in_all_is_given_up() -> None:
    # As where a host's name is looked up at a server that keeps silent: no timeout of a connection covers that.
    forever = Event()
    with pytest.raises(TimeoutError, match="no answer"):
        hub_answers.within(0.01, forever.wait)
    forever.set()


def test_offline_uses_the_cache_and_makes_no_request(hub: Hub, client: Client) -> None:
    path = client.fetch("owner/tiny", "config.json")["path"]
    hub.requests.clear()
    client.environment["HF_HUB_OFFLINE"] = "1"
    assert client.fetch("owner/tiny", "config.json")["path"] == path
    assert "HF_HUB_OFFLINE" in refusal(client.fetch("owner/tiny", "model.safetensors"))
    assert "HF_HUB_OFFLINE" in refusal(client.download("owner/tiny", "config.json"))
    assert hub.requests == []


def test_local_files_only_makes_no_request(hub: Hub, client: Client) -> None:
    assert "minigpt2 download owner/tiny" in refusal(client.fetch("owner/tiny", "config.json", local_files_only=True))
    assert hub.requests == []


# --- what comes damaged, or not at all


@pytest.mark.parametrize(
    ("filename", "fault", "words"),
    [
        ("config.json", Fault.CORRUPT, "damaged"),
        ("model.safetensors", Fault.CORRUPT, "damaged"),
        ("config.json", Fault.TRUNCATE, "size"),
        ("model.safetensors", Fault.TRUNCATE, "size"),
        ("config.json", Fault.DROP, "peer closed|IncompleteRead"),
        ("model.safetensors", Fault.STALL, "timed out"),
    ],
)
def test_content_that_does_not_arrive_as_it_was_leaves_nothing(
    hub: Hub, client: Client, filename: str, fault: Fault, words: str
) -> None:
    hub.faults[filename] = fault
    assert re.search(words, refusal(client.fetch("owner/tiny", filename)))
    assert not any(filename in name or "blobs" in name or "refs" in name for name in finished(client.cache))
    assert "error" in client.judge("owner/tiny", filename, local_files_only=True)
    del hub.faults[filename]
    assert "path" in client.fetch("owner/tiny", filename)


def test_a_damaged_renewal_leaves_the_older_snapshot_in_use(hub: Hub, client: Client) -> None:
    before = client.fetch("owner/tiny", "model.safetensors")["path"]
    hub.publish("owner/tiny", {"model.safetensors": WEIGHTS[::-1]})
    hub.faults["model.safetensors"] = Fault.CORRUPT
    assert "damaged" in refusal(client.download("owner/tiny", "model.safetensors"))
    assert client.fetch("owner/tiny", "model.safetensors")["path"] == before
    assert client.judge("owner/tiny", "model.safetensors", local_files_only=True)["path"] == before
    assert Path(before).read_bytes() == WEIGHTS


@pytest.mark.skipif(BEFORE_2, reason="huggingface_hub resumes a dropped connection in 2.x")
def test_a_dropped_connection_is_resumed(hub: Hub, client: Client) -> None:
    weights = WEIGHTS * 280  # 21 MB: huggingface_hub keeps what it has by 10 MiB
    hub.publish("owner/tiny", {"model.safetensors": weights})
    hub.faults["model.safetensors"] = Fault.DROP_ONCE
    assert Path(client.fetch("owner/tiny", "model.safetensors")["path"]).read_bytes() == weights
    assert [request.range for request in hub.requests if request.method == "GET"] == [None, "bytes=10485760-"]


def test_an_interrupted_download_leaves_nothing_half_written(hub: Hub, client: Client) -> None:
    hub.faults["model.safetensors"] = Fault.HOLD
    with client.start("minigpt2.hub", "fetch", "owner/tiny", "model.safetensors") as process:
        wait_until(lambda: hub.count("GET") == 1)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert not any("blobs" in name or "snapshots" in name or "refs" in name for name in finished(client.cache))


def test_an_interrupted_check_leaves_nothing_unchecked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "config.json"
    path.write_bytes(CONFIG)
    monkeypatch.setattr("hashlib.file_digest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hub_cache._verify(path, "0" * 64)
    assert not path.exists()


def test_a_hash_that_is_a_path_writes_nothing(hub: Hub, client: Client, tmp_path: Path) -> None:
    for filename in ("config.json", "model.safetensors"):
        hub.faults[filename] = Fault.ESCAPING_HASH
        assert "did not answer as a hub" in refusal(client.fetch("owner/tiny", filename))
    assert hub.count("GET") == 0 and files(tmp_path) == {}


def test_a_cache_that_takes_no_files_says_where_else_to_put_them(hub: Hub, client: Client, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file is where the cache's folder should be")
    message = refusal(client.fetch("owner/tiny", "config.json"))
    assert "HF_HOME" in message and str(client.cache) in message


def test_a_disk_that_is_full_leaves_nothing_half_written(client: Client) -> None:
    # As on a full disk, writing fails in the middle of the file.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))"
    call = json.dumps(["minigpt2.hub", "fetch", ["owner/tiny", "model.safetensors"], {}])
    command = [sys.executable, "-c", limit + CLIENT, call]
    answer = subprocess.check_output(command, env=client.environment, cwd=ROOT, text=True, timeout=60)
    assert "HF_HOME" in refusal(json.loads(answer))
    assert not any("blobs" in name or "snapshots" in name for name in finished(client.cache))


# --- whom the hub's client tells what


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: Hub, client: Client) -> None:
    client.environment["HF_TOKEN"] = "hf_secret"
    client.fetch("owner/tiny", "model.safetensors")
    tokens = {(request.at_storage, request.token) for request in hub.requests}
    assert tokens == {(False, "Bearer hf_secret"), (True, None)}


def test_remarks_of_the_hub_are_not_printed(hub: Hub, client: Client) -> None:
    hub.headers["X-HF-Warning"] = "unauthenticated; You are sending unauthenticated requests."
    client.fetch("owner/tiny", "config.json")  # and `call` has seen that nothing was printed
    assert hub.requests


def test_progress_is_shown_on_a_terminal(client: Client) -> None:
    ours, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (24, 80))
    call = json.dumps(["minigpt2.hub", "fetch", ["owner/tiny", "model.safetensors"], {}])
    command = [sys.executable, "-c", CLIENT, call]
    subprocess.check_output(command, env=client.environment, cwd=ROOT, stderr=stderr, timeout=60)
    os.close(stderr)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "100%" in shown and "76.8k" in shown


@pytest.mark.parametrize(
    ("environment", "first_import", "disabled"),
    [({}, "minigpt2.hub", True), ({"HF_HUB_DISABLE_XET": "0"}, "minigpt2.hub", False), ({}, "huggingface_hub", False)],
)
def test_xet_is_switched_off_where_the_user_has_not_decided(
    client: Client, environment: dict[str, str], first_import: str, disabled: bool
) -> None:
    script = (
        f"import {first_import}, minigpt2.hub; minigpt2.hub.cached('gpt2', 'config.json')\n"
        "from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_XET)"
    )
    command = [sys.executable, "-c", script]
    assert subprocess.check_output(command, env=client.environment | environment, cwd=ROOT) == b"%r\n" % disabled


# --- names


@pytest.mark.skipif(BEFORE_2, reason="huggingface_hub took letters beyond ASCII before 2.0")
@given(
    st.one_of(st.text("aZ0_-./é", max_size=8), st.from_regex(r"\A[a-z0-9._/-]{0,12}(\.git)?\Z"), st.text(max_size=100))
)
def test_the_same_names_are_a_models_as_for_huggingface_hub(name: str) -> None:
    try:
        validate_repo_id(name)
        is_name = True
    except HFValidationError:
        is_name = False
    try:
        minigpt2_hub.cached(name, "config.json", cache_dir="no/such/folder")
        assert is_name
    except ValueError:
        assert not is_name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/etc/passwd", "a//b", "a/./b", "a\\..\\b", "C:x", "a\0", "a/"]
)
def test_a_file_or_revision_never_leaves_the_models_folder(name: str) -> None:
    with pytest.raises(ValueError, match="is not a file or revision"):
        minigpt2_hub.cached("gpt2", name)
    with pytest.raises(ValueError, match="is not a file or revision"):
        minigpt2_hub.fetch("gpt2", "config.json", revision=name)


@pytest.mark.parametrize("value", [None, b"gpt2", Path("gpt2"), 1])
def test_a_name_that_is_no_string_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="strings"):
        minigpt2_hub.fetch(value, "config.json")
    with pytest.raises(TypeError, match="strings"):
        minigpt2_hub.fetch("gpt2", value)
