"""GPT-2s of random sizes, options and numbers, written to files as transformers writes them."""

import random
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

torch.set_num_threads(1)  # the models are small, and on busy cores several threads wait for each other


def random_config(seed: int, **changes: Any) -> GPT2Config:
    """A small GPT-2 with every option that the package supports."""
    source = random.Random(seed)
    n_head = source.choice([1, 2, 3, 4])
    n_embd = n_head * source.choice([1, 2, 5, 8, 16, 24])
    options = {
        "n_layer": source.choice([1, 2, 3, 5]),
        "n_head": n_head,
        "n_embd": n_embd,
        "n_positions": source.choice([9, 31, 64, 300]),
        "vocab_size": source.choice([11, 100, 301]),
        "n_inner": source.choice([None, 7, 2 * n_embd]),
        "activation_function": source.choice(["gelu_new", "gelu_new", "gelu_pytorch_tanh", "relu"]),
        "layer_norm_epsilon": source.choice([1e-5, 1e-3]),
        "scale_attn_weights": source.random() < 0.8,
        "scale_attn_by_inverse_layer_idx": source.random() < 0.3,
        "reorder_and_upcast_attn": source.random() < 0.3,
        "tie_word_embeddings": source.random() < 0.7,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return GPT2Config(**(options | changes))


def random_model(config: GPT2Config, seed: int = 0) -> GPT2LMHeadModel:
    """A model whose numbers are large enough for every part of it to matter."""
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model: Any = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.eval()
    return model  # type: ignore[no-any-return]


def saved_model(directory: Path, seed: int, **changes: Any) -> GPT2LMHeadModel:
    """A random model, saved in a directory."""
    model = random_model(random_config(seed, **changes), seed)
    model.save_pretrained(directory)
    return model
