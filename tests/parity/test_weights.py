"""Names, numbers and embeddings, bit for bit those of transformers and safetensors."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

from minigpt2 import GPT2, Checkpoint, CheckpointError, Embeddings

STANDIN = Path(__file__).parents[2] / "scripts" / "standin.py"
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
VOCAB_SIZE, N_POSITIONS = 301, 37


def same_bits(array: np.ndarray[Any, Any], tensor: torch.Tensor) -> bool:
    """Whether the array holds the tensor's numbers, NaNs and signed zeros included; BF16 as float32."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    expected = tensor.detach().numpy()
    assert array.dtype == expected.dtype and array.shape == expected.shape
    return array.tobytes() == expected.tobytes()


def random_model(**changes: Any) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"n_layer": 3, "n_embd": 24, "n_head": 2, "n_positions": N_POSITIONS, "vocab_size": VOCAB_SIZE}
    return GPT2LMHeadModel(GPT2Config(**(sizes | {"bos_token_id": 0, "eos_token_id": 0} | changes)))


def loaded(directory: Path, dtype: torch.dtype = torch.float32) -> GPT2LMHeadModel:
    return GPT2LMHeadModel.from_pretrained(directory, dtype=dtype)


def hidden_states(model: GPT2LMHeadModel, ids: Any) -> torch.Tensor:
    with torch.no_grad():
        states = model(torch.tensor(ids), output_hidden_states=True).hidden_states
    return states[0]  # type: ignore[no-any-return]


def assert_same_parameters(weights: Checkpoint, model: GPT2LMHeadModel) -> None:
    ours, theirs = list(weights.named_parameters()), list(model.named_parameters())
    assert [name for name, _ in ours] == [name for name, _ in theirs] == weights.parameter_names()
    assert weights.num_parameters() == sum(tensor.numel() for _, tensor in theirs)
    for (name, array), (_, tensor) in zip(ours, theirs, strict=True):
        assert same_bits(array, tensor), name
        assert weights.info(name).shape == tuple(tensor.shape)


def assert_same_tensors(weights: Checkpoint, files: list[Path]) -> None:
    """Every tensor of the files is what safetensors itself reads, and no other is there."""
    names = set()
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is not a mapping
                assert same_bits(weights[name], file.get_tensor(name)), name
                names.add(name)
    assert set(weights) == names and len(weights) == len(names)


@dataclass(frozen=True)
class Saved:
    """The files that transformers saved."""

    directory: Path
    dtype: str

    @property
    def files(self) -> list[Path]:
        return sorted(self.directory.glob("*.safetensors"))


@pytest.fixture(scope="module", params=[(dtype, size) for dtype in DTYPES for size in ("1GB", "20KB")], ids=str)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    dtype, max_shard_size = request.param
    directory = tmp_path_factory.mktemp(f"{dtype}-{max_shard_size}")
    model: Any = random_model()
    model.to(DTYPES[dtype]).save_pretrained(directory, max_shard_size=max_shard_size)
    checkpoint = Saved(directory, dtype)
    assert (len(checkpoint.files) > 1) == (max_shard_size == "20KB")
    return checkpoint


def test_tensors_are_what_safetensors_reads(saved: Saved) -> None:
    weights = Checkpoint.open(saved.directory)
    assert_same_tensors(weights, saved.files)
    assert {weights.info(name).dtype for name in weights} == {saved.dtype}


def test_parameters_are_what_transformers_loads(saved: Saved) -> None:
    dtype = torch.float16 if saved.dtype == "F16" else torch.float32
    assert_same_parameters(Checkpoint.open(saved.directory), loaded(saved.directory, dtype))


@pytest.mark.parametrize(
    "ids",
    [[[0]], [list(range(N_POSITIONS))], [[300, 0, 5, 5], [1, 2, 3, 300]], [[7] * N_POSITIONS]],
    ids=["one", "every position", "a batch", "one id repeated"],
)
def test_embeddings_are_the_first_hidden_states(saved: Saved, ids: list[list[int]]) -> None:
    # BF16 against float32: torch would round the sum to BF16.
    model = loaded(saved.directory, torch.float16 if saved.dtype == "F16" else torch.float32)
    embeddings = Embeddings(Checkpoint.open(saved.directory))
    assert same_bits(embeddings.tokens(ids), model.transformer.wte(torch.tensor(ids)))
    assert same_bits(embeddings(ids), hidden_states(model, ids))
    assert same_bits(embeddings(ids[0]), hidden_states(model, ids)[0])


def test_config_is_what_transformers_saved(saved: Saved) -> None:
    config = Checkpoint.open(saved.directory).config
    model_config = GPT2Config.from_pretrained(saved.directory)
    for name in ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size"):
        assert config[name] == getattr(model_config, name)


@pytest.mark.parametrize("max_shard_size", ["1GB", "20KB"])
def test_an_untied_lm_head_is_the_last_parameter(tmp_path: Path, max_shard_size: str) -> None:
    model = random_model(tie_word_embeddings=False)
    model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    weights = Checkpoint.open(tmp_path)
    assert weights.parameter_names()[-1] == "lm_head.weight"
    assert_same_parameters(weights, model)
    (tmp_path / "config.json").unlink()
    assert_same_parameters(weights, model)


@pytest.mark.parametrize("own_lm_head", ["equal", "another", "one number off"])
def test_an_lm_head_beside_a_tied_config_is_taken_as_transformers_takes_it(tmp_path: Path, own_lm_head: str) -> None:
    model = random_model()
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lm_head = tensors["transformer.wte.weight"].clone()
    if own_lm_head == "another":
        lm_head = torch.randn_like(lm_head)
    if own_lm_head == "one number off":
        lm_head[-1, -1] += 1
    save_file(tensors | {"lm_head.weight": lm_head}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert_same_parameters(Checkpoint.open(tmp_path), loaded(tmp_path))
    (tmp_path / "config.json").unlink()
    assert ("lm_head.weight" in Checkpoint.open(tmp_path).parameter_names()) == (own_lm_head != "equal")


def write_tied(directory: Path, **config: Any) -> GPT2LMHeadModel:
    """Write a model as safetensors' `save_model` does: a matrix with two names is saved under the first of them."""
    model = random_model()
    model.save_pretrained(directory)
    save_model(model, str(directory / "model.safetensors"))
    assert "transformer.wte.weight" not in load_file(directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(model.config.to_dict() | config))
    return model


def test_a_wte_saved_under_the_name_of_lm_head_alone_is_taken_as_transformers_takes_it(tmp_path: Path) -> None:
    model = write_tied(tmp_path)
    weights = Checkpoint.open(tmp_path)
    assert_same_parameters(weights, loaded(tmp_path))
    ids = [[1, 2, 300]]
    assert same_bits(Embeddings(weights)(ids), hidden_states(loaded(tmp_path), ids))
    with torch.no_grad():
        logits = loaded(tmp_path)(torch.tensor(ids)).logits
    np.testing.assert_allclose(GPT2(weights)(ids).logits, logits.numpy(), atol=1e-5)
    (tmp_path / "config.json").unlink()  # the metadata says it too
    assert_same_parameters(Checkpoint.open(tmp_path), model)


def test_an_lm_head_alone_that_transformers_does_not_tie_is_refused(tmp_path: Path) -> None:
    model = write_tied(tmp_path, tie_word_embeddings=False)
    assert not torch.equal(loaded(tmp_path).transformer.wte.weight, model.transformer.wte.weight)
    weights = Checkpoint.open(tmp_path)
    assert "wte.weight" not in weights
    for need in (weights.parameter_names, lambda: Embeddings(weights), lambda: GPT2(weights)):
        with pytest.raises(CheckpointError, match=r"has no 'wte\.weight', and nothing says that 'lm_head\.weight' is"):
            need()


def test_an_index_may_list_the_tied_lm_head_that_no_shard_has(tmp_path: Path) -> None:
    model = random_model()
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["lm_head.weight"] = content["weight_map"]["transformer.wte.weight"]
    index.write_text(json.dumps(content))
    assert_same_parameters(Checkpoint.open(tmp_path), loaded(tmp_path))


def test_a_model_without_head_and_prefix_has_the_same_parameters(tmp_path: Path) -> None:
    model = random_model()
    base: GPT2Model = model.transformer
    base.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    assert "wte.weight" in list(weights)
    assert_same_parameters(weights, model)


@pytest.mark.parametrize("changes", [{"n_inner": 40}, {"n_layer": 1}, {"n_layer": 11}, {"vocab_size": 303}])
def test_any_gpt2_is_read(tmp_path: Path, changes: dict[str, int]) -> None:
    model = random_model(**changes)
    model.save_pretrained(tmp_path)
    assert_same_parameters(Checkpoint.open(tmp_path), model)


@pytest.mark.parametrize("model_type", ["gpt_neo", "gpt_bigcode", "bert", "llama"])
def test_another_architecture_is_refused_as_a_gpt2_and_still_read(tmp_path: Path, model_type: str) -> None:
    from transformers import AutoConfig, AutoModel

    sizes = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    more = {"gpt_neo": {"attention_types": [[["global"], 2]], "num_heads": 2, "num_layers": 2}}
    if model_type == "gpt_neo":
        sizes = {"vocab_size": 50, "hidden_size": 16}
    config = AutoConfig.for_model(
        model_type,
        **sizes,
        **more.get(model_type, {}),
        intermediate_size=32,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
    )
    model: Any = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(tmp_path)
    weights = Checkpoint.open(tmp_path)
    assert_same_tensors(weights, [tmp_path / "model.safetensors"])
    for need in (weights.parameter_names, lambda: weights.config):
        with pytest.raises(CheckpointError, match=r"model\.safetensors is not a GPT-2: it"):
            need()


# --- the published layout, at its full size


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("gpt2")
    subprocess.run([sys.executable, STANDIN, directory], check=True)
    yield directory
    shutil.rmtree(directory)  # half a gigabyte, which pytest would keep for three runs


def test_the_standin_has_the_published_layout(standin: Path) -> None:
    path = standin / "model.safetensors"
    assert path.stat().st_size == 548_105_171
    with path.open("rb") as file:
        assert int.from_bytes(file.read(8), "little") == 14_283
    weights = Checkpoint.open(standin)
    assert len(weights) == 160 and "transformer.wte.weight" not in list(weights)
    assert {weights.info(name).dtype for name in weights} == {"F32"}
    assert weights.info("wte.weight").begin == 287_223_763
    begins = [weights.info(name).begin for name in weights]
    assert min(begins) == 14_291 and begins != sorted(begins)
    assert sum(name.endswith(".attn.bias") for name in weights) == 12
    sha256 = hashlib.sha256((standin / "config.json").read_bytes()).hexdigest()
    assert sha256 == "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4"


def test_the_standin_is_read_as_safetensors_reads_it(standin: Path) -> None:
    assert_same_tensors(Checkpoint.open(standin), [standin / "model.safetensors"])


def test_the_standin_is_read_as_transformers_reads_it(standin: Path) -> None:
    weights, model = Checkpoint.open(standin), loaded(standin)
    assert (len(weights.parameter_names()), weights.num_parameters()) == (148, 124_439_808)
    assert_same_parameters(weights, model)
    embeddings = Embeddings(weights)
    assert same_bits(embeddings.wte, model.transformer.wte.weight)
    assert same_bits(embeddings.wpe, model.transformer.wpe.weight)
    for ids in ([[464, 3616, 286, 1204, 318]], [[50256, 0, 1], [2, 50255, 0]], [[11] * 64]):
        assert same_bits(embeddings.tokens(ids), model.transformer.wte(torch.tensor(ids)))
        assert same_bits(embeddings(ids), hidden_states(model, ids))
    every_position = list(range(1024))
    sums = model.transformer.wte.weight[every_position] + model.transformer.wpe.weight
    assert same_bits(embeddings(every_position), sums)


def test_neighbours_in_the_standin_are_those_of_torch(standin: Path) -> None:
    embeddings = Embeddings(Checkpoint.open(standin))
    wte = torch.nn.functional.normalize(torch.tensor(embeddings.wte).double(), dim=1)
    for id_ in (0, 464, 50256):
        cosines = wte @ wte[id_]
        cosines[id_] = -2
        best = torch.topk(cosines, 10)
        found = embeddings.nearest(id_)
        assert [other for other, _ in found] == best.indices.tolist()
        np.testing.assert_allclose([cosine for _, cosine in found], best.values.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [(1, 64, 50), (3, 100, 7), (12, 128, 300)], ids=str)
def test_a_standin_of_any_size_is_a_gpt2_to_transformers(tmp_path: Path, sizes: tuple[int, int, int]) -> None:
    n_layer, n_embd, vocab_size = map(str, sizes)
    options = ["--n-layer", n_layer, "--n-embd", n_embd, "--vocab-size", vocab_size, "--seed", "3"]
    for directory in (tmp_path / "one", tmp_path / "two"):
        subprocess.run([sys.executable, STANDIN, directory, *options], check=True)
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert (config["n_layer"], config["n_embd"], config["vocab_size"]) == sizes
    assert_same_parameters(Checkpoint.open(tmp_path / "one"), loaded(tmp_path / "one"))
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
        tmp_path / "two" / "model.safetensors"
    ).read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["config.json", "model.safetensors"]
