"""The journal of a corpus that is being written: what lets an interrupted run continue.

A line of JSON says what is made from what, and then one for each place up to which the ids are on the disk: the source
to read on, where in it, the tokens so far, and what was read of the sources since the line before. A line is written
after the ids that it speaks of. Whatever is lost in a crash, what the journal says is so.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from minigpt2.corpus.encoding import Tally
from minigpt2.corpus.sources import Source


@dataclass
class Progress:
    """How far a corpus has come.

    Attributes:
        source: the place of the source to read on.
        start: where in it, as `Piece.start`.
        tokens: the tokens so far.
        tallies: what was read of each source, by its place.
    """

    source: int = 0
    start: int = 0
    tokens: int = 0
    tallies: dict[int, Tally] = field(default_factory=dict)


class Journal:
    """A journal's file, for one process at a time.

    Attributes:
        progress: how far the last run came that wrote to it; None where it did not come far enough to be continued.
    """

    def __init__(self, path: Path) -> None:
        """Open a journal, or make an empty one.

        Raises:
            OSError: the file cannot be written.
            ValueError: another process is at it, or it is damaged.
        """
        self._path = path
        self._file = path.open("a+b")
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        with suppress(ImportError):  # not every system has such locks
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{self._path} is in use: another process writes this corpus") from None

    def _read(self) -> None:
        self._file.seek(0)
        lines = self._file.readlines()
        if lines and not lines[-1].endswith(b"\n"):  # the run ended as it wrote this one
            self._file.truncate(sum(map(len, lines)) - len(lines.pop()))
        self.progress: Progress | None = None
        self._tallies: dict[int, Tally] = {}
        self._states: dict[int, list[int]] = {}
        try:
            self._request, *entries = map(json.loads, lines or [b"null"])
            for entry in entries:
                self._take(**entry)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self._path} is damaged ({error}): delete it to start over") from None

    def _take(self, tallies: dict[str, list[int]], states: dict[str, list[int]], **place: int) -> None:
        self._tallies.update({int(i): Tally(*tally) for i, tally in tallies.items()})
        self._states.update({int(i): state for i, state in states.items()})
        self.progress = Progress(**place, tallies=self._tallies)

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
            ValueError: the request has changed, or a source that was read from.
        """
        changed = [key for key in request if request[key] != self._request.get(key)]
        if changed:
            raise ValueError(f"{changed[0]} changed: {_difference(self._request.get(changed[0]), request[changed[0]])}")
        for place, state in self._states.items():
            if state != _state(sources[place]):
                raise ValueError(f"{sources[place].name} changed")

    def enter(self, progress: Progress, sources: Sequence[Source]) -> None:
        """Note how far the ids on the disk go; `sources` are those read from since the last time."""
        tallies = {source.place: astuple(progress.tallies[source.place]) for source in sources}
        states = {source.place: _state(source) for source in sources}
        self._write({**vars(progress), "tallies": tallies, "states": states})

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Leave it as it is."""
        with suppress(OSError):  # a full disk was reported when it was written to
            self._file.close()

    def remove(self) -> None:
        """Take it away."""
        if os.name == "nt":  # which removes no open file
            self.close()
        self._path.unlink(missing_ok=True)
        self.close()


def _state(source: Source) -> list[int]:
    return [source.size, source.modified]


def _difference(then: Any, now: Any) -> str:
    """What differs, of lists alone where they begin to."""
    if isinstance(then, list) and isinstance(now, list):
        pairs = zip_longest(then, now, fillvalue="nothing")
        then, now = next(pair for pair in pairs if pair[0] != pair[1])
    return f"{then!r} then, {now!r} now"
