"""`from_pretrained` opens what is at a path, in the cache or on the hub, as transformers does."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minigpt2 import Checkpoint, CheckpointError, Embeddings, hub
from minigpt2.hub import download
from tests.command import files_in
from tests.hub_server import Hub
from tests.weights.samples import Tensors, assert_holds, gpt2_tensors, save, save_sharded, write_index

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def snapshot(cache: Path, model: str = "owner/name") -> Path:
    """The directory of a snapshot in a cache laid out as huggingface_hub lays it out."""
    folder = cache / f"models--{model.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    return folder / "snapshots" / COMMIT


def test_from_pretrained_opens_a_directory_or_a_file(tmp_path: Path) -> None:
    file = save(tmp_path / "model", gpt2_tensors())
    assert_holds(Checkpoint.from_pretrained(file.parent), gpt2_tensors())
    assert_holds(Checkpoint.from_pretrained(str(file)), gpt2_tensors())


@pytest.mark.parametrize("model", ["./missing", "missing.safetensors", "/missing/directory"])
def test_from_pretrained_does_not_look_for_a_path_on_the_hub(model: str) -> None:
    with pytest.raises(FileNotFoundError):
        Checkpoint.from_pretrained(model)


def test_from_pretrained_reads_whatever_is_at_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ["a.txt", "weights", "model.bin"]:
        Path(name).write_text("not weights")
        with pytest.raises(CheckpointError, match=rf"^{name}"):
            Checkpoint.from_pretrained(name)


@pytest.mark.parametrize("keep", [save, save_sharded])
def test_from_pretrained_opens_a_cached_model_without_a_request(
    tmp_path: Path, keep: Callable[[Path, Tensors], Path]
) -> None:
    directory = snapshot(tmp_path)
    keep(directory, gpt2_tensors())
    (directory / "config.json").write_text('{"model_type": "gpt2", "n_head": 2}')
    weights = Checkpoint.from_pretrained("owner/name", cache_dir=tmp_path, local_files_only=True)
    assert_holds(weights, gpt2_tensors())
    assert weights.config["n_head"] == 2


def test_from_pretrained_does_without_config_until_it_is_needed(tmp_path: Path) -> None:
    tensors = gpt2_tensors()
    save(snapshot(tmp_path), tensors | {"lm_head.weight": tensors["wte.weight"]})
    weights = Checkpoint.from_pretrained("owner/name", cache_dir=tmp_path, local_files_only=True)
    assert Embeddings(weights).tokens([1]).shape == (1, 4)
    assert "lm_head.weight" not in weights.parameter_names()
    with pytest.raises(
        hub.HubError,
        match=r"config\.json .* is not in the cache; `minigpt2 download owner/name --revision [0-9a-f]{40}`",
    ):
        _ = weights.config


def test_what_from_pretrained_downloaded_is_a_model_without_a_network(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path, gpt2_tensors(), config={"model_type": "gpt2", "n_head": 2})
    hub.publish("owner/name", files_in(tmp_path))
    Checkpoint.from_pretrained("owner/name")
    assert Checkpoint.from_pretrained("owner/name", local_files_only=True).config["n_head"] == 2


def test_so_is_a_sharded_one_whose_index_was_cached_before(hub: Hub, tmp_path: Path) -> None:
    save_sharded(tmp_path, gpt2_tensors())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_head": 2}))
    hub.publish("owner/name", files_in(tmp_path))
    download("owner/name", "model.safetensors.index.json")
    Checkpoint.from_pretrained("owner/name")
    assert Checkpoint.from_pretrained("owner/name", local_files_only=True).config["n_head"] == 2


def test_from_pretrained_says_what_is_not_cached(tmp_path: Path) -> None:
    with pytest.raises(hub.HubError, match=r"owner/name.*model\.safetensors"):
        Checkpoint.from_pretrained("owner/name", cache_dir=tmp_path, local_files_only=True)


def test_from_pretrained_refuses_a_model_of_pickles_with_the_reason(tmp_path: Path) -> None:
    directory = snapshot(tmp_path).parent.parent / ".no_exist" / COMMIT
    directory.mkdir(parents=True)
    for name in ("model.safetensors", "model.safetensors.index.json"):
        (directory / name).touch()
    with pytest.raises(
        CheckpointError, match=r"owner/name has neither .* pickle such as pytorch_model\.bin can run code"
    ):
        Checkpoint.from_pretrained("owner/name", cache_dir=tmp_path, local_files_only=True)


def test_from_pretrained_takes_every_file_from_the_commit_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / COMMIT
    save_sharded(directory, gpt2_tensors())
    asked: dict[str, str | None] = {}

    def fetch(
        model: str, filename: str, *, revision: str | None = None, local_files_only: bool = False, **_: object
    ) -> Path:
        if local_files_only:
            raise hub.HubError(filename)
        asked[filename] = revision
        if not (directory / filename).exists():
            raise hub.MissingFileError(filename)
        return directory / filename

    monkeypatch.setattr(hub, "fetch", fetch)
    Checkpoint.from_pretrained("owner/name", revision="v1", cache_dir=tmp_path)
    assert asked == {
        "model.safetensors": "v1",
        "model.safetensors.index.json": "v1",
        "model-00001-of-00002.safetensors": COMMIT,
        "model-00002-of-00002.safetensors": COMMIT,
        "config.json": COMMIT,
        "adapter_config.json": COMMIT,
        "generation_config.json": COMMIT,
    }


@pytest.mark.parametrize("shard", ["../../../../secret", "a\0b", "\ud800"])
def test_an_index_from_the_hub_cannot_name_files_elsewhere(shard: str, tmp_path: Path) -> None:
    write_index(snapshot(tmp_path), {"weight_map": {"a": shard}})
    with pytest.raises(CheckpointError, match="not a plain file name"):
        Checkpoint.from_pretrained("owner/name", cache_dir=tmp_path, local_files_only=True)


def test_a_folder_of_a_published_models_name_that_holds_no_file_of_a_model_is_not_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt2" / "empty").mkdir(parents=True)
    for name in ("training_args.bin", "train.bin", "train.bin.json", "gpt2_ids.bin", "model.py"):
        (tmp_path / "gpt2" / name).write_bytes(b"")
    for call in (Checkpoint.from_pretrained, Checkpoint.remote):
        with pytest.raises(hub.HubError, match=r"gpt2: model\.safetensors"):
            call("gpt2", cache_dir=tmp_path / "cache")
    save(tmp_path / "gpt2", gpt2_tensors())
    assert_holds(Checkpoint.from_pretrained("gpt2"), gpt2_tensors())


def test_such_a_folder_that_cannot_be_listed_is_refused_as_in_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_: object) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))  # type: ignore[call-overload]

    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt2").mkdir()
    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    for call in (Checkpoint.from_pretrained, Checkpoint.remote):
        with pytest.raises(PermissionError, match="gpt2"):
            call("gpt2", cache_dir=tmp_path / "cache")


OF_A_MODEL = ["config.json", "pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "adapter_model.bin"]
OF_A_MODEL += ["tokenizer.json", "vocab.json", "encoder.json", "model.safetensors.index.json", "other.safetensors"]
OF_A_MODEL += ["tf_model.h5", "checkpoint-500/model.safetensors", "checkpoint-500/config.json"]
OF_A_MODEL += ["ckpt.pt", "model.pth", "epoch=1-step=10.ckpt", "model.bin", "run/ckpt.pt"]
OF_A_MODEL += [
    "gpt2_124M.bin",
    "model_00019560.bin",
    "rust_model.ot",
    "gpt2.Q8_0.gguf",
    "onnx/model.onnx",
    "style/adapter_config.json",
    "pytorch_model_fsdp_0/__0_0.distcp",
]


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_folder_of_a_published_models_name_with_any_file_of_a_model_is_meant_as_in_transformers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt2" / name).parent.mkdir(parents=True)
    (tmp_path / "gpt2" / name).write_text("{}")
    with pytest.raises(CheckpointError, match="gpt2"):
        Checkpoint.from_pretrained("gpt2")
    with pytest.raises(ValueError, match="a path on this machine"):
        Checkpoint.remote("gpt2")


def test_of_a_folder_of_a_published_models_name_without_weights_the_error_gives_the_models_other_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "distilgpt2").mkdir()
    (tmp_path / "distilgpt2" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"only pytorch_model\.bin: .* is also called distilbert/distilgpt2$"):
        Checkpoint.from_pretrained("distilgpt2")
