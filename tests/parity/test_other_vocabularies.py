"""Vocabularies that are not GPT-2's own: trained on the spot by `tokenizers`, read by both."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, pre_tokenizers, trainers

from minigpt2 import Tokenizer
from minigpt2.byte_alphabet import ALPHABET_ORDER, to_characters
from tests.conftest import hurtful_texts
from tests.parity.references import load_in_transformers

LESSON = (
    "It's the meaning of life: 42! Das heißt, it isn't 43 --- naïve été 日本 日本語 😀😀 the then there thesis.\n" * 3
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE vocabulary of 400 tokens, trained and saved by `tokenizers`; `<|endoftext|>` comes first."""
    directory = tmp_path_factory.mktemp("trained")
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    reference = HuggingFaceTokenizer(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.train_from_iterator([LESSON], trainer)
    reference.model.save(str(directory))
    return directory


@given(text=st.one_of(hurtful_texts(), st.lists(st.sampled_from(LESSON.split(" ")), max_size=8).map(" ".join)))
def test_a_trained_vocabulary_encodes_as_in_transformers(trained: Path, text: str) -> None:
    ours, theirs = Tokenizer.from_pretrained(trained), load_in_transformers(trained)
    assert ours.encode(text) == theirs.encode(text)
    assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)) == text


def test_merges_in_an_order_that_no_training_makes_still_mean_the_same(tmp_path: Path) -> None:
    """The pair `ab`+`c` comes before the merge that makes `ab`, one merge twice, and one token has two merges."""
    merges = ["ab c", "a b", "b c", "a bc", "abc a", "a b"]
    tokens = [*to_characters(ALPHABET_ORDER), "ab", "bc", "abc", "abca"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    ours, theirs = Tokenizer.from_pretrained(tmp_path), load_in_transformers(tmp_path)
    for text in ("abcabcab", "abab", "aabcbca" * 40, "cabcabbcaab" * 9, "bcabca"):
        assert ours.encode(text) == theirs.encode(text)


def test_tokens_added_by_transformers_are_found_and_skipped_as_there(trained: Path, tmp_path: Path) -> None:
    theirs = load_in_transformers(trained)
    theirs.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|us"]})
    theirs.add_tokens(["two words", "日本人", "café"])
    theirs.save_pretrained(tmp_path)
    ours = Tokenizer.from_pretrained(tmp_path)
    text = "a <|user|> says two words<|us 日本人 the end<|endoftext|>"
    ids = theirs.encode(text)
    assert ours.encode(text) == ids
    assert ours.tokenize(text) == theirs.tokenize(text)
    for skip in (True, False):
        assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)
    ours_again = saved_and_read(ours, tmp_path / "again")
    assert ours_again.encode(text) == ids
    assert ours_again.decode(ids) == theirs.decode(ids)
    offsets = theirs("un café 日本人 noir", return_offsets_mapping=True)["offset_mapping"]
    assert ours("un café 日本人 noir", return_offsets_mapping=True).offset_mapping == offsets
    assert (ours.vocab_size, len(ours)) == (theirs.vocab_size, len(theirs))
    assert set(ours.all_special_tokens) == set(theirs.all_special_tokens)


def saved_and_read(tokenizer: Tokenizer, directory: Path) -> Tokenizer:
    tokenizer.save_pretrained(directory)
    return Tokenizer.from_pretrained(directory)


def test_what_one_vocabulary_added_does_not_stay_beside_another(trained: Path, tmp_path: Path) -> None:
    Tokenizer.from_pretrained(trained).save_pretrained(tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"<|user|>": 50257}')
    assert saved_and_read(Tokenizer(), tmp_path).get_vocab() == Tokenizer().get_vocab()


def test_a_vocabulary_without_end_of_text_gets_it_at_the_end_as_in_transformers(trained: Path, tmp_path: Path) -> None:
    vocab: dict[str, Any] = json.loads((trained / "vocab.json").read_text())
    del vocab["<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}))
    (tmp_path / "merges.txt").write_bytes((trained / "merges.txt").read_bytes())
    ours, theirs = Tokenizer.from_pretrained(tmp_path), load_in_transformers(tmp_path)
    assert ours.eos_token_id == theirs.eos_token_id == len(vocab)
    assert ours.encode("the<|endoftext|>") == theirs.encode("the<|endoftext|>")
    again = saved_and_read(ours, tmp_path / "again")
    assert again.decode(again.encode("the<|endoftext|>"), skip_special_tokens=True) == "the"


def test_two_files_give_it_the_id_of_transformers_also_where_ids_leave_holes(tmp_path: Path) -> None:
    tokens = [*to_characters(ALPHABET_ORDER), "th"]
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\n")
    files = tmp_path / "vocab.json", tmp_path / "merges.txt"
    files[0].write_text(json.dumps({token: i for i, token in enumerate(tokens)} | {"far": 1000}))
    ours, theirs = Tokenizer.from_files(*files), load_in_transformers(tmp_path)
    assert ours.encode("th<|endoftext|>") == theirs.encode("th<|endoftext|>") == [256, 258]
    files[0].write_text(json.dumps({token: i + 2 for i, token in enumerate(tokens)}))
    assert load_in_transformers(tmp_path).encode("th<|endoftext|>") == [258, 257]  # two tokens of one id
    with pytest.raises(ValueError, match=r"vocab\.json: the added token '<\|endoftext\|>' gets the id 257, which is"):
        Tokenizer.from_files(*files)
