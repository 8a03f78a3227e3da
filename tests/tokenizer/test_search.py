"""Finding many strings in a text: the automaton against a regular expression."""

import re

from hypothesis import given
from hypothesis import strategies as st

from minigpt2.pretokenize import SPACE, character_classes
from minigpt2.special_tokens.added import WHITESPACE
from minigpt2.special_tokens.search import Search

STRINGS = st.lists(st.text("ab-]^日", min_size=1, max_size=5), min_size=1, max_size=20, unique=True)


def expected(strings: list[str], text: str) -> list[tuple[int, int]]:
    longest_first = sorted(strings, key=len, reverse=True)
    return [match.span() for match in re.finditer("|".join(map(re.escape, longest_first)), text)]


@given(STRINGS, st.text("ab-]^日x", max_size=60))
def test_few_or_many_strings_are_found_as_by_a_regular_expression(strings: list[str], text: str) -> None:
    assert list(Search(strings).spans(text)) == expected(strings, text)
    many = [*strings, *(f"<{i}>" for i in range(20))]
    assert list(Search(many).spans(text)) == expected(many, text)


def test_strings_that_nearly_match_everywhere_take_linear_time() -> None:
    """A backtracking search would take 1,500 steps at each of the 300,000 characters."""
    strings = ["a" * count + "b" for count in range(1, 1501)]
    text = "a" * 300_000 + "b"
    assert list(Search(strings).spans(text)) == [(300_000 - 1500, 300_001)]


def test_whitespace_is_that_of_the_split() -> None:
    assert {ord(character) for character in WHITESPACE} == set((character_classes() == SPACE).nonzero()[0].tolist())
