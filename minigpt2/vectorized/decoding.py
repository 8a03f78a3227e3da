"""Token ids to bytes: the bytes of all tokens, packed, joined in the order of the ids."""

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.packed import Packed
from minigpt2.vocabulary import Vocabulary

#: How many tokens are joined at once: few enough that the arrays stay in a processor's cache.
_AT_ONCE = 1 << 16


class Decoder:
    """The bytes of a vocabulary's tokens.

    >>> from minigpt2.vocabulary import gpt2
    >>> Decoder(gpt2()).decode(np.array([464, 3616]))
    b'The meaning'
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        # Packed runs cannot be empty: a byte stands for an empty token, which is left out before tokens are joined.
        data = np.frombuffer(b"".join(token or b"?" for token in vocabulary.token_bytes.values()), np.uint8)
        self._tokens = Packed.pack(data, np.maximum(vocabulary.lengths, 1), np.dtype(np.uint8))
        self._has_bytes = vocabulary.lengths > 0  # (tokens,) bool

    def decode(self, symbols: NDArray[np.integer]) -> bytes:  # (tokens,)
        """The bytes of tokens, one after the other, given as valid indices among the vocabulary's ascending ids."""
        if not self._has_bytes.all():
            symbols = symbols[self._has_bytes.take(symbols)]
        parts = (symbols[start : start + _AT_ONCE] for start in range(0, len(symbols), _AT_ONCE))
        return b"".join(self._tokens.join(part).tobytes() for part in parts)
