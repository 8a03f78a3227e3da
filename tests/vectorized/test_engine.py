"""The numpy engine gives the ids that the readable one gives, on any text, cut anywhere, with any vocabulary."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2.vectorized.engine import Engine
from minigpt2.vocabulary import Vocabulary, gpt2
from tests.conftest import hurtful_texts
from tests.readable import readable_ids, small_vocabulary
from tests.vectorized.inputs import SMALL, WORDS, words


@settings(max_examples=300)
@given(hurtful_texts(), st.integers(1, 80))
def test_windows_of_any_size_change_nothing(text: str, window: int) -> None:
    assert Engine(gpt2(), window).encode(text).tolist() == readable_ids(gpt2(), text)


@pytest.mark.parametrize("window", [1, 17, 100, 1000])
@pytest.mark.parametrize("run", ["a", " ", "\n", "-", "'", "'s", "ha", "😀", "ÃÂ", "通", "\u3000", "0", "x'"])
def test_a_run_larger_than_a_window_is_one_pretoken(run: str, window: int) -> None:
    text = f"start {run * 700}end"
    assert Engine(gpt2(), window).encode(text).tolist() == readable_ids(gpt2(), text)


@pytest.mark.parametrize("window", range(17, 60))
def test_no_window_starts_with_what_looks_like_a_contraction(window: int) -> None:
    text = f"{'🛛' * 8}'ve" * 30
    assert Engine(gpt2(), window).encode(text).tolist() == readable_ids(gpt2(), text)


@settings(max_examples=200)
@given(st.lists(hurtful_texts(), max_size=6), st.integers(1, 200))
def test_a_batch_is_its_texts_one_by_one(texts: list[str], window: int) -> None:
    ids, offsets = Engine(gpt2(), window).encode_batch(texts)
    rows = [ids[start:end].tolist() for start, end in pairwise(offsets.tolist())]
    assert rows == [readable_ids(gpt2(), text) for text in texts]


@given(hurtful_texts(), st.integers(1, 40))
def test_other_vocabularies_are_encoded_as_well(text: str, window: int) -> None:
    assert Engine(SMALL, window).encode(text).tolist() == readable_ids(SMALL, text)


@pytest.mark.parametrize(
    "vocabulary",
    [
        small_vocabulary(WORDS, step=3, first=5),
        small_vocabulary(WORDS, first=70_000),
        small_vocabulary(WORDS, out_of_order=True),
    ],
    ids=["ids with gaps", "ids beyond 16 bits", "merges before their parts"],
)
def test_odd_vocabularies_are_encoded_as_well(vocabulary: Vocabulary) -> None:
    for text in ("the then hahahahaha", "-" * 500, "ha" * 300, "aabaab" * 100, words(300), "international\n" * 50):
        assert Engine(vocabulary, 64).encode(text).tolist() == readable_ids(vocabulary, text)


def test_a_vocabulary_of_more_tokens_than_16_bits_is_encoded_as_well() -> None:
    source = random.Random(1)
    many = "|".join({"".join(source.choices("abcdefgh", k=12)) for _ in range(8000)})
    vocabulary = small_vocabulary(many)
    assert len(vocabulary.token_bytes) > 1 << 16
    text = many.replace("|", " ")[:20_000]
    assert Engine(vocabulary).encode(text).tolist() == readable_ids(vocabulary, text)
