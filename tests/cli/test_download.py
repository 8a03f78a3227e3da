"""`minigpt2 download`: what it brings, and that transformers works from its cache without a network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minigpt2 import Tokenizer
from tests.command import environment, one_line, run, write_small_gpt2
from tests.hub_server import Hub

# What AutoTokenizer and the model's class make of the cache, in a process that may not ask a hub.
TRANSFORMERS = """
import json
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer, model = AutoTokenizer.from_pretrained("gpt2"), AutoModelForCausalLM.from_pretrained("gpt2")
ids = tokenizer("The meaning of life is", return_tensors="pt")
print(json.dumps([type(tokenizer).__name__, ids.input_ids.tolist(), list(model(**ids).logits.shape)]))
"""


@pytest.fixture
def published(tmp_path: Path) -> dict[str, bytes]:
    """GPT-2's files, with small weights."""
    directory = tmp_path / "published"
    write_small_gpt2(directory)
    Tokenizer().save_pretrained(directory)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_tokenizer_comes_too_and_agrees_with_the_package(published: dict[str, bytes], tmp_path: Path) -> None:
    with Hub() as hub:
        hub.publish("gpt2", published)
        online = environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="0")
        finished = run("download", env=online)
    assert finished.returncode == 0, finished.stderr
    _, agreement, path = finished.stdout.decode().splitlines()
    assert agreement == "tokenizer: vocab.json and merges.txt agree with the vocabulary in this package"
    assert {each.name for each in Path(path).parent.iterdir()} == published.keys()
    offline = environment(HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="1")
    answer = subprocess.run([sys.executable, "-c", TRANSFORMERS], env=offline, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == ["GPT2Tokenizer", [[464, 3616, 286, 1204, 318]], [1, 5, 50257]]


def test_files_that_are_not_gpt2s_are_not_taken_for_them(published: dict[str, bytes], tmp_path: Path) -> None:
    swapped = published["vocab.json"].replace(b'"!": 0, "\\"": 1', b'"!": 1, "\\"": 0')
    with Hub() as hub:
        hub.publish("gpt2", published | {"vocab.json": swapped})
        online = environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="0")
        finished = run("download", env=online)
    assert finished.returncode == 1
    assert "vocab.json and merges.txt are not GPT-2's" in one_line(finished.stderr)


def test_a_tokenizer_of_another_kind_is_noted_and_the_weights_are_there(
    published: dict[str, bytes], tmp_path: Path
) -> None:
    files = published | {"tokenizer_config.json": b'{"tokenizer_class": "Qwen2Tokenizer"}'}
    with Hub() as hub:
        hub.publish("owner/tiny", files)
        online = environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="0")
        finished = run("download", "owner/tiny", env=online)
    assert finished.returncode == 0
    assert 'tokenizer_class is "Qwen2Tokenizer"' in one_line(finished.stderr)


def test_a_folder_that_is_called_gpt2_does_not_stand_for_the_model(
    published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    with Hub() as hub:
        hub.publish("gpt2", published)
        online = environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="0")
        assert run("download", env=online).returncode == 0
        assert run("encode", "life", env=online).stdout == b"6042\n"
