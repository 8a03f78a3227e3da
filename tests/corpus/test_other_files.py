"""Files that are not text in UTF-8: archives, pointers, tables, other encodings; each is named as what it is."""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from backports import zstd

from minigpt2.corpus import count, tokenize
from minigpt2.corpus.output import Output
from minigpt2.encodings import likely_encoding
from tests.command import Capture, complaint, one_line, run
from tests.corpus.samples import DOCUMENTS, lines_of, write_table


def zipped(*texts: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, text in enumerate(texts):
            archive.writestr(f"text{number}", text)
    return data.getvalue()


def tarred(text: bytes) -> bytes:
    data, member = io.BytesIO(), tarfile.TarInfo("text")
    member.size = len(text)
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(member, io.BytesIO(text))
    return data.getvalue()


ARCHIVES: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "a.zip": (zipped, "a zip archive", "unzip"),
    "empty.zip": (lambda _: zipped(), "a zip archive", "unzip"),
    "a.tar": (tarred, "a tar archive", "tar -xf"),
}
COMPRESSED: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "a.txt.xz": (lzma.compress, "compressed by xz", "xz -dc"),
    "a.bz2": (bz2.compress, "compressed by bzip2", "bzip2 -dc"),
    "a.txt": (gzip.compress, "compressed by gzip", "gzip -dc"),
    "a.jsonl": (zstd.compress, "compressed by zstd", "zstd -dc"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_not_taken_for_a_text(name: str, tmp_path: Path) -> None:
    make, what, command = ARCHIVES[name]
    data = make(b"The meaning of life is")
    (tmp_path / name).write_bytes(data)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    named = rf"{name} is {what}, not text: `{command}` unpacks it, and its files can be read"
    for path in (tmp_path / name, tmp_path / f"{name}.gz"):
        with pytest.raises(ValueError, match=named.replace(name, path.name)):
            count(path)
    assert named.replace(name, "standard input") in one_line(run("count", "-", stdin=data).stderr)


def test_a_text_with_the_word_of_a_tar_archive_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a " * 128 + " ustar is a word")
    assert count(tmp_path / "a.txt").tokens > 130


@pytest.mark.parametrize("text", [b"The meaning of life is", b""])
@pytest.mark.parametrize("name", COMPRESSED)
def test_a_file_of_another_kind_is_named_as_what_it_is(name: str, text: bytes, tmp_path: Path) -> None:
    make, what, command = COMPRESSED[name]
    (tmp_path / name).write_bytes(make(text))
    for errors in ["strict", "replace"]:
        with pytest.raises(ValueError, match=f"{name} is {what}, not text: `{command}") as raised:
            count(tmp_path / name, errors=errors)
    if not shutil.which(command.split()[0]):
        pytest.skip(f"there is no {command.split()[0]} here")
    (pipe,) = re.findall("`(.*) \\| minigpt2 ", str(raised.value))
    assert subprocess.run(pipe, shell=True, capture_output=True, check=True).stdout == text


@pytest.mark.parametrize(
    "arguments", [["loss", "{}", "--model", "bundled"], ["train-bpe", "{}", "--merges", "1"], ["encode"], ["decode"]]
)
@pytest.mark.parametrize("name", ["a.tar", "empty.zip"])
def test_so_is_an_archive_that_is_utf8(name: str, arguments: list[str], tmp_path: Path) -> None:
    file = io.BytesIO()
    if name == "empty.zip":
        zipfile.ZipFile(file, "w").close()
    else:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.txt"))
    data = file.getvalue()
    assert data.decode("utf-8")
    (tmp_path / name).write_bytes(data)
    finished = run(*(each.format(tmp_path / name) for each in arguments), stdin=data)
    assert finished.returncode == 1 and f"is a {name.split('.')[1]} archive, not text" in one_line(finished.stderr)


@pytest.mark.parametrize("shard", [(1, 3), (2, 3), (3, 3)])
@pytest.mark.parametrize("name", COMPRESSED)
def test_so_it_is_where_a_shard_begins_in_its_middle(name: str, shard: tuple[int, int], tmp_path: Path) -> None:
    make, what, _ = COMPRESSED[name]
    (tmp_path / name).write_bytes(make(os.urandom(10_000)))
    options: list[dict[str, Any]] = [{"input_format": "jsonl"}, {"separator": "e", "errors": "replace"}]
    for each in options:
        with pytest.raises(ValueError, match=f"{name} is {what}, not text"):
            tokenize(tmp_path / name, tmp_path / "out.bin", shard=shard, **each)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("options", [{"input_format": "jsonl"}, {"separator": "END"}], ids=["lines", "separator"])
def test_a_shard_that_begins_behind_a_byte_order_mark_is_refused_as_the_first_is(
    options: dict[str, Any], encoding: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(("\u041c\u0430\u043c\u0430\n" * 2000).encode(encoding))
    for part in (1, 2, 3):
        with pytest.raises(ValueError, match=f"is not UTF-8: .*; if it is {encoding.upper()}, `iconv"):
            tokenize(tmp_path / "a", tmp_path / "out", shard=(part, 3), **options)


@pytest.mark.parametrize("name", [*COMPRESSED, "a.zip"])
@pytest.mark.parametrize(
    "arguments", [["loss", "{}", "--model", "bundled"], ["train-bpe", "{}", "--merges", "1"], ["encode"], ["decode"]]
)
def test_so_it_is_by_commands_that_read_text_alone(arguments: list[str], name: str, tmp_path: Path) -> None:
    make, what, command = (COMPRESSED | ARCHIVES)[name]
    made, path = make(b"The meaning of life is " * 9), tmp_path / name
    path.write_bytes(made)
    finished = run(*(each.format(path) for each in arguments), stdin=made)
    shown = f"{path if len(arguments) > 1 else 'standard input'} is {what}, not text: `{command} FILE` unpacks it"
    assert (finished.returncode, one_line(finished.stderr)) == (1, f"minigpt2: {shown}\n")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.xz", "a.txt.gz"])
def test_the_advice_for_a_file_of_another_kind_works_as_given(name: str, tmp_path: Path) -> None:
    lines = lzma.compress(lines_of(["one", "two"]))
    (tmp_path / name).write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    with pytest.raises(ValueError, match="compressed by xz") as raised:
        count(tmp_path / name)
    (advice,) = re.findall("`(.*) -o OUT`", str(raised.value))
    counted = advice.replace("minigpt2 tokenize", f"{sys.executable} -m minigpt2 count --json")
    shown = json.loads(subprocess.run(counted, shell=True, capture_output=True, check=True).stdout)
    assert shown["documents"] == (1 if name == "a.txt.gz" else 2)


# The half that is zero in the first character that has one is not always that of an ASCII character.
UTF16_TEXTS = [
    "\u4e00\u500b\u4eba\u5728\u8def\u4e0a\u8d70\u3002\n",  # Chinese; its first character is U+4E00
    "\u4e8c\u4eba\u3001\u4e00\u4eba\n",
    "\u0100bele un \u0101bols\n",  # Latvian
    "\u041c\u0430\u043c\u0430\n\u0400\n",  # Cyrillic
    "\u3000\u65e5\u672c\u8a9e\u306f\u96e3\u3057\u3044\u3068\u8a00\u3046\u3002\n",  # Japanese, behind its space, U+3000
]


@pytest.mark.parametrize("text", UTF16_TEXTS)
@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
def test_the_halves_of_utf16_are_told_apart_in_every_script(encoding: str, text: str) -> None:
    assert all(likely_encoding(text.encode(encoding)[start:], start) == encoding for start in (0, 2, 3))


# What a terminal is not sent: a new line, spaces of other widths, and a byte that is not UTF-8.
NAMES = [
    "a.txt",
    "a b.txt",
    "a.txt.gz",
    "-l.txt",
    "a\nb.txt",
    "\u7ae0\u3000\u59cb.txt",
    "it's\u202f\\.txt",
    "\udce9.txt",
]


MIXED = {
    "one line in Latin-1": [("utf-8", 9), ("latin-1", 1), ("utf-8", 9)],
    "the first line in Latin-1": [("latin-1", 1), ("utf-8", 9)],
    "as many lines in Latin-1": [("utf-8", 9), ("latin-1", 9)],
    "one line in Latin-1 behind a chunk": [("utf-8", 1), ("ascii", 1 << 18), ("latin-1", 1)],
}
LATIN_1 = {
    "all lines in Latin-1": [("latin-1", 9)],
    "all in Latin-1 behind a chunk": [("ascii", 1 << 18), ("latin-1", 9)],
}


@pytest.mark.parametrize("kind", [*MIXED, *LATIN_1])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_a_command_converts_all_only_where_nothing_is_in_utf8(suffix: str, kind: str, tmp_path: Path) -> None:
    line = json.dumps({"text": "un caf\xe9 cr\xe8me"}, ensure_ascii=False) + "\n"
    parts = (line.encode(encoding, "ignore") * times for encoding, times in (MIXED | LATIN_1)[kind])
    (tmp_path / f"a{suffix}").write_bytes(b"".join(parts))
    advice = (
        "if it is CP1252 or Latin-1, `iconv" if kind in LATIN_1 else "if it is text, convert it to UTF-8 from the enc"
    )
    with pytest.raises(ValueError, match=f"is not UTF-8: byte 0xE9 at .*; {advice}"):
        count(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("options", [[], ["--input-format", "jsonl"], ["--separator", '"}']], ids=str)
def test_of_a_stream_all_that_was_read_with_the_byte_tells_the_encoding(options: list[str]) -> None:
    line = json.dumps({"text": "un caf\xe9 cr\xe8me"}, ensure_ascii=False) + "\n"
    old, new = line.encode("latin-1"), line.encode()
    mixed, all_old = (
        one_line(run("count", "-", *options, stdin=data).stderr) for data in (old + new, b'{"text": "a"}\n' + old)
    )
    assert "if it is text, convert it to UTF-8 from the encoding that it has" in mixed
    assert "`iconv -f CP1252 -t UTF-8` converts it" in all_old


@pytest.mark.skipif(shutil.which("iconv") is None or shutil.which("bash") is None, reason="needs iconv and bash")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", ["latin1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_advice_on_an_encoding_works_as_given(
    encoding: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "été à la plage\u00ff\n"
    data = text.encode(encoding)
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    said = complaint(capsys, "count", "--", name)
    wrong = r"(?:byte 0x.. at byte offset \d+|every second byte where it begins is a control character)"
    named = r"(?:CP1252 or Latin-1|UTF-\d\d(?:LE|BE)?)"
    (advice,) = re.findall(f"is not UTF-8: {wrong}; if it is {named}, `(.*)` converts it", said)
    assert subprocess.run(["bash", "-c", advice], capture_output=True, check=True).stdout == text.encode()


@pytest.mark.skipif(shutil.which("iconv") is None or shutil.which("bash") is None, reason="needs iconv and bash")
def test_the_advice_on_text_as_windows_writes_it_keeps_its_quotes_and_dashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "\u201cIt\u2019s life\u201d \u2013 5 \u20ac, \xe9t\xe9\n"
    Path("a.txt").write_bytes(text.encode("cp1252"))
    (advice,) = re.findall("if it is CP1252 or Latin-1, `(.*)` converts it", complaint(capsys, "count", "a.txt"))
    assert subprocess.run(["bash", "-c", advice], capture_output=True, check=True).stdout == text.encode()


# Text in UTF-16 that is UTF-8 too: the upper halves are control characters.
IN_UTF16 = [
    "The meaning of life is\n",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0e0a\u0e32\u0e27 \u0e42\u0e25\u0e01\n" * 9,
]
IN_UTF16 += ["\u0928\u092e\u0938\u0947 \u0926\u0941\u0928\u093f\u092f\u093e\n" * 9]
IN_UTF16 += ["\u041c\u0430\u043c\u0430 \u043c\u044b\u043b\u0430 \u0440\u0430\u043c\u0443"]


@pytest.mark.parametrize("text", IN_UTF16, ids=["English", "Thai", "Hindi", "Russian"])
@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.txt.gz"])
def test_utf16_without_a_byte_order_mark_is_not_taken_for_utf8(
    name: str, encoding: str, text: str, tmp_path: Path
) -> None:
    data = text.encode(encoding)
    assert data.decode("utf-8")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(ValueError, match=f"is not UTF-8: every second byte .*; if it is {encoding}, `.*iconv"):
        count(tmp_path / name)
    if name == "a.txt":
        assert count(tmp_path / name, errors="replace").documents == 1
        said = one_line(run("encode", stdin=data).stderr)
        assert "standard input is not UTF-8: every second byte where it begins" in said and encoding in said


@pytest.mark.parametrize(
    "data",
    [
        b"a\0b\x01c d e f g h i \x02",
        bytes(300) + b"a log that was cut",
        b"a log that was cut" + bytes(300) + b"and goes on",
        b"1\t2\t3\n" * 50,
        b"a\n\0" + b"b\n" * 50,
    ],
)
def test_text_with_control_characters_is_text(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert count(tmp_path / "a.txt").documents == 1


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.txt.gz"])
@pytest.mark.parametrize("before", [30, 300, 3_000_000])
@pytest.mark.parametrize("text", ["The meaning of life is", "Gr\xfc\xdfe aus M\xfcnchen, it costs \xa35"])
def test_text_in_utf16_behind_text_in_utf8_is_not_taken_for_utf8(
    text: str, before: int, name: str, tmp_path: Path
) -> None:
    lines = lines_of(["one line"] * (before // 30))
    data = lines + lines_of([text]).decode().encode("utf-16-le")
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(
        ValueError, match=r"is not UTF-8: near byte offset \d+ it goes on in UTF-16 or UTF-32, "
    ) as raised:
        count(tmp_path / name)
    (near,) = re.findall("near byte offset ([0-9]+)", str(raised.value))
    assert 0 <= len(lines) - int(near) <= 3
    if name == "a.txt":
        assert count(tmp_path / name, errors="replace").documents == 1
        for arguments, stdin in (
            (["loss", "-", "--model", "bundled"], data),
            (["train-bpe", path, "--merges", "5"], b""),
        ):
            assert "goes on in UTF-16" in one_line(run(*arguments, stdin=stdin).stderr)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1042301\n"


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.txt.gz", "a.jsonl.zst", "a.parquet"])
def test_a_pointer_of_git_lfs_is_not_tokenized(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(POINTER)
    options: list[dict[str, Any]] = [{}, {"errors": "replace"}, {"separator": "<|endoftext|>"}]
    for each in options:
        with pytest.raises(
            ValueError, match=f"{name} is a Git LFS pointer, .*: run `git lfs pull` where it was cloned"
        ):
            tokenize(tmp_path / name, tmp_path / "out.bin", **each)
    assert [path.name for path in tmp_path.iterdir()] == [name]


OTHERS = {
    "b.txt": POINTER,
    "b.txt.gz": gzip.compress(lzma.compress(b"text")),
    "b.parquet": POINTER,
    "b.jsonl": "\ufeffThe meaning of life is".encode("utf-16"),
    "b.txt.zst": zstd.compress("The meaning of life is".encode("utf-16-le")),
    "b.md": zipped(b"text"),
    "b.gz": b"The meaning of life is",
}


@pytest.mark.parametrize("shard", [None, (1, 2)], ids=["whole", "shard"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_kind_is_refused_before_the_work_on_those_before_it(
    name: str, shard: tuple[int, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> NoReturn:
        raise AssertionError("the work began")

    monkeypatch.setattr(Output, "add", work)
    (tmp_path / "a.txt").write_text("The meaning of life is\n" * 100)
    (tmp_path / name).write_bytes(OTHERS[name])
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / name} is ")):
        tokenize([tmp_path / "a.txt", tmp_path / name], tmp_path / "out.bin", shard=shard)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.txt", name]


@pytest.mark.parametrize(
    "arguments", [["count", "-"], ["encode"], ["loss", "-", "--model", "bundled"], ["train-bpe", "-", "--merges", "1"]]
)
def test_a_pointer_of_git_lfs_on_standard_input_is_named_as_one(arguments: list[str]) -> None:
    assert "standard input is a Git LFS pointer" in one_line(run(*arguments, stdin=POINTER).stderr)


@pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv")
@pytest.mark.parametrize("name", ["count", "loss --model bundled", "train-bpe --merges 1"])
def test_the_advice_on_a_pipe_reads_what_is_piped_again(name: str) -> None:
    data = "été".encode("latin1")
    (advice,) = re.findall("`(.*)` converts it", one_line(run(*name.split(), "/dev/stdin", stdin=data).stderr))
    assert subprocess.run(advice, shell=True, input=data, capture_output=True, check=True).stdout == "été".encode()


def test_a_table_under_another_name_is_named_as_what_it_is(tmp_path: Path) -> None:
    write_table(tmp_path / "a.data", DOCUMENTS)
    with pytest.raises(ValueError, match=r"a\.data is a Parquet table: pass --input-format parquet"):
        count(tmp_path / "a.data")


def test_a_text_may_begin_as_a_table_does(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("PAR1 is a receptor.")
    assert count(tmp_path / "a.txt").documents == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["count", "-"], "standard input is a Parquet table: save it as a file, since a table cannot be read from"),
        (["encode"], "standard input is a Parquet table, not text: write the texts of its rows to a file first"),
        (["decode"], "standard input is a Parquet table, not text: write the texts of its rows to a file first"),
        (["loss", "--model", "bundled", "{}"], "{} is a Parquet table, not text: write the texts of its rows to a fil"),
        (["train-bpe", "--merges", "1", "{}"], "{} is a Parquet table, not text: write the texts of its rows to a fil"),
    ],
)
def test_so_it_is_where_it_cannot_be_read(arguments: list[str], told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.data"
    write_table(path, DOCUMENTS)
    finished = run(*(each.format(path) for each in arguments), stdin=path.read_bytes())
    assert finished.returncode == 1
    assert one_line(finished.stderr).startswith(f"minigpt2: {told.format(path)}")
