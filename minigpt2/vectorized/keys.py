"""A piece of up to 23 bytes as a key: three little-endian words that hold its bytes and length, and their hash.

The length is the top byte of the third word. The keys of many pieces are one array, (pieces, 4) uint64: a row a piece,
so that moving a key touches memory once.
"""

import os

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import Bytes, Indices, Words, as_indices, as_words, indices_where

#: Shape (pieces, 4).
Keys = NDArray[np.uint64]

#: The length in bytes of the longest piece that has a key.
LONGEST = 23

_LENGTH_SHIFT = np.uint64(56)
_HIGH_BITS = np.uint64(0x8080808080808080)
_PADDING = bytes(24)
# For each of the three words and each length of a piece, a mask of the bytes that belong to the piece: (3, 24).
_BYTES_OF_WORD = np.clip(np.arange(LONGEST + 1) - np.array([[0], [8], [16]]), 0, 8)
_MASKS = np.array([[(1 << 8 * int(count)) - 1 for count in row] for row in _BYTES_OF_WORD], np.uint64)

#: Odd factors of the hash, drawn anew in each process: input cannot be made so that its keys collide.
_SALT = np.frombuffer(os.urandom(24), np.uint64) | np.uint64(1)


def words_at(data: bytes) -> Words:  # -> (bytes + 17,)
    """The eight bytes from each byte on, as one word; zeros follow the data.

    >>> [hex(word) for word in words_at(b"abc")[:3]]
    ['0x636261', '0x6362', '0x63']
    """
    padded = np.frombuffer(data + _PADDING, np.uint8)
    overlapping = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))
    return np.ascontiguousarray(overlapping, np.uint64)  # a copy: gathering unaligned words is slow


def keys_of(words: Words, starts: Indices, lengths: Indices) -> Keys:  # (bytes + 17,), (n,), (n,) -> (n, 4)
    """The keys of pieces, given `words_at` their text, their byte offsets and their lengths, which are at most 23.

    >>> keys = keys_of(words_at(b"I'm"), np.array([0, 1]), np.array([1, 2]))
    >>> [[hex(word) for word in key[:3]] for key in keys]
    [['0x49', '0x0', '0x100000000000000'], ['0x6d27', '0x0', '0x200000000000000']]
    """
    keys = np.empty((len(starts), 4), np.uint64)
    for column, masks in enumerate(_MASKS):
        keys[:, column] = words.take(starts + 8 * column) & masks.take(lengths)
    keys[:, 2] |= as_words(lengths) << _LENGTH_SHIFT
    keys[:, 3] = hashes_of(keys)
    return keys


def hashes_of(keys: Keys) -> Words:  # (n, 4) -> (n,)
    """The hashes of keys, from their first three words."""
    hashes: Words = keys[:, 0] * _SALT[0]
    hashes += keys[:, 1] * _SALT[1]
    hashes += keys[:, 2] * _SALT[2]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _SALT[0]
    return hashes


def lengths_of(keys: Keys) -> Indices:  # (n, 4) -> (n,)
    """The length of each piece in bytes."""
    return as_indices(keys[:, 2] >> _LENGTH_SHIFT)


def bytes_of(keys: Keys) -> tuple[Bytes, Indices]:  # (n, 4) -> (lengths.sum(),), (n,)
    """The bytes of the pieces, one piece after the other, and the length of each.

    >>> data, lengths = bytes_of(keys_of(words_at(b"I'm"), np.array([0, 1]), np.array([1, 2])))
    >>> data.tobytes(), lengths.tolist()
    (b"I'm", [1, 2])
    """
    lengths = lengths_of(keys)
    rows = keys.astype("<u8", copy=False).view(np.uint8)  # (n, 32)
    return rows[np.arange(rows.shape[1]) < lengths[:, None]], lengths


def beyond_ascii(keys: Keys) -> Indices:  # (n, 4) -> (found,)
    """The indices of the pieces with a character beyond ASCII. (A length has no high bit.)"""
    return indices_where((keys[:, 0] | keys[:, 1] | keys[:, 2]) & _HIGH_BITS)
