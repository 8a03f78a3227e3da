"""Content that comes damaged, or not at all, leaves nothing half-written in the cache."""

import hashlib
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from minigpt2.hub import cache as hub_cache
from minigpt2.hub.errors import RefusedError
from tests.command import interrupted, wait_until
from tests.hub.client import CONFIG, WEIGHTS, Client, files, finished, refusal
from tests.hub_server import BEFORE_2, Fault, File, Hub


def do_not_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub try a download again at once."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)


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
    hub: Hub, client: Client, filename: str, fault: Fault, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    do_not_pause(monkeypatch)
    client.patience = 0.2 if fault is Fault.STALL else 1
    hub.faults[filename] = fault
    assert re.search(words, refusal(client.fetch("owner/tiny", filename)))
    assert not any(filename in name or "blobs" in name or "refs" in name for name in finished(client.cache))
    assert "error" in client.judge("owner/tiny", filename, local_files_only=True)
    del hub.faults[filename]
    assert "path" in client.fetch("owner/tiny", filename)


@pytest.mark.parametrize("filename", ["config.json", "model.safetensors"])
def test_a_mirror_may_name_the_sha1_of_the_content(
    filename: str, hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    do_not_pause(monkeypatch)
    monkeypatch.setattr(File, "hash", property(lambda file: hashlib.sha1(file.content).hexdigest()))
    hub.faults[filename] = Fault.CORRUPT
    assert "damaged" in refusal(client.fetch("owner/tiny", filename))
    del hub.faults[filename]
    assert "path" in client.fetch("owner/tiny", filename)


def test_a_disk_with_little_room_is_not_warned_of_before_it_is_full(
    client: Client, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.shutil.disk_usage", lambda _: SimpleNamespace(free=1))
    assert "path" in client.fetch("owner/tiny", "model.safetensors")
    assert not recwarn.list


def test_a_damaged_renewal_leaves_the_older_snapshot_in_use(hub: Hub, client: Client) -> None:
    before = client.fetch("owner/tiny", "model.safetensors")["path"]
    hub.publish("owner/tiny", {"model.safetensors": WEIGHTS[::-1]})
    hub.faults["model.safetensors"] = Fault.CORRUPT
    assert "damaged" in refusal(client.download("owner/tiny", "model.safetensors"))
    assert client.fetch("owner/tiny", "model.safetensors")["path"] == before
    assert client.judge("owner/tiny", "model.safetensors", local_files_only=True)["path"] == before
    assert Path(before).read_bytes() == WEIGHTS


@pytest.mark.skipif(BEFORE_2, reason="huggingface_hub resumes a dropped connection in 2.x")
def test_a_dropped_connection_is_resumed(hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    do_not_pause(monkeypatch)
    weights = WEIGHTS * 280  # 21 MB: huggingface_hub keeps what it has by 10 MiB
    hub.publish("owner/tiny", {"model.safetensors": weights})
    hub.faults["model.safetensors"] = Fault.DROP_ONCE
    assert Path(client.fetch("owner/tiny", "model.safetensors")["path"]).read_bytes() == weights
    assert [request.range for request in hub.requests if request.method == "GET"] == [None, "bytes=10485760-"]


@pytest.mark.parametrize("left", [WEIGHTS[:-9], WEIGHTS, WEIGHTS + b"9"], ids=["a part", "all", "more than all"])
def test_what_a_download_has_left_behind_holds_up_none_after_it(left: bytes, hub: Hub, client: Client) -> None:
    blobs = client.cache / "models--owner--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{File(WEIGHTS, large=True).hash}.incomplete").write_bytes(left)
    assert Path(client.fetch("owner/tiny", "model.safetensors")["path"]).read_bytes() == WEIGHTS


def test_a_sound_file_beside_one_that_is_too_long_is_not_downloaded_again(hub: Hub, client: Client) -> None:
    path = client.fetch("owner/tiny", "model.safetensors")["path"]
    Path(client.cache, "models--owner--tiny", "blobs", f"{File(WEIGHTS, large=True).hash}.incomplete").write_bytes(
        WEIGHTS + b"9"
    )
    before = hub.count("GET")
    assert client.download("owner/tiny", "model.safetensors")["path"] == path
    assert hub.count("GET") == before


def test_an_interrupted_download_leaves_nothing_half_written(hub: Hub, client: Client) -> None:
    hub.faults["model.safetensors"] = Fault.HOLD
    with client.start("fetch", "owner/tiny", "model.safetensors") as process:
        wait_until(lambda: hub.count("GET") == 1)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert not any("blobs" in name or "snapshots" in name or "refs" in name for name in finished(client.cache))


def test_an_interrupted_check_leaves_nothing_unchecked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(CONFIG)
    monkeypatch.setattr("hashlib.file_digest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hub_cache._verify(path, "0" * 64)
    assert not path.exists()


@pytest.mark.parametrize("checked", ["blobs/hash", "snapshots/model.safetensors"])
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_check_leaves_the_blobs_that_models_share(
    is_interrupted: bool, checked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, blob, path = tmp_path / "shared", tmp_path / "blobs" / "hash", tmp_path / checked
    for directory in ("blobs", "snapshots"):
        (tmp_path / directory).mkdir()
    shared.write_bytes(b"sound")
    blob.symlink_to("../shared")
    if path != blob:
        path.symlink_to("../blobs/hash")
    if is_interrupted:
        monkeypatch.setattr("hashlib.file_digest", interrupted)
    with pytest.raises(KeyboardInterrupt if is_interrupted else RefusedError) as refused:
        hub_cache._verify(path, "0" * 64)
    assert is_interrupted or str(refused.value).endswith("try again with HF_HUB_DISABLE_XET=1, which shares no blobs")
    assert files(tmp_path).keys() == {"shared"} and not any(map(os.path.lexists, (blob, path)))


def test_a_hash_that_is_a_path_writes_nothing(hub: Hub, client: Client, tmp_path: Path) -> None:
    for filename in ("config.json", "model.safetensors"):
        hub.faults[filename] = Fault.ESCAPING_HASH
        assert "did not answer as a hub" in refusal(client.fetch("owner/tiny", filename))
    assert hub.count("GET") == 0 and files(tmp_path) == {}


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE"])
def test_a_cache_that_takes_no_files_says_where_else_to_put_them(client: Client, tmp_path: Path, variable: str) -> None:
    (tmp_path / "file").write_text("a file is where the cache's folder should be")
    client.environment[variable] = str(tmp_path / "file")
    message = refusal(client.fetch("owner/tiny", "config.json"))
    assert "HF_HOME" in message and str(tmp_path / "file") in message


def test_a_disk_that_is_full_leaves_nothing_half_written(client: Client) -> None:
    # As on a full disk, writing fails in the middle of the file.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))"
    client.environment["PYTHONDONTWRITEBYTECODE"] = "1"  # it would be cut short in `__pycache__`
    command = client.command("fetch", "owner/tiny", "model.safetensors", before=limit)
    answer = subprocess.check_output(command, env=client.environment, text=True, timeout=60)
    assert "HF_HOME" in refusal(json.loads(answer))
    assert not any("blobs" in name or "snapshots" in name for name in finished(client.cache))
