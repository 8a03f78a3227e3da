"""What is wrong with a file that `safetensors` has refused, in words that name the place and the way out.

`safetensors` decides; this only explains. Where it finds nothing that it could name, it says what `safetensors` said.
"""

import json
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, Final, NoReturn

MOST_HEADER: Final = 100_000_000  # bytes, by the format
MOST_READ: Final = 1 << 20  # bytes of header that are gone through for an explanation
_BITS_OF: Final = {
    4: ["F4"],
    6: ["F6_E2M3", "F6_E3M2"],
    8: ["BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"],
    16: ["U16", "I16", "F16", "BF16"],
    32: ["U32", "I32", "F32"],
    64: ["U64", "I64", "F64", "C64"],
}
BITS: Final = {dtype: bits for bits, dtypes in _BITS_OF.items() for dtype in dtypes}


class _Found(Exception):  # noqa: N818  # no error: it carries an explanation out
    """What is wrong."""


def explanation(path: Path, error: str) -> str:
    """What is wrong with the file that `safetensors` refused with this error.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     path = Path(directory) / "model.safetensors"
    ...     _ = path.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    ...     explanation(path, "header too large")
    'it is a Git LFS pointer, not the weights: run `git lfs pull` where it was cloned'
    """
    with path.open("rb") as file:
        start = file.read(8 + MOST_READ)
    size = path.stat().st_size
    try:
        _refuse_foreign(start[:64].lstrip().lower())
        _check(start, size)
    except _Found as found:
        return str(found)
    except RecursionError:  # to show a value is as deep as to read it
        pass
    return f"{error.removeprefix('Error while deserializing header: ')} (the file has {size:,} bytes)"


def _refuse_foreign(start: bytes) -> None:
    """Find out what else it is, where the first bytes tell."""
    if start.startswith((b"pk\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        _found(
            "it is a pickle, as torch.save writes it, which can run code when it is loaded and so is not read here; "
            "load it with transformers where you trust it, and save_pretrained() writes a model.safetensors"
        )
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        _found("it is a web page, so the download went wrong: download the file again")
    if start.startswith(b"version https://git-lfs"):
        _found("it is a Git LFS pointer, not the weights: run `git lfs pull` where it was cloned")


def _check(start: bytes, size: int) -> None:
    """Go through the rules of the format in their order, up to the first that is broken."""
    if size < 8:
        _found(f"it has {size} bytes, and the length of its header alone takes 8: it was cut off")
    length = int.from_bytes(start[:8], "little")
    if not length:
        _found("its first 8 bytes promise a header of no bytes, and the least is {}")
    if length > MOST_HEADER:
        _found(f"its first 8 bytes promise a header of {length:,} bytes, and the format allows {MOST_HEADER:,}")
    if 8 + length > size:
        _found(f"its header should have {length:,} bytes, and the file ends after {size - 8:,} of them: it was cut off")
    if length <= MOST_READ:
        header = _object(start[8 : 8 + length])
        _check_metadata(header.pop("__metadata__", None))
        for name, entry in header.items():
            _check_entry(name, entry)
        _check_layout({name: entry["data_offsets"] for name, entry in header.items()}, size - 8 - length)


def _object(text: bytes) -> dict[str, Any]:
    """The header's JSON object."""
    try:
        header = json.loads(text.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_repetition)
    except UnicodeDecodeError as error:
        _found(f"its header is not UTF-8: byte 0x{text[error.start]:02X} at byte {error.start} of it")
    except json.JSONDecodeError as error:
        _found(f"its header is not JSON: {error.msg} at character {error.pos}")
    except RecursionError:
        _found("its header is nested without end")
    except ValueError:
        _found("its header has a number of thousands of digits")
    if not isinstance(header, dict):
        _found(f"its header is no JSON object but a {type(header).__name__}")
    return header


def _no_constant(name: str) -> NoReturn:
    _found(f"its header is not JSON: {name} is none of its numbers")


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for field in ("dtype", "shape", "data_offsets"):
        if sum(key == field for key, _ in pairs) > 1:
            _found(f"an entry of its header has {field} twice")
    return dict(pairs)


def _check_metadata(metadata: object) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        _found(f"its __metadata__ is no object but {_short(metadata)}")
    for key, text in metadata.items():
        if not isinstance(text, str):
            _found(f"its __metadata__ has {_short(text)} for {key!r}, where there is only text")


def _check_entry(name: str, entry: object) -> None:
    """Check what the header says of one tensor."""
    whose = f"its header's entry for tensor {name!r}"
    if not isinstance(entry, dict):
        _found(f"{whose} is no object but {_short(entry)}")
    for field in ("dtype", "shape", "data_offsets"):
        if field not in entry:
            _found(f"{whose} has no {field}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        _found(f"{whose} has the dtype {_short(dtype)}, which the format does not know")
    if not _is_sizes(shape):
        _found(f"{whose} has the shape {_short(shape)}, which is no list of sizes")
    if not _is_sizes(offsets) or len(offsets) != 2:
        _found(f"{whose} has the data_offsets {_short(offsets)}, which are no two places in the data")
    if offsets[0] > offsets[1]:
        _found(f"{whose} begins at byte {offsets[0]} and ends before that, at {offsets[1]}")
    bits, span = prod(shape) * BITS[dtype], offsets[1] - offsets[0]
    if bits >= 1 << 64:
        _found(f"{whose} has the shape {_short(shape)}, which is more than any file holds")
    if bits != 8 * span:
        _found(f"{whose} gives {span} bytes to {dtype} of shape {_short(shape)}, which takes {-(-bits // 8)}")


def _is_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 1 << 64 for each in value)


def _check_layout(offsets: dict[str, list[int]], size: int) -> None:
    """Check that the tensors lie one after another over all of the data."""
    order = sorted(offsets, key=lambda name: offsets[name])
    ends = [("", 0), *((name, offsets[name][1]) for name in order)]
    for (before, end), (name, _) in pairwise(ends):
        begin = offsets[name][0]
        if begin < end:
            _found(
                f"tensors {before!r} and {name!r} overlap: one ends at byte {end} of the data, one begins at {begin}"
            )
        if begin > end:
            _found(f"bytes {end} to {begin} of the data, before tensor {name!r}, belong to no tensor")
    last, end = ends[-1]
    if end > size:
        _found(f"tensor {last!r} ends at byte {end:,} of the data, and the file has {size:,} of them: it was cut off")
    if end < size:
        _found(f"its tensors take {end:,} bytes, and {size - end:,} more follow them: it is damaged, or not all of it")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _found(what: str) -> NoReturn:
    raise _Found(what)
