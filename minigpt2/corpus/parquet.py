"""A column of a Parquet file, some rows at a time."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from minigpt2.archives import BEGINNING, other_kind
from minigpt2.corpus.opening import fault, opened, require_unchanged
from minigpt2.corpus.sources import Source
from minigpt2.forking import FORK_WAITS, ordered_hooks
from minigpt2.hub.errors import HubError

_FEW, _MANY = 64, 1 << 15  # rows that are decoded at a time, and that are handed on
_DECODED = 16 << 20  # bytes of texts from a dictionary that are decoded at a time
_BUFFER = 1 << 20  # bytes that are read at a time: otherwise a column of a row group would be read as a whole
_DICTIONARY_PAGE = bytes([0x15, 2 * 2, 0x15])  # how the header of such a page begins: its kind is 2


def rows(source: Source, field: str, start: int, size: int) -> Iterator[tuple[list[bytes], float]]:
    """The UTF-8 of a column from a row on, about `size` bytes at a time, each with the share of rows that are read.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, has no such column of strings, or a row has none.
        ImportError: pyarrow is not installed.
    """
    try:
        with FORK_WAITS, ordered_hooks():  # `compute` is imported at the first cast
            import pyarrow
            from pyarrow import compute, parquet, types  # noqa: F401
    except ModuleNotFoundError:
        raise ImportError("reading .parquet files needs the package pyarrow: pip install 'minigpt2[parquet]'") from None
    if source.is_stream:
        raise ValueError(f"{source.shown} is a stream, and a table cannot be read from its start to its end: save it")
    with opened(source) as (stored, _):
        try:
            file = parquet.ParquetFile(stored, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True)
            _require_strings(source, file.schema_arrow, field)
            yield from _parts(_rows(source, stored, file, field, start, size), start, size, file.metadata.num_rows)
        except MemoryError:
            raise  # also one of pyarrow's own
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # the last of a column's name
            if isinstance(error, HubError) or (isinstance(error, OSError) and error.errno):
                raise  # it could not be read: pyarrow's own errors have no number
            require_unchanged(source, stored)
            raise ValueError(f"{source.name} {_fault(source, stored, error)}") from None
        require_unchanged(source, stored)


def _fault(source: Source, stored: BinaryIO, error: Exception) -> str:
    """Why pyarrow cannot read a file: it is damaged, beyond pyarrow, or the whole file was compressed."""
    import pyarrow

    if isinstance(error, pyarrow.ArrowNotImplementedError):
        return f"has what pyarrow cannot read: {error}"
    stored.seek(0)
    if other := other_kind(stored.read(BEGINNING)):
        what, command = other
        return f"is {what}, and a table is read in parts: `{command}` unpacks it"
    return f"is {fault(source, stored, error)}"


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


def _rows(source: Source, stored: BinaryIO, file: Any, field: str, start: int, size: int) -> Iterator[bytes]:
    """The UTF-8 of each row from `start` on.

    A few rows are decoded at a time. Texts are not read as a dictionary, except where pyarrow's own schema says that
    the column is one: pyarrow keeps all of a dictionary until the end of the row group.
    """
    from pyarrow import types

    is_dictionary = types.is_dictionary(file.schema_arrow.field(field).type)  # a batch costs as much as its dictionary
    row = 0
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        if row + group.num_rows <= start:
            row += group.num_rows
            continue
        few = _rows_at_once(source, stored, group, field, size)
        many = _MANY if is_dictionary else few
        for batch in file.iter_batches(many, row_groups=[number], columns=[field], use_threads=False):
            texts = batch.column(field)
            for first in range(max(start - row, 0), len(texts), few):
                yield from _utf8(source, field, texts[first : first + few], row + first)
            row += len(texts)


def _rows_at_once(source: Source, stored: BinaryIO, group: Any, field: str, size: int) -> int:
    """How many rows to decode at a time: a few, and fewer where their texts are long or may be.

    Any number of rows can have the longest text of a dictionary. Where texts share their beginnings, what is stored
    says nothing of how long they are.
    """
    columns = map(group.column, range(group.num_columns))
    column = next((column for column in columns if column.path_in_schema == field), None)
    if not column:
        raise ValueError(f"{source.name} is damaged: a row group has no column {field!r}")
    usual = size * group.num_rows // max(1, column.total_uncompressed_size)
    return int(max(1, min(_FEW, usual, _DECODED // max(1, _dictionary_size(source, stored, column)))))


def _dictionary_size(source: Source, stored: BinaryIO, column: Any) -> int:
    """The bytes of the dictionary of a column in a row group, not compressed; 0 if it has none.

    The header of its page begins with the page's kind and with this size, each after a byte that says which field it
    is. A number `n` is stored as `2 * n`, 7 bits a byte, the lowest first; the highest bit says that another byte
    follows. Source: https://parquet.apache.org/docs/file-format/data-pages/ and Thrift's compact protocol.
    """
    start = min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
    stored.seek(min(max(0, start), source.size))
    header = stored.read(8)
    if not header.startswith(_DICTIONARY_PAGE):
        return 0
    size = 0
    for index, byte in enumerate(header[len(_DICTIONARY_PAGE) :]):
        size |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            break
    return size // 2


def _parts(texts: Iterable[bytes], row: int, size: int, num_rows: int) -> Iterator[tuple[list[bytes], float]]:
    """Texts from a row on in lists of about `size` bytes, or of one text."""
    part: list[bytes] = []
    held = 0
    for text in texts:
        if part and (held + len(text) > size or len(part) == _MANY):
            row += len(part)
            yield part, row / num_rows
            part, held = [], 0
        part.append(text)
        held += len(text)
    if part:
        yield part, (row + len(part)) / num_rows


def _utf8(source: Source, field: str, texts: Any, row: int) -> list[bytes]:
    import pyarrow

    if texts.null_count:
        missing = row + texts.is_null().to_pylist().index(True)
        raise ValueError(f"{source.name}: column {field!r} has no text in row {missing}, counted from 0")
    plain = texts.dictionary_decode() if pyarrow.types.is_dictionary(texts.type) else texts
    utf8: list[bytes] = plain.cast(pyarrow.large_binary()).to_pylist()  # as bytes: they are not yet checked to be UTF-8
    return utf8
