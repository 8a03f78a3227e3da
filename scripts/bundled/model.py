"""GPT-2 in torch: its equations on parameters with the published names, so that gradients can be had."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from minigpt2.weights.gpt2_layout import gpt2_shapes

Parameters = dict[str, Tensor]


def initial_parameters(n_rows: int, n_positions: int, n_embd: int, n_layer: int, seed: int) -> Parameters:
    """Random parameters of a model whose `wte` has `n_rows` rows."""
    generator = torch.Generator().manual_seed(seed)
    std = {"c_proj.weight": 0.02 / math.sqrt(2 * n_layer)}  # the sum of all layers is then as large as one alone
    std["wte.weight"] = 0.05  # learns faster than from 0.02
    parameters = {}
    for name, shape in gpt2_shapes(n_layer, n_embd, n_positions, n_rows).items():
        *_, part, kind = name.split(".")
        if kind == "bias":
            parameters[name] = torch.zeros(shape)
        elif part.startswith("ln_"):
            parameters[name] = torch.ones(shape)
        else:
            parameters[name] = torch.randn(shape, generator=generator) * std.get(f"{part}.{kind}", 0.02)
    return parameters


def hidden_states(p: Parameters, ids: Tensor, n_head: int, dropout: float = 0.0) -> Tensor:
    """(B, T) -> (B, T, n_embd): the last hidden states, after `ln_f`.

    `dropout` is the part of the numbers that are set to zero wherever something is added to the hidden states.
    """
    x = functional.embedding(ids, p["wte.weight"]) + p["wpe.weight"][: ids.shape[1]]  # (B, T, n_embd)
    x = functional.dropout(x, dropout)
    for n in range(sum(name.endswith(".ln_1.weight") for name in p)):
        x = x + functional.dropout(attention(p, f"h.{n}.attn", norm(p, f"h.{n}.ln_1", x), n_head), dropout)
        x = x + functional.dropout(mlp(p, f"h.{n}.mlp", norm(p, f"h.{n}.ln_2", x)), dropout)
    return norm(p, "ln_f", x)


def attention(p: Parameters, name: str, x: Tensor, n_head: int) -> Tensor:
    """(B, T, n_embd) -> (B, T, n_embd): each token takes in what the tokens before it offer."""
    b, t, d = x.shape
    heads = affine(p, f"{name}.c_attn", x).view(b, t, 3, n_head, d // n_head)
    q, k, v = heads.permute(2, 0, 3, 1, 4)  # (B, heads, T, d / heads) each
    future = torch.full((t, t), -math.inf, dtype=q.dtype, device=q.device).triu(1)
    scores = q * (d // n_head) ** -0.5 @ k.transpose(-2, -1) + future  # (B, heads, T, T)
    mixed = torch.softmax(scores, -1, dtype=q.dtype) @ v  # (B, heads, T, d / heads)
    return affine(p, f"{name}.c_proj", mixed.transpose(1, 2).reshape(b, t, d))


def mlp(p: Parameters, name: str, x: Tensor) -> Tensor:
    """(B, T, n_embd) -> (B, T, n_embd)"""
    return affine(p, f"{name}.c_proj", functional.gelu(affine(p, f"{name}.c_fc", x), approximate="tanh"))


def affine(p: Parameters, name: str, x: Tensor) -> Tensor:
    """(..., in) -> (..., out)"""
    return functional.linear(x, p[f"{name}.weight"].T, p[f"{name}.bias"])  # the matrices are (in, out)


def norm(p: Parameters, name: str, x: Tensor) -> Tensor:
    """(..., n_embd) -> (..., n_embd), of mean 0 and variance 1 before it is scaled."""
    return functional.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], eps=1e-5)
