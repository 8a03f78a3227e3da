"""Special tokens: found in the text as they stand, before it is split, or else plain text like any other.

The two options mean what they mean in tiktoken, with the default answering as transformers does: every special token
written in the text becomes its id. Text from strangers wants `allowed_special=()`.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

Selection = Literal["all"] | Collection[str]


class Choice(NamedTuple):
    """The special tokens that become ids, and those that a text may not contain."""

    allowed: frozenset[str]
    refused: frozenset[str]

    def found_in(self, text: str) -> frozenset[str]:
        """The allowed tokens if the text contains any, else none.

        Raises:
            ValueError: the text contains a refused token.
        """
        if any(token in text for token in self.refused):
            found = next(finder(self.refused).finditer(text))
            raise ValueError(
                f"the text contains the special token {found[0]!r} at index {found.start()}, which disallowed_special"
                f" refuses: pass allowed_special={{{found[0]!r}}} to encode it as its id, or disallowed_special=() to"
                " encode it as plain text"
            )
        return self.allowed if any(token in text for token in self.allowed) else frozenset()


def choose(tokens: Mapping[str, int], allowed: Selection, disallowed: Selection) -> Choice:
    """What the two options say of the special tokens of a vocabulary.

    Raises:
        TypeError: an option is a string other than "all", or no collection.
        ValueError: an option names a token that is none.
    """
    chosen = _chosen(tokens, allowed, "allowed_special")
    refused = _chosen(tokens, disallowed, "disallowed_special")
    return Choice(chosen, refused - chosen if disallowed == "all" else refused)


def _chosen(tokens: Mapping[str, int], selection: Selection, option: str) -> frozenset[str]:
    if selection == "all":
        return frozenset(tokens)
    if isinstance(selection, str) or not isinstance(selection, Collection):
        raise TypeError(f"{option} is 'all' or a collection of special tokens, not {selection!r}")
    if unknown := [token for token in selection if token not in tokens]:
        raise ValueError(f"{option} names {unknown[0]!r}, but the special tokens are {list(tokens)}")
    return frozenset(selection)


@lru_cache(maxsize=64)
def finder(tokens: frozenset[str]) -> re.Pattern[str]:
    """A pattern that finds the leftmost special token, the longest where several start."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=lambda token: (-len(token), token)))))


def spans(text: str, tokens: frozenset[str]) -> Iterator[tuple[int, int, bool]]:
    """Yield where each piece of the text starts and ends, and whether it is a special token.

    >>> list(spans("one<|endoftext|>two", frozenset({"<|endoftext|>"})))
    [(0, 3, False), (3, 16, True), (16, 19, False)]
    """
    position = 0
    for match in finder(tokens).finditer(text) if tokens else ():
        start, end = match.span()
        if start > position:
            yield position, start, False
        yield start, end, True
        position = end
    if position < len(text):
        yield position, len(text), False


def split(text: str, tokens: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """Yield the text in pieces, each with whether it is a special token.

    >>> list(split("one<|endoftext|>two", frozenset({"<|endoftext|>"})))
    [('one', False), ('<|endoftext|>', True), ('two', False)]
    """
    return ((text[start:end], is_special) for start, end, is_special in spans(text, tokens))
