"""Documents: every way to store one gives the same ids, however it is cut."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pytest
from backports import zstd
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from pyarrow import parquet

from minigpt2 import Tokenizer
from minigpt2.corpus import count, tokenize
from tests.corpus.samples import DOCUMENTS, END, STORED, ids_of, read
from tests.parity.made_up_tokenizers import MadeUp, made_up, texts


@pytest.fixture(params=[False, True], ids=["whole", "in chunks"])
def any_size(request: pytest.FixtureRequest) -> None:
    """Once in chunks as they are, and once in small ones."""
    if request.param:
        request.getfixturevalue("small")


@pytest.mark.parametrize("name", STORED)
def test_each_record_is_a_document(name: str, any_size: None, tmp_path: Path, tokenizer: Tokenizer) -> None:
    STORED[name](tmp_path / name)
    counts = tokenize(tmp_path / name, tmp_path / "out", tokenizer=tokenizer)
    assert read(tmp_path / "out") == ids_of(*DOCUMENTS)
    assert (counts.documents, counts.bytes) == (len(DOCUMENTS), sum(len(text.encode()) for text in DOCUMENTS))
    assert counts.tokens == len(ids_of(*DOCUMENTS))


@pytest.mark.parametrize(
    ("name", "compress"), [("a.txt", bytes), ("a", bytes), ("a.txt.gz", gzip.compress), ("a.zst", zstd.compress)]
)
def test_a_file_is_a_document_byte_for_byte(
    name: str, compress: Callable[[bytes], bytes], any_size: None, tmp_path: Path
) -> None:
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


@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_bytes_that_are_not_utf8_are_taken_as_asked(errors: str, small: None, tmp_path: Path) -> None:
    data = b"caf\xe9 \xf0\x9f x\xc3" * 20
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "\xff\\udc00x"}')
    tokenize(tmp_path, tmp_path / "out", errors=errors)
    assert read(tmp_path / "out") == ids_of(
        data.decode("utf-8", errors), {"replace": "\ufffd" * 2 + "x", "ignore": "x"}[errors]
    )


@pytest.mark.parametrize("line_end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_separator_makes_documents_of_a_text(name: str, line_end: str, any_size: None, tmp_path: Path) -> None:
    documents = ["Once upon a time\n", "", " the\nend", "a 'll " * 100]
    data = f"<|endoftext|>{line_end}".join([*documents, ""]).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    counts = tokenize(tmp_path / name, tmp_path / "out", separator="<|endoftext|>")
    assert read(tmp_path / "out") == ids_of(*documents)
    assert (counts.documents, counts.bytes) == (4, sum(len(document) for document in documents))


@pytest.mark.parametrize("separator", [None, "<|endoftext|>"])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_space_before_each_text_is_put_before_each_document_only(
    name: str, separator: str | None, any_size: None, tmp_path: Path
) -> None:
    tokenizer = Tokenizer(more=replace(Tokenizer().settings, add_prefix_space=True))
    documents = ["one,two-three!" * 50, "four,five" * 40, "", " six"]
    data = (separator or "").join(documents).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    tokenize(tmp_path / name, tmp_path / "out", tokenizer=tokenizer, separator=separator)
    expected = documents if separator else ["".join(documents)]
    assert read(tmp_path / "out") == [id_ for each in expected for id_ in [*tokenizer.encode(each), END]]


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(files=made_up(), text=texts(), times=st.integers(1, 30))
def test_any_tokenizer_gives_a_long_document_the_ids_of_the_whole(
    files: MadeUp, text: str, times: int, small: None
) -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        files.write(directory)
        try:
            tokenizer = Tokenizer.from_pretrained(directory)
        except ValueError:  # a token whose new id another has
            reject()
        assume(tokenizer.eos_token_id is not None)
        (directory / "a.txt").write_bytes((text * times).encode())
        tokenize(directory / "a.txt", directory / "out", tokenizer=tokenizer)
        whole = tokenizer.encode(text * times, allowed_special=(), add_special_tokens=False)
        assert read(directory / "out") == [*whole, tokenizer.eos_token_id]


def test_a_file_compressed_with_a_long_window_is_read(tmp_path: Path) -> None:
    options = {int(zstd.CompressionParameter.window_log): 30}
    stream = zstd.ZstdCompressor(options=options)  # of a length that it does not say, so the window is not made smaller
    (tmp_path / "a.zst").write_bytes(stream.compress(b"one two") + stream.flush())
    assert count(tmp_path / "a.zst").tokens == 2


def test_without_a_separator_special_tokens_are_plain_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a<|endoftext|>\nb<|endoftext|>")
    assert count(tmp_path / "a.txt").documents == 1
    tokenize(tmp_path / "a.txt", tmp_path / "out")
    assert read(tmp_path / "out").count(END) == 1


def test_a_text_with_nothing_after_its_last_separator_ends_there(tmp_path: Path) -> None:
    for name, text in {"a": "", "b": "x|", "c": "|", "d": "x|y"}.items():
        (tmp_path / name).write_text(text)
    counts = count(tmp_path, separator="|")
    assert [source.documents for source in counts.sources] == [0, 1, 1, 2]


@pytest.mark.parametrize("name", ["a.data", "a.txt", "a"])
def test_the_input_format_can_be_named(name: str, tmp_path: Path) -> None:
    STORED["a.jsonl"](tmp_path / name)
    tokenize(tmp_path / name, tmp_path / "out", input_format="jsonl")
    assert read(tmp_path / "out") == ids_of(*DOCUMENTS)
    STORED["a.parquet"](tmp_path / name)
    tokenize(tmp_path / name, tmp_path / "out", input_format="parquet")
    assert read(tmp_path / "out") == ids_of(*DOCUMENTS)


def test_json_lines_can_be_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"not": "read"}\n')
    tokenize(tmp_path / "a.json", tmp_path / "out", input_format="text")
    assert read(tmp_path / "out") == ids_of('{"not": "read"}\n')
