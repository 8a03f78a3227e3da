"""GPT-2's parameters: their names, their shapes, and what makes a checkpoint a GPT-2."""

import re
from typing import Final

PREFIX: Final = "transformer."
LAYER: Final = re.compile(r"(?:transformer\.)?h\.([0-9]+)\.")


def gpt2_shapes(
    n_layer: int, n_embd: int, n_positions: int, vocab_size: int, n_inner: int | None = None
) -> dict[str, tuple[int, ...]]:
    """GPT-2's parameters and their shapes, in the order in which transformers lists them, without the prefix.

    `n_inner` is the width of the feed-forward layer, 4 × `n_embd` in every published GPT-2. A linear map's matrix is
    (inputs, outputs): GPT-2's checkpoints hold it that way round.

    >>> list(gpt2_shapes(12, 768, 1024, 50257).items())[:3]
    [('wte.weight', (50257, 768)), ('wpe.weight', (1024, 768)), ('h.0.ln_1.weight', (768,))]
    >>> len(gpt2_shapes(12, 768, 1024, 50257))
    148
    """
    n_inner = n_inner or 4 * n_embd
    layer = {
        "ln_1": (n_embd,),
        "attn.c_attn": (n_embd, 3 * n_embd),
        "attn.c_proj": (n_embd, n_embd),
        "ln_2": (n_embd,),
        "mlp.c_fc": (n_embd, n_inner),
        "mlp.c_proj": (n_inner, n_embd),
    }
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (vocab_size, n_embd), "wpe.weight": (n_positions, n_embd)}
    for index in range(n_layer):
        for part, shape in layer.items():
            shapes[f"h.{index}.{part}.weight"] = shape
            shapes[f"h.{index}.{part}.bias"] = shape[-1:]
    return shapes | {"ln_f.weight": (n_embd,), "ln_f.bias": (n_embd,)}
