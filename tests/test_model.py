"""The model in itself: the equations, batches, masks, caches, hooks, losses, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from minigpt2 import GPT2, Checkpoint
from minigpt2.weights.gpt2_layout import gpt2_shapes
from tests import textbook

Array = NDArray[Any]
SIZES = {"n_layer": 3, "n_embd": 24, "n_positions": 300, "vocab_size": 101}
N_HEAD = 4


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    write_gpt2(path)
    return path


@pytest.fixture(scope="module")
def model(directory: Path) -> GPT2:
    return GPT2(Checkpoint.open(directory))


def write_gpt2(directory: Path, **config: Any) -> None:
    """Write a small GPT-2 of random numbers."""
    import json

    from safetensors.numpy import save_file

    random = np.random.default_rng(0)
    tensors = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in gpt2_shapes(**SIZES).items()}
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps({"n_head": N_HEAD, **SIZES, **config}))


def random_ids(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(0, SIZES["vocab_size"], shape)


@pytest.mark.parametrize("length", [1, 2, 6, 7, 129, 300])
def test_logits_are_those_of_the_textbook(model: GPT2, directory: Path, length: int) -> None:
    weights = {name: array.astype(np.float64) for name, array in Checkpoint.open(directory).items()}
    ids = random_ids(length)
    expected = textbook.logits(ids.tolist(), weights, N_HEAD, SIZES["n_layer"])
    np.testing.assert_allclose(model(ids).logits[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
