"""The shards of a corpus to the files of the whole."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigpt2.atomic_write import naming, resolved
from minigpt2.corpus.counts import Counts, SourceCounts, added
from minigpt2.corpus.formats import FileFormat
from minigpt2.corpus.output import Output, Paths, summary_path
from minigpt2.corpus.shards import Shard

_BLOCK = 8 << 20  # bytes that are copied at a time
_DTYPES = {"uint16": "<u2", "uint32": "<u4"}
# The summary of a shard: objects with exactly these keys, lists of one kind of value, and the types of values.
_COUNTS = dict.fromkeys(("bytes", "documents", "tokens"), int)
_OPTIONS: dict[str, Any] = dict.fromkeys(("errors", "field", "output_format", "sources"), str)
_OPTIONS |= dict.fromkeys(("input_format", "separator"), str | None) | {"val_fraction": int | float, "seed": int}
_CUT = {"source": int, "byte": int, "sha256": str}
_SUMMARY = _COUNTS | {
    "dtype": str,
    "byteorder": str,
    "eos_token_id": int,
    "vocabulary": dict,
    "sources": [_COUNTS | {"path": str}],
    "shard": {"number": int, "count": int, "indices": [int], "starts": [_CUT], "stops": [_CUT], "of": _OPTIONS},
}
_MOST_NAMED = 4  # missing shards

_SAME = ("dtype", "byteorder", "eos_token_id", "vocabulary")  # what else the shards of one corpus have in common

Name = str | os.PathLike[str]


class _Written(NamedTuple):
    """A shard's file and what its summary says."""

    path: Path
    shard: Shard
    summary: dict[str, Any]


def merge(shards: Name | Sequence[Name], output: Name) -> Counts:
    """Join the shards that `tokenize(..., shard=(i, n))` wrote, given in any order, to the file of the whole corpus.

    The files are those that `tokenize` without `shard` writes, byte for byte, in the format that the shards were asked
    for. Memory is bounded; the output appears whole or not at all.

    Raises:
        OSError: a shard cannot be read, or the output not written.
        ValueError: a file is not a shard, a shard is missing, there twice or incomplete, or they are not of one corpus.

    >>> from tempfile import TemporaryDirectory
    >>> from minigpt2.corpus import tokenize
    >>> with TemporaryDirectory() as directory:
    ...     for name in ["a", "b", "c"]:
    ...         _ = Path(directory, f"{name}.txt").write_text(name)
    ...     for i in [2, 1]:
    ...         _ = tokenize(f"{directory}/*.txt", f"{directory}/{i}.bin", shard=(i, 2))
    ...     merge([f"{directory}/1.bin", f"{directory}/2.bin"], f"{directory}/all.bin").tokens
    6
    """
    names = [shards] if isinstance(shards, (str, os.PathLike)) else list(shards)
    written = sorted(map(_read, names), key=lambda each: each.shard)
    _require_all(written)
    _require_same_cuts(written)
    first = written[0].summary
    options = first["shard"]["of"]
    file_format = FileFormat(options["output_format"], options["val_fraction"], options["seed"])
    file_format.check(output, _DTYPES[first["dtype"]])
    paths = Paths(output, file_format)
    for each in written:
        if any(map(paths.written_over, [each.path, _description(each.path)])):
            raise ValueError(f"{each.path} is a shard, and the corpus would be written over it: name another output")
    counts = _counts(written)
    dtype, end = _DTYPES[first["dtype"]], first["eos_token_id"]
    with Output(paths, [], dict, dtype, end, can_continue=False, resume=False) as out:
        for each in written:
            left = each.summary["tokens"] * np.dtype(dtype).itemsize
            for data in _blocks(each.path):
                out.write(data)
                left -= len(data)
            if left:
                raise ValueError(f"{each.path} changed while it was read: try again when nothing writes to it")
        if not counts.documents:
            raise ValueError("there is no document in the shards")
        file_format.require_enough(counts.documents)
        out.finish({key: first[key] for key in _SAME} | asdict(counts))
    return counts


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while True:
            with naming(path):
                data = file.read(_BLOCK)
            if not data:
                return
            yield data


def _read(name: Name) -> _Written:
    """A shard with its summary.

    Raises:
        OSError: one of the two cannot be read.
        ValueError: the file is not what its summary says, or that not of a shard.
    """
    path = Path(name)
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError(f"{path} is not a file, and a shard is one")
    described = _description(path)
    try:
        with naming(described):
            summary = json.loads(described.read_bytes())
        _require_form(summary, _SUMMARY)
        shard = Shard(summary["shard"]["number"], summary["shard"]["count"])
        counts = asdict(added([SourceCounts(**each) for each in summary["sources"]]))
        if not 1 <= shard.number <= shard.count or any(counts[key] != summary[key] for key in counts):
            raise ValueError
        if len(summary["shard"]["indices"]) != len(summary["sources"]):
            raise ValueError
        expected = summary["tokens"] * np.dtype(_DTYPES[summary["dtype"]]).itemsize
    except (FileNotFoundError, ValueError, LookupError, RecursionError):
        raise ValueError(f"{path} is not a finished shard: {described} does not say that it is") from None
    if size != expected:
        raise ValueError(f"{path} has {size:,} bytes, and not the {expected:,} of the shard that {described} describes")
    return _Written(path, shard, summary)


def _description(path: Path) -> Path:
    """The path of a shard's summary: beside the shard, or beside the target of a symbolic link."""
    beside = summary_path(path)
    return summary_path(resolved(path)) if path.is_symlink() and not beside.exists() else beside


def _require_form(value: object, form: Any) -> None:
    """Refuse a value of JSON that has another form than `_SUMMARY` says.

    Raises:
        ValueError: it has.
    """
    if isinstance(form, dict) and isinstance(value, dict) and value.keys() == form.keys():
        for key, each in form.items():
            _require_form(value[key], each)
    elif isinstance(form, list) and isinstance(value, list):
        for item in value:
            _require_form(item, form[0])
    elif isinstance(form, dict | list) or isinstance(value, bool) or not isinstance(value, form):
        raise ValueError(f"{value!r} is not {form}")


def _require_all(written: Sequence[_Written]) -> None:
    """Refuse what is not every shard of one corpus.

    Raises:
        ValueError: a shard is missing, there twice, or of another corpus.
    """
    if not written:
        raise ValueError("nothing to merge: name the shards")
    first = _common(written[0])
    for each in written:
        common = _common(each)
        for key in first:
            if common.get(key) != first[key]:
                raise ValueError(
                    f"{each.path} is a shard of another corpus than {written[0].path}: "
                    f"{key} is {common.get(key)!r} there and {first[key]!r} here"
                )
    paths: dict[int, Path] = {}
    for each in written:
        if each.shard.number in paths:
            raise ValueError(f"{paths[each.shard.number]} and {each.path} are both shard {each.shard}")
        paths[each.shard.number] = each.path
    count = written[0].shard.count
    if missing := count - len(paths):
        named = islice(
            (str(Shard(number, count)) for number in range(1, count + 1) if number not in paths), _MOST_NAMED
        )
        more = f" and {missing - _MOST_NAMED:,} more" if missing > _MOST_NAMED else ""
        raise ValueError(f"{'a shard is' if missing == 1 else 'shards are'} missing: {', '.join(named)}{more}")


def _require_same_cuts(written: Sequence[_Written]) -> None:
    """Refuse shards that found different text around a place where a source of the same name and size is cut.

    Then one may lack documents that the other has twice. What changed far from all cuts is not seen.

    Raises:
        ValueError: one stops where no other starts, or something else stood there.
    """

    def cuts(each: _Written, key: str) -> set[tuple[Any, ...]]:
        return {tuple(cut.values()) for cut in each.summary["shard"][key]}

    different = set.union(*(cuts(each, "starts") for each in written))
    different ^= set.union(*(cuts(each, "stops") for each in written))
    if different:
        odd = [each.shard.number for each in written if different & (cuts(each, "starts") | cuts(each, "stops"))]
        named = [str(each.path) for each in written if abs(each.shard.number - odd[0]) <= 1]  # with its neighbours
        raise ValueError(f"{', '.join(named)}: a source was changed between these shards: tokenize all shards again")


def _common(written: _Written) -> Mapping[str, Any]:
    summary = written.summary
    return {"count": written.shard.count, **summary["shard"]["of"], **{key: summary[key] for key in _SAME}}


def _counts(written: Sequence[_Written]) -> Counts:
    """The counts of all; a source that several shards share is counted once."""
    totals: dict[int, SourceCounts] = {}
    for each in written:
        parts = (SourceCounts(**counts) for counts in each.summary["sources"])
        for index, part in zip(each.summary["shard"]["indices"], parts, strict=True):
            path, *before = astuple(totals.get(index, SourceCounts(part.path, 0, 0, 0)))
            totals[index] = SourceCounts(
                path, before[0] + part.bytes, before[1] + part.documents, before[2] + part.tokens
            )
    return added([totals[index] for index in sorted(totals)])
