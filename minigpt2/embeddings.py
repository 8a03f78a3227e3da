"""Token ids → rows of `wte` and `wpe`, and the tokens whose rows point the same way.

GPT-2 begins with a lookup: token `id` at position `p` enters the first layer as `wte[id] + wpe[p]`
(https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf and its code).
"""

from collections.abc import Iterator
from operator import index
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigpt2.decoder import refuse_masked
from minigpt2.vocabulary import ComputedOnce
from minigpt2.weights.checkpoint import Checkpoint
from minigpt2.weights.gpt2_layout import embedding_sizes
from minigpt2.weights.html_tables import rows_table
from minigpt2.weights.safetensors_file import Array

BLOCK: Final = 1024  # rows of wte that are worked on at a time


class Embeddings:
    """The embeddings of a checkpoint: `wte` has a row for each token, `wpe` one for each position.

    Nothing else of the checkpoint needs to be a GPT-2's.

    Raises:
        CheckpointError: `wte` or `wpe` is missing, or they are not two matrices of floats, equally wide.

    >>> embeddings = Embeddings(Checkpoint.bundled())
    >>> embeddings.tokens([464, 3616, 286, 1204, 318]).shape
    (5, 128)
    >>> embeddings([[464, 3616], [286, 1204]]).shape
    (2, 2, 128)
    """

    def __init__(self, weights: Checkpoint) -> None:
        self._weights = weights
        self._vocab_size, self._n_positions, self._n_embd = embedding_sizes(weights)

    def __repr__(self) -> str:
        return f"<Embeddings of {self._vocab_size} tokens and {self._n_positions} positions, {self._n_embd} wide>"

    def _repr_html_(self) -> str:
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
            TypeError: an id is not an integer; floats and bools are not.
            ValueError: an id is out of range, or nested lists differ in length.
        """
        return self._weights.rows("wte.weight", token_ids(ids, self._vocab_size))

    def __call__(self, ids: ArrayLike) -> Array:
        """`wte[ids] + wpe[0:T]` for ids of shape (..., T): what enters the first layer, shape (..., T, n_embd).

        Bit for bit transformers' `hidden_states[0]` of a model loaded in the dtype of these rows. For a checkpoint in
        BF16 that is float32; a model loaded as bfloat16 rounds the sum once more. Raises as `tokens` does, and:

            ValueError: there are more ids along the last axis than positions, or a single id without an axis.
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

        Best first; among equals the lower id comes first. There are fewer than `k` if the vocabulary is smaller. The
        id asked for is left out, and so are rows without a direction: all zeros, or not finite. The first call also
        computes the norms.

        Raises:
            TypeError: neither an integer nor a vector of real numbers, or `k` is not an integer.
            ValueError: the id is out of range, the vector is not (n_embd,) or has no direction, or `k` is below 1.

        >>> embeddings = Embeddings(Checkpoint.bundled())
        >>> [id for id, cosine in embeddings.nearest(embeddings.wte[464], k=1)]
        [464]
        """
        k = positive("k", k)
        own_id, direction = self._query(id_or_vector)  # (n_embd,) float64, of length 1
        norms, is_other = self._norms, np.arange(self._vocab_size) != own_id  # (vocab_size,) float64, bool
        # Longer and shorter rows leave float32's range in a product; they are compared in float64 alone.
        in_range = is_other & (norms > 1e-30) & (norms < 1e30)
        with np.errstate(all="ignore"):
            quick = np.where(in_range, self._products(direction) / norms, -np.inf)  # (vocab_size,)
        # Rounding moves a float32 cosine by (n_embd + 2) half epsilons at most, so two of them by twice that.
        margin = (self._n_embd + 2) * np.finfo(np.float32).eps
        threshold = np.partition(quick, -k)[-k] - margin if k < self._vocab_size else -np.inf
        ids = np.flatnonzero(is_other & ((quick >= threshold) | ~in_range))  # (candidates,), ascending
        cosines = self._exact_cosines(ids, direction)
        ids, cosines = ids[~np.isnan(cosines)], cosines[~np.isnan(cosines)]
        best = np.argsort(-cosines, kind="stable")[:k]  # stable: the lower id comes first among equals
        return [(int(ids[i]), float(cosines[i])) for i in best]

    def _query(self, id_or_vector: ArrayLike) -> tuple[int | None, NDArray[np.float64]]:
        """The id, if it is one, and the direction, (n_embd,) float64 of length 1, of its row or of the vector."""
        refuse_masked(id_or_vector)
        array = np.asarray(id_or_vector)
        own_id = None
        if array.ndim == 0:
            own_id = int(token_ids(id_or_vector, self._vocab_size))
            array = self._weights.rows("wte.weight", np.array(own_id))
        if array.dtype.kind not in "iuf":
            raise TypeError(f"a vector must hold real numbers, not {array.dtype}")
        if array.shape != (self._n_embd,):
            raise ValueError(f"nearest takes one id or one vector of shape ({self._n_embd},), not {array.shape}")
        vector = array.astype(np.float64)
        largest = np.abs(vector).max()
        if not np.isfinite(largest) or largest == 0:
            whose = "the vector" if own_id is None else f"the row of token {own_id}"
            raise ValueError(f"{whose} has no direction: it is all zeros, or not finite")
        vector /= largest  # no square overflows then
        return own_id, vector / np.sqrt(np.square(vector).sum())

    @ComputedOnce
    def _norms(self) -> NDArray[np.float64]:
        """The length of every row of `wte`, (vocab_size,) float64; 0 or infinity where a float64's square is."""
        squares = [np.einsum("ij,ij->i", rows, rows, dtype=np.float64) for rows in self._blocks()]
        norms: NDArray[np.float64] = np.sqrt(np.concatenate(squares))
        return norms

    def _products(self, direction: NDArray[np.float64]) -> NDArray[np.float32]:
        """`wte @ direction`, (vocab_size,) float32."""
        # einsum takes the rows where they are; BLAS would want an aligned copy, and the published file is not aligned.
        narrow = direction.astype(np.float32)
        products = [
            np.einsum("ij,j->i", rows, narrow, dtype=np.float32, casting="same_kind") for rows in self._blocks()
        ]
        return np.concatenate(products)

    def _blocks(self) -> Iterator[Array]:
        """All rows of `wte`, some at a time, (up to BLOCK, n_embd)."""
        self._weights.fetch(["wte.weight"])  # a remote checkpoint needs fewer requests then
        for start in range(0, self._vocab_size, BLOCK):
            yield self._weights.rows("wte.weight", slice(start, start + BLOCK))

    def _exact_cosines(self, ids: NDArray[np.intp], direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """The cosines of these rows, (n,) float64, each from its own row alone, so that equal rows have equal ones.

        A row without a direction has NaN.
        """
        cosines = np.empty(len(ids))
        for start in range(0, len(ids), BLOCK):
            part = slice(start, start + BLOCK)
            rows = self._weights.rows("wte.weight", ids[part]).astype(np.float64)  # (up to BLOCK, n_embd)
            # By powers of two, which change no digit, into a range in which squares neither overflow nor vanish.
            rows = np.ldexp(rows, -np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1])
            with np.errstate(all="ignore"):
                cosines[part] = (rows * direction).sum(axis=1) / np.sqrt(np.square(rows).sum(axis=1))
        return np.clip(cosines, -1.0, 1.0)


def token_ids(ids: ArrayLike, vocab_size: int) -> NDArray[np.int64]:
    """Ids of any shape as an int64 array of that shape, after making sure that each is in `range(vocab_size)`.

    numpy itself would take -1 for the last row, wrap a `uint16`, and read `True` as 1.

    Raises:
        TypeError: an id is not an integer.
        ValueError: an id is out of range or masked, or nested lists differ in length.

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
    for each in (ids, *ids) if isinstance(ids, list | tuple) else (ids,):
        refuse_masked(each)
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


def positive(name: str, count: int) -> int:
    """A count that a caller passed under this name, after making sure that it is one.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is below 1.
    """
    if isinstance(count, bool | np.bool_):
        raise TypeError(f"{name} must be an integer, not a bool")
    if (count := index(count)) < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
    return count
