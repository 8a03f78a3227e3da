"""Small random weights in GPT-2's layout, to look at when GPT-2's own are not at hand.

They have GPT-2's names, its whole vocabulary, its 1,024 positions, two layers, and rows of 16 numbers. The file's own
header has a label, so that whatever shows these numbers can say what they are.
"""

import json
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Final

import numpy as np

from minigpt2.weights.checkpoint import Checkpoint
from minigpt2.weights.gpt2_layout import gpt2_shapes

SIZES: Final = {"n_layer": 2, "n_embd": 16, "n_positions": 1024, "vocab_size": 50257}
LABEL: Final = "demonstration weights: seeded random numbers, not GPT-2's"
BANNER: Final = "*** DEMONSTRATION WEIGHTS, random numbers, not GPT-2's ***"  # above every table of them


def demonstration_weights() -> Checkpoint:
    """Make the demonstration weights: always the same numbers, in a temporary file that is removed with them.

    >>> weights = demonstration_weights()
    >>> is_demonstration(weights)
    True
    >>> weights.num_parameters()
    827088
    """
    directory = tempfile.mkdtemp(prefix="minigpt2-demonstration-")
    try:
        _write(Path(directory))
        weights = Checkpoint.open(directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    weakref.finalize(weights, shutil.rmtree, directory, ignore_errors=True)
    return weights


def is_demonstration(weights: Checkpoint) -> bool:
    """Whether these are the demonstration weights, whose numbers mean nothing."""
    return weights.metadata.get("minigpt2") == LABEL


def _write(directory: Path) -> None:
    from safetensors.numpy import save_file

    # RandomState's uniform numbers never change: numpy froze them, and they come from integer arithmetic.
    random = np.random.RandomState(seed=2)
    tensors = {
        name: (random.random_sample(shape) - 0.5).astype(np.float32) for name, shape in gpt2_shapes(**SIZES).items()
    }
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt", "minigpt2": LABEL})
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_head": 2, **SIZES}
    (directory / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
