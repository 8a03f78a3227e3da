"""GPT-2's parameters: their shapes, and what makes a checkpoint a GPT-2."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from minigpt2.weights.files import ADAPTER_BESIDE_REASON, ADAPTER_CONFIG, ADAPTER_REASON, SHARD_REASON, is_shard
from minigpt2.weights.safetensors_file import FLOATS, CheckpointError
from minigpt2.weights.tensor_names import (
    LM_HEAD,
    PART,
    PREFIX,
    WPE,
    WTE,
    heads_of,
    is_in_any_head,
    is_in_head,
    named,
    others_around,
    own_heads_of,
    unwrapped,
)

if TYPE_CHECKING:
    from pathlib import Path

    from minigpt2.weights.checkpoint import Checkpoint

Shape = tuple[int, ...]

_LAYER = re.compile(r"h\.([0-9]+)\.")
_MASK = re.compile(r"h\.[0-9]+\.attn\.(bias|masked_bias)")
# What PEFT and the package `adapters` have in the names of an adapter that is not merged into its base model.
_ADAPTER = re.compile(
    r"lora_|(^|\.)(base_layer|original_module|modules_to_save|prompt_encoder|prompt_embeddings|adapters|ia3_l)(\.|$)"
)
_OF_A_MODEL = ("wte.weight", "attn.c_attn.weight")  # in every whole model, and in every shard of one


def gpt2_shapes(
    n_layer: int, n_embd: int, n_positions: int, vocab_size: int, n_inner: int | None = None
) -> dict[str, Shape]:
    """GPT-2's parameters and their shapes, in the order in which transformers lists them, without the prefix.

    `n_inner` is the width of the feed-forward layer, 4 × `n_embd` in every published GPT-2. The matrix of a linear
    map is (inputs, outputs): GPT-2's checkpoints hold it that way round.

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
    shapes: dict[str, Shape] = {WTE: (vocab_size, n_embd), WPE: (n_positions, n_embd)}
    for index in range(n_layer):
        for part, shape in layer.items():
            shapes[f"h.{index}.{part}.weight"] = shape
            shapes[f"h.{index}.{part}.bias"] = shape[-1:]
    return shapes | {"ln_f.weight": (n_embd,), "ln_f.bias": (n_embd,)}


def embedding_sizes(weights: "Checkpoint") -> tuple[int, int, int]:
    """`vocab_size`, `n_positions` and `n_embd`, by the shapes of `wte` and `wpe`.

    Raises:
        CheckpointError: one of them is missing, or they are not two matrices of numbers, equally wide.
    """
    _refuse_ambiguous_names(weights, (WTE, WPE))
    if WTE not in weights and (heads := named(LM_HEAD, weights)):
        reason = f"nothing says that {' or '.join(map(repr, heads[:4]))} is the same matrix"
        what_does = "the config.json of a tied GPT-2 does beside a file of that model alone"
        raise _not_a_gpt2(weights, f"it has no {WTE!r}, and {reason}, as {what_does}")
    vocab_size, n_embd = _matrix_shape(weights, WTE)
    n_positions, width = _matrix_shape(weights, WPE)
    if width != n_embd:
        raise _not_a_gpt2(weights, f"its {WPE!r} has the shape {(n_positions, width)}, not {(n_positions, n_embd)}")
    for name in (WTE, WPE):
        _check_tensor(weights, name, weights.info(name).shape)
    _require_below_prefix(weights, [WPE])
    for name, own_name in weights.bare_names.items():
        if name.startswith(("wte.", "wpe.")) and name not in (WTE, WPE):
            raise _not_a_gpt2(weights, f"it has {own_name!r}, which GPT-2 lacks")
    return vocab_size, n_positions, n_embd


def parameter_shapes(weights: "Checkpoint") -> dict[str, Shape]:
    """The shapes of a GPT-2 of the checkpoint's sizes, by bare name, after making sure that the checkpoint has them.

    Nothing but `wte` and `wpe`, with or without `ln_f`, passes for a GPT-2 without layers.

    Raises:
        CheckpointError: it is not a GPT-2.
    """
    vocab_size, n_positions, n_embd = embedding_sizes(weights)
    if reason := _adapter_reason(weights):
        raise _not_a_gpt2(weights, reason)
    _refuse_ambiguous_names(weights)
    bare = weights.bare_names
    n_layer = len({match[1] for name in bare if (match := _LAYER.match(name))})
    n_inner = _matrix_shape(weights, "h.0.mlp.c_fc.weight")[1] if n_layer else None
    shapes = gpt2_shapes(n_layer, n_embd, n_positions, vocab_size, n_inner)
    if not n_layer:
        shapes = {name: shape for name, shape in shapes.items() if name in bare}
    for name, shape in shapes.items():
        _check_tensor(weights, name, shape)
    _require_below_prefix(weights, shapes.keys() - {WTE})
    if LM_HEAD in weights:
        _check_tensor(weights, LM_HEAD, shapes[WTE])
    _refuse_other_parts(weights, shapes)
    return shapes


def _refuse_other_parts(weights: "Checkpoint", shapes: Mapping[str, Shape]) -> None:
    """Refuse a tensor among the parameters that is none of them, nor a mask.

    A second name of one of them is passed over where transformers, which finds each tensor by its own name, does not
    need it; not if the file has the tensor under that name alone, and not in an output head.
    """
    bare, has_layers = weights.bare_names, any(map(_LAYER.match, shapes))
    known = [name for name in bare if name in {*shapes, LM_HEAD} or _MASK.fullmatch(name)]
    tensors = {weights.own_names[bare[name]] for name in known}
    for name, own_name in bare.items():
        in_part = _is_in_part(own_name, name, weights.prefixes)
        counts = in_part and (weights.own_names[own_name] == own_name or is_in_head(own_name, weights.prefixes))
        if weights.own_names[own_name] in tensors and (name.removeprefix(PREFIX) in known or not counts):
            continue
        alone = not has_layers and name != LM_HEAD  # beside the embeddings there may be nothing else
        if alone or in_part or _is_in_transformer(own_name, weights.prefixes):
            raise _not_a_gpt2(weights, f"it has {own_name!r}, which GPT-2 lacks")


def _is_in_part(own_name: str, name: str, prefixes: Sequence[str]) -> bool:
    """Whether a tensor that is neither a parameter nor a mask is in a part of GPT-2, as a further module there is.

    A `lm_head` around the model counts as a part of it, unless it is nothing but a matrix.
    """
    in_part = bool(PART.match(name.removeprefix(PREFIX))) and name != LM_HEAD
    is_matrix = any(unwrapped(own_name) in heads_of(prefix) for prefix in prefixes)
    return in_part or (is_in_head(own_name, prefixes) and not is_matrix)


def _is_in_transformer(own_name: str, prefixes: Sequence[str]) -> bool:
    """Whether a tensor is in the module `transformer`, where a `lm_head` is ignored."""
    transformers = tuple(prefix for prefix in prefixes if f".{prefix}".endswith(f".{PREFIX}"))
    return unwrapped(own_name).startswith(transformers)


def parameter_names(weights: "Checkpoint") -> list[str]:
    """The names of GPT-2's parameters as transformers lists them. Raises as `parameter_shapes` does."""
    names = [PREFIX + name for name in parameter_shapes(weights)]
    return [*names, LM_HEAD] if _has_own_lm_head(weights) else names


def _has_own_lm_head(weights: "Checkpoint") -> bool:
    """Whether `lm_head.weight` is a parameter of its own; where the file repeats `wte`, transformers ties them.

    Where the model has none, one of another module could be meant, and the model is refused. So it is where a module
    around the model has another one, or where its own may be the matrix of another model that lacks its `wte`.
    """
    places = own_heads_of(*weights.prefixes)
    found = weights.bare_names.get(LM_HEAD, "")
    own = found if unwrapped(found) in places else None
    for name in weights.own_names:
        could_be = (is_in_head if own else is_in_any_head)(name, weights.prefixes)
        is_other = could_be and unwrapped(name) not in places
        if is_other and not _are_equal(weights, name, own or WTE):
            raise _not_a_gpt2(weights, f"its {name!r} is not {' or '.join(map(repr, places))}: save the GPT-2 alone")
    if own is None:
        return False
    others = others_around(own, weights.own_names, weights.prefixes)
    if others and not _are_equal(weights, own, WTE):
        raise _not_a_gpt2(weights, f"its {own!r} may be the {WTE!r} of {others[0]!r}: save the GPT-2 alone")
    is_untied = weights.has_config and weights.config.get("tie_word_embeddings") is False
    return is_untied or not _are_equal(weights, own, WTE)


def other_tensors(weights: "Checkpoint") -> list[str]:
    """The names of tensors that are neither parameters of GPT-2 nor the output matrix: masks, other heads."""
    bare = weights.bare_names
    parameters = {weights.own_names[bare[name]] for name in (*parameter_shapes(weights), LM_HEAD) if name in bare}
    return [name for name in weights if name not in parameters]


def is_mask(name: str) -> bool:
    """Whether a tensor is a causal mask, which some checkpoints hold beside the parameters.

    >>> is_mask("h.0.attn.bias"), is_mask("h.0._orig_mod.attn.bias"), is_mask("h.0.attn.c_attn.bias")
    (True, True, False)
    """
    return bool(_MASK.search(unwrapped(name)))


def check_config(weights: "Checkpoint", config: Mapping[str, Any], path: "Path") -> None:
    """Make sure that a `config.json` is that of these tensors.

    Another `model_type` than `gpt2` passes where its sizes and every tensor are those of a GPT-2.

    Raises:
        CheckpointError: it is not, or the tensors are not a GPT-2's.
    """
    if weights.commit and weights.other_files.adapter_config:  # the hub is asked where the whole model is wanted
        raise _not_a_gpt2(weights, ADAPTER_BESIDE_REASON)
    shapes = parameter_shapes(weights)
    vocab_size, n_positions, n_embd = embedding_sizes(weights)
    n_layer = sum(name.endswith(".ln_1.weight") for name in shapes)
    sizes = {"vocab_size": vocab_size, "n_positions": n_positions, "n_embd": n_embd, "n_layer": n_layer}
    if not n_layer:
        del sizes["n_layer"]  # the embeddings alone, cut out of a whole model
    model_type = config.get("model_type", "gpt2")
    derived = all(map(is_mask, other_tensors(weights))) and sizes.keys() <= config.keys()
    if model_type != "gpt2" and not derived:
        raise CheckpointError(f"{path} is not of a GPT-2: its model_type is {model_type!r}")
    for key, size in sizes.items():
        if config.get(key, size) != size:
            raise CheckpointError(f"{path} has the {key} {config[key]!r}, and the tensors of {weights.path} {size}")


def _matrix_shape(weights: "Checkpoint", name: str) -> tuple[int, int]:
    if name not in weights:
        raise _not_a_gpt2(weights, f"it has no {name!r}")
    match weights.info(name).shape:
        case (rows, columns) if rows and columns:
            return rows, columns
        case shape:
            raise _not_a_gpt2(weights, f"its {name!r} has the shape {shape}, and should be a matrix")


def _check_tensor(weights: "Checkpoint", name: str, shape: Shape) -> None:
    if name not in weights:
        biasless = name.endswith(".bias") and name.replace(".bias", ".weight") in weights
        why = " (GPT-2 has biases; a model trained without them, as nanoGPT can, is another one)" if biasless else ""
        raise _not_a_gpt2(weights, f"it has no {name!r}{why}")
    if (found := weights.info(name).shape) != shape:
        why = " (it is transposed: GPT-2's are (inputs, outputs), nanoGPT's and nn.Linear's (outputs, inputs))"
        raise _not_a_gpt2(weights, f"its {name!r} has the shape {found}, not {shape}{why * (found == shape[::-1])}")
    if (dtype := weights.info(name).dtype) not in FLOATS:
        raise _not_a_gpt2(weights, f"its {name!r} is {dtype}, not one of {', '.join(FLOATS)}")


def _require_below_prefix(weights: "Checkpoint", names: Collection[str]) -> None:
    """Make sure that none of these tensors is of another module than `wte.weight`."""
    prefix = weights.prefixes[0]
    for own_name in map(weights.bare_names.__getitem__, names):
        if not unwrapped(own_name).startswith(prefix):
            raise _not_a_gpt2(weights, f"{own_name!r} is not below {prefix!r}, as its {WTE!r} is: save the GPT-2 alone")


def _refuse_ambiguous_names(weights: "Checkpoint", names: Collection[str] | None = None) -> None:
    """Make sure that each of these names, by default those of GPT-2's parts, means one tensor."""
    for name, several in weights.ambiguous_names.items():
        bare = name.removeprefix(PREFIX)
        if bare in names if names else PART.match(bare):
            could_be = " or ".join(map(repr, several[:4]))
            raise _not_a_gpt2(weights, f"{name!r} could be {could_be}: save the GPT-2 alone")


def _not_a_gpt2(weights: "Checkpoint", reason: str) -> CheckpointError:
    reason = _adapter_reason(weights) or reason
    reason += f"; {SHARD_REASON}" if is_shard(weights.path) else ""
    return CheckpointError(f"{weights.path} is not a GPT-2: {reason}; {held(weights)}")


def held(names: Collection[str]) -> str:
    """The number of a checkpoint's tensors and the first names, for an error message.

    >>> held(["wte.weight", "wpe.weight"])
    "it holds 2 tensors: 'wte.weight', 'wpe.weight'"
    """
    found = ", ".join([*map(repr, islice(names, 3)), *(["…"] if len(names) > 3 else [])]) or "nothing"
    return f"it holds {len(names)} tensors: {found}"


def _adapter_reason(weights: "Checkpoint") -> str | None:
    """Why weights are not the model that is meant, where an adapter is: among them, or in their directory."""
    is_beside = not weights.is_remote and os.path.lexists(weights.path.with_name(ADAPTER_CONFIG))
    return adapter_in(weights) or (ADAPTER_BESIDE_REASON if is_beside else None)


def adapter_in(weights: "Checkpoint") -> str | None:
    """For an error message: that these weights are an adapter, or hold one, and the way out."""
    if weights.path.name.startswith("adapter_model.") or any(map(_ADAPTER.search, weights)):
        return ADAPTER_REASON
    if weights and all(name.startswith("base_model.") and not name.endswith(_OF_A_MODEL) for name in weights):
        return ADAPTER_REASON  # by PEFT's prefix, of a kind that has no name of its own in its tensors
    return None


def _are_equal(weights: "Checkpoint", name: str, other: str) -> bool:
    """Whether two matrices have the same shape and numbers."""
    if weights.info(name) == weights.info(other):
        return True
    if weights.info(name).shape != weights.info(other).shape:
        return False
    few = slice(16)  # rows, (16, n_embd): where they differ, a remote checkpoint does not read the rest
    if not np.array_equal(weights.rows(name, few), weights.rows(other, few)):
        return False
    return all(map(np.array_equal, weights.blocks(name), weights.blocks(other)))
