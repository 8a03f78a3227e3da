"""A safetensors file is read as `safetensors` reads it, or refused; never anything else."""

import json
import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
import torch.distributed.checkpoint as distributed
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from minigpt2.weights.safetensors_file import NUMPY_DTYPE, CheckpointError, SafetensorsFile
from tests.weights.test_damage import ENTRY, A, B, content


def write(path: Path, header: object, data: bytes = bytes(24)) -> Path:
    """A file with this header and this data."""
    path.write_bytes(content(header, data))
    return path


def write_entry(path: Path, **changes: object) -> Path:
    return write(path, {"a": ENTRY | changes})


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).astype(dtype).reshape(2, 3)
        for dtype in ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
    ]
    + [np.array(3.5, np.float32), np.zeros((0, 4), np.float32)],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_every_numpy_dtype_and_shape_reads_back_as_it_was_saved(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    save_file({"a": array}, tmp_path / "a.safetensors")
    read = SafetensorsFile(tmp_path / "a.safetensors").read("a")
    assert read.dtype == array.dtype and read.shape == array.shape
    np.testing.assert_array_equal(read, array)


def test_bfloat16_is_widened_to_the_float32_of_the_same_value(tmp_path: Path) -> None:
    every = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    save_torch_file({"a": every}, tmp_path / "a.safetensors")
    read = SafetensorsFile(tmp_path / "a.safetensors").read("a")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read.view(np.uint32), every.float().numpy().view(np.uint32))


@pytest.mark.parametrize("shape", [(), (0, 4), (2, 3)])
def test_bfloat16_of_every_shape_is_widened(shape: tuple[int, ...], tmp_path: Path) -> None:
    numbers = torch.full(shape, -3.5, dtype=torch.bfloat16)
    save_torch_file({"a": numbers}, tmp_path / "a.safetensors")
    read = SafetensorsFile(tmp_path / "a.safetensors").read("a")
    assert read.dtype == np.float32 and read.shape == shape
    np.testing.assert_array_equal(read, numbers.float().numpy())


def test_a_view_is_read_only_and_copies_nothing(tmp_path: Path) -> None:
    array = SafetensorsFile(write_entry(tmp_path / "a.safetensors")).read("a")
    assert not array.flags.writeable and not array.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


def test_data_at_an_odd_byte_is_read_all_the_same(tmp_path: Path) -> None:
    numbers = np.arange(6, dtype="<f4").reshape(2, 3)
    header = json.dumps({"a": ENTRY}).encode()
    path = write(tmp_path / "a.safetensors", header + b" " * (1 - len(header) % 2), numbers.tobytes())
    array = SafetensorsFile(path).read("a")
    assert not array.flags.aligned
    np.testing.assert_array_equal(array, numbers)


def test_info_gives_the_bytes_of_the_tensor_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    arrays: dict[str, np.ndarray[Any, Any]] = {"a": np.arange(6, dtype=np.float32), "b": np.arange(3, dtype=np.int16)}
    save_file(arrays, path, metadata={"from": "here"})
    file = SafetensorsFile(path)
    assert file.metadata == {"from": "here"}
    for name, array in arrays.items():
        info = file.tensors[name]
        assert path.read_bytes()[info.begin : info.end] == array.tobytes()
        assert (info.shape, info.size, info.nbytes, info.path) == (array.shape, array.size, array.nbytes, path)


@pytest.mark.parametrize("extra", [{}, {"note": "more"}, {"deep": [[[1e3, None]]]}])
def test_padding_key_order_and_extra_fields_are_sound(tmp_path: Path, extra: dict[str, Any]) -> None:
    entry = {"data_offsets": [4, 28], "shape": [2, 3], "dtype": "F32", **extra}
    first = {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}
    text = json.dumps({"z": entry, "__metadata__": {}, "a": first}).encode() + b"   "
    file = SafetensorsFile(write(tmp_path / "a.safetensors", text, bytes(28)))
    assert list(file.tensors) == ["z", "a"]


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_a_dtype_that_numpy_lacks_opens_and_is_refused_when_read(tmp_path: Path, dtype: str) -> None:
    path = write_entry(tmp_path / "a.safetensors", dtype=dtype, shape=[24])
    with pytest.raises(CheckpointError, match=f"'a' is {dtype}, a dtype that numpy lacks"):
        SafetensorsFile(path).read("a")


@pytest.mark.parametrize("shape", [[1] * 60 + [2, 3] + [1] * 60, [0, 2**64 - 1]])
def test_a_shape_that_numpy_lacks_opens_and_is_refused_when_read(tmp_path: Path, shape: list[int]) -> None:
    nbytes = 4 * prod(shape)
    path = write(tmp_path / "a", {"a": ENTRY | {"shape": shape, "data_offsets": [0, nbytes]}}, bytes(nbytes))
    with pytest.raises(CheckpointError, match="tensor 'a' cannot be a numpy array"):
        SafetensorsFile(path).read("a")


TWO = {"a": A, "b": B}


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_part_of_tensors_that_several_processes_saved_is_refused(tmp_path: Path) -> None:
    wte = torch.arange(12.0).reshape(6, 2)
    paths = [tmp_path / f"shard-0000{n}-model-00001-of-00001.safetensors" for n in (1, 2)]
    for path, begin in zip(paths, (0, 3), strict=True):  # as torch.distributed.checkpoint has it
        places = json.dumps({"wte.weight": {"saved_offsets": [begin, 0]}})
        save_torch_file({"wte.weight": wte[begin:][:3].clone()}, path, {"DCP_SHARDING_INFO": places})
    for path in paths:
        with pytest.raises(CheckpointError, match=r"shard-0000.*DCP_SHARDING_INFO.*HuggingFaceStorageReader"):
            SafetensorsFile(path)
    whole = {"wte.weight": torch.zeros(6, 2)}
    distributed.load(whole, storage_reader=distributed.HuggingFaceStorageReader(str(tmp_path)), no_dist=True)  # type: ignore[attr-defined]
    assert torch.equal(whole["wte.weight"], wte)  # the advice


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_what_one_process_saved_is_read(tmp_path: Path) -> None:
    writer = distributed.HuggingFaceStorageWriter(str(tmp_path), {"wte.weight": 1})  # type: ignore[attr-defined]
    distributed.save({"wte.weight": torch.ones(6, 2)}, storage_writer=writer, no_dist=True)  # type: ignore[attr-defined]
    (path,) = tmp_path.glob("*.safetensors")
    assert SafetensorsFile(path).read("wte.weight").shape == (6, 2)


@pytest.mark.parametrize("places", ["", "[]", "null", "[" * 100_000, '{"a": 1}', '{"a": {"saved_offsets": 1}}'])
def test_places_of_parts_that_cannot_be_understood_are_refused(places: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", {"__metadata__": {"DCP_SHARDING_INFO": places}, "a": ENTRY})
    with pytest.raises(CheckpointError, match=r"a\.safetensors: its DCP_SHARDING_INFO"):
        SafetensorsFile(path)


def test_a_missing_file_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        SafetensorsFile(tmp_path / "missing.safetensors")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(CheckpointError, match="not a regular file"):
        SafetensorsFile(tmp_path / "pipe.safetensors")


def test_a_terabyte_opens_and_gives_a_row(tmp_path: Path) -> None:
    rows = 10**12 // 4096
    header = {"a": {"dtype": "F32", "shape": [rows, 1024], "data_offsets": [0, 4096 * rows]}}
    path = write(tmp_path / "huge.safetensors", header, b"")
    os.truncate(path, path.stat().st_size + 4096 * rows)
    row = SafetensorsFile(path).read("a", np.array([rows - 1]))
    assert row.shape == (1, 1024) and not row.any()


@pytest.mark.parametrize("change", ["truncate", "replace", "rewrite"])
def test_a_file_changed_since_it_was_opened_is_refused(tmp_path: Path, change: str) -> None:
    path = write_entry(tmp_path / "a.safetensors")
    file = SafetensorsFile(path)
    if change == "truncate":
        os.truncate(path, 20)
    elif change == "replace":
        write_entry(tmp_path / "b.safetensors").replace(path)
    else:
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(0, 0))
    with pytest.raises(CheckpointError, match="has changed since it was opened"):
        file.read("a")


def test_a_file_changed_while_its_last_block_was_read_is_refused(tmp_path: Path) -> None:
    path = write_entry(tmp_path / "a.safetensors")
    blocks = SafetensorsFile(path).raw_blocks("a")
    next(blocks)
    os.utime(path, ns=(0, 0))
    with pytest.raises(CheckpointError, match="has changed since it was opened"):
        next(blocks)


def test_a_file_deleted_since_it_was_opened_is_file_not_found(tmp_path: Path) -> None:
    path = write_entry(tmp_path / "a.safetensors")
    file = SafetensorsFile(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.safetensors"):
        file.read("a")


def judged(data: bytes) -> dict[str, dict[str, Any]] | None:
    """The tensors that `safetensors` itself reads from a file's bytes."""
    try:
        return dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return None


def assert_read_as_judged(path: Path, data: bytes) -> None:
    """Open ends in the arrays of `safetensors` or in CheckpointError; what `safetensors` refuses is refused."""
    path.write_bytes(data)
    judgement = judged(data)
    try:
        file = SafetensorsFile(path)
        arrays = {name: file.read(name) for name in file.tensors if file.tensors[name].dtype in NUMPY_DTYPE}
    except CheckpointError:
        return
    assert judgement is not None
    assert set(file.tensors) == set(judgement)
    for name, array in arrays.items():
        assert file.tensors[name].dtype == judgement[name]["dtype"]
        assert list(array.shape) == judgement[name]["shape"]
        if file.tensors[name].dtype != "BF16":
            assert array.tobytes() == bytes(judgement[name]["data"])


SOUND = content(TWO, bytes(range(24)))
fuzz = settings(max_examples=300)


def test_the_fuzz_begins_with_a_sound_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(SOUND)
    assert set(SafetensorsFile(tmp_path / "a").tensors) == set(judged(SOUND) or {}) == {"a", "b"}


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=3), st.integers(-30, 30))
def test_any_changed_byte_or_length_is_judged_as_safetensors_does(
    tmp_path: Path, changes: list[tuple[int, int]], growth: int
) -> None:
    data = bytearray(SOUND)
    for offset, byte in changes:
        data[offset] = byte
    assert_read_as_judged(tmp_path / "a", bytes(data[:growth] if growth < 0 else data + bytes(growth)))


number = st.one_of(st.integers(-1, 30), st.sampled_from([True, None, 4.0, 2**63, 2**64, "4", [4]]))
entry = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*NUMPY_DTYPE, "F8_E4M3", "F4", "F33", "", None, 4]),
        "shape": st.lists(number, max_size=3),
        "data_offsets": st.lists(number, min_size=1, max_size=3),
    },
    optional={"more": number},
)


@fuzz
@given(st.dictionaries(st.text(max_size=3) | st.just("__metadata__"), entry | number, max_size=3), st.integers(0, 30))
def test_any_header_is_judged_as_safetensors_does(tmp_path: Path, header: dict[str, Any], size: int) -> None:
    assert_read_as_judged(tmp_path / "a", content(header, bytes(range(size))))


@st.composite
def sound_file(draw: st.DrawFn) -> bytes:
    """Tensors of any dtype and shape, laid one after another, in a header of any order."""
    header, end = {}, 0
    for name in draw(st.lists(st.text(max_size=4), unique=True, max_size=4)):
        dtype = draw(st.sampled_from(list(NUMPY_DTYPE)))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        begin, end = end, end + prod(shape) * np.dtype(NUMPY_DTYPE[dtype]).itemsize
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    items = draw(st.permutations(list(header.items())))
    text = json.dumps(dict(items)) + " " * draw(st.integers(0, 9))
    return content(text, draw(st.binary(min_size=end, max_size=end)))


@fuzz
@given(sound_file())
def test_every_sound_file_is_read_as_safetensors_does(tmp_path: Path, data: bytes) -> None:
    assert_read_as_judged(tmp_path / "a", data)
    if judged(data) is not None:
        SafetensorsFile(tmp_path / "a")  # not refused


def test_what_torch_saves_is_a_pickle(tmp_path: Path) -> None:
    torch.save(torch.zeros(2), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="it is a pickle"):
        SafetensorsFile(tmp_path / "model.safetensors")
