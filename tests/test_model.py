"""The model in itself: the equations, batches, masks, caches, hooks, losses, and what it refuses."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from minigpt2 import GPT2, Checkpoint, CheckpointError
from minigpt2.inference.cache import Cache
from minigpt2.inference.fast import product, product_with_rows
from minigpt2.inference.hooks import hook_points
from tests import textbook
from tests.command import interrupted
from tests.small_gpt2 import N_HEAD, SIZES, write_gpt2

Array = NDArray[Any]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    write_gpt2(path)
    return path


@pytest.fixture(scope="module")
def model(directory: Path) -> GPT2:
    return GPT2(Checkpoint.open(directory))


def random_ids(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(0, SIZES["vocab_size"], shape)


@pytest.mark.parametrize("length", [1, 2, 6, 7, 129, 300])
def test_logits_are_those_of_the_textbook(model: GPT2, directory: Path, length: int) -> None:
    weights = {name: array.astype(np.float64) for name, array in Checkpoint.open(directory).items()}
    ids = random_ids(length)
    expected = textbook.logits(ids.tolist(), weights, N_HEAD, SIZES["n_layer"])
    np.testing.assert_allclose(model(ids).logits[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_one_text_may_be_given_without_the_axis_of_texts(model: GPT2) -> None:
    ids = random_ids(5)
    assert model(ids).logits.shape == (1, 5, 101)
    np.testing.assert_array_equal(model(ids.tolist()).logits, model(ids[None]).logits)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_ids_of_every_width_are_the_same_ids(model: GPT2, dtype: type) -> None:
    ids = random_ids(2, 5)
    np.testing.assert_array_equal(model(ids.astype(dtype)).logits, model(ids).logits)


# --- rows of few tokens, caches


@pytest.mark.parametrize("tokens", range(1, 7))
def test_few_tokens_have_bit_for_bit_what_one_at_a_time_gives(model: GPT2, tokens: int) -> None:
    ids = random_ids(1, 20 + tokens)
    together, alone = (model(ids[:, :20], use_cache=True).past_key_values for _ in range(2))
    expected = [model(ids[:, [at]], past_key_values=alone).logits for at in range(20, 20 + tokens)]
    actual = model(ids[:, 20:], past_key_values=together).logits
    assert actual.tobytes() == np.concatenate(expected, axis=1).tobytes()


@pytest.mark.parametrize("texts", range(1, 7))
def test_few_texts_have_bit_for_bit_what_each_alone_gives(model: GPT2, texts: int) -> None:
    ids = random_ids(texts, 1)
    expected = [model(text).logits for text in ids]
    assert model(ids).logits.tobytes() == np.concatenate(expected).tobytes()


def test_a_matrix_too_large_for_the_processors_cache_gives_each_row_the_same_bits() -> None:
    random = np.random.default_rng(0)
    x, matrix = random.random((6, 700), np.float32), random.random((700, 1100), np.float32)
    for multiply, right in ((product, matrix), (product_with_rows, matrix.T.copy())):
        together = multiply(x, right)
        np.testing.assert_allclose(together, x @ matrix, rtol=1e-5)
        assert together.tobytes() == b"".join(multiply(row, right).tobytes() for row in x)


@pytest.mark.parametrize("kept", [1, 4, 30])
def test_logits_of_some_tokens_are_those_of_all(model: GPT2, kept: int) -> None:
    ids = random_ids(2, 12)
    every = model(ids, use_cache=True)
    some = model(ids, use_cache=True, logits_to_keep=kept)
    np.testing.assert_allclose(some.logits, every.logits[:, -kept:], rtol=0, atol=1e-5)
    following = [model(ids[:, :1], past_key_values=output.past_key_values).logits for output in (every, some)]
    assert following[0].tobytes() == following[1].tobytes()


def test_a_hook_sees_every_token_in_the_last_layer_too(model: GPT2) -> None:
    shapes = []
    last = f"h.{model.options.n_layer - 1}"
    model(random_ids(2, 12), logits_to_keep=1, hooks={last: lambda array: shapes.append(array.shape)})
    assert shapes == [(2, 12, SIZES["n_embd"])]


@pytest.mark.parametrize("pieces", [[1] * 9, [5, 4], [1, 1, 7], [8, 1]])
def test_cached_and_uncached_logits_agree(model: GPT2, pieces: list[int]) -> None:
    ids = random_ids(3, 9)
    cache, logits = None, []
    for piece in np.split(ids, np.cumsum(pieces)[:-1], axis=1):
        output = model(piece, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        logits.append(output.logits)
    np.testing.assert_allclose(np.concatenate(logits, axis=1), model(ids).logits, rtol=0, atol=1e-4)


def test_a_cache_grows_by_many_tokens_without_being_copied_for_each(model: GPT2) -> None:
    cache = model(random_ids(1, 10), use_cache=True).past_key_values
    assert cache is not None
    arrays = set()
    for token in random_ids(200):
        model([token], past_key_values=cache)
        arrays.add(id(cache._keys[0]))
    assert len(cache) == cache.get_seq_length() == 210
    assert len(arrays) < 5


def test_a_cache_remembers_which_tokens_are_padding(model: GPT2) -> None:
    ids, mask = random_ids(2, 6), [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]
    cache = model(ids[:, :5], np.array(mask)[:, :5], use_cache=True).past_key_values
    np.testing.assert_allclose(
        model(ids[:, 5:], past_key_values=cache).logits[:, -1], model(ids, mask).logits[:, -1], rtol=0, atol=1e-4
    )


def test_an_interrupted_call_adds_nothing_to_the_cache(model: GPT2) -> None:
    ids = random_ids(1, 8)
    cache = model(ids[:, :5], use_cache=True).past_key_values
    with pytest.raises(KeyboardInterrupt):
        model(ids[:, 5:], past_key_values=cache, hooks={"h.1": interrupted})
    assert cache is not None and len(cache) == 5
    np.testing.assert_allclose(
        model(ids[:, 5:], past_key_values=cache).logits, model(ids).logits[:, 5:], rtol=0, atol=1e-4
    )


def test_crop_counts_from_the_start_or_from_the_end(model: GPT2) -> None:
    cache = model(random_ids(1, 9), use_cache=True).past_key_values
    assert cache is not None
    assert len(cache.crop(7)) == 7 and len(cache.crop(-2)) == 5 and len(cache.crop(9)) == 5
    with pytest.raises(ValueError, match="has 5 tokens, so it cannot forget the last 6"):
        cache.crop(-6)


# --- hooks


def test_hooks_see_every_point_in_order_with_its_shape(model: GPT2) -> None:
    def note(point: str, array: Array) -> None:
        seen[point] = array.shape

    seen: dict[str, tuple[int, ...]] = {}
    points = hook_points(model.options.n_layer)
    model(random_ids(2, 5), hooks={point: partial(note, point) for point in points})
    assert list(seen) == points
    wide, heads, pattern, inner = (2, 5, 24), (2, 4, 5, 6), (2, 4, 5, 5), (2, 5, 96)
    shapes = {"q": heads, "k": heads, "v": heads, "pattern": pattern, "c_fc": inner, "act": inner}
    assert all(shape == shapes.get(point.rpartition(".")[2], wide) for point, shape in seen.items())


def test_what_hooks_see_is_what_the_call_returns(model: GPT2) -> None:
    def note(point: str, array: Array) -> None:
        seen[point] = array.copy()

    seen: dict[str, Array] = {}
    points = ["embeddings", "h.0", "h.1", "ln_f", *(f"h.{layer}.attn.pattern" for layer in range(3))]
    hooks = {point: partial(note, point) for point in points}
    output: Any = model(random_ids(1, 5), hooks=hooks, output_hidden_states=True, output_attentions=True)
    for point, state in zip(points, (*output.hidden_states, *output.attentions), strict=True):
        np.testing.assert_array_equal(seen[point], state)


def test_a_hook_that_returns_an_array_changes_what_follows_from_it(model: GPT2) -> None:
    ids = random_ids(1, 5)
    plain: Any = model(ids, output_hidden_states=True)
    output: Any = model(ids, output_hidden_states=True, hooks={"h.0.mlp.c_proj": np.zeros_like})
    np.testing.assert_array_equal(output.hidden_states[0], plain.hidden_states[0])
    assert not np.allclose(output.logits, plain.logits)
    # Putting another text's state in a layer's place makes all later layers answer that text.
    other: Any = model(random_ids(1, 5) * 0 + 7, output_hidden_states=True)
    patched = model(ids, hooks={"h.1": lambda _: other.hidden_states[2]})
    np.testing.assert_array_equal(patched.logits, other.logits)


def test_a_hook_may_change_the_array_in_its_place(model: GPT2) -> None:
    def without_head_1(pattern: Array) -> None:
        pattern[:, 1] = 0

    ids = random_ids(1, 5)
    changed = model(ids, hooks={"h.1.attn.pattern": without_head_1}).logits
    returned = model(ids, hooks={"h.1.attn.pattern": lambda pattern: pattern * (np.arange(4) != 1)[:, None, None]})
    np.testing.assert_allclose(changed, returned.logits, rtol=0, atol=1e-5)
    assert not np.allclose(changed, model(ids).logits)


# --- weights


def test_the_parameters_are_aligned_copies(directory: Path, model: GPT2) -> None:
    assert model.wte.flags.aligned and model.wte.flags.owndata and model.lm_head is model.wte
    np.testing.assert_array_equal(model.wte, Checkpoint.open(directory)["wte.weight"])


def test_parameters_that_are_not_floating_point_numbers_are_refused(tmp_path: Path) -> None:
    write_gpt2(tmp_path)
    tensors = dict(Checkpoint.open(tmp_path))
    tensors["h.1.mlp.c_fc.weight"] = tensors["h.1.mlp.c_fc.weight"].astype(np.int8)
    save_file(tensors, tmp_path / "quantized.safetensors")
    (tmp_path / "quantized.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"'h\.1\.mlp\.c_fc\.weight' is I8, not one of"):
        GPT2(Checkpoint.open(tmp_path))


def test_weights_that_change_while_they_are_loaded_are_refused(tmp_path: Path) -> None:
    write_gpt2(tmp_path)
    weights = Checkpoint.open(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"model\.safetensors has changed since it was opened"):
        GPT2(weights)


def test_too_little_memory_is_said_with_how_much_is_needed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("minigpt2.inference.fast.np.empty", no_memory)
    with pytest.raises(MemoryError, match=r"model\.safetensors: its parameters need 0\.0 GB of memory"):
        GPT2(Checkpoint.open(directory))


REFUSED_CONFIGS: dict[str, dict[str, Any]] = {
    "'activation_function' is 'gelu', but supported are gelu_new": {"activation_function": "gelu"},
    "'n_head' is 5, but the heads must share 24 numbers equally": {"n_head": 5},
    "'n_head' is 4, but 'num_attention_heads' is 3": {"num_attention_heads": 3},
    "'n_head' is 0, but it must be a positive integer": {"n_head": 0},
    "'n_head' is nan, but it must be a positive integer": {"n_head": float("nan")},
    "'model_type' is 'imagegpt', but only gpt2 is supported": {"model_type": "imagegpt"},
    "'n_inner' is 48, but its tensors have 96": {"n_inner": 48},
    "'add_cross_attention' is True, but only False is supported": {"add_cross_attention": True},
    "'is_causal' is False, but only True is supported": {"is_causal": False},
    "'per_layer_config' is {}, but only None is supported": {"per_layer_config": {}},
    "'tie_last_hidden_states' is False, but only True is supported": {"tie_last_hidden_states": False},
    "'quantization_config' is {}, but only None is supported": {"quantization_config": {}},
    "'layer_norm_epsilon' is '1e-5', but it must be a number": {"layer_norm_epsilon": "1e-5"},
    "'layer_norm_epsilon' is -1, but it must be a number, 0 or more": {"layer_norm_epsilon": -1},
    "'layer_norm_epsilon' is nan, but it must be a number": {"layer_norm_epsilon": float("nan")},
    "'layer_norm_epsilon' is inf, but it must be a number": {"layer_norm_epsilon": float("inf")},
    "'scale_attn_weights' is 1, but it must be true or false": {"scale_attn_weights": 1},
    "'layer_norm_epsilon' is 10+, but it must be a number": {"layer_norm_epsilon": 10**400},
    "'eos_token_id' is 'end', but it must be a token id": {"eos_token_id": "end"},
    "'eos_token_id' is 2147483648, but it must be a token id": {"eos_token_id": 2**31},
    "'pad_token_id' is 10+, but it must be a token id": {"pad_token_id": 10**30},
    "'bos_token_id' is .10+., but it must be a token id": {"bos_token_id": [10**30]},
    r"'tie_word_embeddings' is False, but its tensors include no lm_head\.weight": {"tie_word_embeddings": False},
}


@pytest.mark.parametrize("message", REFUSED_CONFIGS)
def test_a_config_that_is_not_supported_is_refused_by_name(tmp_path: Path, message: str) -> None:
    write_gpt2(tmp_path, **REFUSED_CONFIGS[message])
    with pytest.raises(CheckpointError, match=rf"config\.json: {message}"):
        GPT2(Checkpoint.open(tmp_path))


def test_a_config_may_use_transformers_other_names_and_leave_out_what_is_usual(tmp_path: Path) -> None:
    write_gpt2(tmp_path)
    names = {"n_layer": "num_hidden_layers", "n_embd": "hidden_size", "n_positions": "max_position_embeddings"}
    config = {names.get(key, key): value for key, value in SIZES.items()} | {"num_attention_heads": N_HEAD}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert GPT2(Checkpoint.open(tmp_path)).options.n_head == N_HEAD
    del config["num_hidden_layers"]  # then it is 12
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json: 'n_layer' is 12, but its tensors have 3"):
        GPT2(Checkpoint.open(tmp_path))


def test_embeddings_alone_are_not_a_model(tmp_path: Path) -> None:
    write_gpt2(tmp_path, n_layer=0)
    Checkpoint.open(tmp_path).save(tmp_path / "model.safetensors.new", names=["wte.weight", "wpe.weight"])
    (tmp_path / "model.safetensors.new").replace(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="has no layers: it holds embeddings alone"):
        GPT2(Checkpoint.open(tmp_path))


# --- bad input

IDS = [[1, 2, 3], [4, 5, 6]]
REFUSED_CALLS: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "token id 101 is outside the vocabulary, 0 to 100": (ValueError, {"ids": [[101]]}),
    "token id -1 is outside the vocabulary": (ValueError, {"ids": [-1]}),
    "token ids must be integers, not float": (TypeError, {"ids": [1.0]}),
    "token ids must be integers, not bool": (TypeError, {"ids": [True]}),
    "token ids must be integers, not str": (TypeError, {"ids": "text"}),
    "must all have the same length: pad them": (ValueError, {"ids": [[1], [1, 2]]}),
    r"ids must have the shape \(texts, tokens\) or \(tokens,\), not \(1, 1, 1\)": (ValueError, {"ids": [[[1]]]}),
    "there is no token: give at least one": (ValueError, {"ids": [[]]}),
    "301 tokens are more than the model's 300 positions: cut the text": (ValueError, {"ids": [1] * 301}),
    "text 1 of the batch is masked whole": (ValueError, {"attention_mask": [[1, 1, 1], [0, 0, 0]]}),
    r"attention_mask must have the shape \(2, 3\)": (ValueError, {"attention_mask": [1, 1, 1]}),
    "attention_mask must hold 1 for a token that counts": (ValueError, {"attention_mask": [[1, 1, 2], [1, 1, 1]]}),
    "attention_mask must hold 1 for .* and 0 for": (ValueError, {"attention_mask": [[0.5, 1, 1], [1, 1, 1]]}),
    "attention_mask must have rows of the same length": (ValueError, {"attention_mask": [[1, 1, 1], [1, 1]]}),
    "labels must have rows of the same length": (ValueError, {"labels": [[1, 2, 3], [1, 2]]}),
    "logits_to_keep must be at least 0, not -1": (ValueError, {"logits_to_keep": -1}),
    "logits_to_keep must be an integer": (TypeError, {"logits_to_keep": 1.5}),
    "logits_to_keep has a position outside the 3": (ValueError, {"logits_to_keep": [3]}),
    r"labels must have the shape of the ids, \(2, 3\), not \(1, 3\)": (ValueError, {"labels": [1, 2, 3]}),
    "token id -7 is outside the vocabulary": (ValueError, {"labels": [[1, -100, 2], [1, 2, -7]]}),
    "labels need the logits of all positions": (ValueError, {"labels": IDS, "logits_to_keep": 1}),
    r"no point 'h\.0\.attn\.patern' to hook; close to it: h\.0\.attn\.pattern": (
        ValueError,
        {"hooks": {"h.0.attn.patern": print}},
    ),
    r"no point 'h\.3' to hook": (ValueError, {"hooks": {"h.3": print}}),
    "the hook at 'ln_f' must be a function, not int": (TypeError, {"hooks": {"ln_f": 1}}),
    r"the hook at 'ln_f' returned shape \(2, 3\) in place of \(2, 3, 24\)": (
        ValueError,
        {"hooks": {"ln_f": lambda array: array.sum(-1)}},
    ),
    "the hook at 'ln_f' must return real numbers or None, not str": (TypeError, {"hooks": {"ln_f": lambda _: "array"}}),
    "past_key_values must be what an earlier call returned, not tuple": (TypeError, {"past_key_values": ()}),
    r"past_key_values is for \(layers, texts, heads, width\) \(3, 1, 4, 6\), not \(3, 2, 4, 6\)": (
        ValueError,
        {"past_key_values": Cache(3, 1, 4, 6)},
    ),
}


@pytest.mark.parametrize("message", REFUSED_CALLS)
def test_what_cannot_be_computed_is_refused_with_the_reason(model: GPT2, message: str) -> None:
    kind, options = REFUSED_CALLS[message]
    with pytest.raises(kind, match=message):
        model(**{"ids": IDS} | options)


def test_positions_are_counted_with_those_in_the_cache_and_without_padding(model: GPT2) -> None:
    cache = model([1] * 299, use_cache=True).past_key_values
    model([1], past_key_values=cache)
    with pytest.raises(ValueError, match="301 tokens are more than the model's 300 positions"):
        model([1], past_key_values=cache)
    mask = np.arange(310) >= 10
    assert np.isfinite(model([1] * 310, mask).logits).all()
