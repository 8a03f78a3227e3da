"""Where a document may be cut: its parts have the tokens of the whole."""

import io
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.corpus import cutting
from tests.conftest import hurtful_texts
from tests.parity.references import tiktoken_encoding


def cut_up(data: bytes, size: int) -> Iterator[list[bytes]]:
    """The chunks of a document as of a stream and as of a file."""
    yield [block for block, _ in cutting.blocks(io.BytesIO(data), cutting.last_sure_start, size)]
    ends = [*cutting.ends(io.BytesIO(data), 0, len(data), cutting.last_sure_start, size)]
    yield [data[start:end] for start, end in pairwise([0, *ends])]


@given(hurtful_texts(), st.integers(1, 40))
def test_chunks_have_the_tokens_of_the_whole(text: str, size: int) -> None:
    for parts in cut_up(text.encode(), size):
        ids = [token_id for part in parts for token_id in Tokenizer().encode_ordinary(part.decode())]
        assert ids == tiktoken_encoding().encode_ordinary(text)


@given(
    st.lists(hurtful_texts().map(str.encode) | st.binary(max_size=4), max_size=8).map(b"".join),
    st.integers(1, 40),
    st.sampled_from(["replace", "ignore"]),
)
def test_chunks_of_bytes_that_are_not_utf8_have_the_tokens_of_the_whole(data: bytes, size: int, errors: str) -> None:
    for parts in cut_up(data, size):
        texts = [part.decode("utf-8", errors) for part in parts]
        assert "".join(texts) == data.decode("utf-8", errors)
        ids = [token_id for text in texts for token_id in Tokenizer().encode_ordinary(text)]
        assert ids == tiktoken_encoding().encode_ordinary("".join(texts))


@pytest.mark.parametrize("text", ["one two, three; ", "C'est ça? ", "日本語。中国，", "x1", "a1b2c3+/"])
def test_chunks_are_of_bounded_size(text: str) -> None:
    for parts in cut_up((text * 1000).encode(), 100):
        assert max(map(len, parts)) <= 100


def test_a_run_of_one_class_is_not_cut() -> None:
    for parts in cut_up(b"12 " + b"a" * 1000 + b" 34 56", 50):
        assert any(b"a" * 1000 in part for part in parts)
