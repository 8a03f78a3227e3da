"""Copies and pickles of a checkpoint, and of what is made of one, read the same numbers or refuse."""

import copy
import gc
import json
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigpt2 import GPT2, Checkpoint, CheckpointError, Embeddings
from minigpt2.weights.stats import tensor_stats
from tests.small_gpt2 import write_gpt2
from tests.weights.samples import Tensors, assert_holds, gpt2_tensors, save, save_sharded

Again = Callable[[Any], Any]
WAYS: list[Again] = [copy.copy, copy.deepcopy, lambda original: pickle.loads(pickle.dumps(original))]
every_way = pytest.mark.parametrize("again", WAYS, ids=["copy", "deepcopy", "pickle"])


def ones(directory: Path, value: float = 1) -> Path:
    return save(directory, {"wte.weight": np.full((50, 8), value, "f4"), "wpe.weight": np.full((4, 8), value, "f4")})


def all_read(weights: Checkpoint, directory: Path) -> list[float]:
    """The mean of `wte` by every way to read it."""
    out = np.empty((50, 8), np.float32)
    weights.read_into("wte.weight", out)
    weights.save(directory / "saved.safetensors")
    return [
        weights["wte.weight"].mean(),
        weights.rows("wte.weight", slice(3)).mean(),
        next(iter(weights.blocks("wte.weight"))).mean(),
        out.mean(),
        tensor_stats(weights, "wte.weight").mean,
        Embeddings(weights).tokens([1, 2]).mean(),
        Checkpoint.open(directory / "saved.safetensors")["wte.weight"].mean(),
    ]


@every_way
def test_a_copy_outlives_its_original(tmp_path: Path, again: Again) -> None:
    weights: Checkpoint | None = Checkpoint.open(ones(tmp_path / "ones"))
    same = again(weights)
    del weights
    gc.collect()  # closes the original's file, whose number the next one gets
    other = Checkpoint.open(ones(tmp_path / "sevens", value=7))
    assert set(all_read(same, tmp_path)) == {1}
    assert set(all_read(other, tmp_path)) == {7}


def test_another_process_reads_the_same_numbers(tmp_path: Path) -> None:
    weights = Checkpoint.open(ones(tmp_path / "ones"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert set(pool.apply(all_read, (weights, tmp_path))) == {1}


@every_way
def test_shards_and_what_was_read_already_come_along(tmp_path: Path, again: Again) -> None:
    tensors: Tensors = gpt2_tensors()
    (tmp_path / "config.json").write_text(json.dumps({"n_head": 2}))
    weights = Checkpoint.open(save_sharded(tmp_path, tensors))
    assert weights.config["n_head"] == 2
    (tmp_path / "config.json").write_text(json.dumps({"n_head": 1}))
    same = again(weights)
    assert_holds(same, tensors)
    assert same.config == weights.config
    with pytest.raises(TypeError):
        same.config["n_head"] = 1


@every_way
def test_a_model_and_embeddings_compute_the_same(tmp_path: Path, again: Again) -> None:
    write_gpt2(tmp_path)
    weights = Checkpoint.open(tmp_path)
    model, embeddings = GPT2(weights), Embeddings(weights)
    np.testing.assert_allclose(again(model)([1, 2, 3]).logits, model([1, 2, 3]).logits, rtol=1e-6)
    assert again(model).config == model.config
    assert again(embeddings).nearest(1) == embeddings.nearest(1)


def test_a_pickle_is_small_and_refuses_another_file(tmp_path: Path) -> None:
    path = ones(tmp_path)
    pickled = pickle.dumps(Checkpoint.open(path))
    assert len(pickled) < 1000
    ones(tmp_path / "other", value=7).replace(path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not the file that was pickled: open it here"):
        pickle.loads(pickled)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        pickle.loads(pickled)
