"""From logits to text: choosing the next token, again and again; and what the model would say next, layer by layer.

The choices are those of transformers' `generate`, in its order: temperature, then top-k, then top-p. Logits have the
shape (texts, vocab_size). The functions whose first argument is a model are methods of `GPT2`.
"""

import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigpt2.embeddings import positive, token_ids
from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.inference.inputs import attention_mask_of, batch_of_ids
from minigpt2.tokenizer import Tokenizer

if TYPE_CHECKING:
    from minigpt2.model import GPT2

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
EndOfText = int | Sequence[int] | Literal["config"] | None
Token = tuple[int, str, float]  # id, the token as GPT-2 writes it, probability

# ---- choosing a token


def probabilities(logits: Floats) -> NDArray[np.float64]:
    """The softmax of logits, in float64, so that fifty thousand small numbers still make 1 together."""
    with np.errstate(under="ignore"):
        exps = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
        return exps / exps.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def require_finite(logits: Floats) -> None:
    """Make sure that the largest logit of each text is a finite number, so that a token can be chosen by it.

    Raises:
        ValueError: it is not.
    """
    if not np.isfinite(logits.max(axis=-1)).all():
        raise ValueError(
            "the model's logits are not finite numbers: its weights hold NaN, infinities or too large numbers "
            "(`minigpt2 stats` counts those of a tensor)"
        )


def with_temperature(logits: Floats, temperature: float) -> Floats:
    """Logits that make likely tokens likelier still (temperature below 1), or less so (above 1).

    Raises:
        ValueError: the largest is not finite then.
    """
    with np.errstate(all="ignore"):  # a tiny temperature is 0 in float32
        scaled = logits / temperature
    if not np.isfinite(scaled.max(axis=-1)).all():
        raise ValueError(f"the largest logit divided by the temperature {temperature} is not a finite number")
    return scaled


def keep_top_k(logits: Floats, k: int) -> Floats:
    """The `k` highest logits of each text, and those equal to the lowest of these; the others become -inf."""
    k = min(k, logits.shape[-1])
    lowest = np.partition(logits, -k, axis=-1)[:, -k, None]
    return np.where(logits < lowest, logits.dtype.type(-np.inf), logits)


def keep_top_p(logits: Floats, p: float) -> Floats:
    """The likeliest tokens of each text, as few as together have the probability `p`; the others become -inf."""
    ascending = np.argsort(logits, axis=-1, kind="stable")
    sorted_logits = np.take_along_axis(logits, ascending, axis=-1).astype(np.float32)
    # Softmax in float32, added up in float64, compared in float32, as torch does: sums at the border fall alike.
    with np.errstate(under="ignore"):
        exps = np.exp(sorted_logits - sorted_logits[:, -1:])
        exps /= exps.sum(axis=-1, keepdims=True)
    cumulative = np.cumsum(exps, axis=-1, dtype=np.float64).astype(np.float32)
    removed = cumulative <= np.float32(1 - p)
    removed[:, -1] = False  # the likeliest stays, however small p is
    kept = logits.copy()
    np.put_along_axis(kept, ascending, np.where(removed, -np.inf, np.take_along_axis(kept, ascending, -1)), axis=-1)
    return kept


def draw(chances: NDArray[np.float64], random: "np.random.Generator") -> Ids:  # quoted: numpy.random loads slowly
    """One token id for each text, shape (texts,), drawn with the probabilities `chances`."""
    cumulative = np.cumsum(chances, axis=-1)
    points = random.random(len(chances)) * cumulative[:, -1]
    # The first id whose cumulative probability is above the point: never one of probability 0.
    return np.array([np.searchsorted(row, point, side="right") for row, point in zip(cumulative, points, strict=True)])


class Choice:
    """How the next token is chosen: the likeliest one, or one drawn at random.

    Raises:
        ValueError: an option is outside its range.
    """

    def __init__(self, do_sample: bool, temperature: float, top_k: int, top_p: float, seed: int | None) -> None:
        if not 0 < temperature < np.inf:
            raise ValueError(
                f"temperature must be above 0, not {temperature}; do_sample=False takes the likeliest token"
            )
        if top_k < 0:
            raise ValueError(f"top_k must be at least 1, or 0 for all tokens, not {top_k}")
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {top_p}")
        if seed is not None and seed < 0:
            raise ValueError(f"seed must be 0 or more, not {seed}")
        with FORK_WAITS, ordered_hooks():  # numpy imports `random` at its first use
            self._random = np.random.default_rng(seed) if do_sample else None
        self._temperature, self._top_k, self._top_p = temperature, top_k, top_p

    def chances(self, logits: Floats) -> NDArray[np.float64]:
        """The probabilities with which each next token is drawn."""
        logits = with_temperature(logits, self._temperature)
        if self._top_k:
            logits = keep_top_k(logits, self._top_k)
        if self._top_p < 1:
            logits = keep_top_p(logits, self._top_p)
        return probabilities(logits)

    def __call__(self, logits: Floats) -> Ids:
        """The next token's id for each text, shape (texts,).

        Raises:
            ValueError: the logits are not finite.
        """
        require_finite(logits)
        return logits.argmax(axis=-1) if self._random is None else draw(self.chances(logits), self._random)


# ---- when a text ends


class StopStrings:
    """Notices which texts of a batch have come to one of these strings.

    As in transformers, a string may begin in any token, the prompt's too, but some of it must lie in the last token.

    Raises:
        TypeError: a string is something else.
        ValueError: a string is empty, or has a lone surrogate.
    """

    def __init__(self, strings: Collection[str], tokenizer: Tokenizer, prompt: Ids, mask: Mask) -> None:
        self._strings = [_utf8(string) for string in ([strings] if isinstance(strings, str) else strings)]
        if not all(self._strings):
            raise ValueError("a stop string must not be empty")
        self._tokenizer = tokenizer
        self._reach = max(map(len, self._strings)) - 1  # so many bytes before the last token can matter
        self._ends = [b""] * len(prompt)  # the last bytes of each text, at most so many
        for ids, counts in zip(prompt.T, mask.T, strict=True):
            self._add(ids, counts)

    def completed(self, ids: Ids) -> Mask:
        """Which texts have come to a string with these tokens, one for each text: shape (texts,)."""
        return self._add(ids, np.ones(len(ids), bool))

    def _add(self, ids: Ids, counts: Mask) -> Mask:
        found = np.zeros(len(ids), bool)
        for text in np.flatnonzero(counts):
            end = self._ends[text]
            data = end + _bytes_of(self._tokenizer, int(ids[text]))
            found[text] = any(data.find(string, max(0, len(end) + 1 - len(string))) >= 0 for string in self._strings)
            self._ends[text] = data[max(0, len(data) - self._reach) :]
        return found


def _utf8(stop_string: str) -> bytes:
    if not isinstance(stop_string, str):
        raise TypeError(f"a stop string must be a str, not {type(stop_string).__name__}")
    try:
        return stop_string.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the stop string {stop_string!r} has a lone surrogate, which is not text") from None


def _bytes_of(tokenizer: Tokenizer, token_id: int) -> bytes:
    """A token's bytes; none for a row of `wte` that the vocabulary has no token for."""
    try:
        return tokenizer.decode_bytes([token_id])
    except ValueError:
        return b""


def end_of_text_ids(model: "GPT2", eos_token_id: EndOfText) -> Ids:
    """The ids that end a text.

    Raises:
        TypeError, ValueError: one is not a token id.
    """
    if isinstance(eos_token_id, str):
        if eos_token_id != "config":
            raise ValueError(f"eos_token_id must be an id, several, None, or 'config', not {eos_token_id!r}")
        return np.array(model.generation_config.eos_token_ids, np.int64)
    ids: ArrayLike = [] if eos_token_id is None else eos_token_id
    return np.atleast_1d(token_ids(ids, model.options.vocab_size))


# ---- texts, token by token


def generate(
    model: "GPT2",
    ids: str | ArrayLike,
    max_new_tokens: int = 20,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | None = None,
    stop_strings: Collection[str] = (),
    eos_token_id: EndOfText = "config",
    attention_mask: ArrayLike | None = None,
) -> Ids:
    """Go on with a batch of texts; returns the ids of each, prompt and new ones, shape (texts, tokens).

    As in transformers: the likeliest token comes next, or with `do_sample` one drawn at random after `temperature`,
    `top_k` (0: all) and `top_p`. A text ends with an end-of-text token, by default the config's (None: never), or with
    the token that completes a stop string; it is padded then, until all have ended or have `max_new_tokens` more.
    `ids` may also be a text, and `attention_mask` is 0 where a batch is padded, on the left; among ids without a mask
    the config's `pad_token_id` is padding, unless it also ends a text. An empty prompt starts from the config's
    `bos_token_id`, `<|endoftext|>` in GPT-2. The config is the model's `generation_config.json`, or `config.json` where
    it has no such file. The same `seed` gives the same tokens.

    Raises:
        CheckpointError: the config asks for something that changes the tokens and is not supported here.
        ValueError: the model has too few positions for so many tokens, a text ends in padding, or an option is outside
            its range.

    >>> from minigpt2 import GPT2
    >>> GPT2.bundled().generate("The meaning of life is", max_new_tokens=3).shape
    (1, 8)
    """
    model.generation_config.refuse_unsupported(do_sample)
    eos = end_of_text_ids(model, eos_token_id)
    prompt, mask = _prompt(model, ids, attention_mask, None if isinstance(ids, str) else _padding_id(model, eos))
    count = positive("max_new_tokens", max_new_tokens)
    if count > (room := tokens_left(model, prompt, mask)):
        raise ValueError(f"the model's {model.options.n_positions} positions leave room for {room} tokens, not {count}")
    choose = Choice(do_sample, temperature, top_k, top_p, seed)
    stop = StopStrings(stop_strings, model.tokenizer, prompt, mask) if stop_strings else None
    new = list(_steps(model, prompt, mask, count, choose, stop, eos))
    return np.concatenate([prompt, np.stack(new, axis=1)], axis=1)


def stream(
    model: "GPT2",
    ids: str | ArrayLike,
    max_new_tokens: int = 20,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | None = None,
    stop_strings: Collection[str] = (),
    eos_token_id: EndOfText = "config",
) -> Iterator[int]:
    """The new ids that `generate` gives for one text, each as soon as it is chosen.

    One text has no padding: every token counts. Where the model has no position left for another token the stream
    ends, with a warning.

    Raises:
        ValueError: there are several texts, one has more tokens than positions, or an option is outside its range.

    >>> from minigpt2 import GPT2
    >>> model = GPT2.bundled()
    >>> list(model.stream("Hello", max_new_tokens=3)) == model.generate("Hello", max_new_tokens=3)[0, 1:].tolist()
    True
    """
    model.generation_config.refuse_unsupported(do_sample)
    eos = end_of_text_ids(model, eos_token_id)
    prompt, mask = _one_prompt(model, ids)
    count, room = positive("max_new_tokens", max_new_tokens), tokens_left(model, prompt, mask)
    choose = Choice(do_sample, temperature, top_k, top_p, seed)
    stop = StopStrings(stop_strings, model.tokenizer, prompt, mask) if stop_strings else None
    steps = _steps(model, prompt, mask, min(count, room), choose, stop, eos)

    def new_ids() -> Iterator[int]:
        given = 0
        for new in steps:
            given += 1
            yield int(new[0])
        if given == room < count:
            warnings.warn(f"stopped after {room} of {count} tokens: the model has no more positions", stacklevel=2)

    return new_ids()


def tokens_left(model: "GPT2", prompt: Ids, mask: Mask) -> int:
    """How many tokens can follow the longest prompt: each needs a position but the last, which is not read.

    Raises:
        ValueError: a prompt has more tokens than the model has positions.
    """
    longest, n_positions = int(mask.sum(axis=1).max()), model.options.n_positions
    if longest > n_positions:
        raise ValueError(f"{longest} tokens are more than the model's {n_positions} positions: cut the text")
    return n_positions - longest + 1


def _steps(
    model: "GPT2", ids: Ids, mask: Mask | None, count: int, choose: Choice, stop: StopStrings | None, eos: Ids
) -> Iterator[Ids]:
    """The next token of each text, shape (texts,), again and again until `count` are made or all texts have ended."""
    config = model.generation_config
    padding = next((i for i in (config.pad_token_id, *eos, *config.eos_token_ids) if i is not None), 0)
    ended, cache = np.zeros(len(ids), bool), None
    for _ in range(count):
        if ended.any() and not 0 <= padding < model.options.vocab_size:
            key = "eos_token_id" if config.pad_token_id is None else "pad_token_id"
            raise config.file.refusal(key, padding, "it is outside the vocabulary, and a batch needs padding")
        output = model(ids, mask, cache, use_cache=True, logits_to_keep=1)
        cache, mask = output.past_key_values, None  # the cache knows the mask
        new = np.where(ended, padding, choose(output.logits[:, -1]))
        yield new
        ended |= np.isin(new, eos)
        if stop is not None:
            ended |= stop.completed(new)
        if ended.all():
            return
        ids = new[:, None]  # (texts, 1)


# ---- what would come next


def next_tokens(model: "GPT2", ids: str | ArrayLike, k: int = 10) -> list[Token]:
    """The `k` likeliest tokens after a text: their ids, the tokens as GPT-2 writes them, and their probabilities.

    Raises:
        ValueError: there are several texts, or `k` is below 1.

    >>> from minigpt2 import GPT2
    >>> token_id, token, probability = GPT2.bundled().next_tokens("The meaning of life is")[0]
    """
    prompt, _ = _one_prompt(model, ids)
    return likeliest(model, model(prompt, logits_to_keep=1).logits[0, -1], k)


def logit_lens(model: "GPT2", ids: str | ArrayLike, k: int = 5) -> list[list[Token]]:
    """Each layer's next tokens if it were the last: `next_tokens` for each of the `n_layer + 1` hidden states.

    The first is that of the embeddings alone, the last the model's own answer. Every state goes through `ln_f` and the
    head; the last has been through `ln_f` already. Raises as `next_tokens` does.
    """
    prompt, _ = _one_prompt(model, ids)
    output = model(prompt, output_hidden_states=True, logits_to_keep=1)
    assert output.hidden_states is not None
    early = [model.head(model.ln_f(state[:, -1]))[0] for state in output.hidden_states[:-1]]
    return [likeliest(model, logits, k) for logits in (*early, output.logits[0, -1])]


def likeliest(model: "GPT2", logits: Floats, k: int) -> list[Token]:
    """The `k` tokens with the highest logits, (vocab_size,), as `next_tokens` gives them; among equals the lower id."""
    require_finite(logits)
    chances = probabilities(logits)  # (vocab_size,)
    k = min(positive("k", k), len(chances))
    good = np.flatnonzero(chances >= np.partition(chances, -k)[-k])  # the best k, and those equal to the last of them
    best = good[np.argsort(-chances[good], kind="stable")[:k]]  # stable: the lower id first among equals
    return [(int(i), written(model.tokenizer, int(i)), float(chances[i])) for i in best]


def written(tokenizer: Tokenizer, token_id: int) -> str:
    """A token as GPT-2 writes it; nothing for a row of `wte` that the vocabulary has no token for."""
    try:
        return str(tokenizer.convert_ids_to_tokens(token_id))
    except ValueError:
        return ""


# ---- what callers pass


def _prompt(
    model: "GPT2", ids: str | ArrayLike, attention_mask: ArrayLike | None = None, padding: int | None = None
) -> tuple[Ids, Mask]:
    """Ids and mask, both of shape (texts, tokens); a prompt without tokens starts from the config's `bos_token_id`.

    Without a mask, every token counts but those of the id `padding`.
    """
    given = token_ids(model.tokenizer.encode(ids) if isinstance(ids, str) else ids, model.options.vocab_size)
    if not given.size:
        if (start := model.generation_config.bos_token_id) is None:
            raise ValueError("the prompt is empty, and the model has no bos_token_id to start from")
        given = np.full((*given.shape[:-1], 1), start)
        attention_mask = np.ones_like(given)
    prompt = batch_of_ids(given, model.options.vocab_size)
    if attention_mask is None and padding is not None:
        counts: Mask = prompt != padding
        _refuse_padding_at_the_end(counts, f"token id {padding}, the config's pad_token_id", ", or pass attention_mask")
        attention_mask = counts
    mask = attention_mask_of(attention_mask, None, prompt.shape)
    _refuse_padding_at_the_end(mask, "padding")
    return prompt, mask


def _refuse_padding_at_the_end(mask: Mask, padding: str, way_out: str = "") -> None:
    if not (counts := mask[:, -1]).all():
        text = f"text {int(np.argmin(counts))} of the batch ends in {padding}"
        raise ValueError(f'{text}, after which nothing can follow: pad on the left (padding_side="left"){way_out}')


def _one_prompt(model: "GPT2", ids: str | ArrayLike) -> tuple[Ids, Mask]:
    prompt, mask = _prompt(model, ids)
    if len(prompt) > 1:
        raise ValueError(f"give one text, not {len(prompt)}")
    return prompt, mask


def _padding_id(model: "GPT2", eos: Ids) -> int | None:
    """The config's padding id, which stands for a mask; None if it also ends a text, as in transformers."""
    padding = model.generation_config.pad_token_id
    return None if padding in eos.tolist() else padding
