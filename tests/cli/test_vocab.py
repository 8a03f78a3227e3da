"""`minigpt2 vocab`: what it says of the vocabulary, held to transformers' own copy of it."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from minigpt2 import Tokenizer
from minigpt2.byte_alphabet import to_bytes
from minigpt2.explain.oddities import Oddity, oddities
from tests.command import Capture, answer, command, complaint, environment
from tests.parity.references import transformers_tokenizer

Listed = list[tuple[int, int]]


@pytest.fixture(scope="module")
def vocabulary() -> dict[int, bytes]:
    """The bytes of each token by its id, as transformers has them."""
    tokens = transformers_tokenizer().get_vocab()
    return {i: token.encode() if token == "<|endoftext|>" else to_bytes(token) for token, i in tokens.items()}


@pytest.fixture(scope="module")
def found() -> dict[str, Oddity]:
    return {each.name: each for each in oddities(Tokenizer())}


def listed(output: str) -> Listed:
    """The ids and sizes of a table of tokens."""
    return [(int(i), int(size)) for i, size in re.findall(r"^ *(\d+) +(\d+)  ['\"b]", output, re.M)]


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# ---- all of it


def test_the_summary_counts_the_vocabulary(vocabulary: dict[int, bytes], capsys: Capture) -> None:
    counts = json.loads(answer(capsys, "vocab", "--json"))
    data = list(vocabulary.values())
    assert counts == {
        "tokens": len(data),
        "single bytes": sum(len(each) == 1 for each in data),
        "made by merges": 50_000,
        "special tokens": 1,
        "begin with a space": sum(each[:1] == b" " for each in data),
        "part of a character": sum("\ufffd" in text_of(each) and "\ufffd".encode() not in each for each in data),
        "bytes of the longest": max(map(len, data)),
    }
    shown = dict(re.findall(r"^(.+?)  +([\d,]+)$", answer(capsys, "vocab"), re.M))
    assert shown == {name: f"{count:,}" for name, count in counts.items()}


def test_added_tokens_and_roles_change_no_count_of_merges(tmp_path: Path, capsys: Capture) -> None:
    tokenizer = Tokenizer()
    tokenizer.add_tokens(["<user>", "x y z"])
    tokenizer.pad_token = "the"
    tokenizer.save_pretrained(tmp_path)
    counts = json.loads(answer(capsys, "vocab", "--json", "--model", tmp_path))
    assert (counts["tokens"], counts["made by merges"], counts["special tokens"]) == (50_259, 50_000, 2)


# ---- the longest


@pytest.mark.parametrize(("arguments", "count"), [([], 20), (["1"], 1), (["75"], 75), (["100000"], 50257)])
def test_the_longest_are_the_longest(
    arguments: list[str], count: int, vocabulary: dict[int, bytes], capsys: Capture
) -> None:
    expected = sorted(((i, len(data)) for i, data in vocabulary.items()), key=lambda each: (-each[1], each[0]))
    assert listed(answer(capsys, "vocab", "--longest", *arguments)) == expected[:count]


def test_the_longest_as_json(vocabulary: dict[int, bytes], capsys: Capture) -> None:
    (longest,) = json.loads(answer(capsys, "vocab", "--longest", "1", "--json"))
    assert (longest["id"], bytes.fromhex(longest["bytes"])) == (35496, vocabulary[35496])
    assert longest["text"] == "ÃÂ" * 32


# ---- search


@pytest.mark.parametrize("text", ["magi", " life", "Magikarp", "\n", "é", "{", "\xa0"])
def test_search_finds_every_token_that_contains_a_text(
    text: str, vocabulary: dict[int, bytes], capsys: Capture
) -> None:
    output = answer(capsys, "vocab", "--search", text)
    expected = [(i, len(data)) for i, data in sorted(vocabulary.items()) if text.encode() in data]
    assert listed(output) == expected
    assert output.endswith(f"\n\n{len(expected):,} of 50,257 tokens contain {text!r}\n")


def test_search_takes_tokens_as_gpt2_writes_them(capsys: Capture) -> None:
    as_text = json.loads(answer(capsys, "vocab", "--search", " life", "--json"))
    as_written = json.loads(answer(capsys, "vocab", "--search", "Ġlife", "--json"))
    assert as_text == as_written
    assert {"id": 1204, "token": "Ġlife", "bytes": "206c696665", "text": " life"} in as_text


def test_search_says_when_nothing_is_found(capsys: Capture) -> None:
    assert answer(capsys, "vocab", "--search", "qqqq").startswith(
        "No token contains 'qqqq'; `minigpt2 tokens \"qqqq\"`"
    )
    assert json.loads(answer(capsys, "vocab", "--search", "qqqq", "--json")) == []
    assert answer(capsys, "vocab", "--search", "qq\nqq") == "No token contains 'qq\\nqq'.\n"


@pytest.mark.parametrize("text", ["it's $HOME qq", "-qqq", 'qq" `qq` \\'])
def test_the_command_that_it_names_then_is_one_for_a_shell(text: str, capsys: Capture) -> None:
    shown = answer(capsys, "vocab", f"--search={text}")
    (advice,) = re.findall("`minigpt2 (.*)` shows its tokens", shown)
    line = f"{shlex.join(map(str, command()))} {advice}"
    typed = subprocess.run(["bash", "-c", line], capture_output=True, env=environment(), check=True).stdout
    assert typed.decode() == answer(capsys, "tokens", "--", text)


# ---- the odd ones


def test_parts_of_characters_are_what_no_utf8_is(found: dict[str, Oddity], vocabulary: dict[int, bytes]) -> None:
    for token_id, data in vocabulary.items():
        try:
            data.decode("utf-8")
            whole = True
        except UnicodeDecodeError:
            whole = False
        assert (token_id in found["parts of characters"].ids) == (not whole and len(data) > 1)


def test_bytes_of_no_text_are_those_that_no_character_has(
    found: dict[str, Oddity], vocabulary: dict[int, bytes]
) -> None:
    used = {byte for code in range(0x110000) if not 0xD800 <= code < 0xE000 for byte in chr(code).encode()}
    expected = [i for i, data in sorted(vocabulary.items()) if len(data) == 1 and data[0] not in used]
    assert list(found["bytes of no text"].ids) == expected


@pytest.mark.parametrize(
    ("kind", "members", "strangers"),
    [
        ("words run together", [43453, 42090, 36174], ["JavaScript", " life", " iPhone", " GitHub"]),
        ("damaged text", [35496, 4210, 5808], ["Ã©", "é", " ÃÂ "]),
        ("long runs", [10097, 38093, 49135], ["-" * 8, " life"]),
        ("invisible", [4603, 628, 9525], [" a", "."]),
    ],
)
def test_the_other_kinds_have_the_tokens_that_their_rules_name(
    kind: str, members: list[int], strangers: list[str], found: dict[str, Oddity], tokenizer: Tokenizer
) -> None:
    ids = found[kind].ids
    assert set(members) <= set(ids)
    assert list(ids) == sorted(ids)
    assert not {i for text in strangers for i in tokenizer.encode(text) if len(tokenizer.encode(text)) == 1} & set(ids)


def test_long_runs_are_one_character_over_and_over(found: dict[str, Oddity], vocabulary: dict[int, bytes]) -> None:
    runs = [vocabulary[i].decode() for i in found["long runs"].ids]
    assert all(len(set(text[-16:])) == 1 for text in runs)
    assert all(len(set(text[1:])) == 1 for text in runs)


def test_the_command_shows_each_kind_with_its_rule(found: dict[str, Oddity], capsys: Capture) -> None:
    output = answer(capsys, "vocab", "--odd")
    for kind in found.values():
        assert f"{kind.name}: {len(kind.ids)} tokens\nRule: " in output
    assert "' SolidGoldMagikarp'" in output
    assert "… and 196 more: --json lists all" in output


def test_the_odd_ones_as_json_are_all_of_them(found: dict[str, Oddity], capsys: Capture) -> None:
    kinds = json.loads(answer(capsys, "vocab", "--odd", "--json"))
    assert {kind["kind"]: tuple(token["id"] for token in kind["tokens"]) for kind in kinds} == {
        name: kind.ids for name, kind in found.items()
    }


# ---- other vocabularies, wrong usage


def test_the_vocabulary_of_a_model_is_used(tmp_path: Path, capsys: Capture) -> None:
    Tokenizer().save_pretrained(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<" + "x" * 200 + ">": 50257}))
    assert listed(answer(capsys, "vocab", "--longest", "1", "--model", tmp_path)) == [(50257, 202)]


@pytest.mark.parametrize("arguments", [["--longest", "0"], ["--longest", "x"], ["--longest", "--odd"], ["--search"]])
def test_wrong_usage_is_one_line(arguments: list[str], capsys: Capture) -> None:
    assert "--help` tells more)" in complaint(capsys, "vocab", *arguments, status=2)
