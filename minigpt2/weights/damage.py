"""Why `safetensors` refused a file, where its own error cannot say it: another kind of file, or half of a download."""

import json
from pathlib import Path
from typing import Final

from minigpt2.archives import POINTER, POINTER_REASON, other_kind
from minigpt2.atomic_write import naming

MOST_HEADER: Final = 100_000_000  # bytes, by the format
_MOST_READ: Final = 1 << 20  # bytes of header to parse for an explanation

_PICKLE: Final = (
    "it is a pickle, as torch.save writes it, which can run code when it is loaded and so is not read here; "
    "load it with transformers where you trust it, and save_pretrained() writes a model.safetensors"
)
_FOREIGN: Final = {
    tuple(bytes([0x80, protocol]) for protocol in range(2, 6)): _PICKLE,
    (b"<!doctype html", b"<html", b"<?xml"): "it is a web page, so the download went wrong: download the file again",
    (POINTER,): f"it is {POINTER_REASON}",
}


def explanation(path: Path, error: str) -> str:
    """The fault in the file that `safetensors` refused with this error.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     path = Path(directory) / "model.safetensors"
    ...     _ = path.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    ...     explanation(path, "header too large")
    'it is a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned'
    """
    with naming(path), path.open("rb") as file:
        start = file.read(8 + _MOST_READ)
    for beginnings, what in _FOREIGN.items():
        if start[:64].lstrip().lower().startswith(beginnings):
            return what
    if _is_of_torch(start):
        return _PICKLE
    if kind := other_kind(start):
        return f"it is {kind[0]}: `{kind[1]}` unpacks it"
    size, promised = path.stat().st_size, _promised_size(start)
    if size < promised:
        return f"it has {size:,} bytes of {promised:,}: it was cut off, so download or copy it again"
    reason = error.removeprefix("Error while deserializing header: ")[:300]  # it may hold a tensor's name
    return f"{reason.encode('unicode_escape').decode()} (the file has {size:,} bytes)"


def _is_of_torch(start: bytes) -> bool:
    """Whether a file begins as the zip archives of torch.save do: the padding after its first name is called FB."""
    end = 30 + int.from_bytes(start[26:28], "little")
    return start.startswith(b"PK\x03\x04") and start[end : end + 2] == b"FB"


def _promised_size(start: bytes) -> int:
    """How many bytes the file should have at least, by as much of its beginning as can be parsed."""
    length = int.from_bytes(start[:8], "little")
    if len(start) < 8 or not 0 < length <= MOST_HEADER:
        return 8
    try:
        header = json.loads(start[8 : 8 + length]) if length <= _MOST_READ else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        ends = []
    return 8 + length + max((end for end in ends if isinstance(end, int)), default=0)
