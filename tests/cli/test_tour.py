"""`minigpt2 tour`: every command in it gives what is shown, on any text and any model, and it fits the terminal."""

import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from minigpt2 import Tokenizer
from minigpt2.cli.tour import MOST_TOKENS, beginning
from minigpt2.explain.characters import display_width
from minigpt2.weights.bundled import LABEL
from minigpt2.weights.files import WEIGHTS
from tests.command import (
    Capture,
    answer,
    command,
    complaint,
    environment,
    files_in,
    on_a_terminal,
    one_line,
    run,
    write_small_gpt2,
)
from tests.hub_server import Hub
from tests.hub_settings import online

pytestmark = pytest.mark.usefixtures("offline")

HURTFUL = "-x $HOME `a` \"b\" 'c' \\d !\n😀"


def steps_of(output: str) -> list[str]:
    """The steps of a tour, each from its title to the next."""
    return re.split(r"^(?=\d+\. )", output.partition("WHAT TO TRY NEXT")[0], flags=re.M)[1:]


def commands_in(output: str) -> list[tuple[str, str]]:
    """Each command with what is shown under it."""
    found = []
    for step in steps_of(output):
        for part in re.split(r"^\$ (?=minigpt2 |echo )", step, flags=re.M)[1:]:
            # A text with line ends in it continues the line of the command.
            line, _, shown = part.partition("\n")
            while _open_quote(line):
                more, _, shown = shown.partition("\n")
                line += f"\n{more}"
            found.append((line, shown))
    return found


def _open_quote(line: str) -> bool:
    try:
        shlex.split(line)
    except ValueError:
        return True
    return False


def in_a_shell(line: str, **changes: str) -> str:
    """The output of a line typed into a shell, where `minigpt2` is this package's command."""
    function = f'minigpt2() {{ {shlex.join(map(str, command()))} "$@"; }}\n'
    finished = subprocess.run(
        ["bash", "-c", function + line], capture_output=True, env=environment(**changes), check=True
    )
    assert finished.stderr == b""
    return finished.stdout.decode()


def test_every_line_typed_as_it_stands_gives_what_is_shown() -> None:
    output = run("tour", "--no-pause", "--", HURTFUL, env=environment(COLUMNS="60")).stdout.decode()
    commands = commands_in(output)
    assert len(commands) == 14
    for line, shown in commands:
        assert shown.startswith(f"{in_a_shell(line, COLUMNS='60')}\n"), line


def test_the_lines_name_a_model_that_was_asked_for(model: Path, capsys: Capture) -> None:
    commands = commands_in(answer(capsys, "tour", "--no-pause", "--model", model))
    assert sum(f"--model {model}" in line for line, _ in commands) == 13
    for line, shown in commands:
        if line.startswith("minigpt2 "):
            assert shown.startswith(f"{answer(capsys, *shlex.split(line)[1:])}\n"), line


def test_the_order_is_from_the_sentence_to_the_next_word_and_the_file_last(capsys: Capture) -> None:
    titles = [step.partition("\n")[0] for step in steps_of(answer(capsys, "tour", "--no-pause"))]
    assert titles == [
        "1. Your sentence in tokens",
        "2. Text is bytes",
        "3. Bytes are merged into tokens",
        "4. Where merges come from",
        "5. Why there are 50,257 tokens",
        "6. Each id is a row of numbers",
        "7. Tokens that are used alike have rows that are alike",
        "8. The position is added",
        "9. Layers mix the rows: attention",
        "10. What each layer would say next",
        "11. The next word",
        "12. And the word after that",
        "13. The file that all numbers come from",
    ]


EXPLANATIONS = {
    "tokens": "tokens: pieces of text",
    "vocabulary": "its vocabulary",
    "id": "number, its id",
    "pretokens": "splits the text into pretokens",
    "BPE": "byte pair encoding, BPE",
    "merges": "merges says which two neighbours",
    "rank": "is its rank",
    "vector": "is called a vector",
    "embedding": "or an embedding",
    "wte": "wte, word token embeddings",
    "cosine": "cosine of two rows says",
    "wpe": "wpe, word position embeddings",
    "attention": "In attention a token takes in",
    "MLP": "the MLP, a small network",
    "logit lens": "is called the logit lens",
    "logit": "Each product is a logit",
    "temperature": "divided by a temperature first",
}


def test_a_word_is_explained_in_the_step_that_first_says_it(capsys: Capture) -> None:
    steps = steps_of(answer(capsys, "tour", "--no-pause"))
    said = [" ".join(re.sub(r"^\$ .*$", "", step.partition("\n")[2], flags=re.M).split()) for step in steps]
    for word, explanation in EXPLANATIONS.items():
        other_than = "logit lens" if word == "logit" else "no other word"
        first = next(text for text in said if re.search(rf"\b{word}\b", text.replace(other_than, "")))
        assert explanation in first


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    output = answer(capsys, "tour", "--no-pause")
    too_wide = [line for line in output.splitlines() if display_width(line) > width]
    assert [line for line in too_wide if not line.startswith(("$ ", "    minigpt2 ", "The meaning of life is"))] == []


def test_a_step_takes_a_screen_at_most(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for step in steps_of(answer(capsys, "tour", "--no-pause")):
        assert sum(1 + max(0, display_width(line) - 1) // 80 for line in step.rstrip().splitlines()) <= 24, step


def test_a_longer_text_is_taken_by_its_beginning(tokenizer: Tokenizer, capsys: Capture) -> None:
    text = "It is a truth universally acknowledged, that a single man must be in want of a wife."
    start = beginning(tokenizer, text)
    assert text.startswith(start)
    assert tokenizer.encode(text)[: len(tokenizer.encode(start))] == tokenizer.encode(start)
    assert len(tokenizer.encode(start)) <= MOST_TOKENS
    assert f"The sentence: {start!r}, the beginning of yours" in " ".join(
        answer(capsys, "tour", "--no-pause", text).split()
    )


def test_no_word_need_be_a_token(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text").write_text("0123 " * 9)
    answer(capsys, "train-bpe", tmp_path / "text", "--merges", 3, "-o", tmp_path / "model")
    write_small_gpt2(tmp_path / "model")
    shown = answer(capsys, "tour", "hi", "--no-pause", "--model", tmp_path / "model")
    assert re.search(r"^\$ minigpt2 nearest \"Ġ?[0-9]+\"", shown, re.M)


def test_an_empty_text_is_the_usual_one(capsys: Capture) -> None:
    assert answer(capsys, "tour", "--no-pause", "") == answer(capsys, "tour", "--no-pause")


# ---- on which weights


def test_the_bundled_model_is_named_wherever_it_is_used(capsys: Capture) -> None:
    output = answer(capsys, "tour", "--no-pause")
    for line, shown in commands_in(output):
        assert ("--model bundled" in line) == (LABEL in shown)
    assert output.count(LABEL) == 1 + 9


def test_a_model_without_layers_has_its_rows_shown_and_the_bundled_models_layers(model: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())  # no config, no heads
    finished = run("tour", "--no-pause", "--model", str(tmp_path))
    assert finished.returncode == 0
    commands = [line for line, _ in commands_in(finished.stdout.decode())]
    assert sum(f"--model {tmp_path}" in line for line in commands) == 4
    assert sum("--model bundled" in line for line in commands) == 5


@pytest.mark.parametrize("fault", ["an adapter beside it", "a transposed matrix"])
def test_of_a_model_that_is_refused_as_a_whole_only_the_rows_are_shown(fault: str, tmp_path: Path) -> None:
    tensors = write_small_gpt2(tmp_path)
    if fault == "an adapter beside it":
        (tmp_path / "adapter_config.json").write_text("{}")
    else:
        save_file(tensors | {"h.0.mlp.c_fc.weight": tensors["h.0.mlp.c_fc.weight"].T.copy()}, tmp_path / WEIGHTS)
    finished = run("tour", "--no-pause", "--model", str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    commands = [line for line, _ in commands_in(finished.stdout.decode())]
    assert sum(f"--model {tmp_path}" in line for line in commands) == 3
    assert sum("--model bundled" in line for line in commands) == 6


def test_a_hub_that_does_not_answer_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        finished = run("tour", env=environment(HF_ENDPOINT=address, HF_HUB_OFFLINE="0"))
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert LABEL in finished.stdout.decode()


def test_offline_it_makes_no_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        address = f"http://127.0.0.1:{hub.getsockname()[1]}"
        assert run("tour", env=environment(HF_ENDPOINT=address)).returncode == 0
        hub.setblocking(False)
        with pytest.raises(BlockingIOError):
            hub.accept()


def test_where_gpt2s_weights_are_not_cached_its_rows_are_read_on_the_hub(model: Path, tmp_path: Path) -> None:
    with Hub() as hub:
        hub.publish("gpt2", files_in(model))
        finished = run("tour", env=online(hub.url, tmp_path))
    output = finished.stdout.decode()
    assert str(write_small_gpt2(tmp_path / "again")["wte.weight"][464, 0]) in output
    assert sum("--model bundled" in line for line, _ in commands_in(output)) == 5
    assert re.search(r"gpt2: read [\d,]+ of [\d,]+ bytes from the hub", one_line(finished.stderr))


def test_gpt2s_weights_are_used_once_they_are_cached(model: Path, tmp_path: Path) -> None:
    with Hub() as hub:
        hub.publish("gpt2", files_in(model))
        env = online(hub.url, tmp_path)
        assert run("download", env=env).returncode == 0
        asked = len(hub.requests)
        output = run("tour", env=env).stdout.decode()
        assert len(hub.requests) == asked
    assert LABEL not in output
    assert "--model" not in output


def test_a_model_that_is_asked_for_and_not_cached_is_an_error(capsys: Capture) -> None:
    assert "HF_HUB_OFFLINE is set" in complaint(capsys, "tour", "--model", "gpt2")


# ---- on a terminal


def test_neither_the_text_nor_the_models_name_sends_it_escapes(model: Path, tmp_path: Path, capsys: Capture) -> None:
    odd = shutil.copytree(model, tmp_path / "odd\x1b[2J")
    output = answer(capsys, "tour", "hi\x1b[2J\rb", "--model", odd)
    assert r"odd\x1b[2J" in output
    assert r'$ minigpt2 tokens "hi\x1b[2J\rb"' in output
    own = [line for line in output.split("\n") if not line.startswith("hi")]  # generate writes a file exactly
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\n".join(own))


def test_on_a_terminal_it_stops_after_each_step_and_has_colours() -> None:
    shown = on_a_terminal("tour", typed=b"\n" * 14, TERM="xterm", NO_COLOR="")
    assert shown.count("(Enter)") == 14
    assert "\x1b[1m1. Your sentence in tokens\x1b[0m" in shown


def test_no_pause_does_not_stop() -> None:
    assert "(Enter)" not in on_a_terminal("tour", "--no-pause")


def test_piped_it_does_not_stop_and_has_no_colours(capsys: Capture) -> None:
    output = answer(capsys, "tour")
    assert "(Enter)" not in output
    assert "\x1b" not in output
