"""Small GPT-2s of random numbers, written to a directory."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save_file

from minigpt2.weights.gpt2_layout import gpt2_shapes

SIZES: Final = {"n_layer": 3, "n_embd": 24, "n_positions": 300, "vocab_size": 101}
N_HEAD: Final = 4


def write_gpt2(directory: Path, sizes: dict[str, int] | None = None, **config: Any) -> None:
    """Write weights of these sizes, `SIZES` where nothing else is said, and a config with these further keys."""
    sizes = SIZES | (sizes or {})
    random = np.random.default_rng(0)
    tensors = {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in gpt2_shapes(**sizes).items()}
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps({"n_head": N_HEAD, **sizes, **config}))
