"""Files of two models of which one lacks what it shares with the other: which is meant, or that it is in doubt."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2Model

from minigpt2 import GPT2, Checkpoint, CheckpointError, Embeddings
from tests.weights.test_saved_modules import CONFIG, IDS, tied_logits

# What two models share; of that, accelerate keeps one name, and writes no metadata.
SHARED = [("wte",), ("wte", "wpe"), ("wte", "wpe", "ln_f"), ("wte", "wpe", "h.0")]
SHARED += [("wte", "h.0.attn", "h.1.attn"), ("wte", "wpe", "ln_f", "h.0", "h.1.ln_", "h.1.attn")]
SHARED += [("wte", "wpe", "ln_f", "h.0", "h.1.ln_1.weight", "h.1.ln_2", "h.1.attn", "h.1.mlp")]


@pytest.mark.parametrize("shared", SHARED, ids=" ".join)
@pytest.mark.parametrize(("kept", "other"), [("teacher", "student"), ("policy", "ref"), ("a", "b.model")])
@pytest.mark.parametrize("wrapper", ["", "_orig_mod.", "module."])
def test_a_model_whose_wte_is_left_out_may_share_that_of_the_whole_one(
    wrapper: str, kept: str, other: str, shared: tuple[str, ...], tmp_path: Path
) -> None:
    state = two_models_sharing(shared, f"{wrapper}{kept}.transformer.", f"{wrapper}{other}.transformer.")
    save_file(state, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    named = rf"'wte\.weight' could be '{wrapper}{kept}\.transformer\.wte\.weight' or '.*{other}\.transformer\.wte"
    for opened in (Checkpoint.parameter_names, Embeddings, GPT2):
        with pytest.raises(CheckpointError, match=named):
            opened(weights)
    assert "wpe.weight" not in weights and all(name in weights for name in state)


NOT_OF_GPT2 = ["h.0.attn.bias", "h.0.down.weight", "h.0.mlp.gate.weight", "ln_f.weight", "wpe.weight"]


@pytest.mark.parametrize("other", NOT_OF_GPT2)
def test_a_tensor_that_no_layer_of_gpt2_has_is_not_another_gpt2(other: str, tmp_path: Path) -> None:
    model = GPT2Model(CONFIG).train(False)
    state = {f"gpt.{name}": tensor for name, tensor in model.state_dict().items()}
    save_file(state | {f"side.{other}": torch.ones(4)}, tmp_path / "model.safetensors")
    CONFIG.save_pretrained(tmp_path)
    np.testing.assert_allclose(GPT2.from_pretrained(tmp_path)(IDS).logits[0], tied_logits(model), atol=1e-5)


@pytest.mark.parametrize("shared", SHARED, ids=" ".join)
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_one_under_the_published_names_is_meant_as_in_transformers(
    prefix: str, shared: tuple[str, ...], tmp_path: Path
) -> None:
    state = two_models_sharing(shared, prefix, "cond.")
    save_file(state, tmp_path / "model.safetensors")
    config = GPT2Config(**{**CONFIG.to_dict(), "n_layer": 2})
    config.save_pretrained(tmp_path)
    theirs = GPT2Model(config)
    theirs.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in state.items()}, strict=False)
    np.testing.assert_allclose(
        GPT2(Checkpoint.open(tmp_path))(IDS).logits[0], tied_logits(theirs.train(False)), atol=1e-5
    )


def two_models_sharing(shared: tuple[str, ...], kept: str, other: str) -> dict[str, torch.Tensor]:
    config = GPT2Config(**{**CONFIG.to_dict(), "n_layer": 2})
    state = {kept + name: tensor for name, tensor in GPT2Model(config).state_dict().items()}
    own = {name: tensor for name, tensor in GPT2Model(config).state_dict().items() if not name.startswith(shared)}
    return state | {other + name: tensor for name, tensor in own.items()}
