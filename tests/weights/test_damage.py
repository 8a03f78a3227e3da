"""Every way in which a safetensors file can be damaged is refused when it is opened, by the file's name."""

import bz2
import errno
import gzip
import json
import lzma
import mmap
import os
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors

from minigpt2 import GPT2, Checkpoint, CheckpointError
from tests.weights.samples import gpt2_tensors, save

ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
A = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
B = {"dtype": "F32", "shape": [3], "data_offsets": [12, 24]}
SOUND = json.dumps(ENTRY)


def entry(**changes: object) -> dict[str, Any]:
    return {"a": ENTRY | changes}


# Headers, as JSON or as the text in its place, over 24 bytes of data.
NOT_JSON = [
    *(
        '{"a":{"dtype":"F32"',
        '{"a',
        "hello, world",
        "{}{}",
        f'{{"a":{SOUND},}}',
        f'{{"a":{SOUND}}}//',
        f"{{'a':{SOUND}}}",
    ),
    *(f'{{"a\n":{SOUND}}}', f'{{"\\x":{SOUND}}}', f'{{"\\ud800":{SOUND}}}', " ", "\0" * 16, f'{{"a":{SOUND}}}\0\0\0'),
    *(f'{{"a":{SOUND}}}'.replace("24", number) for number in ("+24", "024", "NaN", "Infinity", "1e99999", "1" * 5000)),
    *(f'\ufeff{{"a":{SOUND}}}', '{"a":' + "[" * 100_000, '{"a":' * 100_000),
]
NOT_UTF8 = [b'{"\xff":' + SOUND.encode() + b"}", b'{"\xed\xa0\x80":' + SOUND.encode() + b"}", SOUND.encode("utf-16")]
NOT_OBJECTS: list[Any] = [6, None, {}, [], "F32"]
NOT_TEXTS: list[Any] = [[], "x", {"k": 1}, {"k": None}, {"k": {"l": "m"}}]
NOT_TENSORS = [[1, 2], 12, "a", None, {}, *({"a": each} for each in NOT_OBJECTS)]
METADATA = [{"__metadata__": each, "a": ENTRY} for each in NOT_TEXTS]
FIELDS = [
    *({"a": {key: value for key, value in ENTRY.items() if key != field}} for field in ENTRY),
    *(f'{{"a":{{"{field}":{json.dumps(ENTRY[field])},{SOUND[1:]}}}' for field in ENTRY),
    *(entry(dtype=dtype) for dtype in ("F33", "f32", "float32", "", 32, None, ["F32"], "F16", "F64")),
    *(entry(shape=shape) for shape in ([-2, -3], [2.0, 3], [True, 6], ["2", 3], [None], [[2, 3]], 6, None, {"0": 6})),
    *(entry(shape=shape) for shape in ([2**64], [2**63, 2**63], [2, 4], [5], [0, 6])),
    *(entry(data_offsets=each) for each in ([-24, 0], [0, 24.0], [False, 24], ["0", "24"], [0, 2**64], [24], [], 24)),
    *(entry(data_offsets=each) for each in ([0, 12, 24], [24, 0], None)),
    entry(shape=[], data_offsets=[0, 0]),
    entry(shape=[2**62, 4], data_offsets=[0, 0]),
]
LAYOUTS = [
    {"a": ENTRY, "b": ENTRY},
    {"a": ENTRY, "b": B},
    {"b": B, "a": A | {"shape": [4], "data_offsets": [0, 16]}},
    {"a": A | {"shape": [2], "data_offsets": [0, 8]}, "b": B},
    entry(shape=[5], data_offsets=[0, 20]),
    entry(shape=[5], data_offsets=[4, 24]),
    entry(shape=[2, 4], data_offsets=[0, 32]),
    {"a": A, "b": B | {"shape": [2**50], "data_offsets": [12, 12 + 2**52]}},
]
HEADERS: list[object] = [*NOT_JSON, *NOT_UTF8, *NOT_TENSORS, *METADATA, *FIELDS, *LAYOUTS]


def content(header: object, data: bytes = bytes(24)) -> bytes:
    """A file with this header, as JSON or as the text in its place, and this data."""
    text = header.encode() if isinstance(header, str) else header
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(text)) + text + data


LENGTHS = [b"", b"\x01", bytes(7), bytes(8), bytes(80), struct.pack("<Q", 2), struct.pack("<Q", 1000) + b"{}"]
LENGTHS += [struct.pack("<Q", 100_000_001) + bytes(99), b"\xff" * 8 + bytes(99), struct.pack(">Q", 2) + b"{}"]
TORCH = b"PK\x03\x04" + bytes(22) + b"\x10\x00\x0c\x00archive/data.pklFB\x08\x00ZZZZZZZZ"  # how its archives begin
FOREIGN = {
    TORCH: "is a pickle, .* can run code .* save_pretrained",
    b"PK\x03\x04" + bytes(500): "is a zip archive: `unzip` unpacks it",
    gzip.compress(bytes(500), mtime=0): "is compressed by gzip: `gzip -dc` unpacks it",
    bz2.compress(bytes(500)): "is compressed by bzip2",
    lzma.compress(bytes(500)): "is compressed by xz",
    bytes(257) + b"ustar\x0000" + bytes(500): "is a tar archive",
    **{bytes([0x80, protocol]) + b"}q\x00." + bytes(500): "is a pickle" for protocol in (2, 3, 4, 5)},
    b"\n<!DOCTYPE html><html><body>Not found</body></html>": "is a web page, .* download .* again",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "is a web page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n": "git lfs pull",
}
OTHERS = [b'{"error":"Repository not found"}', b"\x89PNG\r\n\x1a\n" + bytes(100)]


@pytest.mark.parametrize("data", [*map(content, HEADERS), *LENGTHS, *FOREIGN, *OTHERS], ids=lambda data: str(len(data)))
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=FOREIGN.get(data)) as refusal:
        Checkpoint.open(path)
    message = str(refusal.value)
    assert message.startswith(str(path)) and len(message) < len(str(path)) + 500 and message.isprintable()


def test_an_entry_that_safetensors_takes_as_a_list_is_refused_too(tmp_path: Path) -> None:
    data = content({"a": ["F32", [6], [0, 24]]})
    safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.safetensors: the header's entry for 'a'"):
        Checkpoint.open(tmp_path)


def test_a_file_cut_off_anywhere_says_so(tmp_path: Path) -> None:
    whole = content({"__metadata__": {"format": "pt"}, "a": A, "b": B})
    path = tmp_path / "cut.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="cut off, so download or copy it again"):
            Checkpoint.open(path)
    path.write_bytes(whole)
    assert list(Checkpoint.open(path)) == ["a", "b"]


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "\u202e", "\x9b", "a" * 100_000])
def test_a_name_in_the_error_cannot_move_the_cursor_or_fill_the_screen(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content({"a": A, name: A}))
    with pytest.raises(CheckpointError) as refusal:
        Checkpoint.open(path)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < len(str(path)) + 500


MEGABYTE = 1_000_000
PATHOLOGICAL = {
    **{f"a megabyte of {text!r}": text * MEGABYTE for text in ("[", " ", "1", '"a', "\0")},
    "deep objects": '{"a":' * (MEGABYTE // 5),
    "a long float": '{"a":1' + "0" * MEGABYTE + ".0e-9999}",
    "tensors in one place": json.dumps({str(number): A for number in range(MEGABYTE // 70)}),
    "metadata again and again": "{" + '"__metadata__":{"a":"b"},' * (MEGABYTE // 25) + '"a":{}}',
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_a_header_made_to_take_long_is_refused_like_any_other(tmp_path: Path, name: str) -> None:
    path = tmp_path / "long.safetensors"
    path.write_bytes(content(PATHOLOGICAL[name]))
    with pytest.raises(CheckpointError, match=r"long\.safetensors is not a sound safetensors file"):
        Checkpoint.open(path)


@pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="there is one kind of mapping here")
def test_a_file_system_that_shares_no_mapping_does_for_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network's, mounted so that nothing of it is cached."""
    real = mmap.mmap

    def private_alone(descriptor: int, size: int, flags: int = mmap.MAP_SHARED, *more: int) -> mmap.mmap:
        if flags != mmap.MAP_PRIVATE:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return real(descriptor, size, flags, *more)

    monkeypatch.setattr(mmap, "mmap", private_alone)
    path = tmp_path / "a.safetensors"
    path.write_bytes(content({"a": ENTRY}))
    array = Checkpoint.open(path)["a"]
    assert array.shape == (2, 3) and not array.flags.writeable


def test_a_disk_that_fails_is_named_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "a.safetensors"
    path.write_bytes(content({"a": ENTRY}))
    weights = Checkpoint.open(path)
    monkeypatch.setattr("minigpt2.weights.safetensors_file.read_into", fail)
    monkeypatch.setattr("minigpt2.weights.safetensors_file.read_at", fail)
    for reads in (partial(weights.read_into, "a", np.empty((2, 3), np.float32)), partial(Checkpoint.open, path)):
        with pytest.raises(OSError, match="Input/output error") as raised:
            reads()
        assert raised.value.filename == str(path)


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "config.json"])
def test_json_that_is_a_pointer_of_git_lfs_is_named_as_one(name: str, tmp_path: Path) -> None:
    save(tmp_path, gpt2_tensors(), name="model.safetensors" if name == "config.json" else "other.safetensors")
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(
        CheckpointError, match=rf"{name} is not sound JSON: it is a Git LFS pointer, .*: run `git"
    ) as raised:
        GPT2.from_pretrained(tmp_path)
    assert str(raised.value).count(name) == 1
