"""`minigpt2 decode` on ids that come bit by bit, and inputs in encodings that are not UTF-8."""

import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.cli.decode import _ids
from tests.command import command, environment, one_line, run


def test_text_is_printed_as_ids_come() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(command("decode"), stdin=pipe, stdout=pipe, env=environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for written, printed in ((b"464 3616", b"The"), (b" 286\n", b" meaning of"), (b"30325 222 ", " 😀".encode())):
            process.stdin.write(written)
            process.stdin.flush()
            assert os.read(process.stdout.fileno(), 100) == printed
        process.stdin.close()
        assert process.stdout.read() == b""


def test_bytes_that_end_within_a_character_come_out_as_they_are() -> None:
    assert run("decode", stdin=b"30325").stdout == b" \xf0\x9f\x98"
    assert run("decode", stdin=b"222 30325 0").stdout == b"\x80 \xf0\x9f\x98!"


@given(st.lists(st.integers(0, 50256), min_size=1, max_size=20), st.data())
def test_ids_are_whole_wherever_the_input_is_cut(ids: list[int], data: st.DataObject) -> None:
    for written in (" ".join(map(str, ids)), "\n".join(map(str, ids)) + "\n", str(ids), f"\n {ids}\n"):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=5)))
        parts = [written[start:end] for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)]
        assert [each for part in _ids(parts) for each in part] == ids


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_ids_behind_a_byte_order_mark_are_read(encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith(("-le", "-be")) else ""
    finished = run("decode", stdin=f"{mark}464 3616\r\n".encode(encoding))
    assert (finished.returncode, finished.stdout) == (0, b"The meaning")


@pytest.mark.parametrize("ids", ["\ufeff464 3616", "464\n\ufeff3616", "\ufeff[464, 3616]"])
def test_a_byte_order_mark_is_passed_over_in_arguments_and_where_files_were_joined(ids: str) -> None:
    assert run("decode", ids).stdout == b"The meaning"
    assert run("decode", stdin=f"\ufeff{ids}".encode()).stdout == b"The meaning"


def test_two_encodings_in_one_input_are_named() -> None:
    message = one_line(run("decode", stdin="\ufeff464 3616\n".encode("utf-16-le") + b"464\n1").stderr)
    assert "begins in UTF-16 and continues in another one at byte offset 24" in message


@pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_the_command_that_the_error_names_makes_utf8_of_it(encoding: str) -> None:
    data = "Café, naïve\n".encode(encoding)
    message = one_line(run("encode", stdin=data).stderr)
    advice = message.split("`")[1]
    converted = subprocess.run(advice, shell=True, input=data, capture_output=True, check=True).stdout
    assert run("encode", stdin=converted).stdout.split() == [
        str(token_id).encode() for token_id in Tokenizer().encode("Café, naïve\n")
    ]


def test_a_word_that_is_too_long_for_an_id_ends_it_after_the_ids_before() -> None:
    finished = run("decode", stdin=b"464 3616 " + b"464;" * 100_000)
    assert (finished.returncode, finished.stdout) == (1, b"The meaning")
    assert "is not a token id" in one_line(finished.stderr)
