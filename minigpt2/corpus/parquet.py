"""A column of a Parquet file, some rows at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigpt2.corpus.opening import opened, require_unchanged
from minigpt2.corpus.sources import Source

_FEW, _MANY = 64, 1 << 15  # rows: even empty ones take memory
_PLAIN = {"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}


def rows(source: Source, field: str, start: int, size: int) -> Iterator[tuple[list[bytes], float]]:
    """The UTF-8 of a column from a row on, about `size` bytes at a time, each with the share of rows that are read.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, has no such column of strings, or a row has none.
        ImportError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError("reading .parquet files needs the package pyarrow: pip install 'minigpt2[parquet]'") from None
    if source.is_stream:
        raise ValueError(f"{source.shown} is a stream, and a table cannot be read from its start to its end: save it")
    with opened(source) as (stored, _):
        try:
            metadata = parquet.read_metadata(stored)
            _require_strings(source, metadata.schema.to_arrow_schema(), field)
            # As a dictionary, where that can be done: a few kilobytes can hold gigabytes, one text in every row.
            fields = [field] if _is_plain(metadata, field) else []
            file = parquet.ParquetFile(
                stored, metadata=metadata, read_dictionary=fields, pre_buffer=False, page_checksum_verification=True
            )
            yield from _rows(source, file, field, start, size)
        except (pyarrow.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            require_unchanged(source, stored)
            raise ValueError(f"{source.name} is damaged: {error}") from None
        require_unchanged(source, stored)


def _require_strings(source: Source, schema: Any, field: str) -> None:
    from pyarrow import types

    if field not in schema.names:
        raise ValueError(f"{source.name} has no column {field!r}; it has {', '.join(map(repr, schema.names))}")
    if schema.names.count(field) > 1:
        raise ValueError(f"{source.name} has two columns {field!r}: rename one of them")
    kind = schema.field(field).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
        raise ValueError(f"{source.name}: column {field!r} is not text but {kind}")


def _rows(source: Source, file: Any, field: str, start: int, size: int) -> Iterator[tuple[list[bytes], float]]:
    row = 0
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        if row + group.num_rows <= start:
            row += group.num_rows
            continue
        # Where texts share their beginnings, what is stored says nothing of how long they are.
        at_once = _rows_at_once(group, field, size) if _is_plain(file.metadata, field) else _FEW
        for batch in file.iter_batches(at_once, row_groups=[number], columns=[field], use_threads=False):
            texts = batch.column(0)[max(start - row, 0) :]
            row += batch.num_rows
            for part in _parts(texts, size):
                first = row - len(texts) + part.start
                yield _utf8(source, field, texts[part], first), (first + len(texts[part])) / file.metadata.num_rows


def _rows_at_once(group: Any, field: str, size: int) -> int:
    stored = max(1, _column(group, field).total_uncompressed_size)
    return int(min(_MANY, max(1, size * group.num_rows // stored)))


def _column(group: Any, field: str) -> Any:
    """The metadata of a column in a row group."""
    columns = map(group.column, range(group.num_columns))
    return next(column for column in columns if column.path_in_schema == field)


def _is_plain(metadata: Any, field: str) -> bool:
    """Whether a column has only the encodings that pyarrow reads as a dictionary."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return all({*_column(group, field).encodings} <= _PLAIN for group in groups)


def _parts(texts: Any, size: int) -> Iterator[slice]:
    """Slices of an array of texts, each of about `size` bytes, or of one text."""
    from pyarrow import compute, types

    lengths = compute.binary_length(texts.dictionary if types.is_dictionary(texts.type) else texts)
    if types.is_dictionary(texts.type):
        lengths = lengths.take(texts.indices)
    ends = np.cumsum(compute.fill_null(lengths, 0).to_numpy(zero_copy_only=False), dtype=np.int64)
    start, before = 0, 0
    while start < len(texts):
        stop = min(start + _MANY, max(start + 1, int(np.searchsorted(ends, before + size, "right"))))
        yield slice(start, stop)
        start, before = stop, int(ends[stop - 1])


def _utf8(source: Source, field: str, texts: Any, row: int) -> list[bytes]:
    import pyarrow

    if texts.null_count:
        missing = row + texts.is_null().to_pylist().index(True)
        raise ValueError(f"{source.name}: column {field!r} has no text in row {missing}, counted from 0")
    plain = texts.dictionary_decode() if pyarrow.types.is_dictionary(texts.type) else texts
    utf8: list[bytes] = plain.cast(pyarrow.large_binary()).to_pylist()  # as bytes: they are not yet checked to be UTF-8
    return utf8
