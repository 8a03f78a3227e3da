"""Ids become rows of wte and wpe, or are refused; neighbours are the rows of highest cosine."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from minigpt2 import Checkpoint, CheckpointError, Embeddings
from minigpt2.embeddings import BLOCK, token_ids

VOCAB_SIZE, N_POSITIONS, N_EMBD = 10, 6, 4
Array = np.ndarray[Any, Any]


def embeddings_of(directory: Path, wte: Array, wpe: Array | None = None) -> Embeddings:
    wpe = np.zeros((N_POSITIONS, wte.shape[-1]), wte.dtype) if wpe is None else wpe
    directory.mkdir(parents=True, exist_ok=True)
    save_file({"wte.weight": wte, "wpe.weight": wpe}, directory / "model.safetensors")
    return Embeddings(Checkpoint.open(directory))


@pytest.fixture(scope="module")
def wte() -> Array:
    return np.random.default_rng(0).standard_normal((VOCAB_SIZE, N_EMBD), np.float32)


@pytest.fixture(scope="module")
def wpe() -> Array:
    return np.random.default_rng(1).standard_normal((N_POSITIONS, N_EMBD), np.float32)


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory, wte: Array, wpe: Array) -> Embeddings:
    return embeddings_of(tmp_path_factory.mktemp("embeddings"), wte, wpe)


# --- rows


def test_wte_and_wpe_are_the_read_only_arrays(embeddings: Embeddings, wte: Array, wpe: Array) -> None:
    np.testing.assert_array_equal(embeddings.wte, wte)
    np.testing.assert_array_equal(embeddings.wpe, wpe)
    assert not embeddings.wte.flags.writeable and not embeddings.wpe.flags.writeable


@pytest.mark.parametrize(
    "ids",
    [
        5,
        [5],
        [[1, 2], [3, 4]],
        (0, 9),
        [],
        [[], []],
        [[[1]], [[2]]],
        [np.int64(3), 4],
        [np.array([1, 2]), np.array([3, 4])],
    ],
    ids=repr,
)
def test_tokens_are_the_rows_of_ids_of_any_shape(embeddings: Embeddings, wte: Array, ids: Any) -> None:
    rows = embeddings.tokens(ids)
    np.testing.assert_array_equal(rows, wte[np.array(ids, dtype=int)])
    assert rows.dtype == np.float32 and rows.flags.writeable


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", ">i4", "u4", "i8", "u8"])
def test_tokens_take_arrays_of_any_integer_type(embeddings: Embeddings, wte: Array, dtype: str) -> None:
    np.testing.assert_array_equal(embeddings.tokens(np.array([[9, 0]], dtype)), wte[[[9, 0]]])


def test_tokens_take_what_can_be_an_array(embeddings: Embeddings, wte: Array) -> None:
    np.testing.assert_array_equal(embeddings.tokens(torch.tensor([[1, 2]])), wte[[[1, 2]]])
    assert embeddings.tokens(np.array([])).shape == (0, N_EMBD)


def test_a_sequence_is_wte_plus_wpe_along_the_last_axis(embeddings: Embeddings, wte: Array, wpe: Array) -> None:
    ids = [[[5, 5, 1]], [[0, 9, 2]]]
    np.testing.assert_array_equal(embeddings(ids), wte[ids] + wpe[:3])
    assert embeddings([]).shape == (0, N_EMBD)


def test_as_many_ids_as_positions_and_no_more(embeddings: Embeddings) -> None:
    assert embeddings([0] * N_POSITIONS).shape == (N_POSITIONS, N_EMBD)
    with pytest.raises(ValueError, match="7 ids are more than the model's 6 positions"):
        embeddings([[0] * (N_POSITIONS + 1)])


def test_one_id_alone_has_no_position(embeddings: Embeddings) -> None:
    with pytest.raises(ValueError, match="one id alone has no position"):
        embeddings(5)


@pytest.mark.parametrize(
    ("ids", "id_"),
    [
        (-1, -1),
        ([0, -1], -1),
        ([10], 10),
        ([[0, 1], [2, 11]], 11),
        ([2**70], 2**70),
        ([-1, 2**63], -1),
        (np.array([300], np.uint16), 300),
        (np.array([2**64 - 1], np.uint64), 2**64 - 1),
        (np.array([-128], np.int8), -128),
    ],
)
def test_an_id_outside_is_refused_by_value_and_range(embeddings: Embeddings, ids: Any, id_: int) -> None:
    for call in (embeddings.tokens, embeddings):
        with pytest.raises(ValueError, match=rf"token id {id_} is outside the vocabulary, 0 to 9"):
            call(ids)


@pytest.mark.parametrize(
    "ids",
    [
        None,
        True,
        1.0,
        "5",
        b"5",
        [True],
        [1, True],
        [1, 2.0],
        [1, None],
        ["1"],
        {1, 2},
        {1: 2},
        iter([1]),
        np.array([True]),
        np.array([1.0]),
        np.array(["1"]),
        np.array([1], dtype=object),
        np.bool_(True),
        np.float32(1),
        [np.bool_(True)],
        np.array([1], "m8[s]"),
        torch.tensor([1.0]),
        1j,
    ],
    ids=lambda ids: type(ids).__name__,
)
def test_what_is_no_integer_is_a_type_error(embeddings: Embeddings, ids: Any) -> None:
    for call in (embeddings.tokens, embeddings):
        with pytest.raises(TypeError, match="token ids must be integers, not "):
            call(ids)


MASKED = np.ma.masked_array([1, 2], [False, True])


@pytest.mark.parametrize("ids", [MASKED, [MASKED, MASKED], [[1, 2], MASKED], MASKED.reshape(1, 2)])
def test_a_masked_id_is_refused(embeddings: Embeddings, ids: Any) -> None:
    for call in (embeddings.tokens, embeddings):
        with pytest.raises(ValueError, match="a masked array has no value where it is masked"):
            call(ids)


def test_a_masked_vector_is_refused_and_one_without_masked_values_is_not(embeddings: Embeddings, wte: Array) -> None:
    assert embeddings.nearest(np.ma.masked_array(wte[1]), k=1)[0][0] == 1
    with pytest.raises(ValueError, match="masked"):
        embeddings.nearest(np.ma.masked_array(wte[1], np.arange(len(wte[1])) == 0))


@pytest.mark.parametrize("ids", [[[1, 2], [3]], [[1], 2], [[1], [[2]]], [[1], []]])
def test_ragged_lists_are_refused(embeddings: Embeddings, ids: Any) -> None:
    with pytest.raises(ValueError, match="same length"):
        embeddings.tokens(ids)


@given(arrays(st.sampled_from(["i1", "u2", "i8", "u8"]), array_shapes(min_dims=0, min_side=0, max_side=3)))
def test_every_integer_array_is_taken_as_it_is_or_refused(ids: Array) -> None:
    inside = all(0 <= int(id_) < 100 for id_ in ids.flat)
    try:
        checked = token_ids(ids, 100)
    except ValueError:
        assert not inside
    else:
        assert inside and checked.dtype == np.int64
        np.testing.assert_array_equal(checked, ids)
        np.testing.assert_array_equal(token_ids(ids.tolist(), 100).ravel(), ids.ravel())


@pytest.mark.parametrize("dtype", ["i1", "u4", "?"])
def test_a_checkpoint_whose_wte_is_no_floats_is_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(CheckpointError, match=r"'wte\.weight' is "):
        embeddings_of(tmp_path, np.ones((VOCAB_SIZE, N_EMBD), dtype))


def test_it_prints_itself(embeddings: Embeddings) -> None:
    assert repr(embeddings) == "<Embeddings of 10 tokens and 6 positions, 4 wide>"


# --- neighbours


def cosines_of(wte: Array, vector: Array) -> Array:
    """The definition, in torch's float64."""
    cosines = torch.cosine_similarity(torch.tensor(wte).double(), torch.tensor(vector).double(), dim=-1, eps=0)
    return np.asarray(cosines.numpy())


def assert_nearest(found: list[tuple[int, float]], cosines: Array, k: int) -> None:
    ids = np.argsort(-cosines, kind="stable")[:k]
    assert [id_ for id_, _ in found] == ids.tolist()
    np.testing.assert_allclose([cosine for _, cosine in found], cosines[ids], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_nearest_are_the_highest_cosines_in_every_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    wte = torch.randn(BLOCK + 500, 24, generator=torch.manual_seed(0)).to(dtype)
    tensors = {"wte.weight": wte, "wpe.weight": torch.zeros(1, 24, dtype=dtype)}
    save_torch_file(tensors, tmp_path / "model.safetensors")
    embeddings = Embeddings(Checkpoint.open(tmp_path))
    numbers = wte.double().numpy()
    for id_ in (0, BLOCK - 1, BLOCK, BLOCK + 499):
        cosines = cosines_of(numbers, numbers[id_])
        cosines[id_] = -2
        assert_nearest(embeddings.nearest(id_), cosines, 10)
        assert_nearest(embeddings.nearest(np.int16(id_), k=700), cosines, 700)
        vector = numbers[id_] * 3 + 1
        assert_nearest(embeddings.nearest(vector, k=3), cosines_of(numbers, vector), 3)


def test_nearest_gives_plain_numbers(embeddings: Embeddings) -> None:
    for id_, cosine in embeddings.nearest(3):
        assert type(id_) is int and type(cosine) is float and -1 <= cosine <= 1


def test_nearest_leaves_out_the_id_but_not_for_its_row(embeddings: Embeddings, wte: Array) -> None:
    assert sorted([3, *(id_ for id_, _ in embeddings.nearest(3, k=100))]) == list(range(VOCAB_SIZE))
    assert embeddings.nearest(wte[3], k=1)[0][0] == 3
    assert embeddings.nearest(wte[3].tolist(), k=1) == embeddings.nearest(wte[3], k=1)


def test_nearest_puts_the_lower_id_first_among_equals(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wte = random.standard_normal((2 * BLOCK, 24), np.float32)
    twins = random.choice(2 * BLOCK, 40, replace=False)
    wte[twins] = wte[twins[0]]
    found = embeddings_of(tmp_path, wte).nearest(wte[twins[0]], k=25)
    assert [id_ for id_, _ in found] == sorted(twins.tolist())[:25]
    assert len({cosine for _, cosine in found}) == 1


def test_nearest_among_equal_rows_alone(tmp_path: Path) -> None:
    found = embeddings_of(tmp_path, np.full((3 * BLOCK, 4), 0.1, np.float32)).nearest(5, k=6)
    assert [id_ for id_, _ in found] == [0, 1, 2, 3, 4, 6]


def test_rows_without_a_direction_are_neighbours_of_none(tmp_path: Path, wte: Array) -> None:
    damaged = wte.copy()
    damaged[2], damaged[3, 1], damaged[4, 2] = 0, np.nan, np.inf
    embeddings = embeddings_of(tmp_path, damaged)
    assert {id_ for id_, _ in embeddings.nearest(0, k=100)} == {1, 5, 6, 7, 8, 9}
    assert len(embeddings.nearest(0, k=3)) == 3
    for id_ in (2, 3, 4):
        with pytest.raises(ValueError, match=f"row of token {id_} has no direction"):
            embeddings.nearest(id_)


def test_rows_at_the_ends_of_float32_are_ranked_too(tmp_path: Path, wte: Array) -> None:
    scaled = wte.copy()
    scaled[:3] *= 1e38 / np.abs(scaled[:3]).max()
    scaled[3:6] *= 1e-36
    embeddings = embeddings_of(tmp_path, scaled)
    for id_ in range(VOCAB_SIZE):
        cosines = cosines_of(scaled, scaled[id_].astype(np.float64))
        cosines[id_] = -2
        assert_nearest(embeddings.nearest(id_, k=4), cosines, 4)
    assert embeddings.nearest(scaled[7].astype(np.float64) * 1e300, k=1)[0][0] == 7


def test_rows_at_the_ends_of_float64_are_ranked_too(tmp_path: Path, wte: Array) -> None:
    scaled = wte.astype(np.float64)
    for id_, exponent in enumerate([-1060, -1000, -540, -520, -200, 200, 510, 520, 1000, 1020]):
        scaled[id_] = np.ldexp(scaled[id_], exponent)
    save_file({"wte.weight": scaled, "wpe.weight": np.zeros((1, 4))}, tmp_path / "model.safetensors")
    embeddings = Embeddings(Checkpoint.open(tmp_path))
    sizes = np.abs(scaled).max(axis=1, keepdims=True)
    for id_ in range(VOCAB_SIZE):
        cosines = cosines_of(scaled / sizes, scaled[id_] / sizes[id_])
        cosines[id_] = -2
        assert_nearest(embeddings.nearest(id_, k=9), cosines, 9)


@settings(max_examples=50)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 5)), elements=st.floats(-2, 2, width=16)), st.data()
)
def test_nearest_of_any_matrix_is_sorted_whole_and_deterministic(
    tmp_path: Path, wte: Array, data: st.DataObject
) -> None:
    embeddings = embeddings_of(tmp_path, wte)
    directed = np.flatnonzero(wte.any(axis=1)).tolist()
    id_ = data.draw(st.integers(0, len(wte) - 1))
    if id_ not in directed:
        with pytest.raises(ValueError, match="no direction"):
            embeddings.nearest(id_)
        return
    every = embeddings.nearest(id_, k=len(wte))
    assert sorted([id_, *(other for other, _ in every)]) == directed
    assert every == sorted(every, key=lambda pair: (-pair[1], pair[0]))
    k = data.draw(st.integers(1, len(wte)))
    assert embeddings.nearest(id_, k=k) == every[:k]


NO_VECTORS: dict[str, list[Any]] = {
    "no direction": [np.zeros(4), [0.0, 0, 0, np.nan], [np.inf, 0, 0, 0]],
    r"one id or one vector of shape \(4,\)": [np.ones(3), np.ones((1, 4)), [], [1, 2, 3, 4, 5]],
    "token id -1 is outside the vocabulary, 0 to 9": [-1],
    f"token id {VOCAB_SIZE} is outside the vocabulary, 0 to 9": [VOCAB_SIZE],
    f"token id {2**70} is outside the vocabulary, 0 to 9": [2**70],
}


@pytest.mark.parametrize("message", NO_VECTORS)
def test_what_has_no_direction_another_shape_or_no_row_is_refused(embeddings: Embeddings, message: str) -> None:
    for query in NO_VECTORS[message]:
        with pytest.raises(ValueError, match=message):
            embeddings.nearest(query)


@pytest.mark.parametrize("query", [None, True, 1.0, "a", np.bool_(False), ["a"] * 4, [True] * 4, [1j] * 4, [None] * 4])
def test_neither_an_id_nor_a_vector_is_a_type_error(embeddings: Embeddings, query: Any) -> None:
    with pytest.raises(TypeError):
        embeddings.nearest(query)


@pytest.mark.parametrize("k", [0, -1])
def test_k_is_at_least_one(embeddings: Embeddings, k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be at least 1, not {k}"):
        embeddings.nearest(1, k=k)


@pytest.mark.parametrize("k", [None, True, 1.0, "1", np.bool_(True)])
def test_k_is_an_integer(embeddings: Embeddings, k: Any) -> None:
    with pytest.raises(TypeError):
        embeddings.nearest(1, k=k)
