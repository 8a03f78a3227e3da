"""The 256 bytes as 256 characters."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2.byte_alphabet import ALPHABET_ORDER, to_bytes, to_characters

EVERY_BYTE = bytes(range(256))


def test_every_byte_has_a_character_of_its_own() -> None:
    assert len(set(to_characters(EVERY_BYTE))) == 256


def test_every_character_of_the_alphabet_is_visible() -> None:
    categories = {unicodedata.category(character)[0] for character in to_characters(EVERY_BYTE)}
    assert not categories & {"Z", "C"}


def test_the_space_is_the_33rd_of_the_68_bytes_that_move_up_and_so_is_u0120() -> None:
    moved = [byte for byte in EVERY_BYTE if to_characters(bytes([byte])) != chr(byte)]
    assert (len(moved), moved.index(0x20) + 1) == (68, 33)
    assert to_characters(b" ") == chr(0x100 + 0x20)


def test_the_order_is_that_of_gpt2s_first_256_tokens() -> None:
    assert ALPHABET_ORDER[:5] == b'!"#$%'
    assert sorted(ALPHABET_ORDER) == list(EVERY_BYTE)


@given(st.binary())
def test_characters_read_back_as_the_bytes_they_were_written_from(data: bytes) -> None:
    assert to_bytes(to_characters(data)) == data


def test_a_character_that_stands_for_no_byte_is_named() -> None:
    with pytest.raises(ValueError, match=r"'a b'.*' ' stands for no byte"):
        to_bytes("a b")
