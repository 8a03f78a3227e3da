"""Models as safetensors' `save_model` writes them: a tensor of several names once, the others in the metadata."""

import json
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import save_torch_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file, save_model
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

from minigpt2 import GPT2, Checkpoint, CheckpointError, Embeddings
from tests.command import Capture, answer
from tests.weights.samples import save
from tests.weights.test_gpt2_layout import GPT2_NAMES, names_of_any_model

CONFIG = GPT2Config(n_layer=1, n_head=2, n_embd=4, n_positions=8, vocab_size=10, bos_token_id=0, eos_token_id=0)
IDS = [3, 1, 4, 1]


def head() -> nn.Linear:
    return nn.Linear(CONFIG.n_embd, CONFIG.vocab_size, bias=False)


def lm() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(CONFIG)


def tied(**modules: nn.Module) -> dict[str, nn.Module]:
    """Modules of which the `lm_head` is tied to the first."""
    (model, *_) = modules.values()
    output = head()
    output.weight = model.wte.weight  # type: ignore[union-attr, assignment]
    return {**modules, "lm_head": output}


def sharing_wte() -> dict[str, nn.Module]:
    policy, value = lm(), GPT2Model(CONFIG)
    value.wte = policy.transformer.wte
    return {"policy": policy, "value": value}


def with_its_transformer(is_tied: bool) -> dict[str, nn.Module]:
    model = lm()
    if not is_tied:
        model.lm_head = head()
    return {"model": model, "backbone": model.transformer}


def with_a_part(path: str, outside: str) -> dict[str, nn.Module]:
    model = GPT2Model(CONFIG)
    part = model.get_submodule(path)
    return {"gpt": model, **({outside: nn.ModuleDict({path: part})} if outside else {path: part})}


def with_parts(model: nn.Module, path: str, parts: str, outside: str) -> dict[str, nn.Module]:
    """A model, and some of its transformer's parts under their names outside of it."""
    named = {part: model.get_submodule(f"{path}{part}") for part in parts.split()}
    return {"gpt": model, **({outside: nn.ModuleDict(named)} if outside else named)}


def with_a_tied_head_and_a_part(name: str, part: str) -> dict[str, nn.Module]:
    model = GPT2Model(CONFIG)
    return {**tied(**{name: model}), part: model.get_submodule(part)}


def a_wrapper_of_another() -> dict[str, nn.Module]:
    """Two models that share their embeddings, one of them in the other as if it were wrapped."""
    one, other = GPT2Model(CONFIG), GPT2Model(CONFIG)
    one.wte, one.wpe = other.wte, other.wpe
    one._orig_mod = other
    return {"decoder": other, "gpt": one}


def untied_lm() -> nn.Module:
    model = lm()
    model.lm_head = head()
    return model


def called_transformer(name: str) -> dict[str, nn.Module]:
    model = GPT2Model(CONFIG)
    return {"transformer": model, name: model}


def of_the_model(path: str) -> dict[str, nn.Module]:
    model = lm()
    return {**dict(model.named_children()), path: model.transformer.get_submodule(path)}


def twice() -> dict[str, nn.Module]:
    model = lm()
    return {"model": model, "compiled": model}


# The modules of a model, and the path of the transformer that it is; None where that is in doubt.
MODELS: dict[str, tuple[Callable[[], dict[str, nn.Module]], str | None]] = {
    "one": (lambda: {"model": lm()}, "model.transformer"),
    "a tied head outside": (lambda: tied(model=GPT2Model(CONFIG)), "model"),
    "a tied head outside, before it": (lambda: tied(backbone=GPT2Model(CONFIG)), "backbone"),
    "one under two names": (twice, "model.transformer"),
    "its transformer under two names": (lambda: with_its_transformer(True), "backbone"),
    **{
        f"transformer under two names, {name}": (partial(called_transformer, name), "transformer")
        for name in ("backbone", "model", "z")
    },
    **{
        f"transformers' own, its {path} under two names": (partial(of_the_model, path), "transformer")
        for path in ("wte", "wpe", "ln_f", "h")
    },
    **{
        f"its {path} under two names, {outside}": (partial(with_a_part, path, outside), "gpt")
        for path in ("wte", "wpe", "ln_f", "h")
        for outside in ("", "a", "z")
    },
    **{
        f"its {parts} under two names, {outside}": (
            partial(lambda *names: with_parts(GPT2Model(CONFIG), "", *names), parts, outside),
            "gpt",
        )
        for parts in ("wte wpe", "wte wpe ln_f", "wte h", "wte wpe h", "wte wpe ln_f h")
        for outside in ("", "a", "z")
    },
    **{
        f"transformers' own, its {parts} under two names, {outside}": (
            partial(lambda *names: with_parts(lm(), "transformer.", *names), parts, outside),
            "gpt.transformer",
        )
        for parts in ("wte wpe", "wte wpe h")
        for outside in ("", "a", "z")
    },
    "one that is called lm_head": (lambda: {"lm_head": GPT2Model(CONFIG), "value": nn.Linear(4, 1)}, "lm_head"),
    "one in a module called lm_head": (
        lambda: {"lm_head": nn.ModuleDict({"transformer": GPT2Model(CONFIG), "value": nn.Linear(4, 1)})},
        "lm_head.transformer",
    ),
    "beside another's wpe": (
        lambda: tied(transformer=GPT2Model(CONFIG), vision=nn.ModuleDict({"wpe": nn.Embedding(8, 4)})),
        "transformer",
    ),
    "beside a part of another's wte": (
        lambda: tied(
            transformer=GPT2Model(CONFIG), vision=nn.ModuleDict({"wte": nn.ModuleDict({"part": nn.Embedding(8, 4)})})
        ),
        "transformer",
    ),
    "beside another's lm_head": (
        lambda: {"model": lm(), "critic": nn.ModuleDict({"lm_head": head()})},
        "model.transformer",
    ),
    "another output matrix": (lambda: {"model": lm(), "lm_head": head()}, None),
    **{
        f"a tied head outside, {name} and its {part} under two names": (
            partial(with_a_tied_head_and_a_part, name, part),
            name,
        )
        for name in ("backbone", "gpt", "net")
        for part in ("wte", "wpe", "ln_f", "h")
    },
    "actor and critic": (lambda: {"actor": lm(), "critic": GPT2Model(CONFIG)}, None),
    "actor and critic, the head outside": (lambda: tied(actor=GPT2Model(CONFIG), critic=GPT2Model(CONFIG)), None),
    "policy and value share wte": (sharing_wte, None),
    "one in another as if it were wrapped": (a_wrapper_of_another, None),
}


def module(modules: dict[str, nn.Module]) -> nn.Module:
    """A module of these, with numbers that make no two of them alike."""
    torch.manual_seed(0)
    top = nn.Module()
    for name, each in modules.items():
        top.add_module(name, each)
    for parameter in top.parameters():
        parameter.data.normal_(std=0.3)
    return top.eval()


def below(path: list[str], model: nn.Module) -> nn.Module:
    """A module that has this one at a path."""
    for name in reversed(path):
        model = module({name: model})
    return model


def tied_logits(model: nn.Module) -> Any:
    """The logits of a transformer whose output matrix is its wte, (tokens, vocab_size)."""
    hidden = model(torch.tensor([IDS])).last_hidden_state[0]  # (tokens, n_embd)
    return (hidden @ model.wte.weight.T).detach().numpy()  # type: ignore[union-attr]


def add_masks(top: nn.Module) -> None:
    """Give each layer the causal masks that transformers saved before 4.31."""
    for name, each in top.named_modules():
        if name.endswith(".attn"):
            each.register_buffer("bias", torch.ones(1, 1, 8, 8, dtype=torch.uint8).tril())
            each.register_buffer("masked_bias", torch.tensor(-1e4))


@pytest.mark.parametrize("has_masks", [True, False])
@pytest.mark.parametrize("has_config", [True, False])
@pytest.mark.parametrize("case", MODELS)
def test_a_model_beside_others_is_the_one_that_was_saved_or_refused(
    case: str, has_config: bool, has_masks: bool, tmp_path: Path
) -> None:
    make, path = MODELS[case]
    top = module(make())
    if has_masks:
        add_masks(top)
    save_model(top, str(tmp_path / "model.safetensors"))
    if has_config:
        CONFIG.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    if path is None:
        with pytest.raises(CheckpointError, match="could be"):
            weights.parameter_names()
        return
    model = top.get_submodule(path)
    wte = model.wte.weight.detach().numpy()  # type: ignore[union-attr, operator]
    np.testing.assert_array_equal(Embeddings(weights).tokens([2]), wte[[2]])
    assert len(weights.parameter_names()) == 16
    if has_config:
        np.testing.assert_allclose(GPT2(weights)(IDS).logits[0], tied_logits(model), atol=1e-5)


@pytest.mark.parametrize("case", MODELS)
def test_so_it_is_where_every_name_is_written(case: str, tmp_path: Path) -> None:
    make, path = MODELS[case]
    top = module(make())
    save_file({name: each.detach().clone() for name, each in top.state_dict().items()}, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    if path is None:
        with pytest.raises(CheckpointError, match="could be"):
            weights.parameter_names()
        return
    logits = tied_logits(top.get_submodule(path))
    with suppress(CheckpointError) if "two names" in case else nullcontext():  # nothing says that the two are one
        np.testing.assert_allclose(GPT2(weights)(IDS).logits[0], logits, atol=1e-5)


def test_a_tensor_outside_the_model_is_not_taken_for_one_that_it_lacks(tmp_path: Path) -> None:
    state = module({"model": GPT2Model(CONFIG)}).state_dict()
    state["ln_f.weight"] = state.pop("model.ln_f.weight")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"'ln_f\.weight' is not below 'model\.', as its 'wte\.weight' is"):
        Checkpoint.open(tmp_path).parameter_names()


@pytest.mark.parametrize("parts", ["wte wpe", "wte wpe h ln_f", "wte wpe h ln_f lm_head"])
@pytest.mark.parametrize("outside", ["", "a", "z"])
def test_second_names_of_an_untied_models_parts_are_not_another_model(outside: str, parts: str, tmp_path: Path) -> None:
    model = untied_lm()
    model.transformer.lm_head = model.lm_head  # type: ignore[union-attr]
    named = with_parts(model, "transformer.", parts, outside)
    del model.transformer.lm_head  # type: ignore[union-attr]
    top = module(named)
    save_model(top, str(tmp_path / "model.safetensors"))
    GPT2Config(**{**CONFIG.to_dict(), "tie_word_embeddings": False}).save_pretrained(tmp_path)
    logits = top.get_submodule("gpt")(torch.tensor([IDS])).logits[0].detach().numpy()
    np.testing.assert_allclose(GPT2.from_pretrained(tmp_path)(IDS).logits[0], logits, atol=1e-5)


def test_a_model_of_fewer_of_the_same_layers_is_another_one(tmp_path: Path) -> None:
    model = GPT2Model(GPT2Config(**{**CONFIG.to_dict(), "n_layer": 2}))
    shorter = nn.ModuleDict({"wte": model.wte, "wpe": model.wpe, "h": model.h[:1], "ln_f": model.ln_f})
    save_model(module({"gpt": model, "early": shorter}), str(tmp_path / "model.safetensors"))
    with pytest.raises(CheckpointError, match="could be"):
        Checkpoint.open(tmp_path).parameter_names()


def test_a_policy_whose_wte_nothing_names_is_in_doubt_beside_a_value_model(tmp_path: Path) -> None:
    state = module({"policy": lm(), "value": GPT2Model(CONFIG)}).state_dict()
    del state["policy.transformer.wte.weight"]  # as accelerate leaves it out, without metadata
    save_file(state, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="could be"):
        Checkpoint.open(tmp_path).parameter_names()


@pytest.mark.parametrize("wrapper", ["", "module."])
@pytest.mark.parametrize("parts", [("wpe", "h", "ln_f"), ("wpe",)], ids=" ".join)
@pytest.mark.parametrize(("other", "model"), [("decoder", "model"), ("transformer", "gpt"), ("encoder", "a.b")])
def test_a_matrix_around_two_models_without_wte_is_tied_to_neither(
    other: str, model: str, parts: tuple[str, ...], wrapper: str, tmp_path: Path
) -> None:
    state = {f"{wrapper}{model}.{name}": tensor for name, tensor in lm().state_dict().items()}
    del state[f"{wrapper}{model}.transformer.wte.weight"]  # as savers that keep one name of the matrix leave it out
    state[f"{wrapper}lm_head.weight"] = state.pop(f"{wrapper}{model}.lm_head.weight")
    unused = GPT2Model(CONFIG).state_dict()
    state |= {f"{wrapper}{other}.{name}": unused[name] for name in unused if name.partition(".")[0] in parts}
    save_file(state, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    for use in (weights.parameter_names, lambda: Embeddings(weights).wpe):
        with pytest.raises(CheckpointError, match="nothing says that"):
            use()


@pytest.mark.parametrize("wrapper", ["", "module."])
@pytest.mark.parametrize("others", [("encoder",), ("encoder", "decoder"), ("transformer",)], ids=" ".join)
@pytest.mark.parametrize("is_tied", [True, False])
def test_a_matrix_that_may_be_another_models_wte_is_not_an_output_head(
    others: tuple[str, ...], wrapper: str, is_tied: bool, tmp_path: Path
) -> None:
    state = {f"{wrapper}model.{name}": tensor for name, tensor in lm().state_dict().items()}
    del state[f"{wrapper}model.transformer.wte.weight"]
    state[f"{wrapper}lm_head.weight"] = state.pop(f"{wrapper}model.lm_head.weight")
    for other in others:
        state |= {f"{wrapper}{other}.{name}": tensor for name, tensor in GPT2Model(CONFIG).state_dict().items()}
    state.pop(f"{wrapper}decoder.wte.weight", None)
    save_file(state, tmp_path / "model.safetensors")
    GPT2Config(**CONFIG.to_diff_dict() | {"tie_word_embeddings": is_tied}).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"may be the 'wte\.weight' of '|could be '"):
        Checkpoint.open(tmp_path).parameter_names()


@pytest.mark.parametrize(("prefix", "other"), [("", "embed"), ("gpt.", "embed"), ("gpt.", "lm_head")])
def test_a_head_beside_another_matrix_of_its_shape_is_not_a_missing_wte(
    prefix: str, other: str, tmp_path: Path
) -> None:
    """As where `wte` has a second name and the head another matrix, and each tensor was saved under one name."""
    state = {f"{prefix}{name}": tensor for name, tensor in lm().state_dict().items()}
    state[f"{other}.weight"] = state.pop(f"{prefix}transformer.wte.weight")
    state[f"{prefix}lm_head.weight"] = torch.ones(10, 4)
    save_file(state, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    for use in (weights.parameter_names, lambda: weights["wte.weight"], lambda: Embeddings(weights)):
        with pytest.raises((CheckpointError, KeyError), match=r"wte\.weight"):
            use()


def test_a_table_of_positions_in_another_module_is_not_another_model(tmp_path: Path) -> None:
    state = lm().state_dict()
    wte = state.pop("transformer.wte.weight")
    state["vision.projector.wpe.weight"] = torch.ones(7, 3)
    save_file(state, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    assert len(weights.parameter_names()) == len(list(lm().parameters()))
    np.testing.assert_array_equal(weights["wte.weight"], wte.numpy())


@pytest.mark.parametrize("ties", [{}, {"tie_word_embeddings": True}, {"tie_word_embeddings": False}])
def test_a_config_does_not_decide_between_two_models(ties: dict[str, bool], tmp_path: Path) -> None:
    for number, make in enumerate(each for each, path in MODELS.values() if path is None):
        directory = tmp_path / str(number)
        directory.mkdir()
        save_model(module(make()), str(directory / "model.safetensors"))
        (directory / "config.json").write_text(json.dumps({"model_type": "gpt2", **ties}))
        with pytest.raises(CheckpointError, match=r"could be|nothing says that"):
            Checkpoint.open(directory).parameter_names()


def test_the_index_of_shards_says_what_is_tied(tmp_path: Path) -> None:
    model = lm()
    save_torch_model(model, tmp_path, max_shard_size="1KB")
    assert json.loads((tmp_path / "model.safetensors.index.json").read_bytes())["metadata"]["transformer.wte.weight"]
    rows = Embeddings(Checkpoint.open(tmp_path)).tokens([2])
    np.testing.assert_array_equal(rows, model.transformer.wte.weight[[2]].detach().numpy())


@pytest.mark.parametrize(
    "config",
    [{"n_actions": 10}, {"n_actions": 10, "n_embd": 4}, {"model_type": "llama"}, {"tie_word_embeddings": False}],
)
def test_a_config_of_something_else_ties_nothing(config: dict[str, Any], tmp_path: Path) -> None:
    state = module({"transformer": GPT2Model(CONFIG), "lm_head": head()}).state_dict()
    del state["transformer.wte.weight"]
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "wte.weight" not in Checkpoint.open(tmp_path)


def module_of(parameters: dict[str, nn.Parameter]) -> nn.Module:
    """A module whose parameters have these names; several can be names of one."""
    top = nn.Module()
    for name, parameter in parameters.items():
        *path, own = name.split(".")
        inner = top
        for each in path:
            if each not in dict(inner.named_children()):
                inner.add_module(each, nn.Module())
            inner = inner.get_submodule(each)
        inner.register_parameter(own, parameter)
    return top


# Each example writes its files anew, so they can share a directory.
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.dictionaries(names_of_any_model, st.integers(0, 3), min_size=1, max_size=7))
def test_a_tensor_that_is_written_once_is_found_by_each_of_its_names(numbers: dict[str, int], tmp_path: Path) -> None:
    tensors = [nn.Parameter(torch.full((2,), float(number))) for number in range(4)]
    one_each = {name: tensors[number] for name, number in numbers.items()}
    save_model(module_of(one_each), str(tmp_path / "once.safetensors"))
    save_file({name: each.detach().clone() for name, each in one_each.items()}, tmp_path / "whole.safetensors")
    once, whole = (Checkpoint.open(tmp_path / f"{name}.safetensors") for name in ("once", "whole"))
    for name in [*numbers, *GPT2_NAMES, *(f"transformer.{each}" for each in GPT2_NAMES)]:
        if name in whole:
            np.testing.assert_array_equal(once[name], whole[name])
    if "wte.weight" in once and "wte.weight" not in whole:
        could_be = {numbers[name] for name in whole.ambiguous_names["wte.weight"]}
        assert could_be == {int(once["wte.weight"][0])}  # the names of one


def with_second_names() -> nn.Module:
    model = lm()
    model.output, model.layers = model.lm_head, model.transformer.h
    model.transformer.norm = model.transformer.ln_f
    return module(dict(model.named_children()))


def test_second_names_within_a_model_change_nothing(tmp_path: Path, capsys: Capture) -> None:
    save_model(with_second_names(), str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG.to_dict(), "model_type": "my-gpt2"}))
    weights = Checkpoint.open(tmp_path)
    assert len(weights) == len(weights.parameter_names()) == 16 and weights.config["n_head"] == 2
    assert "not parameters of GPT-2" not in answer(capsys, "params", "--model", tmp_path)
    assert "16 tensors in both" in answer(capsys, "diff", tmp_path, tmp_path)
    plain = {name: weights[name] for name in weights.parameter_names()}
    compared = answer(capsys, "diff", tmp_path, save(tmp_path / "plain", plain))
    assert "16 tensors in both with the same shape, 0 of them with other numbers; 0 only in A, 0 only in B" in compared


def test_the_order_of_the_metadata_does_not_matter(tmp_path: Path) -> None:
    model = lm()
    top = module({"model": model, "compiled": model})
    for number in range(8):  # safetensors stores it in another order each time
        save_model(top, str(tmp_path / f"{number}.safetensors"))
    prefixes = [Checkpoint.open(path).prefixes for path in tmp_path.iterdir()]
    assert prefixes == 8 * [["compiled.transformer.", "model.transformer."]]


def test_the_name_of_a_tensor_that_is_left_out_is_not_given_to_another(tmp_path: Path) -> None:
    state = {"a": torch.zeros(2), "b": torch.ones(2)}
    save_file(state, tmp_path / "model.safetensors", {"a": "b"})
    weights = Checkpoint.open(tmp_path)
    assert weights["a"].tolist() == [0, 0]
    weights.save(tmp_path / "part.safetensors", names=["b"])
    assert "a" not in Checkpoint.open(tmp_path / "part.safetensors")


def test_the_files_own_names_need_no_config(tmp_path: Path) -> None:
    save_model(lm(), str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text("{")
    assert Checkpoint.open(tmp_path)["lm_head.weight"].shape == (10, 4)
