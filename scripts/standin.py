"""Write a stand-in for a published GPT-2 checkpoint: its exact layout, filled with seeded random numbers.

    python scripts/standin.py DIRECTORY [--n-layer 12] [--n-embd 768] [--vocab-size 50257] [--seed 0]

By default it has the layout of `model.safetensors` of openai-community/gpt2, to the byte: 548,105,171 bytes, a header
of 14,283 bytes without padding (so that no tensor is aligned), 160 F32 tensors without the `transformer.` prefix, each
at its published offset, 12 of them causal masks; and the published config.json. None of the numbers is GPT-2's.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from numpy.typing import NDArray

from minigpt2.atomic_write import atomic_write
from minigpt2.weights.gpt2_layout import gpt2_shapes

N_POSITIONS = 1024
BLOCK = 1 << 20  # numbers that are made and written at a time: 4 MiB

CONFIG: dict[str, Any] = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": N_POSITIONS,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": N_POSITIONS,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257,
}

# The published file's tensors in the order of their bytes, two characters each: the layer ("-" for none) and the part.
# Which of the twelve masks lies where is not known; here they ascend.
LAYERS = "0123456789AB"
LAYER_PARTS = {
    "a": "ln_1.weight",
    "b": "ln_1.bias",
    "c": "attn.bias",
    "d": "attn.c_attn.weight",
    "e": "attn.c_attn.bias",
    "f": "attn.c_proj.weight",
    "g": "attn.c_proj.bias",
    "h": "ln_2.weight",
    "i": "ln_2.bias",
    "j": "mlp.c_fc.weight",
    "k": "mlp.c_fc.bias",
    "l": "mlp.c_proj.weight",
    "m": "mlp.c_proj.bias",
}
OTHER_PARTS = {"t": "wte.weight", "p": "wpe.weight", "w": "ln_f.weight", "b": "ln_f.bias"}
PUBLISHED_ORDER = (
    "3g2k3m0f5a1d-w9e0g8l3e3k5e0k4f5mBg9d2e6j7g9k8f5i5bBhBj0c9h4i7mBb1h4k8d1c2f0h2cAl"
    "3c2g2aBe-b0e5k7h6l1m1i4c4mAjBd0jAd8iBk7d7kBf1l6m8gAm4b4e9l1gBl6h9i6i5g7b6f1a7i5c"
    "2hAe3fAfAg8k9f5f9b4j4d3i5h6c8m4a0i6dAh1b7l2iAa3l6k1j7e8b1e6e3b0b4h5l8e8a7f3j8h0m"
    "6g7c-pBi0d1k9j-t9aBa7j0a6a3a9m2b2m2j6b4l5j3d8c8j2l9c1f7aAiAcAkAb4gBmBc3h5d9g0l2d"
)

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(n_layer: int, n_embd: int, vocab_size: int) -> Shapes:
    """Every tensor's shape, in the model's order, which is not the order of the bytes."""
    shapes: Shapes = {}
    for name, shape in gpt2_shapes(n_layer, n_embd, N_POSITIONS, vocab_size).items():
        shapes[name] = shape
        if name.endswith(".ln_1.bias"):
            shapes[name.replace("ln_1", "attn")] = (1, 1, N_POSITIONS, N_POSITIONS)  # the mask
    return shapes


def byte_order(shapes: Shapes, n_layer: int, seed: int) -> list[str]:
    """The names in the order of their bytes: the published one for twelve layers, otherwise a seeded shuffle."""
    if n_layer != len(LAYERS):
        return random.Random(seed).sample(list(shapes), len(shapes))
    codes = zip(PUBLISHED_ORDER[::2], PUBLISHED_ORDER[1::2], strict=True)
    return [OTHER_PARTS[part] if at == "-" else f"h.{LAYERS.index(at)}.{LAYER_PARTS[part]}" for at, part in codes]


def header(shapes: Shapes, order: list[str]) -> bytes:
    """The file's first bytes: the header's length and its JSON, compact and not padded."""
    begins, end = {}, 0
    for name in order:
        begins[name], end = end, end + 4 * prod(shapes[name])
    entries = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [begins[name], begins[name] + 4 * prod(shape)]}
        for name, shape in shapes.items()
    }
    text = json.dumps({"__metadata__": {"format": "pt"}, **entries}, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text


def numbers(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """A tensor's numbers, a block at a time: a mask's ones and zeros, or random ones spread as GPT-2's are at first."""
    if name.endswith(".attn.bias"):
        yield np.tril(np.ones((N_POSITIONS, N_POSITIONS), "<f4"))
        return
    for start in range(0, prod(shape), BLOCK):
        block = generator.standard_normal(min(BLOCK, prod(shape) - start), np.float32)
        yield (block * np.float32(0.02)).astype("<f4", copy=False)


def standin(directory: Path, n_layer: int = 12, n_embd: int = 768, vocab_size: int = 50257, seed: int = 0) -> None:
    """Write `model.safetensors` and `config.json` into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    shapes = tensor_shapes(n_layer, n_embd, vocab_size)
    order = byte_order(shapes, n_layer, seed)
    generator = np.random.default_rng(seed)
    data = (block.data for name in order for block in numbers(name, shapes[name], generator))
    with atomic_write(directory / "model.safetensors") as file:
        file.write(header(shapes, order))
        file.writelines(data)
    n_head = n_embd // 64 if n_embd % 64 == 0 else 1  # 64 numbers a head in every published GPT-2
    sizes = {"n_embd": n_embd, "n_head": n_head, "n_layer": n_layer, "vocab_size": vocab_size}
    with atomic_write(directory / "config.json") as file:
        file.write(json.dumps(CONFIG | sizes, indent=2).encode())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write a stand-in GPT-2 checkpoint of random numbers.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--n-layer", type=int, default=12)
    parser.add_argument("--n-embd", type=int, default=768)
    parser.add_argument("--vocab-size", type=int, default=50257)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if min(options.n_layer, options.n_embd, options.vocab_size, options.seed + 1) < 1:
        parser.error("sizes must be at least 1, the seed at least 0")
    standin(**vars(options))


if __name__ == "__main__":
    main()
