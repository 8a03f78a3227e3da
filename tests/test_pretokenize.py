"""The split against OpenAI's pattern and Unicode 16.0."""

import numpy as np
import pytest
import regex
import unicodedata2
from hypothesis import given

from minigpt2.pretokenize import (
    LETTER,
    NUMBER,
    SPACE,
    SPLIT_PATTERN,
    character_classes,
    pretokenize,
    pretokenize_by_branch,
)
from tests.conftest import hurtful_texts

PUBLISHED = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def test_the_pattern_is_openais() -> None:
    assert SPLIT_PATTERN == PUBLISHED


@pytest.mark.parametrize(("kind", "prefix"), [(LETTER, "L"), (NUMBER, "N")])
def test_letters_and_numbers_are_unicode_16s(kind: int, prefix: str) -> None:
    assert unicodedata2.unidata_version == "16.0.0"
    expected = [unicodedata2.category(chr(code_point))[0] == prefix for code_point in range(0x110000)]
    assert np.array_equal(character_classes() == kind, expected)


def test_whitespace_is_the_unicode_property() -> None:
    found = np.flatnonzero(character_classes() == SPACE).tolist()
    assert found == [match.start() for match in regex.finditer(r"\s", "".join(map(chr, range(0x110000))))]
    assert len(found) == 25


@given(hurtful_texts())
def test_joined_pretokens_are_the_text(text: str) -> None:
    assert "".join(pretokenize(text)) == text


@given(hurtful_texts())
def test_the_split_is_that_of_the_published_pattern(text: str) -> None:
    """On text whose letters and numbers the installed `regex` classes as Unicode 16.0 does."""
    known = "".join(c for c in text if unicodedata2.category(c) != "Cn")
    assert pretokenize(known) == regex.findall(PUBLISHED, known)


@given(hurtful_texts())
def test_the_branches_tell_the_same_split(text: str) -> None:
    assert [pretoken for pretoken, _ in pretokenize_by_branch(text)] == pretokenize(text)


@pytest.mark.parametrize(
    ("pretoken", "branch"),
    [
        ("'ve", "contraction"),
        (" été", "letters"),
        (" ½", "numbers"),
        (" ?!", "others"),
        ("\n \n", "whitespace_run"),
    ],
)
def test_each_branch_is_named(pretoken: str, branch: str) -> None:
    assert pretokenize_by_branch(pretoken) == [(pretoken, branch)]


def test_the_last_of_several_whitespace_characters_stands_apart() -> None:
    assert pretokenize_by_branch("  \nx") == [("  ", "whitespace_run"), ("\n", "single_whitespace"), ("x", "letters")]


def test_a_letter_newer_than_unicode_16_is_not_a_letter() -> None:
    assert pretokenize("a\u0558's") == ["a", "\u0558'", "s"]
