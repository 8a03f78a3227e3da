"""A checkpoint is a read-only mapping of names to arrays that knows whether it is a GPT-2."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from minigpt2 import Checkpoint, CheckpointError, Embeddings
from tests.weights.samples import SIZES, assert_holds, gpt2_tensors, save, save_sharded, write_index

# --- where it is


def test_opens_a_file_a_directory_and_an_index(tmp_path: Path) -> None:
    tensors = gpt2_tensors()
    file = save(tmp_path / "whole", tensors)
    index = save_sharded(tmp_path / "sharded", tensors)
    for path in (file, file.parent, str(file), index, index.parent):
        assert_holds(Checkpoint.open(path), tensors)


def test_an_empty_name_is_not_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(save(tmp_path, gpt2_tensors()).parent)
    with pytest.raises(FileNotFoundError, match="the name of a file is empty"):
        Checkpoint.open("")
    for open_it in (Checkpoint.from_pretrained, Checkpoint.remote):
        with pytest.raises(ValueError, match="'' is neither a directory nor a model's name"):
            open_it("")


def test_opens_the_only_file_or_index_of_a_directory_whatever_its_name(tmp_path: Path) -> None:
    tensors = gpt2_tensors()
    save(tmp_path / "whole", tensors, "weights.safetensors")
    save_sharded(tmp_path / "sharded", tensors).rename(tmp_path / "sharded" / "weights.safetensors.index.json")
    assert_holds(Checkpoint.open(tmp_path / "whole"), tensors)
    assert_holds(Checkpoint.open(tmp_path / "sharded"), tensors)


def test_prefers_the_whole_file_to_the_index_as_transformers_does(tmp_path: Path) -> None:
    save_sharded(tmp_path, gpt2_tensors())
    save(tmp_path, {"a": np.zeros(1)})
    assert list(Checkpoint.open(tmp_path)) == ["a"]


def test_a_missing_path_is_file_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path / "missing.safetensors", tmp_path / "missing.index.json"):
        with pytest.raises(FileNotFoundError, match="missing"):
            Checkpoint.open(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="Linux has a file whose first byte cannot be read")
def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(OSError, match="Input/output error: '/proc/self/mem'"):
        Checkpoint.open("/proc/self/mem")


def test_a_file_that_cannot_be_mapped_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_map(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    path = save(tmp_path, gpt2_tensors())
    monkeypatch.setattr("safetensors.safe_open", cannot_map)
    with pytest.raises(CheckpointError, match=rf"{path} cannot be read: .*No such device"):
        Checkpoint.open(path)


@pytest.mark.parametrize("path", [None, 5, b"gpt2"])
def test_what_is_no_path_is_a_type_error(path: Any) -> None:
    with pytest.raises(TypeError):
        Checkpoint.open(path)
    with pytest.raises(TypeError):
        Checkpoint.from_pretrained(path)


def test_a_directory_without_weights_is_refused_saying_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no safetensors weights: it needs model\.safetensors"):
        Checkpoint.open(tmp_path)


def test_a_directory_of_pickles_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match=r"only pytorch_model\.bin: .*run code.*save_pretrained\(\)"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("name", ["training_args.bin", "rng_state_0.pth", "scheduler.pt", "optimizer.bin"])
def test_the_state_of_a_training_run_is_not_taken_for_weights(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match=r"holds no safetensors weights: it needs model\.safetensors or"):
        Checkpoint.open(tmp_path)


def test_shards_without_their_index_are_refused_naming_it(tmp_path: Path) -> None:
    save_sharded(tmp_path, gpt2_tensors()).unlink()
    shards = sorted(tmp_path.glob("*.safetensors"))
    reason = r"shards of one model are opened by their index, such as model\.safetensors\.index\.json, beside them"
    with pytest.raises(CheckpointError, match=rf"2 safetensors files and no model\S+: open one of .*; {reason}$"):
        Checkpoint.open(tmp_path)
    for shard in shards:
        with pytest.raises(CheckpointError, match=rf"it has no '\S+'.*; {reason}; it holds"):
            Checkpoint.open(shard).parameter_names()


def test_a_directory_of_a_variant_in_shards_is_refused_naming_its_index(tmp_path: Path) -> None:
    index = save_sharded(tmp_path, gpt2_tensors())
    variant = index.rename(tmp_path / "model.safetensors.index.fp16.json")
    with pytest.raises(CheckpointError, match=r"open one of model\.safetensors\.index\.fp16\.json$"):
        Checkpoint.open(tmp_path)
    assert set(Checkpoint.open(variant)) == gpt2_tensors().keys()


def test_a_directory_of_several_files_is_refused_naming_them(tmp_path: Path) -> None:
    for name in ("one.safetensors", "two.safetensors"):
        save(tmp_path, gpt2_tensors(), name)
    with pytest.raises(CheckpointError, match=r"one\.safetensors, two\.safetensors"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize("name", ["ema.safetensors", "model.fp16.safetensors", "model-00001-of-00001.safetensors"])
def test_weights_of_another_name_are_not_taken_for_those_of_a_pickle_that_transformers_opens(
    name: str, pickle: str, tmp_path: Path
) -> None:
    path = save(tmp_path, gpt2_tensors(), name)
    (tmp_path / pickle).write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"holds {pickle}, which transformers opens: open .*{name}"):
        Checkpoint.open(tmp_path)
    assert_holds(Checkpoint.open(path), gpt2_tensors())
    save(tmp_path, gpt2_tensors())
    assert Checkpoint.open(tmp_path).path.name == "model.safetensors"


@pytest.mark.parametrize("is_sharded", [False, True], ids=["model.safetensors", "an index"])
def test_weights_beside_a_distributed_checkpoint_are_not_taken_for_it(is_sharded: bool, tmp_path: Path) -> None:
    path = (save_sharded if is_sharded else save)(tmp_path, gpt2_tensors())
    save(tmp_path, gpt2_tensors(), "shard-00001-model-00001-of-00001.safetensors")
    with pytest.raises(CheckpointError, match=rf"holds shard-00001-\S+, which transformers opens: open .*{path.name}"):
        Checkpoint.open(tmp_path)
    assert set(Checkpoint.open(path)) == gpt2_tensors().keys()


def test_a_distributed_checkpoint_is_not_told_to_have_an_index(tmp_path: Path) -> None:
    names = [f"shard-0000{n}-model-00001-of-00002.safetensors" for n in (1, 2)]
    for name in names:
        save(tmp_path, gpt2_tensors(), name)
    with pytest.raises(CheckpointError, match=f"open one of {', '.join(names)}$"):
        Checkpoint.open(tmp_path)


# --- shards

INDEXES: dict[str, object] = {
    "no object": ["a"],
    "no weight_map": {"metadata": {}},
    "a weight_map that is a list": {"weight_map": ["a"]},
    "a shard that is a number": {"weight_map": {"a": 1}},
    "a shard above": {"weight_map": {"a": "../model.safetensors"}},
    "a shard below": {"weight_map": {"a": "deep/model.safetensors"}},
    "an absolute shard": {"weight_map": {"a": "/model.safetensors"}},
    "a shard on another drive": {"weight_map": {"a": "C:model.safetensors"}},
    "a shard behind a backslash": {"weight_map": {"a": "..\\model.safetensors"}},
    "the directory above as a shard": {"weight_map": {"a": ".."}},
    "a shard without a name": {"weight_map": {"a": ""}},
    "a shard with NUL": {"weight_map": {"a": "model\0.safetensors"}},
    "a shard that is not there": {"weight_map": {"a": "missing.safetensors"}},
    "a tensor that its shard has not": {"weight_map": {"b": "model.safetensors"}},
    "a tensor that the index has not": {"weight_map": {"lm_head.weight": "model.safetensors"}},
    "a tensor of two shards": {"weight_map": {"a": "model.safetensors", "b": "other.safetensors"}},
    "a shard that is the index": {"weight_map": {"a": "model.safetensors.index.json"}},
}


@pytest.mark.parametrize("name", INDEXES)
def test_a_damaged_index_is_refused_by_name(tmp_path: Path, name: str) -> None:
    save(tmp_path, {"a": np.zeros(1)})
    save(tmp_path, {"a": np.ones(1), "b": np.zeros(1)}, "other.safetensors")
    index = write_index(tmp_path, INDEXES[name])
    with pytest.raises(CheckpointError, match=r"index\.json"):
        Checkpoint.open(index)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"\x80\x02}"])
def test_an_index_that_is_no_json_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=r"index\.json is not sound JSON"):
        Checkpoint.open(tmp_path)


def test_a_damaged_shard_is_refused_by_its_own_name(tmp_path: Path) -> None:
    index = save_sharded(tmp_path, gpt2_tensors())
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors.*Git LFS pointer"):
        Checkpoint.open(index)


# --- names


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_a_name_is_found_with_and_without_the_prefix(tmp_path: Path, prefix: str) -> None:
    tensors = gpt2_tensors(prefix)
    weights = Checkpoint.open(save(tmp_path, tensors))
    for name in ("wte.weight", "transformer.wte.weight", "lm_head.weight"):
        assert name in weights
        assert weights.info(name).shape == (10, 4)
        np.testing.assert_array_equal(weights[name], tensors[prefix + "wte.weight"])


@pytest.mark.parametrize("listed", [["wte.weight"], ["wte.weight", "lm_head.weight"], ["lm_head.weight"]])
@pytest.mark.parametrize("there", [["wte.weight"], ["wte.weight", "lm_head.weight"], ["lm_head.weight"]])
def test_an_index_may_list_either_or_both_of_two_tied_names(
    listed: list[str], there: list[str], tmp_path: Path
) -> None:
    tensors = gpt2_tensors()
    wte, config = tensors.pop("wte.weight"), {"model_type": "gpt2", "n_head": 2}
    shard = save(tmp_path, tensors | dict.fromkeys(there, wte), "model-00001-of-00001.safetensors", config=config)
    write_index(tmp_path, {"weight_map": dict.fromkeys([*tensors, *listed], shard.name)})
    weights = Checkpoint.open(tmp_path)
    for name in ("wte.weight", "lm_head.weight"):
        np.testing.assert_array_equal(weights[name], wte)


def test_an_own_lm_head_is_not_the_wte(tmp_path: Path) -> None:
    tensors = gpt2_tensors() | {"lm_head.weight": np.ones((10, 4), np.float32)}
    np.testing.assert_array_equal(Checkpoint.open(save(tmp_path, tensors))["lm_head.weight"], 1)


def test_a_file_without_wte_has_no_lm_head(tmp_path: Path) -> None:
    assert "lm_head.weight" not in Checkpoint.open(save(tmp_path, {"a": np.zeros(1)}))


def test_a_missing_name_is_a_key_error_with_the_closest_names(tmp_path: Path) -> None:
    weights = Checkpoint.open(save(tmp_path, gpt2_tensors()))
    with pytest.raises(KeyError, match=r"model\.safetensors has no tensor 'wte\.wieght'; close to it: wte\.weight"):
        weights["wte.wieght"]
    with pytest.raises(KeyError, match=r"it holds 28 tensors: 'h\.0\.attn\.c_attn\.bias', .*, …"):
        weights.info("something else altogether")
    assert weights.get("nothing") is None
    others: list[object] = ["nothing", "transformer.", "", 5, None]
    assert not any(other in weights for other in others)


def test_arrays_are_read_only_views(tmp_path: Path) -> None:
    weights = Checkpoint.open(save(tmp_path, gpt2_tensors()))
    assert not any(array.flags.writeable or array.flags.owndata for array in weights.values())


def test_it_prints_itself_and_can_be_a_key(tmp_path: Path) -> None:
    tensors = gpt2_tensors() | {"mask": np.zeros(300, np.int8)}
    path, nbytes = save(tmp_path, tensors), sum(array.nbytes for array in tensors.values())
    weights, again = Checkpoint.open(path), Checkpoint.open(path)
    assert repr(weights) == f"<Checkpoint {str(path)!r}: 29 tensors, {nbytes:,} bytes of F32, I8>"
    assert weights != again and len({weights, again, weights}) == 2


def test_metadata_is_what_the_files_say_of_themselves(tmp_path: Path) -> None:
    save_file(gpt2_tensors(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert Checkpoint.open(tmp_path).metadata == {"format": "pt"}


def test_a_file_that_is_gone_since_is_refused_when_it_is_read(tmp_path: Path) -> None:
    weights = Checkpoint.open(save(tmp_path, gpt2_tensors()))
    embeddings = Embeddings(weights)
    save(tmp_path, {"a": np.zeros(1)})
    for read in (lambda: weights["wte.weight"], lambda: embeddings.tokens([1]), lambda: embeddings.nearest(1)):
        with pytest.raises(CheckpointError, match="has changed since it was opened"):
            read()


# --- config


def test_config_is_the_file_beside_the_weights_and_read_only(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_head": 2, **SIZES}
    index = save_sharded(tmp_path, gpt2_tensors())
    (tmp_path / "config.json").write_text(json.dumps(config))
    read: Any = Checkpoint.open(index).config
    assert read == config
    with pytest.raises(TypeError):
        read["n_head"] = 3


def test_without_config_all_but_config_works(tmp_path: Path) -> None:
    weights = Checkpoint.open(save(tmp_path, gpt2_tensors()))
    assert len(list(weights.named_parameters())) == 28
    assert Embeddings(weights)([1, 2]).shape == (2, 4)
    with pytest.raises(CheckpointError, match=r"no config\.json beside .*model\.safetensors"):
        _ = weights.config


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "sound JSON"), ("{", "sound JSON"), ("[]", "not a JSON object"), ('{"model_type": "llama"}', "'llama'")],
)
def test_a_damaged_or_foreign_config_is_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    weights = Checkpoint.open(save(tmp_path, gpt2_tensors()))
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"config\.json .*{reason}"):
        _ = weights.config


def test_reads_from_many_threads_agree(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    weights = Checkpoint.open(save(tmp_path, gpt2_tensors()))
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda i: weights.rows("wte.weight", np.array([i % 10])), range(200)))
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(row, weights["wte.weight"][[i % 10]])
