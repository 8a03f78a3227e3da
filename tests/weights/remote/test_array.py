"""A tensor on the hub: an array that reads what numpy reads, and its checkpoint one as if it were here."""

import operator
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices
from safetensors.numpy import save_file

from minigpt2 import Checkpoint, Embeddings
from tests.command import files_in
from tests.hub_server import Hub
from tests.weights.remote.published import MODEL, Array, Open, assert_same, ranges_asked_for
from tests.weights.samples import gpt2_tensors, save, save_sharded
from tests.weights.test_copies import WAYS, Again
from tests.weights.test_damage import content


def test_names_shapes_dtypes_and_config_are_those_of_the_file(remote: Open, published: Path) -> None:
    here, there = Checkpoint.open(published), remote()
    assert list(there) == list(here) and len(there) == len(here)
    assert there.parameter_names() == here.parameter_names() and there.num_parameters() == here.num_parameters()
    for (name, array), (_, local) in zip(there.named_parameters(), here.named_parameters(), strict=True):
        assert (array.shape, array.dtype, array.ndim, array.size) == (local.shape, local.dtype, local.ndim, local.size)
        assert (array.nbytes, len(array)) == (local.nbytes, len(local)), name
    assert there.config == here.config
    assert "lm_head.weight" in there and "transformer.wte.weight" in there and "nothing" not in there
    with pytest.raises(KeyError, match=r"close to it: wte\.weight"):
        there["wte.wieght"]


def test_every_number_is_that_of_the_file(remote: Open, published: Path) -> None:
    here, there = Checkpoint.open(published), remote()
    for name in here:
        whole = np.asarray(there[name])
        assert whole.dtype == here[name].dtype and whole.tobytes() == here[name].tobytes()


@pytest.mark.parametrize(("dtype", "data"), [("F32", np.float32(-3.5).tobytes()), ("BF16", b"\x60\xc0")])
def test_a_tensor_without_dimensions_is_read(hub: Hub, remote: Open, dtype: str, data: bytes) -> None:
    header = {"scale": {"dtype": dtype, "shape": [], "data_offsets": [0, len(data)]}}
    hub.publish("owner/scale", {"model.safetensors": content(header, data)})
    scale = remote("owner/scale")["scale"]
    assert scale.dtype == np.float32 and scale.shape == ()
    assert scale[()] == scale[...] == np.asarray(scale) == -3.5


def test_embeddings_and_neighbours_are_those_of_the_file(remote: Open, published: Path) -> None:
    here, there = Embeddings(Checkpoint.open(published)), Embeddings(remote())
    for ids in ([3], [[1, 2], [399, 0]], [5, 5, 5]):
        assert_same(there.tokens(ids), here.tokens(ids))
        assert_same(there(ids), here(ids))
    assert there.nearest(7) == here.nearest(7)
    with pytest.raises(ValueError, match="token id 400 is outside"):
        there.tokens([400])


@pytest.mark.parametrize("again", WAYS, ids=["copy", "deepcopy", "pickle"])
def test_a_copy_or_a_pickle_reads_the_same_commit(
    hub: Hub, remote: Open, published: Path, wte: Array, again: Again
) -> None:
    weights = remote()
    weights["wte.weight"][[7, 300]]
    save(published, gpt2_tensors(n_embd=8), config={"model_type": "gpt2", "n_head": 1})
    hub.publish(MODEL, files_in(published))
    hub.requests.clear()
    same = again(weights)
    assert_same(same["wte.weight"][[7, 300]], wte[[7, 300]])
    assert hub.requests == []
    assert_same(same["wte.weight"][[8]], wte[[8]])
    assert (same.commit, same.config["n_head"]) == (weights.commit, 2)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        basic_indices((400, 64), allow_newaxis=True),
        st.lists(st.integers(-400, 399), max_size=5),
        st.tuples(st.lists(st.integers(-400, 399), min_size=1, max_size=3), st.slices(64)),
    )
)
def test_any_index_reads_what_numpy_reads(remote: Open, wte: Array, key: Any) -> None:
    assert_same(remote()["wte.weight"][key], wte[key])


def test_masks_and_index_arrays_read_what_numpy_reads(remote: Open, wte: Array) -> None:
    array = remote()["wte.weight"]
    rows = np.arange(400)
    for key in (
        rows % 7 == 0,
        wte > 1,
        np.array([[1, 2], [3, -4]], np.int8),
        np.uint16(399),
        np.array(5),
        [True] * 400,
    ):
        assert_same(array[key], wte[key])


@pytest.mark.parametrize("key", [400, -401, [0, 400], (0, 64), "a", 1.0])
def test_an_index_that_numpy_refuses_is_refused(remote: Open, wte: Array, key: Any) -> None:
    with pytest.raises(IndexError) as judged:
        wte[key]
    with pytest.raises(IndexError) as refusal:
        remote()["wte.weight"][key]
    assert str(refusal.value) == str(judged.value)


def test_a_remote_array_computes_as_an_array(remote: Open, wte: Array) -> None:
    array = remote()["wte.weight"]
    vector = np.ones(64, np.float32)
    pairs: list[tuple[Any, Any]] = [
        (array * 2 - array, wte * 2 - wte),
        (array @ vector, wte @ vector),
        (np.tanh(array), np.tanh(wte)),
        (array.mean(), wte.mean()),
        (array.T, wte.T),
        (np.asarray(array, np.float64), wte.astype(np.float64)),
        (next(iter(array)), wte[0]),
    ]
    for ours, numpys in pairs:
        assert_same(ours, numpys)
    assert not array[:2].flags.writeable
    assert "(400, 64)" in repr(array) and not hasattr(array, "no_such_attribute")


AS_PYTHON: list[Callable[[Any], Any]] = [
    bool,
    int,
    float,
    complex,
    operator.index,
    "{:.2f}".format,
    lambda array: 3 in array,
    lambda array: array.__iadd__(1),
    lambda array: np.add(1, 2, out=array),
    lambda array: np.add(1, 2, where=array),
]


@pytest.mark.parametrize(
    "tensor", [np.array(3, np.int64), np.array(0.0), np.zeros((0, 2)), np.arange(6.0).reshape(2, 3)], ids=str
)
def test_python_takes_it_for_a_number_or_a_truth_value_where_it_takes_an_array(
    hub: Hub, remote: Open, tmp_path: Path, tensor: Array
) -> None:
    save_file({"x": tensor}, tmp_path / "model.safetensors")
    hub.publish("owner/odd", {"model.safetensors": (tmp_path / "model.safetensors").read_bytes()})
    here, there = Checkpoint.open(tmp_path / "model.safetensors")["x"], remote("owner/odd")["x"]
    for ask in AS_PYTHON:
        assert outcome(ask, there) == outcome(ask, here)


def outcome(ask: Callable[[Any], Any], array: Any) -> object:
    """The result, or the type of the error."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return ask(array)
        except (TypeError, ValueError) as error:
            return type(error)


def test_a_name_that_arrays_lack_costs_no_reading(hub: Hub, remote: Open) -> None:
    array = remote()["wte.weight"]
    ranges_asked_for(hub)
    assert not hasattr(array, "_repr_html_") and not hasattr(array, "to_torch")
    assert ranges_asked_for(hub) == []


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_whole_and_sharded_with_and_without_the_prefix(
    hub: Hub, remote: Open, tmp_path: Path, shards: int, prefix: str
) -> None:
    tensors = gpt2_tensors(prefix)
    keep = save if shards == 1 else save_sharded
    keep(tmp_path / "other", tensors)
    hub.publish("owner/other", files_in(tmp_path / "other"))
    weights = remote("owner/other")
    assert_same(Embeddings(weights).tokens([9, 0]), tensors[prefix + "wte.weight"][[9, 0]])
    assert {name: np.asarray(weights[name]).tobytes() for name in weights} == {
        name: array.tobytes() for name, array in tensors.items()
    }
