"""What `--model` names: a model on the hub, a directory, or a file of weights with the tokenizer beside it."""

import json
from pathlib import Path

import pytest

from minigpt2 import GPT2, Checkpoint, Tokenizer
from minigpt2.hub import download
from minigpt2.published_models import GPT2_MODELS
from tests.command import Capture, answer, complaint, files_in
from tests.hub_server import Hub
from tests.parity.made_up_tokenizers import MadeUp
from tests.parity.test_tokenizer_files import one_file
from tests.small_gpt2 import write_gpt2

TEXT = "of the <x>"
SIZES = {"n_layer": 1, "n_embd": 8, "n_positions": 16, "vocab_size": 50257}
COMMANDS = [["encode", TEXT], ["tokens", TEXT], ["explain", TEXT, "--part", "tokens"], ["count", "text"]]
COMMANDS += [["tokenize", "text", "-o", "ids"]]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with another tokenizer than GPT-2's and a config that it does not fit."""
    MadeUp(one_file("<x>")).write(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 3}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(GPT2_MODELS))
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_plain_file_of_a_published_models_name_is_not_the_model(
    arguments: list[str], name: str, directory: Path, capsys: Capture
) -> None:
    Path("text").write_text(TEXT)
    expected = answer(capsys, *arguments, "--model", name)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("a log")
    assert answer(capsys, *arguments, "--model", name) == expected
    assert Tokenizer.from_pretrained(name).encode(TEXT) == Tokenizer().encode(TEXT)


def test_of_a_published_models_name_weights_and_tokenizer_are_found_at_one_place(
    hub: Hub, directory: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Capture
) -> None:
    published = tmp_path_factory.mktemp("published")
    write_gpt2(published, SIZES)
    hub.publish("gpt2", files_in(published))
    answer(capsys, "download")
    expected = answer(capsys, "embed", TEXT, "--json")
    Path("gpt2").write_text("a log")
    assert answer(capsys, "embed", TEXT, "--json") == expected
    Path("gpt2").unlink()
    Path("gpt2").mkdir()
    assert answer(capsys, "embed", TEXT, "--json") == expected
    assert GPT2.from_pretrained("gpt2").tokenizer.encode(TEXT) == Tokenizer().encode(TEXT)
    MadeUp(one_file("<x>")).write(directory / "gpt2")
    assert answer(capsys, "embed", TEXT, "--json") == expected  # the default is not the folder
    assert "openai-community/gpt2" in complaint(capsys, "embed", TEXT, "--json", "--model", "gpt2")
    assert answer(capsys, "embed", TEXT, "--json", "--model", "openai-community/gpt2") == expected


@pytest.mark.parametrize("name", ["model.safetensors", "gpt2.safetensors"])
def test_a_file_of_weights_has_the_tokenizer_beside_it(name: str, directory: Path, capsys: Capture) -> None:
    write_gpt2(directory, SIZES | {"vocab_size": 300})
    Path("model.safetensors").rename(name)
    expected = " ".join(map(str, Tokenizer.from_pretrained(".").encode(TEXT)))
    assert answer(capsys, "encode", TEXT, "--model", name) == f"{expected}\n"
    ids = [each["id"] for each in json.loads(answer(capsys, "embed", TEXT, "--json", "--model", name))]
    assert " ".join(map(str, ids)) == expected
    for model in (GPT2(Checkpoint.open(name)), GPT2.from_pretrained(name)):
        assert " ".join(map(str, model.tokenizer.encode(TEXT))) == expected


MODEL = "owner/tiny"
WEIGHTS_ONLY = [["show", "wte.weight"], ["params"], ["params", "--tree"], ["stats", "wte.weight"]]
WEIGHTS_ONLY += [["extract", "part.safetensors", "wpe.weight"]]


@pytest.mark.parametrize("arguments", WEIGHTS_ONLY, ids=" ".join)
def test_cached_weights_without_a_config_are_used_without_a_request(
    arguments: list[str], hub: Hub, directory: Path, capsys: Capture
) -> None:
    write_gpt2(directory, SIZES | {"vocab_size": 300})
    hub.publish(MODEL, files_in(directory))
    download(MODEL, "model.safetensors")
    hub.requests.clear()
    answer(capsys, *arguments, "--model", MODEL)
    assert hub.requests == []
