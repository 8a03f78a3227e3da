"""Which files a corpus is read from, and how their bytes are reached: compressed or not, or from a stream."""

import errno
import glob
import gzip
import os
import stat
import sys
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO, cast

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Source:
    """One input, as it is when it is found.

    Attributes:
        place: its place among the inputs.
        name: its path as given or found; `-` is standard input.
        size: bytes as stored; 0 for a stream.
        modified: when it was last modified, in nanoseconds.
        is_stream: whether it can be read only once, as a pipe.
    """

    place: int
    name: str
    size: int
    modified: int
    is_stream: bool

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return "standard input" if self.name == STANDARD_INPUT else self.name

    @cached_property
    def suffixes(self) -> list[str]:
        """The endings of its name that say what it holds: `[".jsonl", ".gz"]`."""
        return [] if self.name == STANDARD_INPUT else [suffix.lower() for suffix in Path(self.name).suffixes]


def find(names: Sequence[str | os.PathLike[str]], outputs: Collection[Path] = ()) -> list[Source]:
    """The inputs that names stand for, in the order of the names, and sorted where one stands for several.

    A name is a file, `-` for standard input, a directory (its files, and those of the directories in it; what begins
    with a dot is left out, and linked directories are not entered), or a glob (`**` is any depth; files alone). The
    files that the corpus is written to are left out of directories and globs.

    Raises:
        FileNotFoundError: a name stands for nothing.
        OSError: a directory cannot be read.
        ValueError: a name is an output's, or no name is given, or standard input is named twice.
    """
    if not names:
        raise ValueError("nothing to read: name a file, a directory or a glob, or - for standard input")
    found = [path for name in names for path in _paths(os.fspath(name), outputs)]
    if found.count(STANDARD_INPUT) > 1:
        raise ValueError("standard input can be read once only: give - once")
    return [_source(place, path) for place, path in enumerate(found)]


def resolved(path: str | os.PathLike[str]) -> Path:
    """A path without symbolic links; one that leads nowhere stays as it is."""
    return Path(os.path.realpath(path))


def _paths(name: str, outputs: Collection[Path]) -> list[str]:
    if name == STANDARD_INPUT:
        return [name]
    path = Path(name)
    if path.is_dir():
        paths = _files_below(name)
        missing = "no file in this directory"
    elif glob.has_magic(name) and not path.exists():
        matches = glob.glob(name, recursive=True)  # noqa: PTH207  pathlib's matches hidden files too
        paths = [match for match in matches if Path(match).is_file()]
        missing = "this glob matches no file"
    elif resolved(path) in outputs:
        raise ValueError(f"{name} is where the corpus is written to: it cannot be read as well")
    else:
        return [name]
    paths = [each for each in paths if resolved(each) not in outputs]
    if not paths:
        raise FileNotFoundError(errno.ENOENT, missing, name)
    return sorted(paths, key=lambda each: Path(each).parts)


def _files_below(directory: str) -> list[str]:
    paths = []
    for parent, directories, files in os.walk(directory, onerror=_refuse):
        directories[:] = [each for each in directories if not each.startswith(".")]
        paths += [str(Path(parent, each)) for each in files if not each.startswith(".")]
    return [path for path in paths if Path(path).is_file()]


def _refuse(error: OSError) -> None:
    raise error


def _source(place: int, name: str) -> Source:
    if name == STANDARD_INPUT:
        return Source(place, name, 0, 0, is_stream=True)
    status = Path(name).stat()
    is_stream = not stat.S_ISREG(status.st_mode)
    return Source(place, name, 0 if is_stream else status.st_size, status.st_mtime_ns, is_stream)


@contextmanager
def opened(source: Source) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A source's bytes as stored, and as they are when decompressed. Both are the same file where it is not compressed.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or not what it was when it was found.
        ImportError: it is compressed with zstd, and the package for that is not installed.
    """
    try:
        with _stored(source) as stored:
            require_unchanged(source, stored)
            file, damage = _decompressed(source, stored)
            try:
                yield stored, file
            except damage as error:
                require_unchanged(source, stored)
                raise ValueError(f"{source.shown} is damaged: {error}") from None
    except OSError as error:
        error.filename = error.filename or source.shown
        raise


def _decompressed(source: Source, stored: BinaryIO) -> tuple[BinaryIO, tuple[type[Exception], ...]]:
    """The file to read, and what that raises where it is damaged."""
    if source.suffixes[-1:] == [".gz"]:
        if not source.size and not source.is_stream:  # which gzip takes for a file that holds nothing
            raise ValueError(f"{source.name} is damaged: it is empty, and a gzip file is not")
        return cast(BinaryIO, gzip.GzipFile(fileobj=stored)), (EOFError, zlib.error, gzip.BadGzipFile)
    if source.suffixes[-1:] == [".zst"]:
        zstd_file, zstd_error = _zstd()
        return zstd_file(stored), (EOFError, zstd_error)
    return stored, ()


@contextmanager
def _stored(source: Source) -> Iterator[BinaryIO]:
    if source.name != STANDARD_INPUT:
        with Path(source.name).open("rb") as file:
            yield file
    elif sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    else:
        yield sys.stdin.buffer


def require_unchanged(source: Source, stored: IO[bytes]) -> None:
    """Refuse a file that has another size or time of modification than when it was found.

    Raises:
        ValueError: it has.
    """
    if not source.is_stream:
        status = os.fstat(stored.fileno())
        if (status.st_size, status.st_mtime_ns) != (source.size, source.modified):
            raise ValueError(f"{source.name} changed while it was read: try again when nothing writes to it")


def _zstd() -> tuple[Callable[[BinaryIO], BinaryIO], type[Exception]]:
    """What opens a file that is compressed with zstd, and what it raises over a damaged one."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise ImportError("reading .zst files needs the package backports.zstd: pip install 'minigpt2[zst]'") from None
    return lambda stored: cast(BinaryIO, zstd.ZstdFile(stored)), zstd.ZstdError
