"""A model's `generation_config.json`: of the commit of its weights, asked for once, and kept with the model."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from minigpt2 import GPT2, Checkpoint, Tokenizer
from minigpt2.cli import main
from tests.command import Capture, answer, files_in, one_line
from tests.hub_server import BEFORE_1, Hub
from tests.small_gpt2 import write_gpt2

MODEL = "owner/tiny"
NAME = "generation_config.json"
TEXT = "The meaning"
SIZES = {"n_layer": 1, "n_embd": 8, "n_positions": 64, "vocab_size": 50257}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GPT-2 that ends with the token which it gives first, by its `generation_config.json` alone."""
    path = tmp_path_factory.mktemp("gpt2")
    write_gpt2(path, SIZES, eos_token_id=50256)
    Tokenizer().save_pretrained(path)
    first = GPT2.from_pretrained(path).generate(TEXT, 1)[0, -1]
    (path / NAME).write_text(json.dumps({"eos_token_id": int(first)}))
    return path


@pytest.fixture(scope="module")
def files(directory: Path) -> dict[str, bytes]:
    return files_in(directory)


def without(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != NAME}


def length(model: GPT2) -> int:
    """How many tokens the model adds to a text: 1 where its `generation_config.json` is known, else 5."""
    return len(list(model.stream(TEXT, 5)))


def asked(hub: Hub) -> bool:
    return any(request.path.endswith(NAME) for request in hub.requests)


def test_it_is_read_beside_the_weights(directory: Path) -> None:
    for path in (directory, directory / "model.safetensors"):
        assert length(GPT2.from_pretrained(path)) == length(GPT2(Checkpoint.open(path))) == 1


def test_a_link_that_leads_nowhere_is_not_taken_for_a_missing_file(directory: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    (copy / NAME).unlink()
    (copy / NAME).symlink_to("../../blobs/gone")
    model = GPT2.from_pretrained(copy)
    assert model.next_tokens(TEXT)
    with pytest.raises(FileNotFoundError, match=NAME):
        length(model)


def test_it_is_kept_with_a_model_whose_directory_is_removed(directory: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    model = GPT2(Checkpoint.open(copy), Tokenizer())
    shutil.rmtree(copy)
    assert length(model) == length(pickle.loads(pickle.dumps(model))) == 1


OPEN: dict[str, Callable[[], GPT2]] = {
    "from_pretrained": lambda: GPT2.from_pretrained(MODEL),
    "checkpoint": lambda: GPT2(Checkpoint.from_pretrained(MODEL), Tokenizer()),
    "remote": lambda: GPT2(Checkpoint.remote(MODEL), Tokenizer()),
}
if BEFORE_1:  # which cannot be read by ranges
    del OPEN["remote"]
every_way = pytest.mark.parametrize("open_model", OPEN.values(), ids=OPEN)


@every_way
def test_on_the_hub_it_is_of_the_commit_of_the_weights(
    hub: Hub, files: dict[str, bytes], open_model: Callable[[], GPT2]
) -> None:
    hub.publish(MODEL, files)
    model = open_model()
    hub.publish(MODEL, without(files))
    assert length(model) == length(pickle.loads(pickle.dumps(model))) == 1


@every_way
@pytest.mark.parametrize("has_it", [True, False])
def test_on_the_hub_it_is_asked_for_once(
    hub: Hub, files: dict[str, bytes], open_model: Callable[[], GPT2], has_it: bool
) -> None:
    hub.publish(MODEL, files if has_it else without(files))
    model = open_model()
    model.next_tokens(TEXT)
    assert asked(hub) == (open_model is not OPEN.get("remote"))  # what is read there is asked for when it is needed
    assert length(model) == (1 if has_it else 5)
    assert asked(hub)
    hub.requests.clear()
    assert length(open_model()) == (1 if has_it else 5)
    assert not asked(hub)


def test_offline_the_config_counts_where_the_cache_lacks_it(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(MODEL, files)
    hub.faults[NAME] = 500
    GPT2.from_pretrained(MODEL)
    hub.requests.clear()
    assert length(GPT2(Checkpoint.from_pretrained(MODEL, local_files_only=True), Tokenizer())) == 5
    if not BEFORE_1:  # which reads the variable when it is imported
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert length(GPT2(Checkpoint.from_pretrained(MODEL), Tokenizer())) == 5
    assert hub.requests == []


def test_offline_it_counts_where_the_weights_were_fetched_ahead(hub: Hub, files: dict[str, bytes]) -> None:
    hub.publish(MODEL, files)
    Checkpoint.from_pretrained(MODEL)
    hub.requests.clear()
    assert length(GPT2(Checkpoint.from_pretrained(MODEL, local_files_only=True), Tokenizer())) == 1
    assert hub.requests == []


def test_where_the_hub_does_not_answer_the_config_counts_with_a_warning(
    hub: Hub, files: dict[str, bytes], capsys: Capture
) -> None:
    hub.publish(MODEL, files)
    hub.faults[NAME] = 500
    model = GPT2.from_pretrained(MODEL)
    with pytest.warns(UserWarning, match=rf"the text may end elsewhere than in transformers: .*{NAME}.*500"):
        assert length(model) == 5
    assert main(["generate", TEXT, "--model", MODEL]) == 0
    assert one_line(capsys.readouterr().err.encode()).startswith("minigpt2: the text may end elsewhere")


def test_that_of_a_published_model_is_not_asked_for(hub: Hub, files: dict[str, bytes]) -> None:
    hub.publish("gpt2", files)
    assert length(GPT2.from_pretrained("gpt2")) == 5
    assert not asked(hub)


@pytest.mark.parametrize(
    "first", ["from_pretrained", "download"] if BEFORE_1 else [None, "from_pretrained", "download"]
)
def test_the_command_generates_with_it(
    hub: Hub, files: dict[str, bytes], capsys: Capture, first: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(MODEL, files)
    if first == "from_pretrained":
        Checkpoint.from_pretrained(MODEL)
    if first == "download":
        answer(capsys, "download", MODEL)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["generate", TEXT, "--model", MODEL, "--json", "--max-new-tokens", "5"]) == 0
    assert json.loads(capsys.readouterr().out)["ids"] == []  # but the token that ends it
