"""Small checkpoints to read, in one file or in shards."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from minigpt2 import Checkpoint
from tests.small_gpt2 import random_tensors

SIZES = {"n_layer": 2, "n_embd": 4, "n_positions": 8, "vocab_size": 10}
Tensors = dict[str, np.ndarray[Any, Any]]


def gpt2_tensors(prefix: str = "", **sizes: int) -> Tensors:
    return {prefix + name: array for name, array in random_tensors(SIZES | sizes).items()}


def save(directory: Path, tensors: Tensors, name: str = "model.safetensors", config: object = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / name)
    if config is not None:
        (directory / "config.json").write_text(json.dumps(config))
    return directory / name


def save_sharded(directory: Path, tensors: Tensors) -> Path:
    """Two shards, every second tensor in each, and their index."""
    weight_map = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for shard in set(weight_map.values()):
        save(directory, {name: tensors[name] for name, at in weight_map.items() if at == shard}, shard)
    return write_index(directory, {"metadata": {"total_size": 0}, "weight_map": weight_map})


def write_index(directory: Path, index: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


def assert_holds(weights: Checkpoint, tensors: Tensors) -> None:
    assert set(weights) == set(tensors) and len(weights) == len(tensors)
    for name, array in weights.items():
        np.testing.assert_array_equal(array, tensors[name])
