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
Places = NDArray[np.int64]

_ASCII = bytes(range(128))
_CLASS_OF_ASCII = character_classes()[:128].tobytes() + bytes(128)
_BLANK, _APOSTROPHE, _E, _L, _R, _V = b" 'elrv"
_ONE_LETTER = np.isin(np.arange(128), list(b"stmd"))


def piece_starts(text: str, data: bytes, joinable: NDArray[np.bool_]) -> Places:
    """The bytes at which the pieces of a text start, ascending, the first 0, shape (pieces,).

    `data` is the text's UTF-8; `joinable`, shape (65536,), tells which two bytes, the first times 256 plus the
    second, are neighbours in some token.
    """
    beyond_ascii = len(data) - len(text)
    if beyond_ascii * 8 < len(text):
        return _starts_by_byte(data, joinable, bool(beyond_ascii))
    return _starts_by_character(text, data, joinable)


def _starts_by_character(text: str, data: bytes, joinable: NDArray[np.bool_]) -> Places:
    """For text in any script: decide for characters, then find the byte where each starts."""
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    starts = _pretoken_starts(characters, character_classes().take(characters))
    utf8 = np.frombuffer(data, np.uint8)
    byte_of_character = np.flatnonzero((utf8 & 0xC0) != 0x80)  # a character's first byte is no 10xxxxxx
    beyond = np.flatnonzero((characters >= 0x80) & ~starts)
    starts[beyond] = _no_merge_joins(utf8, byte_of_character.take(beyond), joinable)
    return byte_of_character.take(np.flatnonzero(starts))


def _starts_by_byte(data: bytes, joinable: NDArray[np.bool_], is_mixed: bool) -> Places:
    """For text that is ASCII but for a few characters: decide for bytes, each of the class of its character."""
    utf8 = np.frombuffer(data, np.uint8)
    classes = np.frombuffer(bytearray(data.translate(_CLASS_OF_ASCII)), np.uint8)
    if not is_mixed:
        return np.flatnonzero(_pretoken_starts(utf8, classes))
    leads = np.flatnonzero(utf8 >= 0xC0)
    others = np.frombuffer(data.translate(None, _ASCII).decode("utf-8").encode("utf-32-le"), np.uint32)
    classes_of_others = character_classes().take(others)
    lengths = 2 + (others >= 0x800).astype(np.int64) + (others >= 0x10000)
    for place in range(4):
        longer = np.flatnonzero(lengths > place)
        classes[leads.take(longer) + place] = classes_of_others.take(longer)
    starts = _pretoken_starts(utf8, classes)
    # A whitespace character that stands apart starts with its first byte, not its last.
    wide = np.flatnonzero(classes_of_others == SPACE)
    last = leads.take(wide) + lengths.take(wide) - 1
    apart = np.flatnonzero(starts.take(last))
    starts[last.take(apart)] = False
    starts[leads.take(wide.take(apart))] = True
    within = leads[~starts.take(leads)]
    starts[within] = _no_merge_joins(utf8, within, joinable)
    return np.flatnonzero(starts)


def _no_merge_joins(utf8: Bytes, places: Places, joinable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the byte at each place is in no token preceded by the byte before it."""
    pairs = np.ndarray((len(utf8) - 1,), ">u2", utf8, strides=(1,))
    return ~joinable.take(pairs.take(places - 1))


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
