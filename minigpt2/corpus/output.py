"""The file of token ids, which appears whole or not at all.

While `OUT` is made, `OUT.partial` holds the ids so far, and `OUT.journal` says how far they go. In the end the summary,
`OUT.json`, and then `OUT` itself take their names, each at once, and the other two are gone.
"""

import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from minigpt2.atomic_write import atomic_write, sync_directory
from minigpt2.corpus.encoding import Tally
from minigpt2.corpus.journal import Journal, Progress
from minigpt2.corpus.pieces import Piece
from minigpt2.corpus.sources import Source, resolved

#: Seconds between two entries of the journal: what an interrupted run has to do again.
INTERVAL = 1.0


class Paths:
    """Where a corpus is written to, a symbolic link's end in place of the link."""

    def __init__(self, output: str | os.PathLike[str]) -> None:
        self.shown = os.fspath(output)
        self.output = resolved(output)
        self.summary, self.partial, self.journal = (
            self.output.with_name(self.output.name + suffix) for suffix in (".json", ".partial", ".journal")
        )

    def all(self) -> list[Path]:
        """Every file that is written."""
        return [self.output, self.summary, self.partial, self.journal]

    def require_writable(self) -> None:
        """Refuse an output that no file can take the place of.

        Raises:
            OSError: it is a directory, or is to be in one that is not there.
            ValueError: it is a device or a pipe.
        """
        if self.output.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory: name the file to write", self.shown)
        if self.output.exists() and not self.output.is_file():
            raise ValueError(f"{self.shown} is no file, and a corpus appears whole or not at all: it needs one")
        if not self.output.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such directory to write in", self.shown)


class Output:
    """The ids of a corpus on their way to a file: a context that leaves what can be continued, or nothing.

    Attributes:
        progress: how far it has come; for whoever writes to keep.
    """

    def __init__(
        self,
        paths: Paths,
        sources: Sequence[Source],
        request: Callable[[], Mapping[str, Any]],
        dtype: str,
        resume: bool,
    ) -> None:
        """Continue what an interrupted run left, if that is wanted, or start from nothing.

        `request` gives all that the ids depend on besides the contents of the sources. It is asked as late as can be.

        Raises:
            OSError: the files cannot be written.
            ValueError: there is something to continue, and that is not wanted or not possible.
        """
        self._paths, self._sources = paths, sources
        self._request = request
        self._item = np.dtype(dtype).itemsize
        self._can_continue = not any(source.is_stream for source in sources)
        self._touched: set[int] = set()
        self._last_entry = time.monotonic()
        if resume and not self._can_continue:
            raise ValueError("a stream can be read once only: there is no --resume with - or a pipe")
        with _naming(paths.shown):
            paths.require_writable()
            self._journal = Journal(paths.journal)
            try:
                self._open(resume)
            except BaseException:
                self._journal.close()
                raise

    def _open(self, resume: bool) -> None:
        partial = self._paths.partial
        left = self._journal.progress if partial.exists() else None
        if left and not resume:
            raise ValueError(f"{partial} is there from an interrupted run: continue it with --resume, or delete it")
        if left:
            size = left.tokens * self._item
            self._require_same(size)
            self._file = partial.open("r+b", buffering=0)
            self._file.truncate(size)
            self._file.seek(size)
        else:
            self._journal.clear()
            self._file = partial.open("wb", buffering=0)
        self.progress = left or Progress()
        self._has_entry = left is not None

    def _require_same(self, size: int) -> None:
        partial = self._paths.partial
        try:
            self._journal.require_same(self._request(), self._sources)
        except ValueError as error:
            raise ValueError(f"cannot continue: {error}; delete {partial} to start over") from None
        if partial.stat().st_size < size:
            raise ValueError(f"{partial} is shorter than its journal says: delete it to start over")

    def add(self, batch: Sequence[Piece], ids: bytes, tallies: Sequence[Tally]) -> None:
        """Write the ids of the pieces that come next, and from time to time note how far they go."""
        progress = self.progress
        with _naming(self._paths.shown):
            self._write(ids)
            for piece, tally in zip(batch, tallies, strict=True):
                progress.tallies.setdefault(piece.source.place, Tally()).add(tally)
                progress.tokens += tally.tokens
                self._touched.add(piece.source.place)
            last = batch[-1]
            place = last.source.place
            progress.source, progress.start = (place + 1, 0) if last.is_last else (place, last.end)
            if self._can_continue and time.monotonic() - self._last_entry >= INTERVAL:
                self._enter()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]  # a disk that is nearly full takes a part

    def _enter(self) -> None:
        if not self._has_entry:
            self._journal.begin(self._request())
        os.fsync(self._file.fileno())  # before the journal says so
        self._journal.enter(self.progress, [self._sources[place] for place in sorted(self._touched)])
        self._touched.clear()
        self._has_entry = True
        self._last_entry = time.monotonic()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Give the file its name, and the summary its own before it.

        Raises:
            OSError: it cannot be done. What was there before still is, and what was written can be continued.
        """
        with _naming(self._paths.shown):
            os.fsync(self._file.fileno())
            self._write_summary(summary)
            self._file.close()
            self._paths.partial.replace(self._paths.output)
            sync_directory(self._paths.output.parent)
            self._journal.remove()

    def _write_summary(self, summary: Mapping[str, Any]) -> None:
        with atomic_write(self._paths.summary) as file:
            file.write(json.dumps(summary, indent=2).encode("ascii") + b"\n")

    def __enter__(self) -> "Output":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._has_entry:
            self._paths.partial.unlink(missing_ok=True)
            self._journal.remove()
        self._journal.close()


@contextmanager
def _naming(output: str) -> Iterator[None]:
    """Let errors speak of the output by the name that its user gave."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = output, None
        raise
