"""Which encoding is named for bytes that are not UTF-8, and for which none is."""

import pickle
import random
import re
import sqlite3
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather

from minigpt2 import Tokenizer
from minigpt2.encodings import advice, is_utf16_without_mark, likely_encoding, utf16_instead

ENGLISH = "\u201cOnce upon a time\u201d \u2013 they say, there was a caf\xe9.\n" * 20


@pytest.mark.parametrize("encoding", ["CP1252", "UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32"])
def test_the_encoding_of_a_text_is_named(encoding: str) -> None:
    assert likely_encoding(ENGLISH.encode(encoding), 0) == encoding


def test_text_behind_utf8_is_not_cp1252() -> None:
    """That was UTF-8, or it would have been refused."""
    assert likely_encoding(ENGLISH.encode("cp1252"), 4) is None


@pytest.mark.parametrize(
    ("times", "others", "end"),
    [(1, 1, "\n"), (1, 9, "\n"), (9, 1, "\n"), (9999, 1, "\n"), (1, 9, " "), (9, 1, " "), (100, 3, " ")],
)
def test_text_partly_in_utf8_is_not_cp1252(times: int, others: int, end: str) -> None:
    line = f"Il \u00e9tait une fois un caf\u00e9.{end}"  # no byte of it is without a character in CP1252
    texts = line.encode("cp1252") * times, line.encode() * others
    assert likely_encoding(texts[0] + texts[1], 0) is likely_encoding(texts[1] + texts[0], 0) is None


def test_a_few_characters_may_be_sound_in_utf8_by_chance() -> None:
    text = "LIBERT\u00c9\u00a0! \u00c9t\u00e9, caf\u00e9, cr\u00e8me, f\u00eate.\n" + ENGLISH
    assert likely_encoding(text.encode("cp1252"), 0) == "CP1252"


@given(st.text(st.characters(min_codepoint=0xA0, max_codepoint=0xFF), min_size=1))
def test_the_advice_on_latin_1_and_cp1252_converts_both(text: str) -> None:
    assert text.encode("latin-1").decode("cp1252") == text


def arrow() -> bytes:
    file = BytesIO()
    table = pyarrow.table({"text": [ENGLISH, "two"] * 50})
    with pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def arrow_file() -> bytes:
    file = BytesIO()
    feather.write_feather(pyarrow.table({"text": [ENGLISH, "two"] * 50}), file)
    return file.getvalue()


def array() -> bytes:
    file = BytesIO()
    np.save(file, np.random.default_rng(0).random(5000, np.float32))
    return file.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table texts (text)")
    connection.executemany("insert into texts values (?)", [(ENGLISH,)] * 20)
    return connection.serialize()


def document() -> bytes:
    return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj << /Length 900 >> stream\n" + zlib.compress(ENGLISH.encode() * 9)


def library() -> bytes:
    offsets = np.arange(500, 200_000, 97).astype(">u4").tobytes()
    return b"!<arch>\n" + b"/".ljust(48) + f"{len(offsets):<10}`\n".encode() + offsets + b"\xff"


NOT_TEXT: dict[str, Callable[[], bytes]] = {
    "Arrow's stream": arrow,
    "Arrow's file": arrow_file,
    "an array": array,
    "a database": database,
    "a PDF": document,
    "a library": library,
    "a pickle": lambda: pickle.dumps(np.random.default_rng(0).random(500)),
    "token ids": lambda: np.array(Tokenizer().encode(ENGLISH), "<u2").tobytes(),
    "weights": lambda: np.random.default_rng(0).normal(size=5000).astype(np.float32).tobytes(),
    "noise": lambda: random.Random(0).randbytes(10_000),
}


@pytest.mark.parametrize("kind", NOT_TEXT)
def test_none_is_named_for_what_is_not_text(kind: str) -> None:
    data = NOT_TEXT[kind]()
    with pytest.raises(UnicodeDecodeError):
        data.decode("utf-8")
    assert likely_encoding(data, 0) is None
    assert advice(data, 0, str) == "if it is text, convert it to UTF-8 from the encoding that it has"
    assert utf16_instead(data, 0, str) is None


@pytest.mark.parametrize("text", ["\u4f60\u597d\uff0c\u4e16\u754c", "caf\xe9 \u201cna\xefve\u201d"])
def test_none_is_named_for_utf8_with_damage(text: str) -> None:
    assert likely_encoding(text.encode() * 3 + b"\xe9", 0) is None


@pytest.mark.parametrize("zeros", [1, 3, 64])
def test_a_zero_does_not_make_utf16_of_other_text(zeros: int) -> None:
    assert likely_encoding((ENGLISH + "\0").encode("cp1252") + b"\0" * zeros, 0) in ("CP1252", None)
    assert likely_encoding(ENGLISH.encode() + b"\xff" + b"\0" * zeros, 0) is None


@pytest.mark.parametrize("end", ["\0", "\n\0", " \0", "\n\0\0"])
@pytest.mark.parametrize("last", ["the end", "two words"], ids=["odd", "even"])
def test_a_zero_at_the_end_does_not_make_utf16_of_the_last_line(last: str, end: str) -> None:
    """As a program in C writes it."""
    text = "Le caf\xe9 est agr\xe9able\n" * 20 + last + end
    assert utf16_instead(text.encode("cp1252"), 0, str) is None
    assert likely_encoding(text.encode("cp1252"), 0) == "CP1252"
    assert utf16_instead(b"\xff" + text.encode(), 0, str) is None


@pytest.mark.parametrize("encoding", ["gbk", "shift-jis", "koi8-r", "big5", "euc-kr"])
def test_text_in_another_encoding_is_never_called_utf16(encoding: str) -> None:
    texts = {"koi8-r": "\u041c\u0430\u043c\u0430 \u043c\u044b\u043b\u0430", "euc-kr": "\uc548\ub155 \uc138\uacc4"}
    assert likely_encoding(texts.get(encoding, "\u65e5\u672c").encode(encoding), 0) in (None, "CP1252")


LINES = {
    "English": "The meaning of life is ",
    "Russian": "\u041c\u0430\u043c\u0430 \u043c\u044b\u043b\u0430 ",
    "Thai": "\u0e42\u0e25\u0e01 ",
    "Thai in long sentences": "\u0e42\u0e25\u0e01" * 20 + " ",
    "Hindi": "\u0928\u092e\u0938\u0947 ",
}


all_lines = pytest.mark.parametrize("line", LINES.values(), ids=LINES)
all_encodings = pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"])


@all_lines
@all_encodings
@pytest.mark.parametrize("end", [None, -1, -2, -3])
def test_text_is_told_to_begin_in_utf16_also_where_the_look_ends_within_a_character(
    end: int | None, encoding: str, line: str
) -> None:
    reason = utf16_instead((line.encode(encoding) * 20)[:end], 0, str)
    assert reason and reason.startswith("every second byte where it begins") and f"if it is {encoding}, " in reason


@all_lines
@all_encodings
@pytest.mark.parametrize("before", ["A line of the usual length\r\n", "\u751f\u547d\n" * 500], ids=["a line", "lines"])
def test_text_is_told_to_go_on_in_utf16_and_where(before: str, encoding: str, line: str) -> None:
    start = len(before.encode())
    reason = utf16_instead(before.encode() + line.encode(encoding) * 20, 0, str) or ""
    (near,) = re.findall("near byte offset ([0-9]+) it goes on in UTF-16", reason)
    assert 0 <= start - int(near) <= 3


# Of these, letters are not UTF-8 in UTF-16.
OTHERS = {"German": "Gr\xfc\xdfe aus M\xfcnchen\r\n", "Spanish": "Ma\xf1ana ser\xe1 otro d\xeda, \xbfverdad?\r\n"}
OTHERS |= {"English": "It costs \xa35 now\r\n", "Chinese": "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u4e0a\u6d77\r\n"}
LONG = "2023\u5e74\uff0c\u9ec4\u6cb3\u7684\u6c34\u4f4d\u4e0b\u964d\u4e861.2\u7c73\u3002" * 100
OTHERS |= {"Chinese in long lines": f"{LONG}\r\n"}
other_lines = pytest.mark.parametrize("line", OTHERS.values(), ids=OTHERS)


@other_lines
@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-32LE"])
@pytest.mark.parametrize("code", ["utf-8", "cp1252"])
@pytest.mark.parametrize("before", ["The meaning of life is\r\n", "Le caf\xe9 est tr\xe8s agr\xe9able.\n"])
@pytest.mark.parametrize("times", [1, 300])
def test_so_it_is_where_letters_of_it_are_not_utf8(
    times: int, before: str, code: str, encoding: str, line: str
) -> None:
    data = (before * times).encode(code)
    reason = utf16_instead(data + line.encode(encoding), 0, str) or ""
    (near,) = re.findall("near byte offset ([0-9]+) it goes on in UTF-16", reason)
    assert 0 <= len(data) - int(near) <= 3


@all_lines
@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
@pytest.mark.parametrize("before", ["The meaning of life is", "\u041c\u0430\u043c\u0430 \u043c\u044b\u043b\u0430\n"])
def test_so_it_is_behind_a_mark_where_files_were_joined(before: str, encoding: str, line: str) -> None:
    reason = utf16_instead(before.encode() + ("\ufeff" + line * 20).encode(encoding), 0, str) or ""
    (near,) = re.findall("near byte offset ([0-9]+) it goes on in UTF-16", reason)
    assert abs(len(before.encode()) - int(near)) <= 3


@given(
    st.text(st.characters(min_codepoint=32, codec="utf-8"), min_size=4),
    st.text(st.sampled_from("\u4e00\u9ec4\u6cb3\u6c34\u4f4d0123456789"), min_size=1),
    st.sampled_from(["UTF-16LE", "UTF-16BE", "UTF-16", "UTF-32LE", "UTF-32BE", "UTF-32"]),
)
def test_behind_a_line_of_utf8_no_command_converts_all(before: str, line: str, encoding: str) -> None:
    """Also where it is not seen that the encoding changes: the command would spoil the beginning."""
    assert likely_encoding(f"{before}\n".encode() + f"{line}1\r\n".encode(encoding), 0) in (None, "CP1252")


@other_lines
@all_encodings
def test_and_alone_they_are_told_by_the_advice(encoding: str, line: str) -> None:
    data = line.encode(encoding) * 20
    assert utf16_instead(data, 0, str) is None
    assert likely_encoding(data, 0) == encoding


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
@pytest.mark.parametrize("text", ["\u665a\u4e0a\u597d\r\nIntroduction\r\n", "\u5728\u4e0a\u6d77\u7684 hello world\r\n"])
def test_a_mark_says_that_all_of_it_is_in_utf16(text: str, encoding: str) -> None:
    data = ("\ufeff" + text).encode(encoding)  # half of one of its characters looks like a line end
    assert utf16_instead(data, 0, str) is None
    assert likely_encoding(data, 0) == "UTF-16"


PIECES = st.text(st.characters(min_codepoint=32, codec="utf-8"), min_size=2) | st.integers(1, 300).map(
    lambda n: "\0" * n
)


@given(st.lists(PIECES))
def test_runs_of_zeros_in_a_text_are_not_utf16(pieces: list[str]) -> None:
    assert not utf16_instead("".join(pieces).encode(), 0, str)


@pytest.mark.parametrize(
    "text",
    [
        "\0" + "".join(f"{each}\n" for each in "abcdefghijklmnop"),
        "1\t2\t\0\t3\t4\t5\t6\t7\t8\t9\n" * 9,
        "1\0012\0013\0014\n" * 9,
    ],
    ids=["a character a line", "a digit a column", "columns as of Hive"],
)
def test_text_of_single_characters_is_not_utf16(text: str) -> None:
    assert not utf16_instead(text.encode(), 0, str)


@given(st.text(st.characters(min_codepoint=32, codec="utf-8") | st.sampled_from("\t\r\n")))
def test_text_without_other_control_characters_than_those_of_lines_is_not_utf16(text: str) -> None:
    assert not is_utf16_without_mark(text.encode())


def test_real_text_is_not_utf16() -> None:
    for path in (Path(__file__), Path(__file__).with_name("conftest.py")):
        assert not is_utf16_without_mark(path.read_bytes())
