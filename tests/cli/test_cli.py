"""The command `minigpt2`: what each of its commands prints, and what it says of what it cannot do."""

import errno
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

import minigpt2
from minigpt2 import Tokenizer
from minigpt2.cli import COMMANDS, main
from minigpt2.explain.characters import display_width
from tests.command import ROOT, Capture, answer, complaint, environment, files_in, on_a_terminal, one_line, run
from tests.conftest import hurtful_texts

NAMES = [each.__name__.rpartition(".")[2].replace("_", "-") for each in COMMANDS]
BytesCapture = pytest.CaptureFixture[bytes]


# ---- help, version, usage


@pytest.mark.parametrize("arguments", [[], *([name] for name in NAMES)], ids=" ".join)
def test_help_needs_nothing_but_the_standard_library(arguments: list[str]) -> None:
    source = (
        "import sys; from minigpt2.cli import main; status = main([*sys.argv[1:], '--help'])\n"
        "heavy = {'numpy', 'regex', 'safetensors', 'huggingface_hub', 'tqdm'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", source, *arguments], env=environment(), capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(" ".join(["usage: minigpt2", *arguments]).encode())


def test_help_lists_every_command(capsys: Capture) -> None:
    assert set(NAMES) <= set(answer(capsys, "--help").split())


def test_without_a_command_the_help_is_printed(capsys: Capture) -> None:
    assert answer(capsys) == answer(capsys, "--help")


def test_help_works_where_docstrings_are_stripped() -> None:
    finished = subprocess.run([sys.executable, "-OO", "-m", "minigpt2", "encode", "-h"], env=environment(), check=True)
    assert finished.returncode == 0


def test_version(capsys: Capture) -> None:
    assert answer(capsys, "--version") == f"minigpt2 {minigpt2.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"],
        ["encode", "--unknown"],
        ["encode", "two", "texts"],
        ["show"],
        ["show", "wte.weight", "--rows", "a:b"],
        ["show", "wte.weight", "--rows", "::0"],
        ["show", "wte.weight", "--rows", ""],
        ["nearest"],
        ["nearest", " life", "--id", "3"],
        ["nearest", " life", "-k", "0"],
        ["nearest", "--id", "x"],
        ["embed", "text", "--json", "-o", "file"],
        *(["generate", "text", option] for option in ("--seed=--", "--top-k=--")),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], capsys: Capture) -> None:
    assert "--help` tells more)" in complaint(capsys, *arguments, status=2)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="two dashes are a value like any other from 3.13 on")
@pytest.mark.parametrize("option", ["--model=--", "--stop=--"])
def test_two_dashes_are_no_value_where_argparse_takes_them_out(option: str, capsys: Capture) -> None:
    assert "--help` tells more)" in complaint(capsys, "generate", "text", option, status=2)


def test_python_m_minigpt2_is_the_command() -> None:
    assert run("encode", "The meaning of life is").stdout == b"464 3616 286 1204 318\n"


def test_it_runs_from_another_directory_and_needs_no_home(tmp_path: Path) -> None:
    env = {name: value for name, value in environment().items() if name != "HOME"}
    assert run("encode", "Hello", env=env, cwd=tmp_path).stdout == b"15496\n"


def test_without_a_home_directory_the_cache_is_empty_and_the_bundled_model_answers(tmp_path: Path) -> None:
    env = environment(HF_HOME="~nobody-has-this-name/hf", HF_HUB_OFFLINE="1")
    finished = run("next", "Once upon a", "-k", "1", env=env, cwd=tmp_path)
    assert finished.returncode == 0 and b"the small model that comes with minigpt2" in finished.stdout
    assert "HF_HUB_OFFLINE" in one_line(run("params", env=env, cwd=tmp_path).stderr)


def test_the_project_installs_this_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"minigpt2": "minigpt2.__main__:main"}


# ---- encode and decode


def test_encode_prints_ids_separated_by_spaces(capsys: Capture) -> None:
    assert answer(capsys, "encode", "The meaning of life is") == "464 3616 286 1204 318\n"


def test_encode_json_is_a_list(capsys: Capture, tokenizer: Tokenizer) -> None:
    assert json.loads(answer(capsys, "encode", "--json", "I'm 😀 ok")) == tokenizer.encode("I'm 😀 ok")


def test_an_empty_text_is_an_empty_line(capsys: Capture) -> None:
    assert answer(capsys, "encode", "") == "\n"
    assert answer(capsys, "encode", "--json", "") == "[]\n"


def test_special_tokens_are_special_unless_ordinary(capsys: Capture) -> None:
    assert answer(capsys, "encode", "<|endoftext|>") == "50256\n"
    assert answer(capsys, "encode", "--ordinary", "<|endoftext|>") == "27 91 437 1659 5239 91 29\n"


def test_a_text_may_start_with_a_dash(capsys: Capture, tokenizer: Tokenizer) -> None:
    expected = " ".join(map(str, tokenizer.encode("-k --json")))
    assert answer(capsys, "encode", "--", "-k --json") == f"{expected}\n"


def test_standard_input_is_encoded_exactly(tokenizer: Tokenizer) -> None:
    text = "\ufeffone\r\ntwo\r three \x00\n\n"
    assert json.loads(run("encode", "--json", stdin=text.encode()).stdout) == tokenizer.encode(text)


def test_encode_and_decode_give_a_file_back_byte_for_byte() -> None:
    data = "\ufeffZoë\r\n\t生命 👩‍👩‍👧\u2028<|endoftext|>\x00 \n\n ".encode() + bytes(range(128)) * 50
    assert run("decode", stdin=run("encode", stdin=data).stdout).stdout == data
    assert run("decode", stdin=run("encode", "--json", stdin=data).stdout).stdout == data


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=hurtful_texts())
def test_any_text_survives_encode_and_decode(text: str, capsysbinary: BytesCapture) -> None:
    assert main(["encode", "--", text]) == 0
    ids = capsysbinary.readouterr().out.decode()
    assert main(["decode", *ids.split()] if ids.split() else ["decode", " "]) == 0
    assert capsysbinary.readouterr().out == text.encode()


@pytest.mark.parametrize(
    "written", [["464", "3616"], ["464 3616"], ["464,3616"], ["464,", "3616"], ["[464, 3616]"], ["[464,", "3616]"]]
)
def test_decode_reads_ids_however_they_are_separated(written: list[str], capsysbinary: BytesCapture) -> None:
    assert main(["decode", *written]) == 0
    assert capsysbinary.readouterr().out == b"The meaning"


def test_decode_writes_bytes_that_are_no_text(capsysbinary: BytesCapture) -> None:
    assert main(["decode", "222"]) == 0
    assert capsysbinary.readouterr().out == b"\x80"


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("x", "'x' is not a token id"),
        ("1.5", "'1.5' is not a token id"),
        ("9" * 20, "ids are integers below 10^18"),
        ("50257", "token id 50257 is not in the vocabulary"),
        ("-1", "token id -1 is not in the vocabulary"),
        ("[1, true]", "True is not a token id"),
        ("[1, [2]]", "[2] is not a token id"),
        ("[1, 2", "like a JSON list"),
        ("[" * 100_000, "like a JSON list"),
        ("9" * 5_000, "is not a token id"),
        ("[" + "9" * 5_000 + "]", "like a JSON list"),
    ],
    ids=lambda written: written[:20],
)
def test_decode_names_what_is_no_id(written: str, named: str, capsys: Capture) -> None:
    assert named in complaint(capsys, "decode", written)


def test_decode_ends_the_line_on_a_terminal_alone() -> None:
    assert on_a_terminal("decode", "464") == "The\r\n"


# ---- tokens


def test_tokens_shows_position_id_token_bytes_and_text(capsys: Capture) -> None:
    assert answer(capsys, "tokens", "I'm 😀 ok\n").splitlines() == [
        "position     id  token  bytes        text",
        "       0     40  I      49           'I'",
        "       1   1101  'm     27 6d        \"'m\"",
        "       2  30325  ĠðŁĺ   20 f0 9f 98  b' \\xf0\\x9f\\x98'",
        "       3    222  Ģ      80           b'\\x80'",
        "       4  12876  Ġok    20 6f 6b     ' ok'",
        "       5    198  Ċ      0a           '\\n'",
    ]


@pytest.mark.parametrize("character", ["\u200b", "\xa0", "\x00", "\x1b", "\u202e", "\u2028", "\x7f", "\u0301"])
def test_tokens_makes_the_invisible_visible(character: str, capsys: Capture) -> None:
    table = answer(capsys, "tokens", f"a{character}")
    assert character not in table
    assert all(line.isprintable() for line in table.splitlines())


def test_tokens_json(capsys: Capture) -> None:
    assert json.loads(answer(capsys, "tokens", "--json", "ok 😀"))[1:] == [
        {"position": 1, "id": 30325, "token": "ĠðŁĺ", "bytes": "20f09f98", "text": None},
        {"position": 2, "id": 222, "token": "Ģ", "bytes": "80", "text": None},
    ]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=hurtful_texts())
def test_tokens_lists_the_librarys_tokens(text: str, capsys: Capture, tokenizer: Tokenizer) -> None:
    listed = json.loads(answer(capsys, "tokens", "--json", "--", text))
    assert [each["id"] for each in listed] == tokenizer.encode(text)
    assert [each["token"] for each in listed] == tokenizer.tokenize(text)
    assert b"".join(bytes.fromhex(each["bytes"]) for each in listed) == text.encode()


def test_tokens_of_no_text_is_a_header(capsys: Capture) -> None:
    assert answer(capsys, "tokens", "").split() == ["position", "id", "token", "bytes", "text"]


def test_columns_line_up_under_wide_tokens(tmp_path: Path, capsys: Capture) -> None:
    Tokenizer().save_pretrained(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"生命": 50257, "<a>": 50258}))
    lines = answer(capsys, "tokens", "--model", tmp_path, "生命<a>").splitlines()
    starts = {
        display_width(line[: line.index(first)]) for line, first in zip(lines[1:], ("e7 94", "3c 61"), strict=True)
    }
    assert starts == {display_width(lines[0][: lines[0].index("bytes")])}


def test_the_vocabulary_of_a_directory_is_used(tmp_path: Path, capsys: Capture) -> None:
    Tokenizer().save_pretrained(tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"<pad>": 50257}')
    assert answer(capsys, "encode", "--model", tmp_path, "a<pad>") == "64 50257\n"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux has a file that opens and cannot be read")
def test_a_file_that_opens_and_cannot_be_read_is_named(tmp_path: Path, capsys: Capture) -> None:
    for name in ["vocab.json", "merges.txt", "model.safetensors.index.json"]:
        (tmp_path / name).symlink_to("/proc/self/mem")
    assert "/proc/self/mem: Input/output error" in complaint(capsys, "loss", "/proc/self/mem", "--model", "bundled")
    assert "vocab.json: Input/output error" in complaint(capsys, "encode", "hi", "--model", tmp_path)
    assert "index.json: Input/output error" in complaint(capsys, "params", "--model", tmp_path)


def test_so_is_an_old_file_of_a_tokenizer_that_is_replaced(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tokenizer().save_pretrained(tmp_path / "own")
    before = files_in(tmp_path / "own")
    (tmp_path / "text").write_text("the the")

    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == "merges.txt":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert main(["train-bpe", str(tmp_path / "text"), "--merges", "1", "-o", str(tmp_path / "own")]) == 1
    assert "merges.txt: Input/output error" in capsys.readouterr().err
    monkeypatch.undo()
    assert files_in(tmp_path / "own") == before
