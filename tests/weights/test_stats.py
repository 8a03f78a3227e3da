"""The figures of a tensor are numpy's, whatever numbers it has; the command prints them with a histogram."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from minigpt2 import Checkpoint, CheckpointError
from minigpt2.weights.safetensors_file import BLOCK
from minigpt2.weights.stats import BINS, TensorStats, tensor_stats
from tests.command import Capture, answer, complaint, environment, run, write_small_gpt2

Numbers = np.ndarray[Any, Any]


def stats_of(directory: Path, numbers: Numbers) -> TensorStats:
    save_file({"a": numbers}, directory / "a.safetensors")
    return tensor_stats(Checkpoint.open(directory / "a.safetensors"), "a")


def assert_numpys(stats: TensorStats, numbers: Numbers) -> None:
    """Compare with numpy over the whole, in long double where that is wider."""
    finite = numbers[np.isfinite(numbers)].astype(np.longdouble)
    assert (stats.count, stats.nans) == (numbers.size, np.isnan(numbers).sum())
    assert (stats.infinities, stats.zeros) == (np.isinf(numbers).sum(), (numbers == 0).sum())
    if not finite.size:
        assert all(map(math.isnan, (stats.least, stats.greatest, stats.mean, stats.std, stats.l1, stats.l2)))
        return
    assert (stats.least, stats.greatest) == (finite.min(), finite.max())
    assert stats.largest == np.abs(finite).max()
    scale = float(np.abs(finite).max())
    assert stats.mean == pytest.approx(float(finite.mean()), rel=1e-10, abs=1e-13 * scale)
    assert stats.std == pytest.approx(float(finite.std()), rel=1e-10, abs=1e-12 * scale)
    assert stats.l1 == pytest.approx(float(np.abs(finite).sum()), rel=1e-10)
    assert stats.l2 == pytest.approx(float(np.sqrt(np.square(finite).sum())), rel=1e-10)
    assert stats.histogram.sum() == finite.size and stats.histogram.shape == (BINS,)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "i1", "u1", "u8", "i4", "?"])
@pytest.mark.parametrize("shape", [(3 * BLOCK + 17,), (7, 5, 11), (1,), ()])
def test_the_figures_are_numpys(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    numbers = (np.random.default_rng(0).standard_normal(shape) * 3 + 40).astype(dtype)
    assert_numpys(stats_of(tmp_path, np.asarray(numbers)), np.asarray(numbers))


def test_bfloat16_is_taken_for_its_value(tmp_path: Path) -> None:
    tensor = torch.randn(1000).to(torch.bfloat16)
    save_torch_file({"a": tensor}, tmp_path / "a.safetensors")
    assert_numpys(tensor_stats(Checkpoint.open(tmp_path / "a.safetensors"), "a"), tensor.float().numpy())


def test_the_histogram_is_numpys(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).standard_normal(2 * BLOCK + 5, np.float32)
    counts, edges = np.histogram(numbers.astype(np.float64), BINS)
    stats = stats_of(tmp_path, numbers)
    np.testing.assert_array_equal(stats.histogram, counts)
    assert (edges[0], edges[-1]) == (stats.least, stats.greatest)


@given(arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32)))
def test_any_numbers_have_figures(tmp_path: Path, numbers: Numbers) -> None:
    assert_numpys(stats_of(tmp_path, numbers), numbers)


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_the_histogram_has_every_number_however_large_or_small(tmp_path: Path, numbers: Numbers) -> None:
    stats = stats_of(tmp_path, numbers)
    assert stats.histogram.sum() == numbers.size and (stats.histogram >= 0).all()
    assert (stats.least, stats.greatest) == (numbers.min(), numbers.max())


@pytest.mark.parametrize(("signs", "mean"), [([1], math.inf), ([-1], -math.inf), ([1] * 9 + [-1] * 9, math.nan)])
def test_sums_beyond_float64_warn_of_nothing(tmp_path: Path, signs: list[int], mean: float) -> None:
    stats = stats_of(tmp_path, np.repeat(np.array(signs) * 1.7e308, 1000))
    assert (stats.least, stats.greatest) == (min(signs) * 1.7e308, max(signs) * 1.7e308)
    assert repr(stats.mean) == repr(mean) and stats.l1 == stats.l2 == math.inf


@pytest.mark.parametrize("dtype", ["f4", "i8"])
def test_a_large_mean_leaves_a_small_deviation_its_digits(tmp_path: Path, dtype: str) -> None:
    numbers = (np.arange(3 * BLOCK) % 3 + 1e7).astype(dtype)
    assert stats_of(tmp_path, numbers).std == pytest.approx(math.sqrt(2 / 3), rel=1e-9)


def test_a_constant_has_no_deviation_and_one_step(tmp_path: Path) -> None:
    stats = stats_of(tmp_path, np.full(1000, 0.25))
    assert stats.std == 0 and sorted(stats.histogram)[-2:] == [0, 1000]


def test_what_has_no_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'a' holds complex numbers"):
        stats_of(tmp_path, np.ones(3, np.complex64))


def test_what_numpy_lacks_is_refused(tmp_path: Path) -> None:
    save_torch_file({"a": torch.ones(4).to(torch.float8_e4m3fn)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="'a' is F8_E4M3, a dtype that numpy lacks"):
        tensor_stats(Checkpoint.open(tmp_path / "a.safetensors"), "a")


# --- the command


def test_stats_prints_figures_and_a_histogram(tmp_path: Path, capsys: Capture) -> None:
    wte = write_small_gpt2(tmp_path)["wte.weight"]
    lines = answer(capsys, "stats", "wte.weight", "--model", tmp_path).splitlines()
    assert lines[0] == "wte.weight: F32 (50257, 8), 402,056 numbers, 1,608,224 bytes"
    figures = dict(line.rsplit(maxsplit=1) for line in lines[2:12])
    assert float(figures["  min"]) == pytest.approx(float(wte.min()), rel=1e-6)
    assert float(figures["  std"]) == pytest.approx(float(wte.std(dtype=np.float64)), rel=1e-6)
    bars = [line.split() for line in lines[14:]]
    assert len(bars) == BINS and sum(int(bar[1].replace(",", "")) for bar in bars) == wte.size
    assert max(len(bar[2]) for bar in bars) == 50


def test_stats_as_json_has_what_the_library_has(tmp_path: Path, capsys: Capture) -> None:
    save_file({"a": np.array([1.0, np.nan, np.inf])}, tmp_path / "a.safetensors")
    figures = json.loads(answer(capsys, "stats", "a", "--json", "--model", tmp_path / "a.safetensors"))
    assert (figures["name"], figures["count"], figures["nans"], figures["infinities"]) == ("a", 3, 1, 1)
    assert figures["least"] == figures["greatest"] == figures["mean"] == 1.0 and sum(figures["histogram"]) == 1


@pytest.mark.parametrize("numbers", [[], [float("nan")]])
def test_stats_of_nothing_says_so(tmp_path: Path, capsys: Capture, numbers: list[float]) -> None:
    save_file({"a": np.array(numbers)}, tmp_path / "a.safetensors")
    assert answer(capsys, "stats", "a", "--model", tmp_path / "a.safetensors").endswith("\nno finite numbers\n")
    figures = json.loads(answer(capsys, "stats", "a", "--json", "--model", tmp_path / "a.safetensors"))
    assert figures["mean"] is None


def test_stats_of_a_name_there_is_not_names_the_closest(tmp_path: Path, capsys: Capture) -> None:
    write_small_gpt2(tmp_path)
    assert "close to it: wte.weight" in complaint(capsys, "stats", "wte.wieght", "--model", tmp_path)


def test_where_the_output_has_no_blocks_the_bars_are_of_ascii(tmp_path: Path) -> None:
    write_small_gpt2(tmp_path)
    arguments = ("stats", "ln_f.bias", "--model", str(tmp_path))
    assert run(*arguments, env=environment(PYTHONIOENCODING="ascii")).stdout.decode("ascii").count("#") > 50
