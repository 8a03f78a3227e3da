"""`minigpt2 tour`: the five steps on any prompt, on GPT-2's weights where they are, else on labelled random ones."""

import re
import shlex
import socket
from pathlib import Path

import numpy as np
import pytest

from minigpt2 import Tokenizer
from minigpt2.byte_alphabet import ALPHABET_ORDER, to_characters
from minigpt2.cli import main
from minigpt2.cli.lesson import COMPOUND, SAMPLES, SPELLINGS, longest_first
from minigpt2.explain import explain
from minigpt2.explain.oddities import oddities
from minigpt2.explain.tree import draw
from minigpt2.weights.bundled import LABEL
from tests.command import environment, one_line, run, write_small_gpt2
from tests.hub_server import Hub
from tests.parity.references import transformers_tokenizer

pytestmark = pytest.mark.usefixtures("offline")


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


def test_the_weights_of_a_model_are_shown_without_the_label(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tour(capsys, "--model", str(model))
    assert LABEL not in output
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
    assert "No ids, no rows: an array of shape (0, 8)." in output


def test_a_prompt_longer_than_the_model_takes_is_shown_by_its_ends(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = " ".join(tour(capsys, " life" * 100, "--model", str(model)).split())
    assert "This prompt has 100 tokens and the model 16 positions" in output
    assert " 99 1204 Ġlife" in output
    assert " 50 1204 Ġlife" not in output


def test_a_hub_that_does_not_answer_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        finished = run("tour", env=environment(HF_ENDPOINT=address, HF_HUB_OFFLINE="0"))
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert LABEL in finished.stdout.decode()


def test_offline_it_asks_nobody_for_anything() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        address = f"http://127.0.0.1:{hub.getsockname()[1]}"
        assert run("tour", env=environment(HF_ENDPOINT=address)).returncode == 0
        hub.setblocking(False)
        with pytest.raises(BlockingIOError):
            hub.accept()


def test_where_gpt2s_weights_are_not_cached_it_reads_the_rows_that_it_shows_on_the_hub(
    model: Path, tmp_path: Path
) -> None:
    with Hub() as hub:
        hub.publish("gpt2", {path.name: path.read_bytes() for path in model.iterdir()})
        online = environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0")
        finished = run("tour", env=online)
        asked = len(hub.requests)
        assert run("tour", env=environment(HF_HOME=str(tmp_path))).stdout == finished.stdout, "offline, the second time"
        assert hub.sent_bytes < 40_000 and len(hub.requests) == asked
        other = run("tour", "something else", env=environment(HF_HOME=str(tmp_path)))
    assert LABEL not in finished.stdout.decode()
    assert str(write_small_gpt2(tmp_path / "again")["wte.weight"][464, 0]) in finished.stdout.decode()
    assert re.search(r"gpt2: read [\d,]+ bytes from the hub instead of [\d,]+", one_line(finished.stderr))
    assert LABEL in other.stdout.decode(), "rows that are not here, and nobody to ask"


def test_gpt2s_weights_are_shown_once_they_are_cached(model: Path, tmp_path: Path) -> None:
    with Hub() as hub:
        hub.publish("gpt2", {path.name: path.read_bytes() for path in model.iterdir()})
        online = environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0")
        assert run("download", env=online).returncode == 0
        asked = len(hub.requests)
        output = run("tour", env=online).stdout.decode()
        assert len(hub.requests) == asked
    wte = write_small_gpt2(tmp_path / "again")["wte.weight"]
    assert LABEL not in output
    assert str(np.float32(wte[464, 0])) in output


def test_a_model_that_is_asked_for_and_not_cached_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tour", "--model", "gpt2"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("minigpt2: gpt2: ")
    assert "HF_HUB_OFFLINE is set" in error
    assert error.count("\n") == 1


# ---- the lesson within the fourth step


def lesson(capsys: pytest.CaptureFixture[str]) -> str:
    return tour(capsys).partition("\n4. ")[2].partition("\n5. ")[0]


def table_under(title: str, text: str) -> list[list[str]]:
    """The rows of the table under a question, each in its cells."""
    table = text.partition(f"* {title}")[2].split("\n\n")[1]
    return [re.split(r"  +", row.strip()) for row in table.splitlines()[1:]]


def test_each_question_has_a_command_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.findall(r"^\* (.+)\n  \$ (.+)$", lesson(capsys), re.M) == [
        ("Why bytes, and not characters or words?", 'minigpt2 tokens "é ж 生 😀"'),
        ("Why are pairs merged in the order of their ranks?", 'minigpt2 explain " lifelike" --steps'),
        ("Why does the space before a word matter?", 'minigpt2 tokens " life"'),
        ("What odd tokens are there?", "minigpt2 vocab --odd"),
    ]


def test_the_bytes_and_tokens_of_a_character_are_transformers_own(capsys: pytest.CaptureFixture[str]) -> None:
    reference = transformers_tokenizer()
    rows = table_under("Why bytes", lesson(capsys))
    assert [row[0] for row in rows] == list(SAMPLES)
    for text, data, tokens, ids in rows:
        assert bytes.fromhex(data) == text.encode()
        assert tokens.split() == reference.tokenize(text)
        assert [int(i) for i in ids.split()] == reference.encode(text)


def test_the_tokens_with_and_without_spaces_are_transformers_own(capsys: pytest.CaptureFixture[str]) -> None:
    reference = transformers_tokenizer()
    rows = table_under("Why does the space", lesson(capsys))
    assert len(rows) == len(SPELLINGS)
    for text, (*_, tokens, ids) in zip(SPELLINGS, rows, strict=True):
        assert tokens.split() == reference.tokenize(text)
        assert [int(i) for i in ids.split()] == reference.encode(text)


def test_merging_is_not_cutting_off_the_longest_token(capsys: pytest.CaptureFixture[str]) -> None:
    reference = transformers_tokenizer()
    printed = " ".join(lesson(capsys).split())
    merged = reference.tokenize(COMPOUND)
    assert f"would make Ġlife like of {COMPOUND!r}. Merging by rank makes {' '.join(merged)}:" in printed
    assert reference.convert_tokens_to_ids(["Ġlife", "like"]) == longest_first(Tokenizer(), COMPOUND)
    vocabulary = reference.get_vocab()
    assert not any(f"Ġlife{'like'[:more]}" in vocabulary for more in range(1, 5))


def test_the_tree_in_the_lesson_is_the_one_of_explain(capsys: pytest.CaptureFixture[str]) -> None:
    lines = draw(explain(Tokenizer(), COMPOUND).pretokens[0], 98)
    assert lines is not None
    assert "\n".join(f"  {line}" for line in lines) in lesson(capsys)


def test_the_odd_tokens_in_the_lesson_are_those_of_vocab(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = Tokenizer()
    rows = table_under("What odd tokens", lesson(capsys))
    for kind, (name, count, longest, *_) in zip(oddities(tokenizer), rows, strict=True):
        assert (name, int(count)) == (kind.name, len(kind.ids))
        sizes = {i: len(tokenizer.decode_bytes([i])) for i in kind.ids}
        assert sizes[int(longest)] == max(sizes.values())


def test_every_command_that_the_tour_names_works(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Tokenizer().save_pretrained(model)
    printed = tour(capsys)
    named = set(re.findall(r"^ *\$ minigpt2 (.+)$", printed, re.M))
    named |= set(re.findall(r"^  minigpt2 (.+?)   ", printed.partition("WHAT TO TRY NEXT")[2], re.M))
    assert len(named) >= 14
    for words in sorted(named):
        name, *arguments = shlex.split(words)
        if name in ("download", "serve"):  # tested where they belong: one needs a hub, the other does not end
            continue
        own = ["--model", str(model)] if name in ("params", "show", "embed", "nearest", "tour") else []
        assert main([name, *arguments, *own]) == 0, words
        assert capsys.readouterr().out
