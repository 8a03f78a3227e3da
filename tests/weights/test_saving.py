"""A part of a checkpoint is written whole or not at all, as safetensors and transformers read it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch_file
from safetensors.torch import save_file as save_torch_file
from transformers import GPT2Config, GPT2LMHeadModel

from minigpt2 import Checkpoint, CheckpointError
from minigpt2.cli import main
from minigpt2.tokenizer_files.files import NAMES, OPENAI_NAMES
from minigpt2.weights import safetensors_writer
from minigpt2.weights.safetensors_file import BLOCK
from tests.command import Capture, answer, complaint, disk_is_full, write_small_gpt2
from tests.weights.samples import gpt2_tensors, save_sharded
from tests.weights.samples import save as save_whole

TORCH = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


@pytest.fixture
def weights(tmp_path: Path) -> Checkpoint:
    write_small_gpt2(tmp_path / "model")
    return Checkpoint.open(tmp_path / "model")


def test_a_subset_is_read_back_by_safetensors(weights: Checkpoint, tmp_path: Path) -> None:
    weights.save(tmp_path / "part.safetensors", names=["wpe.weight", "wte.weight"])
    read = load_file(tmp_path / "part.safetensors")
    assert set(read) == {"wpe.weight", "wte.weight"}
    for name, array in read.items():
        assert array.dtype == np.float32 and array.tobytes() == weights[name].tobytes()
    with safe_open(tmp_path / "part.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}


def test_what_others_wrote_gets_the_format_that_transformers_4_asks_for(tmp_path: Path) -> None:
    save_file(gpt2_tensors(), tmp_path / "theirs.safetensors", {"format": "np", "author": "they"})
    Checkpoint.open(tmp_path / "theirs.safetensors").save(tmp_path / "ours.safetensors")
    assert Checkpoint.open(tmp_path / "ours.safetensors").metadata == {"format": "pt", "author": "they"}


def test_without_names_all_of_it_is_written(weights: Checkpoint, tmp_path: Path) -> None:
    weights.save(tmp_path / "all.safetensors")
    again = Checkpoint.open(tmp_path / "all.safetensors")
    assert set(again) == set(weights)
    assert all(again[name].tobytes() == weights[name].tobytes() for name in weights)
    assert again["wte.weight"].flags.aligned


def test_a_tensor_has_the_name_that_it_was_asked_for_by(weights: Checkpoint, tmp_path: Path) -> None:
    weights.save(tmp_path / "part.safetensors", names=["transformer.wte.weight", "lm_head.weight"])
    read = load_file(tmp_path / "part.safetensors")
    assert set(read) == {"transformer.wte.weight", "lm_head.weight"}
    assert all(array.tobytes() == weights["wte.weight"].tobytes() for array in read.values())


@pytest.mark.parametrize("dtype", [None, "F32", "F16", "BF16"])
def test_transformers_reads_what_was_saved(tmp_path: Path, dtype: str | None) -> None:
    sizes: Any = {"n_layer": 2, "n_embd": 24, "n_head": 2, "n_positions": 37, "vocab_size": 301}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "saved").mkdir()
    Checkpoint.open(tmp_path / "model").save(tmp_path / "saved" / "model.safetensors", dtype=dtype)
    (tmp_path / "saved" / "config.json").write_bytes((tmp_path / "model" / "config.json").read_bytes())
    torch_dtype = TORCH[dtype or "F32"]
    answered: Any = GPT2LMHeadModel.from_pretrained(tmp_path / "saved", dtype=torch_dtype, output_loading_info=True)
    loaded, report = answered
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    for (name, saved), (_, tensor) in zip(loaded.named_parameters(), model.named_parameters(), strict=True):
        assert torch.equal(saved, tensor.to(torch_dtype)), name


@given(
    arrays(np.float32, st.integers(0, 30), elements=st.floats(width=32)),
    st.sampled_from(["F16", "BF16", "F64"]),
)
def test_numbers_are_rounded_as_torch_rounds_them(tmp_path: Path, numbers: np.ndarray[Any, Any], dtype: str) -> None:
    save_file({"a": numbers}, tmp_path / "a.safetensors")
    rounded = torch.from_numpy(numbers).to(TORCH[dtype])
    path = tmp_path / "b.safetensors"
    if (rounded.isinf() & ~torch.from_numpy(numbers).isinf()).any():
        path.unlink(missing_ok=True)
        with pytest.raises(ValueError, match=f"'a' has .* beyond the range of {dtype}"):
            Checkpoint.open(tmp_path / "a.safetensors").save(path, dtype=dtype)
        assert not path.exists()
        return
    Checkpoint.open(tmp_path / "a.safetensors").save(path, dtype=dtype)
    assert torch.equal(load_torch_file(path)["a"].nan_to_num(nan=7), rounded.nan_to_num(nan=7))
    assert torch.equal(load_torch_file(path)["a"].isnan(), rounded.isnan())


@given(st.integers(0, 0x7F7E), st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 1]))
def test_a_float64_near_the_middle_of_two_bfloat16s_becomes_the_nearer_one(
    tmp_path: Path, bits: int, side: int, sign: int
) -> None:
    lower, upper = (np.array([bits, bits + 1], np.uint32) << 16).view(np.float32).astype(np.float64)
    middle = (lower + upper) / 2
    number = np.nextafter(middle, middle * (1 + side))  # from 2**53 on, middle + 1 is middle
    save_file({"a": np.array([sign * number])}, tmp_path / "a.safetensors")
    Checkpoint.open(tmp_path / "a.safetensors").save(tmp_path / "b.safetensors", dtype="BF16")
    even = (lower, upper)[bits % 2]
    assert Checkpoint.open(tmp_path / "b.safetensors")["a"][0] == sign * {-1: lower, 0: even, 1: upper}[side]


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_bfloat16_is_written_in_other_dtypes_by_value(tmp_path: Path, dtype: str) -> None:
    tensor = torch.randn(3 * BLOCK + 7).to(torch.bfloat16)
    save_torch_file({"a": tensor, "b": tensor[:3].clone()}, tmp_path / "a.safetensors")
    Checkpoint.open(tmp_path / "a.safetensors").save(tmp_path / "b.safetensors", dtype=dtype)
    assert torch.equal(load_torch_file(tmp_path / "b.safetensors")["a"], tensor.to(TORCH[dtype]))


def test_only_floating_point_numbers_change_their_dtype(tmp_path: Path) -> None:
    tensors = {"mask": torch.ones(3, dtype=torch.bool), "ids": torch.arange(5), "a": torch.ones(2)}
    tensors["exotic"] = torch.ones(5).to(torch.float8_e4m3fn)
    save_torch_file(tensors, tmp_path / "a.safetensors")
    Checkpoint.open(tmp_path / "a.safetensors").save(tmp_path / "b.safetensors", dtype="F16")
    read = load_torch_file(tmp_path / "b.safetensors")
    assert {name: tensor.dtype for name, tensor in read.items()} == {
        name: tensor.dtype for name, tensor in tensors.items()
    } | {"a": torch.float16}
    assert all(torch.equal(read[name].float(), tensors[name].float()) for name in tensors)


@pytest.mark.parametrize(
    ("dtype", "name"), [(np.float16, "F16"), ("float32", "F32"), (np.dtype(">f8"), "F64"), ("BF16", "BF16")]
)
def test_a_dtype_is_one_of_the_formats_or_of_numpys(weights: Checkpoint, tmp_path: Path, dtype: Any, name: str) -> None:
    weights.save(tmp_path / "a.safetensors", names=["wpe.weight"], dtype=dtype)
    assert Checkpoint.open(tmp_path / "a.safetensors").info("wpe.weight").dtype == name


@pytest.mark.parametrize("dtype", ["F33", "f16 ", "int8", np.int32, "complex64", "I8", object()])
def test_any_other_dtype_is_refused(weights: Checkpoint, tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(ValueError, match="is not one of BF16, F16, F32, F64"):
        weights.save(tmp_path / "a.safetensors", dtype=dtype)
    assert not (tmp_path / "a.safetensors").exists()


def test_numbers_that_become_zero_are_no_error(weights: Checkpoint, tmp_path: Path) -> None:
    save_whole(tmp_path, {"a": np.array([1e-30], np.float32)})
    with np.errstate(all="raise"):
        for dtype in ("F16", "BF16", "F32"):
            Checkpoint.open(tmp_path).save(tmp_path / "b.safetensors", dtype=dtype)


def test_a_name_there_is_not_and_one_name_alone_are_refused(weights: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"close to it: wte\.weight"):
        weights.save(tmp_path / "a.safetensors", names=["wte.wieght"])
    with pytest.raises(TypeError, match=r"not one: \['wte\.weight'\]"):
        weights.save(tmp_path / "a.safetensors", names="wte.weight")
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("name", [*NAMES, *OPENAI_NAMES, "adapter_config.json", "adapter_model.safetensors"])
def test_no_file_beside_the_weights_that_belongs_to_them_is_replaced(name: str, tmp_path: Path) -> None:
    save_whole(tmp_path, gpt2_tensors())
    (tmp_path / name).write_text("of the tokenizer")
    with pytest.raises(ValueError, match="belongs to the checkpoint that is read"):
        Checkpoint.open(tmp_path).save(tmp_path / name)
    assert (tmp_path / name).read_text() == "of the tokenizer"


@pytest.mark.parametrize("in_cache", [False, True])
@pytest.mark.parametrize("through_link", [False, True])
@pytest.mark.parametrize("index", [None, "{}", "damaged", "of a variant"])
def test_no_other_shard_is_replaced_where_one_is_read_alone(
    index: str | None, through_link: bool, in_cache: bool, tmp_path: Path
) -> None:
    save_sharded(tmp_path / "model", gpt2_tensors())
    own_index = tmp_path / "model" / "model.safetensors.index.json"
    if index == "of a variant":  # as transformers calls it
        own_index.rename(own_index.with_name("model.safetensors.index.fp16.json"))
    elif index is not None:
        own_index.write_text(index)
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    if in_cache:  # there each file is a link to a blob
        (tmp_path / "blobs").mkdir()
        for number, path in enumerate(before):
            path.symlink_to(path.rename(tmp_path / "blobs" / str(number)))
    (tmp_path / "link.safetensors").symlink_to(min(before))
    weights = Checkpoint.open(tmp_path / "link.safetensors" if through_link else min(before))
    for path in before:
        with pytest.raises(ValueError, match="belongs to the checkpoint that is read"):
            weights.save(path)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("sharded", [False, True])
def test_no_file_of_the_checkpoint_that_is_read_is_replaced(tmp_path: Path, sharded: bool, capsys: Capture) -> None:
    directory = tmp_path / "model"
    keep = save_sharded if sharded else save_whole
    keep(directory, gpt2_tensors(vocab_size=50257))
    (directory / "config.json").write_text("{}")
    before = {path: path.read_bytes() for path in directory.iterdir()}
    assert len(before) == (4 if sharded else 2)
    (tmp_path / "folder").symlink_to(directory)
    weights = Checkpoint.open(directory)
    for own in before:
        symbolic, hard = tmp_path / f"symbolic-{own.name}", tmp_path / f"hard-{own.name}"
        symbolic.symlink_to(own)
        os.link(own, hard)
        for path in (own, directory / ".." / "model" / own.name, tmp_path / "folder" / own.name, symbolic, hard):
            with pytest.raises(ValueError, match="belongs to the checkpoint that is read"):
                weights.save(path, names=["wpe.weight"])
            for command in (["extract", path, "wpe.weight"], ["embed", "!", "-o", path], ["explain", "!", "-o", path]):
                assert main([*map(str, command), "--model", str(directory)]) == 1
                assert "belongs to the checkpoint that is read" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("own", ["model-00001-of-00002", "shard-00001-model-00001-of-00002"])
def test_what_the_directory_does_not_list_is_not_written_either(own: str, tmp_path: Path) -> None:
    save_whole(tmp_path, gpt2_tensors(), f"{own}.safetensors")
    weights = Checkpoint.open(tmp_path / f"{own}.safetensors")
    for other in ("model-00002-of-00002.safetensors", "model.safetensors.index.json"):
        with pytest.raises(ValueError, match="belongs to the checkpoint that is read"):
            weights.save(tmp_path / other)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_shard_of_another_process_is_not_replaced(tmp_path: Path) -> None:
    paths = [tmp_path / f"shard-0000{n}-model-00001-of-00001.safetensors" for n in (1, 2)]
    for path in paths:
        save_whole(tmp_path, gpt2_tensors(), path.name)
    with pytest.raises(ValueError, match="belongs to the checkpoint that is read"):
        Checkpoint.open(paths[0]).save(paths[1])


def test_a_config_that_is_not_there_yet_is_not_written_either(weights: Checkpoint) -> None:
    config = weights.path.with_name("config.json")
    config.unlink()
    with pytest.raises(ValueError, match="belongs to the checkpoint that is read"):
        weights.save(config)
    assert not config.exists()


def test_what_fails_leaves_what_was_there(weights: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_text("old")
    monkeypatch.setattr(safetensors_writer, "_blocks", disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        weights.save(tmp_path / "old")
    assert (tmp_path / "old").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "old"]


def test_a_source_that_changes_meanwhile_is_refused(weights: Checkpoint, tmp_path: Path) -> None:
    write_small_gpt2(tmp_path / "model")
    with pytest.raises(CheckpointError, match="has changed since it was opened"):
        weights.save(tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize("name", ["", "missing/a.safetensors", "file/a.safetensors"])
def test_where_nothing_can_be_written_nothing_is_read(
    name: str, weights: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(Checkpoint, "fetch", lambda *_: pytest.fail("it was read"))
    with pytest.raises(OSError) as raised:
        weights.save(tmp_path / name)
    assert raised.value.filename == str(tmp_path / name)


# --- the command


def test_extract_writes_what_the_patterns_select(weights: Checkpoint, tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "part.safetensors"
    printed = answer(capsys, "extract", output, "wte.weight", "h.0.ln*", "--dtype", "F16", "--model", weights.path)
    read = load_file(output)
    assert printed == f"{output}: 5 tensors, {output.stat().st_size:,} bytes\n"
    assert set(read) == {"wte.weight", *(f"h.0.ln_{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias"))}
    assert all(np.array_equal(array, weights[name].astype(np.float16)) for name, array in read.items())


def test_extract_takes_a_name_that_exists_for_no_pattern(tmp_path: Path, capsys: Capture) -> None:
    save_file({name: np.zeros(1) for name in ("a[1]", "a1", "b")}, tmp_path / "all.safetensors")
    for pattern, written in {"a[1]": {"a[1]"}, "a?": {"a1"}, "a*": {"a[1]", "a1"}}.items():
        answer(capsys, "extract", tmp_path / "some", pattern, "--model", tmp_path / "all.safetensors")
        assert set(load_file(tmp_path / "some")) == written


@pytest.mark.parametrize("prefix", ["", "transformer.", "module.transformer."])
def test_extract_takes_the_name_of_the_tied_head(prefix: str, tmp_path: Path, capsys: Capture) -> None:
    tensors = {prefix + name: array for name, array in gpt2_tensors().items()}
    save_file(tensors, tmp_path / "all.safetensors")
    for patterns, names in (
        (["lm_head.weight"], {"wte.weight"}),
        (["wpe*", "lm_head.weight"], {"wte.weight", "wpe.weight"}),
    ):
        answer(capsys, "extract", tmp_path / "some", *patterns, "--model", tmp_path / "all.safetensors")
        assert set(load_file(tmp_path / "some")) == {prefix + name for name in names}


@pytest.mark.parametrize("prefix", ["", "transformer.", "module.transformer."])
@pytest.mark.parametrize("pattern", ["wpe.weight", "transformer.wpe.weight", "wpe*", "transformer.wpe*"])
def test_extract_takes_the_usual_names(prefix: str, pattern: str, tmp_path: Path, capsys: Capture) -> None:
    tensors = {prefix + name: array for name, array in gpt2_tensors().items()}
    save_file(tensors, tmp_path / "all.safetensors")
    answer(capsys, "extract", tmp_path / "some", pattern, "--model", tmp_path / "all.safetensors")
    assert set(load_file(tmp_path / "some")) == {f"{prefix}wpe.weight"}


@pytest.mark.parametrize("prefix", ["transformer.", "module.transformer.", "gpt."])
def test_extract_takes_no_other_module_for_a_part_of_the_transformer(
    prefix: str, tmp_path: Path, capsys: Capture
) -> None:
    tensors = {prefix + name: array for name, array in gpt2_tensors().items()}
    others = {"score.weight": np.zeros(2), "v_head.summary.bias": np.zeros(1)}
    save_file(tensors | others, tmp_path / "all.safetensors")
    answer(capsys, "extract", tmp_path / "some", "transformer.*", "--model", tmp_path / "all.safetensors")
    assert set(load_file(tmp_path / "some")) == tensors.keys()


@pytest.mark.parametrize("around", ["", "module."])
@pytest.mark.parametrize("pattern", ["transformer.*", "lm_head.*"])
def test_extract_takes_an_output_head_whole(around: str, pattern: str, tmp_path: Path, capsys: Capture) -> None:
    tensors = {f"{around}gpt.{name}": array for name, array in gpt2_tensors().items()}
    head = {f"{around}lm_head.weight": np.zeros((10, 4)), f"{around}lm_head.bias": np.zeros(10)}
    save_file(tensors | head, tmp_path / "all.safetensors")
    answer(capsys, "extract", tmp_path / "some", pattern, "--model", tmp_path / "all.safetensors")
    assert head.keys() <= set(load_file(tmp_path / "some"))


@pytest.mark.parametrize("names", ["actor policy", "policy actor"])
@pytest.mark.parametrize("pattern", ["actor.*", "policy.*"])
def test_extract_takes_a_tensor_by_each_of_its_names(pattern: str, names: str, tmp_path: Path, capsys: Capture) -> None:
    own, second = names.split()
    head = {"lm_head.weight": np.zeros((10, 4)), "lm_head.bias": np.zeros(10)}
    tensors = {f"transformer.{name}": array for name, array in gpt2_tensors().items()} | head
    metadata = {f"{second}.{name}": f"{own}.{name}" for name in tensors}  # as `save_model` writes a module of two names
    stored = {f"{own}.{name}": array for name, array in tensors.items()}
    save_file(stored, tmp_path / "all.safetensors", metadata)
    answer(capsys, "extract", tmp_path / "some", pattern, "--model", tmp_path / "all.safetensors")
    assert set(load_file(tmp_path / "some")) == stored.keys()


def test_extract_takes_a_name_as_the_file_has_it_before_the_usual_one(tmp_path: Path, capsys: Capture) -> None:
    names = {"wte.weight", "transformer.wte.weight"}
    save_file({name: np.zeros((2, 2)) for name in names}, tmp_path / "all.safetensors")
    for name in names:
        answer(capsys, "extract", tmp_path / "some", name, "--model", tmp_path / "all.safetensors")
        assert set(load_file(tmp_path / "some")) == {name}


def test_extract_takes_no_usual_name_where_one_could_mean_two_tensors(tmp_path: Path, capsys: Capture) -> None:
    names = ["encoder.wte.weight", "decoder.wte.weight", "ln_f.weight"]
    save_file({name: np.zeros((2, 2)) for name in names}, tmp_path / "all.safetensors")
    for usual in ("wte.weight", "transformer.ln_f.weight"):
        error = complaint(capsys, "extract", tmp_path / "some", usual, "--model", tmp_path / "all.safetensors")
        assert f"is called '{usual}'" in error


def test_extract_says_which_pattern_matches_nothing(weights: Checkpoint, tmp_path: Path, capsys: Capture) -> None:
    error = complaint(capsys, "extract", tmp_path / "a", "wte.weight", "nothing", "--model", weights.path)
    assert "is called 'nothing'" in error and not (tmp_path / "a").exists()
    assert "belongs to the checkpoint that is read" in complaint(
        capsys, "extract", weights.path, "--model", weights.path
    )
