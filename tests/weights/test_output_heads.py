"""Whose output matrix is `lm_head.weight`, in files of modules that hold a GPT-2: its own, or `wte`, or in doubt."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn
from transformers import GPT2Config, GPT2Model

from minigpt2 import GPT2, Checkpoint, CheckpointError, Embeddings
from tests.weights.test_saved_modules import CONFIG, IDS, below, head, lm, module, tied, tied_logits, untied_lm


def test_a_head_outside_the_model_is_not_taken_for_the_one_that_is_left_out(tmp_path: Path) -> None:
    state = module({"model": lm(), "lm_head": head()}).state_dict()
    del state["model.lm_head.weight"]  # as transformers leaves it out
    save_file({name: each.clone() for name, each in state.items()}, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"its 'lm_head\.weight' is not 'model\.lm_head\.weight': save the GPT-2 "
    ):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("around", ["", "module.", "a.b."])
@pytest.mark.parametrize("name", ["transformer", "gpt"])
def test_an_output_matrix_beside_the_model_is_its_own_whatever_stands_before_both(
    name: str, around: str, tmp_path: Path
) -> None:
    top = module({name: GPT2Model(CONFIG), "lm_head": head()})
    save_file({around + each: tensor for each, tensor in top.state_dict().items()}, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    hidden = top.get_submodule(name)(torch.tensor([IDS])).last_hidden_state[0]
    logits = top.get_submodule("lm_head")(hidden).detach().numpy()
    np.testing.assert_allclose(GPT2.from_pretrained(tmp_path)(IDS).logits[0], logits, atol=1e-5)


@pytest.mark.parametrize("save_as", ["save_model", "save_file"])
@pytest.mark.parametrize("around", ["", "module"])
@pytest.mark.parametrize("other", ["decoder", "decoder.wide", "heads"])
@pytest.mark.parametrize("name", ["gpt", "transformer", "model.transformer"])
def test_an_output_head_of_another_module_may_be_the_one_that_is_meant_where_the_model_has_none(
    name: str, other: str, around: str, save_as: str, tmp_path: Path
) -> None:
    model = GPT2Model(CONFIG)
    modules: dict[str, nn.Module] = {"lm_head": nn.Linear(4, 7 if other.endswith("wide") else 10, bias=False)}
    if other.startswith("decoder"):  # of hidden states, with positions and no wte
        modules |= {"wpe": nn.Embedding(8, 4), "ln_f": nn.LayerNorm(4)}
    first, *rest = name.split(".")
    top = below(around.split(), module({first: below(rest, model), "other": nn.ModuleDict(modules)}))
    file = tmp_path / "model.safetensors"
    save_model(top, str(file)) if save_as == "save_model" else save_file(top.state_dict(), file)
    CONFIG.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"its '(module\.)?other\.lm_head\.weight' is not "):
        GPT2.from_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    assert "lm_head.weight" not in weights
    np.testing.assert_array_equal(Embeddings(weights).tokens([2]), model.wte.weight[[2]].detach().numpy())


def test_positions_beside_an_output_matrix_do_not_make_it_wte(tmp_path: Path) -> None:
    top = module({"gpt": GPT2Model(CONFIG), "wpe": nn.Embedding(8, 4), "lm_head": head()})
    save_file(top.state_dict(), tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    for name in ("wte.weight", "lm_head.weight"):
        wanted = top.state_dict()[name if name == "lm_head.weight" else f"gpt.{name}"]
        np.testing.assert_array_equal(weights[name], wanted)


@pytest.mark.parametrize("around", ["", "module"])
@pytest.mark.parametrize("name", ["transformer", "gpt", "model"])
def test_a_tied_head_that_alone_was_written_is_wte(name: str, around: str, tmp_path: Path) -> None:
    model = GPT2Model(CONFIG)
    top = below(around.split(), module(tied(**{name: model})))
    state = top.state_dict()
    del state[".".join([*around.split(), name, "wte.weight"])]  # as accelerate leaves out all names but one
    save_file(state, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    np.testing.assert_allclose(GPT2.from_pretrained(tmp_path)(IDS).logits[0], tied_logits(model), atol=1e-5)


@pytest.mark.parametrize("size", [10, 11])
@pytest.mark.parametrize("second_name", ["lm_head", "a_head", "z_head"])
@pytest.mark.parametrize("around", ["", "module"])
@pytest.mark.parametrize("inner", [lambda: {"transformer": GPT2Model(CONFIG)}, lambda: {"model": untied_lm()}])
def test_an_output_matrix_farther_out_is_neither_taken_nor_passed_over(
    inner: Callable[[], dict[str, nn.Module]], around: str, second_name: str, size: int, tmp_path: Path
) -> None:
    output = nn.Linear(CONFIG.n_embd, size, bias=False)
    top = module({"encoder": module(inner()), "lm_head": output, second_name: output})
    save_model(below(around.split(), top), str(tmp_path / "model.safetensors"))
    with pytest.raises(CheckpointError, match=r"its '(module\.)?lm_head\.weight' |'lm_head.weight' could be"):
        Checkpoint.open(tmp_path).parameter_names()


@pytest.mark.parametrize("other", ["aux", "zaux"])
def test_an_untied_config_says_nothing_of_another_modules_head(other: str, tmp_path: Path) -> None:
    model, tied_to_it = untied_lm(), head()
    tied_to_it.weight = model.transformer.wte.weight  # type: ignore[union-attr, assignment]
    top = module({"gpt": model, other: nn.ModuleDict({"lm_head": tied_to_it})})
    save_model(top, str(tmp_path / "model.safetensors"))
    GPT2Config(**{**CONFIG.to_dict(), "tie_word_embeddings": False}).save_pretrained(tmp_path)
    logits = model(torch.tensor([IDS])).logits[0].detach().numpy()
    np.testing.assert_allclose(GPT2.from_pretrained(tmp_path)(IDS).logits[0], logits, atol=1e-5)


# Output heads that are more than a matrix.
HEADS: dict[str, Callable[[], nn.Module]] = {
    "a bias": lambda: nn.Linear(CONFIG.n_embd, CONFIG.vocab_size),
    "two layers": lambda: nn.Sequential(nn.Linear(4, 4), nn.GELU(), head()),
    "a norm": lambda: nn.Sequential(nn.LayerNorm(4), head()),
    "a layer before": lambda: nn.ModuleDict({"dense": nn.Linear(4, 4), "decoder": head()}),
}


@pytest.mark.parametrize("save_as", ["save_model", "save_file"])
@pytest.mark.parametrize("around", ["", "module", "model", "model module"])
@pytest.mark.parametrize("path", ["transformer", "gpt", "decoder.transformer", "decoder.gpt"])
@pytest.mark.parametrize("kind", HEADS)
def test_an_output_head_that_is_more_than_a_matrix_is_not_passed_over(
    kind: str, path: str, around: str, save_as: str, tmp_path: Path
) -> None:
    first, *inner = path.split(".")
    top = below(around.split(), module({first: below(inner, GPT2Model(CONFIG)), "lm_head": HEADS[kind]()}))
    file = tmp_path / "model.safetensors"
    save_model(top, str(file)) if save_as == "save_model" else save_file(top.state_dict(), file)
    CONFIG.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"it has '(model\.|module\.)*lm_head\..*', which GPT-2 lacks"):
        GPT2.from_pretrained(tmp_path)


class Scaled(nn.Module):
    """A module around another one, which has no parameters of its own."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, states: torch.Tensor) -> object:
        return self.linear(states) / 2


@pytest.mark.parametrize("path", ["transformer", "gpt", "zz", "decoder.transformer"])
@pytest.mark.parametrize("around", ["", "model"])
@pytest.mark.parametrize("kind", [Scaled, lambda matrix: nn.Sequential(matrix, nn.LogSoftmax(-1))])
def test_so_is_one_around_the_tied_matrix_that_the_metadata_alone_names(
    kind: Callable[[nn.Module], nn.Module], around: str, path: str, tmp_path: Path
) -> None:
    model, matrix = GPT2Model(CONFIG), head()
    matrix.weight = model.wte.weight
    first, *inner = path.split(".")
    top = module({first: below(inner, model), "lm_head": kind(matrix)})
    save_model(below(around.split(), top), str(tmp_path / "model.safetensors"))
    CONFIG.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"it has '(model\.)?lm_head\..*', which GPT-2 lacks"):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["a", "mlp_again"])
def test_a_module_within_a_layer_that_shares_its_matrices_is_passed_over_where_transformers_finds_these(
    name: str, tmp_path: Path
) -> None:
    model = lm()
    layer = model.get_submodule("transformer.h.0")
    layer.add_module(name, layer.get_submodule("mlp"))
    save_model(model, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    CONFIG.save_pretrained(tmp_path)
    if name < "mlp":  # each matrix is written under the first of its names
        with pytest.raises(CheckpointError, match=rf"it has 'transformer\.h\.0\.{name}\..*', which GPT-2 lacks"):
            GPT2.from_pretrained(tmp_path)
        return
    logits = model.train(False)(torch.tensor([IDS])).logits[0].detach().numpy()
    np.testing.assert_allclose(GPT2.from_pretrained(tmp_path)(IDS).logits[0], logits, atol=1e-5)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("inner", ["gpt", "transformer", "encoder transformer"])
@pytest.mark.parametrize("names", ["backbone lm", "lm_backbone actor", "transformer decoder", "z a"])
@pytest.mark.parametrize("kind", [*HEADS, "a matrix"])
def test_so_it_is_around_each_name_of_the_model(
    kind: str, names: str, inner: str, wrapped: bool, tmp_path: Path
) -> None:
    (shared, user), model, output = names.split(), GPT2Model(CONFIG), {**HEADS, "a matrix": head}[kind]()
    first, *rest = inner.split()
    language_model = nn.ModuleDict({first: below(rest, model), "lm_head": output})
    top = module({shared: model, user: language_model})
    save_model(below(["module"] * wrapped, top), str(tmp_path / "model.safetensors"))
    CONFIG.save_pretrained(tmp_path)
    if kind == "a matrix" and not rest:
        logits = output(model(torch.tensor([IDS])).last_hidden_state[0]).detach().numpy()
        np.testing.assert_allclose(GPT2.from_pretrained(tmp_path)(IDS).logits[0], logits, atol=1e-5)
        return
    with pytest.raises(CheckpointError, match=r"lm_head\..*', which GPT-2 lacks|lm_head.weight' is not"):
        GPT2.from_pretrained(tmp_path)


def test_of_two_output_matrices_around_a_shared_transformer_none_is_the_models(tmp_path: Path) -> None:
    one, other = untied_lm(), untied_lm()
    other.transformer = one.transformer
    save_model(module({"actor": one, "critic": other}), str(tmp_path / "model.safetensors"))
    CONFIG.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    with pytest.raises(CheckpointError, match=r"'lm_head.weight' could be 'actor.lm_head.weight' or 'critic.lm_head"):
        weights.parameter_names()
    np.testing.assert_array_equal(Embeddings(weights).tokens([2]), one.transformer.wte.weight[[2]].detach().numpy())  # type: ignore[union-attr, index]
    assert "lm_head.weight" not in weights


@pytest.mark.parametrize("kind", [*HEADS, "a matrix"])
@pytest.mark.parametrize("around", ["", "module", "model"])
def test_an_output_head_farther_out_is_found_by_its_own_name_alone(kind: str, around: str, tmp_path: Path) -> None:
    output = {**HEADS, "a matrix": head}[kind]()
    decoder = nn.ModuleDict({"transformer": GPT2Model(CONFIG)})
    top = below(around.split(), module({"decoder": decoder, "lm_head": output}))
    save_file(top.state_dict(), tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    for name in ("lm_head.weight", "transformer.lm_head.weight"):
        assert name in top.state_dict() or name not in weights


def test_the_output_matrix_of_a_module_called_transformer_is_not_passed_over(tmp_path: Path) -> None:
    state = module({"transformer": GPT2Model(CONFIG)}).state_dict()
    bare = {name.removeprefix("transformer."): each for name, each in state.items()}
    save_file(bare | {"transformer.lm_head.weight": head().weight.detach()}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"it has 'transformer\.lm_head\.weight', which GPT-2 lacks"):
        Checkpoint.open(tmp_path).parameter_names()


def test_of_two_output_matrices_neither_is_wte(tmp_path: Path) -> None:
    top = module({"model": lm(), "transformer": nn.ModuleDict({"lm_head": head()})})
    save_file({name: each.detach().clone() for name, each in top.state_dict().items()}, tmp_path / "model.safetensors")
    assert "lm_head.weight" not in Checkpoint.open(tmp_path)
