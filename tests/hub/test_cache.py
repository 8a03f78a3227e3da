"""When a file is downloaded and when the cached one is used, compared with huggingface_hub and transformers."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import hf_hub_download

from minigpt2.hub.answers import ask
from tests.command import wait_until
from tests.hub.client import CONFIG, WEIGHTS, Client, files, refusal
from tests.hub_server import Fault, File, Hub
from tests.hub_settings import imported_with


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
    again = client.run("fetch", "owner/tiny", "config.json")
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


@pytest.mark.parametrize("damaged", [b"", WEIGHTS[:-1], b"x" * len(WEIGHTS)], ids=["empty", "cut off", "other bytes"])
def test_download_replaces_a_file_that_was_damaged_in_the_cache(damaged: bytes, hub: Hub, client: Client) -> None:
    path = Path(client.fetch("owner/tiny", "model.safetensors")["path"])
    path.resolve().write_bytes(damaged)
    assert Path(client.download("owner/tiny", "model.safetensors")["path"]).read_bytes() == WEIGHTS
    assert Path(client.fetch("owner/tiny", "model.safetensors")["path"]).read_bytes() == WEIGHTS


@pytest.mark.parametrize("has_links", [True, False])
def test_it_stays_until_the_new_one_is_here(
    has_links: bool, hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    path = Path(client.fetch("owner/tiny", "config.json")["path"])
    if not has_links:  # as on a file system without them, or in a copy
        path.resolve().rename(path)
    path.resolve().write_bytes(b"changed by hand")
    hub.faults["config.json"] = Fault.DROP
    refusal(client.download("owner/tiny", "config.json"))
    assert path.read_bytes() == b"changed by hand"
    del hub.faults["config.json"]
    client.download("owner/tiny", "config.json")
    assert path.read_bytes() == CONFIG


def test_if_the_new_one_is_damaged_too_it_does_not_count_as_missing(hub: Hub, client: Client) -> None:
    path = Path(client.fetch("owner/tiny", "config.json")["path"])
    path.write_bytes(b"damaged")
    hub.faults["config.json"] = Fault.CORRUPT
    assert "it arrived damaged" in refusal(client.download("owner/tiny", "config.json"))
    assert path.is_symlink() and not path.exists()
    del hub.faults["config.json"]
    client.download("owner/tiny", "config.json")
    assert path.read_bytes() == CONFIG


@pytest.mark.parametrize("damaged", [True, False])
def test_where_no_more_links_are_made_those_of_other_snapshots_stay_whole(
    damaged: bool, hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Path(client.fetch("owner/tiny", "model.safetensors")["path"])
    hub.publish("owner/tiny", {"config.json": b"{}", "model.safetensors": WEIGHTS})  # the same weights
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: False)
    newer = Path(client.download("owner/tiny", "model.safetensors")["path"])
    assert newer.parent != older.parent and not newer.is_symlink()
    if damaged:
        newer.write_bytes(b"damaged")
        client.download("owner/tiny", "model.safetensors")
    assert older.read_bytes() == newer.read_bytes() == WEIGHTS


def test_where_no_links_are_made_a_file_that_another_process_has_just_brought_stays(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process may have it open; huggingface_hub, which waited for it, brings another one for links."""
    brought: list[os.stat_result] = []

    def bring_twice(*arguments: Any, **options: Any) -> str:
        path = Path(hf_hub_download(*arguments, **options))
        brought.append(path.stat())
        (path.parents[2] / "blobs").mkdir(exist_ok=True)
        (path.parents[2] / "blobs" / hashlib.sha256(WEIGHTS).hexdigest()).write_bytes(WEIGHTS)
        return str(path)

    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: False)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", bring_twice)
    path = Path(client.fetch("owner/tiny", "model.safetensors")["path"])
    assert os.path.samestat(path.stat(), brought[0])


def test_what_comes_for_a_file_that_the_cache_has_is_checked_too(hub: Hub, client: Client) -> None:
    """As where the hub names another content when huggingface_hub asks again."""
    path = Path(client.fetch("owner/tiny", "config.json")["path"])
    path.unlink()  # its content is still in the cache
    (commit,) = hub.commits["owner/tiny"]

    def ask_and_change(*arguments: Any) -> Any:
        answer = ask(*arguments)
        hub.commits["owner/tiny"][commit]["config.json"] = File(b"other", large=False)
        return answer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("minigpt2.hub.cache.ask", ask_and_change)
        assert "it arrived damaged" in refusal(client.download("owner/tiny", "config.json"))


@pytest.mark.parametrize(("status", "words"), [(403, "HF_TOKEN"), (500, "try again later")])
def test_if_that_is_not_given_the_hubs_answer_is_named(
    status: int, words: str, hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(client.fetch("owner/tiny", "config.json")["path"]).write_bytes(b"changed by hand")

    def ask_and_fail(*arguments: Any) -> Any:
        answer = ask(*arguments)
        hub.faults["config.json"] = status
        return answer

    monkeypatch.setattr("minigpt2.hub.cache.ask", ask_and_fail)
    assert f"answered {status}; " in (told := refusal(client.download("owner/tiny", "config.json"))) and words in told


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
    call = ("fetch", "owner/tiny", "model.safetensors")
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


def test_transformers_and_this_package_find_each_others_downloads(
    hub: Hub, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="it may need another huggingface_hub", exc_type=ImportError)
    monkeypatch.setattr(
        "transformers.utils.hub._is_offline_mode", False, raising=False
    )  # read at the import of version 4
    from transformers import GPT2Config, GPT2LMHeadModel

    def load(cache_dir: str, *, local_files_only: bool) -> None:
        with imported_with(client.environment):
            GPT2LMHeadModel.from_pretrained("owner/model", cache_dir=cache_dir, local_files_only=local_files_only)

    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=9, n_positions=4)).save_pretrained(tmp_path)
    saved = {name: (tmp_path / name).read_bytes() for name in ("config.json", "model.safetensors")}
    hub.publish("owner/model", saved)
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    for name in saved:
        client.fetch("owner/model", name, cache_dir=ours)
    hub.requests.clear()
    load(ours, local_files_only=True)
    assert hub.requests == []
    load(theirs, local_files_only=False)
    contents = [request for request in hub.requests if request.sent_bytes and "/api/models/" not in request.path]
    downloads = [request.path for request in contents]
    assert len(downloads) == len(saved), "once, where it may not use ours"
    hub.requests.clear()
    for name, content in saved.items():
        assert Path(client.fetch("owner/model", name, cache_dir=theirs)["path"]).read_bytes() == content
    assert hub.requests == []
