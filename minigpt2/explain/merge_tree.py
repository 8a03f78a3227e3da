"""The merges of a pretoken as trees of lines: its bytes at the top, its tokens at the bottom, ranks on the way."""

from collections.abc import Iterator
from dataclasses import dataclass

from minigpt2.explain.trace import Pretoken


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A symbol, bytes `[first, end)` of its pretoken: a byte, or the product of its parts, merged at `rank`.

    `level` is the number of merges between it and the farthest of its bytes.
    """

    first: int
    end: int
    level: int = 0
    rank: int | None = None
    parts: tuple["Node", ...] = ()

    def nodes(self) -> Iterator["Node"]:
        """This node and all that it was merged from."""
        yield self
        for part in self.parts:
            yield from part.nodes()


def trees(pretoken: Pretoken) -> list[Node]:
    """The tree of each token of a pretoken whose merges were recorded.

    >>> from minigpt2 import Tokenizer
    >>> from minigpt2.explain import explain
    >>> [(tree.first, tree.end, tree.level, tree.rank) for tree in trees(explain(Tokenizer(), "lifeless").pretokens[0])]
    [(0, 3, 2, 35939), (3, 8, 3, 5065)]
    """
    roots = [Node(index, index + 1) for index in range(len(pretoken.data))]
    for merge in pretoken.merges or ():
        left, right = parts = roots[merge.position], roots[merge.position + 1]
        level = 1 + max(left.level, right.level)
        roots[merge.position : merge.position + 2] = [Node(left.first, right.end, level, merge.rank, parts)]
    return roots


def draw(pretoken: Pretoken, width: int) -> list[str] | None:
    r"""The trees as lines of at most `width` columns, side by side if they fit; None if one of them does not.

    >>> from minigpt2 import Tokenizer
    >>> from minigpt2.explain import explain
    >>> print(*draw(explain(Tokenizer(), " life").pretokens[0], 80), sep="\n")
    Ġ    l    i    f    e
    20   6c   69   66   65
    └─44─┘    └105─┘    │
      │         └──645──┘
      └─────948─────┘
           Ġlife
           1204
    """
    numbers = [*pretoken.ids, *(merge.rank for merge in pretoken.merges or ())]
    pitch = 1 + max(3, *(len(str(number)) for number in numbers))
    groups: list[list[tuple[Node, int]]] = [[]]
    for tree, token_id in zip(trees(pretoken), pretoken.ids, strict=True):
        if (tree.end - tree.first) * pitch > width:
            return None
        if groups[-1] and (tree.end - groups[-1][0][0].first) * pitch > width:
            groups.append([])
        groups[-1].append((tree, token_id))
    return [line for group in groups for line in _draw_group(pretoken, group, pitch)]


def _draw_group(pretoken: Pretoken, group: list[tuple[Node, int]], pitch: int) -> Iterator[str]:
    """The lines of trees that stand side by side: bytes, a line for each level of merges, tokens, ids."""
    forest = _Forest([tree for tree, _ in group], pitch)
    leaves = range(group[0][0].first, group[-1][0].end)
    yield _line([(forest.column(index), pretoken.characters[index]) for index in leaves])
    yield _line([(forest.column(index), f"{pretoken.data[index]:02x}") for index in leaves])
    for level in range(1, 1 + max(tree.level for tree, _ in group)):
        yield _line([forest.bracket(node) for node in forest.merging(level)] + forest.waiting(level))
    yield _line([forest.below(tree, pretoken.characters[tree.first : tree.end]) for tree, _ in group])
    yield _line([forest.below(tree, str(token_id)) for tree, token_id in group])


@dataclass(frozen=True, slots=True)
class _Forest:
    """Trees side by side, and the columns that their nodes stand in: `pitch` from one byte to the next."""

    trees: list[Node]
    pitch: int

    def column(self, index: int) -> int:
        return (index - self.trees[0].first) * self.pitch

    def centre(self, node: Node) -> int:
        return sum(map(self.centre, node.parts)) // 2 if node.parts else self.column(node.first)

    def below(self, tree: Node, text: str) -> tuple[int, str]:
        return max(self.column(tree.first), self.centre(tree) - len(text) // 2), text

    def merging(self, level: int) -> list[Node]:
        return [node for tree in self.trees for node in tree.nodes() if node.level == level]

    def bracket(self, node: Node) -> tuple[int, str]:
        left, right = map(self.centre, node.parts)
        return left, f"└{str(node.rank).center(right - left - 1, '─')}┘"

    def waiting(self, level: int) -> list[tuple[int, str]]:
        """A line down for each node that exists at this level and is merged at a later one, or never."""
        parents = {part: node for tree in self.trees for node in tree.nodes() for part in node.parts}
        nodes = [node for tree in self.trees for node in tree.nodes() if node.level < level]
        return [(self.centre(node), "│") for node in nodes if node not in parents or parents[node].level > level]


def _line(pieces: list[tuple[int, str]]) -> str:
    """Pieces of text at their columns."""
    drawn = ""
    for column, piece in sorted(pieces):
        drawn = drawn.ljust(column) + piece
    return drawn
