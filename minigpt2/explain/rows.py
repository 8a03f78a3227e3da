"""The rows of a text's tokens: their numbers, where in the file they are, and which tokens are near them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from minigpt2.embeddings import Embeddings
from minigpt2.generation import written
from minigpt2.tokenizer import Tokenizer
from minigpt2.weights.bundled import LABEL, is_bundled
from minigpt2.weights.checkpoint import Checkpoint

#: How many neighbours are looked for, and of how many of a text's different tokens: each costs a pass over `wte`.
NEIGHBOURS: Final = 6
MOST_WITH_NEIGHBOURS: Final = 48


@dataclass(frozen=True, slots=True)
class FileRange:
    """Where a matrix is stored: bytes `[begin, end)` of a file of `file_size` bytes, `row_size` bytes a row."""

    name: str
    dtype: str
    shape: tuple[int, int]
    file: str
    file_size: int
    begin: int
    end: int

    @property
    def row_size(self) -> int:
        """How many bytes of the file a row takes."""
        return (self.end - self.begin) // self.shape[0]

    def row(self, index: int) -> tuple[int, int]:
        """The range of bytes of a row in the file, half-open.

        >>> wte = FileRange("wte.weight", "F32", (50257, 768), "model.safetensors", 548105171, 287223763, 441613267)
        >>> wte.row(464)
        (288649171, 288652243)
        """
        begin = self.begin + index * self.row_size
        return begin, begin + self.row_size


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A token whose row of `wte` points nearly the same way: its id, how GPT-2 writes it, and the cosine."""

    id: int
    token: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Point:
    """A token on the plane, and whether it is one of the text's own."""

    id: int
    token: str
    x: float
    y: float
    of_text: bool


@dataclass(frozen=True, slots=True)
class Plane:
    """A text's tokens and their neighbours on their first two principal components, in the units of the rows.

    `shares` is how much of the variance of these rows each of the two carries.
    """

    points: tuple[Point, ...]
    shares: tuple[float, float]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """The rows of a text's tokens, as many as the model has positions for.

    `tokens` is `wte[ids]`, `positions` is `wpe[0:T]`, and `sums` is what enters the first layer, transformers'
    `hidden_states[0]`: each of shape (T, n_embd). `wte` and `wpe` say where in the files they are. `neighbours` are
    those of each of the text's first `MOST_WITH_NEIGHBOURS` different tokens, best first; there are none of a remote
    checkpoint, which would have to bring all of `wte`. `label` is what must be said wherever numbers are shown.
    """

    checkpoint: str
    label: str | None
    wte: FileRange
    wpe: FileRange
    tokens: NDArray[Any]
    positions: NDArray[Any]
    sums: NDArray[Any]
    neighbours: dict[int, tuple[Neighbour, ...]]
    plane: Plane


class RowReader:
    """Reads the rows of texts from a checkpoint, and remembers the neighbours that it has found.

    Raises:
        CheckpointError: the checkpoint has no sound `wte` and `wpe`.
    """

    def __init__(self, tokenizer: Tokenizer, weights: Checkpoint) -> None:
        self._tokenizer = tokenizer
        self._weights = weights
        self._embeddings = Embeddings(weights)
        self._neighbours: dict[int, tuple[Neighbour, ...]] = {}

    def read(self, ids: Sequence[int]) -> Rows:
        """The rows of these tokens, one after the other.

        Raises:
            ValueError: an id has no row.
        """
        wte, wpe = self._range_of("wte.weight"), self._range_of("wpe.weight")
        ids = list(ids[: wpe.shape[0]])
        different = list(dict.fromkeys(ids))[:MOST_WITH_NEIGHBOURS]
        searched = [] if self._weights.is_remote else different
        neighbours = {token_id: self._nearest(token_id) for token_id in searched}
        return Rows(
            checkpoint=str(self._weights.path),
            label=LABEL if is_bundled(self._weights) else None,
            wte=wte,
            wpe=wpe,
            tokens=self._embeddings.tokens(ids),
            positions=np.array(self._weights.rows("wpe.weight", slice(len(ids)))),
            sums=self._embeddings(ids),
            neighbours=neighbours,
            plane=self._plane(different, neighbours),
        )

    def _range_of(self, name: str) -> FileRange:
        info = self._weights.info(name)
        rows, width = info.shape
        in_file = [other for each in self._weights if (other := self._weights.info(each)).path == info.path]
        # A sound safetensors file ends where its last tensor does.
        size = max(other.end for other in in_file)
        return FileRange(name, info.dtype, (rows, width), Path(info.path).name, size, info.begin, info.end)

    def _nearest(self, token_id: int) -> tuple[Neighbour, ...]:
        if token_id not in self._neighbours:
            try:
                found = self._embeddings.nearest(token_id, NEIGHBOURS)
            except ValueError:  # a row of zeros, or one that is not finite, has no direction
                found = []
            self._neighbours[token_id] = tuple(Neighbour(i, written(self._tokenizer, i), cosine) for i, cosine in found)
        return self._neighbours[token_id]

    def _plane(self, own: list[int], neighbours: dict[int, tuple[Neighbour, ...]]) -> Plane:
        near = [each.id for found in neighbours.values() for each in found]
        ids = list(dict.fromkeys([*own, *near]))
        rows = self._embeddings.tokens(ids).astype(np.float64)
        finite = np.flatnonzero(np.isfinite(rows).all(axis=1))
        coordinates, shares = principal_components(rows[finite])
        points = [
            Point(token_id, written(self._tokenizer, token_id), x, y, token_id in own)
            for token_id, (x, y) in zip([ids[index] for index in finite], coordinates.tolist(), strict=True)
        ]
        return Plane(tuple(points), shares)


def principal_components(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Rows (n, d) on their first two principal components (n, 2), and the share of the variance that each carries.

    The sign of a component is free: here its largest entry is positive, so that a text has one picture.

    >>> coordinates, shares = principal_components(np.array([[0.0, 1.0, 5.0], [2.0, 1.0, 5.0], [1.0, 1.0, 5.0]]))
    >>> coordinates.round(3).tolist(), shares
    ([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], (1.0, 0.0))
    """
    coordinates = np.zeros((len(rows), 2))
    if len(rows) < 2:
        return coordinates, (0.0, 0.0)
    centred = rows - rows.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    variances = np.square(lengths)
    axes = axes[:2] * np.sign([axis[np.abs(axis).argmax()] for axis in axes[:2]])[:, None]
    coordinates[:, : len(axes)] = centred @ axes.T
    shares = np.zeros(2)
    if variances.sum() > 0:
        shares[: len(axes)] = (variances / variances.sum())[:2]
    first, second = shares.tolist()
    return coordinates + 0.0, (first, second)
