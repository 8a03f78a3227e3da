"""Merges that are learned here and those of the byte-level trainer of `tokenizers`: the same, in the same order."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as ReferenceTokenizer
from tokenizers import models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer

from minigpt2 import Tokenizer, bpe
from minigpt2.cli import main
from minigpt2.cli.train_bpe import pretoken_counts
from minigpt2.vocabulary import from_pairs
from tests.command import ROOT
from tests.conftest import hurtful_texts

Written = list[tuple[str, str]]


def learned(path: Path, count: int) -> Written:
    """The merges learned from a file, written as in `merges.txt`."""
    pairs = [merge.pair for merge in islice(bpe.train(pretoken_counts([str(path)])), count)]
    vocabulary = from_pairs(np.array(pairs, np.int64).reshape(-1, 2))
    return [(vocabulary.written(left), vocabulary.written(right)) for left, right in pairs]


def reference(text: str, count: int) -> Written:
    """The merges that `tokenizers` learns from a text."""
    tokenizer = ReferenceTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + count, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training") / "text.txt"


@given(text=hurtful_texts(), count=st.integers(1, 60))
def test_the_merges_of_any_text_are_the_references(text: str, count: int, path: Path) -> None:
    path.write_bytes(text.encode())
    assert learned(path, count) == reference(text, count)


@given(text=st.text("ab é", max_size=80), count=st.integers(1, 60))
def test_ties_and_repeated_letters_are_resolved_as_in_the_reference(text: str, count: int, path: Path) -> None:
    path.write_bytes(text.encode())
    assert learned(path, count) == reference(text, count)


def test_a_thousand_merges_of_real_text_are_the_references(path: Path) -> None:
    text = "".join(source.read_text("utf-8") for source in sorted((ROOT / "tests").rglob("*.py")))
    path.write_text(text, "utf-8", newline="")
    merges = learned(path, 1000)
    assert len(merges) == 1000
    assert merges == reference(text, 1000)


def test_transformers_opens_what_the_command_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = ROOT / "README.md"
    assert main(["train-bpe", str(readme), "--merges", "300", "-o", str(tmp_path)]) == 0
    ours, theirs = Tokenizer.from_pretrained(tmp_path), GPT2Tokenizer.from_pretrained(tmp_path)
    ids = ours.encode(readme.read_text("utf-8"))
    assert ids == theirs(readme.read_text("utf-8"))["input_ids"]
    assert max(ids) > 256
    assert len(ours) == len(theirs) == 256 + 300 + 1
