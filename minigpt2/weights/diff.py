"""Two checkpoints compared: tensors that only one has, and how far apart the numbers of the others are."""

from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt2.weights.checkpoint import Checkpoint
from minigpt2.weights.safetensors_file import BLOCK, NUMPY_DTYPE, Array
from minigpt2.weights.tensor_names import LM_HEAD, WTE, named


@dataclass(frozen=True)
class Difference:
    """How two tensors of one name and shape differ: in how many numbers, and by how much.

    `largest` and `mean` are those of the absolute differences, in float64; what that cannot hold is infinite. Equal
    infinities differ by 0, and so do two NaNs. A NaN opposite a number makes `largest` and `mean` NaN.
    """

    name: str
    count: int
    differing: int
    largest: float
    mean: float


@dataclass(frozen=True)
class Names:
    """The bare names of two checkpoints: in one alone, of different shapes, of a dtype that numpy lacks, comparable."""

    only_first: list[str]
    only_second: list[str]
    other_shape: list[str]
    unreadable: list[str]
    common: list[str]


def compare_names(first: Checkpoint, second: Checkpoint) -> Names:
    """Which tensors can be compared, and which cannot, by their bare names. This reads none of their numbers.

    A name that could mean two tensors of a file is that of the file's own tensor. It is compared only where the GPT-2s
    of both files have the same prefix: otherwise it could be that of another module in one of them.

    >>> weights = Checkpoint.bundled()
    >>> len(compare_names(weights, weights).common)
    64
    """
    ambiguous = first.ambiguous_names.keys() | second.ambiguous_names.keys()
    ours, theirs = (_names_to_compare(weights, ambiguous) for weights in (first, second))
    in_doubt = _in_doubt(first) | _in_doubt(second) if first.prefixes[:1] != second.prefixes[:1] else set()
    both = (name for name in ours if name in theirs and name not in in_doubt)
    by_pair = {(first.own_names[ours[name]], second.own_names[theirs[name]]): name for name in reversed([*both])}
    pairs = {name: pair for pair, name in reversed(by_pair.items())}  # once each, though a tensor has several names
    infos = {name: (first.info(one), second.info(other)) for name, (one, other) in pairs.items()}
    seen, seen_too = ({pair[side] for pair in pairs.values()} for side in (0, 1))
    alike = {name: None for name, (one, other) in infos.items() if one.shape == other.shape}  # in their order
    readable = {name for name in alike if all(info.dtype in NUMPY_DTYPE for info in infos[name])}
    return Names(
        [name for name in ours if name not in infos and first.own_names[ours[name]] not in seen],
        [name for name in theirs if name not in infos and second.own_names[theirs[name]] not in seen_too],
        [name for name in infos if name not in alike],
        [name for name in alike if name not in readable],
        [name for name in alike if name in readable],
    )


def _names_to_compare(weights: Checkpoint, ambiguous: Set[str]) -> dict[str, str]:
    """Maps bare names to a checkpoint's own, and own names to themselves if the bare one is ambiguous in either.

    An output matrix that is `wte` again is left out.
    """
    own_names, bare_names = weights.own_names, weights.bare_names
    wte = own_names[bare_names[WTE]] if WTE in bare_names else None
    return {
        name if bare in ambiguous or WTE in ambiguous else bare: name
        for bare, name in bare_names.items()
        if not (own_names[name] == wte and named(LM_HEAD, [name])) or bare == WTE
    }


def _in_doubt(weights: Checkpoint) -> set[str]:
    """The own names of tensors that share a name."""
    return {own for name, several in weights.ambiguous_names.items() if name != WTE for own in several}


def compare_all(first: Checkpoint, second: Checkpoint, names: list[str]) -> list[Difference]:
    """`compare` for each of these tensors, in two threads. Raises as it does.

    >>> weights = Checkpoint.bundled()
    >>> max(each.largest for each in compare_all(weights, weights, list(weights)))
    0.0
    """
    with ThreadPoolExecutor(2) as pool:  # numpy releases the GIL
        return list(pool.map(partial(compare, first, second), names))


def compare(first: Checkpoint, second: Checkpoint, name: str) -> Difference:
    """How the numbers of one tensor differ. This takes little memory however large it is.

    Raises:
        KeyError: a checkpoint has no such tensor.
        ValueError: the tensors differ in their shape.
        CheckpointError: numpy has no such dtype, or a file has changed since it was opened.

    >>> weights = Checkpoint.bundled()
    >>> compare(weights, weights, "wpe.weight")
    Difference(name='wpe.weight', count=32768, differing=0, largest=0.0, mean=0.0)
    """
    shapes = first.info(name).shape, second.info(name).shape
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name!r} has the shape {shapes[0]} in {first.path} and {shapes[1]} in {second.path}")
    count, differing, largest, total = first.info(name).size, 0, 0.0, 0.0
    space = np.empty(BLOCK)
    for ours, theirs in zip(first.blocks(name), second.blocks(name), strict=True):
        if ours.dtype == theirs.dtype and np.array_equal(_bits(ours), _bits(theirs)):
            continue
        distances, unequal = _distances(ours, theirs, space)
        differing += unequal
        largest = float(np.maximum(largest, distances.max()))  # a NaN stays one
        with np.errstate(over="ignore"):
            total += float(distances.sum())
    return Difference(name, count, differing, largest, total / count if count else 0.0)


def _bits(numbers: Array) -> NDArray[Any]:
    """The numbers (n,) as integers of the same bits: equal bits are equal numbers, and comparing integers is faster."""
    return numbers.view(np.uint64 if numbers.nbytes % 8 == 0 else np.uint8)


def _distances(ours: Array, theirs: Array, space: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """The absolute differences of two blocks (n,), (n,) float64, and how many of the numbers are not equal."""
    with np.errstate(over="ignore", invalid="ignore"):
        if "c" in (ours.dtype.kind, theirs.dtype.kind):
            distances = np.abs(ours.astype(np.complex128) - theirs)
        else:
            distances = np.subtract(ours, theirs, out=space[: len(ours)], dtype=np.float64, casting="unsafe")
            np.abs(distances, out=distances)
        unequal = ours != theirs
        if not np.isfinite(distances.max()):
            unequal &= ~(np.isnan(ours) & np.isnan(theirs))
            distances[~unequal] = 0  # equal infinities and pairs of NaNs
    return distances, int(np.count_nonzero(unequal))
