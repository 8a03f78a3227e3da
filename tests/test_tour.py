"""`minigpt2 tour`: the five steps on any prompt, on GPT-2's weights where they are, else on labelled random ones."""

import re
import socket
from pathlib import Path

import numpy as np
import pytest

from minigpt2.byte_alphabet import ALPHABET_ORDER, to_characters
from minigpt2.cli import main
from minigpt2.demonstration import demonstration_weights
from tests.command import environment, run, write_small_gpt2
from tests.hub_server import Hub

LABEL = "*** DEMONSTRATION WEIGHTS, random numbers, not GPT-2's ***"
HEADER_OF_WEIGHTS = re.compile(r" *(name +dtype|id +token +0 |position +id +token +0 )")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("gpt2")
    write_small_gpt2(directory)
    return directory


def tour(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["tour", *arguments]) == 0
    return capsys.readouterr().out


def test_it_takes_the_articles_prompt_through_five_steps(capsys: pytest.CaptureFixture[str]) -> None:
    output = tour(capsys)
    assert re.findall(r"^(\d)\. ", output, re.M) == ["1", "2", "3", "4", "5"]
    assert "as a list:   [464, 3616, 286, 1204, 318]" in output
    assert "as an array: [[464, 3616, 286, 1204, 318]], int64, shape (1, 5)" in output
    assert "WHAT TO TRY NEXT" in output


def test_without_gpt2s_weights_every_table_of_weights_is_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    lines = tour(capsys).splitlines()
    headers = [place for place, line in enumerate(lines) if HEADER_OF_WEIGHTS.match(line)]
    published = [place for place in headers if "GPT-2's own rows 0 to 2, as published" in lines[place - 1]]
    assert len(published) == 1
    assert len(headers) == 4 + 1
    assert all(LABEL in lines[place - 1] for place in headers if place not in published)


def test_the_demonstration_rows_are_those_of_the_demonstration_weights(capsys: pytest.CaptureFixture[str]) -> None:
    wte = demonstration_weights()["wte.weight"]
    row = re.search(r"^ +4 +318  Ġis +(.*)$", tour(capsys).partition("\n5. ")[2], re.M)
    assert row is not None
    assert row[1].split() == [*map(str, wte[318, :3]), "…", *map(str, wte[318, -3:])]


def test_the_weights_of_a_model_are_shown_without_the_label(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tour(capsys, "--model", str(model))
    assert "DEMONSTRATION" not in output
    assert "as published" not in output
    assert "minigpt2 download" not in output
    assert str(model) in output


def test_what_it_says_of_the_first_tokens_and_of_the_space_is_so(capsys: pytest.CaptureFixture[str]) -> None:
    output = " ".join(tour(capsys).split())
    assert """They are punctuation: ! " # $ %.""" in output
    assert "so the 68 bytes with no printable character of their own" in output
    assert "byte 0x20, is the 33rd of them, so it is written U+0120, 256 further up" in output
    moved = [byte for byte in ALPHABET_ORDER if ord(to_characters(bytes([byte]))) >= 0x100]
    assert (len(moved), moved.index(0x20) + 1, ord(to_characters(b" "))) == (68, 33, 0x120) == (68, 33, 0x20 + 256)


def test_an_empty_prompt_has_no_tokens_and_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    output = tour(capsys, "")
    assert "The prompt is empty, and so is its list of tokens." in output
    assert "as an array: [[]], int64, shape (1, 0)" in output
    assert "No ids, no rows: an array of shape (0, 16)." in output


def test_a_prompt_longer_than_the_model_takes_is_shown_by_its_ends(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = " ".join(tour(capsys, " life" * 100, "--model", str(model)).split())
    assert "This prompt has 100 tokens and the model 16 positions" in output
    assert " 99 1204 Ġlife" in output
    assert " 50 1204 Ġlife" not in output


def test_it_asks_nobody_for_anything() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        address = f"http://127.0.0.1:{hub.getsockname()[1]}"
        finished = run("tour", env=environment(HF_ENDPOINT=address, HF_HUB_OFFLINE="0"))
        assert finished.returncode == 0
        hub.setblocking(False)
        with pytest.raises(BlockingIOError):
            hub.accept()


def test_gpt2s_weights_are_shown_once_they_are_cached(model: Path, tmp_path: Path) -> None:
    with Hub() as hub:
        hub.publish("gpt2", {path.name: path.read_bytes() for path in model.iterdir()})
        online = environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0")
        assert run("download", env=online).returncode == 0
        asked = len(hub.requests)
        output = run("tour", env=online).stdout.decode()
        assert len(hub.requests) == asked
    wte = write_small_gpt2(tmp_path / "again")["wte.weight"]
    assert "DEMONSTRATION" not in output
    assert str(np.float32(wte[464, 0])) in output


def test_a_model_that_is_asked_for_and_not_cached_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tour", "--model", "gpt2"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("minigpt2: gpt2: ")
    assert "minigpt2 download gpt2" in error
    assert error.count("\n") == 1
