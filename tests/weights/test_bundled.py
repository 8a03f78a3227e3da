"""The bundled model: a GPT-2 in every name and shape, small, labelled, and one that transformers opens."""

import json
from typing import Any

import numpy as np
import pytest
from transformers import GPT2LMHeadModel

from minigpt2 import GPT2, Checkpoint, Embeddings, Tokenizer
from minigpt2.weights.bundled import DIRECTORY, LABEL, is_bundled


@pytest.fixture(scope="module")
def weights() -> Checkpoint:
    return Checkpoint.bundled()


def test_it_is_small_and_says_what_it_is(weights: Checkpoint) -> None:
    assert sum(path.stat().st_size for path in DIRECTORY.iterdir()) < 15_000_000
    assert is_bundled(weights)
    assert weights.metadata["minigpt2"] == LABEL


def test_transformers_loads_it_with_the_same_parameters_and_logits(weights: Checkpoint) -> None:
    loaded: Any = GPT2LMHeadModel.from_pretrained(DIRECTORY, output_loading_info=True, dtype="float32")
    model, report = loaded
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert [name for name, _ in model.named_parameters()] == weights.parameter_names()
    import torch

    ids = Tokenizer().encode("Once upon a time")
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits.numpy()
    np.testing.assert_allclose(GPT2.bundled()(ids).logits, expected, atol=1e-4)


def test_it_has_gpt2s_vocabulary(weights: Checkpoint) -> None:
    assert Embeddings(weights).wte.shape[0] == len(Tokenizer())
    config = json.loads((DIRECTORY / "config.json").read_text())
    assert (config["model_type"], config["vocab_size"]) == ("gpt2", 50257)


def test_it_knows_how_stories_begin() -> None:
    assert GPT2.bundled().next_tokens("Once upon a", 1)[0][1] == "Ġtime"


@pytest.mark.parametrize(("word", "near"), [("Ġking", {"Ġqueen", "Ġprince"}), ("Ġthree", {"Ġtwo", "Ġfour", "Ġfive"})])
def test_neighbours_mean_something(word: str, near: set[str], weights: Checkpoint) -> None:
    tokenizer = Tokenizer()
    found = Embeddings(weights).nearest(tokenizer.convert_tokens_to_ids(word), 10)
    assert near & set(tokenizer.convert_ids_to_tokens([i for i, _ in found]))
