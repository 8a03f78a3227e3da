"""The losses of a text that is longer than the model has positions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from minigpt2.model import GPT2


def losses_in_windows(model: "GPT2", ids: NDArray[Any], stride: int | None = None) -> Iterator[NDArray[np.float32]]:
    """The loss of each token of a text but the first, in nats: ids (tokens,), losses in pieces of shape (n,).

    The model reads windows of `n_positions` tokens, each `stride` tokens after the one before (by default half a
    window), and gives the losses of those that no window before had. So each token but those of the first window is
    predicted from at least `n_positions` - `stride` tokens. A smaller stride takes longer, and the losses are lower.

    Raises:
        ValueError: the stride is below 1 or not below `n_positions`, or an id is outside the vocabulary.
    """
    window = model.options.n_positions
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= stride < window:  # so that the first new token of a window has one before it
        raise ValueError(
            f"the stride must be from 1 to {window - 1}, below the model's {window} positions, not {stride}"
        )
    done = 1  # the first token has nothing before it
    for start in range(0, len(ids), stride):
        end = min(start + window, len(ids))
        if end > done:
            yield model.token_losses(ids[start:end], last=end - done)[0]
            done = end
