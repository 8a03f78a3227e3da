"""Which files are read, and in which order."""

from pathlib import Path

import pytest

from minigpt2.corpus import count, tokenize
from tests.corpus.samples import ids_of, read


def test_sources_keep_their_order(tmp_path: Path) -> None:
    for name in ["b.txt", "a/2.txt", "a/10.txt", "a/b/1.md", "a/.hidden", ".git/x", "c[1].txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    tokenize([tmp_path / "b.txt", tmp_path / "a", f"{tmp_path}/*.txt", tmp_path / "c[1].txt"], tmp_path / "out")
    order = ["b.txt", "a/10.txt", "a/2.txt", "a/b/1.md", "b.txt", "c[1].txt", "c[1].txt"]
    assert read(tmp_path / "out") == ids_of(*order)


def test_a_glob_reaches_any_depth(tmp_path: Path) -> None:
    for name in ["1.txt", "a/2.txt", "a/b/3.txt", "a/b/4.md"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [Path(source.path).name for source in count(f"{tmp_path}/**/*.txt").sources] == ["1.txt", "2.txt", "3.txt"]


def test_what_is_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for _ in range(2):
        tokenize([tmp_path, f"{tmp_path}/*"], tmp_path / "out")
        assert read(tmp_path / "out") == ids_of("a", "a")
    with pytest.raises(ValueError, match=r"out is where the corpus is written to"):
        tokenize([tmp_path / "a.txt", tmp_path / "out"], tmp_path / "out")
