"""A checkpoint's names for its tensors, and which of them is meant by each of GPT-2's names.

A model that was wrapped, or is a part of another, has longer names than the published one. The prefix of its
`wte.weight` tells which tensors are the model's.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

PREFIX: Final = "transformer."
WTE: Final = "wte.weight"
WPE: Final = "wpe.weight"
LN_F: Final = "ln_f.weight"
LM_HEAD: Final = "lm_head.weight"
_HEAD = "lm_head."

#: What the name of a tensor in one of GPT-2's parts begins with.
PART: Final = re.compile(r"(wte|wpe|h\.[0-9]+|ln_f|lm_head)\.")

_PART_OF_TRANSFORMER = re.compile(r"(?<![^.])(wte|wpe|h\.[0-9]+|ln_f)\.")
_LAYER = re.compile(r"h\.[0-9]+\.")
_PARAMETER_OF_LAYER = re.compile(
    _LAYER.pattern + r"(ln_1|ln_2|attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.(weight|bias)$"
)

# What FSDP, activation checkpointing and torch.compile put before the names of each module that they wrap.
_WRAPPER = re.compile(r"\b(_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")


def unwrapped(name: str) -> str:
    """A name without what wrappers put into it."""
    return _WRAPPER.sub("", name)


def bare_names(tensors: Mapping[str, str], ambiguous_names: Mapping[str, Collection[str]]) -> dict[str, str]:
    """A checkpoint's own names, each by its name in the published file: without what stands before `wte.weight`.

    That is nothing, `transformer.`, or what a wrapper put before it; wrappers inside the model are left out too. Names
    that share one of the `ambiguous_names` stay as they are, and all do where that is `wte.weight`. `tensors` has the
    tensor of each name.

    >>> names = ["module.transformer.wte.weight", "module.lm_head.weight"]
    >>> bare_names(dict(zip(names, names)), {})
    {'wte.weight': 'module.transformer.wte.weight', 'lm_head.weight': 'module.lm_head.weight'}
    """
    in_doubt = {name for several in ambiguous_names.values() for name in several}
    in_doubt |= set(tensors) if WTE in ambiguous_names else set()
    prefixes = prefixes_of(tensors) or [""]
    heads = own_heads_of(*prefixes)
    own_names: dict[str, str] = {}
    for name, bare in _without_prefix(tensors).items():
        is_of_model = unwrapped(name).startswith(prefixes[0]) or unwrapped(name) in heads
        key = name if name in in_doubt else bare
        if key not in own_names or is_of_model:  # otherwise a tensor of the model has a second name outside it
            own_names[key] = name
    return own_names


def ambiguous(tensors: Mapping[str, str]) -> dict[str, list[str]]:
    """Each usual name that could mean several tensors, and the names of these; `tensors` has the tensor of each name.

    Names with `transformer.` added count for GPT-2's parts only. Two names of one tensor are in no doubt, nor are two
    prefixes with the same tensors below them. A model whose `wte.weight` was left out may share that of another one.

    >>> ambiguous({"encoder.wte.weight": "encoder.wte.weight", "decoder.wte.weight": "decoder.wte.weight"})
    {'wte.weight': ['encoder.wte.weight', 'decoder.wte.weight']}
    >>> ambiguous({name: name for name in ["wte.weight", "ln_f.weight", "transformer.ln_f.weight"]})
    {'transformer.ln_f.weight': ['ln_f.weight', 'transformer.ln_f.weight']}
    """
    several, models = _names_of_wte(tensors), _models(tensors)
    prefixes = [unwrapped(name).removesuffix(WTE) for name in several]
    wte_and_parts = [(tensors[name], models[prefix]) for name, prefix in zip(several, prefixes, strict=True)]
    is_published = not {"", PREFIX}.isdisjoint(prefixes)  # then transformers opens that model
    sharing = [] if is_published else [each + WTE for each in _without_wte(models, prefixes, _may_share)]
    if any(each != wte_and_parts[0] for each in wte_and_parts) or (several and sharing):
        return {WTE: [*several, *sharing]}
    meant: dict[str, list[str]] = {}
    for own_name, bare in _without_prefix(tensors).items():
        for name in dict.fromkeys((bare, own_name, *([PREFIX + bare] if PART.match(bare) else []))):
            meant.setdefault(name, []).append(own_name)
    return {name: several for name, several in meant.items() if len({tensors[each] for each in several}) > 1}


def _names_of_wte(tensors: Mapping[str, str]) -> list[str]:
    """The names of each model's `wte.weight`.

    A second name of another model's is left out where it stands alone, or beside second names of some of that model's
    other parts.

    >>> own_names = {"gpt.wte.weight": "gpt.wte.weight", "gpt.wpe.weight": "gpt.wpe.weight"}
    >>> _names_of_wte(own_names | {"wte.weight": "gpt.wte.weight"})
    ['gpt.wte.weight']
    """
    models = _models(tensors)
    largest: dict[str, dict[str, str]] = {}  # of the models with positions, by the tensor that is their wte
    for parts in models.values():
        if WTE in parts and WPE in parts:
            largest[parts[WTE]] = max(parts, largest.get(parts[WTE], parts), key=len)

    def is_model(name: str) -> bool:
        parts = models[unwrapped(name).removesuffix(WTE)]
        whole = largest.get(tensors[name], parts)
        is_some_of_it = parts.items() < whole.items() and not _has_layers(parts)
        return parts is whole or (WPE in parts and not is_some_of_it)

    return [name for name in named(WTE, tensors) if is_model(name)]


def _models(tensors: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """For each prefix of a transformer's parts what follows it in names, and their tensors."""
    models: dict[str, dict[str, str]] = {}
    for name, tensor in tensors.items():
        plain = unwrapped(name)
        for found in _PART_OF_TRANSFORMER.finditer(plain):
            parts, part = models.setdefault(plain[: found.start()], {}), plain[found.start() :]
            parts[part if parts.get(part, tensor) == tensor else name] = tensor  # two, if a wrapper's is another one
    return models


def is_in_transformer(name: str) -> bool:
    """Whether a tensor has the name of a part of a transformer, below whatever prefix.

    >>> is_in_transformer("encoder.h.0.ln_1.bias"), is_in_transformer("embed.weight")
    (True, False)
    """
    return bool(_PART_OF_TRANSFORMER.search(unwrapped(name)))


def prefixes_of(tensors: Mapping[str, str]) -> list[str]:
    """The prefixes of `wte.weight`, without wrappers: one for each name of the model.

    >>> prefixes_of({name: name for name in ["lm_head.weight", "transformer._orig_mod.wte.weight"]})
    ['transformer.']
    """
    return list(dict.fromkeys(unwrapped(name).removesuffix(WTE) for name in _names_of_wte(tensors)))


def heads_of(prefix: str) -> list[str]:
    """Where there can be an output matrix of the model with this prefix: in its module, or in one around that.

    >>> heads_of("model.transformer.")
    ['model.transformer.lm_head.weight', 'model.lm_head.weight', 'lm_head.weight']
    """
    modules = prefix.split(".")[:-1]
    return ["".join(f"{each}." for each in modules[:count]) + LM_HEAD for count in range(len(modules), -1, -1)]


def is_in_head(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a tensor is in a `lm_head` of the model with these prefixes, or in that of a module around the model.

    >>> is_in_head("module.lm_head.bias", ["module.gpt."]), is_in_head("critic.lm_head.weight", ["module.gpt."])
    (True, False)
    """
    return any(unwrapped(name).startswith(tuple(_modules(heads_of(prefix), prefix))) for prefix in prefixes)


def is_in_any_head(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a tensor is in the `lm_head` of any module. One that contains the model is not an output head.

    >>> is_in_any_head("critic.lm_head.weight", ["gpt."]), is_in_any_head("lm_head.gpt.value.weight", ["lm_head.gpt."])
    (True, False)
    """
    plain = unwrapped(name)
    modules = [plain[: found.end()] for found in re.finditer(r"(?<![^.])lm_head\.", plain)]
    return any(not prefix.startswith(module) for module in modules for prefix in prefixes)


def own_heads_of(*prefixes: str) -> list[str]:
    """Those of them that are the model's own: beside the module `transformer`, and beside or in one of another name.

    >>> own_heads_of("model.transformer."), own_heads_of("gpt.")
    (['model.lm_head.weight'], ['gpt.lm_head.weight', 'lm_head.weight'])
    """
    return [head for prefix in prefixes for head in heads_of(prefix)[1 if _around(prefix) != prefix else 0 : 2]]


def _without_prefix(tensors: Mapping[str, str]) -> dict[str, str]:
    """Each of these names without its wrappers and the prefix of `wte.weight`."""
    prefixes = prefixes_of(tensors) or [PREFIX]
    prefix, around = prefixes[0], _around(prefixes[0])
    heads = [head for each in prefixes for head in _modules(own_heads_of(each), each)]

    def bare(name: str) -> str:
        plain = unwrapped(name)
        if head := next(filter(plain.startswith, heads), None):
            return _HEAD + plain.removeprefix(head)
        rest = plain.removeprefix(prefix if plain.startswith(prefix) else around)
        return name if rest.startswith(_HEAD) else rest  # not the head of another module

    return {name: bare(name) for name in tensors}


def _modules(heads: Iterable[str], prefix: str) -> list[str]:
    """The beginnings of the names in these output heads. A module that contains the model is not a head."""
    modules = [head.removesuffix(LM_HEAD) + _HEAD for head in heads]
    return [module for module in modules if not prefix.startswith(module)]


def tied_names(tensors: Mapping[str, str]) -> dict[str, str]:
    """The name of a missing `wte.weight`, and that of the `lm_head.weight` which may be the same matrix.

    That is the one at its place in the model whose `wpe.weight` is there. Nothing where several models have both, where
    the matrix may be that of another model, or where there is another one farther out. Beside another `wte.weight` a
    module counts as a model only if it has layers, and the file is ambiguous then. `tensors` has the tensor of each
    name.

    >>> names = ["lm_head.weight", "transformer.wpe.weight", "transformer.ln_f.bias", "critic.lm_head.weight"]
    >>> tied_names({name: name for name in names})
    {'transformer.wte.weight': 'lm_head.weight'}
    >>> others = ["model.transformer.h.0.ln_1.weight", "model.transformer.ln_f.weight"]
    >>> tied_names({name: name for name in [*names, *others]})
    {}
    """
    heads: dict[str, list[str]] = {}
    for name in named(LM_HEAD, tensors):
        heads.setdefault(unwrapped(name), []).append(name)
    is_alone = not named(WTE, tensors)
    models = {
        prefix: parts
        for prefix, parts in _models(tensors).items()
        if WPE in parts and not any(part.startswith("wte.") for part in parts) and (is_alone or _has_layers(parts))
    }
    own = [(prefix, name) for prefix in models for head in own_heads_of(prefix) for name in heads.get(head, [])]
    if len(own) != 1:
        return {}
    [(prefix, head)] = own
    around = {tensors[name] for place in heads_of(prefix) for name in heads.get(place, [])}
    is_in_doubt = around != {tensors[head]} or (is_alone and others_around(head, tensors, [prefix]))
    return {} if is_in_doubt else {prefix + WTE: head}


def others_around(head: str, tensors: Mapping[str, str], prefixes: Collection[str]) -> list[str]:
    """The prefixes of other models whose missing `wte.weight` a model's output head may be.

    Those models have layers, and the head is in a module around them. `prefixes` are those of the head's own model;
    second names of its parts are not another model.

    >>> names = ["lm_head.weight", "model.transformer.h.0.ln_1.weight", "model.transformer.ln_f.weight"]
    >>> others_around("lm_head.weight", {name: name for name in names}, ["encoder."])
    ['model.transformer.']
    """
    others = _without_wte(_models(tensors), prefixes, _has_layers)
    return [prefix for prefix in others if unwrapped(head) in heads_of(prefix)]


def _without_wte(
    models: Mapping[str, Mapping[str, str]], prefixes: Collection[str], is_model: Callable[[Collection[str]], bool]
) -> list[str]:
    """The prefixes of the models that lack their `wte.weight`, other than the one with these prefixes."""
    own = {part: tensor for prefix in prefixes for part, tensor in models.get(prefix, {}).items()}
    without_wte = {prefix: parts for prefix, parts in models.items() if WTE not in parts and is_model(parts)}
    return [prefix for prefix, parts in without_wte.items() if not parts.items() <= own.items()]


def _has_layers(parts: Collection[str]) -> bool:
    """Whether there are layers of a transformer, and what follows the last one."""
    return LN_F in parts and any(map(_LAYER.match, parts))


def _may_share(parts: Collection[str]) -> bool:
    """Whether these may be the parts of a GPT-2 that it does not share with another one."""
    return any(map(_PARAMETER_OF_LAYER.match, parts))


def named(bare: str, names: Iterable[str]) -> list[str]:
    """The names that end in `bare` once what wrappers put into them is left out."""
    return [name for name in names if f".{unwrapped(name)}".endswith(f".{bare}")]


def _around(prefix: str) -> str:
    """A prefix without the `transformer.` at its end."""
    return prefix.removesuffix(PREFIX) if f".{prefix}".endswith(f".{PREFIX}") else prefix
