"""A lazy stand-in for a tensor on the hub, which behaves like an array and is read when it is indexed."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minigpt2.weights.safetensors_file import Array


class RemoteArray(NDArrayOperatorsMixin):
    """A tensor of a remote checkpoint. `shape` and `dtype` are known; indexing reads the rows that it needs.

    `array[[464, 3616]]` reads two rows, `array[:5]` five. Arithmetic, `np.asarray`, iteration and methods such as
    `mean` read all of it. The results are read-only numpy arrays.

    >>> rows = RemoteArray((3, 2), np.dtype("f4"), np.arange(6, dtype="f4").reshape(3, 2).__getitem__)
    >>> rows[-1]
    array([4., 5.], dtype=float32)
    >>> rows.shape, rows.mean(), (rows * 2)[0, 1]
    ((3, 2), np.float32(2.5), np.float32(2.0))
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], read: Callable[[Any], Array]) -> None:
        self.shape, self.dtype = shape, dtype
        self.ndim, self.size = len(shape), prod(shape)
        self.itemsize, self.nbytes = dtype.itemsize, dtype.itemsize * prod(shape)
        self._read = read

    def __repr__(self) -> str:
        return f"<RemoteArray {self.dtype} {self.shape}: {self.nbytes:,} bytes, read when indexed>"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        found = self._read(key)
        if isinstance(found, np.ndarray):
            found.flags.writeable = False
        return found

    def __iter__(self) -> Iterator[Any]:
        return iter(np.asarray(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        whole: Array = self[...]
        return whole.astype(dtype or self.dtype, copy=bool(copy))

    # What Python asks of an object's class, not of the object.
    def __bool__(self) -> bool:
        return bool(np.asarray(self))

    def __int__(self) -> int:
        return int(np.asarray(self))

    def __index__(self) -> int:
        return np.asarray(self).__index__()

    def __float__(self) -> float:
        return float(np.asarray(self))

    def __contains__(self, value: object) -> bool:
        return value in np.asarray(self)

    def __format__(self, spec: str) -> str:
        return format(np.asarray(self), spec) if spec else str(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(each, RemoteArray) for each in options.get("out", ())):
            raise ValueError("output array is read-only")
        options = {name: _whole(each) for name, each in options.items()}  # `where` can be an array, too
        return getattr(ufunc, method)(*map(_whole, inputs), **options)

    def __getattr__(self, name: str) -> Any:
        # Every other method and attribute of an array. A name that arrays lack must not read anything.
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"a remote array has no attribute {name!r}")
        return getattr(np.asarray(self), name)


def _whole(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, RemoteArray) else value
