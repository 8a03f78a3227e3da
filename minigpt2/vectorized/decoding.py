"""Token ids to bytes: the bytes of all tokens, packed, joined in the order of the ids."""

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.packed import Packed
from minigpt2.vocabulary import Vocabulary

#: Ids that are joined at once: so many that what they need stays in a processor's cache.
_AT_ONCE = 1 << 16


class Decoder:
    """A vocabulary's tokens as bytes, by their place among its ascending ids."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        tokens = list(vocabulary.token_bytes.values())
        data = np.frombuffer(b"".join(tokens), np.uint8)
        self._tokens = Packed.pack(data, vocabulary.lengths, np.dtype(np.uint8))

    def decode(self, places: NDArray[np.integer]) -> bytes:
        """The bytes of tokens, one after the other; every place must be one."""
        parts = (places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE))
        return b"".join(self._tokens.join(part).tobytes() for part in parts)
