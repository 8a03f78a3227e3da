"""A checkpoint is a GPT-2 by its names and shapes, however training left them, or it is refused with the reason."""

import re
from collections.abc import Callable
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from minigpt2 import GPT2, Checkpoint, CheckpointError, Embeddings
from minigpt2.weights.diff import compare_names
from minigpt2.weights.gpt2_layout import gpt2_shapes
from minigpt2.weights.safetensors_file import Array
from minigpt2.weights.tensor_names import bare_names, tied_names
from tests.command import Capture, answer
from tests.weights.samples import SIZES, Tensors, assert_holds, gpt2_tensors, save, save_sharded


def test_shapes_are_those_of_the_published_models() -> None:
    counts = {(12, 768): 124_439_808, (24, 1024): 354_823_168, (36, 1280): 774_030_080, (48, 1600): 1_557_611_200}
    for (n_layer, n_embd), count in counts.items():
        assert sum(int(np.prod(shape)) for shape in gpt2_shapes(n_layer, n_embd, 1024, 50257).values()) == count


def test_masks_and_other_heads_are_not_parameters(tmp_path: Path) -> None:
    masks = {f"h.{layer}.attn.{name}": np.ones((1, 1, 8, 8)) for layer in (0, 1) for name in ("bias", "masked_bias")}
    weights = Checkpoint.open(save(tmp_path, gpt2_tensors() | masks | {"score.weight": np.zeros((2, 4))}))
    assert weights.parameter_names() == ["transformer." + name for name in gpt2_shapes(**SIZES)]
    assert weights.num_parameters() == sum(array.size for array in gpt2_tensors().values())


def test_layers_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = Checkpoint.open(save(tmp_path, gpt2_tensors(n_layer=11))).parameter_names()
    layers = [int(name.split(".")[2]) for name in names if ".h." in name]
    assert layers == sorted(layers) and layers[-1] == 10


def test_a_file_of_the_embeddings_alone_passes_for_a_gpt2_without_layers(tmp_path: Path) -> None:
    tensors = {name: array for name, array in gpt2_tensors().items() if name.startswith("w")}
    weights = Checkpoint.open(save(tmp_path, tensors))
    assert weights.parameter_names() == ["transformer.wte.weight", "transformer.wpe.weight"]
    np.testing.assert_array_equal(Embeddings(weights).tokens([3]), tensors["wte.weight"][[3]])


# What is changed in a GPT-2, None for a tensor that is left out, by the reason for which it is refused.
ANOTHER: dict[str, dict[str, Array | None]] = {
    "has no 'h.1.mlp.c_fc.bias' (GPT-2 has biases": {"h.1.mlp.c_fc.bias": None},
    "has no 'h.1.mlp.c_fc.weight'": {"h.1.mlp.c_fc.weight": None},
    "has no 'ln_f.bias'": {"ln_f.bias": None},
    "has no 'h.2.ln_1.weight'": {"h.7.attn.q_proj.weight": np.zeros(4)},
    "has 'h.1.attn.q_norm.weight', which GPT-2 lacks": {"h.1.attn.q_norm.weight": np.zeros(4)},
    "'h.1.attn.c_attn.weight' has the shape (12, 4), not (4, 12) (it is transposed": {
        "h.1.attn.c_attn.weight": np.zeros((12, 4))
    },
    "'h.1.attn.c_attn.weight' has the shape (4, 13), not (4, 12)": {"h.1.attn.c_attn.weight": np.zeros((4, 13))},
    "'h.1.mlp.c_fc.weight' is I8, not one of": {"h.1.mlp.c_fc.weight": np.ones((4, 16), np.int8)},
    "'ln_f.weight' is BOOL, not one of": {"ln_f.weight": np.ones(4, bool)},
    "'lm_head.weight' has the shape (9, 4), not (10, 4)": {"lm_head.weight": np.ones((9, 4))},
}
UNSOUND: dict[str, dict[str, Array | None]] = {
    "has no 'wte.weight'": {"wte.weight": None},
    "has no 'wpe.weight'": {"wpe.weight": None},
    "'wte.weight' has the shape (4,)": {"wte.weight": np.zeros(4)},
    "'wte.weight' has the shape (0, 4)": {"wte.weight": np.zeros((0, 4))},
    "'wpe.weight' has the shape (8, 5), not (8, 4)": {"wpe.weight": np.zeros((8, 5))},
    "'wte.weight' could be 'decoder.wte.weight' or 'wte.weight'": {"decoder.wte.weight": np.zeros((10, 4))},
}


def changed(reason: str) -> Tensors:
    """A GPT-2 with the change that is refused for this reason."""
    tensors = gpt2_tensors() | (ANOTHER | UNSOUND)[reason]
    return {name: array for name, array in tensors.items() if array is not None}


def needs_of_a_gpt2(weights: Checkpoint) -> list[Callable[[], object]]:
    return [weights.parameter_names, weights.named_parameters, weights.num_parameters, lambda: weights.config]


@pytest.mark.parametrize("reason", ANOTHER | UNSOUND)
def test_another_architecture_opens_and_is_refused_where_a_gpt2_is_needed(tmp_path: Path, reason: str) -> None:
    tensors = changed(reason)
    weights = Checkpoint.open(save(tmp_path, tensors, config={"model_type": "gpt2"}))
    assert_holds(weights, tensors)
    for need in needs_of_a_gpt2(weights):
        with pytest.raises(CheckpointError) as refusal:
            need()
        assert reason in str(refusal.value) and f"it holds {len(tensors)} tensors" in str(refusal.value)


@pytest.mark.parametrize("reason", ANOTHER)
def test_embeddings_need_a_sound_wte_and_wpe_only(tmp_path: Path, reason: str) -> None:
    tensors = changed(reason)
    embeddings = Embeddings(Checkpoint.open(save(tmp_path, tensors)))
    np.testing.assert_array_equal(embeddings([3, 1]), tensors["wte.weight"][[3, 1]] + tensors["wpe.weight"][:2])


@pytest.mark.parametrize("reason", UNSOUND)
def test_embeddings_refuse_an_unsound_wte_or_wpe(tmp_path: Path, reason: str) -> None:
    with pytest.raises(CheckpointError) as refusal:
        Embeddings(Checkpoint.open(save(tmp_path, changed(reason))))
    assert reason in str(refusal.value)


def test_embeddings_beside_other_tensors_alone_are_not_a_gpt2_without_layers(tmp_path: Path) -> None:
    tensors = {name: array for name, array in gpt2_tensors().items() if name.startswith("w")}
    weights = Checkpoint.open(save(tmp_path, tensors | {"blocks.0.attn.weight": np.zeros((4, 4))}))
    for need in needs_of_a_gpt2(weights):
        with pytest.raises(CheckpointError, match=r"it has 'blocks\.0\.attn\.weight', which GPT-2 lacks"):
            need()


# --- what wrappers put before the names

PREFIXES = [
    "",
    "transformer.",
    "module.",
    "module.transformer.",
    "_orig_mod.transformer.",
    "pretrained_model.transformer.",
]
PREFIXES += [
    "base_model.model.transformer.",
    "module._orig_mod.pretrained_model.transformer.",
    "a.b.c.",
    "xtransformer.",
    "transformer.transformer.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("own_lm_head", [False, True])
def test_whatever_stands_before_the_names_the_usual_ones_find_the_tensors(
    tmp_path: Path, prefix: str, own_lm_head: bool, capsys: Capture
) -> None:
    usual = gpt2_tensors()
    around = prefix.removesuffix("transformer.") if prefix != "xtransformer." else prefix
    tensors = {prefix + name: array for name, array in usual.items()}
    tensors[around + "v_head.summary.weight"] = np.zeros((1, 4), np.float32)
    if own_lm_head:
        usual["lm_head.weight"] = tensors[around + "lm_head.weight"] = np.ones((10, 4), np.float32)
    weights = Checkpoint.open(save(tmp_path, tensors))
    assert_holds(weights, tensors)
    for name, array in usual.items():
        for called in {name, f"transformer.{name}"}:
            assert called in weights
            np.testing.assert_array_equal(weights[called], array)
    named = {name.removeprefix("transformer."): array for name, array in weights.named_parameters()}
    assert list(named) == list(usual)
    assert all(np.array_equal(named[name], array) for name, array in usual.items())
    np.testing.assert_array_equal(weights["lm_head.weight"], usual.get("lm_head.weight", usual["wte.weight"]))
    np.testing.assert_array_equal(Embeddings(weights).tokens([2]), usual["wte.weight"][[2]])
    assert "1 tensor," in answer(
        capsys, "extract", tmp_path / "part.safetensors", "wte.weight", "--model", weights.path
    )
    assert "0 of them with other numbers" in answer(capsys, "diff", weights.path, save(tmp_path / "usual", usual))


WRAPPERS = ["_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod."]


@st.composite
def wrapped_names(draw: st.DrawFn) -> dict[str, str]:
    """The names of a model, of which any module is in any wrappers, by GPT-2's names."""
    modules: dict[str, str] = {}  # what stands before the names of a module's own, by the module's path

    def wrapped(name: str) -> str:
        module, _, own = name.rpartition(".")
        if module not in modules:
            wrappers = "".join(draw(st.lists(st.sampled_from(WRAPPERS), max_size=2)))
            modules[module] = (wrapped(module) + "." if module else "") + wrappers
        return modules[module] + own

    heads = draw(st.sampled_from([[], ["lm_head.weight"]]))
    return {name: wrapped(name if name in heads else f"transformer.{name}") for name in [*gpt2_tensors(), *heads]}


@given(names=wrapped_names())
def test_wrappers_inside_the_model_are_left_out_of_its_names(names: dict[str, str]) -> None:
    assert bare_names({name: name for name in names.values()}, {}) == names
    alone = dict(names)
    del alone["wte.weight"]
    if "lm_head.weight" in names:
        expected = {"transformer.wte.weight": names["lm_head.weight"]}
        assert tied_names({name: name for name in alone.values()}) == expected
        with_another = [*alone.values(), "critic.lm_head.weight"]  # that of another module
        assert tied_names({name: name for name in with_another}) == expected


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_model_whose_blocks_are_wrapped_computes_as_without(tmp_path: Path, wrapper: str) -> None:
    usual = gpt2_tensors() | {f"h.{layer}.attn.bias": np.ones((1, 1, 8, 8), np.float32) for layer in (0, 1)}
    tensors = {re.sub(r"(h\.[0-9]+\.)", rf"\1{wrapper}", f"{wrapper}{name}"): array for name, array in usual.items()}
    expected = GPT2(Checkpoint.open(save(tmp_path / "usual", usual, config=TIED)))([1, 2]).logits
    weights = Checkpoint.open(save(tmp_path, tensors, config=TIED))
    np.testing.assert_array_equal(GPT2(weights)([1, 2]).logits, expected)


def test_a_tensor_that_is_there_wrapped_and_unwrapped_is_refused(tmp_path: Path) -> None:
    tensors = gpt2_tensors("transformer.") | {"transformer.h.0._orig_mod.ln_1.weight": np.ones(4, np.float32)}
    with pytest.raises(CheckpointError, match=r"'transformer\.h\.0\._orig_mod\.ln_1\.weight' or 'transf"):
        Checkpoint.open(save(tmp_path, tensors)).parameter_names()


TIED = {"model_type": "gpt2", "n_head": 2, **SIZES}


def without_wte(prefix: str, head: str) -> tuple[Tensors, Tensors]:
    """A GPT-2 whose `wte.weight` is saved under another name, and under its own."""
    usual = gpt2_tensors()
    return {head if name == "wte.weight" else prefix + name: array for name, array in usual.items()}, usual


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("shards", [False, True])
def test_an_lm_head_alone_is_wte_under_every_prefix(tmp_path: Path, prefix: str, shards: bool, capsys: Capture) -> None:
    around = prefix.removesuffix("transformer.") if prefix != "xtransformer." else prefix
    tensors, usual = without_wte(prefix, around + "lm_head.weight")
    save(tmp_path, tensors, "model.safetensors", config=TIED)
    weights = Checkpoint.open(save_sharded(tmp_path, tensors) if shards else tmp_path / "model.safetensors")
    assert_holds(weights, tensors)
    for name in ("wte.weight", "transformer.wte.weight", "lm_head.weight"):
        np.testing.assert_array_equal(weights[name], usual["wte.weight"])
    assert weights.parameter_names() == ["transformer." + name for name in usual] and weights.config == TIED
    np.testing.assert_array_equal(Embeddings(weights)([3, 1]), usual["wte.weight"][[3, 1]] + usual["wpe.weight"][:2])
    assert np.isfinite(GPT2(weights)([1, 2]).logits).all()
    assert "transformer.wte.weight" in answer(capsys, "params", "--model", weights.path)
    assert answer(capsys, "show", "wte.weight", "--model", weights.path).startswith("wte.weight: F32 (10, 4)")
    assert "0 of them with other numbers" in answer(capsys, "diff", weights.path, save(tmp_path / "usual", usual))


@pytest.mark.parametrize("around", ["_orig_mod.", "module._orig_mod."])
def test_what_save_model_says_of_a_wrapped_model_counts_without_a_config(tmp_path: Path, around: str) -> None:
    tensors, usual = without_wte(f"{around}transformer.", f"{around}lm_head.weight")
    said = {f"{around}transformer.wte.weight": f"{around}lm_head.weight"}
    save_file(tensors, tmp_path / "model.safetensors", said)
    weights = Checkpoint.open(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(weights["wte.weight"], usual["wte.weight"])


def test_what_is_extracted_from_a_model_with_an_lm_head_alone_has_its_wte_still(
    tmp_path: Path, capsys: Capture
) -> None:
    tensors, usual = without_wte("transformer.", "lm_head.weight")
    path = save(tmp_path, tensors, config=TIED)
    part = tmp_path / "part.safetensors"
    answer(capsys, "extract", part, "w?e.weight", "--model", path)
    part = part.rename(save(tmp_path / "elsewhere", {}))  # no config lies there
    np.testing.assert_array_equal(Embeddings(Checkpoint.open(part)).tokens([2]), usual["wte.weight"][[2]])


LONE = "lm_head.weight"
# The name of the output matrix, more tensors, and the config, None for none.
UNCERTAIN: dict[str, tuple[str, Tensors, dict[str, Any] | None]] = {
    "no config": (LONE, {}, None),
    "a config that does not tie": (LONE, {}, {**TIED, "tie_word_embeddings": False}),
    "a config that may tie": (LONE, {}, {**TIED, "tie_word_embeddings": None}),
    "another architecture": (LONE, {}, {**TIED, "model_type": "llama"}),
    "two of them": (LONE, {"_orig_mod.lm_head.weight": np.ones((10, 4))}, TIED),
    "two models": (LONE, {"decoder.wpe.weight": np.ones((8, 4)), "decoder.lm_head.weight": np.ones((10, 4))}, TIED),
    "inside the transformer": ("transformer.lm_head.weight", {}, TIED),
    "another prefix": ("module.lm_head.weight", {}, TIED),
    "a wte in parts": (LONE, {"transformer.wte.part.weight": np.ones((10, 4))}, TIED),
    "a quantized wte": (LONE, {"transformer.wte.qweight": np.ones((10, 4))}, TIED),
}


@pytest.mark.parametrize("case", UNCERTAIN)
def test_an_lm_head_alone_that_may_be_another_matrix_is_refused_by_name(tmp_path: Path, case: str) -> None:
    head, more, config = UNCERTAIN[case]
    weights = Checkpoint.open(save(tmp_path, without_wte("transformer.", head)[0] | more, config=config))
    assert "wte.weight" not in weights
    needs: list[Callable[[], object]] = [lambda: Embeddings(weights), lambda: GPT2(weights)]
    for need in needs_of_a_gpt2(weights) + needs:
        with pytest.raises(
            CheckpointError, match=rf"has no 'wte\.weight', and nothing says that .*'{head}'.* the same"
        ):
            need()


def test_a_name_that_could_be_two_tensors_is_refused_with_both(tmp_path: Path) -> None:
    tensors = {f"{part}.{name}": array for part in ("encoder", "decoder") for name, array in gpt2_tensors().items()}
    weights = Checkpoint.open(save(tmp_path, tensors))
    with pytest.raises(KeyError, match=r"close to it: (encoder|decoder)\.wte\.weight, (encoder|decoder)\.wte\.weight"):
        weights["wte.weight"]
    assert "wte.weight" not in weights and "lm_head.weight" not in weights
    np.testing.assert_array_equal(weights["decoder.wte.weight"], tensors["decoder.wte.weight"])


BESIDE = ["", "transformer.", "decoder.", "_orig_mod.", "_orig_mod.transformer.", "decoder.transformer."]


@pytest.mark.parametrize(("prefix", "other_prefix"), list(permutations([*BESIDE, "encoder.transformer."], 2)))
@pytest.mark.parametrize("name", ["ln_f.weight", "layers.0.weight"])
def test_no_name_means_a_tensor_of_another_module(
    tmp_path: Path, prefix: str, other_prefix: str, name: str, capsys: Capture
) -> None:
    usual, other = gpt2_tensors(), other_prefix + name
    tensors = {**{prefix + each: array for each, array in usual.items()}, other: np.full(4, 7, np.float32)}
    weights = Checkpoint.open(save(tmp_path, tensors))
    assert_holds(weights, tensors)
    for each, array in usual.items():
        for called in {each, f"transformer.{each}"} - {other}:
            assert called not in weights or np.array_equal(weights[called], array)
    with suppress(CheckpointError):
        named = {each.removeprefix("transformer."): array for each, array in weights.named_parameters()}
        assert all(np.array_equal(array, usual[each]) for each, array in named.items())
    compared = answer(capsys, "diff", weights.path, weights.path)
    assert f"{len(tensors)} tensors in both with the same shape, 0 of them with other numbers" in compared


GPT2_NAMES = ["wte.weight", "wpe.weight", "ln_f.weight", "lm_head.weight"]
names_of_any_model = st.builds(
    lambda modules, name: "".join(modules) + name,
    st.lists(st.sampled_from(["transformer.", "decoder.", "_orig_mod."]), max_size=3),
    st.sampled_from([*GPT2_NAMES, "layers.0.weight"]),
)


# Each example writes its file anew, so they can share a directory.
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(names_of_any_model, min_size=1, max_size=6), config=st.sampled_from([None, TIED]))
def test_each_name_that_is_known_means_one_tensor(
    names: set[str], config: dict[str, Any] | None, tmp_path: Path
) -> None:
    tensors = {name: np.full(2, number, np.float32) for number, name in enumerate(sorted(names))}
    (tmp_path / "config.json").unlink(missing_ok=True)
    weights = Checkpoint.open(save(tmp_path, tensors, config=config))
    assert_holds(weights, tensors)
    assert {weights.own_names[name] for name in weights.bare_names.values()} == names
    for bare, own_name in weights.bare_names.items():
        array = tensors[weights.own_names[own_name]]
        np.testing.assert_array_equal(weights[bare], array)
        usual = f"transformer.{bare}"
        if bare == "lm_head.weight" and usual not in weights:
            continue  # not the model's
        if bare in GPT2_NAMES and weights.ambiguous_names.keys().isdisjoint({usual, "wte.weight"}):
            np.testing.assert_array_equal(weights[usual], array)
    for several in weights.ambiguous_names.values():
        assert len(set(several)) > 1
    compared = compare_names(weights, weights).common
    assert {weights.info(name) for name in compared} == {weights.info(name) for name in names}


@pytest.mark.parametrize("prefix", ["", "gpt.transformer.", "_orig_mod.", "transformer."])
def test_two_tensors_of_other_modules_do_not_make_the_models_names_ambiguous(tmp_path: Path, prefix: str) -> None:
    usual = gpt2_tensors()
    others = {"norm.bias": np.zeros(4, np.float32), "other.transformer.norm.bias": np.ones(4, np.float32)}
    if prefix != "transformer.":  # whose own module it would be
        others["transformer.norm.bias"] = np.full(4, 2, np.float32)
    tensors = {**{prefix + name: array for name, array in usual.items()}, **others}
    weights = Checkpoint.open(save(tmp_path, tensors, config=TIED))
    assert_holds(weights, tensors)
    named = {name.removeprefix("transformer."): array for name, array in weights.named_parameters()}
    assert list(named) == list(usual) and all(np.array_equal(named[name], usual[name]) for name in usual)


def test_a_tensor_that_another_module_has_too_is_refused_in_the_transformer_still(tmp_path: Path) -> None:
    tensors = gpt2_tensors("transformer.") | {name: np.ones(4, np.float32) for name in ("step", "transformer.step")}
    with pytest.raises(CheckpointError, match=r"it has 'transformer\.step', which GPT-2 lacks"):
        Checkpoint.open(save(tmp_path, tensors)).parameter_names()


def test_a_model_beside_another_module_of_its_usual_names_is_refused_with_both(tmp_path: Path) -> None:
    for prefix, other, reason in (
        ("decoder.transformer.", "transformer.", "'decoder.transformer.ln_f.weight' or 'transformer.ln_f.weight'"),
        ("", "transformer.", "'ln_f.weight' or 'transformer.ln_f.weight'"),
        ("_orig_mod.", "_orig_mod.transformer.", "'_orig_mod.ln_f.weight' or '_orig_mod.transformer.ln_f.weight'"),
    ):
        tensors = gpt2_tensors(prefix) | {f"{other}ln_f.weight": np.ones(4, np.float32)}
        weights = Checkpoint.open(save(tmp_path, tensors))
        for need in needs_of_a_gpt2(weights):
            with pytest.raises(CheckpointError, match=re.escape(reason)):
                need()
        np.testing.assert_array_equal(Embeddings(weights).tokens([2]), gpt2_tensors()["wte.weight"][[2]])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("wpe.weight", "'wpe.weight' could be 'transformer.wpe.weight' or 'wpe.weight'"),
        ("transformer.lm_head.weight", "it has 'transformer.lm_head.weight', which GPT-2 lacks"),
    ],
)
def test_a_tensor_in_the_wrong_part_of_the_model_is_refused_by_name(tmp_path: Path, more: str, reason: str) -> None:
    tensors = gpt2_tensors("transformer.")
    weights = Checkpoint.open(save(tmp_path, tensors | {more: np.ones((10, 4), np.float32)}))
    for need in needs_of_a_gpt2(weights):
        with pytest.raises(CheckpointError, match=reason):
            need()


# --- nanoGPT


def test_nanogpts_matrices_and_missing_biases_are_refused_with_the_reason(tmp_path: Path) -> None:
    transposed = {
        f"_orig_mod.transformer.{name}": array.T.copy() if ".c_" in name else array
        for name, array in gpt2_tensors().items()
    }
    without_biases = {name: array for name, array in transposed.items() if not name.endswith(".bias")}
    for tensors, reason in (
        (transposed, "it is transposed"),
        (without_biases, "model trained without them, as nanoGPT"),
    ):
        weights = Checkpoint.open(save(tmp_path, tensors))
        with pytest.raises(CheckpointError, match=reason):
            weights.parameter_names()
        assert Embeddings(weights)([1, 2]).shape == (2, 4)


# --- config.json

GPT2_CONFIG = {"n_head": 2, **SIZES}


@pytest.mark.parametrize("model_type", ["gpt2", "gpt2-of-a-company"])
def test_a_derivative_whose_tensors_are_gpt2s_has_a_config(tmp_path: Path, model_type: str) -> None:
    config = {"model_type": model_type, **GPT2_CONFIG}
    weights = Checkpoint.open(save(tmp_path, gpt2_tensors(), config=config))
    assert weights.config == config


@pytest.mark.parametrize("config", [{}, {**GPT2_CONFIG, "n_layer": None}, {"n_head": 2}], ids=str)
@pytest.mark.parametrize(
    "more", [{}, {"h.0.attn.bias": np.zeros((1, 1, 8, 8))}, {"score.weight": np.zeros((2, 4))}], ids=list
)
def test_another_model_type_needs_every_name_shape_and_size(tmp_path: Path, config: Any, more: Tensors) -> None:
    config = {"model_type": "llama", **config}
    weights = Checkpoint.open(save(tmp_path, gpt2_tensors() | more, config=config))
    with pytest.raises(
        CheckpointError, match=r"config\.json (is not of a GPT-2: its model_type is 'llama'|has the n_layer)"
    ):
        _ = weights.config


@pytest.mark.parametrize("key", SIZES)
def test_a_config_of_other_sizes_than_the_tensors_is_refused(tmp_path: Path, key: str) -> None:
    weights = Checkpoint.open(save(tmp_path, gpt2_tensors(), config={**GPT2_CONFIG, key: SIZES[key] + 1}))
    with pytest.raises(CheckpointError, match=rf"config\.json has the {key} {SIZES[key] + 1}, .* {SIZES[key]}$"):
        _ = weights.config
