"""What the numbers of a tensor are like: extremes, mean, spread, norms and histogram, a block at a time."""

from dataclasses import dataclass
from math import hypot, inf, nan, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minigpt2.weights.checkpoint import Checkpoint
from minigpt2.weights.safetensors_file import BLOCK, Array

BINS: Final = 32
# Between these a float64 can be squared, and as many of its squares be added as fit into memory.
SMALL, LARGE = 1e-140, 1e140


@dataclass(frozen=True)
class TensorStats:
    """A tensor's numbers in figures; `nan` where there is no finite number to tell by.

    `count` counts all of them, with `nans`, `infinities` and `zeros` among them; the other figures are of the finite
    ones, in float64: `std` is the population's, `l1` and `l2` are norms, and `histogram` counts how many lie in each
    of 32 equal steps from `least` to `greatest`. What float64 cannot hold on the way to a figure makes it infinite.
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
    """The figures of one tensor, which is gone through twice, in little memory however large it is.

    Raises:
        KeyError: there is no such tensor.
        ValueError: its numbers are complex.
        CheckpointError: numpy has no such dtype, or the file has changed since it was opened.

    >>> from minigpt2.weights.demonstration import demonstration_weights
    >>> stats = tensor_stats(demonstration_weights(), "wte.weight")
    >>> stats.count, round(stats.std, 2)  # uniform from -0.5 to 0.5, which has the deviation √(1/12)
    (804112, 0.29)
    """
    if weights.info(name).dtype == "C64":
        raise ValueError(f"{weights.path}: {name!r} is of complex numbers, which have no order and no histogram")
    moments = _Moments()
    for block in weights.blocks(name):
        moments.add(block)
    histogram = np.zeros(BINS, np.int64)
    if moments.finite and moments.least < moments.greatest:
        space = _Space()
        for block in weights.blocks(name):
            histogram += _histogram(space.float64(_finite(block)), moments.least, moments.greatest, space)
    elif moments.finite:
        histogram[BINS // 2] = moments.finite  # all of them are one number
    return moments.stats(histogram)


class _Space:
    """Memory for a block's numbers in float64, and as much again: fresh memory would cost more than the computing."""

    def __init__(self) -> None:
        self._numbers, self.more = np.empty(BLOCK), np.empty(BLOCK)

    def float64(self, numbers: Array) -> NDArray[np.float64]:
        """The numbers in float64, until the next call."""
        converted = self._numbers[: len(numbers)]
        np.copyto(converted, numbers)
        return converted


class _Moments:
    """What the first pass gathers."""

    def __init__(self) -> None:
        self.count = self.finite = self.nans = self.zeros = 0
        self.least, self.greatest = inf, -inf
        self._space = _Space()
        self.mean = self.spread = self.l1 = 0.0  # spread: the square root of the sum of squared deviations

    def add(self, block: Array) -> None:
        """Take in a block, shape (n,)."""
        self.count += block.size
        numbers = _finite(block)
        if len(numbers) < len(block):
            self.nans += int(np.isnan(block).sum())
        self.zeros += int(np.count_nonzero(numbers == 0))
        if len(numbers):
            self.least = min(self.least, +numbers.min().item())
            self.greatest = max(self.greatest, +numbers.max().item())
            with np.errstate(over="ignore"):
                self._add_finite(self._space.float64(numbers))

    def _add_finite(self, numbers: NDArray[np.float64]) -> None:
        """Chan, Golub and LeVeque's way of joining two means and two sums of squared deviations."""
        mean = _mean(numbers)
        total = self.finite + len(numbers)
        apart = (mean - self.mean) * sqrt(self.finite / total * len(numbers))
        deviations = np.subtract(numbers, mean, out=self._space.more[: len(numbers)])
        self.spread = hypot(self.spread, _length(deviations), apart)
        self.l1 += float(np.abs(numbers, out=numbers).sum())
        self.mean += (mean - self.mean) * (len(numbers) / total)
        self.finite = total

    def stats(self, histogram: NDArray[np.int64]) -> TensorStats:
        """The figures, once all blocks were taken in."""
        infinities = self.count - self.finite - self.nans
        counts = (self.count, self.nans, infinities, self.zeros)
        if not self.finite:
            return TensorStats(*counts, nan, nan, nan, nan, nan, nan, histogram)
        std = self.spread / sqrt(self.finite)
        l2 = hypot(self.spread, self.mean * sqrt(self.finite))
        return TensorStats(*counts, self.least, self.greatest, self.mean, std, self.l1, l2, histogram)


def _finite(block: Array) -> Array:
    """The finite numbers of a block: itself, most of the time."""
    finite = np.isfinite(block)
    return block if finite.all() else block[finite]


def _mean(numbers: NDArray[np.float64]) -> float:
    mean = float(numbers.mean())
    return mean if np.isfinite(mean) else float((numbers / len(numbers)).sum())


def _length(numbers: NDArray[np.float64]) -> float:
    """The square root of the sum of squares, of numbers of any size."""
    # einsum, for BLAS would start threads of its own
    length = sqrt(np.einsum("i,i->", numbers, numbers))
    if SMALL < length < LARGE:
        return length
    largest = float(np.abs(numbers).max())
    return largest * sqrt(np.square(numbers / largest).sum()) if 0 < largest < inf else largest


def _histogram(numbers: NDArray[np.float64], least: float, greatest: float, space: _Space) -> NDArray[np.int64]:
    """How many of the numbers, which are overwritten, lie in each of `BINS` equal steps; the last includes its end."""
    factor = 0.25 if greatest - least == inf else 2.0**600 if greatest - least < 1e-300 else 1.0  # exact, all of them
    if factor != 1.0:
        numbers, least, greatest = numbers * factor, least * factor, greatest * factor
    numbers -= least
    numbers *= BINS / (greatest - least)
    steps = space.more.view(np.int64)[: len(numbers)]
    np.copyto(steps, numbers, casting="unsafe")
    counts = np.bincount(steps, minlength=BINS + 1)
    counts[BINS - 1] += counts[BINS]
    return counts[:BINS]
