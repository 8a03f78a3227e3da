"""What a checkpoint calls its tensors: what training puts before GPT-2's names, and which names could mean several.

A model that was wrapped, or is a part of another, has longer names than the published one. Its prefix is what stands
before `wte.weight`, and tells which of its tensors is meant by each of GPT-2's names.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final

PREFIX: Final = "transformer."
WTE: Final = "wte.weight"
WPE: Final = "wpe.weight"
LM_HEAD: Final = "lm_head.weight"

#: What the name of a tensor in one of GPT-2's parts begins with.
PART: Final = re.compile(r"(wte|wpe|h\.[0-9]+|ln_f|lm_head)\.")

# What FSDP, activation checkpointing and torch.compile put before the names of each module that they wrap.
_WRAPPER = re.compile(r"\b(_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")
_NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})


def unwrapped(name: str) -> str:
    """A name without what wrappers put into it."""
    return _WRAPPER.sub("", name)


def bare_names(names: Collection[str], ambiguous_names: Mapping[str, Collection[str]] = _NOTHING) -> dict[str, str]:
    """A checkpoint's own names, each by its name in the published file: without what stands before `wte.weight`.

    That is nothing, `transformer.`, or what a wrapper put before it; wrappers inside the model are left out too. Names
    that share one of the `ambiguous_names` stay as they are, and all do where that is `wte.weight`.

    >>> bare_names(["module.transformer.wte.weight", "module.lm_head.weight"])
    {'wte.weight': 'module.transformer.wte.weight', 'lm_head.weight': 'module.lm_head.weight'}
    >>> bare_names(["wte.weight", "h.0._orig_mod.ln_1.weight"])
    {'wte.weight': 'wte.weight', 'h.0.ln_1.weight': 'h.0._orig_mod.ln_1.weight'}
    """
    in_doubt = {name for several in ambiguous_names.values() for name in several}
    in_doubt |= set(names) if WTE in ambiguous_names else set()
    return {name if name in in_doubt else bare: name for name, bare in _without_prefix(names).items()}


def ambiguous(tensors: Mapping[str, str]) -> dict[str, list[str]]:
    """Each usual name that could mean several tensors, and the names of these; `tensors` has the tensor of each name.

    Names with `transformer.` added count for GPT-2's parts only. Two names of one tensor are in no doubt, nor are two
    prefixes with the same tensors below them.

    >>> ambiguous({"encoder.wte.weight": "encoder.wte.weight", "decoder.wte.weight": "decoder.wte.weight"})
    {'wte.weight': ['encoder.wte.weight', 'decoder.wte.weight']}
    >>> ambiguous({name: name for name in ["wte.weight", "ln_f.weight", "transformer.ln_f.weight"]})
    {'transformer.ln_f.weight': ['ln_f.weight', 'transformer.ln_f.weight']}
    """
    several = named(WTE, tensors)
    first, *others = (_model(unwrapped(name).removesuffix(WTE), tensors) for name in several or [WTE])
    if any(other != first for other in others):
        return {WTE: several}
    meant: dict[str, list[str]] = {}
    for own_name, bare in _without_prefix(tensors).items():
        for name in dict.fromkeys((bare, own_name, *([PREFIX + bare] if PART.match(bare) else []))):
            meant.setdefault(name, []).append(own_name)
    return {name: several for name, several in meant.items() if len({tensors[each] for each in several}) > 1}


def _model(prefix: str, tensors: Mapping[str, str]) -> dict[str, str]:
    """The tensors whose names have a prefix, by what follows it, with an output matrix of their own."""
    plain = {unwrapped(name): tensor for name, tensor in tensors.items()}
    below = {name.removeprefix(prefix): tensor for name, tensor in plain.items() if name.startswith(prefix)}
    head = plain.get(around_of(prefix) + LM_HEAD, below.get(WTE))
    return {name: tensor for name, tensor in {**below, LM_HEAD: head}.items() if tensor}


def prefix_of(names: Iterable[str]) -> str | None:
    """What stands before `wte.weight` without wrappers; that of the first of several, None where there is none.

    >>> prefix_of(["lm_head.weight", "transformer._orig_mod.wte.weight"])
    'transformer.'
    """
    return next((unwrapped(name).removesuffix(WTE) for name in named(WTE, names)), None)


def _without_prefix(names: Collection[str]) -> dict[str, str]:
    """Each of these names without its wrappers and the prefix of the first `wte.weight`."""
    prefix = prefix_of(names)
    prefix = PREFIX if prefix is None else prefix
    around, plain = around_of(prefix), {name: unwrapped(name) for name in names}
    return {name: each.removeprefix(prefix if each.startswith(prefix) else around) for name, each in plain.items()}


def tied_names(names: Collection[str]) -> dict[str, str]:
    """The name of a missing `wte.weight`, and that of the `lm_head.weight` which may be the same matrix.

    That is the one at its place in the model whose `wpe.weight` is there. Nothing where several models have both.

    >>> tied_names(["lm_head.weight", "transformer.wpe.weight", "transformer.ln_f.bias", "critic.lm_head.weight"])
    {'transformer.wte.weight': 'lm_head.weight'}
    """
    tied: dict[str, list[str]] = {}
    for prefix in {unwrapped(name).removesuffix(WPE) for name in named(WPE, names)}:
        if not any(unwrapped(name).startswith(f"{prefix}wte.") for name in names):
            own = around_of(prefix) + LM_HEAD
            tied[prefix + WTE] = [name for name in named(LM_HEAD, names) if unwrapped(name) == own]
    found = {wte: heads for wte, heads in tied.items() if heads}
    return {wte: heads[0] for wte, heads in found.items() if len(found) == len(heads) == 1}


def named(bare: str, names: Iterable[str]) -> list[str]:
    """The names that end in `bare` once what wrappers put into them is left out."""
    return [name for name in names if f".{unwrapped(name)}".endswith(f".{bare}")]


def around_of(prefix: str) -> str:
    """The prefix of `lm_head.weight` in a file whose `wte.weight` has this prefix."""
    return prefix.removesuffix(PREFIX) if f".{prefix}".endswith(f".{PREFIX}") else prefix
