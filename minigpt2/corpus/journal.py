"""The journal of a corpus that is being written: what lets an interrupted run continue.

Its first line says, as JSON, what is made from what. Each further line says how far the ids on the disk go: the source
to read on, where in it, the tokens so far, and what was read of the sources since the line before. A line is written
after the ids that it speaks of, so whatever a crash loses, what the journal says is true. It ends with its checksum.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zlib import crc32

from minigpt2.atomic_write import leads_to, naming
from minigpt2.corpus.encoding import Tally
from minigpt2.corpus.sources import Source

# A file of a data set on the hub, without its path: the data set and the commit.
_PINNED = re.compile(r"(hf://datasets/[^/]+/[^/@]+)@([0-9a-f]{40})(?=/)")

# How a journal begins, and a corpus's summary, which has more white space.
BEGINNING = b'{"dtype": "uint'


@dataclass
class Progress:
    """How far a corpus has come.

    Attributes:
        source: the index of the source to read on.
        start: where in it, as `Chunk.start`.
        tokens: the tokens so far.
        tallies: what was read of each source, by its index.
    """

    source: int = 0
    start: int = 0
    tokens: int = 0
    tallies: dict[int, Tally] = field(default_factory=dict)


class Journal:
    """A journal's file, locked: for one process at a time.

    Attributes:
        is_new: whether there was none.
        progress: how far the last run came that wrote to it; None where it did not come far enough to be continued.
    """

    def __init__(self, path: Path) -> None:
        """Open a journal, or make an empty one.

        Raises:
            OSError: the file cannot be written.
            ValueError: another process has it, or it is damaged.
        """
        self._path = path
        self.is_new = not path.exists()
        self._file = path.open("a+b")
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Lock the file at the path: the one that was opened may have been removed before it was locked."""
        with suppress(ImportError):  # not every system has such locks
            import fcntl

            while True:
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ValueError(f"{self._path} is in use: another process writes this corpus") from None
                except OSError as error:
                    reason = f"the file system has no locks, which keep two runs apart ({error.strerror})"
                    raise OSError(error.errno, f"{reason}: write to another, such as a local disk") from None
                if self.is_ours():
                    return
                self._file.close()
                self._file = self._path.open("a+b")

    def is_ours(self) -> bool:
        """Whether the path still leads to the file that is locked; no longer once that is closed."""
        return not self._file.closed and leads_to(self._path, self._file.fileno())

    def _read(self) -> None:
        self._file.seek(0)
        if not BEGINNING.startswith(self._file.read(len(BEGINNING))):
            raise ValueError(
                f"{self._path} is not a journal and would be replaced by one: delete it, or name another output"
            )
        self._file.seek(0)
        lines = self._file.readlines()
        unfinished = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""  # the run ended as it wrote it
        self.progress: Progress | None = None
        self._tallies: dict[int, Tally] = {}
        self._states: dict[int, list[int]] = {}
        self._request: dict[str, Any] = {}
        try:
            if lines:
                self._request = dict(**_said_by(lines[0]))
            for line in lines[1:]:
                self._take(**_said_by(line))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            partial = self._path.with_suffix(".partial").name
            reason = " ".join(str(error).split())  # in one line, whatever it repeats of the journal
            raise ValueError(f"{self._path} is damaged ({reason}): delete it and {partial} to start over") from None
        if unfinished:
            self._file.truncate(sum(map(len, lines)))

    def _take(
        self, source: int, start: int, tokens: int, tallies: dict[str, list[int]], states: dict[str, list[int]]
    ) -> None:
        read = {int(index): Tally(*map(_count, tally)) for index, tally in tallies.items()}
        self._tallies.update(read)
        self._states.update({int(index): state for index, state in states.items()})
        self.progress = Progress(_count(source), _count(start), _count(tokens), self._tallies)

    def clear(self) -> None:
        """Forget what it says, before there is anything else to continue."""
        self._file.truncate(0)
        os.fsync(self._file.fileno())

    def begin(self, request: Mapping[str, Any]) -> None:
        """Say what is made from what."""
        self._write(request)

    def require_same(self, request: Mapping[str, Any], sources: Sequence[Source]) -> None:
        """Refuse to continue with something else than what was begun.

        Raises:
            ValueError: the request has changed, or a source that was read from, or there is no such source.
        """
        changed = [key for key in {**request, **self._request} if request.get(key) != self._request.get(key)]
        if changed:
            then, now = self._request.get(changed[0]), request.get(changed[0])
            raise ValueError(f"{changed[0]} changed: {_difference(then, now)}")
        known = {source.index: source for source in sources}
        assert self.progress is not None
        read = {*self._states, *self._tallies} - {*known}
        for index in read | ({self.progress.source} - {*known, len(sources)}):
            raise ValueError(f"the journal speaks of source {index}, and there are {len(sources)}")
        for index, state in self._states.items():
            if state != _state(known[index]):
                raise ValueError(f"{known[index].name} changed")

    def enter(self, progress: Progress, sources: Sequence[Source]) -> None:
        """Note how far the ids on the disk go; `sources` are those read from since the last time."""
        tallies = {source.index: astuple(progress.tallies[source.index]) for source in sources}
        states = {source.index: _state(source) for source in sources}
        self._write({**vars(progress), "tallies": tallies, "states": states})

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(line_of(line))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Leave it as it is."""
        with suppress(ImportError, OSError, ValueError):  # it may be closed already
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_UN)  # closing is not enough where a forked child has it too
        with suppress(OSError):  # a full disk was reported when it was written to
            self._file.close()

    def leave(self) -> None:
        """Let another process have it; remove it if it is empty, unless it was here before with an `OUT.partial`."""
        with naming(self._path):  # another machine may have removed it
            is_empty = not self._file.closed and not os.fstat(self._file.fileno()).st_size
            if is_empty and (self.is_new or not self._path.with_suffix(".partial").exists()):
                self.remove()
        self.close()

    def remove(self) -> None:
        """Remove the file, and only then let another process have it."""
        is_ours = self.is_ours()
        if os.name == "nt":  # which removes no open file
            self.close()
        if is_ours:
            self._path.unlink(missing_ok=True)
        self.close()


def line_of(value: object) -> bytes:
    r"""A line of a journal: a value as JSON, and its CRC-32.

    >>> line_of({"tokens": 5})
    b'{"tokens": 5} 4809aa49\n'
    """
    data = json.dumps(value).encode()
    return b"%b %08x\n" % (data, crc32(data))


def _said_by(line: bytes) -> Any:
    data, _, checksum = line.rpartition(b" ")
    if checksum != b"%08x\n" % crc32(data):
        raise ValueError("a line and its checksum differ")
    return json.loads(data)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a number of anything")
    return value


def _state(source: Source) -> list[int]:
    return [source.size, source.modified]


def _difference(then: Any, now: Any) -> str:
    """The difference; of lists, the first one. The older commit of a data set on the hub can still be named."""
    if isinstance(then, list) and isinstance(now, list):
        pairs = zip_longest(then, now, fillvalue="nothing")
        then, now = next(pair for pair in pairs if pair[0] != pair[1])
    older, newer = (_PINNED.match(str(each)) for each in (then, now))
    is_newer = older and newer and older[1] == newer[1] and older[2] != newer[2]
    return f"{then!r} then, {now!r} now" + (
        f"; name {older[0]} to go on with that commit" if older and is_newer else ""
    )
