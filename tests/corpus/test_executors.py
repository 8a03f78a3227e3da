"""Who does the work: the ids, the errors and the summary do not depend on it."""

import multiprocessing
from pathlib import Path

import pytest

from minigpt2 import Tokenizer
from minigpt2.corpus import executors, tokenize
from tests.corpus.samples import DOCUMENTS, STORED


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_any_number_of_processes_writes_the_same(
    method: str, small: None, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context(method)
    monkeypatch.setattr(executors, "_context", lambda: context)
    for name, write in STORED.items():
        write(tmp_path / name)
    (tmp_path / "long.txt").write_text("\n".join(DOCUMENTS * 4))
    (tmp_path / "short.txt").write_text("x")
    tokenize(tmp_path, tmp_path / "one", tokenizer=tokenizer)
    (tmp_path / "one").rename(tmp_path / ".one")
    (tmp_path / "one.json").rename(tmp_path / ".one.json")
    for jobs in [2, 3]:
        tokenize(tmp_path, tmp_path / "several", tokenizer=tokenizer, jobs=jobs)
        assert (tmp_path / "several").read_bytes() == (tmp_path / ".one").read_bytes()
        assert (tmp_path / "several.json").read_bytes() == (tmp_path / ".one.json").read_bytes()


@pytest.mark.parametrize("jobs", [1, 3])
def test_of_several_errors_the_first_is_raised(jobs: int, small: None, tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.txt").write_bytes(b"fine " * 100)
    (tmp_path / "b.txt").write_bytes(b"fine " * 100 + b"\xff" + b" fine" * 100)
    (tmp_path / "c.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"b\.txt is not UTF-8: byte 0xFF at byte offset 500;"):
        tokenize(tmp_path, tmp_path / "out", tokenizer=tokenizer, jobs=jobs)
