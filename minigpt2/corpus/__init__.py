"""Files of text to files of token ids.

The text is taken as ordinary text, in which `<|endoftext|>` is seven tokens; the id of `<|endoftext|>` follows each
document. The file is the ids alone, little-endian, as `numpy.memmap(path, dtype=numpy.uint16)` reads it; what made
it stands in a JSON file beside it.

The steps, each a module: `sources` finds and opens the inputs, `pieces` cuts them where it makes no difference,
`encoding` makes ids of pieces, `workers` in several processes, which leave them in `slots`, and `output` with its
`journal` writes them so that nothing is ever lost or half-written.
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from operator import index
from typing import Any

import numpy as np

from minigpt2.corpus.encoding import PieceEncoder, Tally
from minigpt2.corpus.journal import Progress
from minigpt2.corpus.output import Output, Paths
from minigpt2.corpus.pieces import Piece, pieces_of
from minigpt2.corpus.sources import Source, find
from minigpt2.corpus.workers import Workers
from minigpt2.tokenizer import Tokenizer

__all__ = ["Counts", "SourceCounts", "count", "tokenize"]

Name = str | os.PathLike[str]
ERRORS = ("strict", "replace", "ignore")


@dataclass(frozen=True)
class SourceCounts:
    """What was read of one input.

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
    """What was read of all inputs, and of each.

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


def tokenize(
    sources: Name | Sequence[Name],
    output: Name,
    *,
    tokenizer: Tokenizer | None = None,
    jobs: int = 1,
    errors: str = "strict",
    field: str = "text",
    resume: bool = False,
    progress: bool = False,
) -> Counts:
    """Write the token ids of all documents to a file, and to `OUTPUT.json` what it was made of.

    The ids are little-endian uint16, or uint32 where the vocabulary has ids from 65536 on, and the id of
    `<|endoftext|>` follows each document. A source is a file, a directory (every file in it, at any depth, whose name
    begins with no dot), a glob, or `-` for standard input. A file is a document, its bytes taken as they are: a byte
    order mark stays, and no line end changes. Each line of a `.jsonl` file is a document, and each row of a `.parquet`
    file: its `field`. Files may be compressed, `.gz` or `.zst`. However large a file is, memory is bounded by its
    longest record or pretoken and a few megabytes for each job. The ids do not depend on `jobs`, the number of
    processes; where it is more than one, a script must call this below `if __name__ == "__main__":`.

    The output takes its name when it is complete, in place of what was there. What is done until then is in
    `OUTPUT.partial`; with `resume`, an interrupted run is continued, if there is one, and ends in the same file.
    `progress` shows a bar on standard error, if that is a terminal.

    Raises:
        OSError: a source cannot be read, or the output not written; an output that cannot be continued is removed.
        ValueError: an option is wrong, a source is damaged, no UTF-8 (`errors` "replace" and "ignore" take it, as in
            `bytes.decode`), lacks the field or changed while it was read, or there is no document at all; or there is
            an interrupted run and `resume` is not set, or sources or options are not those of that run.
        ImportError: a source needs a package that is not installed.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     _ = Path(directory, "one.txt").write_text("The meaning of life is")
    ...     counts = tokenize(f"{directory}/*.txt", f"{directory}/train.bin")
    ...     counts.tokens, np.fromfile(f"{directory}/train.bin", np.uint16).tolist()
    (6, [464, 3616, 286, 1204, 318, 50256])
    """
    tokenizer = tokenizer or Tokenizer()
    paths = Paths(output)
    found = find(_names(sources), paths.all())
    encoder = _encoder(tokenizer, tokenizer.eos_token_id, errors, field)
    options = {"errors": errors, "field": field, "sources": [source.name for source in found]}
    with Workers(encoder, _checked(jobs)) as workers:
        description = workers.later(_description)
        with Output(paths, found, lambda: description() | options, encoder.dtype, resume) as out:
            for batch, (ids, tallies) in _encoded(found, field, workers, progress, out.progress):
                out.add(batch, ids, tallies)
            counts = _counts(found, out.progress.tallies)
            if not counts.documents:
                raise ValueError(f"there is no document in {found[0].shown}{' and the others' if found[1:] else ''}")
            out.finish(description() | asdict(counts))
    return counts


def count(
    sources: Name | Sequence[Name],
    *,
    tokenizer: Tokenizer | None = None,
    jobs: int = 1,
    errors: str = "strict",
    field: str = "text",
    progress: bool = False,
) -> Counts:
    """Count the tokens of all documents, read as `tokenize` reads them, which adds one after each.

    Raises:
        OSError, ValueError, ImportError: as `tokenize`, for its sources and options.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     _ = Path(directory, "one.txt").write_text("The meaning of life is")
    ...     count(directory).tokens
    5
    """
    found = find(_names(sources))
    encoder = _encoder(tokenizer or Tokenizer(), None, errors, field)
    tallies: dict[int, Tally] = {}
    with Workers(encoder, _checked(jobs)) as workers:
        for batch, (_, parts) in _encoded(found, field, workers, progress, Progress()):
            for piece, part in zip(batch, parts, strict=True):
                tallies.setdefault(piece.source.place, Tally()).add(part)
    return _counts(found, tallies)


def _names(sources: Name | Sequence[Name]) -> list[Name]:
    names = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    for name in names:
        if not isinstance(name, (str, os.PathLike)):
            raise TypeError(f"a source is a path, not {type(name).__name__}: {name!r}")
    return names


def _encoder(tokenizer: Tokenizer, end: int | None, errors: str, field: str) -> PieceEncoder:
    if errors not in ERRORS:
        raise ValueError(f"errors is one of {', '.join(ERRORS)}, not {errors!r}")
    return PieceEncoder(tokenizer, _dtype(tokenizer), end, errors, field)


def _dtype(tokenizer: Tokenizer) -> str:
    return "<u2" if tokenizer.n_vocab <= 1 << 16 else "<u4"


def _checked(jobs: int) -> int:
    if index(jobs) < 1:
        raise ValueError(f"jobs is the number of processes, 1 at least, not {jobs}")
    return index(jobs)


def _description(tokenizer: Tokenizer) -> dict[str, Any]:
    """What the ids are. The hashes are those of the files that the tokenizer saves: of GPT-2's, the published ones."""
    vocabulary = tokenizer.vocabulary
    files = {"vocab.json": vocabulary.vocab_json(), "merges.txt": vocabulary.merges_txt()}
    return {
        "dtype": np.dtype(_dtype(tokenizer)).name,
        "byteorder": "little",
        "eos_token_id": tokenizer.eos_token_id,
        "vocabulary": {name: hashlib.sha256(text.encode("utf-8")).hexdigest() for name, text in files.items()},
    }


def _encoded(
    found: list[Source], field: str, workers: Workers, progress: bool, since: Progress
) -> Iterator[tuple[list[Piece], tuple[bytes, list[Tally]]]]:
    """All that is still to be read, with its ids, under a bar of its bytes and its tokens per second."""
    tokens = 0
    with _bar(found, since, progress) as bar:
        for batch, (ids, tallies) in workers.encoded(_pieces(found, field, since)):
            yield batch, (ids, tallies)
            tokens += sum(tally.tokens for tally in tallies)
            if bar is not None:
                bar.set_postfix_str(f"{tokens / bar.format_dict['elapsed']:,.0f} tokens/s", refresh=False)
                bar.update(sum(piece.stored for piece in batch))


def _pieces(found: list[Source], field: str, since: Progress) -> Iterator[Piece]:
    for source in found[since.source :]:
        yield from pieces_of(source, field, since.start if source.place == since.source else 0)


def _bar(found: list[Source], since: Progress, progress: bool) -> AbstractContextManager[Any]:
    """A progress bar, or None where nobody would see it."""
    if not (progress and sys.stderr and sys.stderr.isatty()):
        return nullcontext()
    from tqdm import tqdm

    total = None if any(source.is_stream for source in found) else sum(source.size for source in found)
    done = sum(source.size for source in found[: since.source])
    bar: AbstractContextManager[Any] = tqdm(total=total, initial=done, unit="B", unit_scale=True)
    return bar


def _counts(found: list[Source], tallies: dict[int, Tally]) -> Counts:
    parts = [SourceCounts(source.name, **asdict(tallies.get(source.place, Tally()))) for source in found]
    return Counts(
        tokens=sum(part.tokens for part in parts),
        documents=sum(part.documents for part in parts),
        bytes=sum(part.bytes for part in parts),
        sources=parts,
    )
