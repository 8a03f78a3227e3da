"""A sparse local file of the published size, of which some byte ranges have been fetched: the cache of remote reads.

Two files in a folder of their own. One has the published file's name and size, and its bytes where they were fetched;
elsewhere it is a hole, which takes no space where the file system knows holes. The other, `fetched`, is a journal: its
first line says which file this is, ending in its size, and each line after that a range whose bytes are there. A line
is appended, with a single write, only after its bytes are on the disk. So nothing that happens to a process or to the
machine makes an unfetched range count as fetched, and any number of processes may fetch and append at once without a
lock: the same range is the same bytes, whoever writes them.
"""

import os
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, Self

from minigpt2.weights.file_io import opened, read_at, write_at
from minigpt2.weights.remote.byte_ranges import ByteRanges, Range

BOUND: Final = 1 << 30  # bytes on the disk for all the files of a cache folder; the one used longest ago goes first
JOURNAL: Final = "fetched"


class DamagedError(Exception):
    """What the folder holds is not this file: it is to be made anew."""


class SparseFile:
    """The file `path` of `size` bytes, open for reading and writing; `identity` is what its journal says it is.

    Raises:
        DamagedError: the folder holds something else, or half of it.
        OSError: it cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = opened(self, path, os.O_RDWR)
        self._journal = opened(self, path.with_name(JOURNAL), os.O_RDWR | os.O_APPEND)
        self.size = os.fstat(self._data).st_size
        self._ranges = ByteRanges()
        self._lock = Lock()
        # The folder may have been removed and made anew between the two openings: then the two do not belong together.
        self.identity, self._known = next(_sound_lines(self._journal, 0), ("", 0))
        if not self.identity.endswith(f" {self.size}") or not self.is_at_its_path():
            raise DamagedError(path)
        self._reread()
        with suppress(OSError):
            os.utime(self._journal if os.utime in os.supports_fd else path.with_name(JOURNAL))  # used just now

    @classmethod
    def create(cls, folder: Path, filename: str, identity: str, size: int) -> Self:
        """Make the file, all of it a hole; where another process has just made it, that one is opened."""
        making = folder.with_name(f".{folder.name}.{os.urandom(8).hex()}.making")
        making.mkdir(parents=True)
        try:
            with (making / filename).open("xb") as data:
                data.truncate(size)
            (making / JOURNAL).write_bytes(_line(identity))
            with suppress(OSError):  # it is there already
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return cls(folder / filename)

    @classmethod
    def temporary(cls, filename: str, identity: str, size: int) -> Self:
        """Make the file where it lasts as long as this object: for a cache folder that takes none."""
        folder = Path(tempfile.mkdtemp(prefix="minigpt2-"))
        try:
            file = cls.create(folder / "ranges", filename, identity, size)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(file, shutil.rmtree, folder, ignore_errors=True)
        return file

    def missing(self, ranges: Iterable[Range]) -> list[Range]:
        """The parts of these ranges that nobody has fetched yet."""
        ranges = list(ranges)
        if self._gaps(ranges):
            self._reread()  # another process may have fetched them meanwhile
        return self._gaps(ranges)

    def write(self, place: int, data: bytes) -> None:
        """Write bytes where they belong; they do not count before `note`."""
        write_at(self._data, data, place)

    def note(self, ranges: Iterable[Range]) -> None:
        """Count the bytes of these ranges, all of them written, as fetched: from now on and for every process."""
        if lines := b"".join(_line(f"{begin} {end}") for begin, end in ranges):
            os.fsync(self._data)
            os.write(self._journal, lines)
            self._reread()

    def is_whole(self) -> bool:
        """Whether the file still has its size: a mapped page that is no longer in it would end the process."""
        return os.fstat(self._data).st_size == self.size

    def is_at_its_path(self) -> bool:
        """Whether the path leads to this file still; its folder may have been removed, and even made anew."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._data))
        except FileNotFoundError:
            return False

    def _gaps(self, ranges: list[Range]) -> list[Range]:
        with self._lock:
            return [gap for begin, end in ranges for gap in self._ranges.missing(begin, end)]

    def _reread(self) -> None:
        """Take in what the journal says beyond what is known."""
        with self._lock:
            for text, place in _sound_lines(self._journal, self._known):
                begin, end = map(int, text.split())
                self._ranges.add(begin, min(end, self.size))
                self._known = place


def keep_bounded(root: Path, bound: int) -> None:
    """Remove the files of a cache folder that were used longest ago, until the rest take no more than `bound` bytes.

    A process that has one open goes on with it; its space is free when that process has ended.
    """
    entries = []
    for journal in root.glob(f"*/*/*/{JOURNAL}"):
        with suppress(OSError):
            statuses = [path.stat() for path in journal.parent.iterdir()]
            size = sum(getattr(status, "st_blocks", status.st_size / 512) * 512 for status in statuses)
            entries.append((journal.stat().st_mtime_ns, size, journal.parent))
    total = sum(size for _, size, _ in entries)
    for _, size, folder in sorted(entries):
        if total <= bound:
            return
        remove(folder)
        total -= size


def remove(folder: Path) -> None:
    """Take a file out of the cache at one stroke; where its owner's system forbids that, it stays."""
    aside = folder.with_name(f".{folder.name}.{os.urandom(8).hex()}.removed")
    with suppress(OSError):
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


# Each line begins with the line break, so that one that was torn off spoils no other.


def _line(text: str) -> bytes:
    return f"\n{text} {zlib.crc32(text.encode()):08x}".encode()


def _sound_lines(journal: int, start: int) -> Iterator[tuple[str, int]]:
    """The texts of a journal's sound lines from the place `start` on, each with the place where it ends."""
    for line in read_at(journal, os.fstat(journal).st_size - start, start).split(b"\n")[1:]:
        start += 1 + len(line)
        text = line[:-9].decode("ascii", "replace")
        if _line(text) == b"\n" + line:
            yield text, start
