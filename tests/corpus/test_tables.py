"""Parquet tables: whatever their encoding, they are read some rows at a time and in little memory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from minigpt2.corpus import tokenize
from minigpt2.corpus.parquet import rows
from minigpt2.corpus.sources import find
from tests.corpus.samples import DOCUMENTS, ids_of, read, write_table

SIZE = 1 << 16
PLAIN: dict[str, Any] = {"use_dictionary": False}
FILES: dict[str, dict[str, Any]] = {
    "a dictionary, then texts": {},
    "texts": PLAIN,
    "zstd": {"compression": "zstd"},
    "pages of version 2": {"data_page_version": "2.0"},
    "lengths": PLAIN | {"column_encoding": "DELTA_LENGTH_BYTE_ARRAY"},
    "beginnings": PLAIN | {"column_encoding": "DELTA_BYTE_ARRAY"},
}
STRINGS = [pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()]


def most_memory(parts: Iterator[list[bytes]]) -> int:
    """The most bytes that pyarrow has at once while a table is read to its end."""
    usual = pyarrow.default_memory_pool()
    pool = pyarrow.proxy_memory_pool(usual)
    pyarrow.set_memory_pool(pool)
    try:
        for _ in parts:
            pass
    finally:
        pyarrow.set_memory_pool(usual)
    return int(pool.max_memory())


def parts_of(path: Path, start: int = 0) -> Iterator[list[bytes]]:
    (source,) = find([str(path)])
    return (part for part, _ in rows(source, "text", start, SIZE))


def write(path: Path, texts: Any, **options: Any) -> None:
    """A table of one column, whose texts are read as texts even where pyarrow has them as a dictionary."""
    parquet.write_table(pyarrow.table({"text": texts}), path, store_schema=False, **options)


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_a_table_is_read_whatever_its_encoding(encoding: str, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", DOCUMENTS, use_dictionary=False, column_encoding=encoding)
    tokenize(tmp_path / "a.parquet", tmp_path / "out")
    assert read(tmp_path / "out") == ids_of(*DOCUMENTS)


@pytest.mark.parametrize("strings", STRINGS, ids=str)
@pytest.mark.parametrize("use_dictionary", [False, True])
def test_a_table_that_repeats_a_text_is_read_some_rows_at_a_time(
    use_dictionary: bool, strings: pyarrow.DataType, tmp_path: Path
) -> None:
    texts = ["long " * 2_000] * 300 + ["short"] * 300 + ["longer " * 20_000, "", "long " * 2_000]
    table = pyarrow.table({"text": pyarrow.array(texts, strings)})
    parquet.write_table(table, tmp_path / "a.parquet", use_dictionary=use_dictionary)
    parts = list(parts_of(tmp_path / "a.parquet", 7))
    assert [text.decode() for part in parts for text in part] == texts[7:]
    assert max(sum(map(len, part)) for part in parts if len(part) > 1) <= SIZE


@pytest.mark.parametrize("use_dictionary", [False, True])
def test_a_table_of_empty_texts_is_read_some_rows_at_a_time(use_dictionary: bool, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pyarrow.array([""] * 100_000), use_dictionary=use_dictionary)
    sizes = [len(part) for part in parts_of(tmp_path / "a.parquet")]
    assert sum(sizes) == 100_000 and max(sizes) <= 1 << 15


@pytest.mark.parametrize("strings", STRINGS, ids=str)
@pytest.mark.parametrize("options", FILES.values(), ids=FILES)
def test_a_row_group_of_distinct_texts_takes_a_few_megabytes(
    options: dict[str, Any], strings: pyarrow.DataType, tmp_path: Path
) -> None:
    texts = pyarrow.array([f"{number:05} " * 300 for number in range(20_000)], strings)  # 36 MB
    parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "a.parquet", **options)
    assert most_memory(parts_of(tmp_path / "a.parquet")) < 8 << 20


@pytest.mark.parametrize("length", [1, 10_000, 1_000_000, 10_000_000])
@pytest.mark.parametrize("distinct", [0, 2_000])
def test_a_row_group_that_repeats_a_text_takes_little_more_than_the_text(
    length: int, distinct: int, tmp_path: Path
) -> None:
    repeated = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1_000, pyarrow.int32()), ["x" * length])
    others = pyarrow.array([f"{number:05} " * 300 for number in range(distinct)], pyarrow.string())
    write(tmp_path / "a.parquet", pyarrow.chunked_array([repeated, others.dictionary_encode()]))
    assert most_memory(parts_of(tmp_path / "a.parquet")) < 3 * length + (48 << 20)


def test_a_suffix_can_name_the_compression_within_a_table(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet.gz", DOCUMENTS, compression="gzip")
    tokenize(tmp_path / "a.parquet.gz", tmp_path / "out")
    assert read(tmp_path / "out") == ids_of(*DOCUMENTS)


def test_a_column_beside_a_structure_of_its_name_is_read(tmp_path: Path) -> None:
    table = pyarrow.table({"m": [{"text": "no"}] * 2, "m.text": ["a", "b"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    tokenize(tmp_path / "a.parquet", tmp_path / "out", field="m.text")
    assert read(tmp_path / "out") == ids_of("a", "b")


FORKED_AT = """
import os, signal, sys, threading
from minigpt2.corpus import count

sys.setswitchinterval(1e-5)
path, module = sys.argv[1:]
threading.Thread(target=count, args=[path], daemon=True).start()
while module not in sys.modules:  # it is there from the start of its import
    pass
child = os.fork()
if not child:
    signal.alarm(20)  # ends a child that hangs
    from pyarrow import compute, parquet  # reading could wait for pyarrow's own locks

    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("module", ["pyarrow", "pyarrow.lib", "pyarrow.compute", "pyarrow.parquet"])
def test_a_child_forked_while_a_thread_imports_pyarrow_can_import_it(module: str, tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", ["a", "b"])
    command = [sys.executable, "-c", FORKED_AT, str(tmp_path / "a.parquet"), module]
    ended = subprocess.run(command, timeout=60, check=False)
    assert ended.returncode == 0
