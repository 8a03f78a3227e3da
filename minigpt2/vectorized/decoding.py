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
        tokens = list(vocabulary.token_bytes.values())
        data = np.frombuffer(b"".join(tokens), np.uint8)
        self._tokens = Packed.pack(data, vocabulary.lengths, np.dtype(np.uint8))

    def decode(self, symbols: NDArray[np.integer]) -> bytes:  # (tokens,)
        """The bytes of tokens, one after the other, given as valid indices among the vocabulary's ascending ids."""
        parts = (symbols[start : start + _AT_ONCE] for start in range(0, len(symbols), _AT_ONCE))
        return b"".join(self._tokens.join(part).tobytes() for part in parts)
