"""Small GPT-2s of random numbers."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from minigpt2.weights.gpt2_layout import gpt2_shapes

SIZES: Final = {"n_layer": 3, "n_embd": 24, "n_positions": 300, "vocab_size": 101}
N_HEAD: Final = 4


def random_tensors(sizes: dict[str, int]) -> dict[str, NDArray[np.float32]]:
    """The parameters of a GPT-2 of these sizes, by name."""
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape, np.float32) for name, shape in gpt2_shapes(**sizes).items()}


def write_gpt2(directory: Path, sizes: dict[str, int] | None = None, **config: Any) -> None:
    """Write weights of these sizes, `SIZES` where nothing else is said, and a config with these further keys."""
    sizes = SIZES | (sizes or {})
    tensors = {name: array / 2 for name, array in random_tensors(sizes).items()}
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps({"n_head": N_HEAD, **sizes, **config}))
