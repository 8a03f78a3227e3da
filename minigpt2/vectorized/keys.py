"""A piece as a key: its bytes as three little-endian words, its length in the top byte of the last, and their hash.

Keys of many pieces are one array, shape (pieces, 4): a row a piece, so that whoever gathers or moves keys touches one
place for each.
"""

import os

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

#: Odd numbers that the hash multiplies by, other ones in every process: nobody can know which keys collide.
_SALT = np.frombuffer(os.urandom(24), np.uint64) | np.uint64(1)


def words_at(data: bytes) -> Words:
    """From each byte on, eight bytes as one word: a copy, for what is unaligned is slow to gather from."""
    padded = np.frombuffer(data + _PADDING, np.uint8)
    return np.ascontiguousarray(np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,)))


def keys_of(words: Words, starts: Places, lengths: Places) -> Keys:
    """The keys of pieces of up to 23 bytes, from the words at every byte of their text."""
    keys = np.empty((len(starts), 4), np.uint64)
    for place, masks in enumerate(_MASKS):
        keys[:, place] = words.take(starts + 8 * place) & masks.take(lengths)
    keys[:, 2] |= lengths.view(np.uint64) << _LENGTH
    keys[:, 3] = hashes_of(keys)
    return keys


def hashes_of(keys: Keys) -> Words:
    """The hashes of keys, from their other words."""
    hashes: Words = keys[:, 0] * _SALT[0]
    hashes += keys[:, 1] * _SALT[1]
    hashes += keys[:, 2] * _SALT[2]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _SALT[0]
    return hashes


def lengths_of(keys: Keys) -> Places:
    """The bytes of each piece."""
    lengths: Words = keys[:, 2] >> _LENGTH
    return lengths.view(np.int64)


def bytes_of(keys: Keys) -> tuple[Bytes, Places]:
    """The bytes of the pieces, one after the other, and their lengths."""
    lengths = lengths_of(keys)
    rows = keys.astype("<u8", copy=False).view(np.uint8)  # shape (pieces, 32)
    return rows[np.arange(rows.shape[1]) < lengths[:, None]], lengths


def beyond_ascii(keys: Keys) -> Places:
    """The indices of the pieces that are not ASCII alone."""
    return np.flatnonzero((keys[:, 0] | keys[:, 1] | keys[:, 2]) & _HIGH_BITS)
