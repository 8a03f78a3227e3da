"""`minigpt2 train-bpe`: what it prints and writes; the merges themselves are compared in tests/parity."""

import subprocess
from pathlib import Path

import pytest

from minigpt2 import Tokenizer
from tests.command import Capture, answer, command, complaint, environment, one_line, run


def test_each_merge_is_shown_with_its_count_in_the_order_of_learning() -> None:
    finished = run("train-bpe", "-", "--merges", "3", stdin=b"she sells sea shells by the sea shore\n")
    assert finished.stderr == b""
    assert finished.stdout.decode().splitlines() == [
        "rank  count  pair    token   id",
        "   0      5  Ġ + s   Ġs     256",
        "   1      3  h + e   he     257",
        "   2      3  Ġs + e  Ġse    258",
    ]


def test_several_files_are_counted_together(tmp_path: Path, capsys: Capture) -> None:
    for name, text in {"one.txt": "xy", "two.txt": "xy ab"}.items():
        (tmp_path / name).write_text(text)
    shown = answer(capsys, "train-bpe", tmp_path / "one.txt", tmp_path / "two.txt", "--merges", 1)
    assert shown.splitlines()[1].split() == ["0", "2", "x", "+", "y", "xy", "256"]


@pytest.mark.parametrize("merges", [100, 10**30])
def test_it_says_when_nothing_is_left_to_learn(merges: int, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text").write_text("low low")
    shown = answer(capsys, "train-bpe", tmp_path / "text", "--merges", merges)
    assert shown.endswith("Every pretoken is one token after 3 merges, so there is nothing left to learn.\n")


def test_many_merges_are_shown_by_the_first_of_them_and_written_whole(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text").write_text("".join(f"w{number} " for number in range(500)))
    lines = answer(capsys, "train-bpe", tmp_path / "text", "--merges", 50, "-o", tmp_path / "own").splitlines()
    assert lines[21] == "… and 30 more merges"
    assert {str(tmp_path / "own" / name) for name in ("vocab.json", "merges.txt")} <= set(lines[22:])
    assert len(Tokenizer.from_pretrained(tmp_path / "own")) == 256 + 50 + 1


@pytest.mark.parametrize("text", ["", "a", "a\nb"])
def test_a_text_without_a_pair_is_one_line(text: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text").write_text(text)
    assert "nothing to learn" in complaint(capsys, "train-bpe", tmp_path / "text", "--merges", 1)


def test_bad_input_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "latin-1").write_bytes(b"caf\xe9")
    named = complaint(capsys, "train-bpe", tmp_path / "latin-1", "--merges", 1)
    assert f"{tmp_path / 'latin-1'} is not UTF-8: byte 0xE9 at byte offset 3" in named
    assert f"`iconv -f CP1252 -t UTF-8 {tmp_path / 'latin-1'}` converts it" in named
    assert "none.txt: No such file" in complaint(capsys, "train-bpe", tmp_path / "none.txt", "--merges", 1)
    assert "not UTF-8" in one_line(run("train-bpe", "-", "--merges", "1", stdin=b"\xff").stderr)
    assert "--help` tells more)" in complaint(capsys, "train-bpe", tmp_path / "latin-1", "--merges", 0, status=2)


@pytest.mark.parametrize("name", ["text", "text/below", "own"])
def test_where_nothing_can_be_written_nothing_is_learned(name: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text").write_text("low low")
    (tmp_path / "own" / "merges.txt").mkdir(parents=True)
    said = complaint(capsys, "train-bpe", tmp_path / "text", "--merges", 1, "-o", tmp_path / name)  # prints no merge
    assert str(tmp_path / name) in said and (name == "own" or f"{tmp_path / 'text'} is not a directory" in said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "text"]


@pytest.mark.parametrize("name", ["merges.txt", "tokenizer.json"])
def test_what_is_learned_from_is_not_written_over(name: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / name).write_text("hello hello")
    (tmp_path / "link").symlink_to(name)
    for source in (tmp_path / name, tmp_path / "link"):
        said = complaint(capsys, "train-bpe", source, "--merges", 2, "-o", tmp_path)
        assert f"{name} is read, and would be replaced: name another directory" in said
    with (tmp_path / name).open() as file:
        arguments = command("train-bpe", "-", "--merges", "2", "-o", str(tmp_path))
        refused = subprocess.run(arguments, stdin=file, capture_output=True, env=environment(), check=False)
    assert b"is read, and would be replaced" in refused.stderr
    assert (tmp_path / name).read_text() == "hello hello"
