"""The work of a GPT-2's layers on a text: attention, what each layer would say next, and the next token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from minigpt2.generation import likeliest
from minigpt2.hub.errors import HubError
from minigpt2.model import GPT2
from minigpt2.tokenizer import Tokenizer
from minigpt2.weights.checkpoint import Checkpoint
from minigpt2.weights.safetensors_file import CheckpointError

#: Attention and the logit lens are kept for so many tokens at most. Later tokens do not change them.
MOST_TOKENS: Final = 48
#: How many guesses of each layer are kept, and how many of the last.
GUESSES: Final = 5
NEXT_TOKENS: Final = 20
#: The temperatures for which the page has probabilities: 0.1 to 2.0.
TEMPERATURES: Final = tuple(step / 10 for step in range(1, 21))


@dataclass(frozen=True, slots=True)
class Guess:
    """A token that could come next: its id, how GPT-2 writes it, its logit and its probability."""

    id: int
    token: str
    logit: float
    probability: float


@dataclass(frozen=True, eq=False, slots=True)
class Layers:
    """The work of a GPT-2's layers on a text of T tokens.

    Attributes:
        attentions: how much of each token (last axis) each token (third axis) takes in, by layer and head, shape
            (n_layer, n_head, T, T) float32; T is at most `MOST_TOKENS`. Rows add up to 1, and no token sees later ones.
        lens: the likeliest next tokens after each of the same T tokens if the model ended early, by layer: first those
            of the embeddings alone, then those after each layer. The last are the model's own.
        next_tokens: the likeliest tokens after the whole text, best first.
        log_sums: log of the sum of exp(logit / t) over the whole vocabulary, for each temperature t. With it the
            probability of a token at that temperature is exp(logit / t - log_sum).
        tokens_read: how many tokens the model read; it has a limit, `n_positions`.
    """

    attentions: NDArray[np.float32]
    lens: tuple[tuple[tuple[Guess, ...], ...], ...]
    next_tokens: tuple[Guess, ...]
    log_sums: dict[float, float]
    tokens_read: int


class LayerReader:
    """Runs texts through the model in a checkpoint, if it has layers and they are on this machine.

    Attributes:
        fault: why layers that are there cannot be used; empty if they can be, or if there are none.
    """

    def __init__(self, tokenizer: Tokenizer, weights: Checkpoint) -> None:
        self._model: GPT2 | None = None
        self.fault = ""
        if not weights.is_remote and any(name.startswith("h.") for name in weights.bare_names):
            try:
                self._model = GPT2(weights, tokenizer)
            except (CheckpointError, HubError) as error:
                self.fault = str(error)

    def read(self, ids: Sequence[int]) -> Layers | None:
        """The layers' work on these tokens; None without layers, or without tokens."""
        if self._model is None or not ids:
            return None
        model, ids = self._model, list(ids[: self._model.options.n_positions])
        beginning = ids[:MOST_TOKENS]
        output = model(beginning, output_attentions=True, output_hidden_states=True)
        assert output.attentions is not None
        assert output.hidden_states is not None
        early = [model.head(model.ln_f(state[0])) for state in output.hidden_states[:-1]]  # each (T, vocab_size)
        # Layers only look back, so the beginning alone gives the same as the beginning of the whole.
        logits = output.logits[0] if len(beginning) == len(ids) else model(ids, logits_to_keep=1).logits[0]
        return Layers(
            attentions=np.stack([pattern[0] for pattern in output.attentions]),
            lens=tuple(tuple(_best(model, row, GUESSES) for row in rows) for rows in (*early, output.logits[0])),
            next_tokens=_best(model, logits[-1], NEXT_TOKENS),
            log_sums={temperature: log_sum_exp(logits[-1] / temperature) for temperature in TEMPERATURES},
            tokens_read=len(ids),
        )


def _best(model: GPT2, logits: NDArray[np.float32], count: int) -> tuple[Guess, ...]:
    """The guesses with the highest of the logits (vocab_size,)."""
    return tuple(Guess(i, token, float(logits[i]), chance) for i, token, chance in likeliest(model, logits, count))


def log_sum_exp(values: NDArray[Any]) -> float:
    """The log of the sum of exp(values), computed so that no exp overflows.

    >>> round(log_sum_exp(np.array([1000.0, 1000.0])), 4)  # 1000 + log 2
    1000.6931
    """
    values = values.astype(np.float64)
    largest = values.max()
    with np.errstate(under="ignore"):
        return float(largest + np.log(np.exp(values - largest).sum()))
