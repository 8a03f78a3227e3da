"""Where a document may be cut: its parts have the tokens of the whole."""

import io
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.corpus import cutting
from minigpt2.corpus.chunks import Chunk
from minigpt2.corpus.cutting import Cut, Delimiter, first_line_start
from minigpt2.corpus.documents import Reader
from minigpt2.corpus.sources import Source
from tests.conftest import hurtful_texts
from tests.parity.references import tiktoken_encoding


def cut_up(data: bytes, size: int, cut: Cut = cutting.last_sure_start) -> Iterator[list[bytes]]:
    """The chunks of a text as of a stream and as of a file."""
    yield [block for block, _ in cutting.blocks(io.BytesIO(data), cut, size)]
    ends = [*cutting.ends(io.BytesIO(data), 0, len(data), cut, size)]
    yield [data[start:end] for start, end in pairwise([0, *ends])]


@given(hurtful_texts(), st.integers(1, 40))
def test_chunks_have_the_tokens_of_the_whole(text: str, size: int) -> None:
    for parts in cut_up(text.encode(), size):
        ids = [token_id for part in parts for token_id in Tokenizer().encode_ordinary(part.decode())]
        assert ids == tiktoken_encoding().encode_ordinary(text)


@given(
    st.lists(hurtful_texts().map(str.encode) | st.binary(max_size=4), max_size=8).map(b"".join),
    st.integers(1, 40),
    st.sampled_from(["replace", "ignore"]),
)
def test_chunks_of_bytes_that_are_not_utf8_have_the_tokens_of_the_whole(data: bytes, size: int, errors: str) -> None:
    for parts in cut_up(data, size):
        texts = [part.decode("utf-8", errors) for part in parts]
        assert "".join(texts) == data.decode("utf-8", errors)
        ids = [token_id for text in texts for token_id in Tokenizer().encode_ordinary(text)]
        assert ids == tiktoken_encoding().encode_ordinary("".join(texts))


@pytest.mark.parametrize("text", ["one two, three; ", "C'est ça? ", "日本語。中国，", "x1", "a1b2c3+/"])
def test_chunks_are_of_bounded_size(text: str) -> None:
    for parts in cut_up((text * 1000).encode(), 100):
        assert max(map(len, parts)) <= 100


def test_a_run_of_one_class_is_not_cut() -> None:
    for parts in cut_up(b"12 " + b"a" * 1000 + b" 34 56", 50):
        assert any(b"a" * 1000 in part for part in parts)


# ---- between documents

SEPARATOR = "<|endoftext|>"


def documents_of(text: str) -> list[str]:
    """The texts between separators, one line end after each left out, and nothing after the last one."""
    parts = text.split(SEPARATOR)
    parts[1:] = [part[part.startswith("\r") + 1 :] if re.match(r"\r?\n", part) else part for part in parts[1:]]
    return parts if parts[-1] else parts[:-1]


def texts_with_separators() -> st.SearchStrategy[str]:
    parts = hurtful_texts() | st.sampled_from(
        [SEPARATOR, SEPARATOR + "\n", SEPARATOR + "\r\n", SEPARATOR[:7], SEPARATOR[7:]]
    )
    return st.lists(parts, max_size=9).map("".join)


@given(texts_with_separators(), st.integers(1, 60))
def test_chunks_have_the_documents_of_the_whole(text: str, size: int) -> None:
    reader = Reader(separator=SEPARATOR)
    data = text.encode()
    for parts in cut_up(data, size, Delimiter(SEPARATOR.encode()).last_cut):
        ids: list[list[int]] = [[]]
        start = 0
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            source = Source(0, "a.txt", "text", len(data))
            chunk = Chunk(source, start, start + len(part), is_last, len(part), part)
            start += len(part)
            for found in reader.texts(chunk):
                ids[-1] += Tokenizer().encode_ordinary(found.text)
                ids += [[]] if found.is_end else []
        assert ids == [*map(tiktoken_encoding().encode_ordinary, documents_of(text)), []]


@given(texts_with_separators(), st.integers(0, 300))
def test_the_first_document_from_a_byte_on_is_found(text: str, start: int) -> None:
    data = text.encode()
    pattern = re.compile(re.escape(SEPARATOR.encode()) + rb"(?:\r?\n)?")
    starts = [0, *(match.end() for match in pattern.finditer(data)), len(data)]
    first = min(each for each in starts if each >= min(start, len(data)))
    delimiter = Delimiter(SEPARATOR.encode())
    assert delimiter.first_start(io.BytesIO(data), len(data), min(start, len(data))) == first


@given(st.lists(st.sampled_from([b"a", b"\n", b"bc"]), max_size=20).map(b"".join), st.integers(0, 20))
def test_the_first_line_from_a_byte_on_is_found(data: bytes, start: int) -> None:
    starts = [0, *(index + 1 for index, byte in enumerate(data) if byte == ord("\n")), len(data)]
    first = min(each for each in starts if each >= min(start, len(data)))
    assert first_line_start(io.BytesIO(data), len(data), min(start, len(data))) == first


@pytest.mark.parametrize("separator", ["", "\n", "\n---", "---", "\n\n", "abcab"])
def test_a_separator_that_could_be_found_at_two_offsets_is_refused(separator: str) -> None:
    with pytest.raises(ValueError, match="cannot separate documents"):
        Delimiter(separator.encode())
