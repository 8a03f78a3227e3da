"""Documents, the ids that they should become, and every way to store them."""

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
from backports import zstd
from pyarrow import parquet

from minigpt2 import Tokenizer
from tests.parity.references import tiktoken_encoding

END = 50256
DOCUMENTS = ["The meaning of life is", "", "été<|endoftext|> 日本語。\n\r\n  x", "a 'll " * 700, "\ufeffx\u3000 \x00"]

Write = Callable[[Path], object]


def ids_of(*documents: str) -> list[int]:
    """tiktoken's ids of documents as ordinary text, the id of <|endoftext|> after each."""
    encode = tiktoken_encoding().encode_ordinary
    return [token_id for document in documents for token_id in [*encode(document), END]]


def read(path: Path, dtype: str = "<u2") -> list[int]:
    """The ids in a flat file."""
    ids: list[int] = np.memmap(path, dtype=dtype, mode="r").tolist()
    return ids


def lines_of(documents: list[str]) -> bytes:
    """Documents as JSON lines."""
    return b"".join(json.dumps({"id": 7, "text": text}).encode() + b"\n" for text in documents)


def write_table(path: Path, documents: list[str], **options: int | str) -> None:
    """Write documents as a column of a Parquet file."""
    parquet.write_table(pyarrow.table({"id": range(len(documents)), "text": documents}), path, **options)


def write_corpus(directory: Path, words: int) -> Path:
    """A directory with a text of made-up words, as it is, as lines, and compressed."""
    text = " ".join(f"word{number} été," for number in np.random.default_rng(0).integers(1000, size=words))
    (directory / "a.txt").write_text(text)
    (directory / "b.jsonl").write_bytes(lines_of(text.split("7")))
    (directory / "c.txt.gz").write_bytes(gzip.compress(text.encode()))
    return directory


# The command with chunks and intervals so small that there is much to interrupt.
_SMALL = """
import sys
from minigpt2.cli import main
from minigpt2.corpus import chunks, documents, encoding, executors, output
chunks.SIZE = documents.SIZE = encoding.SIZE = executors.TASK = 10_000
executors.RETURNED = 20_000  # some tasks give their ids back, some leave them in a file
output.INTERVAL = 0.0
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def in_small_chunks(*arguments: object) -> list[str]:
    return [sys.executable, "-c", _SMALL, *map(str, arguments)]


def large_tokenizer(directory: Path) -> Tokenizer:
    """GPT-2's tokenizer with so many more tokens that an id takes four bytes; its files are in the directory."""
    Tokenizer().save_pretrained(directory)
    vocabulary = Tokenizer().get_vocab() | {f"ĠĠ{number}ĠĠ": 50257 + number for number in range(20_000)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    return Tokenizer.from_files(directory / "vocab.json", directory / "merges.txt")


STORED: dict[str, Write] = {
    "a.jsonl": lambda path: path.write_bytes(lines_of(DOCUMENTS)),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(lines_of(DOCUMENTS))),
    "a.JSONL.ZST": lambda path: path.write_bytes(zstd.compress(lines_of(DOCUMENTS))),
    "a.ndjson": lambda path: path.write_bytes(b"\xef\xbb\xbf" + lines_of(DOCUMENTS)),
    "a.jsonlines.gz": lambda path: path.write_bytes(gzip.compress(b"\xef\xbb\xbf\n" + lines_of(DOCUMENTS))),
    "a.json": lambda path: path.write_bytes(lines_of(DOCUMENTS).rstrip()),
    "a.json.gz": lambda path: path.write_bytes(gzip.compress(lines_of(DOCUMENTS))),
    "a.parquet": lambda path: write_table(path, DOCUMENTS),
    "groups.parquet": lambda path: write_table(path, DOCUMENTS, row_group_size=2),
}
