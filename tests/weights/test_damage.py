"""Every way in which a safetensors file can be damaged: refused when it is opened, each in words of its own."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors

from minigpt2 import Checkpoint, CheckpointError
from tests.command import ROOT, environment

ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
A = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
B = {"dtype": "F32", "shape": [3], "data_offsets": [12, 24]}


def entry(**changes: object) -> dict[str, Any]:
    return {"a": ENTRY | changes}


def without(field: str) -> dict[str, Any]:
    return {"a": {key: value for key, value in ENTRY.items() if key != field}}


def raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


SOUND = json.dumps(ENTRY)

# By what is wrong: a header (JSON, or the bytes in its place) over 24 bytes of data, and words that the refusal has.
HEADERS: dict[str, tuple[object, str]] = {
    # no JSON
    "JSON that breaks off": (raw('{"a":{"dtype":"F32"'), "not JSON: Expecting ',' delimiter at character 19"),
    "JSON that breaks off in a text": (raw('{"a'), "not JSON: Unterminated string"),
    "no JSON": (raw("hello, world"), "not JSON: Expecting value at character 0"),
    "two JSON values": (raw("{}{}"), "not JSON: Extra data at character 2"),
    "a comma too many": (raw('{"a":' + SOUND + ",}"), "not JSON: Illegal trailing comma|not JSON: Expecting property"),
    "a comment": (raw('{"a":' + SOUND + "}//"), "not JSON: Extra data"),
    "single quotes": (raw(f"{{'a':{SOUND}}}"), "not JSON: Expecting property name"),
    "a control character in a name": (raw('{"a\n":' + SOUND + "}"), "not JSON: Invalid control character"),
    "an escape that is none": (raw('{"\\x":' + SOUND + "}"), "not JSON: Invalid"),
    "a plus sign": (raw(SOUND.replace("24", "+24").join(['{"a":', "}"])), "not JSON: Expecting value"),
    "a leading zero": (raw(SOUND.replace("24", "024").join(['{"a":', "}"])), "not JSON: Expecting ',' delimiter"),
    "a header of spaces": (raw("    "), "not JSON: Expecting value"),
    "a header of zeros": (bytes(16), "not JSON: Expecting value"),
    "zeros after the JSON": (raw('{"a":' + SOUND + "}") + bytes(3), "not JSON: Extra data"),
    "a byte order mark": (b"\xef\xbb\xbf" + raw('{"a":' + SOUND + "}"), "not JSON: Unexpected UTF-8 BOM"),
    "NaN": (entry(more=float("nan")), "NaN is none of its numbers"),
    "infinity": (entry(more=float("inf")), "Infinity is none of its numbers"),
    "minus infinity": (entry(more=-float("inf")), "-Infinity is none of its numbers"),
    "broken UTF-8": (b'{"\xff":' + raw(SOUND) + b"}", "not UTF-8: byte 0xFF at byte 2"),
    "UTF-16": (json.dumps(entry()).encode("utf-16"), "not UTF-8: byte 0xFF at byte 0"),
    "half a character": (b'{"\xc3":' + raw(SOUND) + b"}", "not UTF-8: byte 0xC3 at byte 2"),
    "an encoded surrogate": (b'{"\xed\xa0\x80":' + raw(SOUND) + b"}", "not UTF-8: byte 0xED"),
    "half a surrogate pair": (raw('{"\\ud800":' + SOUND + "}"), "surrogate|hex escape"),
    "lists without end": (raw('{"a":' + "[" * 100_000), "nested without end|recursion limit"),
    "objects without end": (raw('{"a":' * 100_000), "nested without end|recursion limit"),
    "a number of 5,000 digits": (raw('{"a":' + "1" * 5000 + "}"), "a number of thousands of digits"),
    # no object of tensors
    "a list": (raw("[1, 2]"), "no JSON object but a list"),
    "a number": (raw("12"), "no JSON object but a int"),
    "a text": (raw('"a"'), "no JSON object but a str"),
    "null": (raw("null"), "no JSON object but a NoneType"),
    "no tensors, but data": ({}, "tensors take 0 bytes, and 24 more follow"),
    "metadata that is a list": ({"__metadata__": [], "a": ENTRY}, "__metadata__ is no object but \\[\\]"),
    "metadata that is a text": ({"__metadata__": "x", "a": ENTRY}, "__metadata__ is no object but 'x'"),
    "metadata of numbers": ({"__metadata__": {"k": 1}, "a": ENTRY}, "__metadata__ has 1 for 'k'"),
    "metadata of nothing": ({"__metadata__": {"k": None}, "a": ENTRY}, "__metadata__ has None for 'k'"),
    "deep metadata": ({"__metadata__": {"k": {"l": "m"}}, "a": ENTRY}, "__metadata__ has {'l': 'm'} for 'k'"),
    "an entry that is a number": ({"a": 6}, "tensor 'a' is no object but 6"),
    "an entry that is a list": ({"a": ["F32", [6], [0, 24]]}, "entry for 'a'|tensor 'a' is no object"),
    "an entry that is nothing": ({"a": None}, "tensor 'a' is no object but None"),
    "an empty entry": ({"a": {}}, "tensor 'a' has no dtype"),
    # fields
    "a missing dtype": (without("dtype"), "tensor 'a' has no dtype"),
    "a missing shape": (without("shape"), "tensor 'a' has no shape"),
    "missing offsets": (without("data_offsets"), "tensor 'a' has no data_offsets"),
    "a dtype twice": (raw('{"a":{"dtype":"F32",' + SOUND[1:] + "}"), "has dtype twice"),
    "a shape twice": (raw('{"a":{"shape":[6],' + SOUND[1:] + "}"), "has shape twice"),
    "offsets twice": (raw('{"a":{"data_offsets":[0,24],' + SOUND[1:] + "}"), "has data_offsets twice"),
    "an unknown dtype": (entry(dtype="F33"), "dtype 'F33', which the format does not know"),
    "a dtype in lower case": (entry(dtype="f32"), "dtype 'f32', which"),
    "numpy's name of a dtype": (entry(dtype="float32"), "dtype 'float32', which"),
    "an empty dtype": (entry(dtype=""), "dtype '', which"),
    "a dtype that is a number": (entry(dtype=32), "dtype 32, which"),
    "a dtype that is nothing": (entry(dtype=None), "dtype None, which"),
    "a dtype that is a list": (entry(dtype=["F32"]), r"dtype \['F32'\], which"),
    "a negative dimension": (entry(shape=[-2, -3]), r"shape \[-2, -3\], which is no list of sizes"),
    "a float dimension": (entry(shape=[2.0, 3]), r"shape \[2.0, 3\], which is no list"),
    "a bool dimension": (entry(shape=[True, 6]), r"shape \[True, 6\], which is no list"),
    "a dimension that is a text": (entry(shape=["2", 3]), r"shape \['2', 3\], which is no list"),
    "a dimension that is nothing": (entry(shape=[None]), r"shape \[None\], which is no list"),
    "a dimension that is a list": (entry(shape=[[2, 3]]), r"shape \[\[2, 3\]\], which is no list"),
    "a shape that is a number": (entry(shape=6), "shape 6, which is no list"),
    "a shape that is nothing": (entry(shape=None), "shape None, which is no list"),
    "a shape that is an object": (entry(shape={"0": 6}), "shape {'0': 6}, which is no list"),
    "a dimension beyond 64 bits": (entry(shape=[2**64]), r"shape \[18446744073709551616\], which is no list"),
    "a product beyond 64 bits": (entry(shape=[2**63, 2**63]), "which is more than any file holds"),
    "a product that wraps to 0": (entry(shape=[2**62, 4], data_offsets=[0, 0]), "which is more than any file holds"),
    "negative offsets": (entry(data_offsets=[-24, 0]), r"data_offsets \[-24, 0\], which are no two places"),
    "float offsets": (entry(data_offsets=[0, 24.0]), r"data_offsets \[0, 24.0\], which are no two places"),
    "bool offsets": (entry(data_offsets=[False, 24]), r"data_offsets \[False, 24\], which are no two places"),
    "offsets that are texts": (entry(data_offsets=["0", "24"]), r"data_offsets \['0', '24'\], which are no"),
    "offsets beyond 64 bits": (entry(data_offsets=[0, 2**64]), r"data_offsets \[0, 18446744073709551616\], which"),
    "one offset": (entry(data_offsets=[24]), r"data_offsets \[24\], which are no two places"),
    "three offsets": (entry(data_offsets=[0, 12, 24]), r"data_offsets \[0, 12, 24\], which are no two places"),
    "no offsets": (entry(data_offsets=[]), r"data_offsets \[\], which are no two places"),
    "offsets that are a number": (entry(data_offsets=24), "data_offsets 24, which are no two places"),
    "the end before the beginning": (entry(data_offsets=[24, 0]), "begins at byte 24 and ends before that, at 0"),
    # sizes and places
    "too few bytes for the shape": (entry(shape=[2, 4]), r"gives 24 bytes to F32 of shape \[2, 4\], which takes 32"),
    "too many bytes for the shape": (entry(shape=[5]), r"gives 24 bytes to F32 of shape \[5\], which takes 20"),
    "too many bytes for the dtype": (entry(dtype="F16"), r"gives 24 bytes to F16 of shape \[2, 3\], which takes 12"),
    "too few bytes for the dtype": (entry(dtype="F64"), r"gives 24 bytes to F64 of shape \[2, 3\], which takes 48"),
    "bytes for an empty tensor": (entry(shape=[0, 6]), r"gives 24 bytes to F32 of shape \[0, 6\], which takes 0"),
    "no bytes for a scalar": (
        entry(shape=[], data_offsets=[0, 0]),
        r"gives 0 bytes to F32 of shape \[\], which takes 4",
    ),
    "a range past the end": (entry(shape=[2, 4], data_offsets=[0, 32]), "ends at byte 32 .* has 24 .* cut off"),
    "a range far past the end": (
        {"a": A, "b": B | {"shape": [2**50], "data_offsets": [12, 12 + 2**52]}},
        "'b' ends at byte 4,503,599,627,370,508 .* cut off",
    ),
    "data left over": (entry(shape=[5], data_offsets=[0, 20]), "tensors take 20 bytes, and 4 more follow"),
    "data before the first tensor": (entry(shape=[5], data_offsets=[4, 24]), "bytes 0 to 4 of the data, before .* 'a'"),
    "a hole": ({"a": A | {"shape": [2], "data_offsets": [0, 8]}, "b": B}, "bytes 8 to 12 of the data, before .* 'b'"),
    "an overlap": ({"a": A | {"shape": [4], "data_offsets": [0, 16]}, "b": B}, "'a' and 'b' overlap: .* 16 .* 12"),
    "the same bytes twice": ({"a": ENTRY, "b": ENTRY}, "'a' and 'b' overlap: .* 24 .* 0"),
    "one tensor inside another": ({"a": ENTRY, "b": B}, "'a' and 'b' overlap: .* 24 .* 12"),
    "an overlap out of order": ({"b": B, "a": A | {"shape": [4], "data_offsets": [0, 16]}}, "'a' and 'b' overlap"),
}
NAMELESS: dict[str, tuple[bytes, str]] = {
    "a zip": (b"PK\x03\x04" + bytes(500), "is a pickle, .* can run code .* save_pretrained"),
    **{f"a pickle of protocol {n}": (bytes([0x80, n]) + b"}q\x00." + bytes(500), "is a pickle") for n in (2, 3, 4, 5)},
    "a web page": (b"\n<!DOCTYPE html><html><body>Not found</body></html>", "is a web page, .* download .* again"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
    "an error in JSON": (b'{"error":"Repository not found"}', "promise a header of .* and the format allows"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "promise a header of .* and the format allows"),
    "an empty file": (b"", "has 0 bytes, and the length of its header alone takes 8: it was cut off"),
    "one byte": (b"\x01", "has 1 bytes, and the length"),
    "seven bytes": (bytes(7), "has 7 bytes, and the length"),
    "a header of no bytes": (bytes(8), "promise a header of no bytes"),
    "a header of no bytes before data": (bytes(80), "promise a header of no bytes"),
    "a header one byte too long": (
        struct.pack("<Q", 100_000_001) + bytes(99),
        "of 100,000,001 bytes, and .* 100,000,000",
    ),
    "a header length of all ones": (b"\xff" * 8 + bytes(99), "of 18,446,744,073,709,551,615 bytes, and the format"),
    "a header length in big-endian": (struct.pack(">Q", 2) + b"{}", "of 144,115,188,075,855,872 bytes, and the format"),
    "a header past the end": (struct.pack("<Q", 1000) + b"{}", "should have 1,000 bytes, and the file ends after 2"),
    "no header after its length": (struct.pack("<Q", 2), "should have 2 bytes, and the file ends after 0"),
}


def content(header: object) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(24)


DAMAGED = {name: (content(header), words) for name, (header, words) in HEADERS.items()} | NAMELESS


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_in_words_of_its_own(tmp_path: Path, name: str) -> None:
    data, words = DAMAGED[name]
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=words) as refusal:
        Checkpoint.open(path)
    assert str(refusal.value).startswith(f"{path} is not a sound safetensors file: ") or "entry for 'a'" in words
    assert len(str(refusal.value)) < len(str(path)) + 400


def test_safetensors_judges_all_of_them_damaged_and_there_are_at_least_eighty() -> None:
    tolerated = {"an entry that is a list"}  # an array in place of an object: nobody writes it, and we do not read it
    for name, (data, _) in DAMAGED.items():
        if name not in tolerated:
            with pytest.raises(safetensors.SafetensorError):
                safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    assert len(DAMAGED) >= 80


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = content({"__metadata__": {"format": "pt"}, "a": A, "b": B})
    path = tmp_path / "cut.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="cut off"):
            Checkpoint.open(path)
    path.write_bytes(whole)
    assert list(Checkpoint.open(path)) == ["a", "b"]


def test_a_file_with_anything_appended_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "longer.safetensors"
    path.write_bytes(content({"a": A, "b": B}) + b"\0")
    with pytest.raises(CheckpointError, match="and 1 more follow"):
        Checkpoint.open(path)


@pytest.mark.parametrize("text", [b"[", b" ", b"1", b'"a', b"\0"], ids=repr)
def test_a_header_of_ninety_megabytes_of_nothing_is_refused_in_bounded_memory(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "large.safetensors"
    size = 90_000_000
    with path.open("wb") as file:
        file.write(struct.pack("<Q", size) + (text * size)[:size])
    script = (
        "import sys; from minigpt2 import Checkpoint, CheckpointError\n"
        "try: Checkpoint.open(sys.argv[1])\n"
        "except CheckpointError as error: print(str(error).startswith(sys.argv[1]))\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    command = [sys.executable, "-c", script, str(path)]
    refused, peak = subprocess.check_output(command, env=environment(), cwd=ROOT, text=True, timeout=60).split()
    assert refused == "True"
    assert int(peak) * 1024 < 100_000_000 + 3 * size, "the header, and no more than twice that again"
    os.truncate(path, 0)  # pytest keeps it
