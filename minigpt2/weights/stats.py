"""Statistics of a tensor's numbers: extremes, mean, spread, norms and histogram, a block at a time."""

from dataclasses import dataclass
from math import inf, nan, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minigpt2.weights.checkpoint import Checkpoint
from minigpt2.weights.safetensors_file import Array

BINS: Final = 32


@dataclass(frozen=True)
class TensorStats:
    """A tensor's numbers in figures; `nan` where it has no finite number.

    `count` is how many there are, among them `nans`, `infinities` and `zeros`. The other figures are of the finite
    ones, in float64: `std` is the population's, `l1` and `l2` are norms, and `histogram`, (32,) int64, counts how many
    lie in each of 32 equal steps from `least` to `greatest`. A sum that float64 cannot hold is infinite, or `nan` where
    it is so in both directions.
    """

    count: int
    nans: int
    infinities: int
    zeros: int
    least: float
    greatest: float
    mean: float
    std: float
    l1: float
    l2: float
    histogram: NDArray[np.int64]

    @property
    def largest(self) -> float:
        """The largest absolute value, which is the maximum norm."""
        return max(abs(self.least), abs(self.greatest))


def tensor_stats(weights: Checkpoint, name: str) -> TensorStats:
    """The figures of one tensor. It is read twice, in little memory however large it is.

    Raises:
        KeyError: there is no such tensor.
        ValueError: its numbers are complex.
        CheckpointError: numpy has no such dtype, or the file has changed since it was opened.

    >>> stats = tensor_stats(Checkpoint.bundled(), "wpe.weight")
    >>> stats.count, stats.nans
    (32768, 0)
    """
    if weights.info(name).dtype == "C64":
        raise ValueError(f"{weights.path}: {name!r} holds complex numbers, which have no order and no histogram")
    count = nans = zeros = finite = 0
    least, greatest, total, l1, squares = inf, -inf, 0.0, 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for block in weights.blocks(name):  # (n,)
            numbers = _finite(block)
            count, finite = count + block.size, finite + numbers.size
            nans += int(np.isnan(block).sum())
            zeros += int(np.count_nonzero(numbers == 0))
            least, greatest = float(numbers.min(initial=least)), float(numbers.max(initial=greatest))
            total += float(numbers.sum())
            l1 += float(np.abs(numbers).sum())
            squares += float(np.square(numbers).sum())
        counts = (count, nans, count - finite - nans, zeros)
        if not finite:
            return TensorStats(*counts, nan, nan, nan, nan, nan, nan, np.zeros(BINS, np.int64))
        mean = total / finite
        histogram, deviations = _histogram_and_deviations(weights, name, least, greatest, mean)
    return TensorStats(*counts, least, greatest, mean, sqrt(deviations / finite), l1, sqrt(squares), histogram)


def _histogram_and_deviations(
    weights: Checkpoint, name: str, least: float, greatest: float, mean: float
) -> tuple[NDArray[np.int64], float]:
    """How many numbers lie in each step, (BINS,) int64, and the sum of their squared distances from the mean.

    The sum takes a second pass: the difference of two large sums, as one pass would give it, has few true digits.
    """
    histogram, deviations = np.zeros(BINS, np.int64), 0.0
    unit = 1.0 if np.isfinite(greatest - least) else 0.5  # halves, where the whole span is beyond float64
    for block in weights.blocks(name):
        numbers = _finite(block)
        deviations += float(np.square(numbers - mean).sum())
        if least == greatest:
            histogram[BINS // 2] += numbers.size
            continue
        parts = (numbers * unit - least * unit) / (greatest * unit - least * unit)  # (n,), from 0 to 1
        histogram += np.bincount(np.minimum((parts * BINS).astype(np.intp), BINS - 1), minlength=BINS)
    return histogram, deviations


def _finite(block: Array) -> NDArray[np.float64]:
    """The finite numbers of a block, in float64."""
    return block[np.isfinite(block)].astype(np.float64)
