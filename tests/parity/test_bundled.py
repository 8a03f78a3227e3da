"""The bundled model's file: transformers computes the same with it, and it has learnt something."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from minigpt2 import GPT2, Checkpoint, Embeddings, Tokenizer
from minigpt2.weights.bundled import DIRECTORY, is_bundled
from scripts.check_bundled import NEIGHBOURS

TEXT = "Once upon a time there was a king who had three daughters, and the youngest of them went down to the sea."


@pytest.fixture(scope="module")
def reference() -> GPT2LMHeadModel:
    """The model as transformers loads it, after making sure that it misses nothing and passes over nothing."""
    loaded: Any = GPT2LMHeadModel.from_pretrained(DIRECTORY, dtype=torch.float32, output_loading_info=True)
    model, report = loaded
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    return model  # type: ignore[no-any-return]


def test_it_is_small_narrow_and_labelled() -> None:
    weights = Checkpoint.bundled()
    assert sum(path.stat().st_size for path in DIRECTORY.iterdir()) < 15_000_000
    assert {weights[name].dtype for name in weights} == {np.dtype(np.float16)}
    assert is_bundled(weights)
    assert json.loads(weights.metadata["held_back_losses"]).keys() == {"84", "289"}


def test_it_has_gpt2s_vocabulary_and_parameters(reference: GPT2LMHeadModel) -> None:
    weights = Checkpoint.bundled()
    assert [name for name, _ in reference.named_parameters()] == weights.parameter_names()
    assert (weights.config["model_type"], weights.config["vocab_size"]) == ("gpt2", len(Tokenizer()))


def test_every_hidden_state_and_logit_is_that_of_transformers(reference: GPT2LMHeadModel) -> None:
    ids = Tokenizer().encode(TEXT, return_tensors="np")
    with torch.no_grad():
        expected = reference(torch.from_numpy(ids), output_hidden_states=True)
    found = GPT2.bundled()(ids, output_hidden_states=True)
    assert found.hidden_states is not None
    for ours, theirs in zip(found.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.logits, expected.logits.numpy(), atol=1e-4)


def test_once_upon_a_goes_on_with_time() -> None:
    (_, token, _), *_ = GPT2.bundled().next_tokens("Once upon a", k=1)
    assert token == "Ġtime"


@pytest.mark.parametrize("word", NEIGHBOURS)
def test_the_nearest_ten_of_a_word_are_of_its_kind(word: str) -> None:
    least, wanted = NEIGHBOURS[word]
    tokenizer = Tokenizer()
    (token_id,) = tokenizer.encode(f" {word}")
    nearest = {
        tokenizer.decode([i]).strip().lower() for i, _ in Embeddings(Checkpoint.bundled()).nearest(token_id, k=10)
    }
    assert len(nearest & set(wanted.split())) >= least
