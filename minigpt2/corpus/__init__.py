"""Files of text to files of token ids, on one machine or many.

The text is taken as ordinary text, in which `<|endoftext|>` is seven tokens and an added token is not one; the id of
`<|endoftext|>` follows each document.

The steps, in the order in which the data flows:

- `sources` and `hub_files` find the inputs, `opening` and `parquet` open them;
- `chunks` reads them in parts of bounded size, which `cutting` cuts where it makes no difference to the tokens;
- `documents` makes texts of chunks, `encoding` ids of texts;
- `executors` has that done by other processes, here (`pools`) or elsewhere, `shards` by other machines that know
  nothing of each other, and `merging` joins what those wrote;
- `output` with its `journal` writes the ids so that nothing is ever lost or half-written, in one of the `formats`.
"""

import hashlib
import os
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from functools import lru_cache
from operator import index
from typing import Any

import numpy as np

from minigpt2.corpus.chunks import Chunk, Span
from minigpt2.corpus.counts import Counts, SourceCounts, counted
from minigpt2.corpus.documents import Reader
from minigpt2.corpus.encoding import CorpusEncoder, Encoded, Tally
from minigpt2.corpus.executors import AHEAD, AHEAD_HERE, MOST_JOBS, encoded, later
from minigpt2.corpus.formats import FileFormat
from minigpt2.corpus.journal import Progress
from minigpt2.corpus.merging import merge
from minigpt2.corpus.output import Output, Paths
from minigpt2.corpus.pools import processes
from minigpt2.corpus.shards import WHOLE, Shard, Share, shard_summary, shares
from minigpt2.corpus.sources import KINDS, Kind, find
from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.pretokenize import pretokenize
from minigpt2.tokenizer import Tokenizer
from minigpt2.vocabulary import Vocabulary

__all__ = ["Counts", "SourceCounts", "count", "merge", "tokenize"]

Name = str | os.PathLike[str]


def tokenize(
    sources: Name | Sequence[Name],
    output: Name,
    *,
    tokenizer: Tokenizer | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    errors: str = "strict",
    field: str = "text",
    input_format: Kind | None = None,
    separator: str | None = None,
    output_format: str = "bin",
    val_fraction: float = 0.0,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Counts:
    """Write the token ids of all documents to a file, and to `OUTPUT.json` what it was made of.

    The ids are little-endian uint16, or uint32 where the vocabulary has ids from 65536 on, and the id of
    `<|endoftext|>` follows each document.

    A source is a file, a directory (every file in it, at any depth, whose name does not begin with a dot), a glob (both
    without symbolic links), `hf://datasets/OWNER/NAME/PATH`, or `-` for standard input. A file of text is one document,
    or as many as `separator` stands between, with one line end after each separator; its bytes are taken as they are.
    Each line of a file of JSON lines (`.jsonl`, `.ndjson`, `.jsonlines`, `.json`) is a document, and each row of a
    `.parquet` file: its `field`. `input_format` (`text`, `jsonl`, `parquet`) says what sources hold whose names do not
    tell. Files may be compressed, `.gz` or `.zst`. However large a file is, memory is bounded by its longest record or
    pretoken and a few megabytes for each worker.

    `jobs` is the number of processes; where it is more than one, a script must call this below
    `if __name__ == "__main__":`. In their place an `executor` runs the work on machines that share paths with this
    one. The ids do not depend on either. `shard=(i, n)` tokenizes part `i` of `n` only, from 1 to n, for `merge`.

    `output_format` is `bin` (the ids alone), `llm.c` or `megatron`. `val_fraction` is the share of the documents, drawn
    by a `seed`, that goes to a second file: its name is OUTPUT's with `val` in place of `train`, or with `_val` added.

    The output takes its name when it is complete, in place of what was there. What is done until then is in
    `OUTPUT.partial`; with `resume`, an interrupted run is continued, if there is one, and ends in the same file.
    `progress` shows a bar on standard error, if that is a terminal.

    Raises:
        OSError: a source cannot be read, or the output not written; an output that cannot be continued is removed.
            A `ChildProcessError` if workers are lost.
        ValueError: an option is wrong, a source is damaged, not UTF-8 (`errors` "replace" and "ignore" take it, as in
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
    reader = _reader(tokenizer, errors, field, separator)
    file_format = FileFormat(output_format, float(val_fraction), index(seed))
    dtype, end = _dtype(tokenizer), _end(tokenizer, file_format)
    encoder = CorpusEncoder(tokenizer, dtype, end, reader)
    file_format.check(output, dtype)
    part = _checked_shard(shard)
    paths = Paths(output, FileFormat() if shard else file_format)
    found = find(_names(sources), _checked_kind(input_format), paths)
    if not shard and not separator and all(source.kind == "text" for source in found):
        file_format.require_enough(len(found))  # each is one document
    for source in found:  # before the work: what is done would be in vain where a source has to be mended
        reader.require_text(source)
    can_continue = not any(source.is_stream for source in found)
    if resume and not can_continue:
        raise ValueError("a stream can be read once only: there is no --resume with - or a pipe")
    how_read = {"input_format": input_format, "errors": errors, "field": field, "separator": separator}
    how_written = {"output_format": output_format, "val_fraction": file_format.val_fraction, "seed": file_format.seed}
    with _workers(jobs, executor) as workers:
        description = later(encoder, _description, workers)

        def request() -> dict[str, Any]:
            # The sizes of all sources decide what a shard has.
            names = [f"{source.name}, {source.size} bytes" if shard else source.name for source in found]
            return {**description(), **how_read, "shard": shard and str(part), "sources": names}

        with Output(paths, found, request, dtype, end, can_continue=can_continue, resume=resume) as out:
            parts = list(shares(found, reader, part))
            # Before the work: a source that changes after it was read is noticed by the shards beside this one.
            as_shard = {"shard": shard_summary(part, found, parts, how_read | how_written)} if shard else {}
            directory = out.make_parts() if workers else None
            ahead = AHEAD if executor else AHEAD_HERE * jobs
            with (
                closing(_spans(parts, reader, out.progress)) as spans,
                closing(encoded(encoder, spans, workers, directory, ahead)) as results,
            ):
                for each in _shown(results, parts, out.progress, progress):
                    out.add(each)
            counts = counted([share.source for share in parts], out.progress.tallies)
            if not counts.documents and not shard:
                raise ValueError(f"there is no document in {found[0].shown}{' and the others' if found[1:] else ''}")
            if not shard:
                file_format.require_enough(counts.documents)
            out.finish({**description(), **asdict(counts), **as_shard})
    return counts


def count(
    sources: Name | Sequence[Name],
    *,
    tokenizer: Tokenizer | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    errors: str = "strict",
    field: str = "text",
    input_format: Kind | None = None,
    separator: str | None = None,
    progress: bool = False,
) -> Counts:
    """Count the tokens of all documents, read as `tokenize` reads them, without the one that it adds after each.

    Raises:
        OSError, ValueError, ImportError: as `tokenize`, for its sources and options.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     _ = Path(directory, "one.txt").write_text("The meaning of life is")
    ...     count(directory).tokens
    5
    """
    tokenizer = tokenizer or Tokenizer()
    reader = _reader(tokenizer, errors, field, separator)
    encoder = CorpusEncoder(tokenizer, _dtype(tokenizer), None, reader)
    found = find(_names(sources), _checked_kind(input_format))
    parts, tallies = list(map(Share, found)), dict[int, Tally]()
    with _workers(jobs, executor) as workers:
        ahead = AHEAD if executor else AHEAD_HERE * jobs
        with (
            closing(_spans(parts, reader, Progress())) as spans,
            closing(encoded(encoder, spans, workers, None, ahead)) as results,
        ):
            for each in _shown(results, parts, Progress(), progress):
                for part in each.parts:
                    tallies.setdefault(part.source, Tally()).add(part.tally)
    return counted(found, tallies)


def _names(sources: Name | Sequence[Name]) -> list[Name]:
    names = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    for name in names:
        if not isinstance(name, (str, os.PathLike)):
            raise TypeError(f"a source is a path, not {type(name).__name__}: {name!r}")
    return names


def _checked_kind(kind: Kind | None) -> Kind | None:
    if kind is not None and kind not in KINDS:
        raise ValueError(f"the input format is one of {', '.join(KINDS)}, not {kind!r}")
    return kind


def _checked_shard(shard: tuple[int, int] | None) -> Shard:
    part = WHOLE if shard is None else Shard(*map(index, shard))
    if not 1 <= part.number <= part.count:
        raise ValueError(f"a shard is I of N, from 1 to N, not {part}")
    return part


def _workers(jobs: int, executor: Executor | None) -> AbstractContextManager[Executor | None]:
    if not 1 <= index(jobs) <= MOST_JOBS:  # they all start at once
        raise ValueError(f"jobs is the number of processes, 1 at least and {MOST_JOBS} at most, not {jobs}")
    if executor and jobs != 1:
        raise ValueError("jobs are processes of this machine, and an executor has its own workers: give one of them")
    return nullcontext(executor) if executor else processes(index(jobs))


def _reader(tokenizer: Tokenizer, errors: str, field: str, separator: str | None) -> Reader:
    # A later part of a document must not get the space that some tokenizers put before a text.
    return Reader(errors, field, separator, is_whole=tokenizer.settings.add_prefix_space)


def _dtype(tokenizer: Tokenizer) -> str:
    return "<u2" if tokenizer.n_vocab <= 1 << 16 else "<u4"


def _end(tokenizer: Tokenizer, file_format: FileFormat) -> int:
    """The id after each document."""
    end = tokenizer.eos_token_id
    if end is None:
        raise ValueError(
            "this tokenizer has no end-of-text token, which must follow each document: choose another model"
        )
    vocabulary = tokenizer.vocabulary
    occurs = end in vocabulary.products or end in vocabulary.byte_ids
    occurs |= end == vocabulary.unknown and -1 in vocabulary.byte_ids
    if vocabulary.ignores_merges:  # a pretoken that is a token is that token, where no merge leads to it either
        text = tokenizer.decode([end])
        occurs |= pretokenize(text) == [text] and vocabulary.id_of_bytes.get(text.encode()) == end
    if occurs and file_format.needs_documents:
        raise ValueError(
            f"this tokenizer's end of text, id {end}, also occurs in text: its documents cannot be told apart, as "
            "megatron and val_fraction need"
        )
    return end


def _description(encoder: CorpusEncoder) -> dict[str, Any]:
    """The ids' type and byte order, the id after each document, and the hashes of the vocabulary's files."""
    return {
        "dtype": np.dtype(encoder.dtype).name,
        "byteorder": "little",
        "eos_token_id": encoder.end,
        "vocabulary": {**_hashes(encoder.tokenizer.vocabulary), **_unusual(encoder.tokenizer)},
    }


def _unusual(tokenizer: Tokenizer) -> dict[str, bool | str]:
    """The settings besides the vocabulary's files that change the ids of ordinary text; empty for GPT-2."""
    vocabulary, unknown = tokenizer.vocabulary, tokenizer.vocabulary.unknown
    ways: dict[str, bool | str] = {
        "add_prefix_space": tokenizer.settings.add_prefix_space,
        "ignore_merges": vocabulary.ignores_merges,
        "unk_token": "" if unknown is None else vocabulary.written(unknown),
        "fuse_unk": unknown is not None and vocabulary.fuses_unknown,
    }
    return {name: way for name, way in ways.items() if way}


@lru_cache(maxsize=1)  # a tenth of a second, and many corpora are made with one vocabulary
def _hashes(vocabulary: Vocabulary) -> Mapping[str, str]:
    """SHA-256 of the vocabulary's files as the tokenizer saves them, GPT-2's as published."""
    files = {"vocab.json": vocabulary.vocab_json(), "merges.txt": vocabulary.merges_txt()}
    return {name: hashlib.sha256(text.encode("utf-8")).hexdigest() for name, text in files.items()}


def _spans(parts: Sequence[Share], reader: Reader, since: Progress) -> Generator[Span | Chunk, None, None]:
    """The spans still to be read, and the chunks of streams, which only this process can read.

    To be closed: otherwise a kept error keeps a pipe open, and who writes to it goes on, even into the next run.
    """
    for source, first, stop in parts:
        start = max(first, since.start) if source.index == since.source else first
        if source.index >= since.source and (stop is None or start < stop):
            for span in reader.spans(source, start, stop):
                if source.is_stream:
                    yield from reader.chunks(span)
                else:
                    yield span


def _shown(results: Iterator[Encoded], parts: Sequence[Share], since: Progress, progress: bool) -> Iterator[Encoded]:
    """The results, under a bar of their bytes and their tokens per second, where it is wanted and seen."""
    if not (progress and sys.stderr and sys.stderr.isatty()):
        yield from results
        return
    total = None if any(share.source.is_stream for share in parts) else sum(share.size for share in parts)
    done = sum(share.size for share in parts if share.source.index < since.source)
    tokens, start = 0, time.monotonic()
    with FORK_WAITS, ordered_hooks():
        from tqdm import tqdm

        tqdm.get_lock()  # it imports more
    with tqdm(total=total, initial=done, unit="B", unit_scale=True) as bar:
        for each in results:
            yield each
            tokens += sum(part.tally.tokens for part in each.parts)
            seconds = time.monotonic() - start
            bar.set_postfix_str(f"{tokens / seconds if seconds else 0:,.0f} tokens/s", refresh=False)
            bar.update(sum(part.stored for part in each.parts))
