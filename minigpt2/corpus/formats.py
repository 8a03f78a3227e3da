"""The files that training programs read, made of one flat file: ids, `end` after each document.

- `bin`: nanoGPT's, which is the flat file itself.
- `llm.c`: a header of 256 int32 (20240520, 1, the number of tokens), then uint16, `end` before each document. A
  file holds fewer than 2**31 tokens; further files are numbered.
- `megatron`: the flat `.bin`, and an `.idx` with the lengths and offsets of the documents.

With `val_fraction`, a second set of files holds that share of the documents.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from glob import escape
from math import ceil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

FORMATS = ("bin", "llm.c", "megatron")
MEGATRON_INDEX = b"MMIDIDX\0\0"  # how its `.idx` begins

_BLOCK = 8 << 20  # bytes of ids that are copied at a time
_LLM_C_MOST = (1 << 31) - 1  # tokens of one file: their number is an int32
_MEGATRON_DTYPES = {"<u2": 8, "<u4": 4}  # its codes; ids of four bytes are int32 there

Ids = NDArray[Any]  # token ids, shape (tokens,)
Blocks = Callable[[], Iterator[Ids]]  # the ids of a file, some at a time, from the start whenever it is called
Create = Callable[[Path], BinaryIO]


@dataclass(frozen=True)
class Written:
    """A file of ids as the summary lists it: its name, its tokens and the documents that end in it."""

    path: str
    tokens: int
    documents: int


@dataclass(frozen=True)
class FileFormat:
    """The files that the ids go to.

    Attributes:
        name: one of `FORMATS`.
        val_fraction: the share of the documents that goes to a second set of files; 0 for none.
        seed: which documents these are.
    """

    name: str = "bin"
    val_fraction: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in FORMATS:
            raise ValueError(f"the output format is one of {', '.join(FORMATS)}, not {self.name!r}")
        if not 0 <= self.val_fraction < 1:
            raise ValueError(
                f"val_fraction is a share of the documents, from 0 to less than 1, not {self.val_fraction}"
            )

    @property
    def is_flat(self) -> bool:
        """Whether the flat file is already what is wanted."""
        return self.name == "bin" and not self.val_fraction

    @property
    def needs_documents(self) -> bool:
        """Whether it matters which ids belong to which document."""
        return self.name == "megatron" or self.val_fraction > 0

    def outputs(self, output: Path) -> list[Path]:
        """The files of ids: OUT and, where there is a second set, its first.

        >>> [path.name for path in FileFormat(val_fraction=0.1).outputs(Path("train.bin"))]
        ['train.bin', 'val.bin']
        >>> [path.name for path in FileFormat(val_fraction=0.1).outputs(Path("ids.bin"))]
        ['ids.bin', 'ids_val.bin']
        """
        return [output, validation_path(output)] if self.val_fraction else [output]

    def companions(self, output: Path) -> list[Path]:
        """Every file that is written besides OUT, except those that llm.c numbers."""
        outputs = self.outputs(output)
        return outputs[1:] + [path.with_suffix(".idx") for path in outputs if self.name == "megatron"]

    def numbered(self, output: Path) -> list[Path]:
        """The files whose names are those of llm.c's further files, which may be written."""
        outputs = self.outputs(output) if self.name == "llm.c" else []
        globs = (f"{escape(path.stem)}_{'[0-9]' * 6}{escape(path.suffix)}" for path in outputs)
        return [path for each in globs for path in output.parent.glob(each)]

    def refuse_stale(self, output: Path) -> None:
        """Refuse, before the work, an existing second file, which `write` refuses after it.

        Raises:
            ValueError: there is such a file.
        """
        if self.name == "llm.c":
            for path in self.outputs(output):
                _refuse_stale(path, 1)

    def check(self, output: str | os.PathLike[str], dtype: str) -> None:
        """Refuse an output or a vocabulary that the format has no room for.

        Raises:
            ValueError: it has none.
        """
        if self.name == "megatron" and Path(output).suffix != ".bin":
            raise ValueError(f"Megatron reads NAME.bin and NAME.idx: let the name end in .bin, not {os.fspath(output)}")
        if self.name == "llm.c" and dtype != "<u2":
            raise ValueError("llm.c's files of GPT-2 hold two bytes a token, and this vocabulary needs four")

    def require_enough(self, documents: int) -> None:
        """Refuse so few documents that there is none for validation, or none beside it.

        Raises:
            ValueError: there are so few.
        """
        if self.val_fraction:
            group = ceil(1 / Fraction(str(self.val_fraction)))  # of so many, one is drawn
            is_val = validation(self.val_fraction, self.seed, 0, min(documents, group))
            if is_val.all() or not is_val.any():
                count = "1 document is" if documents == 1 else f"{documents:,} documents are"
                raise ValueError(
                    f"{count} too few for a val_fraction of {self.val_fraction}: a file would have none; "
                    "a --separator makes several of one text"
                )

    def write(self, flat: Path, output: Path, dtype: str, end: int, create: Create) -> list[Written]:
        """Make the files of the flat one, OUT the first; `create` opens each of them for writing.

        Raises:
            OSError: they cannot be written.
            ValueError: a document is longer than a file can hold, or a file of another corpus is in the way.
        """
        written: list[Written] = []
        for path, is_val in zip(self.outputs(output), (False, True), strict=False):
            blocks = partial(_blocks, flat, dtype)
            if self.val_fraction:
                blocks = partial(_documents, blocks, end, partial(self._is_val, is_val))
            written += _WRITERS[self.name](path, blocks, end, create)
        return written

    def _is_val(self, wanted: bool, first: int, count: int) -> NDArray[np.bool_]:
        is_val = validation(self.val_fraction, self.seed, first, count)
        return is_val if wanted else ~is_val


def validation(fraction: float, seed: int, first: int, count: int) -> NDArray[np.bool_]:
    """Whether each of `count` documents from number `first` on is for validation, shape (count,).

    Of every 1/fraction documents that follow each other, one is drawn: the share is exact, and a document's lot depends
    on nothing but its number and the seed.

    >>> validation(0.25, 0, 0, 12).reshape(3, 4).sum(axis=1).tolist()
    [1, 1, 1]
    """
    share = Fraction(str(fraction))
    is_val = np.zeros(count, np.bool_)
    for group in range(int(first * share), int((first + count) * share) + 1):
        begin, end = -(-group // share), -(-(group + 1) // share)  # the numbers of its documents, rounded up
        lot = hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()
        drawn = begin + int.from_bytes(lot, "little") % (end - begin)
        if first <= drawn < first + count:
            is_val[drawn - first] = True
    return is_val


def validation_path(output: Path) -> Path:
    """The name of the second set's file."""
    name = output.name.replace("train", "val") if "train" in output.name else f"{output.stem}_val{output.suffix}"
    return output.with_name(name)


def _blocks(flat: Path, dtype: str) -> Iterator[Ids]:
    with flat.open("rb") as file:
        while data := file.read(_BLOCK):
            yield np.frombuffer(data, dtype)


def _documents(blocks: Blocks, end: int, wanted: Callable[[int, int], NDArray[np.bool_]]) -> Iterator[Ids]:
    """The ids of some of the documents. `wanted` is asked for the first document's number and how many there are."""
    number = 0
    for ids in blocks():
        ends = np.flatnonzero(ids == end) + 1  # (documents that end here,)
        lengths = np.diff(ends, prepend=0, append=len(ids))  # (documents + 1,): the last goes on
        yield ids[np.repeat(wanted(number, len(lengths)), lengths)]
        number += len(ends)


def _count(ids: Ids, end: int) -> int:
    return int(np.count_nonzero(ids == end))


def _write_flat(path: Path, blocks: Blocks, end: int, create: Create) -> list[Written]:
    file = create(path)
    tokens = documents = 0
    for ids in blocks():
        file.write(ids.data)
        tokens += len(ids)
        documents += _count(ids, end)
    return [Written(path.name, tokens, documents)]


def _write_llm_c(path: Path, blocks: Blocks, end: int, create: Create) -> list[Written]:
    written: list[Written] = []
    for ids in _ends_first(blocks(), end):
        rest = ids
        while len(rest):
            if not written or written[-1].tokens == _LLM_C_MOST:
                file = create(_numbered(path, len(written)))
                written.append(Written(_numbered(path, len(written)).name, 0, 0))
            last = written[-1]
            part, rest = np.split(rest, [_LLM_C_MOST - last.tokens])
            written[-1] = Written(last.path, last.tokens + len(part), last.documents + _count(part, end))
            _append_llm_c(file, part, written[-1].tokens)
    _refuse_stale(path, len(written))
    return written


def _refuse_stale(path: Path, number: int) -> None:
    stale = _numbered(path, number)
    if stale.exists():
        raise ValueError(
            f"{stale} would be read as a part of this corpus, if the corpus has fewer files: delete it first"
        )


def _append_llm_c(file: BinaryIO, ids: Ids, tokens: int) -> None:
    """Write ids at the end of a file, and at its start how many it has."""
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, tokens
    file.seek(0)
    file.write(header.data)
    file.seek(0, os.SEEK_END)
    file.write(ids.data)


def _ends_first(blocks: Iterator[Ids], end: int) -> Iterator[Ids]:
    """The same ids with each document's `end` before it: one more at the start, and not the last."""
    held: Ids | None = None
    for ids in blocks:
        if len(ids):
            held = np.array([end], ids.dtype) if held is None else held
            yield np.concatenate([held, ids[:-1]])
            held = ids[-1:]


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}_{number:06}{path.suffix}") if number else path


def _write_megatron(path: Path, blocks: Blocks, end: int, create: Create) -> list[Written]:
    (written,) = _write_flat(path, blocks, end, create)
    index = create(path.with_suffix(".idx"))
    dtype = next(blocks()).dtype
    counts = np.array([written.documents, written.documents + 1], "<u8")
    index.write(MEGATRON_INDEX + np.array(1, "<u8").tobytes() + bytes([_MEGATRON_DTYPES[dtype.str]]) + counts.tobytes())
    for lengths in _lengths(blocks(), end):
        if (lengths >= 1 << 31).any():
            raise ValueError("a document has 2**31 tokens or more, and Megatron's index has no room for that")
        index.write(lengths.astype("<i4").data)
    start = 0
    for lengths in _lengths(blocks(), end):
        ends = start + np.cumsum(lengths) * dtype.itemsize
        index.write((ends - lengths * dtype.itemsize).astype("<i8").data)
        start = ends[-1]
    for first in range(0, written.documents + 1, _BLOCK):
        index.write(np.arange(first, min(first + _BLOCK, written.documents + 1), dtype="<i8").data)
    return [written]


def _lengths(blocks: Iterator[Ids], end: int) -> Iterator[NDArray[np.int64]]:
    """The number of tokens of each document, some documents at a time."""
    before = 0  # the tokens so far of the document that goes on
    for ids in blocks:
        ends = np.flatnonzero(ids == end) + 1
        if len(ends):
            yield np.diff(ends, prepend=-before)
            before = len(ids) - int(ends[-1])
        else:
            before += len(ids)


_WRITERS = {"bin": _write_flat, "llm.c": _write_llm_c, "megatron": _write_megatron}
