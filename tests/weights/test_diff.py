"""Two checkpoints are compared by name, shape and every number."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from minigpt2 import Checkpoint
from minigpt2.weights.diff import Difference, compare, compare_all, compare_names
from minigpt2.weights.safetensors_file import BLOCK
from tests.command import Capture, answer, complaint, write_small_gpt2
from tests.weights.samples import gpt2_tensors, save
from tests.weights.test_damage import ENTRY, content

Numbers = np.ndarray[Any, Any]


def saved(path: Path, **tensors: Numbers) -> Checkpoint:
    save_file(tensors, path)
    return Checkpoint.open(path)


def difference(directory: Path, ours: Numbers, theirs: Numbers) -> Difference:
    return compare(saved(directory / "a.safetensors", x=ours), saved(directory / "b.safetensors", x=theirs), "x")


def test_names_are_sorted_by_where_they_are(tmp_path: Path) -> None:
    one, two = np.zeros(1), np.zeros(2)
    first = saved(tmp_path / "a.safetensors", **{"wte.weight": one, "only.a": one, "shape": one})
    second = saved(tmp_path / "b.safetensors", **{"transformer.wte.weight": one, "only.b": one, "shape": two})
    names = compare_names(first, second)
    assert (names.only_first, names.only_second) == (["only.a"], ["only.b"])
    assert (names.other_shape, names.unreadable, names.common) == (["shape"], [], ["wte.weight"])
    assert compare(first, second, "wte.weight").differing == 0
    with pytest.raises(ValueError, match=r"'shape' has the shape \(1,\) in .* and \(2,\) in"):
        compare(first, second, "shape")


@given(st.tuples(*[st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 2), max_size=8)] * 2))
def test_each_name_is_at_one_place(sizes: tuple[dict[str, int], dict[str, int]]) -> None:
    ours, theirs = sizes
    with TemporaryDirectory() as directory:
        first, second = (
            saved(Path(directory, f"{number}.safetensors"), **{name: np.zeros(size) for name, size in each.items()})
            for number, each in enumerate(sizes)
        )
        names = compare_names(first, second)
    common = {name for name in ours.keys() & theirs.keys() if ours[name] == theirs[name]}
    assert sorted(names.only_first) == sorted(ours.keys() - theirs.keys())
    assert sorted(names.only_second) == sorted(theirs.keys() - ours.keys())
    assert sorted(names.common) == sorted(common)
    assert sorted(names.other_shape) == sorted((ours.keys() & theirs.keys()) - common)


@pytest.mark.parametrize("size", [0, 1, 7, BLOCK, 3 * BLOCK + 5])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "u1"])
def test_the_difference_is_numpys(tmp_path: Path, size: int, dtype: str) -> None:
    random = np.random.default_rng(0)
    ours = (random.standard_normal(size) * 50 + 100).astype(dtype)
    theirs = np.where(random.random(size) < 0.5, ours, ours + 3).astype(dtype)
    found = difference(tmp_path, ours, theirs)
    apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    assert (found.count, found.differing) == (size, int((ours != theirs).sum()))
    assert found.largest == apart.max(initial=0)
    assert found.mean == pytest.approx(apart.mean() if size else 0.0, rel=1e-12)


def test_checkpoints_of_different_dtypes_are_compared_by_value(tmp_path: Path) -> None:
    numbers = torch.randn(5000)
    save_torch_file({"x": numbers}, tmp_path / "a.safetensors")
    save_torch_file({"x": numbers.to(torch.bfloat16)}, tmp_path / "b.safetensors")
    found = compare(Checkpoint.open(tmp_path / "a.safetensors"), Checkpoint.open(tmp_path / "b.safetensors"), "x")
    apart = (numbers.double() - numbers.to(torch.bfloat16).double()).abs()
    assert found.largest == apart.max().item() and found.mean == pytest.approx(apart.mean().item(), rel=1e-12)


def test_what_is_not_finite_is_equal_to_itself_alone(tmp_path: Path) -> None:
    inf, nan = np.inf, np.nan
    same = np.array([nan, inf, -inf, 1.0])
    assert difference(tmp_path, same, same.copy()).largest == 0
    mixed = difference(tmp_path, np.array([nan, inf, 1.0, -0.0]), np.array([-nan, inf, 3.0, 0.0]))
    assert (mixed.differing, mixed.largest, mixed.mean) == (1, 2.0, 0.5)
    far = difference(tmp_path, np.array([inf, 1.0]), np.array([-inf, 1.0]))
    assert (far.differing, far.largest) == (1, inf)
    unknown = difference(tmp_path, np.array([nan, 1.0]), np.array([1.0, 2.0]))
    assert unknown.differing == 2 and np.isnan(unknown.largest) and np.isnan(unknown.mean)


def test_differences_that_float64_cannot_hold_or_sum_are_infinite(tmp_path: Path) -> None:
    huge = np.full(9, 1.7e308)
    assert difference(tmp_path, huge, -huge) == Difference("x", 9, 9, np.inf, np.inf)
    assert difference(tmp_path, huge, 0 * huge) == Difference("x", 9, 9, 1.7e308, np.inf)


def test_integers_differ_exactly_where_floats_would_not(tmp_path: Path) -> None:
    assert difference(tmp_path, np.array([2**53]), np.array([2**53 + 1])).differing == 1


def test_complex_numbers_differ_by_the_length_of_their_difference(tmp_path: Path) -> None:
    found = difference(tmp_path, np.array([0, 1], np.complex64), np.array([3 + 4j, 1], np.complex64))
    assert (found.differing, found.largest, found.mean) == (1, 5.0, 2.5)


@given(arrays(np.float32, 20, elements=st.floats(width=32)), arrays(np.float32, 20, elements=st.floats(width=32)))
def test_any_two_tensors_differ_alike_in_both_directions(tmp_path: Path, ours: Numbers, theirs: Numbers) -> None:
    there, back = difference(tmp_path, ours, theirs), difference(tmp_path, theirs, ours)
    assert repr(there) == repr(back)
    assert (there.differing == 0) == np.array_equal(ours, theirs, equal_nan=True)


def test_all_are_compared_in_the_order_of_the_names(tmp_path: Path) -> None:
    tensors = {f"t{index}": np.full(10, float(index)) for index in range(20)}
    first, second = saved(tmp_path / "a.safetensors", **tensors), saved(tmp_path / "b.safetensors", **tensors)
    assert [each.name for each in compare_all(first, second, list(tensors))] == list(tensors)


# --- the command


def test_diff_lists_what_differs_and_sums_up(tmp_path: Path, capsys: Capture) -> None:
    tensors = write_small_gpt2(tmp_path / "a")
    changed = {f"transformer.{name}": array for name, array in tensors.items() if name != "ln_f.bias"}
    changed["transformer.wpe.weight"] = tensors["wpe.weight"] + np.float32(0.5)
    changed["transformer.ln_f.weight"] = np.zeros(9, np.float32)
    changed["lm_head.weight"] = np.zeros((2, 2), np.float32)
    (tmp_path / "b").mkdir()
    save_file(changed, tmp_path / "b" / "model.safetensors")
    lines = answer(capsys, "diff", tmp_path / "a", tmp_path / "b").splitlines()
    assert set(lines[:5]) == {
        "only in A: ln_f.bias, F32 (8,)",
        "only in A: h.0.attn.bias, F32 (1, 1, 16, 16)",
        "only in A: h.1.attn.bias, F32 (1, 1, 16, 16)",
        "only in B: lm_head.weight, F32 (2, 2)",
        "other shape: ln_f.weight, (8,) in A, (9,) in B",
    }
    assert lines[6].split() == ["wpe.weight", "F32", "(16,", "8)", "128", "0.5", "0.5"]
    assert lines[7] == (
        "26 tensors in both with the same shape, 1 of them with other numbers; 3 only in A, 1 only in B, "
        "1 of another shape"
    )


def test_diff_of_equals_is_one_line_and_with_all_it_lists_them(tmp_path: Path, capsys: Capture) -> None:
    write_small_gpt2(tmp_path)
    summary = answer(capsys, "diff", tmp_path, tmp_path)
    assert summary.count("\n") == 1 and summary.startswith("30 tensors in both with the same shape, 0 of them")
    assert answer(capsys, "diff", tmp_path, tmp_path, "--all").count("\n") == 32


def test_diff_as_json_has_every_tensor(tmp_path: Path, capsys: Capture) -> None:
    saved(tmp_path / "a.safetensors", x=np.array([1.0]), y=np.array([np.nan]))
    saved(tmp_path / "b.safetensors", x=np.array([2.0]), y=np.array([0.0]), z=np.zeros(1))
    found = json.loads(answer(capsys, "diff", "--json", tmp_path / "a.safetensors", tmp_path / "b.safetensors"))
    assert (found["only_in_a"], found["only_in_b"], found["other_shape"]) == ([], ["z"], [])
    assert found["tensors"] == [
        {"name": "x", "count": 1, "differing": 1, "largest": 1.0, "mean": 1.0},
        {"name": "y", "count": 1, "differing": 1, "largest": None, "mean": None},
    ]


@pytest.mark.parametrize("sides", [("F8_E4M3", "F8_E4M3"), ("F8_E4M3", "F32"), ("F32", "F8_E4M3")])
def test_a_tensor_of_a_dtype_that_numpy_lacks_does_not_stop_the_others(
    tmp_path: Path, capsys: Capture, sides: tuple[str, str]
) -> None:
    dtypes = {"F32": torch.float32, "F8_E4M3": torch.float8_e4m3fn}
    for path, dtype, number in zip(("a", "b"), sides, (1.0, 2.0), strict=True):
        tensors = {"x": torch.ones(4).to(dtypes[dtype]), "y": torch.full((3,), number)}
        save_torch_file(tensors, tmp_path / f"{path}.safetensors")
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    printed = answer(capsys, "diff", *paths)
    assert f"not compared: x, {sides[0]} in A, {sides[1]} in B: numpy lacks a dtype" in printed
    assert printed.endswith(
        "1 tensors in both with the same shape, 1 of them with other numbers; "
        "0 only in A, 0 only in B, 0 of another shape, 1 not compared\n"
    )
    found = json.loads(answer(capsys, "diff", "--json", *paths))
    assert found["not_compared"] == ["x"] and [each["largest"] for each in found["tensors"]] == [1.0]


def test_a_shape_that_numpy_lacks_is_compared_all_the_same(tmp_path: Path) -> None:
    numbers = np.arange(6, dtype=np.float32)
    header = {"x": ENTRY | {"shape": [1] * 70 + [6]}}
    for path, array in (("a", numbers), ("b", numbers + 1)):
        (tmp_path / f"{path}.safetensors").write_bytes(content(header, array.tobytes()))
    first, second = Checkpoint.open(tmp_path / "a.safetensors"), Checkpoint.open(tmp_path / "b.safetensors")
    assert compare_all(first, second, compare_names(first, second).common)[0].largest == 1.0


def test_diff_names_the_file_that_is_missing(tmp_path: Path, capsys: Capture) -> None:
    write_small_gpt2(tmp_path)
    assert "none.safetensors" in complaint(capsys, "diff", tmp_path, tmp_path / "none.safetensors")


@pytest.mark.parametrize("has_changed", [False, True])
def test_a_model_beside_another_module_is_compared_with_itself(has_changed: bool, tmp_path: Path) -> None:
    model = gpt2_tensors("transformer.")
    other = np.full(4, 3, np.float32)
    changed = {"transformer.ln_f.weight": other} if has_changed else {}
    first = Checkpoint.open(save(tmp_path / "model", model))
    second = Checkpoint.open(save(tmp_path / "beside", model | changed | {"ln_f.weight": other}))
    names = compare_names(first, second)
    assert (names.only_first, names.only_second) == ([], ["ln_f.weight"])
    differing = [each.name for each in compare_all(first, second, names.common) if each.differing]
    assert len(names.common) == len(model) and differing == list(changed)


@pytest.mark.parametrize("stored_as", ["transformer.wte.weight", "lm_head.weight"])
def test_the_name_under_which_wte_is_stored_does_not_matter(stored_as: str, tmp_path: Path) -> None:
    other = {"ln_f.weight": np.full(4, 3, np.float32)}
    model = gpt2_tensors("transformer.") | other
    changed = model | {"transformer.ln_f.weight": other["ln_f.weight"]}
    changed[stored_as] = changed.pop("transformer.wte.weight")
    first = Checkpoint.open(save(tmp_path / "first", model))
    second = Checkpoint.open(save(tmp_path / "second", changed, config={"model_type": "gpt2"}))
    names = compare_names(first, second)
    assert (names.only_first, names.only_second) == ([], [])
    differing = [each.name for each in compare_all(first, second, names.common) if each.differing]
    assert differing == ["transformer.ln_f.weight"]


def test_a_second_name_of_wte_is_compared_with_the_tensor_of_that_name(tmp_path: Path) -> None:
    once, apart = gpt2_tensors(), gpt2_tensors() | {"embed.weight": gpt2_tensors()["wte.weight"] + 1}
    save_file(once, tmp_path / "once.safetensors", {"embed.weight": "wte.weight"})
    first, second = Checkpoint.open(tmp_path / "once.safetensors"), Checkpoint.open(save(tmp_path, apart))
    names = compare_names(first, second)
    assert (names.only_first, names.only_second) == ([], [])
    assert [each.name for each in compare_all(first, second, names.common) if each.differing] == ["embed.weight"]


def test_a_name_of_another_module_is_not_compared_with_that_of_a_model_without_a_prefix(tmp_path: Path) -> None:
    other = {"ln_f.weight": np.full(4, 3, np.float32)}
    first = Checkpoint.open(save(tmp_path / "model", gpt2_tensors()))
    second = Checkpoint.open(save(tmp_path / "beside", gpt2_tensors("transformer.") | other))
    names = compare_names(first, second)
    assert names.only_first == ["ln_f.weight"]
    assert names.only_second == ["ln_f.weight", "transformer.ln_f.weight"]
    assert not any(each.differing for each in compare_all(first, second, names.common))
    assert len(names.common) == len(gpt2_tensors()) - 1
