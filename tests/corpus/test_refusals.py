"""Refusals, each by name and with the way out."""

import gzip
import lzma
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pyarrow
import pytest
from backports import zstd
from pyarrow import parquet

from minigpt2 import Tokenizer
from minigpt2.corpus import count, tokenize
from minigpt2.corpus.output import Output
from tests.command import ROOT, environment, one_line, run
from tests.corpus.samples import DOCUMENTS, lines_of, write_table

BAD: dict[str, tuple[bytes, str]] = {
    "latin1.txt": (b"caf\xe9 x", r"latin1\.txt is not UTF-8: byte 0xE9 at byte offset 3; .*--errors replace"),
    "cut.txt": (b"caf\xc3", r"cut\.txt is not UTF-8: byte 0xC3 at byte offset 3"),
    "surrogate.txt": (b"a\xed\xa0\x80", r"is not UTF-8: byte 0xED at byte offset 1"),
    "bytes.jsonl": (b'{"text": "a"}\n{"text": "\xff"}\n', r"bytes\.jsonl, line 2, is not UTF-8: .* offset 24"),
    "half.jsonl": (b'{"text": "a"}\n\n{"text": ', r"half\.jsonl, line 3, is not JSON: "),
    "deep.jsonl": (b"[" * 100_000, r"deep\.jsonl, line 1, is not JSON: "),
    "list.jsonl": (b"[1]", r"list\.jsonl, line 1, is not a JSON object but a value of type list"),
    "lack.jsonl": (b'{"body": "a", "id": 1}', r"lack\.jsonl, line 1, has no field 'text'; it has 'body', 'id'"),
    "number.jsonl": (b'{"text": 3}', r"number\.jsonl, line 1, has no text in 'text' but a value of type int"),
    "lone.jsonl": (b'{"text": "a\\ud800"}', r"lone\.jsonl, line 1, has a lone surrogate in 'text'"),
    "plain.gz": (b"no gzip", r"plain\.gz is damaged: Not a gzipped file"),
    "cut.gz": (gzip.compress(b"a" * 1000)[:-4], r"cut\.gz is damaged: Compressed file ended"),
    "empty.gz": (b"", r"empty\.gz is damaged: it is empty"),
    "flipped.gz": (gzip.compress(b"abc" * 99)[:15] + b"\xff" * 9, r"flipped\.gz is damaged: Error"),
    "plain.zst": (b"no zstd", r"plain\.zst is damaged: "),
    "cut.zst": (zstd.compress(b"a" * 1000)[:-4], r"cut\.zst is damaged: Compressed file ended"),
    "empty.zst": (b"", r"empty\.zst is damaged: "),
    "plain.parquet": (b"no parquet", r"plain\.parquet is damaged: "),
    "text.parquet.gz": (gzip.compress(b"hello"), r"text\.parquet\.gz is compressed by gzip, and a table"),
    "whole.parquet": (lzma.compress(b"PAR1"), r"whole\.parquet is compressed by xz, and a table is read in parts"),
    "whole.parquet.xz": (
        lzma.compress(b"PAR1"),
        r"whole\.parquet\.xz is compressed by xz.* save what `xz -dc` ",
    ),
    "whole.parquet.gz": (gzip.compress(b"PAR1" * 9), r"whole\.parquet\.gz is compressed by gzip, and a table"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named(name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    data, message = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        tokenize(tmp_path, tmp_path / "out", tokenizer=tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_lines_are_numbered_across_chunks(small: None, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines_of(DOCUMENTS * 9) + b"\n{}\n"))
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz, line 47, has no field 'text'; it has none"):
        count(tmp_path)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"body": ["a"]}, r"a\.parquet has no column 'text'; it has 'body'"),
        ({"text": [1]}, r"a\.parquet: column 'text' is not text but int64"),
        ({"text": [b"a"]}, r"a\.parquet: column 'text' is not text but binary"),
        ({"text": ["a", "b", None]}, r"a\.parquet: column 'text' has no text in row 2, counted from 0"),
    ],
)
def test_a_table_without_the_text_is_refused(column: dict[str, list[object]], message: str, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table(column), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        count(tmp_path)


def test_a_table_with_two_columns_of_the_name_is_refused(tmp_path: Path) -> None:
    columns = [pyarrow.array(["a"]), pyarrow.array(["b"])]
    parquet.write_table(pyarrow.Table.from_arrays(columns, names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet has two columns 'text': rename one of them"):
        count(tmp_path)


@pytest.mark.parametrize(("name", "package"), [("a.zst", "backports.zstd"), ("a.parquet", "pyarrow")])
def test_a_package_that_is_missing_is_named(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delattr("backports.zstd")
    with pytest.raises(ImportError, match=rf"needs the package {package}: pip install 'minigpt2\["):
        count(tmp_path / name)


@pytest.mark.parametrize(("name", "module"), [("a.zst", "backports/__init__.py"), ("a.parquet", "pyarrow.py")])
def test_a_package_that_does_not_start_says_why_itself(name: str, module: str, tmp_path: Path) -> None:
    for path, content in ((module, b"raise ImportError('its library is of another version')"), (name, b"x")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    finished = run("count", str(tmp_path / name), env=environment(PYTHONPATH=path))
    told = "minigpt2: its library is of another version\n"
    assert (finished.returncode, one_line(finished.stderr)) == (1, told)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", DOCUMENTS)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    page = parquet.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(1).data_page_offset
    data[page : page + 30] = b"\xff" * 30
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.parquet is damaged: "):
        count(tmp_path)


def test_a_table_that_needs_more_memory_than_there_is_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def realloc(*_: object, **__: object) -> NoReturn:
        raise pyarrow.ArrowMemoryError("realloc of size 64 failed")

    write_table(tmp_path / "a.parquet", DOCUMENTS)
    monkeypatch.setattr(parquet, "ParquetFile", realloc)
    with pytest.raises(MemoryError):
        count(tmp_path)


def test_a_table_whose_row_groups_lack_the_column_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", DOCUMENTS)
    data = (tmp_path / "a.parquet").read_bytes()
    path = b"\x19\x18\x04text"  # in the metadata of the row group, as a list of one name of 4 bytes
    assert data.count(path) == 1
    (tmp_path / "a.parquet").write_bytes(data.replace(path, path[:-1] + b"T"))
    with pytest.raises(ValueError, match=r"a\.parquet is damaged: a row group has no column 'text'"):
        count(tmp_path)


def test_strings_of_a_table_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    broken = pyarrow.array([b"a", b"b\xff"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": broken}), tmp_path / "a.parquet")
    with pytest.raises(
        ValueError, match=r"a\.parquet, row 1 \(counted from 0\), is not UTF-8: byte 0xFF at byte offset 1"
    ):
        count(tmp_path)
    assert count(tmp_path, errors="ignore").tokens == 2


def test_a_file_that_changes_while_it_is_read_is_refused(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Output.add

    def add_and_append(self: Output, *arguments: object) -> None:
        add(self, *arguments)  # type: ignore[arg-type]
        with (tmp_path / name).open("ab") as file:
            file.write(b" more")

    monkeypatch.setattr(Output, "add", add_and_append)
    for name in ["a.txt", "b.jsonl.zst"]:
        text = "some text " * 100 if name == "a.txt" else zstd.compress(lines_of(["some text"] * 3000)).decode("latin1")
        (tmp_path / name).write_text(text, encoding="latin1")
        with pytest.raises(ValueError, match=rf"{name} changed while it was read"):
            tokenize(tmp_path / name, tmp_path / f"{name}.bin")
        assert not (tmp_path / f"{name}.bin").exists()


def test_options_are_checked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ValueError, match="errors is one of strict, replace, ignore, not 'surrogateescape'"):
        count(tmp_path, errors="surrogateescape")
    for jobs in (0, 1025, 10**12):
        with pytest.raises(ValueError, match=f"processes, 1 at least and 1024 at most, not {jobs}"):
            count(tmp_path, jobs=jobs)
    with pytest.raises(ValueError, match="the input format is one of text, jsonl, parquet, not 'csv'"):
        count(tmp_path, input_format="csv")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name a file"):
        count([])
    with pytest.raises(ValueError, match="give - once"):
        count(["-", "-"])
    with pytest.raises(TypeError, match="a source is a path, not bytes"):
        count([b"a.txt"])  # type: ignore[list-item]
    (tmp_path / "empty").mkdir()
    for name in ["missing", "missing*", "empty"]:
        with pytest.raises(FileNotFoundError) as raised:
            count(tmp_path / name)
        assert raised.value.filename == str(tmp_path / name)


@pytest.mark.parametrize("text", ['[{"text": "a"}]', '{\n  "text": "a"\n}', '[\n{"text": "a"}\n]'])
def test_a_json_file_that_is_one_document_is_refused_with_the_way_out(text: str, tmp_path: Path) -> None:
    (tmp_path / "a b.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"a b\.json, line 1, is not .*; a \.json file needs one object a line"
    ) as raised:
        count(tmp_path / "a b.json")
    (command,) = re.findall("`(jq .*?)` writes it so", str(raised.value))
    written = subprocess.run(command, shell=True, capture_output=True, check=True).stdout
    (tmp_path / "a.jsonl").write_bytes(written)
    assert count(tmp_path / "a.jsonl").documents == 1


def test_the_advice_for_a_document_of_json_reads_what_is_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b'[{"text": "one"}]'))
    with pytest.raises(ValueError, match=r"`gzip -dc \S*a\.json\.gz \| jq -c '\.\[\]'` writes it so"):
        count(tmp_path / "a.json.gz")


@pytest.mark.parametrize("document", range(4))
@pytest.mark.parametrize("line_end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_byte_that_is_not_utf8_is_named_by_its_offset_in_any_document(
    name: str, line_end: str, document: int, tmp_path: Path
) -> None:
    documents = [b"Once upon a time", b"", b"the end", b"x"]
    documents[document] += b"\xff"
    data = f"<|endoftext|>{line_end}".encode().join(documents)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(ValueError, match=f"byte 0xFF at byte offset {data.index(0xFF)};"):
        count(tmp_path / name, separator="<|endoftext|>")


def test_a_separator_that_is_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the separator 'a\\udcff' has a lone surrogate, which is not text"):
        count(tmp_path, separator="a\udcff")


def test_a_table_is_not_read_from_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="standard input is a stream, and a table cannot be read from its start"):
        count("-", input_format="parquet")


def test_a_table_that_pyarrow_cannot_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "a.parquet", DOCUMENTS)

    def fail(*_: object, **__: object) -> NoReturn:
        raise pyarrow.ArrowNotImplementedError("DecodeArrow")

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", fail)
    with pytest.raises(ValueError, match=r"a\.parquet has what pyarrow cannot read: DecodeArrow"):
        count(tmp_path / "a.parquet")
