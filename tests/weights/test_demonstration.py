"""The demonstration weights are a GPT-2 in everything but size and sense, and say so."""

import gc
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import GPT2LMHeadModel

from minigpt2 import Checkpoint, Embeddings
from minigpt2.weights.demonstration import LABEL, demonstration_weights, is_demonstration


@pytest.fixture(scope="module")
def weights() -> Checkpoint:
    return demonstration_weights()


def test_they_are_labelled_in_the_file_itself(weights: Checkpoint, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.path.read_bytes())
    assert is_demonstration(weights) and is_demonstration(Checkpoint.open(copy))
    assert LABEL.encode() in weights.path.read_bytes()[:8192]


def test_other_weights_are_not(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert not is_demonstration(Checkpoint.open(tmp_path))


def test_transformers_loads_them_as_a_gpt2_with_the_same_parameters(weights: Checkpoint) -> None:
    loaded: Any = GPT2LMHeadModel.from_pretrained(weights.path.parent, output_loading_info=True)
    model, report = loaded
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert [name for name, _ in model.named_parameters()] == weights.parameter_names()
    assert model.config.n_head == weights.config["n_head"]


def test_they_have_gpt2s_vocabulary_and_positions(weights: Checkpoint) -> None:
    embeddings = Embeddings(weights)
    assert embeddings.wte.shape == (50257, 16) and embeddings.wpe.shape == (1024, 16)


def test_they_are_the_same_numbers_each_time_and_everywhere(weights: Checkpoint) -> None:
    # A fingerprint of ours, not a judge: it pins that no version of numpy and no machine makes other ones.
    fingerprint = hashlib.sha256(b"".join(array.tobytes() for _, array in weights.named_parameters())).hexdigest()
    assert fingerprint == "feeef8116546daf9b30f028d49bd237e575f9b63fefd384a200eefb707461ef7"


def test_every_row_is_different(weights: Checkpoint) -> None:
    assert len(np.unique(weights["wte.weight"], axis=0)) == 50257


def test_their_file_goes_when_they_go() -> None:
    weights = demonstration_weights()
    directory = weights.path.parent
    assert directory.exists()
    del weights
    gc.collect()
    assert not directory.exists()
