"""The options in a model's `config.json` beyond the shapes of its tensors: understood here, or refused by name."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minigpt2.weights.checkpoint import Checkpoint, CheckpointError

ACTIVATIONS: Final = ("gelu_new", "gelu_pytorch_tanh", "relu")

# Keys that change what transformers computes, with the one value of each that is supported here. Keys that are listed
# nowhere in this file (dropout, initialization, names, versions) change nothing.
SUPPORTED_ALONE: Final[Mapping[str, Any]] = {
    "add_cross_attention": False,
    "attention_chunk_size": None,
    "is_causal": True,
    "is_encoder_decoder": False,
    "layer_types": None,
    "model_type": "gpt2",
    "per_layer_config": None,
    "quantization_config": None,
    "sliding_window": None,
    "tie_last_hidden_states": True,
    "transformers_weights": None,
}
# transformers' other names for the sizes.
OTHER_NAMES: Final[Mapping[str, str]] = {
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "n_positions": "max_position_embeddings",
}
DEFAULT_SIZES: Final[Mapping[str, int | None]] = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
}


@dataclass(frozen=True, slots=True)
class Options:
    """A GPT-2's sizes and options, under the names of transformers' `GPT2Config` and with its defaults.

    `reorder_and_upcast_attn` is left out: it changes nothing where all numbers are float32, as here.
    """

    n_layer: int
    n_head: int
    n_embd: int
    n_positions: int
    vocab_size: int
    layer_norm_epsilon: float
    activation_function: str
    scale_attn_weights: bool
    scale_attn_by_inverse_layer_idx: bool

    def attention_scale(self, layer: int) -> float:
        """The factor for the scores of a layer's attention: 1/8 in every published GPT-2."""
        scale = (self.n_embd // self.n_head) ** -0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale


def read_options(weights: Checkpoint) -> Options:
    """The options of a checkpoint, after making sure that its config fits its tensors and is supported.

    Raises:
        CheckpointError: there is no config, it contradicts the tensors, or it asks for what is not supported here.
    """
    config = Config(weights.config, weights.config_path)
    for key, supported in SUPPORTED_ALONE.items():
        if (found := config.get(key, supported)) != supported:
            raise config.refusal(key, found, f"only {supported} is supported")
    sizes = _sizes(weights, config)
    return Options(
        **sizes,
        layer_norm_epsilon=config.number("layer_norm_epsilon", 1e-5),
        activation_function=_activation(config),
        scale_attn_weights=config.flag("scale_attn_weights", default=True),
        scale_attn_by_inverse_layer_idx=config.flag("scale_attn_by_inverse_layer_idx", default=False),
    )


def _sizes(weights: Checkpoint, config: "Config") -> dict[str, int]:
    """The sizes, after making sure that config and tensors agree on each."""
    names = weights.parameter_names()
    if "transformer.ln_f.weight" not in names:
        raise CheckpointError(f"{weights.path} has no layers: it holds embeddings alone, which are not a whole GPT-2")
    vocab_size, n_embd = weights.info("wte.weight").shape
    n_layer = sum(name.endswith(".attn.c_attn.weight") for name in names)
    found = {
        "vocab_size": vocab_size,
        "n_positions": weights.info("wpe.weight").shape[0],
        "n_embd": n_embd,
        "n_layer": n_layer,
    }
    for key, size in found.items():
        if (said := config.size(key)) != size:
            raise config.refusal(key, said, f"its tensors have {size}")
    if n_layer and (n_inner := weights.info("h.0.mlp.c_fc.weight").shape[1]) != (config.size("n_inner") or 4 * n_embd):
        raise config.refusal("n_inner", config.size("n_inner"), f"its tensors have {n_inner}")
    n_head = config.size("n_head")
    if not n_head or n_embd % n_head:
        raise config.refusal("n_head", n_head, f"the heads must share {n_embd} numbers equally")
    if config.get("tie_word_embeddings", True) is False and "lm_head.weight" not in names:
        raise config.refusal("tie_word_embeddings", False, "its tensors include no lm_head.weight")
    return {**found, "n_head": n_head}


def _activation(config: "Config") -> str:
    name = config.get("activation_function", "gelu_new")
    if name not in ACTIVATIONS:
        raise config.refusal("activation_function", name, f"supported are {', '.join(ACTIVATIONS)}")
    return str(name)


@dataclass(frozen=True)
class Config:
    """A config whose every refusal names the file, the key and what was found."""

    values: Mapping[str, Any]
    path: Path

    def get(self, key: str, default: Any) -> Any:
        return self.values.get(key, default)

    def refusal(self, key: str, found: Any, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {key!r} is {found!r}, but {reason}")

    def size(self, key: str) -> int | None:
        names = [name for name in (key, OTHER_NAMES.get(key, key)) if name in self.values]
        values = [self.values[name] for name in names] or [DEFAULT_SIZES[key]]
        if any(value != values[0] for value in values[1:]):
            raise self.refusal(key, values[0], f"{names[1]!r} is {values[1]!r}")
        if values[0] is not None and (type(values[0]) is not int or values[0] < 1):
            raise self.refusal(key, values[0], "it must be a positive integer")
        return values[0]

    def number(self, key: str, default: float) -> float:
        value = self.get(key, default)
        if type(value) not in {int, float} or not 0 <= value <= sys.float_info.max:
            raise self.refusal(key, value, "it must be a number, 0 or more")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        if type(value) is not bool:
            raise self.refusal(key, value, "it must be true or false")
        return value
