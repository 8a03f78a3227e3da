"""Token ids, both ways, against transformers and tiktoken."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.vocabulary import gpt2
from tests.conftest import hurtful_texts
from tests.parity.references import PARTS, texts_of_every_character, tiktoken_encoding, transformers_tokenizer
from tests.readable import readable_ids

tok = Tokenizer()
SPECIAL = "hello<|endoftext|> world  \n<|endoftext|><|endoftext"
IDS = st.lists(st.integers(0, 50256), max_size=40)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_character_in_every_context_is_tokenized_as_the_references_do(part: int) -> None:
    engine = transformers_tokenizer().backend_tokenizer  # which is twice as quick alone, without offsets
    for text in texts_of_every_character(part):
        ids = tok.encode(text)
        assert ids == readable_ids(gpt2(), text)
        assert ids == tiktoken_encoding().encode_ordinary(text)
        assert ids == engine.encode_batch_fast([text])[0].ids


@settings(max_examples=500)
@given(hurtful_texts())
def test_hurtful_text_is_tokenized_as_transformers_does(text: str) -> None:
    assert tok.encode(text) == transformers_tokenizer().encode(text)
    assert tok.tokenize(text) == transformers_tokenizer().tokenize(text)


@settings(max_examples=500)
@given(hurtful_texts())
def test_hurtful_text_is_tokenized_as_tiktoken_does(text: str) -> None:
    assert tok.encode_ordinary(text) == tiktoken_encoding().encode_ordinary(text)
    assert tok.encode(text, allowed_special="all") == tiktoken_encoding().encode(text, allowed_special="all")
    assert np.array_equal(tok.encode_to_numpy(text), tiktoken_encoding().encode_to_numpy(text, allowed_special="all"))


def test_special_tokens_are_found_as_both_find_them() -> None:
    assert tok.encode(SPECIAL) == transformers_tokenizer().encode(SPECIAL)
    assert tok.encode(SPECIAL) == tiktoken_encoding().encode(SPECIAL, allowed_special="all")
    plain = tiktoken_encoding().encode(SPECIAL, allowed_special=set(), disallowed_special=())
    assert tok.encode(SPECIAL, allowed_special=()) == plain


def test_a_disallowed_special_token_is_refused_as_tiktoken_does() -> None:
    for encode in (tok.encode, tiktoken_encoding().encode):
        with pytest.raises(ValueError, match=r"<\|endoftext\|>"):
            encode(SPECIAL, allowed_special=set(), disallowed_special="all")


@given(IDS)
def test_any_ids_decode_as_both_decode_them(ids: list[int]) -> None:
    assert tok.decode(ids) == transformers_tokenizer().decode(ids) == tiktoken_encoding().decode(ids)
    assert tok.decode_bytes(ids) == tiktoken_encoding().decode_bytes(ids)
    assert tok.decode_tokens_bytes(ids) == tiktoken_encoding().decode_tokens_bytes(ids)


@given(st.lists(st.sampled_from([222, 30325, 104, 220, 0, 50256, 165, 188]), max_size=12))
def test_broken_utf8_decodes_as_both_decode_it(ids: list[int]) -> None:
    assert tok.decode(ids) == transformers_tokenizer().decode(ids) == tiktoken_encoding().decode(ids)


@given(st.lists(IDS, min_size=1, max_size=4))
def test_batches_decode_without_special_tokens_as_transformers_does(batch: list[list[int]]) -> None:
    expected = transformers_tokenizer().batch_decode(batch, skip_special_tokens=True)
    assert tok.batch_decode(batch, skip_special_tokens=True) == expected


@given(hurtful_texts())
def test_decoding_with_offsets_is_tiktokens(text: str) -> None:
    ids = tok.encode(text)
    assert tok.decode_with_offsets(ids) == tiktoken_encoding().decode_with_offsets(ids)


@given(IDS)
def test_tokens_and_ids_convert_as_in_transformers(ids: list[int]) -> None:
    tokens = tok.convert_ids_to_tokens(ids)
    assert tokens == transformers_tokenizer().convert_ids_to_tokens(ids)
    assert tok.convert_tokens_to_ids(tokens) == transformers_tokenizer().convert_tokens_to_ids(tokens)
    assert tok.convert_tokens_to_string(tokens) == transformers_tokenizer().convert_tokens_to_string(tokens)


def test_the_vocabulary_is_the_references() -> None:
    assert tok.get_vocab() == transformers_tokenizer().get_vocab()
    assert tok.vocab_size == transformers_tokenizer().vocab_size
    assert len(tok) == len(transformers_tokenizer())
    assert (tok.n_vocab, tok.eot_token) == (tiktoken_encoding().n_vocab, tiktoken_encoding().eot_token)
    assert tok.all_special_tokens == transformers_tokenizer().all_special_tokens


@settings(max_examples=150)
@given(
    texts=st.lists(hurtful_texts(), min_size=1, max_size=4),
    padding=st.sampled_from([False, True, "longest", "max_length"]),
    truncation=st.booleans(),
    max_length=st.integers(1, 12),
    side=st.sampled_from(["right", "left"]),
    offsets=st.booleans(),
)
def test_batches_are_laid_out_as_transformers_does(
    texts: list[str], padding: Any, truncation: bool, max_length: int, side: Any, offsets: bool
) -> None:
    options: dict[str, Any] = {"padding": padding, "padding_side": side, "return_offsets_mapping": offsets}
    if truncation or padding == "max_length":
        options |= {"truncation": truncation, "max_length": max_length}
    assert dict(tok(texts, **options)) == dict(transformers_tokenizer()(texts, **options))
    assert dict(tok(texts[0], **options)) == dict(transformers_tokenizer()(texts[0], **options))


@given(st.lists(hurtful_texts(), min_size=1, max_size=4), st.booleans())
def test_arrays_have_the_shapes_and_types_of_transformers(texts: list[str], offsets: bool) -> None:
    assume(any(texts))  # of no tokens at all, transformers' offsets lose their last axis
    options: dict[str, Any] = {"padding": True, "return_tensors": "np", "return_offsets_mapping": offsets}
    ours, theirs = tok(texts, **options), transformers_tokenizer()(texts, **options)
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert (ours[key].shape, ours[key].dtype) == (theirs[key].shape, theirs[key].dtype)
        assert np.array_equal(ours[key], theirs[key])


def test_an_array_of_one_text_is_a_batch_of_one() -> None:
    ours, theirs = (t("The meaning of life is", return_tensors="np") for t in (tok, transformers_tokenizer()))
    assert ours.input_ids.shape == theirs["input_ids"].shape == (1, 5)
