"""The trained model → `model.safetensors` and `config.json`, as transformers and minigpt2 read them."""

import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from minigpt2.atomic_write import atomic_write
from minigpt2.weights.bundled import LABEL
from scripts.bundled.texts import VOCAB_SIZE
from scripts.bundled.training import Recipe, Training


def write_model(directory: Path, training: Training, losses: dict[str, float]) -> None:
    """Write the parameters in F16 with GPT-2's names and its whole vocabulary; the header says how they were made."""
    parameters = {name: value.detach().cpu() for name, value in training.parameters.items()}
    wte = whole_wte(parameters["wte.weight"], training.texts.seen, training.recipe.seed)
    tensors = {name: value.half() for name, value in (parameters | {"wte.weight": wte}).items()}
    facts = training.made_of() | {
        "schedules": training.schedules,
        "steps": training.steps,
        "trained_tokens": training.tokens,
        "text_tokens": len(training.texts.train),
        "seconds": round(training.seconds),
    }
    metadata = {
        "format": "pt",
        "minigpt2": LABEL,
        "training": json.dumps(facts),
        "held_back_losses": json.dumps(losses),
    }
    directory.mkdir(parents=True, exist_ok=True)
    with atomic_write(directory / "model.safetensors") as file:
        file.write(save(tensors, metadata))
    with atomic_write(directory / "config.json") as file:
        file.write(json.dumps(config(training.recipe), indent=2).encode() + b"\n")


def whole_wte(rows: Tensor, seen: Tensor, seed: int) -> Tensor:
    """(n_seen + 1, n_embd) -> (50257, n_embd): a row for each token of the vocabulary.

    Tokens that share a row get it with a little noise: equal rows have no order by cosine.
    """
    generator = torch.Generator().manual_seed(seed)
    wte = rows[-1] + 0.01 * torch.randn(VOCAB_SIZE, rows.shape[1], generator=generator)
    wte[seen] = rows[:-1]
    return wte


def config(recipe: Recipe) -> dict[str, str | int | float | list[str]]:
    """The `config.json` of the model, with the keys of OpenAI's that mean something."""
    return {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.0,
        "bos_token_id": VOCAB_SIZE - 1,
        "embd_pdrop": 0.0,
        "eos_token_id": VOCAB_SIZE - 1,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": recipe.n_positions,
        "n_embd": recipe.n_embd,
        "n_head": recipe.n_head,
        "n_layer": recipe.n_layer,
        "n_positions": recipe.n_positions,
        "resid_pdrop": 0.0,
        "vocab_size": VOCAB_SIZE,
    }
