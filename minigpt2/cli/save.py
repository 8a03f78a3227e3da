"""A file that appears whole or not at all."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from numpy.typing import NDArray


def save_npy(path: Path, array: "NDArray[Any]") -> None:
    """Save an array in numpy's `.npy` format, under exactly this name. Raises as `save` does."""
    save(path, partial(_write_npy, array=array))


def save_text(path: Path, text: str) -> None:
    """Save a text as UTF-8. Raises as `save` does."""
    data = text.encode("utf-8")
    save(path, lambda file: file.write(data))


def save(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` write a file, which takes its name when it is whole.

    Raises:
        OSError: the file cannot be written; what was there before still is.
    """
    target = path.resolve()  # a symbolic link stays, and what it leads to is replaced
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as file:  # a device or a pipe cannot be replaced; a directory is refused here
                write(file)
        else:
            _write_aside(target, write)
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise


def _write_aside(target: Path, write: Callable[[BinaryIO], object]) -> None:
    aside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with aside.open("wb") as file:
            write(file)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _write_npy(file: BinaryIO, array: "NDArray[Any]") -> None:
    # numpy.save would leave the reason out where the disk is full, and cannot write to a pipe.
    import numpy as np

    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)
