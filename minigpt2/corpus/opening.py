"""How a source's bytes are reached, compressed or not, and how a source that changed is noticed."""

import errno
import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from minigpt2.archives import POINTER, POINTER_REASON
from minigpt2.atomic_write import naming
from minigpt2.corpus import hub_files
from minigpt2.corpus.sources import STANDARD_INPUT, Source
from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.standard_input import waiting


@contextmanager
def opened(source: Source) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A source's bytes as stored, and decompressed. Both are the same file where it is not compressed.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or not what it was when it was found.
        ImportError: it is compressed with zstd, and the package for that is not installed.
    """
    with naming(source.shown), _stored(source) as stored:
        require_unchanged(source, stored)
        file, damage = _decompressed(source, stored)
        try:
            yield stored, file
        except damage as error:
            require_unchanged(source, stored)
            raise ValueError(f"{source.shown} is {fault(source, stored, error)}") from None


def fault(source: Source, stored: BinaryIO, error: Exception) -> str:
    """Why a compressed file or a table cannot be read: it is damaged, or only points to the one that is meant."""
    if not source.is_stream:
        stored.seek(0)
        if stored.read(len(POINTER)) == POINTER:
            return POINTER_REASON
    return f"damaged: {error}"


def require_unchanged(source: Source, stored: BinaryIO) -> None:
    """Refuse a file whose size or time of modification is not what it was when it was found.

    Raises:
        ValueError: it is not.
    """
    if not (source.is_stream or source.is_remote):
        status = os.fstat(stored.fileno())
        if (status.st_size, status.st_mtime_ns) != (source.size, source.modified):
            raise ValueError(f"{source.name} changed while it was read: try again when nothing writes to it")


@contextmanager
def _stored(source: Source) -> Iterator[BinaryIO]:
    if source.is_remote:
        with hub_files.opened(source.name) as remote:
            yield remote
    elif source.name != STANDARD_INPUT:
        with _file(source) as file:
            yield file
    elif sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    else:
        yield waiting(sys.stdin.buffer)


def _file(source: Source) -> BinaryIO:
    try:
        return source.path.open("rb")
    except OSError as error:
        error.filename = source.name
        raise


def _decompressed(source: Source, stored: BinaryIO) -> tuple[BinaryIO, tuple[type[Exception], ...]]:
    """The file to read, and what that raises where it is damaged."""
    if source.compression == ".gz":
        if not source.size and not source.is_stream:  # gzip would read it as a file that holds nothing
            raise ValueError(f"{source.name} is damaged: it is empty, and a gzip file is not")
        return cast(BinaryIO, gzip.GzipFile(fileobj=stored)), (EOFError, zlib.error, gzip.BadGzipFile)
    if source.compression == ".zst":
        zstd_file, zstd_error = _zstd()
        return zstd_file(stored), (EOFError, zstd_error)
    return stored, ()


def _zstd() -> tuple[Callable[[BinaryIO], BinaryIO], type[Exception]]:
    """The function that opens a file compressed with zstd, and the error that it raises over a damaged one."""
    try:
        with FORK_WAITS, ordered_hooks():
            if sys.version_info >= (3, 14):
                from compression import zstd
            else:
                from backports import zstd
    except ImportError as error:
        if error.name not in ("backports", "backports.zstd"):
            raise  # the package is there, and says why it does not start
        raise ImportError("reading .zst files needs the package backports.zstd: pip install 'minigpt2[zst]'") from None
    # `zstd --long` makes files that refer as far back as that.
    options = {int(zstd.DecompressionParameter.window_log_max): 31}
    return lambda stored: cast(BinaryIO, zstd.ZstdFile(stored, options=options)), zstd.ZstdError
