"""The cache of remote reads: a sparse local file of the published size, with the byte ranges fetched so far.

It is a folder of two files. One has the published file's name and size, and its bytes where they were fetched; the rest
is a hole, which takes no disk space on most file systems. The other, `fetched`, is a journal. Its first line identifies
the file and ends in its size; each further line is a range whose bytes are there. A line is appended by a single write,
after its bytes are on the disk: a crash never makes an unfetched range count as fetched. Processes fetch and append at
the same time without a lock, because the same range is the same bytes whichever of them writes it.
"""

import os
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from minigpt2.atomic_write import leads_to, naming
from minigpt2.forking import FORK_WAITS
from minigpt2.weights.file_io import opened, read_at, write_at
from minigpt2.weights.remote.byte_ranges import ByteRanges, Range

BOUND: Final = 1 << 30  # bytes on the disk for all files of a cache folder; the one used longest ago is removed first
JOURNAL: Final = "fetched"


class DamagedError(Exception):
    """The folder does not hold this file: it has to be made again."""


class SparseFile:
    """The file `path` of `size` bytes, open for reading and writing; `identity` is its journal's first line.

    Raises:
        DamagedError: the folder holds something else, or only a part of it.
        OSError: it cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = opened(self, path, os.O_RDWR)
        self._journal = opened(self, path.with_name(JOURNAL), os.O_RDWR | os.O_APPEND)
        self.size = os.fstat(self._data).st_size
        self._ranges = ByteRanges()
        # The folder may have been removed and made again between the two calls: then the files do not belong together.
        self.identity, self._known = next(_sound_lines(self._journal, 0), ("", 0))
        if not self.identity.endswith(f" {self.size}") or not self.is_at_its_path():
            raise DamagedError(path)
        self._reread()
        with suppress(OSError):
            os.utime(self._journal if os.utime in os.supports_fd else path.with_name(JOURNAL))  # now is its last use

    @classmethod
    def create(cls, folder: Path, filename: str, identity: str, size: int) -> Self:
        """Make the file, all of it a hole. If another process has just made it, that one is opened."""
        making = folder.with_name(f".{folder.name}.{os.urandom(8).hex()}.making")
        making.mkdir(parents=True)
        try:
            with naming(folder / filename):
                with (making / filename).open("xb") as data:
                    data.truncate(size)
                (making / JOURNAL).write_bytes(_line(identity))
            with suppress(OSError):  # another process was faster
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return cls(folder / filename)

    @classmethod
    def temporary(cls, filename: str, identity: str, size: int) -> Self:
        """Make a file that is removed with this object, for a cache folder that cannot be written to."""
        folder = Path(tempfile.mkdtemp(prefix="minigpt2-"))
        try:
            file = cls.create(folder / "ranges", filename, identity, size)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(file, shutil.rmtree, folder, ignore_errors=True)
        return file

    def missing(self, ranges: Iterable[Range]) -> list[Range]:
        """The parts of these ranges that have not been fetched."""
        ranges = list(ranges)
        if self._gaps(ranges):
            self._reread()  # another process may have fetched them
        return self._gaps(ranges)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes at their offset; they do not count as fetched before `note`."""
        with naming(self.path):
            write_at(self._data, data, offset)

    def note(self, ranges: Iterable[Range]) -> None:
        """Count these ranges, which are written, as fetched: from now on, for every process."""
        if lines := b"".join(_line(f"{begin} {end}") for begin, end in ranges):
            with naming(self.path):
                os.fsync(self._data)
                os.write(self._journal, lines)
            self._reread()

    def is_whole(self) -> bool:
        """Whether the file still has its size: reading a mapped page that it has lost would kill the process."""
        return os.fstat(self._data).st_size == self.size

    def is_at_its_path(self) -> bool:
        """Whether the path still leads to this file; its folder may have been removed and made again."""
        return leads_to(self.path, self._data)

    def _gaps(self, ranges: list[Range]) -> list[Range]:
        with FORK_WAITS:
            return [gap for begin, end in ranges for gap in self._ranges.missing(begin, end)]

    def _reread(self) -> None:
        """Read the lines that were appended to the journal since the last time.

        Another machine may have written their bytes. On a network file system, this machine's page cache may show holes
        there until the file is opened again.
        """
        with FORK_WAITS:
            lines = list(_sound_lines(self._journal, self._known))
            if lines:
                with suppress(FileNotFoundError, NotADirectoryError):  # the folder may have been removed
                    self.path.open("rb").close()
            for text, offset in lines:
                begin, end = map(int, text.split())
                self._ranges.add(begin, min(end, self.size))
                self._known = offset


def keep_bounded(root: Path, bound: int) -> None:
    """Remove files from a cache folder, those used longest ago first, until the rest take at most `bound` bytes.

    A process that has one open continues with it; the space is freed when that process ends.
    """
    entries = []
    with suppress(FileNotFoundError):  # of the search, where someone removes the cache meanwhile
        for journal in root.glob(f"*/*/*/*/{JOURNAL}"):
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
    """Remove a file from the cache in one step; if the system forbids that, it stays."""
    aside = folder.with_name(f".{folder.name}.{os.urandom(8).hex()}.removed")
    with suppress(OSError):
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


# Each line begins with the line break, so that half a line, left by a crash, does not spoil the next.


def _line(text: str) -> bytes:
    return f"\n{text} {zlib.crc32(text.encode()):08x}".encode()


def _sound_lines(journal: int, start: int) -> Iterator[tuple[str, int]]:
    """The text of each sound line of a journal from the offset `start` on, and the offset of its end."""
    for line in read_at(journal, os.fstat(journal).st_size - start, start).split(b"\n")[1:]:
        start += 1 + len(line)
        text = line[:-9].decode("ascii", "replace")
        if _line(text) == b"\n" + line:
            yield text, start
