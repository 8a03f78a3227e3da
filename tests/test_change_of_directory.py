"""What was opened by a relative path stays what it is when the current directory changes."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minigpt2 import GPT2, Checkpoint, CheckpointError, Embeddings, Tokenizer
from tests.command import files_in
from tests.hub_server import BEFORE_1, Hub
from tests.parity.made_up_tokenizers import MadeUp
from tests.parity.test_tokenizer_files import one_file
from tests.small_gpt2 import write_gpt2

TEXT = "the <x>"
SIZES = {"n_layer": 1, "n_embd": 8, "n_positions": 16, "vocab_size": 300}


def write_model(directory: Path, *, added: str = "<x>", **config: Any) -> None:
    """Write a small GPT-2 and a tokenizer with a token of its own."""
    directory.mkdir(parents=True)
    write_gpt2(directory, SIZES, **config)
    MadeUp(one_file(added)).write(directory)


def split(directory: Path) -> None:
    """Put each tensor into a shard of its own."""
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    shards = {name: f"{number}.safetensors" for number, name in enumerate(tensors)}
    for name, shard in shards.items():
        save_file({name: tensors[name]}, directory / shard)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


@pytest.fixture
def move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Two directories, each with another model `m`; the first is the current one until this is called."""
    write_model(tmp_path / "first" / "m")
    write_model(tmp_path / "second" / "m", added="<y>", n_head=2, tie_word_embeddings=False)
    monkeypatch.chdir(tmp_path / "first")
    return lambda: os.chdir(tmp_path / "second")


MODEL_USES: dict[str, Callable[[GPT2], Any]] = {
    "logits": lambda model: model([[1, 2, 3]]).logits,
    "tokenizer": lambda model: model.tokenizer.encode(TEXT),
    "next_tokens": lambda model: model.next_tokens(TEXT, k=3),
}
CHECKPOINT_USES: dict[str, Callable[[Checkpoint], Any]] = {
    "array": lambda weights: weights["wte.weight"],
    "info": lambda weights: weights.info("wte.weight").path.resolve(),
    "rows": lambda weights: Embeddings(weights).tokens([1, 2]),
    "blocks": lambda weights: [block.copy() for block in weights.blocks("wpe.weight")],
    "config": lambda weights: dict(weights.config),
    "parameters": lambda weights: weights.parameter_names(),
    "model": lambda weights: GPT2(weights, Tokenizer())([[1, 2, 3]]).logits,
}
names = pytest.mark.parametrize("name", ["m", "m/model.safetensors", "../first/m"])


@names
@pytest.mark.parametrize("use", MODEL_USES.values(), ids=MODEL_USES)
def test_a_model_answers_as_before(name: str, use: Callable[[GPT2], Any], move: Callable[[], None]) -> None:
    expected = use(GPT2.from_pretrained(name))
    model = GPT2.from_pretrained(name)
    move()
    np.testing.assert_equal(use(model), expected)


@names
@pytest.mark.parametrize("in_shards", [False, True])
@pytest.mark.parametrize("use", CHECKPOINT_USES.values(), ids=CHECKPOINT_USES)
def test_a_checkpoint_answers_as_before(
    name: str, in_shards: bool, use: Callable[[Checkpoint], Any], move: Callable[[], None]
) -> None:
    if in_shards:
        split(Path("m"))
        name = name.replace("model.safetensors", "model.safetensors.index.json")
    expected = use(Checkpoint.open(name))
    weights = Checkpoint.open(name)
    move()
    np.testing.assert_equal(use(weights), expected)


def test_a_pickle_is_read_in_another_directory(move: Callable[[], None]) -> None:
    weights, model = Checkpoint.open("m"), GPT2.from_pretrained("m")
    expected = dict(weights.config), model.tokenizer.encode(TEXT)
    pickled = pickle.dumps((Checkpoint.open("m"), GPT2.from_pretrained("m")))
    move()
    weights, model = pickle.loads(pickled)
    assert (weights.config, model.tokenizer.encode(TEXT)) == expected
    assert weights["wte.weight"].shape == (300, 8)


def test_an_untied_lm_head_stays_a_parameter(move: Callable[[], None], tmp_path: Path) -> None:
    move()
    tensors = load_file("m/model.safetensors")
    save_file(tensors | {"lm_head.weight": tensors["wte.weight"]}, "m/model.safetensors")
    weights = Checkpoint.open("m")
    assert weights.parameter_names()[-1] == "lm_head.weight"
    os.chdir(tmp_path)
    assert weights.parameter_names()[-1] == "lm_head.weight"


def test_a_checkpoint_has_the_name_that_was_given_as_long_as_it_leads_there(
    move: Callable[[], None], tmp_path: Path
) -> None:
    weights = Checkpoint.open("m")
    with pytest.raises(KeyError, match=r"^[\"']m/model\.safetensors has no tensor"):
        weights["wtf"]
    Path("m/config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"^m/config\.json is not sound JSON"):
        _ = weights.config
    move()
    assert weights.path == tmp_path / "first" / "m" / "model.safetensors"
    with pytest.raises(CheckpointError, match=re.escape(f"{tmp_path / 'first' / 'm' / 'config.json'} is not")):
        _ = weights.config
    os.chdir(tmp_path / "first")
    assert weights.path == Path("m/model.safetensors")


def test_a_checkpoint_still_refuses_to_be_written_over(move: Callable[[], None], tmp_path: Path) -> None:
    weights = Checkpoint.open("m")
    move()
    for name in ("model.safetensors", "config.json"):
        with pytest.raises(ValueError, match="belongs to the checkpoint"):
            weights.save(tmp_path / "first" / "m" / name)
    weights.save("m/model.safetensors")


def test_a_directory_that_is_gone_is_not_a_model_without_a_tokenizer(move: Callable[[], None]) -> None:
    model = GPT2.from_pretrained("m")
    shutil.rmtree("m")
    with pytest.raises(CheckpointError, match="m has been removed"):
        model.next_tokens(TEXT)


@pytest.mark.parametrize("open_model", [*([] if BEFORE_1 else [Checkpoint.remote]), Checkpoint.from_pretrained])
def test_a_cache_folder_stays_the_one_that_was_named(
    open_model: Callable[..., Checkpoint], hub: Hub, move: Callable[[], None], tmp_path: Path
) -> None:
    hub.publish("owner/m", files_in(Path("m")))
    weights = open_model("owner/m", cache_dir="cache")
    model = GPT2.from_pretrained("owner/m", cache_dir="cache")
    move()
    write_model(Path("owner/m"), added="<y>")
    assert weights.config["vocab_size"] == SIZES["vocab_size"]
    assert Embeddings(weights).tokens([1]).shape == (1, 8)
    assert model.tokenizer.encode(TEXT) == Tokenizer.from_pretrained(tmp_path / "first" / "m").encode(TEXT)
    assert not Path("cache").exists()
