"""Shared by the tests of corpora: chunks so small that there is much to cut and to interrupt, and a corpus."""

import gzip
import os
from pathlib import Path

import pytest
from backports import zstd

from minigpt2 import Tokenizer
from minigpt2.corpus import chunks, cutting, documents, encoding, executors, output, tokenize
from tests.corpus.samples import DOCUMENTS, STORED


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of some bytes, each with an entry in the journal. No test cuts the power, so none waits for the disk."""
    for module in (chunks, documents, encoding):
        monkeypatch.setattr(module, "SIZE", 64)
    monkeypatch.setattr(executors, "TASK", 64)
    monkeypatch.setattr(executors, "RETURNED", 64)
    monkeypatch.setattr(cutting, "_TAIL", 8)
    monkeypatch.setattr(output, "INTERVAL", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A directory of every kind of source, each larger than a small chunk."""
    directory = tmp_path / "corpus"
    directory.mkdir()
    for name, write in STORED.items():
        write(directory / name)
    text = "\n".join(DOCUMENTS).encode()
    for name, data in {"b.txt": text, "b.txt.gz": gzip.compress(text), "b.zst": zstd.compress(text)}.items():
        (directory / name).write_bytes(data)
    (directory / "empty").touch()
    return directory


@pytest.fixture
def whole(corpus: Path, tmp_path: Path, tokenizer: Tokenizer) -> tuple[bytes, bytes]:
    """The result without interruption: the ids and the summary."""
    tokenize(corpus, tmp_path / "whole", tokenizer=tokenizer)
    paths = [tmp_path / "whole", tmp_path / "whole.json"]
    ids, summary = (path.read_bytes() for path in paths)
    for path in paths:
        path.unlink()
    return ids, summary
