"""Generated tokens, and the probabilities that tokens are drawn with, as transformers has them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import StopStringCriteria, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from minigpt2 import GPT2, Checkpoint, Tokenizer
from minigpt2.generation import Choice, StopStrings
from tests.parity.references import transformers_tokenizer
from tests.random_gpt2 import saved_model

Array = NDArray[Any]


class Pair:
    """One random model twice: ours, and that of transformers."""

    def __init__(self, directory: Path, seed: int, **changes: Any) -> None:
        self.theirs: Any = saved_model(directory, seed, n_positions=40, **changes)
        self.ours = GPT2(Checkpoint.open(directory))
        self.random = np.random.default_rng(seed)

    def ids(self, *shape: int) -> Array:
        return self.random.integers(0, self.theirs.config.vocab_size, shape)

    def expected(self, ids: Array, mask: Array | None = None, **options: Any) -> list[list[int]]:
        mask = np.ones_like(ids) if mask is None else mask
        options = {"attention_mask": torch.tensor(mask), "do_sample": False, "pad_token_id": 0} | options
        return self.theirs.generate(torch.tensor(ids), **options).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", range(8))
def test_greedy_continuations_are_those_of_transformers(tmp_path: Path, seed: int) -> None:
    pair = Pair(tmp_path, seed)
    for shape in ((1, 1), (1, 20), (3, 9)):
        ids = pair.ids(*shape)
        assert pair.ours.generate(ids, max_new_tokens=21).tolist() == pair.expected(ids, max_new_tokens=21)


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_padded_on_the_left_goes_on_as_in_transformers(tmp_path: Path, seed: int) -> None:
    pair = Pair(tmp_path, seed)
    ids, mask = pair.ids(3, 7), np.tri(3, 7, 2, dtype=int)[:, ::-1].copy()
    ours = pair.ours.generate(ids, max_new_tokens=12, attention_mask=mask)
    assert ours.tolist() == pair.expected(ids, mask, max_new_tokens=12)


@pytest.mark.parametrize("seed", range(8))
def test_a_mask_may_have_holes_as_in_transformers(tmp_path: Path, seed: int) -> None:
    pair = Pair(tmp_path, seed)
    ids, mask = pair.ids(4, 7), pair.random.integers(0, 2, (4, 7))
    mask[:, -1] = 1
    for same in (mask, mask.astype(bool), mask.astype(np.float32)):
        ours = pair.ours.generate(ids, max_new_tokens=12, attention_mask=same)
        assert ours.tolist() == pair.expected(ids, mask, max_new_tokens=12)


@pytest.mark.parametrize("eos", [0, 7, [7, 1]], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_without_a_mask_the_padding_token_is_padding_as_in_transformers(tmp_path: Path, seed: int, eos: Any) -> None:
    pair = Pair(tmp_path, seed, pad_token_id=1)
    ids = np.where(pair.random.random((3, 7)) < 0.3, 1, pair.ids(3, 7))
    ids[:, -1] = 8
    options: dict[str, Any] = {"max_new_tokens": 8, "eos_token_id": eos}
    expected = pair.expected(ids, attention_mask=None, pad_token_id=1, **options)
    assert pair.ours.generate(ids, **options).tolist() == expected


@pytest.mark.parametrize("text", ["Hi!", "!", "! a", "Hi! Hello"])
def test_a_text_has_no_padding_as_in_transformers(tmp_path: Path, text: str) -> None:
    pair = Pair(tmp_path, seed=3, vocab_size=50257, pad_token_id=0, eos_token_id=50256)
    inputs = transformers_tokenizer()(text, return_tensors="np")
    assert 0 in inputs.input_ids  # which is "!"
    expected = pair.expected(inputs.input_ids, inputs.attention_mask, max_new_tokens=6)
    assert pair.ours.generate(text, max_new_tokens=6).tolist() == expected
    for ids in (text, inputs.input_ids, inputs.input_ids[0]):
        assert list(pair.ours.stream(ids, max_new_tokens=6)) == expected[0][inputs.input_ids.size :]


@pytest.mark.parametrize("seed", range(8))
def test_texts_that_end_are_padded_as_in_transformers(tmp_path: Path, seed: int) -> None:
    pair = Pair(tmp_path, seed)
    ids = pair.ids(4, 5)
    free = pair.ours.generate(ids, max_new_tokens=12, eos_token_id=None)
    ends = free[0, 8], free[1, 6]
    for eos in (int(ends[0]), [int(token_id) for token_id in ends]):
        expected = pair.expected(ids, max_new_tokens=12, eos_token_id=eos, pad_token_id=int(np.ravel(eos)[0]))
        assert pair.ours.generate(ids, max_new_tokens=12, eos_token_id=eos).tolist() == expected


logits_in_float32 = st.lists(st.floats(-30, 30, width=32), min_size=5, max_size=5)


@given(
    st.lists(logits_in_float32, min_size=1, max_size=3),
    st.sampled_from([0.1, 0.7, 1.0, 3.0]),
    st.integers(0, 7),
    st.floats(0.01, 1.0),
)
def test_chances_are_those_of_the_processors(rows: list[list[float]], temperature: float, k: int, p: float) -> None:
    logits = np.array(rows, np.float32)
    ours = Choice(True, temperature, k, p, seed=0).chances(logits)
    scores = torch.tensor(logits)
    for processor in processors(temperature, k, p):
        before, scores = scores, processor(None, scores)
        if isinstance(processor, TopPLogitsWarper):
            sums = before.double().sort().values.softmax(-1).cumsum(-1).numpy()
            assume(np.abs(sums - (1 - p)).min() > 1e-6)  # or else the last bit of a sum decides
    expected = scores.double().softmax(-1).numpy()
    np.testing.assert_array_equal(ours > 0, expected > 0)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=0)


def processors(temperature: float, k: int, p: float) -> list[Any]:
    """The parts that transformers' `generate` puts together for these options."""
    chosen: list[Any] = [TemperatureLogitsWarper(temperature)] if temperature != 1 else []
    chosen += [TopKLogitsWarper(k)] if k else []
    return chosen + ([TopPLogitsWarper(p)] if p < 1 else [])


STOPS = [["a"], ["lo w", "é"], ["😀.", "oo", " "], ["hello <|endoftext|>"]]


@pytest.fixture(scope="module", params=STOPS, ids=str)
def stops(request: pytest.FixtureRequest) -> tuple[list[str], StopStringCriteria]:
    return request.param, StopStringCriteria(transformers_tokenizer(), request.param)  # which takes seconds


@given(st.lists(st.sampled_from(["hello", " ", "lo w", "a", "o", ".", "😀", "é", "<|endoftext|>"]), min_size=2))
def test_stop_strings_are_found_where_transformers_finds_them(
    stops: tuple[list[str], StopStringCriteria], parts: list[str]
) -> None:
    strings, criteria = stops
    ids = np.array([Tokenizer().encode("".join(parts))])
    prompt = ids[:, :1]
    found = StopStrings(strings, Tokenizer(), prompt, np.ones_like(prompt, bool))
    for end in range(2, ids.shape[1] + 1):
        expected = bool(criteria(torch.tensor(ids[:, :end]), None)[0])
        assert found.completed(ids[:, end - 1])[0] == expected
