"""A safetensors file: where its tensors are, and read-only arrays over its bytes.

The format (https://github.com/huggingface/safetensors#format): 8 bytes of header length; a JSON header with the dtype,
shape and byte range of every tensor; the numbers, little-endian, without gaps. Only the header is read. The numbers are
mapped into memory, so a row costs no more than the pages that it lies on.
"""

import json
import mmap
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import EllipsisType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from minigpt2.atomic_write import naming
from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.weights.damage import MOST_HEADER, explanation
from minigpt2.weights.file_io import opened, read_at, read_into
from minigpt2.weights.kept_path import KeptPath

Array = NDArray[Any]
RowIndex = NDArray[np.int64] | slice | EllipsisType

# Every dtype of the format that numpy has, and BF16, which is stored here as the upper 16 bits of a float32.
NUMPY_DTYPE: Final = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "BF16": "<u2",
    "F32": "<f4",
    "F64": "<f8",
    "C64": "<c8",
}
FLOATS: Final = ("BF16", "F16", "F32", "F64")
_OFFSETS: Final = "DCP_SHARDING_INFO"
_PART: Final = re.compile("shard-[0-9]{5}-")
BLOCK: Final = 1 << 16  # numbers read at a time by whatever goes through a whole tensor


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or is not what is needed; the message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's entry in the header: its `dtype` as the file spells it, `shape`, and bytes `[begin, end)` of `path`.

    The path of an opened file is absolute.

    >>> from pathlib import Path
    >>> wpe = TensorInfo("F32", (1024, 768), Path("model.safetensors"), 14_291, 3_160_019)
    >>> wpe.size, wpe.nbytes
    (786432, 3145728)
    """

    dtype: str
    shape: tuple[int, ...]
    path: Path
    begin: int
    end: int

    @property
    def size(self) -> int:
        """How many numbers the tensor has."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes they take in the file."""
        return self.end - self.begin


class SafetensorsFile:
    """One safetensors file, validated by `safetensors` itself and mapped into memory.

    `tensors` maps each name to its `TensorInfo`, in the header's order; `metadata` is the header's `__metadata__`;
    `size` is the file's size in bytes.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is not a sound safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self._identity = _identity(path)
        self._path = KeptPath(path)
        self._descriptor = opened(self, path, os.O_RDONLY)  # an error names the path, as `safetensors` does not
        with naming(path):
            _read_through_header(self._descriptor)
        _refuse_unsound(path)
        with naming(path):
            self.size = os.fstat(self._descriptor).st_size
            self.tensors, self.metadata = _read_header(self._path.absolute, self._descriptor)
            self._bytes = np.frombuffer(self._mapped(), np.uint8)

    def _mapped(self) -> mmap.mmap:
        """Map the file into memory, privately where possible: some network mounts refuse a shared mapping."""
        if hasattr(mmap, "MAP_PRIVATE"):
            return mmap.mmap(self._descriptor, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
        return mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)

    def __copy__(self) -> Self:
        """The file itself: it does not change, and its descriptor is closed only once."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """A pickle holds no numbers: where it is read, the same file is opened again."""
        return _opened_again, (self._path.absolute, self._identity)

    @property
    def path(self) -> Path:
        """Where the file is, from whatever directory is the current one."""
        return self._path.now

    @property
    def fetched_bytes(self) -> int:
        """How many bytes came over the network: none, of a local file."""
        return 0

    def fetch(self, names: Iterable[str]) -> None:
        """Bring all the bytes of these tensors to this machine: nothing to do for a local file."""

    def array(self, name: str) -> Array:
        """Tensor `name` as a read-only array of its shape. Raises as `read` does."""
        array = self.read(name)
        array.flags.writeable = False
        return array

    def read(self, name: str, rows: RowIndex = ...) -> Array:
        """Tensor `name`, or these rows of it: a view in the file's dtype; of BF16 a copy, widened to float32.

        The shape is the tensor's; for `rows` an index or slice of the first axis, as numpy gives it.

        Raises:
            CheckpointError: numpy has no such dtype or shape, or the file has changed since it was opened.
        """
        info = self.tensors[name]
        view = self._view(name, info)
        self._prepare(info, rows)
        stored = view[rows]
        return widened(stored) if info.dtype == "BF16" else stored

    def blocks(self, name: str) -> Iterator[Array]:
        """All numbers of a tensor in the order of the file, as aligned arrays of shape (up to BLOCK,).

        This takes little memory however large the tensor is: a block is overwritten when the next one is read. Raises
        as `read` does.
        """
        info = self.tensors[name]
        dtype = self._numpy_dtype(name, info)
        for raw in self.raw_blocks(name):
            yield widened(raw.view(dtype)) if info.dtype == "BF16" else raw.view(dtype)

    def read_into(self, name: str, out: NDArray[np.float32]) -> None:
        """Fill a C-contiguous array of the tensor's shape with its numbers, which become float32.

        Float32 numbers come straight from the file, in one piece. Raises as `read` does.
        """
        info = self.tensors[name]
        if self._view(name, info).dtype == out.dtype:
            self.fetch([name])
            self._read_into(out, info, info.begin)
        else:
            flat, start = out.reshape(-1), 0
            for block in self.blocks(name):
                with np.errstate(under="ignore"):  # of float64
                    flat[start : start + len(block)] = block
                start += len(block)
        self._prepare(info, slice(0))  # nothing was written while it was read

    def raw_blocks(self, name: str) -> Iterator[NDArray[np.uint8]]:
        """All bytes of a tensor of any dtype, as `blocks` gives its numbers: arrays of shape (bytes,), uint8.

        Raises:
            CheckpointError: the file has changed since it was opened.
        """
        info = self.tensors[name]
        self.fetch([name])
        step = BLOCK * np.dtype(NUMPY_DTYPE.get(info.dtype, "u1")).itemsize
        buffer = np.empty(min(step, info.nbytes), np.uint8)
        for offset in range(info.begin, info.end, step):
            block = buffer[: info.end - offset]
            self._read_into(block, info, offset)
            yield block
        self._prepare(info, slice(0))  # nothing was written while the last block was read

    def _read_into(self, buffer: Array, info: TensorInfo, offset: int) -> None:
        """Fill a buffer with bytes of this tensor, those at an offset of the file."""
        self._prepare(info, slice(0))
        with naming(self.path):
            size = read_into(self._descriptor, buffer, offset)
        if size < buffer.nbytes:
            raise CheckpointError(f"{self.path} has been cut off since it was opened: open it again")

    def _view(self, name: str, info: TensorInfo) -> Array:
        dtype = self._numpy_dtype(name, info)
        try:
            return self._bytes[info.begin : info.end].view(dtype).reshape(info.shape)
        except (ValueError, OverflowError) as error:
            raise CheckpointError(f"{self.path}: tensor {name!r} cannot be a numpy array: {error}") from error

    def _numpy_dtype(self, name: str, info: TensorInfo) -> str:
        if info.dtype not in NUMPY_DTYPE:
            raise CheckpointError(f"{self.path}: tensor {name!r} is {info.dtype}, a dtype that numpy lacks")
        return NUMPY_DTYPE[info.dtype]

    def _prepare(self, info: TensorInfo, rows: RowIndex) -> None:
        """Make sure that the file still is the one that was opened, before these rows are read."""
        # Reading a mapped page that the file has lost kills the process, and a rewritten page holds a wrong row.
        if _identity(self._path.absolute) != self._identity:
            raise CheckpointError(f"{self.path} has changed since it was opened: open it again")


def _opened_again(path: Path, identity: tuple[int, int, int, int]) -> SafetensorsFile:
    """The file that a pickle names. Its device is not compared, as another machine may number it differently.

    Raises:
        CheckpointError: another file is there now.
    """
    file = SafetensorsFile(path)
    if file._identity[1:] != identity[1:]:
        raise CheckpointError(f"{path} is not the file that was pickled: open it here instead")
    return file


def _identity(path: Path) -> tuple[int, int, int, int]:
    """Device, inode, size and time of change: a file that differs in one of them is another file.

    A pipe or a device is refused: opening it could wait forever.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path} is not a regular file")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_through_header(descriptor: int) -> None:
    """Read a header that may be damaged, to see whether the disk fails.

    `safetensors` maps the file, and where a disk fails under a mapping the process ends without a word.
    """
    length = int.from_bytes(read_at(descriptor, 8, 0), "little")
    read_at(descriptor, min(length, MOST_HEADER, os.fstat(descriptor).st_size), 8)


def _refuse_unsound(path: Path) -> None:
    """Let `safetensors` check the header against the file's size; it reads none of the numbers.

    A fork waits, because a child could inherit locks that the import and the first check hold.
    """
    with FORK_WAITS, ordered_hooks():
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np"):
                pass
        except SafetensorError as error:
            raise CheckpointError(f"{path} is not a sound safetensors file: {explanation(path, str(error))}") from error
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error


def _read_header(path: Path, descriptor: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """The header of a file that `_refuse_unsound` accepted, so that its JSON is strict, bounded and free of NaN."""
    length = int.from_bytes(read_at(descriptor, 8, 0), "little")
    header = json.loads(read_at(descriptor, length, 8))
    metadata = header.pop("__metadata__", None) or {}
    _refuse_part(path, metadata)
    return {name: _tensor_info(path, name, entry, 8 + length) for name, entry in header.items()}, metadata


def _refuse_part(path: Path, metadata: dict[str, str]) -> None:
    """Refuse the part of the tensors that one process of torch's distributed checkpoints wrote.

    `DCP_SHARDING_INFO` holds, as JSON, where each tensor of the file begins in the whole one. The first process has
    their beginnings, under a name of its own.
    """
    try:
        starts = [entry["saved_offsets"] for entry in json.loads(metadata.get(_OFFSETS, "{}")).values()]
        is_part = any(any(start) for start in starts) or (_OFFSETS in metadata and _PART.match(path.name))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        is_part = True
    if is_part:
        raise CheckpointError(
            f"{path}: its {_OFFSETS} says that one process saved it, perhaps only a part of the tensors; "
            "torch.distributed.checkpoint.load with its HuggingFaceStorageReader puts all parts together"
        )


def _tensor_info(path: Path, name: str, entry: object, data_start: int) -> TensorInfo:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end]}:
            return TensorInfo(dtype, tuple(shape), path, data_start + begin, data_start + end)
        case _:  # `safetensors` also accepts an entry in the form of a list
            raise CheckpointError(f"{path}: the header's entry for {name!r} has no dtype, shape and data_offsets")


def widened(bfloat16: Array) -> Array:
    """BF16, held as uint16, as float32 of the same shape: exact, because a BF16 is the upper 16 bits of a float32."""
    bits = bfloat16.astype(np.uint32)
    bits <<= np.uint32(16)  # of this dtype: for numpy 1 an array without dimensions has that of a plain number
    return bits.view(np.float32)
