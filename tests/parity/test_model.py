"""The model, number by number that of transformers: as near to float64 as transformers is itself."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import GPT2LMHeadModel

from minigpt2 import GPT2, Checkpoint
from tests.random_gpt2 import saved_model

SEEDS = range(24)
Array = NDArray[Any]


def answers(model: GPT2LMHeadModel, ids: Array, **options: Any) -> Any:
    with torch.no_grad():
        return model(torch.as_tensor(ids), **options)


def assert_as_near(ours: Array, theirs: torch.Tensor, exact: torch.Tensor) -> None:
    """Whether our numbers are at most twice as far from float64's as those of transformers."""
    assert ours.dtype == np.float32 and ours.shape == tuple(theirs.shape)
    own_error = (theirs.double() - exact).abs().max().item()
    error = np.abs(ours - exact.numpy()).max()
    least = 16 * np.finfo(np.float32).eps * exact.abs().max().item()  # transformers may be near by luck
    assert error <= max(2 * own_error, least)


class Trio:
    """One model three times: ours, that of transformers, and that of transformers in float64."""

    def __init__(self, directory: Path, seed: int, **changes: Any) -> None:
        self.theirs = saved_model(directory, seed, **changes)
        self.exact = copy.deepcopy(self.theirs).double()
        layers: Any = self.exact.transformer.h
        for block in layers:
            block.attn.reorder_and_upcast_attn = False  # which would compute in float32
        self.ours = GPT2(Checkpoint.open(directory))
        self.config = self.theirs.config
        self.random = np.random.default_rng(seed)

    def ids(self, texts: int, tokens: int) -> Array:
        return self.random.integers(0, self.config.vocab_size, (texts, tokens))

    def compare(self, ids: Array) -> None:
        """Compare everything that a call gives."""
        wanted: dict[str, Any] = {"output_hidden_states": True, "output_attentions": True}
        ours: Any = self.ours(ids, **wanted)
        theirs, exact = answers(self.theirs, ids, **wanted), answers(self.exact, ids, **wanted)
        assert_as_near(ours.logits, theirs.logits, exact.logits)
        assert len(ours.hidden_states) == len(theirs.hidden_states) == self.config.n_layer + 1
        for states in zip(ours.hidden_states, theirs.hidden_states, exact.hidden_states, strict=True):
            assert_as_near(*states)
        assert len(ours.attentions) == len(theirs.attentions) == self.config.n_layer
        for patterns in zip(ours.attentions, theirs.attentions, exact.attentions, strict=True):
            assert_as_near(*patterns)


@pytest.mark.parametrize("seed", SEEDS)
def test_logits_hidden_states_and_attentions_are_those_of_transformers(tmp_path: Path, seed: int) -> None:
    trio = Trio(tmp_path, seed)
    for texts, tokens in ((1, 1), (1, 5), (2, 7), (1, trio.config.n_positions)):
        trio.compare(trio.ids(texts, tokens))
