"""The added tokens of a tokenizer, their flags, and the parts that they cut a text into.

Tokens that are not `normalized` are found first, over the whole text; then the others, in what is left between them.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

from minigpt2 import data
from minigpt2.special_tokens.search import Search
from minigpt2.vocabulary import ComputedOnce

Selection = Literal["all"] | Collection[str]

#: Unicode's 25 whitespace characters, which `lstrip` and `rstrip` strip.
WHITESPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WHITESPACE += "\u2028\u2029\u202f\u205f\u3000"
_SPACES = re.compile(f"[{WHITESPACE}]*")


@dataclass(frozen=True)
class AddedToken:
    """A token found as it stands; the flags have the names, the order and the defaults of `tokenizers.AddedToken`.

    Attributes:
        content: the token as it is written in a text.
        single_word: whether it counts only where no word character stands beside it.
        lstrip: whether it takes the whitespace before it along.
        rstrip: whether it takes the whitespace after it along.
        normalized: whether it is looked for after the others, in what they left; None means: if it is not special.
        special: whether it stands for no text, so that `skip_special_tokens` leaves it out.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = False

    @property
    def is_second(self) -> bool:
        """Whether it is looked for after the others, in what they left."""
        return not self.special if self.normalized is None else self.normalized


class Part(NamedTuple):
    """A part of a text from one index to another: an added token, by its content, or ordinary text (None)."""

    start: int
    end: int
    token: str | None


@dataclass(frozen=True, eq=False)
class AddedTokens:
    """The added tokens of a tokenizer. Immutable: `and_also` gives another with more tokens.

    Attributes:
        tokens: each token by its content, with the flags that it was given last.
        ids: the token id of each.
        special: the contents that stand for no text, which flags given later do not change.

    >>> added = AddedTokens().and_also([AddedToken("<a>", rstrip=True)], {}.get, 50257)
    >>> list(added.parts("x<a>  y")), added.ids
    ([Part(start=0, end=1, token=None), Part(start=1, end=6, token='<a>'), Part(start=6, end=7, token=None)], \
{'<a>': 50257})
    """

    tokens: Mapping[str, AddedToken] = field(default_factory=dict)
    ids: Mapping[str, int] = field(default_factory=dict)
    special: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def and_also(
        self, more: Iterable[AddedToken], id_of: Callable[[str], int | None], vocabulary_size: int
    ) -> "AddedTokens":
        """These tokens and more, by the rules of `tokenizers`: flags given later replace earlier ones.

        A token that the vocabulary has (`id_of` gives its id) keeps its id; another gets the next one after the
        vocabulary and the tokens added so far.
        """
        new = self.not_yet(more)
        tokens, ids = dict(self.tokens), dict(self.ids)
        special = dict.fromkeys([*self.special, *(token.content for token in new if token.special)])
        next_id = max([vocabulary_size - 1, *ids.values()]) + 1
        for token in new:
            tokens[token.content] = token
            if token.content not in ids:
                known = id_of(token.content)
                ids[token.content] = next_id if known is None else known
                next_id += known is None
        return AddedTokens(tokens, ids, tuple(special))

    def not_yet(self, tokens: Iterable[AddedToken]) -> list[AddedToken]:
        """The tokens that, added one after the other, are new or change the flags of the token that is there."""
        new, known = [], dict(self.tokens)
        for token in (replace(each, normalized=each.is_second) for each in tokens if each.content):
            if known.get(token.content) != token:
                known[token.content] = token
                new.append(token)
        return new

    def parts(self, text: str, allowed: Selection = "all", disallowed: Selection = ()) -> Iterable[Part]:
        """The parts of a text, in order, found as they are asked for; an empty tuple where it has no added token.

        Only tokens in `allowed` are looked for; one in `disallowed` is refused ("all": each that is not allowed).

        Raises:
            TypeError: an option is a string other than "all", or no collection.
            ValueError: an option names a token that is not an added one, or the text has a disallowed token.
        """
        tokens = self
        if allowed != "all":
            tokens = _only(self, frozenset(self._chosen(allowed, "allowed_special")))
        if disallowed != ():
            self._refuse(text, tokens, disallowed)
        return tokens._parts(text)

    def _parts(self, text: str) -> Iterable[Part]:
        for index, search in enumerate(self._searches):
            if spans := search.spans(text):
                parts = self._flagged(text, 0, spans)
                for later in self._searches[index + 1 :]:
                    parts = self._cut(text, parts, later)
                return parts
        return ()

    @ComputedOnce
    def _searches(self) -> tuple[Search, ...]:
        """The tokens looked for in the whole text, and those looked for in the rest."""
        passes = ([token for token in self.ids if self.tokens[token].is_second is second] for second in (False, True))
        return tuple(Search(contents) for contents in passes if contents)

    def _cut(self, text: str, parts: Iterable[Part], search: Search) -> Iterator[Part]:
        for part in parts:
            if part.token is None:
                piece = text[part.start : part.end]
                yield from self._flagged(piece, part.start, search.spans(piece))
            else:
                yield part

    def _flagged(self, piece: str, offset: int, spans: Iterable[tuple[int, int]]) -> Iterator[Part]:
        """The parts of a piece that starts at `offset` in its text: what the flags make of the tokens found.

        The order of the steps is that of `tokenizers`, so that tokens which are whitespace overlap as they do there.
        """
        position = 0
        for found_start, found_end in spans:
            token = self.tokens[piece[found_start:found_end]]
            if token.single_word and not _stands_alone(piece, found_start, found_end):
                continue
            start = max(position, _spaces_before(piece, found_start, position)) if token.lstrip else found_start
            end = _spaces_after(piece, found_end) if token.rstrip else found_end
            if position < start:
                yield Part(offset + position, offset + start, None)
            if start < end:  # not so where the token before took all of it along
                yield Part(offset + start, offset + end, token.content)
            position = end
        if position < len(piece):
            yield Part(offset + position, offset + len(piece), None)

    def _chosen(self, selection: Selection, option: str) -> Collection[str]:
        if isinstance(selection, str) or not isinstance(selection, Collection):
            if selection == "all":
                return self.ids.keys()
            raise TypeError(f"{option} is 'all' or a collection of special tokens, not {selection!r}")
        for token in selection:
            if token not in self.ids:
                raise ValueError(f"{option} names {token!r}, but the special tokens are {list(self.ids)}")
        return selection

    def _refuse(self, text: str, allowed: "AddedTokens", disallowed: Selection) -> None:
        refused = self._chosen(disallowed, "disallowed_special")
        if disallowed == "all":
            refused = [token for token in refused if token not in allowed.ids]
        if spans := _search(frozenset(refused)).spans(text):
            start, end = next(iter(spans))
            token = text[start:end]
            raise ValueError(
                f"the text contains the special token {token!r} at index {start}, which disallowed_special refuses:"
                f" pass allowed_special={{{token!r}}} to encode it as its id, or disallowed_special=() to encode it"
                " as plain text"
            )


@lru_cache(maxsize=16)
def _only(added: AddedTokens, contents: frozenset[str]) -> AddedTokens:
    return AddedTokens(added.tokens, {token: token_id for token, token_id in added.ids.items() if token in contents})


@lru_cache(maxsize=16)
def _search(contents: frozenset[str]) -> Search:
    return Search(sorted(contents))


def _spaces_before(text: str, start: int, lowest: int) -> int:
    while start > lowest and text[start - 1] in WHITESPACE:
        start -= 1
    return start


def _spaces_after(text: str, end: int) -> int:
    match = _SPACES.match(text, end)
    return match.end() if match else end


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not (start > 0 and _is_word(text[start - 1])) and not (end < len(text) and _is_word(text[end]))


def _is_word(character: str) -> bool:
    return bisect_right(_word_bounds(), ord(character)) % 2 == 1


@cache
def _word_bounds() -> list[int]:
    """The code points at which word characters begin and end, in turn.

    Source: the Unicode Character Database 16.0, Alphabetic, categories M, Nd and Pc, and Join_Control: `\\w` in the
    regular expressions of `tokenizers`.
    """
    bounds = []
    for line in data.read("word_characters.txt").decode("ascii").splitlines():
        first, last = line.split()
        bounds += [int(first, 16), int(last, 16) + 1]
    return bounds
