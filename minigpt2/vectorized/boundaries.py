"""Where pieces start: the split of `pretokenize`, decided for every character of a text at once.

The split pattern looks like a scan but is local. With the class of every character in an array,

- a pretoken starts where the class changes;
- but not after a space (U+0020), which belongs to what follows it;
- of a run of whitespace before something else, the last character stands apart: it starts a pretoken, which is its own
  unless it is a space;
- an apostrophe that starts a pretoken and is followed by s, t, m, d, re, ve or ll ends it after those letters.

A *piece* is a pretoken, or a part of a long one: it may be cut between two bytes where no merge of the vocabulary joins
a token that ends with the first to one that starts with the second.
"""

import numpy as np
from numpy.typing import NDArray

from minigpt2.pretokenize import SPACE, character_classes
from minigpt2.vectorized.arrays import Bytes, Places
from minigpt2.vectorized.keys import LONGEST
from minigpt2.vectorized.merging import ragged_ranges

Characters = Bytes | NDArray[np.uint32]

_ASCII = bytes(range(128))
_CLASS_OF_ASCII = character_classes()[:128].tobytes() + bytes(128)
_BLANK, _APOSTROPHE, _E, _L, _R, _V = b" 'elrv"
_ONE_LETTER = np.isin(np.arange(128), list(b"stmd"))


def pieces(text: str, data: bytes, joinable: NDArray[np.bool_]) -> tuple[Places, Places]:
    """The bytes at which the pieces of a text start, ascending, the first 0, and their lengths, each shape (pieces,).

    `data` is the text's UTF-8; `joinable`, shape (65536,), tells of each byte, times 256, and the next whether
    some merge joins two tokens between them.
    """
    utf8 = np.frombuffer(data, np.uint8)
    beyond_ascii = len(data) - len(text)
    if not beyond_ascii:
        places = np.flatnonzero(_pretoken_starts(utf8, _ascii_classes(data)))
        return places, _lengths(places, len(data))
    if beyond_ascii * 8 < len(text):
        return _cut_long(_starts_by_byte(data), None, utf8, joinable)
    return _cut_long(_starts_by_character(text), np.flatnonzero(_is_first_byte(utf8)), utf8, joinable)


def part_starts(utf8: Bytes, starts: Places, joinable: NDArray[np.bool_]) -> Places:
    """The bytes at which pieces start, and those within them at which they may be cut."""
    is_start = np.ones(len(utf8), np.bool_)
    is_start[starts] = False
    within = np.flatnonzero(is_start)
    is_start[within] = _may_be_cut(utf8, within, joinable)
    is_start[starts] = True
    return np.flatnonzero(is_start)


def _is_first_byte(utf8: Bytes) -> NDArray[np.bool_]:
    """Which bytes are a character's first: no 10xxxxxx, as signed numbers the lowest."""
    return utf8.view(np.int8) >= -64


def _starts_by_character(text: str) -> NDArray[np.bool_]:
    """For text in any script: which of its characters start a pretoken."""
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return _pretoken_starts(characters, character_classes().take(characters))


def _ascii_classes(data: bytes) -> Bytes:
    """The class of each byte that is an ASCII character; 0 of any other."""
    return np.frombuffer(bytearray(data.translate(_CLASS_OF_ASCII)), np.uint8)


def _starts_by_byte(data: bytes) -> NDArray[np.bool_]:
    """For text that is ASCII but for a few characters: which bytes do, each being of the class of its character."""
    utf8, classes = np.frombuffer(data, np.uint8), _ascii_classes(data)
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
    return starts


def _cut_long(
    starts: NDArray[np.bool_], first_bytes: Places | None, utf8: Bytes, joinable: NDArray[np.bool_]
) -> tuple[Places, Places]:
    """Cut the pretokens that are too long for a key at the characters that no merge joins to the one before.

    `starts` is a mask of the bytes that start a pretoken, or of characters, whose first bytes are given then.
    """
    elements = np.flatnonzero(starts)
    places = elements if first_bytes is None else first_bytes.take(elements)
    lengths = _lengths(places, len(utf8))
    long = np.flatnonzero(lengths > LONGEST)
    if not len(long):
        return places, lengths
    within = ragged_ranges(elements.take(long) + 1, _lengths(elements, len(starts)).take(long) - 1)
    starts[within] = _may_be_cut(utf8, within if first_bytes is None else first_bytes.take(within), joinable)
    elements = np.flatnonzero(starts)
    places = elements if first_bytes is None else first_bytes.take(elements)
    return places, _lengths(places, len(utf8))


def _lengths(places: Places, end: int) -> Places:
    """How many from each place to the next, or to the end."""
    lengths = np.empty_like(places)
    np.subtract(places[1:], places[:-1], out=lengths[:-1])
    lengths[-1:] = end - places[-1:]
    return lengths


def _may_be_cut(utf8: Bytes, places: Places, joinable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a character starts at each place that no merge joins to the byte before it.

    Not an apostrophe, though: a text that began with it would begin with a contraction, perhaps.
    """
    first = utf8.take(places)
    pairs = utf8.take(places - 1).astype(np.int64)
    pairs <<= 8
    pairs |= first
    may: NDArray[np.bool_] = ~joinable.take(pairs)
    may &= _is_first_byte(first)
    may &= first != _APOSTROPHE
    return may


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
    if not len(marks):
        return
    first = characters.take(marks + 1)
    second = characters.take(np.minimum(marks + 2, len(starts) - 1))
    one = _ONE_LETTER.take(first, mode="clip")
    two = (second == _E) & ((first == _R) | (first == _V)) | (second == _L) & (first == _L)
    two &= marks + 2 < len(starts)
    starts[marks[one | two] + 1] = False
    ends = np.concatenate([marks[one] + 2, marks[two] + 3])
    starts[ends[ends < len(starts)]] = True
