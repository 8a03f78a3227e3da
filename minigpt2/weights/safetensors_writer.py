"""Writing tensors of safetensors files into another safetensors file, a block at a time."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minigpt2.atomic_write import atomic_write
from minigpt2.weights.safetensors_file import FLOATS, NUMPY_DTYPE, Array, SafetensorsFile, widened

Tensors = Mapping[str, tuple[SafetensorsFile, str]]  # by its new name: the file that a tensor is in, and its name there


def save(path: Path, tensors: Tensors, dtype: DTypeLike | None, metadata: Mapping[str, str]) -> None:
    """Write the tensors to `path`, floating-point numbers as `dtype` if one is given; see `Checkpoint.save`."""
    wanted = None if dtype is None else float_dtype(dtype)
    with atomic_write(path) as file:
        _write(file, tensors, wanted, metadata)
        file.flush()
        if Path(file.name).is_file():
            SafetensorsFile(Path(file.name))  # an unsound file never gets the name


def float_dtype(dtype: DTypeLike) -> str:
    """The format's name for a floating-point dtype given by that name or by numpy's.

    Raises:
        ValueError: it is not one of BF16, F16, F32 and F64.

    >>> float_dtype("BF16"), float_dtype(np.float16)
    ('BF16', 'F16')
    """
    if isinstance(dtype, str) and dtype in FLOATS:
        return dtype
    with suppress(TypeError):
        wanted = np.dtype(dtype).newbyteorder("<")
        for name in ("F16", "F32", "F64"):
            if wanted == np.dtype(NUMPY_DTYPE[name]):
                return name
    raise ValueError(f"{dtype!r} is not one of {', '.join(FLOATS)}")


def _write(file: BinaryIO, tensors: Tensors, wanted: str | None, metadata: Mapping[str, str]) -> None:
    dtypes = {name: _dtype(*where, wanted) for name, where in tensors.items()}
    # The widest numbers first, as safetensors orders them: each tensor then begins at a multiple of its own width.
    order = sorted(tensors, key=lambda name: -_width(*tensors[name], dtypes[name]))
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in order:
        begin, end = end, end + _nbytes(*tensors[name], dtypes[name])
        shape = tensors[name][0].tensors[tensors[name][1]].shape
        entries[name] = {"dtype": dtypes[name], "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    for name in order:
        for block in _blocks(*tensors[name], dtypes[name]):
            file.write(block.data)


def _dtype(file: SafetensorsFile, name: str, wanted: str | None) -> str:
    stored = file.tensors[name].dtype
    return wanted if wanted and stored in FLOATS else stored


def _width(file: SafetensorsFile, name: str, dtype: str) -> int:
    return np.dtype(NUMPY_DTYPE.get(dtype, "u1")).itemsize


def _nbytes(file: SafetensorsFile, name: str, dtype: str) -> int:
    info = file.tensors[name]
    return info.nbytes if dtype == info.dtype else prod(info.shape) * _width(file, name, dtype)


def _blocks(file: SafetensorsFile, name: str, dtype: str) -> Iterator[Array]:
    """The tensor's numbers as they will be in the file, as arrays of shape (n,)."""
    if dtype == file.tensors[name].dtype:
        yield from file.raw_blocks(name)
        return
    for block in file.blocks(name):
        converted = _converted(block, dtype)
        lost = np.isfinite(block) & ~np.isfinite(widened(converted) if dtype == "BF16" else converted)
        if lost.any():
            raise ValueError(f"{file.path}: {name!r} has {block[lost][0]}, which is beyond the range of {dtype}")
        yield converted


def _converted(numbers: Array, dtype: str) -> Array:
    """Floating-point numbers (n,), each rounded to the nearest of another dtype; BF16 as its bits, uint16."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return _rounded_to_bfloat16(numbers) if dtype == "BF16" else numbers.astype(NUMPY_DTYPE[dtype])


def _rounded_to_bfloat16(numbers: Array) -> NDArray[np.uint16]:
    """The upper 16 bits of each number (n,) as float32, rounded by the lower 16, halves to even; a NaN stays a NaN."""
    narrow = numbers.astype(np.float32)
    bits = narrow.view(np.uint32)
    if numbers.dtype == np.float64:
        # Rounded twice, a number just above half would become half and then go down. So what float32 cannot hold is
        # cut off, and the last bit becomes 1: that is never half.
        bits = bits - (np.abs(narrow) > np.abs(numbers)) | (narrow != numbers)
    # Adding 0x7FFF carries into the upper bits where the lower ones are above half; plus the last upper bit, also at
    # exactly half if that bit is odd.
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(numbers), bits >> 16 | 0x40, rounded).astype("<u2")
