"""Counts of what was read: of all inputs, and of each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from minigpt2.corpus.encoding import Tally
from minigpt2.corpus.sources import Source


@dataclass(frozen=True)
class SourceCounts:
    """Counts of what was read of one input.

    Attributes:
        path: its path as it was given or found; `-` is standard input.
        bytes: of its documents, as they are in the decompressed source, or for fields their UTF-8.
        documents: how many.
        tokens: how many.
    """

    path: str
    bytes: int
    documents: int
    tokens: int


@dataclass(frozen=True)
class Counts:
    """Counts of what was read of all inputs, and of each.

    Attributes:
        tokens: how many; of `tokenize`, with the one after each document.
        documents: how many.
        bytes: of the documents, as in `SourceCounts`.
        sources: the inputs, in order.
    """

    tokens: int
    documents: int
    bytes: int
    sources: list[SourceCounts]


def counted(sources: Sequence[Source], tallies: Mapping[int, Tally]) -> Counts:
    """Counts of what was read of these sources, from what was read of each by its index."""
    return added([SourceCounts(source.name, **asdict(tallies.get(source.index, Tally()))) for source in sources])


def added(parts: list[SourceCounts]) -> Counts:
    """Counts over all inputs."""
    return Counts(
        tokens=sum(part.tokens for part in parts),
        documents=sum(part.documents for part in parts),
        bytes=sum(part.bytes for part in parts),
        sources=parts,
    )
