"""Where pieces start: the split of `pretokenize`, decided for every character of a text at once.

The split pattern looks like a scan but is local. With the class of every character in an array,

- a pretoken starts where the class changes;
- but not after a space (U+0020), which belongs to what follows it;
- of a run of whitespace before something else, the last character stands apart: it starts a pretoken, which is its own
  unless it is a space;
- an apostrophe that starts a pretoken and is followed by s, t, m, d, re, ve or ll ends it after those letters.

A *piece* is a pretoken, or a part of one: merges only ever build the vocabulary's tokens, so where two bytes are
neighbours in no token, no merge can join them, and the pretoken is cut there.
"""

import numpy as np
from numpy.typing import NDArray

from minigpt2.pretokenize import SPACE, character_classes

Bytes = NDArray[np.uint8]
Characters = NDArray[np.uint8] | NDArray[np.uint32]

_CLASS_OF_ASCII = character_classes()[:128].tobytes() + bytes(128)
_BLANK, _APOSTROPHE, _E, _L, _R, _V = b" 'elrv"
_ONE_LETTER = np.isin(np.arange(128), list(b"stmd"))


def piece_starts(text: str, data: bytes, joinable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The bytes at which the pieces of a text start, ascending, the first 0, shape (pieces,).

    `data` is the text's UTF-8; `joinable`, shape (65536,), tells which two bytes, the first times 256 plus the
    second, are neighbours in some token.
    """
    if len(data) == len(text):
        starts = _pretoken_starts(
            np.frombuffer(data, np.uint8), np.frombuffer(data.translate(_CLASS_OF_ASCII), np.uint8)
        )
        return np.flatnonzero(starts)
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    starts = _pretoken_starts(characters, character_classes().take(characters))
    utf8 = np.frombuffer(data, np.uint8)
    byte_of_character = np.flatnonzero((utf8 & 0xC0) != 0x80)  # a character's first byte is no 10xxxxxx
    _cut_where_no_merge_joins(starts, characters, byte_of_character, utf8, joinable)
    return byte_of_character.take(np.flatnonzero(starts))


def _pretoken_starts(characters: Characters, classes: Bytes) -> NDArray[np.bool_]:
    """A mask of the characters that start a pretoken, shape (characters,)."""
    is_space = classes == SPACE
    starts = np.empty(len(characters), np.bool_)
    starts[0] = True
    np.not_equal(classes[1:], classes[:-1], out=starts[1:])
    starts[1:] &= characters[:-1] != _BLANK
    starts[:-1] |= is_space[:-1] & ~is_space[1:]
    _end_contractions(starts, characters)
    return starts


def _end_contractions(starts: NDArray[np.bool_], characters: Characters) -> None:
    """The fourth rule. What it adds starts at no apostrophe, so contractions do not depend on each other."""
    marks = np.flatnonzero(characters[:-1] == _APOSTROPHE)
    marks = marks[starts.take(marks)]
    first = characters.take(marks + 1)
    second = characters.take(np.minimum(marks + 2, len(starts) - 1))
    one = _ONE_LETTER.take(first, mode="clip")
    two = (second == _E) & ((first == _R) | (first == _V)) | (second == _L) & (first == _L)
    two &= marks + 2 < len(starts)
    starts[marks[one | two] + 1] = False
    ends = np.concatenate([marks[one] + 2, marks[two] + 3])
    starts[ends[ends < len(starts)]] = True


def _cut_where_no_merge_joins(
    starts: NDArray[np.bool_],
    characters: Characters,
    byte_of_character: NDArray[np.int64],
    utf8: Bytes,
    joinable: NDArray[np.bool_],
) -> None:
    """Start pieces at characters beyond ASCII whose first byte is in no token preceded by the byte before it."""
    beyond = np.flatnonzero((characters >= 0x80) & ~starts)
    place = byte_of_character.take(beyond)
    pairs = np.ndarray((len(utf8) - 1,), ">u2", utf8, strides=(1,))
    starts[beyond] = ~joinable.take(pairs.take(place - 1))
