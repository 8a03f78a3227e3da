"""`minigpt2 download`: what it brings and refuses; transformers works from its cache without a network."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from safetensors.numpy import load

from minigpt2 import Tokenizer
from minigpt2.cli import main
from tests.command import Capture, answer, complaint, environment, files_in, one_line, run, write_small_gpt2
from tests.hub_server import BEFORE_1, Hub
from tests.hub_settings import imported_with, online
from tests.weights.samples import save_sharded


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """GPT-2's files, with small weights."""
    directory = tmp_path_factory.mktemp("published")
    write_small_gpt2(directory)
    Tokenizer().save_pretrained(directory)
    return files_in(directory)


def test_a_model_is_fetched_once_and_the_commands_find_it(
    hub: Hub, home: Path, published: dict[str, bytes], capsys: Capture
) -> None:
    commit = hub.publish("someone/tiny", published)
    first = answer(capsys, "download", "someone/tiny")
    sent = hub.sent_bytes
    assert answer(capsys, "download", "someone/tiny") == first
    assert hub.sent_bytes == sent
    summary, path = first.splitlines()
    assert summary.startswith(f"someone/tiny at {commit}: 30 tensors, ")
    assert {each.name for each in Path(path).parent.iterdir()} == published.keys()
    with imported_with(environment(HF_HOME=str(home))):
        answer(capsys, "tokens", "life", "--model", "someone/tiny")
        answer(capsys, "embed", "life", "--model", "someone/tiny")


def test_standard_error_can_be_closed(hub: Hub, home: Path, published: dict[str, bytes]) -> None:
    hub.publish("someone/tiny", published)
    ways = [["download", "someone/tiny"], ["next", "a", "--model", "someone/tiny"]]
    for arguments in ways if BEFORE_1 else [["stats", "wte.weight", "--model", "someone/tiny"], *ways]:
        finished = run(*arguments, env=online(hub.url, home), preexec_fn=partial(os.close, 2))
        assert finished.returncode == 0 and finished.stdout


def test_what_was_published_since_is_brought(hub: Hub, published: dict[str, bytes], capsys: Capture) -> None:
    hub.publish("someone/tiny", published)
    answer(capsys, "download", "someone/tiny")
    newer = hub.publish("someone/tiny", published | {"config.json": published["config.json"] + b" "})
    assert newer in answer(capsys, "download", "someone/tiny")


SHARDS = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
SMALL = ["config.json", "generation_config.json", "tokenizer_config.json", "vocab.json", "merges.txt"]
OPENAIS = {"encoder.json": "vocab.json", "vocab.bpe": "merges.txt"}


@pytest.mark.parametrize("name", ["model.safetensors", *SHARDS, *SMALL, *OPENAIS])
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:50], lambda data: data[:-1] + b"?"])
def test_a_file_that_was_damaged_in_the_cache_is_brought_again(
    name: str,
    damage: Callable[[bytes], bytes],
    hub: Hub,
    home: Path,
    published: dict[str, bytes],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    files = published | {"generation_config.json": b"{}"}
    if name in OPENAIS:
        files |= {openais: files.pop(own) for openais, own in OPENAIS.items()}
    if name in SHARDS:
        save_sharded(tmp_path, load(files.pop("model.safetensors")))
        files |= files_in(tmp_path)
    hub.publish("someone/tiny", files)
    answer(capsys, "download", "someone/tiny")
    (path,) = (home / "hub").glob(f"models--someone--tiny/snapshots/*/{name}")
    path.write_bytes(damage(files[name]))
    answer(capsys, "download", "someone/tiny")
    assert path.read_bytes() == files[name]


def test_the_tokenizer_comes_too_and_transformers_agrees(hub: Hub, home: Path, published: dict[str, bytes]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hub.publish("gpt2", published)
    finished = run("download", env=online(hub.url, home))
    assert finished.returncode == 0, finished.stderr
    _, agreement, path = finished.stdout.decode().splitlines()
    assert agreement == "tokenizer: vocab.json and merges.txt agree with the vocabulary in this package"
    assert {each.name for each in Path(path).parent.iterdir()} == published.keys()
    hub.requests.clear()
    with imported_with(environment(HF_HOME=str(home), HF_HUB_OFFLINE="1")):
        cache = {"cache_dir": home / "hub"}  # transformers 4 knows only the one that it was imported with
        tokenizer = AutoTokenizer.from_pretrained("gpt2", **cache)
        model = AutoModelForCausalLM.from_pretrained("gpt2", **cache)
    ids = tokenizer("The meaning of life is", return_tensors="pt")
    assert type(tokenizer).__name__.startswith("GPT2Tokenizer")
    assert ids.input_ids.tolist() == [[464, 3616, 286, 1204, 318]]
    assert model(**ids).logits.shape == (1, 5, 50257)
    assert hub.requests == []


def test_the_path_that_is_printed_moves_no_cursor(hub: Hub, home: Path, published: dict[str, bytes]) -> None:
    hub.publish("someone/tiny", published)
    finished = run("download", "someone/tiny", env=online(hub.url, home / "a\nb\x1b[2J"))
    assert finished.returncode == 0, finished.stderr
    assert r"/a\nb\x1b[2J/" in finished.stdout.decode().splitlines()[-1]


def test_files_that_are_not_gpt2s_are_not_taken_for_them(
    hub: Hub, published: dict[str, bytes], capsys: Capture
) -> None:
    swapped = published["vocab.json"].replace(b'"!": 0, "\\"": 1', b'"!": 1, "\\"": 0')
    assert swapped != published["vocab.json"]
    hub.publish("gpt2", published | {"vocab.json": swapped})
    assert main(["download"]) == 1
    assert "vocab.json and merges.txt are not GPT-2's" in one_line(capsys.readouterr().err.encode())


def test_a_tokenizer_of_another_kind_is_noted_and_the_weights_are_there(
    hub: Hub, published: dict[str, bytes], capsys: Capture
) -> None:
    hub.publish("owner/tiny", published | {"tokenizer_config.json": b'{"tokenizer_class": "Qwen2Tokenizer"}'})
    assert main(["download", "owner/tiny"]) == 0
    assert 'tokenizer_class is "Qwen2Tokenizer"' in one_line(capsys.readouterr().err.encode())


def test_a_folder_that_is_called_gpt2_does_not_stand_for_the_model(
    hub: Hub, published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    hub.publish("gpt2", published)
    answer(capsys, "download")
    assert answer(capsys, "encode", "life") == "6042\n"


@pytest.mark.parametrize("arguments", [[], ["gpt2"], ["openai-community/gpt2"]])
def test_beside_a_model_in_a_folder_called_gpt2_the_published_one_is_downloaded(
    arguments: list[str],
    hub: Hub,
    published: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "model.safetensors").write_bytes(b"another")
    monkeypatch.chdir(tmp_path)
    hub.publish("openai-community/gpt2", published)
    printed = answer(capsys, "download", *arguments)
    assert printed.startswith("openai-community/gpt2 at ") and "models--openai-community--gpt2" in printed
    assert "wte.weight" in answer(capsys, "params")
    assert "gpt2/model.safetensors" in complaint(capsys, "params", "--model", "gpt2")
    (tmp_path / "openai-community" / "gpt2").mkdir(parents=True)
    (tmp_path / "openai-community" / "gpt2" / "config.json").touch()
    assert "there is nothing to download" in complaint(capsys, "download", *arguments)


def test_what_is_not_a_model_of_the_hub_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert "there is nothing to download" in complaint(capsys, "download", tmp_path)
    with imported_with(environment()):
        assert "no-such-model" in complaint(capsys, "download", "no-such-model")


@pytest.mark.parametrize("arguments", [["download"], ["params", "--model"]], ids=lambda arguments: arguments[0])
@pytest.mark.parametrize(("withheld", "is_sharded"), [((), False), (("X-Repo-Commit",), False), ((), True)])
def test_of_a_model_with_pickles_alone_the_error_names_the_pull_request_with_safetensors(
    withheld: tuple[str, ...],
    is_sharded: bool,
    arguments: list[str],
    hub: Hub,
    published: dict[str, bytes],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    hub.withheld = withheld
    pickles = {"pytorch_model.bin": b"\x80\x02", "config.json": published["config.json"]}
    hub.publish("someone/old", pickles)
    refused = complaint(capsys, *arguments, "someone/old")
    assert "pickle" in refused and "refs/pr" not in refused
    converted = {"model.safetensors": published["model.safetensors"]}
    if is_sharded:
        save_sharded(tmp_path, load(published["model.safetensors"]))
        converted = files_in(tmp_path)
    for number in range(1, 26):
        files = converted if number == 12 else {"README.md": b"y"}
        hub.publish("someone/old", pickles | files, branch=f"refs/pr/{number}")
    hub.publish("someone/old", pickles | {"lora/adapter_config.json": b"{}"})
    for _ in range(2):  # the second run learns from the cache that there are no weights
        refused = complaint(capsys, *arguments, "someone/old")
        assert "pickle" in refused and "or take the safetensors weights of revision 'refs/pr/12'" in refused
    answer(capsys, "download", "someone/old", "--revision", "refs/pr/12")
    answer(capsys, *arguments, "someone/old", "--revision", "refs/pr/12")
    hub.publish("someone/old", pickles | {"README.md": b"z"}, branch="step1000")
    refused = complaint(capsys, *arguments, "someone/old", "--revision", "step1000")
    assert "pickle" in refused and "refs/pr" not in refused, "which converts main"


@pytest.mark.parametrize(
    ("withheld", "words"),
    [
        ((), "someone/tiny has neither model.safetensors"),
        (("X-Repo-Commit",), "someone/tiny has neither model.safetensors"),
        (("X-Repo-Commit", "X-Error-Code"), "answered 404; check the model's name and HF_ENDPOINT"),
    ],
)
def test_a_newest_commit_without_weights_is_an_error_and_not_an_older_one(
    withheld: tuple[str, ...], words: str, hub: Hub, published: dict[str, bytes], capsys: Capture
) -> None:
    hub.publish("someone/tiny", published)
    answer(capsys, "download", "someone/tiny")
    hub.publish("someone/tiny", {"config.json": published["config.json"], "pytorch_model.bin": b"x"})
    hub.withheld = withheld
    assert words in complaint(capsys, "download", "someone/tiny")


@pytest.mark.parametrize("files", [{"pytorch_model.bin": b"x"}, {"adapter_config.json": b"{}"}], ids=str)
def test_weights_that_were_added_since_are_there_after_a_download(
    files: dict[str, bytes], hub: Hub, published: dict[str, bytes], capsys: Capture
) -> None:
    rest = {name: data for name, data in published.items() if name != "model.safetensors"}
    hub.publish("someone/tiny", rest | files)
    answer(capsys, "encode", "hi", "--model", "someone/tiny")  # from now on the cache knows the branch's commit
    arguments = ("params", "--model", "someone/tiny")
    complaint(capsys, *arguments)
    hub.publish("someone/tiny", published)
    told = complaint(capsys, *arguments)
    assert "if model.safetensors has been added since, `minigpt2 download someone/tiny` gets it" in told
    answer(capsys, "download", "someone/tiny")
    answer(capsys, *arguments)


@pytest.mark.parametrize("arguments", [["download"], ["params", "--model"]], ids=lambda arguments: arguments[0])
@pytest.mark.parametrize("folder", ["", "style/", "optimizer/"])
def test_of_an_adapter_the_error_says_how_it_becomes_a_model(
    folder: str, arguments: list[str], hub: Hub, capsys: Capture
) -> None:
    hub.publish("someone/lora", {f"{folder}adapter_config.json": b"{}", f"{folder}adapter_model.safetensors": b"x"})
    refused = complaint(capsys, *arguments, "someone/lora")
    assert "it is an adapter" in refused and "merge_and_unload()" in refused
