"""The commands that compute with the whole model: generate, next, loss."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minigpt2 import GPT2, Tokenizer
from minigpt2.cli import main
from minigpt2.inference.windows import losses_in_windows
from tests.command import Capture, answer, command, complaint, environment, one_line, run
from tests.small_gpt2 import write_gpt2

PROMPT = "The meaning of life is"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gpt2")
    write_gpt2(path, {"vocab_size": 50257, "n_positions": 64}, bos_token_id=50256, eos_token_id=50256)
    Tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(directory: Path) -> GPT2:
    return GPT2.from_pretrained(directory)


@pytest.mark.parametrize("name", ["encode", "tokens", "embed", "next", "generate", "loss", "explain"])
def test_ordinary_text_keeps_the_token_that_the_model_begins_with(
    name: str, directory: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "text").write_text(PROMPT)
    arguments = [name, tmp_path / "text" if name == "loss" else PROMPT, "--json", "--model"]
    begun = answer(capsys, *arguments, tmp_path)
    assert begun != answer(capsys, *arguments, directory).replace(str(directory), str(tmp_path))
    assert answer(capsys, *arguments, tmp_path, "--ordinary") == begun


def test_the_neighbours_of_a_token_are_those_of_the_token_alone(
    directory: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    arguments = ["nearest", " the", "--json", "--model"]
    assert answer(capsys, *arguments, tmp_path) == answer(capsys, *arguments, directory)


@pytest.mark.parametrize("name", ["generate", "next", "loss"])
def test_a_text_may_end_in_the_models_padding_token(
    name: str, directory: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"pad_token_id": 0}))  # which is "!"
    (tmp_path / "text").write_text("Hi!")
    arguments = [name, tmp_path / "text" if name == "loss" else "Hi!", "--json", "--model"]
    expected = answer(capsys, *arguments, directory).replace(str(directory), str(tmp_path))
    assert answer(capsys, *arguments, tmp_path) == expected


# --- generate


def test_generate_prints_the_prompt_and_what_follows(capsys: Capture, directory: Path, model: GPT2) -> None:
    expected = Tokenizer().decode(model.generate(PROMPT, 7)[0])
    assert answer(capsys, "generate", PROMPT, "--max-new-tokens", 7, "--model", directory) == f"{expected}\n"


@pytest.mark.parametrize("options", [["--sample"], ["--temperature", "0.7"], ["--top-k", "5"], ["--top-p", "0.3"]])
def test_generate_draws_as_the_model_does(capsys: Capture, directory: Path, model: GPT2, options: list[str]) -> None:
    chosen = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    for name, value in zip(options[::2], options[1::2], strict=False):
        chosen[name[2:].replace("-", "_")] = float(value)
    expected = model.generate(PROMPT, 9, True, chosen["temperature"], int(chosen["top_k"]), chosen["top_p"], seed=4)
    printed = answer(
        capsys, "generate", PROMPT, "--max-new-tokens", 9, "--seed", 4, *options, "--model", directory, "--json"
    )
    assert json.loads(printed)["ids"] == expected[0, 5:].tolist()


def test_generate_in_json_says_which_model_answered_and_keeps_prompt_and_answer_apart(
    capsys: Capture, directory: Path, model: GPT2
) -> None:
    printed = json.loads(answer(capsys, "generate", PROMPT, "--max-new-tokens", 3, "--model", directory, "--json"))
    new = model.generate(PROMPT, 3)[0, 5:].tolist()
    assert printed == {
        "model": str(directory),
        "prompt": PROMPT,
        "text": Tokenizer().decode(new),
        "prompt_ids": [464, 3616, 286, 1204, 318],
        "ids": new,
    }


def test_generate_reads_standard_input_exactly(directory: Path) -> None:
    done = run("generate", "--model", str(directory), "--max-new-tokens", "1", "--json", stdin=b"life\n")
    assert json.loads(done.stdout)["prompt_ids"] == [6042, 198]


def test_generate_ends_at_a_stop_string(capsys: Capture, directory: Path, model: GPT2) -> None:
    first, second, *_ = model.generate(PROMPT, 9)[0, 5:].tolist()
    stop = Tokenizer().decode([first, second])[1:]
    printed = json.loads(answer(capsys, "generate", PROMPT, "--stop", stop, "--model", directory, "--json"))
    assert printed["ids"] == [first, second]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "0"], "argument --temperature: expected a number above 0, not '0'"),
        (["--temperature", "inf"], "argument --temperature: expected a number above 0, not 'inf'"),
        (["--top-p", "2"], "argument --top-p: expected a number above 0 and at most 1, not '2'"),
        (["--top-p", "nan"], "argument --top-p: expected a number above 0 and at most 1, not 'nan'"),
        (["--top-k", "0"], "argument --top-k: expected a whole number, 1 or more, not '0'"),
        (["--seed", "-1"], "argument --seed: expected a whole number, 0 or more, not '-1'"),
        (["--max-new-tokens", "x"], "argument --max-new-tokens: expected a whole number, 1 or more, not 'x'"),
    ],
)
def test_a_number_out_of_range_is_refused_by_the_option_that_was_typed(
    capsys: Capture, directory: Path, options: list[str], message: str
) -> None:
    assert message in complaint(capsys, "generate", PROMPT, *options, "--model", directory, status=2)


def test_generate_refuses_an_empty_stop_string_before_it_prints_anything(capsys: Capture, directory: Path) -> None:
    said = complaint(capsys, "generate", PROMPT, "--stop", "", "--model", directory)
    assert "a stop string must not be empty" in said


def test_a_prompt_longer_than_the_model_has_positions_is_refused(capsys: Capture, directory: Path) -> None:
    for name in ("generate", "next"):
        said = complaint(capsys, name, "a" + " a" * 64, "--model", directory)
        assert "65 tokens are more than the model's 64 positions: cut the text" in said


def test_generate_ends_with_whole_characters(capsys: Capture, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GPT2, "stream", lambda *_, **__: iter([30325, 222, 30325]))  # " 😀", and half of another
    assert answer(capsys, "generate", "a", "--model", directory) == "a 😀 \ufffd\n"
    printed = json.loads(answer(capsys, "generate", "a", "--json", "--model", directory))
    assert printed["text"] == " 😀 \ufffd"


@pytest.mark.parametrize(("start", "written"), [(50256, "<|endoftext|>"), (464, "The")])
def test_an_empty_prompt_starts_from_the_models_token_and_says_so(
    directory: Path, model: GPT2, tmp_path: Path, start: int, written: str
) -> None:
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text(json.dumps({"bos_token_id": start}))
    for name in ("generate", "next"):
        done = run(name, "", "--model", str(tmp_path), "--json")
        assert one_line(done.stderr) == f"minigpt2: the prompt is empty: starting from {written}\n"
        found = json.loads(done.stdout)["ids"][0] if name == "generate" else json.loads(done.stdout)[0]["id"]
        assert found == model.generate([start], 1)[0, 1]


def test_settings_that_generate_does_not_have_are_refused_before_it_prints_anything(
    directory: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text('{"repetition_penalty": 1.2}')
    said = complaint(capsys, "generate", PROMPT, "--model", tmp_path)
    assert "generation_config.json: 'repetition_penalty' is 1.2, but generate supports only 1.0" in said
    answer(capsys, "next", PROMPT, "--model", tmp_path)


def test_generate_stops_where_there_are_no_positions_and_says_so(directory: Path) -> None:
    done = run("generate", "a" + " a" * 61, "--model", str(directory), "--json")
    assert one_line(done.stderr) == "minigpt2: stopped after 3 of 40 tokens: the model has no more positions\n"
    assert len(json.loads(done.stdout)["ids"]) == 3


def test_ctrl_c_keeps_what_came(tmp_path: Path) -> None:
    write_gpt2(tmp_path, {"vocab_size": 50257, "n_positions": 60_000})
    Tokenizer().save_pretrained(tmp_path)
    arguments = command("generate", PROMPT, "--max-new-tokens", "50000", "--model", str(tmp_path))
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    with process:
        seen = process.stdout.read(len(PROMPT) + 20)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-signal.SIGINT, b"")
    printed = (seen + rest).decode()
    assert printed.startswith(PROMPT) and printed.endswith("\n")


def test_ctrl_c_keeps_what_came_in_json_too(capsys: Capture, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[int]:
        yield from (407, 262)
        raise KeyboardInterrupt

    monkeypatch.setattr(GPT2, "stream", interrupted)
    assert main(["generate", PROMPT, "--json", "--model", str(directory)]) == 130
    assert json.loads(capsys.readouterr().out)["ids"] == [407, 262]


def test_control_characters_do_not_reach_a_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from minigpt2.cli.generate import _show

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _show("a\tb\n\x1b[2Jc")
    assert capsys.readouterr().out == "a\tb\n\\x1b[2Jc"


# --- next


def test_next_shows_the_likeliest_tokens_with_bars(capsys: Capture, directory: Path, model: GPT2) -> None:
    lines = answer(capsys, "next", PROMPT, "-k", 3, "--model", directory).splitlines()
    assert lines[0].split() == ["probability", "id", "token", "text"]
    for line, (token_id, token, chance) in zip(lines[1:], model.next_tokens(PROMPT, 3), strict=True):
        cells = line.split()
        assert cells[0] == f"{chance:.2%}" and cells[2] == str(token_id) and cells[3] == token
    assert lines[1].split()[1] == "█" * 30


def test_next_in_json_is_the_same(capsys: Capture, directory: Path, model: GPT2) -> None:
    printed = json.loads(answer(capsys, "next", PROMPT, "-k", 3, "--json", "--model", directory))
    assert [(entry["id"], entry["token"], entry["probability"]) for entry in printed] == model.next_tokens(PROMPT, 3)


def test_the_lens_has_a_line_for_the_embeddings_and_for_each_layer(
    capsys: Capture, directory: Path, model: GPT2
) -> None:
    lines = answer(capsys, "next", PROMPT, "--lens", "--model", directory).splitlines()
    assert [line.split()[0] for line in lines] == ["after", "embeddings", "h.0", "h.1", "h.2"]
    printed = json.loads(answer(capsys, "next", PROMPT, "--lens", "-k", 2, "--json", "--model", directory))
    assert [[entry["id"] for entry in layer] for layer in printed] == [
        [token_id for token_id, _, _ in layer] for layer in model.logit_lens(PROMPT, 2)
    ]


# --- loss


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("book") / "book.txt"
    path.write_text("It was the best of times, it was the worst of times. " * 12)
    return path


@pytest.mark.parametrize("stride", [[], ["--stride", "7"], ["--stride", "63"]])
def test_loss_is_the_mean_over_windows(
    capsys: Capture, directory: Path, model: GPT2, book: Path, stride: list[str]
) -> None:
    printed = json.loads(answer(capsys, "loss", book, *stride, "--json", "--model", directory))
    ids, step = Tokenizer().encode(book.read_text()), int([*stride, "32"][-1] if not stride else stride[1])
    losses = [model.token_losses(ids[:64])[0]]
    for start in range(step, len(ids), step):  # as transformers' guide to perplexity does it
        new = min(start + 64, len(ids)) - min(start - step + 64, len(ids))
        losses += [model.token_losses(ids[start : start + 64])[0, -new:]] if new else []
    every = np.concatenate(losses)
    assert printed["tokens"] == len(every) == len(ids) - 1
    assert printed["loss"] == pytest.approx(every.mean(dtype=float), rel=1e-6)
    assert printed["perplexity"] == pytest.approx(np.exp(printed["loss"]))
    assert (printed["window"], printed["stride"]) == (64, step)


def test_loss_says_what_it_measured(capsys: Capture, directory: Path, book: Path) -> None:
    printed = answer(capsys, "loss", book, "--model", directory)
    assert "nats a token, perplexity" in printed and "(windows of 64 tokens, stride 32)" in printed


def test_a_short_text_is_one_window(model: GPT2) -> None:
    ids = np.array([464, 3616, 286])
    (only,) = losses_in_windows(model, ids)
    np.testing.assert_array_equal(only, model.token_losses(ids)[0])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (b"a", [], "the text has 1 tokens: a loss needs at least 2"),
        (b"", [], "the text has 0 tokens"),
        (b"a b c", ["--stride", "64"], "the stride must be from 1 to 63, below the model's 64 positions, not 64"),
        (b"a\xff", [], "text is not UTF-8: byte 0xFF at byte offset 1"),
    ],
)
def test_what_has_no_loss_is_refused(
    capsys: Capture, tmp_path: Path, directory: Path, text: bytes, options: list[str], message: str
) -> None:
    (tmp_path / "text").write_bytes(text)
    assert message in complaint(capsys, "loss", tmp_path / "text", *options, "--model", directory)


# --- weights that are not finite, or too large


def with_number(number: float, directory: Path, tmp_path: Path) -> Path:
    """The model with this number in one of its weights."""
    shutil.copytree(directory, tmp_path / "gpt2")
    tensors = load_file(directory / "model.safetensors")
    tensors["h.1.mlp.c_fc.weight"][3, 5] = number
    save_file(tensors, tmp_path / "gpt2" / "model.safetensors")
    return tmp_path / "gpt2"


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_no_token_is_chosen_by_what_is_not_a_number(
    capsys: Capture, directory: Path, tmp_path: Path, number: float
) -> None:
    broken = with_number(number, directory, tmp_path)
    for arguments in (["next"], ["next", "--lens"], ["generate"], ["generate", "--sample"], ["explain"]):
        assert main([*arguments, PROMPT, "--model", str(broken)]) == 1
        assert "the model's logits are not finite numbers" in one_line(capsys.readouterr().err.encode())
    (tmp_path / "text").write_text(PROMPT)
    printed = answer(capsys, "loss", tmp_path / "text", "--model", broken)
    assert printed.startswith("nan nats a token, perplexity nan")


def test_numbers_that_overflow_on_the_way_warn_of_nothing(capsys: Capture, directory: Path, tmp_path: Path) -> None:
    huge = with_number(3e38, directory, tmp_path)
    assert answer(capsys, "next", PROMPT, "--model", huge)
    assert answer(capsys, "generate", PROMPT, "--model", huge)
