"""A piece as a key: its bytes as three little-endian words, and its length in the top byte of the last.

Keys of many pieces are one array, shape (3, pieces): a column a piece.
"""

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Bytes, Places, Words

Keys = NDArray[np.uint64]

#: The bytes of the longest piece that has a key.
LONGEST = 23

_LENGTH = np.uint64(56)
_HIGH_BITS = np.uint64(0x8080808080808080)
_PADDING = bytes(24)
_BYTES_OF_WORD = np.clip(np.arange(LONGEST + 1) - np.array([[0], [8], [16]]), 0, 8)
_MASKS = np.array([[(1 << 8 * int(count)) - 1 for count in row] for row in _BYTES_OF_WORD], np.uint64)


def words_at(data: bytes) -> Words:
    """From each byte on, eight bytes as one word: a copy, for what is unaligned is slow to gather from."""
    padded = np.frombuffer(data + _PADDING, np.uint8)
    return np.ascontiguousarray(np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,)))


def keys_of(words: Words, starts: Places, lengths: Places) -> Keys:
    """The keys of pieces of up to 23 bytes, from the words at every byte of their text."""
    keys = np.empty((3, len(starts)), np.uint64)
    for place, (key, masks) in enumerate(zip(keys, _MASKS, strict=True)):
        np.bitwise_and(words.take(starts + 8 * place), masks.take(lengths), out=key)
    keys[2] |= lengths.view(np.uint64) << _LENGTH
    return keys


def lengths_of(keys: Keys) -> Places:
    """The bytes of each piece."""
    lengths: Words = keys[2] >> _LENGTH
    return lengths.view(np.int64)


def bytes_of(keys: Keys) -> tuple[Bytes, Places]:
    """The bytes of the pieces, one after the other, and their lengths."""
    lengths = lengths_of(keys)
    rows = np.ascontiguousarray(keys.T).astype("<u8").view(np.uint8)
    return rows[np.arange(rows.shape[1]) < lengths[:, None]], lengths


def beyond_ascii(keys: Keys) -> Places:
    """The indices of the pieces that are not ASCII alone."""
    return np.flatnonzero((keys[0] | keys[1] | keys[2]) & _HIGH_BITS)
