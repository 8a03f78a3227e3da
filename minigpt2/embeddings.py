"""Token ids → rows of `wte` and `wpe`, and the tokens whose rows point the same way.

GPT-2 begins with a lookup: token `id` at position `p` enters the first layer as `wte[id] + wpe[p]`
(https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf and its code).
"""

import os
from collections.abc import Callable
from functools import cached_property
from operator import index
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigpt2.weights.checkpoint import Checkpoint
from minigpt2.weights.gpt2_layout import embedding_sizes
from minigpt2.weights.safetensors_file import Array

BLOCK: Final = 4096  # rows of wte that are worked on at a time


class Embeddings:
    """The embeddings of a GPT-2 checkpoint: `wte`, a row a token, and `wpe`, a row a position.

    Raises:
        CheckpointError: the checkpoint is no GPT-2.

    >>> from minigpt2.weights.demonstration import demonstration_weights
    >>> embeddings = Embeddings(demonstration_weights())
    >>> embeddings.tokens([464, 3616, 286, 1204, 318]).shape
    (5, 16)
    >>> embeddings([[464, 3616], [286, 1204]]).shape
    (2, 2, 16)
    """

    def __init__(self, weights: Checkpoint) -> None:
        self._weights = weights
        self._vocab_size, self._n_positions, self._n_embd = embedding_sizes(weights)

    def __repr__(self) -> str:
        return f"<Embeddings of {self._vocab_size} tokens and {self._n_positions} positions, {self._n_embd} wide>"

    def _repr_html_(self) -> str:
        from minigpt2.weights.html_tables import rows_table

        ids = [i for i in range(self._vocab_size) if i < 3 or i >= self._vocab_size - 3]
        return rows_table(repr(self), self._weights.metadata, ids, self.tokens(ids))

    @property
    def wte(self) -> Array:
        """The token embeddings, read-only, shape (vocab_size, n_embd)."""
        return self._weights["wte.weight"]

    @property
    def wpe(self) -> Array:
        """The position embeddings, read-only, shape (n_positions, n_embd)."""
        return self._weights["wpe.weight"]

    def tokens(self, ids: ArrayLike) -> Array:
        """`wte[ids]` for ids of any shape (...): a new array of shape (..., n_embd).

        Raises:
            TypeError: an id is no integer; neither floats nor bools are.
            ValueError: an id is out of range, or nested lists differ in length.
        """
        return self._weights.rows("wte.weight", token_ids(ids, self._vocab_size))

    def __call__(self, ids: ArrayLike) -> Array:
        """`wte[ids] + wpe[0:T]` for ids of shape (..., T): what enters the first layer, shape (..., T, n_embd).

        It is transformers' `hidden_states[0]`, bit for bit. Raises as `tokens` does, and:

            ValueError: there are more ids along the last axis than positions, or no axis at all.
        """
        tokens = self.tokens(ids)
        if tokens.ndim < 2:
            raise ValueError("one id alone has no position: give a sequence of ids")
        length = tokens.shape[-2]
        if length > self._n_positions:
            raise ValueError(f"{length} ids are more than the model's {self._n_positions} positions: cut the sequence")
        positions = self._weights.rows("wpe.weight", slice(length))
        return np.asarray(tokens + positions)

    def nearest(self, id_or_vector: ArrayLike, k: int = 10) -> list[tuple[int, float]]:
        """The `k` tokens whose rows of `wte` have the highest cosine with a token's row, or with a vector (n_embd,).

        Best first, the lower id first among equals; all tokens if there are fewer than `k`. The id asked for is left
        out, and so are rows without a direction (all zeros, or not finite). The first call also computes the norms.

        Raises:
            TypeError: neither an integer nor a vector of real numbers, or `k` is no integer.
            ValueError: the id is out of range, the vector is not (n_embd,) or has no direction, or `k` is below 1.

        >>> from minigpt2.weights.demonstration import demonstration_weights
        >>> embeddings = Embeddings(demonstration_weights())
        >>> [id for id, cosine in embeddings.nearest(embeddings.wte[464], k=1)]
        [464]
        """
        k = _count(k)
        own_id, vector = self._query(id_or_vector)
        if (direction := _direction(vector)) is None:
            whose = "the vector" if own_id is None else f"the row of token {own_id}"
            raise ValueError(f"{whose} has no direction: it is all zeros, or not finite")
        rivals = self._has_direction.copy()
        if own_id is not None:
            rivals[own_id] = False
        candidates = self._candidates(direction, np.flatnonzero(rivals), k)
        cosines = self._exact_cosines(candidates, direction)
        best = np.argsort(-cosines, kind="stable")[:k]  # stable: candidates ascend, so the lower id comes first
        return [(int(candidates[i]), float(cosines[i])) for i in best]

    def _query(self, id_or_vector: ArrayLike) -> tuple[int | None, Array]:
        array = np.asarray(id_or_vector)
        if array.ndim == 0:
            own_id = token_ids(id_or_vector, self._vocab_size)
            return int(own_id), self._weights.rows("wte.weight", own_id)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"a vector must hold real numbers, not {array.dtype}")
        if array.shape != (self._n_embd,):
            raise ValueError(f"nearest takes one id or one vector of shape ({self._n_embd},), not {array.shape}")
        return None, array

    @cached_property
    def _norms(self) -> Array:
        """The length of every row of `wte`, in float64, in which no float32 overflows."""
        return np.sqrt(self._over_wte(lambda rows: np.einsum("ij,ij->i", rows, rows, dtype=np.float64)))

    @cached_property
    def _has_direction(self) -> NDArray[np.bool_]:
        return np.isfinite(self._norms) & (self._norms > 0)

    def _candidates(self, direction: NDArray[np.float64], rivals: NDArray[np.intp], k: int) -> NDArray[np.intp]:
        """Those of `rivals`, ascending, that may be among the best `k`: all whose float32 cosine is near enough."""
        if k >= len(rivals):
            return rivals
        # Where a row's length leaves little of float32's range the quick product says nothing: rank it exactly.
        norms = self._norms[rivals]
        quick = (norms > 1e-30) & (norms < 1e30)
        if k > quick.sum():
            return rivals
        cosines = self._products(direction.astype(np.float32))[rivals[quick]] / norms[quick]
        # Rounding moves a float32 cosine by (n_embd + 2) half epsilons at most, so two of them by twice that.
        margin = (self._n_embd + 2) * np.finfo(np.float32).eps
        threshold = np.partition(cosines, -k)[-k] - margin
        near = ~quick
        near[quick] = cosines >= threshold
        return rivals[near]

    def _products(self, direction: Array) -> Array:
        """`wte @ direction` in float32; einsum, for BLAS would be given an aligned copy of an unaligned matrix."""
        return self._over_wte(lambda rows: np.einsum("ij,j->i", rows, direction, dtype=np.float32, casting="same_kind"))

    def _exact_cosines(self, ids: NDArray[np.intp], direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cosines in float64, each from its own row alone, so that equal rows have equal cosines."""
        cosines = np.empty(len(ids))
        for start in range(0, len(ids), 512):  # a few at a time: they can be as many as wte has
            some = ids[start : start + 512]
            rows = self._weights.rows("wte.weight", some).astype(np.float64)
            norms = np.sqrt(np.square(rows).sum(axis=1))
            cosines[start : start + 512] = (rows * direction).sum(axis=1) / norms
        return np.clip(cosines, -1.0, 1.0)

    def _over_wte(self, compute: Callable[[Array], Array]) -> Array:
        """What `compute` says of every row of `wte`, by blocks; on several cores, as numpy lets go of the GIL."""
        from concurrent.futures import ThreadPoolExecutor

        self._weights.fetch(["wte.weight"])  # at one go
        blocks = [slice(start, start + BLOCK) for start in range(0, self._vocab_size, BLOCK)]
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            return np.concatenate(list(pool.map(lambda rows: compute(self._weights.rows("wte.weight", rows)), blocks)))


def token_ids(ids: ArrayLike, vocab_size: int) -> NDArray[np.int64]:
    """Ids of any shape as an int64 array, after making sure that each is an integer in `range(vocab_size)`.

    numpy itself would take -1 for the last row, wrap a `uint16`, and read `True` as 1.

    >>> token_ids([[464, 3616], [286, 1204]], 50257).shape
    (2, 2)
    """
    array = _integers(ids)
    outside = np.asarray((array < 0) | (array >= vocab_size), dtype=bool)
    if outside.any():
        raise ValueError(f"token id {array[outside].flat[0]} is outside the vocabulary, 0 to {vocab_size - 1}")
    return array.astype(np.int64)


def _integers(ids: Any) -> Array:
    """`ids` as an array of integers of any width, or of Python's own."""
    if hasattr(ids, "__array__"):
        array = np.asarray(ids)
        if array.dtype.kind not in "iu" and not (array.size == 0 and array.dtype == np.float64):
            raise TypeError(f"token ids must be integers, not {array.dtype}")
        return array
    # As objects: numpy would turn [1, True] into [1, 1], and [-1, 2**63] into floats.
    array = np.asarray(ids, dtype=object)
    for kind in set(map(type, array.flat)):
        if issubclass(kind, list | tuple):
            raise ValueError("nested lists of token ids must all have the same length: pad them")
        if issubclass(kind, bool) or not issubclass(kind, int | np.integer):
            raise TypeError(f"token ids must be integers, not {kind.__name__}")
    return array


def _direction(vector: Array) -> NDArray[np.float64] | None:
    """The vector at length 1, in float64, if it has a direction; its largest number becomes 1 before any is squared."""
    vector = vector.astype(np.float64)
    largest = np.abs(vector).max(initial=0.0)
    if not np.isfinite(largest) or largest == 0:
        return None
    vector /= largest
    vector /= np.sqrt(np.square(vector).sum())
    return vector


def _count(k: int) -> int:
    if isinstance(k, bool | np.bool_):
        raise TypeError("k must be an integer, not a bool")
    if (k := index(k)) < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return k
