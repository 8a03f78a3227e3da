"""GPT-2 in numpy: token ids → rows of `wte` and `wpe` → layers → logits of the next token.

The equations stand here, the smallest first. Sources: "Language Models are Unsupervised Multitask Learners" (Radford et
al., 2019), its published code (github.com/openai/gpt-2, src/model.py), and transformers' `GPT2LMHeadModel`, whose
answers the tests compare with. Names are those of the checkpoint's tensors. In the shapes,

    B texts in a batch          E = n_embd, numbers that a token is made of: 768 in the published gpt2
    T tokens that are new       H = n_head, heads of each layer's attention: 12
    S tokens, cached ones too   D = E / H, numbers a head: 64          V = vocab_size, tokens there are: 50257
    K of the T, needed ones     all T in every layer but the last
"""

# mypy: disable-error-code=no-any-return
# numpy's stubs give Any for most arithmetic.

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from math import nan, pi, sqrt
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigpt2 import generation
from minigpt2.inference.cache import Cache
from minigpt2.inference.fast import QUERIES, blocks_of_scores, by_rows, load_parameters, product, product_with_rows
from minigpt2.inference.generation_config import GenerationConfig, read_generation_config
from minigpt2.inference.hooks import Hook, Hooks
from minigpt2.inference.inputs import (
    HIDDEN,
    IGNORED_LABEL,
    attention_mask_of,
    batch_of_ids,
    kept_positions,
    labels_of,
    padding_mask,
    positions_of,
)
from minigpt2.inference.options import Config, Options, read_options
from minigpt2.tokenizer import Tokenizer
from minigpt2.tokenizer_files.files import NoTokenizerError
from minigpt2.vocabulary import ComputedOnce
from minigpt2.weights.checkpoint import Checkpoint, CheckpointError

Array = NDArray[Any]  # of float32, wherever nothing else is said

# ---- the equations


def gelu(x: Array) -> Array:  # (...) -> (...)
    """A gate that opens where x > 0: x times about the chance that a normal number is below x.

    OpenAI's formula is x/2 · (1 + tanh u) with u = √(2/π) · (x + 0.044715 x³). One exp is enough, because
    (1 + tanh u) / 2 = 1 / (1 + exp(-2u)). As a power, x³ would take longer than all the rest.
    """
    power = x * x  # each step overwrites it: with a new array a step this takes half as long again
    power *= -2 * sqrt(2 / pi) * 0.044715
    power -= 2 * sqrt(2 / pi)
    power *= x  # -2u
    with np.errstate(over="ignore"):  # where exp is infinite the gate is closed: x / inf = 0
        np.exp(power, out=power)
    power += 1
    return x / power


def relu(x: Array) -> Array:  # (...) -> (...)
    """x where it is positive, else 0: what some later GPT-2s have in gelu's stead."""
    return np.maximum(x, 0)


def layer_norm(x: Array, weight: Array, bias: Array, epsilon: float) -> Array:  # (..., E) -> (..., E)
    """Each token's numbers shifted to mean 0 and scaled to variance 1, then scaled and shifted as was learned."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.einsum("...i,...i->...", centred, centred)[..., None] / x.shape[-1]  # makes no array of squares
    centred /= np.sqrt(variance + epsilon)
    centred *= weight
    centred += bias
    return centred


def linear(x: Array, weight: Array, bias: Array) -> Array:  # (..., inputs) -> (..., outputs)
    """x @ weight + bias, the weight of shape (inputs, outputs)."""
    result = product(x, weight)
    result += bias
    return result


@lru_cache(maxsize=4)
def causal_mask(tokens: int) -> Array:  # -> (T, T)
    """The mask to add to the scores of T queries and their own T keys: very low where the key comes later, else 0."""
    return np.triu(np.full((tokens, tokens), HIDDEN), 1)


def attention_odds(q: Array, k: Array, padding: Array | None) -> Array:  # -> (B, H, T, S)
    """How much each query (B, H, T, D) looks at each key (B, H, S, D), compared with the key that it looks at most.

    The queries belong to the last T keys. `padding` (B, 1, 1, S) is very low where a key is padding, else 0. Less the
    maximum, no exp is too large.
    """
    scores = q @ k.swapaxes(-1, -2)
    tokens = q.shape[2]
    scores[..., -tokens:] += causal_mask(tokens)
    if padding is not None:
        scores += padding
    scores -= scores.max(axis=-1, keepdims=True)
    return np.exp(scores, out=scores)


def attention_pattern(q: Array, k: Array, padding: Array | None) -> Array:  # -> (B, H, T, S)
    """How much each query looks at each key, as probabilities: the softmax of their products."""
    odds = attention_odds(q, k, padding)
    odds /= odds.sum(axis=-1, keepdims=True)
    return odds


def attention(q: Array, k: Array, v: Array, padding: Array | None) -> Array:  # -> (B, H, T, D)
    """For each query, the mean of the values (B, H, S, D), weighted by how much it looks at their keys.

    This is `attention_pattern(q, k, padding) @ v` with less work: a query has fewer values (D) to divide than odds (S),
    and a product with ones adds faster than `sum`.
    """
    odds = attention_odds(q, k, padding)
    return odds @ v / (odds @ np.ones(odds.shape[-1], np.float32))[..., None]


def split_heads(x: Array, n_head: int) -> Array:  # (B, T, E) -> (B, H, T, D)
    """Each token's numbers shared out among the heads: the first D are the first head's."""
    return x.reshape(*x.shape[:2], n_head, -1).swapaxes(1, 2)


def join_heads(x: Array) -> Array:  # (B, H, T, D) -> (B, T, E)
    """The heads' numbers side by side again."""
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


# ---- a layer


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer in one call of the model: its parts, such as `attn.c_attn`, and what the layers share in that call."""

    index: int
    parts: Mapping[str, tuple[Array, Array]]  # the weight and the bias of each
    options: Options
    padding: Array | None  # (B, 1, 1, S)
    cache: Cache | None
    hooks: Hooks
    patterns: list[Array] | None  # collects (B, H, T, S) of each layer, if they were asked for
    wanted: slice  # the last K of the T tokens, those whose result is needed

    def norm(self, part: str, x: Array) -> Array:  # (B, T, E) -> (B, T, E)
        """The layer norm of that name."""
        weight, bias = self.parts[part]
        return self.see(part, by_rows(lambda rows: layer_norm(rows, weight, bias, self.options.layer_norm_epsilon), x))

    def linear(self, part: str, x: Array) -> Array:  # (B, T, inputs) -> (B, T, outputs)
        """The linear map of that name."""
        return linear(x, *self.parts[part])

    def see(self, point: str, array: Array) -> Array:
        """The hook's result at this point of the layer; without one, the array."""
        return self.hooks(f"h.{self.index}.{point}", array)


def self_attention(x: Array, layer: Layer) -> Array:  # (B, T, E) -> (B, K, E)
    """Each token gathers from those before it: in every head it asks (q), is found (k), and gives (v)."""
    q, k, v = np.split(layer.linear("attn.c_attn", x), 3, axis=-1)  # (B, T, E) each
    q = layer.see("attn.q", split_heads(q, layer.options.n_head))  # (B, H, T, D)
    k = layer.see("attn.k", split_heads(k, layer.options.n_head))
    v = layer.see("attn.v", split_heads(v, layer.options.n_head))
    if layer.cache is not None:
        k, v = layer.cache.extended(layer.index, k, v)  # (B, H, S, D)
    q = q[:, :, layer.wanted] * layer.options.attention_scale(layer.index)  # scales all scores, with less work
    heads = attend(q, k, v, layer)  # (B, H, K, D)
    return layer.see("attn.c_proj", layer.linear("attn.c_proj", join_heads(heads)))


def attend(q: Array, k: Array, v: Array, layer: Layer) -> Array:  # -> (B, H, K, D)
    """`attention` in blocks of scores; or at once, where the whole pattern is to be seen or changed."""
    if layer.patterns is not None or f"h.{layer.index}.attn.pattern" in layer.hooks:
        pattern = layer.see("attn.pattern", attention_pattern(q, k, layer.padding))  # (B, H, T, S)
        if layer.patterns is not None:
            layer.patterns.append(pattern)
        return pattern @ v
    heads = np.empty_like(q.swapaxes(1, 2), order="C").swapaxes(1, 2)  # in this order `join_heads` copies nothing
    for h, i, j in blocks_of_scores(len(q), q.shape[1], q.shape[2], k.shape[2]):
        padding = None if layer.padding is None else layer.padding[..., j]
        heads[:, h, i] = attention(q[:, h, i], k[:, h, j], v[:, h, j], padding)
    return heads


def mlp(x: Array, layer: Layer) -> Array:  # (B, T, E) -> (B, T, E)
    """Each token for itself: four times as many numbers, the negative ones shut off, and back to E."""
    activation = relu if layer.options.activation_function == "relu" else gelu
    x = layer.see("mlp.c_fc", layer.linear("mlp.c_fc", x))  # (B, T, 4E)
    x = layer.see("mlp.act", by_rows(activation, x))
    return layer.see("mlp.c_proj", layer.linear("mlp.c_proj", x))


def block(x: Array, layer: Layer) -> Array:  # (B, T, E) -> (B, K, E)
    """A whole layer: what attention finds is added to each token, and then what the mlp finds."""
    x = x[:, layer.wanted] + self_attention(layer.norm("ln_1", x), layer)
    x = x + mlp(layer.norm("ln_2", x), layer)
    return layer.hooks(f"h.{layer.index}", x)


# ---- the loss


def token_losses(logits: Array, labels: NDArray[np.int64]) -> Array:  # (N, V), (N,) -> (N,)
    """How much each label surprised the model, in nats: minus the log of the probability that it gave to it."""
    logits = logits - logits.max(axis=-1, keepdims=True)
    with np.errstate(under="ignore"):
        return np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(len(labels)), labels]


def mean_loss(logits: Array, labels: NDArray[np.int64]) -> float:  # (B, T, V), (B, T)
    """The mean of the losses of all labels, each compared with the logits before it; without any, not a number."""
    losses = []
    for text_logits, text_labels in zip(logits[:, :-1], labels[:, 1:], strict=True):  # one by one, to save memory
        wanted = text_labels != IGNORED_LABEL
        losses.append(token_losses(text_logits[wanted], text_labels[wanted]))
    every = np.concatenate(losses).astype(np.float64)
    return float(every.mean()) if every.size else nan


# ---- the model


@dataclass(frozen=True, slots=True)
class Output:
    """The result of a call of the model; what was not asked for is None."""

    logits: Array  # (B, T, V), or fewer positions with `logits_to_keep`
    loss: float | None = None  # the mean over all labels, in nats
    past_key_values: Cache | None = None
    hidden_states: tuple[Array, ...] | None = None  # n_layer + 1 of (B, T, E); the last is after ln_f
    attentions: tuple[Array, ...] | None = None  # n_layer of (B, H, T, S)


class GPT2:
    """GPT-2 with the weights of a checkpoint, in float32: call it with token ids for the logits of the next tokens.

    `tokenizer` is what text goes through; by default the one beside the weights, or GPT-2's where there is none and the
    model has enough tokens for it. All parameters are read now; that tokenizer is read when it is first needed.

    Raises:
        CheckpointError: this is not a GPT-2, its config asks for what is not supported, or its files have changed.
        MemoryError: there is too little memory for the parameters.

    >>> model = GPT2.bundled()
    >>> model([[464, 3616, 286, 1204, 318]]).logits.shape
    (1, 5, 50257)
    """

    generate = generation.generate
    stream = generation.stream
    next_tokens = generation.next_tokens
    logit_lens = generation.logit_lens

    def __init__(self, weights: Checkpoint, tokenizer: Tokenizer | None = None) -> None:
        self.config = weights.config
        self.options = read_options(weights)
        parameters = load_parameters(weights)
        self.wte, self.wpe = parameters["wte.weight"], parameters["wpe.weight"]  # (V, E), (positions, E)
        self.lm_head = parameters.get("lm_head.weight", self.wte)  # (V, E)
        self._ln_f = parameters["ln_f.weight"], parameters["ln_f.bias"]
        self._layers = _layers(parameters, self.options.n_layer)
        self._find_tokenizer = weights.other_files.tokenizer  # called when text first asks for it
        if tokenizer is not None:
            self.tokenizer = tokenizer
        config = Config(dict(self.config), weights.config_path)
        self._read_generation_config = partial(read_generation_config, weights.other_files.generation_config, config)
        if weights.commit is None:  # it is beside the weights, where it may have changed when it is first needed
            try:
                self.generation_config = self._read_generation_config()
            except (CheckpointError, OSError):
                if weights.other_files.generation_config() is None:  # it is the config.json that is wrong
                    raise

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] = "gpt2",
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """The model in a directory, or one on the hub, downloaded unless it is cached; with its own tokenizer.

        Raises as `Checkpoint.from_pretrained`.
        """
        return cls(
            Checkpoint.from_pretrained(model, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        )

    @classmethod
    def bundled(cls) -> Self:
        """The small GPT-2 that the package carries: no download, no network. It is not OpenAI's GPT-2."""
        return cls(Checkpoint.bundled())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"config": dict(self.config)}  # a mappingproxy cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, config=MappingProxyType(state["config"]))

    def __repr__(self) -> str:
        sizes = self.options
        return f"<GPT2 of {sizes.n_layer} layers, {sizes.n_head} heads, {sizes.n_embd} wide, {sizes.vocab_size} tokens>"

    @ComputedOnce
    def generation_config(self) -> GenerationConfig:
        """The settings of `generation_config.json`, or of `config.json` if the model has no such file.

        Raises:
            CheckpointError: the file is malformed.
        """
        return self._read_generation_config()

    @ComputedOnce
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that text goes through.

        Raises:
            ValueError: that of the model is malformed, or it has none, and too few tokens for GPT-2's.
        """
        with suppress(NoTokenizerError):  # a directory may hold weights alone
            return self._find_tokenizer()
        tokenizer = Tokenizer()
        if len(tokenizer) > self.options.vocab_size:
            counts = f"the model has {self.options.vocab_size} tokens and GPT-2's tokenizer {len(tokenizer)}"
            raise ValueError(f"{counts}: pass the model's own, GPT2(weights, tokenizer=...)")
        return tokenizer

    def __call__(
        self,
        ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        logits_to_keep: int | ArrayLike = 0,
        labels: ArrayLike | None = None,
        hooks: Mapping[str, Hook] | None = None,
    ) -> Output:
        """The logits of the token after each of `ids`, which have the shape (B, T), or (T,) for one text.

        The arguments mean what they mean in transformers, with one difference: positions always follow from
        `attention_mask`, so that padding on the left changes nothing. The mask has the shape (B, S), cached tokens
        first; without it every new token counts. What is computed at a padded token is finite and means nothing.

        Args:
            past_key_values: the cache of an earlier call, to which these tokens are added.
            use_cache: make a cache, and return it as `past_key_values`.
            logits_to_keep: how many of the last positions get logits, 0 for all; or an array of positions.
            labels: ids of shape (B, T), -100 where there is none; each is compared with the logits before it.
            hooks: functions by the name of a point (`minigpt2.inference.hooks` lists them). Each is called with the
                array that was computed there, and may return another in its place.

        Raises:
            TypeError: an id is not an integer, or a hook not a function.
            ValueError: an id is outside the vocabulary, there are more tokens than positions, a text is masked whole,
                shapes do not fit, or there is no such point.
        """
        options = self.options
        ids = batch_of_ids(ids, options.vocab_size)  # (B, T)
        see = Hooks(hooks, options.n_layer)
        cache = self._cache(past_key_values, len(ids)) if use_cache or past_key_values is not None else None
        counts = attention_mask_of(attention_mask, cache, ids.shape)  # (B, S)
        positions = positions_of(counts, ids.shape[1], options.n_positions)  # (B, T)
        padding = padding_mask(counts)  # (B, 1, 1, S)
        kept = kept_positions(logits_to_keep, ids.shape[1])
        targets = None if labels is None else labels_of(labels, ids.shape, options.vocab_size, kept)
        patterns: list[Array] | None = [] if output_attentions else None
        states = []
        # The last layer is computed only for the tokens that get logits, unless someone looks at it.
        is_seen = output_hidden_states or output_attentions or hooks
        last = kept if isinstance(kept, slice) and not is_seen else slice(None)

        with np.errstate(under="ignore"):  # the odds of a hidden key are meant to be 0
            x = see("embeddings", self.wte[ids] + self.wpe[positions])  # (B, T, E)
            for index, parts in enumerate(self._layers):
                states.append(x)
                wanted = last if index == options.n_layer - 1 else slice(None)
                x = block(x, Layer(index, parts, options, padding, cache, see, patterns, wanted))
            x = see("ln_f", self.ln_f(x))
        states.append(x)
        logits = self.head(x[:, kept])  # (B, T or fewer, V)

        if cache is not None:
            cache.mask = counts  # only now do the new tokens count: an interrupted call adds none
        return Output(
            logits,
            None if targets is None else mean_loss(logits, targets),
            cache,
            tuple(states) if output_hidden_states else None,
            tuple(patterns) if patterns is not None else None,
        )

    def ln_f(self, x: Array) -> Array:  # (..., E) -> (..., E)
        """The layer norm after the last layer."""
        with np.errstate(under="ignore"):
            return layer_norm(x, *self._ln_f, self.options.layer_norm_epsilon)

    def head(self, x: Array) -> Array:  # (..., E) -> (..., V)
        """The logits: each token's row of `lm_head` (in most models `wte` once more) times what came out of `ln_f`."""
        with np.errstate(under="ignore"):
            return product_with_rows(x, self.lm_head)

    def token_losses(self, ids: ArrayLike, last: int | None = None) -> Array:
        """The loss of each token but the first, given those before it, in nats: ids (B, T) give the shape (B, T - 1).

        With `last`, only those of so many last tokens, (B, last). Logits are made for some positions at a time, so
        this takes less memory than a call. Raises as a call does.

        >>> GPT2.bundled().token_losses([[464, 3616, 286, 1204, 318]]).shape
        (1, 4)
        """
        ids = batch_of_ids(ids, self.options.vocab_size)
        states = self(ids, output_hidden_states=True, logits_to_keep=1).hidden_states
        assert states is not None
        count = ids.shape[1] - 1 if last is None else last
        if not 0 <= count < ids.shape[1]:
            raise ValueError(f"{ids.shape[1]} tokens have {ids.shape[1] - 1} losses, not {count}")
        x = states[-1][:, ids.shape[1] - 1 - count : -1].reshape(-1, self.options.n_embd)  # (B * count, E)
        labels = ids[:, ids.shape[1] - count :].reshape(-1)
        some = [slice(start, start + QUERIES) for start in range(0, len(x), QUERIES)]
        losses = [token_losses(self.head(x[rows]), labels[rows]) for rows in some]
        return np.concatenate([np.empty(0, np.float32), *losses]).reshape(len(ids), count)

    def _cache(self, cache: Cache | None, texts: int) -> Cache:
        """The cache that was given, if it fits, or else a new one."""
        shape = (self.options.n_layer, texts, self.options.n_head, self.options.n_embd // self.options.n_head)
        if cache is None:
            return Cache(*shape)
        if not isinstance(cache, Cache):
            raise TypeError(f"past_key_values must be what an earlier call returned, not {type(cache).__name__}")
        if cache.shape != shape:
            raise ValueError(f"past_key_values is for (layers, texts, heads, width) {cache.shape}, not {shape}")
        return cache


def _layers(parameters: Mapping[str, Array], n_layer: int) -> list[dict[str, tuple[Array, Array]]]:
    """The weight and the bias of each part of each layer."""
    layers: list[dict[str, tuple[Array, Array]]] = [{} for _ in range(n_layer)]
    for name in parameters:
        if name.startswith("h.") and name.endswith(".weight"):
            _, index, part = name.removesuffix(".weight").split(".", 2)
            layers[int(index)][part] = parameters[name], parameters[f"h.{index}.{part}.bias"]
    return layers
