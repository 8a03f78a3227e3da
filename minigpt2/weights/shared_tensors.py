"""Which names of a checkpoint are those of one tensor: `lm_head.weight` that is tied to `wte.weight`, and others.

safetensors' `save_model` writes a tensor of several names once, and lists the others in the metadata. Without that, the
config of a GPT-2 says that its `lm_head.weight` is the missing `wte.weight` too. Where it says that they are not tied,
transformers does not tie them, whatever the metadata lists.
"""

from collections.abc import Callable, Mapping
from typing import Any

from minigpt2.weights.files import Files
from minigpt2.weights.tensor_names import LM_HEAD, WTE, is_in_transformer, named, own_heads_of, tied_names, unwrapped

Config = Mapping[str, Any]


def own_names(files: Files, others: Mapping[str, str], config: Callable[[], Config]) -> dict[str, str]:
    """For each name of a tensor the one under which the files hold it.

    `others` are the names that the metadata lists; `config`, the model's, is asked for only where it decides.
    """
    names = {name: name for name in files}
    names |= {name: own for name, own in others.items() if own in names and name not in names}
    wte = named(WTE, names)
    heads = [name for name in wte if name not in files and unwrapped(names[name]) in _own_heads(name)]
    if heads and heads == wte and _ties(config()) is False:
        names = {name: own for name, own in names.items() if name not in heads}
    said = {names[name] for name in wte if name in names}
    tied = {name: names[head] for name, head in tied_names(names).items() if names[head] not in said}
    if tied and _ties(config()) and all(_may_be_wte(head, files, config()) for head in tied.values()):
        names |= tied
    return names


def _own_heads(wte: str) -> list[str]:
    """Where the output matrix of the model with this `wte.weight` can be."""
    return own_heads_of(unwrapped(wte).removesuffix(WTE))


def _ties(config: Config) -> bool | None:
    """Whether a config ties a GPT-2's output matrix to `wte`; None where it says nothing."""
    if config.get("tie_word_embeddings", True) is not True:
        return False
    is_alike = {"n_embd", "vocab_size"} <= config.keys()
    is_gpt2 = config.get("model_type", "gpt2" if is_alike else None) == "gpt2"
    return True if is_gpt2 else None


def _may_be_wte(head: str, files: Files, config: Config) -> bool:
    """Whether an output matrix has as many rows and columns as the config says that `wte` has.

    Nor may another matrix of that shape be what is missing: one that is neither in a transformer nor an output matrix,
    such as a second name of `wte`.
    """
    shape = files[head].tensors[head].shape
    wanted = (config.get("vocab_size"), config.get("n_embd"))
    others = {name for name, file in files.items() if file.tensors[name].shape == shape}
    is_alone = all(map(is_in_transformer, others - set(named(LM_HEAD, others))))
    return is_alone and len(shape) == 2 and all(want in (size, None) for size, want in zip(shape, wanted, strict=True))
