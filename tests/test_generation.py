"""Choosing tokens: sampling, ends, streams, and what would come next, layer by layer."""

import json
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from minigpt2 import GPT2, Checkpoint, CheckpointError, Tokenizer
from minigpt2.explain.layers import log_sum_exp
from minigpt2.generation import draw, keep_top_k, keep_top_p, likeliest, probabilities
from tests.small_gpt2 import N_HEAD, SIZES, random_tensors, write_gpt2

Array = NDArray[Any]
PROMPT = "The meaning of life is"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GPT2:
    directory = tmp_path_factory.mktemp("gpt2")
    sizes = {"vocab_size": 50300, "n_positions": 64}  # rows for 43 tokens that the vocabulary lacks
    write_gpt2(directory, sizes, bos_token_id=50256, eos_token_id=50256)
    return GPT2.from_pretrained(directory)


# --- choosing a token


def test_top_k_keeps_those_equal_to_the_last() -> None:
    kept = keep_top_k(np.array([[3.0, 1.0, 2.0, 2.0, 0.0]], np.float32), 2)
    assert kept.tolist() == [[3, -np.inf, 2, 2, -np.inf]]


@pytest.mark.parametrize(
    ("p", "kept"), [(0.4, [3]), (0.5, [2, 3]), (0.85, [1, 2, 3]), (0.95, [0, 1, 2, 3]), (1e-9, [3])]
)
def test_top_p_keeps_the_fewest_that_together_have_the_probability(p: float, kept: list[int]) -> None:
    logits = np.log(np.array([[0.1, 0.2, 0.25, 0.45]], np.float32))
    assert np.flatnonzero(np.isfinite(keep_top_p(logits, p))).tolist() == kept


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(any), st.integers(0, 2**32))
def test_a_token_without_probability_is_never_drawn(weights: list[float], seed: int) -> None:
    chances = np.array([weights]) / np.sum(weights)
    random = np.random.default_rng(seed)
    assert all(chances[0, draw(chances, random)[0]] > 0 for _ in range(20))


def test_tokens_are_drawn_as_often_as_their_probabilities_say() -> None:
    chances = np.array([[0.05, 0.0, 0.25, 0.7]])
    drawn = draw(np.repeat(chances, 40_000, axis=0), np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=4)
    deviations = np.sqrt(40_000 * chances[0] * (1 - chances[0]))
    assert (np.abs(counts - 40_000 * chances[0]) <= 4 * deviations).all()


def test_what_a_model_draws_is_distributed_as_its_probabilities(tmp_path: Path) -> None:
    write_gpt2(tmp_path)
    model = GPT2(Checkpoint.open(tmp_path))
    options: dict[str, Any] = {"do_sample": True, "temperature": 2.0, "top_k": 5, "max_new_tokens": 1, "seed": 3}
    drawn = model.generate(np.full((4000, 1), 64), **options)[:, -1]
    chances = probabilities(keep_top_k(model([64]).logits[:, -1] / 2, 5))[0]
    counts = np.bincount(drawn, minlength=len(chances))
    assert np.count_nonzero(counts) > 1
    assert (np.abs(counts - 4000 * chances) <= 4 * np.sqrt(4000 * chances * (1 - chances))).all()


# --- texts


def test_the_same_seed_gives_the_same_text(model: GPT2) -> None:
    texts = [model.generate(PROMPT, 30, do_sample=True, seed=seed).tolist() for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_without_a_seed_texts_differ(model: GPT2) -> None:
    assert model.generate(PROMPT, 30, do_sample=True).tolist() != model.generate(PROMPT, 30, do_sample=True).tolist()


@pytest.mark.parametrize("options", [{}, {"do_sample": True, "seed": 5, "top_p": 0.9}, {"eos_token_id": 31373}])
def test_a_stream_gives_the_tokens_of_generate(model: GPT2, options: dict[str, Any]) -> None:
    expected = model.generate(PROMPT, 12, **options)[0, 5:].tolist()
    assert list(model.stream(PROMPT, 12, **options)) == expected


def test_a_stream_gives_each_token_before_it_computes_the_next(model: GPT2, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return call(*arguments, **options)

    calls: list[Any] = []
    call = GPT2.__call__
    monkeypatch.setattr(GPT2, "__call__", counted)
    assert len(list(islice(model.stream(PROMPT, 50), 3))) == len(calls) == 3


def test_text_and_ids_are_the_same_prompt(model: GPT2) -> None:
    assert model.generate(PROMPT, 3).tolist() == model.generate([464, 3616, 286, 1204, 318], 3).tolist()


def test_an_empty_prompt_starts_from_end_of_text(model: GPT2) -> None:
    assert model.generate("", 3)[0].tolist() == [50256, *model.stream([], 3)]
    assert model.generate([[], []], 3).tolist() == 2 * model.generate("", 3).tolist()
    assert model.next_tokens("") == model.next_tokens([50256])


def test_end_of_text_ends_a_text_and_none_never_does(model: GPT2) -> None:
    first, second = model.generate(PROMPT, 2)[0, -2:].tolist()
    assert first != second
    assert list(model.stream(PROMPT, 5, eos_token_id=second)) == [first, second]
    assert list(model.stream(PROMPT, 5, eos_token_id=[7, first])) == [first]
    assert len(list(model.stream(PROMPT, 5, eos_token_id=None))) == 5


def test_a_stop_string_ends_a_text_across_tokens(model: GPT2) -> None:
    ids = model.generate(PROMPT, 6)[0].tolist()
    text = Tokenizer().decode(ids[5:8])
    across = text[1:-1]  # begins in the first new token and ends in the third
    assert list(model.stream(PROMPT, 6, stop_strings=[across])) == ids[5:8]
    assert list(model.stream(PROMPT, 6, stop_strings=["never in there", across])) == ids[5:8]


def test_texts_of_a_batch_end_each_at_its_own_time(model: GPT2) -> None:
    ids = np.array([[464, 3616], [15496, 995]])
    free = model.generate(ids, 6, eos_token_id=None)
    eos = int(free[0, 3])
    ended = model.generate(ids, 6, eos_token_id=eos)
    assert ended[0].tolist() == [*free[0, :4], eos, eos, eos, eos]
    assert ended[1].tolist() == free[1].tolist()


def test_the_last_token_needs_no_position(model: GPT2) -> None:
    assert model.generate([11] * 60, 5).shape == (1, 65)
    with pytest.raises(ValueError, match="the model's 64 positions leave room for 5 tokens, not 6"):
        model.generate([11] * 60, 6)


def test_a_stream_ends_where_there_are_no_positions_and_says_so(model: GPT2) -> None:
    stream = model.stream([11] * 60, 50)
    with pytest.warns(UserWarning, match="stopped after 5 of 50 tokens: the model has no more positions"):
        assert len(list(stream)) == 5


# --- what would come next


@pytest.mark.parametrize("k", [1, 10, 60_000])
def test_among_equally_likely_tokens_the_lower_id_comes_first(model: GPT2, k: int) -> None:
    logits = model([464, 3616]).logits[0, -1].round()
    expected = np.argsort(-probabilities(logits), kind="stable")[:k].tolist()
    assert [token_id for token_id, *_ in likeliest(model, logits, k)] == expected


def test_next_tokens_are_the_likeliest_with_their_probabilities(model: GPT2) -> None:
    chances = probabilities(model([464, 3616, 286, 1204, 318]).logits[0, -1])
    best = np.argsort(-chances, kind="stable")[:4].tolist()
    found = model.next_tokens(PROMPT, k=4)
    assert [token_id for token_id, _, _ in found] == best
    assert [token for _, token, _ in found] == Tokenizer().convert_ids_to_tokens(best)
    assert [chance for _, _, chance in found] == pytest.approx(chances[best])
    assert sum(chance for _, _, chance in model.next_tokens(PROMPT, k=10**6)) == pytest.approx(1)


def test_the_lens_asks_every_layer_and_ends_with_the_models_own_answer(model: GPT2) -> None:
    lens = model.logit_lens(PROMPT, k=3)
    output: Any = model([464, 3616, 286, 1204, 318], output_hidden_states=True)
    assert len(lens) == len(output.hidden_states) == 4
    assert lens[-1] == model.next_tokens(PROMPT, k=3)
    for guess, state in zip(lens[:-1], output.hidden_states[:-1], strict=True):
        logits = model.head(model.ln_f(state[0, -1]))
        assert guess[0][0] == logits.argmax()


def test_a_row_without_a_token_has_no_name(model: GPT2) -> None:
    names = {token_id: token for token_id, token, _ in model.next_tokens(PROMPT, k=50300)}
    assert names[50256] == "<|endoftext|>" and names[50257] == names[50299] == ""


def test_numpys_settings_for_floating_point_errors_change_nothing(model: GPT2) -> None:
    ids = np.arange(40)
    sampled: dict[str, Any] = {"do_sample": True, "temperature": 0.001, "top_p": 0.9, "seed": 0}
    calls: list[Callable[[], Any]] = [
        lambda: model(ids[None], [[0] * 9 + [1] * 31]).logits,
        lambda: model(ids[None], labels=ids[None], output_attentions=True).loss,
        lambda: model.generate(ids, 5),
        lambda: model.generate(ids, 5, **sampled),
        lambda: list(model.stream(ids, 5, **sampled)),
        lambda: model.token_losses(ids),
        lambda: model.next_tokens(ids),
        lambda: model.logit_lens(ids),
        lambda: log_sum_exp(model(ids).logits[0, -1] * 100),
    ]
    expected = [call() for call in calls]
    with np.errstate(all="raise"):
        for call, answer in zip(calls, expected, strict=True):
            np.testing.assert_equal(call(), answer)


def test_numpys_settings_do_not_keep_numbers_of_float64_from_being_read(tmp_path: Path) -> None:
    tensors = {name: array * np.float64(1e-45) for name, array in random_tensors(SIZES).items()}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"n_head": N_HEAD, **SIZES}))
    with np.errstate(all="raise"):
        assert not GPT2(Checkpoint.open(tmp_path)).wpe.all()


# --- bad input

REFUSED: dict[str, dict[str, Any]] = {
    "temperature must be above 0, not 0; do_sample=False takes the likeliest": {"temperature": 0},
    "temperature must be above 0, not -1": {"temperature": -1},
    "the temperature 1e-45 is not a finite number": {"temperature": 1e-45, "do_sample": True},
    "the temperature 1e-320 is not a finite number": {"temperature": 1e-320, "do_sample": True},
    "seed must be 0 or more, not -1": {"seed": -1, "do_sample": True},
    r"the stop string '\\udcff' has a lone surrogate": {"stop_strings": ["a", "\udcff"]},
    "top_k must be at least 1, or 0 for all tokens, not -1": {"top_k": -1},
    "top_p must be above 0 and at most 1, not 0": {"top_p": 0},
    r"top_p must be above 0 and at most 1, not 1\.1": {"top_p": 1.1},
    "max_new_tokens must be at least 1, not 0": {"max_new_tokens": 0},
    "a stop string must not be empty": {"stop_strings": ["a", ""]},
    "token id 50300 is outside the vocabulary": {"eos_token_id": 50300},
    "eos_token_id must be an id, several, None, or 'config', not 'end'": {"eos_token_id": "end"},
}


@pytest.mark.parametrize("message", REFUSED)
@pytest.mark.parametrize("method", ["generate", "stream"])
def test_an_option_outside_its_range_is_refused(model: GPT2, method: str, message: str) -> None:
    with warnings.catch_warnings(action="error"), pytest.raises(ValueError, match=message):
        answer = getattr(model, method)(PROMPT, **REFUSED[message])
        if isinstance(answer, Iterator):
            list(answer)


def test_a_stream_and_what_comes_next_are_of_one_text(model: GPT2) -> None:
    for method in (model.stream, model.next_tokens, model.logit_lens):
        with pytest.raises(ValueError, match="give one text, not 2"):
            method([[1], [2]])
    with pytest.raises(ValueError, match="nested lists of token ids must all have the same length: pad them"):
        model.generate([[1], [1, 2]])
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        model.next_tokens(PROMPT, k=0)


PADDED_ON_THE_RIGHT = [
    [[1, 1, 1], [1, 1, 0]],
    [[1, 1, 1], [1, 0, 0]],
    [[1, 1, 1], [0, 1, 0]],
    [[True] * 3, [True, True, False]],
]


@pytest.mark.parametrize("mask", PADDED_ON_THE_RIGHT, ids=str)
def test_a_text_that_ends_in_padding_is_refused_with_the_side_to_pad(model: GPT2, mask: list[list[int]]) -> None:
    with pytest.raises(
        ValueError, match=r'text 1 of the batch ends in padding.*pad on the left \(padding_side="left"\)'
    ):
        model.generate([[1, 2, 3], [4, 5, 6]], attention_mask=mask)


@pytest.mark.parametrize("ids", [[5, 6, 7], [7], [[7, 7], [5, 7]]], ids=str)
def test_ids_without_a_mask_that_end_in_the_models_padding_token_are_refused(tmp_path: Path, ids: list[int]) -> None:
    write_gpt2(tmp_path, pad_token_id=7)
    with pytest.raises(ValueError, match="text 0 of the batch ends in token id 7, the config's pad_token_id"):
        GPT2(Checkpoint.open(tmp_path)).generate(ids, 2)


@pytest.mark.parametrize("padding", [-1, 10**6])
def test_padding_that_is_not_a_token_is_refused_where_a_batch_needs_it(tmp_path: Path, padding: int) -> None:
    write_gpt2(tmp_path, pad_token_id=padding)
    model = GPT2(Checkpoint.open(tmp_path))
    first = model.generate(np.arange(50)[:, None], 1)[:, 1]
    ids, eos = [[0], [int(np.argmax(first != first[0]))]], int(first[0])
    assert model.generate(ids[:1], 3, eos_token_id=eos).shape == (1, 2)
    assert model.generate(ids, 1, eos_token_id=eos).shape == (2, 2)
    with pytest.raises(CheckpointError, match=rf"config\.json: 'pad_token_id' is {padding}, but it is outside the voc"):
        model.generate(ids, 3, eos_token_id=eos)


def test_an_empty_prompt_starts_from_a_token_that_is_padding_elsewhere(tmp_path: Path) -> None:
    write_gpt2(tmp_path, bos_token_id=7, pad_token_id=7)
    model = GPT2(Checkpoint.open(tmp_path))
    assert model.generate([], 2).tolist() == model.generate([7], 2, attention_mask=[1]).tolist()


def test_a_stop_string_is_a_string(model: GPT2) -> None:
    with pytest.raises(TypeError, match="a stop string must be a str, not bytes"):
        model.generate(PROMPT, stop_strings=[b"x"])  # type: ignore[list-item]


def test_a_tokenizer_may_be_saved_beside_a_model_that_is_open(tmp_path: Path) -> None:
    write_gpt2(tmp_path, {"vocab_size": 50300, "n_embd": 4})
    model, tokenizer = GPT2.from_pretrained(tmp_path), Tokenizer()
    tokenizer.add_tokens(["<own>"])
    tokenizer.save_pretrained(tmp_path)
    assert model.tokenizer.encode("<own>") == [50257]


def test_a_tokenizer_that_cannot_be_read_is_refused_where_it_is_needed(tmp_path: Path) -> None:
    write_gpt2(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    model = GPT2.from_pretrained(tmp_path)
    assert model.generate([1], 2).shape == (1, 3)
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        model.generate("text")


def test_text_for_a_model_with_too_few_tokens_is_refused_with_the_way_out(tmp_path: Path) -> None:
    write_gpt2(tmp_path)
    model = GPT2(Checkpoint.open(tmp_path))
    assert model.generate([1], 2).shape == (1, 3)
    with pytest.raises(ValueError, match=r"the model has 101 tokens and GPT-2's tokenizer 50257: pass the model's own"):
        model.generate("text")


def test_without_a_start_token_an_empty_prompt_is_refused(tmp_path: Path) -> None:
    write_gpt2(tmp_path, bos_token_id=None)
    with pytest.raises(ValueError, match="the prompt is empty, and the model has no bos_token_id to start from"):
        GPT2(Checkpoint.open(tmp_path)).generate([])
