"""Corpora from Python: every way to store a document gives the same ids, however it is cut, interrupted and resumed."""

import gzip
import hashlib
import io
import json
import multiprocessing
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from minigpt2 import Tokenizer
from minigpt2.corpus import count, output, pieces, slots, tokenize, workers
from minigpt2.corpus.output import Output
from tests.conftest import hurtful_texts
from tests.parity.references import tiktoken_encoding

END = 50256
DOCUMENTS = ["The meaning of life is", "", "été<|endoftext|> 日本語。\n\r\n  x", "a 'll " * 700, "\ufeffx\u3000 \x00"]
PUBLISHED = {
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def ids_of(*documents: str) -> list[int]:
    """What tiktoken makes of documents as ordinary text, the id of <|endoftext|> after each."""
    encode = tiktoken_encoding().encode_ordinary
    return [token_id for document in documents for token_id in [*encode(document), END]]


def read(path: Path, dtype: str = "<u2") -> list[int]:
    ids: list[int] = np.memmap(path, dtype=dtype, mode="r").tolist()
    return ids


def lines_of(documents: list[str]) -> bytes:
    return b"".join(json.dumps({"id": 7, "text": text}).encode() + b"\n" for text in documents)


def write_table(path: Path, documents: list[str], **options: int) -> None:
    parquet.write_table(pyarrow.table({"id": range(len(documents)), "text": documents}), path, **options)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of some bytes, each with an entry in the journal."""
    monkeypatch.setattr(pieces, "SIZE", 64)
    monkeypatch.setattr(pieces, "_TAIL", 8)
    monkeypatch.setattr(workers, "SIZE", 64)
    monkeypatch.setattr(output, "INTERVAL", 0.0)


# ---- where a document may be cut


def cut_up(data: bytes, size: int) -> Iterator[list[bytes]]:
    """The pieces of a document as of a stream and as of a file."""
    yield [block for block, _ in pieces.blocks(io.BytesIO(data), pieces.last_sure_start, size)]
    ends = [*pieces.ends(io.BytesIO(data), len(data), 0, pieces.last_sure_start, size)]
    yield [data[start:end] for start, end in pairwise([0, *ends, len(data)])]


@given(hurtful_texts(), st.integers(1, 40))
def test_pieces_have_the_tokens_of_the_whole(text: str, size: int) -> None:
    for parts in cut_up(text.encode(), size):
        ids = [token_id for part in parts for token_id in Tokenizer().encode_ordinary(part.decode())]
        assert ids == tiktoken_encoding().encode_ordinary(text)


@given(
    st.lists(hurtful_texts().map(str.encode) | st.binary(max_size=4), max_size=8).map(b"".join),
    st.integers(1, 40),
    st.sampled_from(["replace", "ignore"]),
)
def test_pieces_of_bytes_that_are_no_utf8_have_the_tokens_of_the_whole(data: bytes, size: int, errors: str) -> None:
    for parts in cut_up(data, size):
        texts = [part.decode("utf-8", errors) for part in parts]
        assert "".join(texts) == data.decode("utf-8", errors)
        ids = [token_id for text in texts for token_id in Tokenizer().encode_ordinary(text)]
        assert ids == tiktoken_encoding().encode_ordinary("".join(texts))


@pytest.mark.parametrize("text", ["one two, three; ", "C'est ça? ", "日本語。中国，", "x1", "a1b2c3+/"])
def test_pieces_are_of_bounded_size(text: str) -> None:
    for parts in cut_up((text * 1000).encode(), 100):
        assert max(map(len, parts)) <= 100


def test_a_run_of_one_class_is_not_cut() -> None:
    for parts in cut_up(b"12 " + b"a" * 1000 + b" 34 56", 50):
        assert any(b"a" * 1000 in part for part in parts)


# ---- what is read


Write = Callable[[Path], object]

STORED: dict[str, Write] = {
    "a.jsonl": lambda path: path.write_bytes(lines_of(DOCUMENTS)),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(lines_of(DOCUMENTS))),
    "a.JSONL.ZST": lambda path: path.write_bytes(zstd.compress(lines_of(DOCUMENTS))),
    "a.parquet": lambda path: write_table(path, DOCUMENTS),
    "groups.parquet": lambda path: write_table(path, DOCUMENTS, row_group_size=2),
}


@pytest.mark.parametrize("is_small", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name", STORED)
def test_each_record_is_a_document(
    name: str, is_small: bool, tmp_path: Path, request: pytest.FixtureRequest, tokenizer: Tokenizer
) -> None:
    if is_small:
        request.getfixturevalue("small")
    STORED[name](tmp_path / name)
    counts = tokenize(tmp_path / name, tmp_path / "out", tokenizer=tokenizer)
    assert read(tmp_path / "out") == ids_of(*DOCUMENTS)
    assert (counts.documents, counts.bytes) == (len(DOCUMENTS), sum(len(text.encode()) for text in DOCUMENTS))
    assert counts.tokens == len(ids_of(*DOCUMENTS))


@pytest.mark.parametrize("is_small", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    ("name", "compress"), [("a.txt", bytes), ("a", bytes), ("a.txt.gz", gzip.compress), ("a.zst", zstd.compress)]
)
def test_a_file_is_a_document_byte_for_byte(
    name: str, compress: Callable[[bytes], bytes], is_small: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if is_small:
        request.getfixturevalue("small")
    text = "".join(DOCUMENTS[::-1])
    (tmp_path / name).write_bytes(compress(text.encode()))
    counts = tokenize(tmp_path / name, tmp_path / "out")
    assert read(tmp_path / "out") == ids_of(text)
    assert (counts.documents, counts.bytes) == (1, len(text.encode()))


def test_compressed_files_may_have_several_parts(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"one ") + gzip.compress(b"two"))
    (tmp_path / "b.zst").write_bytes(zstd.compress(b"one ") + zstd.compress(b"two"))
    tokenize([tmp_path / "a.gz", tmp_path / "b.zst"], tmp_path / "out")
    assert read(tmp_path / "out") == ids_of("one two", "one two")


def test_the_field_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "no", "content": "yes"}\r\n\n{"content": "\\ud83d\\ude00"}')
    parquet.write_table(
        pyarrow.table({"content": pyarrow.array(["x", "y", "x"]).dictionary_encode()}), tmp_path / "b.parquet"
    )
    tokenize(tmp_path, tmp_path / "out", field="content")
    assert read(tmp_path / "out") == ids_of("yes", "😀", "x", "y", "x")


def test_sources_keep_their_order(tmp_path: Path) -> None:
    for name in ["b.txt", "a/2.txt", "a/10.txt", "a/b/1.md", "a/.hidden", ".git/x", "c[1].txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    tokenize([tmp_path / "b.txt", tmp_path / "a", f"{tmp_path}/*.txt", tmp_path / "c[1].txt"], tmp_path / "out")
    order = ["b.txt", "a/10.txt", "a/2.txt", "a/b/1.md", "b.txt", "c[1].txt", "c[1].txt"]
    assert read(tmp_path / "out") == ids_of(*order)


def test_a_glob_reaches_any_depth(tmp_path: Path) -> None:
    for name in ["1.txt", "a/2.txt", "a/b/3.txt", "a/b/4.md"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [Path(source.path).name for source in count(f"{tmp_path}/**/*.txt").sources] == ["1.txt", "2.txt", "3.txt"]


def test_what_is_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for _ in range(2):
        tokenize([tmp_path, f"{tmp_path}/*"], tmp_path / "out")
        assert read(tmp_path / "out") == ids_of("a", "a")
    with pytest.raises(ValueError, match=r"out is where the corpus is written to"):
        tokenize([tmp_path / "a.txt", tmp_path / "out"], tmp_path / "out")


def test_empty_files_are_documents(tmp_path: Path) -> None:
    for name, data in {"a": b"", "b.gz": gzip.compress(b""), "c.zst": zstd.compress(b""), "d.jsonl": b"\n"}.items():
        (tmp_path / name).write_bytes(data)
    counts = tokenize(tmp_path, tmp_path / "out")
    assert read(tmp_path / "out") == [END, END, END]
    assert [source.documents for source in counts.sources] == [1, 1, 1, 0]


def test_counting_leaves_out_the_ends(tmp_path: Path, tokenizer: Tokenizer) -> None:
    STORED["a.jsonl"](tmp_path / "a.jsonl")
    (tmp_path / "b.txt").write_text("a b")
    counts = count(tmp_path, tokenizer=tokenizer)
    assert [source.tokens for source in counts.sources] == [len(ids_of(*DOCUMENTS)) - len(DOCUMENTS), 2]
    assert (counts.tokens, counts.documents) == (sum(source.tokens for source in counts.sources), len(DOCUMENTS) + 1)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.jsonl", "b.txt"]


# ---- what is written


def test_the_summary_says_what_made_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The meaning of life is")
    tokenize(f"{tmp_path}/a.txt", tmp_path / "train.bin")
    source = {"path": f"{tmp_path}/a.txt", "bytes": 22, "documents": 1, "tokens": 6}
    assert json.loads((tmp_path / "train.bin.json").read_text()) == {
        "dtype": "uint16",
        "byteorder": "little",
        "eos_token_id": END,
        "vocabulary": PUBLISHED,
        "tokens": 6,
        "documents": 1,
        "bytes": 22,
        "sources": [source],
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "train.bin", "train.bin.json"]


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save_pretrained(tmp_path)
    vocabulary = tokenizer.get_vocab() | {f"ĠĠ{number}ĠĠ": 50257 + number for number in range(20_000)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    large = Tokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    (tmp_path / "a.txt").write_text("a b")
    tokenize(tmp_path / "a.txt", tmp_path / "out", tokenizer=large)
    assert read(tmp_path / "out", "<u4") == ids_of("a b")
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary["dtype"] == "uint32"
    assert summary["vocabulary"]["vocab.json"] == hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_any_number_of_processes_writes_the_same(
    method: str, small: None, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context(method)
    monkeypatch.setattr(workers, "_context", lambda: context)
    for name, write in STORED.items():
        write(tmp_path / name)
    (tmp_path / "long.txt").write_text("\n".join(DOCUMENTS * 4))
    (tmp_path / "short.txt").write_text("x")
    tokenize(tmp_path, tmp_path / "one", tokenizer=tokenizer)
    (tmp_path / "one").rename(tmp_path / ".one")
    (tmp_path / "one.json").rename(tmp_path / ".one.json")
    for jobs in [2, 3]:
        tokenize(tmp_path, tmp_path / "several", tokenizer=tokenizer, jobs=jobs)
        assert (tmp_path / "several").read_bytes() == (tmp_path / ".one").read_bytes()
        assert (tmp_path / "several.json").read_bytes() == (tmp_path / ".one.json").read_bytes()


@pytest.mark.parametrize("jobs", [1, 3])
def test_of_several_errors_the_first_is_raised(jobs: int, small: None, tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.txt").write_bytes(b"fine " * 100)
    (tmp_path / "b.txt").write_bytes(b"fine " * 100 + b"\xff" + b" fine" * 100)
    (tmp_path / "c.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"b\.txt is not UTF-8: byte 0xFF at byte offset 500;"):
        tokenize(tmp_path, tmp_path / "out", tokenizer=tokenizer, jobs=jobs)


def test_the_output_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b")
    (tmp_path / "real").write_text("old")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert read(tmp_path / "real") == ids_of("a b")


# ---- what is refused


BAD: dict[str, tuple[bytes, str]] = {
    "latin1.txt": (b"caf\xe9 x", r"latin1\.txt is not UTF-8: byte 0xE9 at byte offset 3; .*--errors replace"),
    "cut.txt": (b"caf\xc3", r"cut\.txt is not UTF-8: byte 0xC3 at byte offset 3"),
    "surrogate.txt": (b"a\xed\xa0\x80", r"is not UTF-8: byte 0xED at byte offset 1"),
    "bytes.jsonl": (b'{"text": "a"}\n{"text": "\xff"}\n', r"bytes\.jsonl, line 2, is not UTF-8: .* offset 24"),
    "half.jsonl": (b'{"text": "a"}\n\n{"text": ', r"half\.jsonl, line 3, is no JSON: "),
    "deep.jsonl": (b"[" * 100_000, r"deep\.jsonl, line 1, is no JSON: "),
    "list.jsonl": (b"[1]", r"list\.jsonl, line 1, is no JSON object but a list"),
    "lack.jsonl": (b'{"body": "a", "id": 1}', r"lack\.jsonl, line 1, has no field 'text'; it has 'body', 'id'"),
    "number.jsonl": (b'{"text": 3}', r"number\.jsonl, line 1, has no text in 'text' but a int"),
    "lone.jsonl": (b'{"text": "a\\ud800"}', r"lone\.jsonl, line 1, has a lone surrogate in 'text'"),
    "plain.gz": (b"no gzip", r"plain\.gz is damaged: Not a gzipped file"),
    "cut.gz": (gzip.compress(b"a" * 1000)[:-4], r"cut\.gz is damaged: Compressed file ended"),
    "empty.gz": (b"", r"empty\.gz is damaged: it is empty"),
    "flipped.gz": (gzip.compress(b"abc" * 99)[:15] + b"\xff" * 9, r"flipped\.gz is damaged: Error"),
    "plain.zst": (b"no zstd", r"plain\.zst is damaged: "),
    "cut.zst": (zstd.compress(b"a" * 1000)[:-4], r"cut\.zst is damaged: Compressed file ended"),
    "empty.zst": (b"", r"empty\.zst is damaged: "),
    "plain.parquet": (b"no parquet", r"plain\.parquet is damaged: "),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named(name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    data, message = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        tokenize(tmp_path, tmp_path / "out", tokenizer=tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_lines_are_numbered_across_pieces(small: None, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines_of(DOCUMENTS * 9) + b"\n{}\n"))
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz, line 47, has no field 'text'; it has none"):
        count(tmp_path)


@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_bytes_that_are_no_utf8_are_taken_as_asked(errors: str, small: None, tmp_path: Path) -> None:
    data = b"caf\xe9 \xf0\x9f x\xc3" * 20
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "\xff\\udc00x"}')
    tokenize(tmp_path, tmp_path / "out", errors=errors)
    assert read(tmp_path / "out") == ids_of(
        data.decode("utf-8", errors), {"replace": "\ufffd" * 2 + "x", "ignore": "x"}[errors]
    )


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"body": ["a"]}, r"a\.parquet has no column 'text'; it has 'body'"),
        ({"text": [1]}, r"a\.parquet: column 'text' is no text but int64"),
        ({"text": [b"a"]}, r"a\.parquet: column 'text' is no text but binary"),
        ({"text": ["a", "b", None]}, r"a\.parquet: column 'text' has no text in row 2, counted from 0"),
    ],
)
def test_a_table_without_the_text_is_refused(column: dict[str, list[object]], message: str, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table(column), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
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


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", DOCUMENTS)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    page = parquet.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(1).data_page_offset
    data[page : page + 30] = b"\xff" * 30
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.parquet is damaged: "):
        count(tmp_path)


def test_strings_of_a_table_that_are_no_utf8_are_named(tmp_path: Path) -> None:
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
    with pytest.raises(ValueError, match="jobs is the number of processes, 1 at least, not 0"):
        count(tmp_path, jobs=0)
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


def test_there_must_be_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n")
    assert count(tmp_path).tokens == 0
    with pytest.raises(ValueError, match=r"there is no document in .*a\.jsonl"):
        tokenize(tmp_path, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_output_must_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(IsADirectoryError):
        tokenize(tmp_path / "a.txt", tmp_path)
    with pytest.raises(FileNotFoundError) as raised:
        tokenize(tmp_path / "a.txt", tmp_path / "no" / "out")
    assert raised.value.filename == str(tmp_path / "no" / "out")
    with pytest.raises(ValueError, match="/dev/null is no file"):
        tokenize(tmp_path / "a.txt", "/dev/null")


# ---- interruptions


class _Killed(BaseException):
    """The process is no more."""


def interrupted(sources: Path, out: Path, tokenizer: Tokenizer, after: int, torn: bytes) -> bool:
    """Tokenize as a process that is killed before its piece number `after` is written, in the middle of two writes."""
    added = 0
    add = Output.add
    scene = out.with_name("scene")

    def kill(self: Output, *arguments: object) -> None:
        nonlocal added
        if added == after:
            scene.mkdir()
            for suffix in [".partial", ".journal"]:
                left = out.with_name(out.name + suffix)
                (scene / left.name).write_bytes(left.read_bytes() + torn)
            raise _Killed
        added += 1
        add(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Output, "add", kill)
        try:
            tokenize(sources, out, tokenizer=tokenizer, resume=True)
        except _Killed:
            shutil.copytree(scene, out.parent, dirs_exist_ok=True)
            shutil.rmtree(scene)
            return True
    return False


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A directory of every kind of source, each larger than a small piece."""
    directory = tmp_path / "corpus"
    directory.mkdir()
    for name, write in STORED.items():
        write(directory / name)
    text = "\n".join(DOCUMENTS).encode()
    for name, data in {"b.txt": text, "b.txt.gz": gzip.compress(text), "b.zst": zstd.compress(text)}.items():
        (directory / name).write_bytes(data)
    (directory / "empty").touch()
    return directory


@pytest.fixture
def whole(corpus: Path, tmp_path: Path, tokenizer: Tokenizer) -> tuple[bytes, bytes]:
    """What comes of it without interruption: the ids and the summary."""
    tokenize(corpus, tmp_path / "whole", tokenizer=tokenizer)
    paths = [tmp_path / "whole", tmp_path / "whole.json"]
    ids, summary = (path.read_bytes() for path in paths)
    for path in paths:
        path.unlink()
    return ids, summary


@pytest.mark.parametrize(
    ("after", "torn"), [(1, b""), (9, b'{"sou'), (26, b""), (43, b'{"sou'), (60, b""), (77, b'{"sou'), (0, b"")]
)
def test_killed_anywhere_it_can_be_resumed(
    after: int, torn: bytes, small: None, corpus: Path, tmp_path: Path, whole: tuple[bytes, bytes], tokenizer: Tokenizer
) -> None:
    kills = 0
    while interrupted(corpus, tmp_path / "out", tokenizer, after or 12, torn):
        assert not (tmp_path / "out").exists()
        kills += 1
        if after:
            tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, resume=True)
            break
    assert kills == 1 if after else kills > 5
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "out.json").read_bytes()) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out", "out.json"]


def test_an_error_leaves_what_can_be_resumed(small: None, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fine " * 100)
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"b\.txt is not UTF-8"):
        tokenize(f"{tmp_path}/*.txt", tmp_path / "out")
    with pytest.raises(ValueError, match=r"out.partial is there from an interrupted run: continue it with --resume"):
        tokenize(f"{tmp_path}/*.txt", tmp_path / "out")
    (tmp_path / "b.txt").write_text("café")  # it was not read yet, so it may change
    tokenize(f"{tmp_path}/*.txt", tmp_path / "out", resume=True)
    assert read(tmp_path / "out") == ids_of("fine " * 100, "café")


def test_what_was_interrupted_at_once_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8"):
        tokenize(tmp_path, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_resuming_with_nothing_to_resume_starts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    tokenize(tmp_path / "a.txt", tmp_path / "out", resume=True)
    assert read(tmp_path / "out") == ids_of("a")


@pytest.fixture
def left(small: None, tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """Where `out` was interrupted while it was made of what is in `corpus`."""
    (tmp_path / "corpus").mkdir()
    for name in ["a.txt", "b.txt", "c.txt"]:
        (tmp_path / "corpus" / name).write_text("some text " * 20)
    assert interrupted(tmp_path / "corpus", tmp_path / "out", tokenizer, 5, b"")
    return tmp_path


def change_a_source(left: Path) -> None:
    (left / "corpus" / "a.txt").write_text("other text " * 20)


def add_a_source(left: Path) -> None:
    (left / "corpus" / "aa.txt").write_text("new")


def remove_a_source(left: Path) -> None:
    (left / "corpus" / "c.txt").unlink()


def cut_the_ids(left: Path) -> None:
    with (left / "out.partial").open("r+b") as file:
        file.truncate(3)


def damage_the_journal(left: Path) -> None:
    (left / "out.journal").write_bytes(b"\x00\n" + (left / "out.journal").read_bytes())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_a_source, r"cannot continue: .*corpus/a\.txt changed; delete .*out\.partial to start over"),
        (add_a_source, r"cannot continue: sources changed: '.*b\.txt' then, '.*aa\.txt' now"),
        (remove_a_source, r"cannot continue: sources changed: '.*c\.txt' then, 'nothing' now"),
        (cut_the_ids, r"out\.partial is shorter than its journal says"),
        (damage_the_journal, r"out\.journal is damaged"),
    ],
)
def test_what_changed_cannot_be_resumed(change: Callable[[Path], None], message: str, left: Path) -> None:
    change(left)
    before = (left / "out.partial").read_bytes()
    with pytest.raises(ValueError, match=message):
        tokenize(left / "corpus", left / "out", resume=True)
    assert (left / "out.partial").read_bytes() == before


def test_other_options_cannot_be_resumed(left: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="cannot continue: errors changed: 'strict' then, 'ignore' now"):
        tokenize(left / "corpus", left / "out", resume=True, errors="ignore")
    with pytest.raises(ValueError, match="cannot continue: field changed: 'text' then, 'body' now"):
        tokenize(left / "corpus", left / "out", resume=True, field="body")
    tokenizer.save_pretrained(left)
    (left / "vocab.json").write_text(json.dumps(tokenizer.get_vocab() | {"ĠĠxĠĠ": 50257}))
    other = Tokenizer.from_files(left / "vocab.json", left / "merges.txt")
    with pytest.raises(ValueError, match="cannot continue: vocabulary changed"):
        tokenize(left / "corpus", left / "out", resume=True, tokenizer=other)


def test_a_stream_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a stream can be read once only: there is no --resume"):
        tokenize("-", tmp_path / "out", resume=True)
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_write_the_same_file(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = Output.add

    def add_while_another_comes(self: Output, *arguments: object) -> None:
        add(self, *arguments)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"out\.journal is in use"):
            Output(self._paths, [], dict, "<u2", resume=True)

    monkeypatch.setattr(Output, "add", add_while_another_comes)
    tokenize(left / "corpus", left / "out", resume=True)
    assert read(left / "out") == ids_of(*["some text " * 20] * 3)


def test_a_slot_gives_back_what_was_written_and_takes_no_more_than_it_holds() -> None:
    shared = slots.Slots(2, 10)
    first, second = shared.take(), shared.take()
    assert first is not None and second is not None and shared.take() is None
    assert shared.write(first, b"0123456789") and shared.write(second, b"abc")
    assert not shared.write(second, b"0123456789x")
    assert (shared.read(first, 10), shared.read(second, 3)) == (b"0123456789", b"abc")
    shared.give_back(first)
    assert shared.take() == first
