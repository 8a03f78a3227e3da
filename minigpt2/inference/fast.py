"""Tricks for a fast model: where parameters lie, few rows multiplied one by one, and attention in blocks of scores.

None of it changes an equation. `model` would compute the same without this file, only slower.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minigpt2.vectorized.arrays import keep_freed_memory
from minigpt2.weights.checkpoint import Checkpoint

Float32 = NDArray[np.float32]

FEW_ROWS: Final = 6  # from 7 rows on one matrix product is quicker than a product a row
PART: Final = 3 << 20  # bytes of a matrix: large enough for BLAS to share it out, small enough to stay in the caches
ROWS: Final = 1 << 18  # bytes of rows: a function has several such arrays at hand, all in one processor's cache
QUERIES: Final = 128  # queries whose attention is computed at a time
SCORES: Final = 1 << 21  # bytes of scores: a processor's cache again
LINE: Final = 16  # float32 numbers in a cache line
READERS: Final = min(4, os.cpu_count() or 1)  # threads that read parameters


def load_parameters(weights: Checkpoint) -> dict[str, Float32]:
    """Every parameter under its name without `transformer.`, as an aligned float32 array of its own.

    The numbers are read, not mapped: the published file is unaligned, so numpy would copy the matrices of a mapped view
    again for every product.

    Raises:
        CheckpointError: the weights have changed since they were opened, or are not floating-point numbers.
        HubError: a remote checkpoint cannot be read.
        MemoryError: there is too little memory.
    """
    names = weights.parameter_names()
    weights.fetch(names)
    try:
        arrays = {name: room_for(name, weights.info(name).shape) for name in names}
    except MemoryError:
        gigabytes = 4 * weights.num_parameters() / 1e9
        raise MemoryError(f"{weights.path}: its parameters need {gigabytes:.1f} GB of memory") from None
    keep_freed_memory()  # each call makes and frees the same arrays: 20,000 page faults for 512 tokens otherwise
    largest_first = sorted(names, key=lambda name: -arrays[name].size)  # so that the threads end together
    with ThreadPoolExecutor(READERS) if READERS > 1 else nullcontext() as pool:  # WebAssembly has no threads
        read = map if pool is None else pool.map
        list(read(lambda name: fill(arrays[name], weights, name), largest_first))
    return {name.removeprefix("transformer."): array for name, array in arrays.items()}


def room_for(name: str, shape: tuple[int, ...]) -> Float32:
    """An empty array for a parameter; the rows of a matrix for `product` begin an odd number of cache lines apart.

    At a distance of 12,288 bytes, as in the published `mlp.c_fc`, numbers in one column compete for a few lines of the
    cache. At an odd distance they share all of it, and a product of 64 rows takes 0.85 of the time.

    >>> room_for("h.0.mlp.c_fc.weight", (768, 3072)).strides
    (12352, 4)
    """
    if ".c_" not in name or len(shape) != 2:
        return np.empty(shape, np.float32)
    lines = ceil(shape[1] / LINE) | 1
    return np.empty((shape[0], lines * LINE), np.float32)[:, : shape[1]]


def fill(array: Float32, weights: Checkpoint, name: str) -> None:
    """Read a parameter into an array, whose rows may lie apart."""
    whole = array if array.flags.c_contiguous else np.empty(array.shape, np.float32)
    weights.read_into(name, whole)
    if whole is not array:
        array[:] = whole


def product(x: Float32, matrix: Float32) -> Float32:
    """`x @ matrix`: shapes (..., inputs) and (inputs, outputs) give (..., outputs).

    One row needs one reading of the matrix, at the speed of memory. For 2 to 6 rows BLAS takes 2.5 times as long or
    longer, because it copies the matrix first. So few rows are multiplied one at a time, with one part of the matrix
    after the other, while that part is in the processors' caches. Each row has the same bits as if it were alone.
    """
    rows = x.reshape(-1, x.shape[-1])  # (rows, inputs)
    if len(rows) > FEW_ROWS:
        return (rows @ matrix).reshape(*x.shape[:-1], -1)
    result = np.zeros((len(rows), matrix.shape[1]), np.float32)
    for inputs in parts_of(matrix, PART):
        part = matrix[inputs]  # (fewer inputs, outputs)
        for index, row in enumerate(rows):
            result[index] += row[inputs] @ part
    return result.reshape(*x.shape[:-1], -1)


def product_with_rows(x: Float32, matrix: Float32) -> Float32:
    """`x @ matrix.T`, as `product` does it: shapes (..., inputs) and (outputs, inputs) give (..., outputs)."""
    rows = x.reshape(-1, x.shape[-1])  # (rows, inputs)
    if len(rows) > FEW_ROWS:
        return (rows @ matrix.T).reshape(*x.shape[:-1], -1)
    result = np.empty((len(rows), len(matrix)), np.float32)
    for outputs in parts_of(matrix, PART):
        part = matrix[outputs]  # (fewer outputs, inputs)
        for index, row in enumerate(rows):
            result[index, outputs] = part @ row
    return result.reshape(*x.shape[:-1], -1)


def parts_of(matrix: Float32, nbytes: int) -> list[slice]:
    """Slices of the rows of a matrix: as equal as can be, of about so many bytes.

    >>> parts_of(np.zeros((10, 2), np.float32), nbytes=30)
    [slice(0, 4, None), slice(4, 8, None), slice(8, 12, None)]
    """
    step = max(1, ceil(len(matrix) / max(1, round(matrix.nbytes / nbytes))))
    return [slice(start, start + step) for start in range(0, len(matrix), step)]


def by_rows(function: Callable[[Float32], Float32], x: Float32) -> Float32:  # (..., columns) -> (..., columns)
    """A function of each row by itself, for some rows at a time: what it computes in between stays in the cache."""
    rows = x.reshape(-1, x.shape[-1])
    result = np.empty_like(rows)
    for some in parts_of(rows, ROWS):
        result[some] = function(rows[some])
    return result.reshape(x.shape)


def blocks_of_scores(texts: int, heads: int, queries: int, keys: int) -> Iterator[tuple[slice, slice, slice]]:
    """Slices of the heads and of the queries, each with that of the keys that these may look at: none that come later.

    The scores of some heads and 128 queries fit into the processor's cache, and half of all scores are never computed.
    Where `product` multiplies one row at a time, this gives one query at a time, so that its bits too are those of a
    query alone.

    >>> list(blocks_of_scores(texts=1, heads=12, queries=200, keys=210))
    [(slice(0, 12, None), slice(0, 128, None), slice(0, 138, None)), \
(slice(0, 12, None), slice(128, 200, None), slice(0, 210, None))]
    """
    past = keys - queries
    step = 1 if texts * queries <= FEW_ROWS else QUERIES
    for start in range(0, queries, step):
        end = min(start + step, queries)
        some = max(1, SCORES // (4 * texts * (end - start) * (past + end)))
        for first in range(0, heads, some):
            yield slice(first, min(first + some, heads)), slice(start, end), slice(0, past + end)
