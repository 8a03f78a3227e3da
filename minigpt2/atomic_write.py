"""Writing a file that appears whole or not at all, whatever interrupts."""

import errno
import os
import re
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG, S_ISVTX
from typing import BinaryIO

LOCK_SECONDS = 5.0  # seconds that another may hold the lock of a directory: files take their names in milliseconds


@contextmanager
def atomic_write(path: str | os.PathLike[str], tag: str = "") -> Iterator[BinaryIO]:
    """Open a file that takes the name `path` when the block ends well, and is removed when it does not.

    The bytes are on the disk before the name changes. The mode of a file that is replaced stays, and so does a symbolic
    link: what it points to is replaced. A device or a pipe cannot be replaced: it is written to directly. A process
    that is killed leaves a file beside `path` whose name begins with a dot and the `tag`.

    Raises:
        OSError: the file cannot be written; the error names `path`, and what was there before is still there.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     with atomic_write(f"{directory}/ids.bin") as file:
    ...         _ = file.write(b"all of it")
    ...     os.listdir(directory), Path(directory, "ids.bin").read_bytes()
    (['ids.bin'], b'all of it')
    """
    is_stream = _is_stream(Path(path))
    target = Path(path) if is_stream else resolved(path)  # the end of /dev/stdout's links may be no path
    partial = target.with_name(f".{tag}{os.urandom(8).hex()}.partial")  # not of its name, which may be long
    try:
        with naming(path, partial, target):
            if is_stream or target.is_dir():  # opening a directory fails with the right error
                with target.open("wb") as file:
                    yield file
            else:
                require_replaceable(target)
                with partial.open("xb") as file:
                    with suppress(OSError):  # there was none, or the file system has no modes
                        partial.chmod(target.stat().st_mode)
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(target)
                sync_directory(target.parent)
    finally:
        with suppress(OSError):  # it took its name, or was never made
            partial.unlink()


@contextmanager
def naming(name: str | os.PathLike[str], *others: Path) -> Iterator[None]:
    """Let an OSError name its file by `name`, where it names none or one of the `others`.

    One of reading or writing names none, as one of opening does. One without a number has a message that says all.
    """
    try:
        yield
    except OSError as error:
        if error.errno and (error.filename is None or str(error.filename) in map(str, others)):
            set_file(error, os.fspath(name))
        raise


def set_file(error: OSError, name: str) -> None:
    """Let an error name this file, and no second one."""
    error.filename = name
    if error.filename2 is not None:
        del error.filename2  # None would be shown


def require_writable(path: str | os.PathLike[str], *, makes_directories: bool = False) -> None:
    """Refuse a path that no file can be written to, before the work that is to be written.

    `makes_directories` is for a caller that makes those of the path that are missing.

    Raises:
        OSError: it is a directory, or in a place where no file can be made, or a file that cannot be replaced;
            the error names `path`.
    """
    if _is_stream(Path(path)):
        return
    target = resolved(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory: name the file to write", os.fspath(path))
    there = next(each for each in target.parents if each.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{there} is not a directory", os.fspath(path))
    if there != target.parent and not makes_directories:
        raise FileNotFoundError(errno.ENOENT, "there is no such directory to write in", os.fspath(path))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"no file can be written in {there}", os.fspath(path))
    require_replaceable(path)


def require_replaceable(path: str | os.PathLike[str]) -> None:
    """Refuse a file that cannot be replaced or removed, though a new one could be made in its directory.

    It may be another user's, in a directory with the sticky bit, such as /tmp; or a mount point, as containers have.

    Raises:
        OSError: it is one; the error names `path`.
    """
    target = resolved(path)
    try:
        directory, file = target.parent.stat(), target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if directory.st_mode & S_ISVTX and os.geteuid() not in (0, directory.st_uid, file.st_uid):
        reason = f"another user's file, which only its owner may replace in {target.parent}"
        raise PermissionError(errno.EPERM, reason, os.fspath(path))
    if _is_mount_point(target):
        reason = "a mount point, where no file can be replaced: mount its directory instead"
        raise OSError(errno.EBUSY, reason, os.fspath(path))


def _is_mount_point(path: Path) -> bool:
    """Whether something is mounted at this very path; False where the system does not tell."""
    mount, around = _mount_of(path), _mount_of(path.parent)
    return mount != around and None not in (mount, around)


def _mount_of(path: Path) -> bytes | None:
    """Linux's number of the mount that a path is in."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            found = re.search(rb"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{descriptor}").read_bytes(), re.MULTILINE)
        finally:
            os.close(descriptor)
    except (AttributeError, OSError):  # not Linux, or no /proc
        return None
    return found[1] if found else None


def _is_stream(path: Path) -> bool:
    """Whether a path is that of a device or a pipe; asked once, because another process may remove it."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (S_ISREG(mode) or S_ISDIR(mode))


def resolved(path: str | os.PathLike[str]) -> Path:
    """The path that symbolic links lead to; there need be nothing.

    Raises:
        OSError: it is empty, its links lead in a circle, or it is relative and the current directory is gone.
    """
    if not os.fspath(path):
        raise FileNotFoundError(errno.ENOENT, "the name of a file is empty")
    try:
        Path(path).stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.filename = os.fspath(path)
            raise
    try:
        return Path(os.path.realpath(path))
    except FileNotFoundError:
        reason = "the current directory has been removed: change to another"
        raise FileNotFoundError(errno.ENOENT, reason, os.fspath(path)) from None


def is_one_name(path: Path, other: Path) -> bool:
    """Whether two resolved paths are one name in one directory, which can be mounted twice.

    Some file systems take `Book.txt` and `book.txt` for one name.
    """
    if folded(path.name) != folded(other.name):
        return False
    with suppress(FileNotFoundError):  # a directory does not exist
        return path.parent.samefile(other.parent) and (path.name == other.name or path.samefile(other))
    return False


def folded(name: str) -> str:
    """A file's name, the same for all names that a file system may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def leads_to(path: Path, descriptor: int) -> bool:
    """Whether a path still leads to the file that is open: it may have been removed, and made again."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory's lock, so that one thread of one process at a time writes files that belong together.

    Other programs may hold it for long: after `LOCK_SECONDS` the block runs without it, as it does where the system has
    no such locks.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = -1
    with suppress(OSError):  # it can perhaps be written to and not read
        descriptor = os.open(directory, os.O_RDONLY)
    if descriptor < 0:
        yield
        return
    try:
        end = time.monotonic() + LOCK_SECONDS
        with suppress(OSError):  # a file system without locks
            while not _is_locked(descriptor) and time.monotonic() < end:
                time.sleep(0.01)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough where a forked child has it too
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_directory(directory: Path) -> None:
    """Let the names in a directory reach the disk now, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
