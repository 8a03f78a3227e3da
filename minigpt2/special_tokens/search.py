"""Where a text has any of many strings: the leftmost first, of those that start together the longest, none overlapping.

A few strings are a regular expression. Many are an Aho-Corasick automaton, whose time grows with the text and not with
the strings. It reads the text backwards: so at each character it knows the longest string that starts there, and
choosing from left to right never has to read anything twice.

Source: Aho and Corasick, "Efficient string matching: an aid to bibliographic search" (1975).
"""

import re
from array import array
from collections import deque
from collections.abc import Collection, Iterable, Iterator

from minigpt2.vocabulary import ComputedOnce

# Up to here a regular expression, which tries all strings at each character, is quicker.
_FEW_STRINGS = 8
_FEW_CHARACTERS = 256


class Search:
    """Finds strings in a text.

    >>> list(Search(["<a>", "<a><b>", "b"]).spans("b <a><b> <a>b"))
    [(0, 1), (2, 8), (9, 12), (12, 13)]
    """

    def __init__(self, strings: Collection[str]) -> None:
        self.strings = tuple(strings)
        self._are_few = len(self.strings) <= _FEW_STRINGS and sum(map(len, self.strings)) <= _FEW_CHARACTERS

    def spans(self, text: str) -> Iterable[tuple[int, int]]:
        """Where the strings are: the first index of each, and the one after its last. An empty tuple if nowhere.

        They are found as they are asked for, or kept as plain numbers, because a text may have a million.
        """
        if not self._are_few:
            starts, ends = self._automaton.longest_at(text)
            return _leftmost(starts, ends) if starts else ()
        if any(string in text for string in self.strings):
            return (match.span() for match in self._pattern.finditer(text))
        return ()

    @ComputedOnce
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.strings, key=lambda string: (-len(string), string))
        return re.compile("|".join(map(re.escape, longest_first)))

    @ComputedOnce
    def _automaton(self) -> "_Automaton":
        return _Automaton(self.strings)


def _leftmost(starts: "array[int]", ends: "array[int]") -> Iterator[tuple[int, int]]:
    """From strings by their start, the last first: the leftmost that do not overlap."""
    position = 0
    for start, end in zip(reversed(starts), reversed(ends), strict=True):
        if start >= position:
            yield start, end
            position = end


class _Automaton:
    """A trie of the reversed strings, with a way back from each node to the longest suffix that is a node too.

    Nodes are numbers, 0 the root. `moves[node]` leads to its children by character, `back[node]` to that suffix,
    `longest[node]` is the length of the longest string that ends with the node, or 0.
    """

    def __init__(self, strings: Collection[str]) -> None:
        self.moves: list[dict[str, int]] = [{}]
        self.back = [0]
        self.longest = [0]
        for string in strings:
            self.longest[self._node_of(reversed(string))] = len(string)
        self._link()
        self.first = re.compile(f"[{''.join(map(re.escape, self.moves[0]))}]")

    def _node_of(self, characters: "reversed[str]") -> int:
        node = 0
        for character in characters:
            child = self.moves[node].get(character)
            if child is None:
                child = self.moves[node][character] = len(self.moves)
                self.moves.append({})
                self.back.append(0)
                self.longest.append(0)
            node = child
        return node

    def _link(self) -> None:
        """Set the way back from each node, shorter nodes first, because a way back leads to a shorter node."""
        waiting = deque(self.moves[0].values())
        while waiting:
            node = waiting.popleft()
            for character, child in self.moves[node].items():
                self.back[child] = self._next(self.back[node], character)
                self.longest[child] = self.longest[child] or self.longest[self.back[child]]
                waiting.append(child)

    def _next(self, node: int, character: str) -> int:
        while node and character not in self.moves[node]:
            node = self.back[node]
        return self.moves[node].get(character, 0)

    def longest_at(self, text: str) -> "tuple[array[int], array[int]]":
        """Every index at which a string starts, the last first, and the end of the longest string there."""
        backwards, size = text[::-1], len(text)
        moves, back, longest = self.moves, self.back, self.longest
        starts, ends = array("q"), array("q")
        read = 0  # how many characters of the text have been read, from its end
        while match := self.first.search(backwards, read):
            read = match.end()
            node = moves[0][match[0]]
            while True:
                if length := longest[node]:
                    starts.append(size - read)
                    ends.append(size - read + length)
                if read == size:
                    return starts, ends
                character = backwards[read]
                while node and character not in moves[node]:
                    node = back[node]
                if not (node := moves[node].get(character, 0)):
                    break
                read += 1
        return starts, ends
