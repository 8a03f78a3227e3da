"""The layers' part of a trace in the terminal: attention, what each layer would say next, the next tokens."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from minigpt2.explain.characters import cut, display_width, padded, visible
from minigpt2.explain.layers import Layers
from minigpt2.explain.trace import Trace
from minigpt2.explain.writing import shown_token

_NEXT: Final = 8


def require_head(layers: Layers, head: tuple[int, int]) -> None:
    """Raise a `ValueError` where the model has no such layer, or the layer no such head."""
    n_layer, n_head, *_ = layers.attentions.shape
    layer, index = head
    if layer >= n_layer or index >= n_head:
        last = f"{n_layer - 1}.{n_head - 1}"
        raise ValueError(f"there is no head {layer}.{index}: they are 0.0 to {last}, LAYER.HEAD")


def attention_lines(trace: Trace, layers: Layers, head: tuple[int, int], width: int) -> Iterator[str]:
    """How much of each token each token takes in, in percent: a line a token, as many of the last ones as fit."""
    layer, index = head
    length = layers.attentions.shape[-1]
    names = [visible(token.data) for token in trace.tokens[:length]]
    label = min(max(map(display_width, names)), width // 4)
    column = min(max(5, label + 1), 9)
    first = max(0, length - (width - label) // column)
    percentages = np.rint(100 * layers.attentions[layer, index]).astype(int)
    yield cut(f"attention of head {index} in layer h.{layer}, in percent", width)
    heading = "".join(padded(cut(name, column - 1), column, right=True) for name in names[first:])
    yield f"{'':{label}}{heading}"
    for query in range(first, length):
        cells = [f"{percentages[query, key]:>{column}}" for key in range(first, query + 1)]
        yield padded(cut(names[query], label), label) + "".join(cells)
    if first:
        yield cut(f"The first {first} tokens do not fit in this width.", width)


def lens_lines(layers: Layers, width: int) -> Iterator[str]:
    """The tokens that each layer would give after the last token, best first."""
    yield cut("what the model would say next if it ended after", width)
    for number, row in enumerate(layers.lens):
        name = "wte + wpe" if number == 0 else f"h.{number - 1}"
        guesses = "  ".join(f"{shown_token(guess.token)} {guess.probability:.0%}" for guess in row[-1])
        yield cut(f"{name:<9}  {guesses}", width)


def next_lines(layers: Layers, width: int) -> Iterator[str]:
    """The likeliest next tokens, with their logits and probabilities."""
    yield cut("the likeliest next tokens: probability, logit, token", width)
    for guess in layers.next_tokens[:_NEXT]:
        yield cut(f"{guess.probability:>6.1%}  {guess.logit:>7.2f}  {shown_token(guess.token)}", width)
