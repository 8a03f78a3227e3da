"""The keys and values of tokens that the model has read, so that the next token need not compute them again."""

from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

LEAST_ROOM: Final = 64  # tokens that fit in before the arrays are made anew


class Cache:
    """Keys and values by layer, for one batch of texts: what a call returns as `past_key_values` and takes again.

    A call adds its tokens to the cache that it is given. The arrays have room for some tokens more, so that most tokens
    copy nothing. The cache also remembers which of its tokens are padding.

    >>> cache = Cache(n_layer=2, texts=1, heads=4, width=16)
    >>> len(cache)
    0
    """

    def __init__(self, n_layer: int, texts: int, heads: int, width: int) -> None:
        """`width` is how many numbers each head has."""
        self.shape = (n_layer, texts, heads, width)
        self.mask: Mask = np.ones((texts, 0), bool)  # (texts, tokens): False where a token is padding
        self._keys = [self._room(0) for _ in range(n_layer)]  # (texts, heads, room, width) each
        self._values = [self._room(0) for _ in range(n_layer)]

    def __len__(self) -> int:
        """How many tokens of each text are in the cache."""
        return int(self.mask.shape[1])

    def __repr__(self) -> str:
        n_layer, texts, _, _ = self.shape
        return f"<Cache of {len(self)} tokens of {texts} texts, {n_layer} layers>"

    def get_seq_length(self) -> int:
        """How many tokens of each text are in the cache: transformers' name for `len`."""
        return len(self)

    def crop(self, max_length: int) -> Self:
        """Forget all tokens after the first `max_length`; below zero, that many of the last. Returns the cache.

        Raises:
            ValueError: there are not so many tokens to forget.
        """
        length = max_length if max_length >= 0 else len(self) + max_length
        if length < 0:
            raise ValueError(f"the cache has {len(self)} tokens, so it cannot forget the last {-max_length}")
        self.mask = self.mask[:, :length]
        return self

    def extended(self, layer: int, keys: Float32, values: Float32) -> tuple[Float32, Float32]:
        """All keys and all values of a layer, those of new tokens at the end.

        Shapes are (texts, heads, tokens, width). The new tokens count only once `mask` says so, at the end of
        a call: one that is interrupted leaves the cache as it was.
        """
        past, end = len(self), len(self) + keys.shape[2]
        for stored, new in ((self._keys, keys), (self._values, values)):
            if end > stored[layer].shape[2]:
                larger = self._room(end + max(LEAST_ROOM, end // 4))
                larger[:, :, :past] = stored[layer][:, :, :past]
                stored[layer] = larger
            stored[layer][:, :, past:end] = new
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def _room(self, tokens: int) -> Float32:
        _, texts, heads, width = self.shape
        return np.empty((texts, heads, tokens, width), np.float32)
