"""Tensors of safetensors files → another safetensors file, a block at a time."""

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minigpt2.atomic_write import atomic_write
from minigpt2.weights.safetensors_file import FLOATS, NUMPY_DTYPE, Array, SafetensorsFile

Tensors = Mapping[str, tuple[SafetensorsFile, str]]  # by the name it will have: where it is, and its name there


def save(path: Path, tensors: Tensors, dtype: DTypeLike | None, metadata: Mapping[str, str]) -> None:
    """Write the tensors to `path`, floating-point numbers as `dtype` if one is given; see `Checkpoint.save`."""
    target = path.resolve()  # a symbolic link stays, and what it leads to is replaced
    wanted = None if dtype is None else float_dtype(dtype)
    for source in {file for file, _ in tensors.values()}:
        if target.exists() and source.path.exists() and target.samefile(source.path):
            raise ValueError(f"{path} is the file that is read from: save under another name")
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a directory: name a file in it, such as model.safetensors")
    with atomic_write(path) as file:
        _write(file, tensors, wanted, metadata)
        file.flush()
        SafetensorsFile(Path(file.name))  # sound, or it does not get the name


def float_dtype(dtype: DTypeLike) -> str:
    """The format's name for a floating-point dtype given by that name or by numpy's.

    Raises:
        TypeError: it is no dtype.
        ValueError: it is none of the four.

    >>> float_dtype("BF16"), float_dtype(np.float16)
    ('BF16', 'F16')
    """
    if isinstance(dtype, str) and dtype in FLOATS:
        return dtype
    try:
        numpy_dtype = np.dtype(dtype).newbyteorder("<")
    except TypeError:
        raise ValueError(f"{dtype!r} is none of {', '.join(FLOATS)}") from None
    for name in ("F16", "F32", "F64"):
        if numpy_dtype == np.dtype(NUMPY_DTYPE[name]):
            return name
    raise ValueError(f"{dtype!r} is none of {', '.join(FLOATS)}")


def _write(file: BinaryIO, tensors: Tensors, wanted: str | None, metadata: Mapping[str, str]) -> None:
    dtypes = {name: _dtype(*where, wanted) for name, where in tensors.items()}
    # The widest numbers first, so that each lies at a multiple of its own width, as safetensors itself orders them.
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
    """The tensor's bytes as they will be in the file."""
    if dtype == file.tensors[name].dtype:
        yield from file.raw_blocks(name)
        return
    for block in file.blocks(name):
        converted = _converted(block, dtype)
        lost = np.isfinite(block) & ~np.isfinite(_value(converted, dtype))
        if lost.any():
            raise ValueError(f"{file.path}: {name!r} has {block[lost][0]}, which is beyond the range of {dtype}")
        yield converted


def _converted(numbers: Array, dtype: str) -> Array:
    """Floating-point numbers in another dtype, each the nearest; BF16 as its bits."""
    with np.errstate(over="ignore", invalid="ignore"):
        return _rounded_to_bfloat16(numbers) if dtype == "BF16" else numbers.astype(NUMPY_DTYPE[dtype])


def _rounded_to_bfloat16(numbers: Array) -> NDArray[np.uint16]:
    """The upper half of each float32, rounded half to even by the lower one; a NaN stays one."""
    bits = numbers.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(numbers), bits >> 16 | 0x40, rounded).astype("<u2")


def _value(converted: Array, dtype: str) -> Array:
    return (converted.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else converted
