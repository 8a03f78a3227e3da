"""Where pieces start: the split of `pretokenize`, decided for every character of a text at once.

The split pattern looks like a scan, but it is local. With the class of every character in an array,

1. a pretoken starts where the class changes,
2. but not after a space (U+0020), which belongs to what follows it;
3. the last whitespace character before something else starts a pretoken, which is that character alone, unless it is
   a space (rule 2);
4. an apostrophe that starts a pretoken, followed by s, t, m, d, re, ve or ll, ends its pretoken after those letters.

A *piece* is a pretoken, or a part of a long one, cut between two bytes that no merge joins.
"""

import numpy as np
from numpy.typing import NDArray

from minigpt2.pretokenize import SPACE, character_classes
from minigpt2.vectorized.arrays import Bytes, Indices, Mask, indices_where, lengths_between, ragged_ranges
from minigpt2.vectorized.keys import LONGEST

#: UTF-8 or code points.
Characters = Bytes | NDArray[np.uint32]

_ASCII = bytes(range(128))
_CLASS_OF_ASCII = character_classes()[:128].tobytes() + bytes(128)  # a table for `bytes.translate`
_BLANK, _APOSTROPHE, _E, _L, _R, _V = b" 'elrv"
_IS_SUFFIX = np.isin(np.arange(128), list(b"stmd"))  # of one letter


def split_into_pieces(text: str, data: bytes, joinable: Mask) -> tuple[Indices, Indices]:
    """The byte offsets at which the pieces of a text start, ascending, and their lengths in bytes: each (pieces,) intp.

    Args:
        text: the text, not empty.
        data: its UTF-8.
        joinable: (65536,) bool: whether some merge joins a token that ends with byte `a` to one that starts with byte
            `b`, at index `a << 8 | b`.

    >>> starts, lengths = split_into_pieces("I'm 36", b"I'm 36", np.ones(65536, np.bool_))
    >>> starts.tolist(), lengths.tolist()
    ([0, 1, 3], [1, 2, 3])
    """
    utf8 = np.frombuffer(data, np.uint8)
    beyond_ascii = len(data) - len(text)
    if not beyond_ascii:  # pretokens stay whole: in ASCII, few are long enough to cut
        starts = indices_where(_pretoken_starts(utf8, _ascii_classes(data)))
        return starts, lengths_between(starts, len(data))
    if beyond_ascii * 8 < len(text):
        return _cut_long(_starts_by_byte(data), None, utf8, joinable)
    return _cut_long(_starts_by_character(text), indices_where(_is_first_byte(utf8)), utf8, joinable)


def part_starts(utf8: Bytes, starts: Indices, joinable: Mask) -> Indices:  # (bytes,), (pieces,), (65536,) -> (parts,)
    """The byte offsets at which pieces start, and those within them at which a piece may be cut.

    >>> joinable = np.zeros(65536, np.bool_)
    >>> joinable[ord("a") << 8 | ord("b")] = True
    >>> part_starts(np.frombuffer(b"abab", np.uint8), np.array([0]), joinable).tolist()
    [0, 2]
    """
    is_start = np.ones(len(utf8), np.bool_)
    is_start[starts] = False
    within = indices_where(is_start)
    is_start[within] = _may_be_cut(utf8, within, joinable)
    is_start[starts] = True
    return indices_where(is_start)


def _is_first_byte(utf8: Bytes) -> Mask:  # (bytes,) -> (bytes,)
    """Which bytes are the first of a character: all but 10xxxxxx, which as signed numbers are the lowest."""
    return utf8.view(np.int8) >= -64


def _starts_by_character(text: str) -> Mask:  # -> (characters,)
    """Which characters of a text in any script start a pretoken."""
    characters = np.frombuffer(text.encode("utf-32-le"), "<u4")
    return _pretoken_starts(characters, character_classes().take(characters))


def _ascii_classes(data: bytes) -> Bytes:  # -> (bytes,)
    """The class of each byte that is an ASCII character; 0 for any other."""
    return np.frombuffer(bytearray(data.translate(_CLASS_OF_ASCII)), np.uint8)


def _starts_by_byte(data: bytes) -> Mask:  # -> (bytes,)
    """Which bytes start a pretoken, in a text that is almost all ASCII: each byte has the class of its character."""
    utf8, classes = np.frombuffer(data, np.uint8), _ascii_classes(data)
    first_bytes = indices_where(utf8 >= 0xC0)  # of the characters beyond ASCII, as are the next three arrays
    characters = np.frombuffer(data.translate(None, _ASCII).decode("utf-8").encode("utf-32-le"), "<u4")
    class_of = character_classes().take(characters)
    widths = 2 + (characters >= 0x800).astype(np.intp) + (characters >= 0x10000)
    for offset in range(4):
        wide = indices_where(widths > offset)
        classes[first_bytes.take(wide) + offset] = class_of.take(wide)
    starts = _pretoken_starts(utf8, classes)
    # Rule 3 marked the last byte of a whitespace character; its pretoken starts with the first.
    spaces = indices_where(class_of == SPACE)
    last_bytes = first_bytes.take(spaces) + widths.take(spaces) - 1
    apart = indices_where(starts.take(last_bytes))
    starts[last_bytes.take(apart)] = False
    starts[first_bytes.take(spaces.take(apart))] = True
    return starts


def _cut_long(
    is_start: Mask, first_bytes: Indices | None, utf8: Bytes, joinable: Mask
) -> tuple[Indices, Indices]:  # -> (pieces,), (pieces,)
    """Cut the pretokens that are too long for a key before each character that no merge joins to the one before it.

    `is_start` is over bytes, or over characters, whose first bytes are then at the offsets `first_bytes`.
    """
    starts, offsets, lengths = _offsets(is_start, first_bytes, len(utf8))
    long = indices_where(lengths > LONGEST)
    if not len(long):
        return offsets, lengths
    within = ragged_ranges(starts.take(long) + 1, lengths_between(starts, len(is_start)).take(long) - 1)
    is_start[within] = _may_be_cut(utf8, within if first_bytes is None else first_bytes.take(within), joinable)
    return _offsets(is_start, first_bytes, len(utf8))[1:]


def _offsets(is_start: Mask, first_bytes: Indices | None, end: int) -> tuple[Indices, Indices, Indices]:
    """The indices, byte offsets and byte lengths of what starts where a mask says so, each (starts,)."""
    starts = indices_where(is_start)
    offsets = starts if first_bytes is None else first_bytes.take(starts)
    return starts, offsets, lengths_between(offsets, end)


def _may_be_cut(utf8: Bytes, offsets: Indices, joinable: Mask) -> Mask:  # (bytes,), (n,), (65536,) -> (n,)
    """Whether a character starts at each byte offset that no merge joins to the byte before it.

    Never before an apostrophe: at the start of a text of its own it might begin a contraction.
    """
    first = utf8.take(offsets)
    pairs = utf8.take(offsets - 1).astype(np.intp)
    pairs <<= 8
    pairs |= first
    may: Mask = ~joinable.take(pairs)
    may &= _is_first_byte(first)
    may &= first != _APOSTROPHE
    return may


def _pretoken_starts(characters: Characters, classes: Bytes) -> Mask:  # (n,), (n,) -> (n,)
    """Which characters start a pretoken, by the four rules."""
    is_space = classes == SPACE
    starts = np.empty(len(characters), np.bool_)
    starts[0] = True
    np.not_equal(classes[1:], classes[:-1], out=starts[1:])
    starts[1:] &= characters[:-1] != _BLANK
    starts[:-1] |= is_space[:-1] & ~is_space[1:]
    _end_contractions(starts, characters)
    return starts


def _end_contractions(starts: Mask, characters: Characters) -> None:  # (n,), (n,)
    """Apply the fourth rule in place. The starts it adds are not at apostrophes, so contractions are independent."""
    marks = indices_where(characters[:-1] == _APOSTROPHE)
    marks = marks[starts.take(marks)]
    if not len(marks):
        return
    first = characters.take(marks + 1)
    second = characters.take(np.minimum(marks + 2, len(starts) - 1))
    one = _IS_SUFFIX.take(first, mode="clip")  # index 127, to which larger ones are clipped, is not a suffix
    two = (second == _E) & ((first == _R) | (first == _V)) | (second == _L) & (first == _L)
    two &= marks + 2 < len(starts)
    starts[marks[one | two] + 1] = False
    ends = np.concatenate([marks[one] + 2, marks[two] + 3])
    starts[ends[ends < len(starts)]] = True
