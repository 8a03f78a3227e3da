"""Archives, compressed files, tables and pointers: told by the bytes that they begin with, and what unpacks them."""

from typing import Final

# What such a file begins with, what it is, and the command that unpacks it.
_KINDS: Final = (
    (b"PK\x03\x04", "a zip archive", "unzip"),
    (b"PK\x05\x06", "a zip archive", "unzip"),  # without a file
    (b"PK\x07\x08", "a zip archive", "unzip"),  # meant to be split
    (b"\xfd7zXZ\x00", "compressed by xz", "xz -dc"),
    *((b"BZh%d1AY&SY" % level, "compressed by bzip2", "bzip2 -dc") for level in range(1, 10)),
    *((b"BZh%d\x17rE8P\x90" % level, "compressed by bzip2", "bzip2 -dc") for level in range(1, 10)),  # without a byte
    (b"\x1f\x8b\x08", "compressed by gzip", "gzip -dc"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "zstd -dc"),
)
#: What a Parquet table begins with: the last byte is of the first structure in it, and of no text.
TABLE: Final = b"PAR1\x15"
#: What Git LFS puts in place of a large file where a repository is cloned without it, and what to do then.
POINTER: Final = b"version https://git-lfs.github.com/spec/"
POINTER_REASON: Final = "a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned"
#: The bytes at its beginning that tell what kind of file it is.
BEGINNING: Final = 265


def other_kind(data: bytes) -> tuple[str, str] | None:
    """The kind of a file that begins with these bytes, and the command that unpacks it; None if it may be text.

    >>> other_kind(b"BZh91AY&SY"), other_kind(b"text")
    (('compressed by bzip2', 'bzip2 -dc'), None)
    """
    if data[257:265] in (b"ustar\x0000", b"ustar  \0"):  # POSIX's archives, and GNU's
        return "a tar archive", "tar -xf"
    return next(((what, command) for beginning, what, command in _KINDS if data.startswith(beginning)), None)
