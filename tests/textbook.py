"""GPT-2's equations as a textbook writes them: one text, no cache, no batch, in whatever precision the weights have."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = Mapping[str, Array]  # under the names of the checkpoint, without `transformer.`


def gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def softmax(x: Array) -> Array:
    exps = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(exps / exps.sum(-1, keepdims=True))


def layer_norm(x: Array, w: Tensors, name: str) -> Array:
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return np.asarray(normal * w[f"{name}.weight"] + w[f"{name}.bias"])


def linear(x: Array, w: Tensors, name: str) -> Array:
    return np.asarray(x @ w[f"{name}.weight"] + w[f"{name}.bias"])


def attention(x: Array, w: Tensors, layer: str, n_head: int) -> Array:
    q, k, v = np.split(linear(x, w, f"{layer}.attn.c_attn"), 3, -1)
    heads = []
    for columns in np.split(np.arange(q.shape[-1]), n_head):
        scores = q[:, columns] @ k[:, columns].T / np.sqrt(len(columns))
        scores[~np.tri(len(x), dtype=bool)] = -np.inf
        heads.append(softmax(scores) @ v[:, columns])
    return linear(np.concatenate(heads, -1), w, f"{layer}.attn.c_proj")


def logits(ids: list[int], w: Tensors, n_head: int, n_layer: int) -> Array:
    x = w["wte.weight"][ids] + w["wpe.weight"][: len(ids)]
    for layer in (f"h.{index}" for index in range(n_layer)):
        x = x + attention(layer_norm(x, w, f"{layer}.ln_1"), w, layer, n_head)
        x = x + linear(
            gelu(linear(layer_norm(x, w, f"{layer}.ln_2"), w, f"{layer}.mlp.c_fc")), w, f"{layer}.mlp.c_proj"
        )
    return np.asarray(layer_norm(x, w, "ln_f") @ w["wte.weight"].T)
