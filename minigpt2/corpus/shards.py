"""One shard of a corpus: the documents of 1/N of its bytes; the shards, one after the other, are the whole."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minigpt2.corpus.documents import Reader
from minigpt2.corpus.opening import opened
from minigpt2.corpus.sources import Source


@dataclass(frozen=True, order=True)
class Shard:
    """Shard `number`, from 1, of `count`."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


WHOLE = Shard(1, 1)
_AROUND = 1 << 16  # bytes before and after a cut


class Share(NamedTuple):
    """The part of a source, from `start` to `stop`, that a shard has; to its end, where `stop` is None."""

    source: Source
    start: int = 0
    stop: int | None = None

    @property
    def size(self) -> int:
        """How many stored bytes that are."""
        return (self.source.size if self.stop is None else self.stop) - self.start


def shares(sources: Sequence[Source], reader: Reader, shard: Shard) -> Iterator[Share]:
    """A shard's part of the sources.

    All sources, one after the other, are a line of bytes, of which each shard has the same length. It has the documents
    that start there; a source that only can be read whole, it has if its middle is there.

    Raises:
        OSError: a source cannot be read.
        ValueError: a source is a stream, or changed since it was found.
    """
    if shard.count == 1:
        yield from map(Share, sources)
        return
    total = sum(source.size for source in sources)
    first, end = (total * number // shard.count for number in (shard.number - 1, shard.number))
    offset = 0  # of the source on the line
    for source in sources:
        if source.is_stream:
            raise ValueError("a stream can be read once only: there is no --shard with - or a pipe")
        start = stop = None
        if offset < end and first < offset + source.size:
            start = reader.first_start(source, max(first - offset, 0))
            stop = reader.first_start(source, min(end - offset, source.size))
        if start is None or stop is None:
            middle = offset + source.size // 2
            if first <= middle < end or (middle == total and shard.number == shard.count):
                yield Share(source)
        elif start < stop:
            yield Share(source, start, stop)
        offset += source.size


def _cut(source: Source, byte: int) -> dict[str, int | str]:
    """A place where a source is cut, with the hash of what stands around it."""
    with opened(source) as (file, _):
        file.seek(max(byte - _AROUND, 0))
        around = file.read(2 * _AROUND)
    return {"source": source.index, "byte": byte, "sha256": hashlib.sha256(around).hexdigest()}


def shard_summary(
    shard: Shard, sources: Sequence[Source], parts: Sequence[Share], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of a shard's summary, for `merge`: which shard it is, of what, its sources, and where it cuts them.

    One shard stops where another starts: what stands there tells `merge` whether one goes on where the other ended.

    Raises:
        OSError: a source cannot be read.
        ValueError: a source changed since it was found.
    """
    listed = json.dumps([[source.name, source.size] for source in sources])
    return {
        "number": shard.number,
        "count": shard.count,
        "indices": [share.source.index for share in parts],
        "starts": [_cut(share.source, share.start) for share in parts if share.start],
        "stops": [_cut(share.source, share.stop) for share in parts if share.stop not in (None, share.source.size)],
        "of": {**options, "sources": f"{len(sources)}, SHA-256 {hashlib.sha256(listed.encode()).hexdigest()}"},
    }
