"""What cannot be read by byte ranges is refused: names, versions, pickles, and files that are not safetensors."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import hf_hub_download

from minigpt2 import CheckpointError, Embeddings, HubError
from tests.command import errors_on_a_terminal, files_in
from tests.hub_server import Hub
from tests.hub_settings import online
from tests.weights.remote.published import MODEL, WEIGHTS, Open, assert_same
from tests.weights.samples import gpt2_tensors, save


@pytest.mark.parametrize("model", ["./here", "/here/there", "here.safetensors"])
def test_a_path_is_refused(remote: Open, model: str) -> None:
    with pytest.raises(ValueError, match=r"is a path .* Checkpoint\.open reads it"):
        remote(model)


@pytest.mark.parametrize(("options", "error"), [({"revision": "../x"}, ValueError), ({"revision": 5}, TypeError)])
def test_a_name_that_leaves_the_cache_is_refused(remote: Open, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        remote(**options)


@pytest.mark.parametrize("version", ["0.34.0", "0.36.2"])
def test_reading_by_ranges_says_which_huggingface_hub_it_needs(
    version: str, remote: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.__version__", version)
    with pytest.raises(HubError, match=rf"needs huggingface_hub 1\.0 or newer, not {version}.*minigpt2 download"):
        remote()


def test_another_architecture_opens_and_is_refused_where_a_gpt2_is_needed(hub: Hub, remote: Open) -> None:
    from safetensors.numpy import save as serialize

    hub.publish("owner/bert", {WEIGHTS: serialize({"bert.pooler.bias": np.arange(3.0)})})
    weights = remote("owner/bert")
    assert_same(weights["bert.pooler.bias"], [0, 1, 2])
    for need in (weights.parameter_names, lambda: Embeddings(weights), lambda: weights.config):
        with pytest.raises(CheckpointError, match=r"is not a GPT-2: it has no 'wte.weight'; it holds 1 tensors"):
            need()


def test_a_repository_of_pickles_is_refused_with_the_reason(hub: Hub, remote: Open) -> None:
    hub.publish("owner/old", {"pytorch_model.bin": b"PK", "config.json": b"{}"})
    with pytest.raises(CheckpointError, match=r"owner/old has neither .* can run code .* save_pretrained\(\)"):
        remote("owner/old")
    assert not any(request.path.endswith(".bin") for request in hub.requests)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!doctype html><title>hello</title>" * 2000, "is a web page"),
        (b"PK\x03\x04" + bytes(99_999), "is a zip archive"),
        (b"\x10\x27\0\0\0\0\0\0[" + bytes(99_999), "invalid JSON"),
        (b'\xf0\x49\x02\0\0\0\0\0{"a":' + b"[" * 149_995, "recursion"),
        (b"\x02\0\0\0\0\0\0\0{}x", "not fully covered"),
    ],
)
def test_what_is_no_safetensors_file_is_refused_and_not_read_on(
    hub: Hub, remote: Open, data: bytes, words: str
) -> None:
    hub.publish("owner/damaged", {WEIGHTS: data})
    with pytest.raises(CheckpointError, match=words):
        remote("owner/damaged")
    assert hub.sent_bytes <= (16384 if data[8:9] != b"{" else 160_000)


def test_a_model_without_config_has_all_but_config(hub: Hub, remote: Open, tmp_path: Path) -> None:
    save(tmp_path / "bare", gpt2_tensors())
    hub.publish("owner/bare", files_in(tmp_path / "bare"))
    weights = remote("owner/bare")
    assert Embeddings(weights)([1, 2]).shape == (2, 4)
    with pytest.raises(CheckpointError, match=r"no config\.json beside"):
        _ = weights.config


SHOWN = """
from minigpt2.weights.remote import tensors

tensors.BAR_FROM = 0
tensors.RemoteTensors.open("owner/odd", "a\\x1b[2J.safetensors").fetch(["wte.weight"])
"""


def test_a_files_name_cannot_send_escapes_to_a_terminal(hub: Hub, published: Path, tmp_path: Path) -> None:
    """An index on the hub chooses the names of its shards."""
    hub.publish("owner/odd", {"a\x1b[2J.safetensors": (published / WEIGHTS).read_bytes()})
    shown = errors_on_a_terminal([sys.executable, "-c", SHOWN], online(hub.url, tmp_path / "home"))
    assert "a\\x1b[2J.safetensors: 100%" in shown and "\x1b[2J" not in shown


@pytest.mark.parametrize("name", ["config.json", "vocab.json"])
def test_what_the_cache_has_beside_it_is_not_replaced(name: str, remote: Open, hub: Hub, published: Path) -> None:
    (published / "vocab.json").write_text("{}")
    hub.publish(MODEL, files_in(published))
    weights = remote()
    path = hf_hub_download(MODEL, name, cache_dir=weights.other_files.directory.parents[2])
    with pytest.raises(ValueError, match="belongs to the checkpoint that is read"):
        weights.save(path, names=["wpe.weight"])
