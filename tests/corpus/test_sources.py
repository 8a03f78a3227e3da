"""Which files are read, and in which order."""

import errno
import glob
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from minigpt2 import Tokenizer
from minigpt2.corpus import count, tokenize
from tests.command import command, environment
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


def test_a_glob_with_a_slash_at_its_end_stands_for_directories(tmp_path: Path) -> None:
    for name in ["1.txt", "a/2.txt", "a/b/3.txt", "c/4.md"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "*").write_text("a file of the glob's own name")
    assert count(f"{tmp_path}/*/").sources == count([tmp_path / "a", tmp_path / "c"]).sources


def test_a_directory_is_read_however_deep_it_is(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(sys.getrecursionlimit()):
        deep /= "d"
        deep.mkdir()
    (deep / "a.txt").write_text("a")
    try:
        sources = count([tmp_path, f"{tmp_path}/**/*.txt"]).sources
    finally:  # what removes directories is itself not up to such a depth
        (deep / "a.txt").unlink()
        while deep != tmp_path:
            deep.rmdir()
            deep = deep.parent
    assert [Path(source.path).name for source in sources] == ["a.txt", "a.txt"]


def test_a_document_that_cannot_be_looked_at_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if path.name == "b.txt":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return usual(path, **options)

    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("a")
    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(Path, "is_file", lambda path: path.name != "b.txt")  # so it answers from Python 3.14 on
    with pytest.raises(PermissionError, match=r"b\.txt"):
        count(tmp_path)


def test_what_is_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for _ in range(2):
        tokenize([tmp_path, f"{tmp_path}/*"], tmp_path / "out")
        assert read(tmp_path / "out") == ids_of("a", "a")
    with pytest.raises(ValueError, match=r"out is where the corpus is written to"):
        tokenize([tmp_path / "a.txt", tmp_path / "out"], tmp_path / "out")


@pytest.mark.parametrize("out", ["a.txt", "link", "b", "c", "d"])
def test_a_document_that_is_found_is_not_written_over(out: str, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a.txt").write_text("a")
    (documents / "b.json").write_text("b")
    (documents / "c").write_text("c")
    (documents / "c.json").write_text("c")
    (documents / "d.journal").write_text("d")
    (documents / "link").symlink_to("a.txt")
    for name in (documents, documents / "*"):
        with pytest.raises(ValueError, match="is one of the documents, and the corpus would be written over it"):
            tokenize(name, documents / out)
    assert [path.read_text() for path in sorted(documents.iterdir())] == ["a", "b", "c", "c", "d", "a"]


def test_a_document_on_standard_input_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with (tmp_path / "a.txt").open() as file:
        arguments = command("tokenize", "-", "-o", str(tmp_path / "a.txt"))
        said = subprocess.run(arguments, stdin=file, capture_output=True, env=environment(), check=False)
    assert said.returncode == 1
    assert said.stderr.startswith(b"minigpt2: standard input is ")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["*", "./*", "[-]", ".", "**"])
def test_a_file_with_the_name_of_standard_input_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", None)
    Path("./-").write_text("a b c")
    assert count(name).tokens == 3


def test_an_empty_name_is_not_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ValueError, match="a name is empty: name a file"):
        count(["a.txt", ""])
    with pytest.raises(FileNotFoundError, match="the name of a file is empty"):
        tokenize("a.txt", "")
    with pytest.raises(FileNotFoundError, match="the name of the directory is empty"):
        Tokenizer().save_pretrained("")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("sources", "output"), [(["d"], "mount/a.txt"), (["d/a.txt"], "mount/a.txt"), (["mount/a.txt"], "d/a.txt")]
)
def test_nor_is_one_whose_directory_is_mounted_twice(sources: list[str], output: str, tmp_path: Path) -> None:
    for name in ("d", "mount"):
        (tmp_path / name).mkdir()
    (tmp_path / "d" / "a.txt").write_text("mine")
    arguments = map(str, command("tokenize", *sources, "-o", output))
    mounted = ["unshare", "-rm", "sh", "-c", f"mount --bind d mount || exit 9; {shlex.join(arguments)}"]
    finished = subprocess.run(mounted, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    if finished.returncode == 9 or finished.stderr.startswith("unshare:"):
        pytest.skip("directories cannot be mounted here")
    assert finished.returncode == 1 and "written" in finished.stderr
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["a.txt"]
    assert (tmp_path / "d" / "a.txt").read_text() == "mine"


def test_nor_is_one_on_a_file_system_that_does_not_tell_capitals_apart(tmp_path: Path) -> None:
    (tmp_path / "Book.txt").write_text("mine")
    os.link(tmp_path / "Book.txt", tmp_path / "book.txt")  # there these are one name
    with pytest.raises(ValueError, match=r"Book\.txt is where the corpus is written to"):
        tokenize(tmp_path / "Book.txt", tmp_path / "book.txt")
    assert (tmp_path / "Book.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("output_format", "name"), [("bin", "val.bin"), ("megatron", "train.idx"), ("llm.c", "train_000001.bin")]
)
def test_a_document_at_a_name_that_an_earlier_corpus_did_not_have_is_not_written_over(
    output_format: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    tokenize(tmp_path / "a.txt", tmp_path / "train.bin")
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"{name} is one of the documents"):
        tokenize(tmp_path, tmp_path / "train.bin", output_format=output_format, val_fraction=0.5 * (name == "val.bin"))
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("output_format", ["bin", "megatron", "llm.c"])
def test_the_files_of_an_earlier_corpus_are_left_out_in_every_format(output_format: str, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
    for _ in range(3):
        counts = tokenize(tmp_path, tmp_path / "train.bin", output_format=output_format, val_fraction=0.4)
        assert counts.documents == 3


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A directory with a document, links that lead back into it, a linked file and a hard link."""
    directory = tmp_path / "linked"
    (directory / "a").mkdir(parents=True)
    (directory / "a" / "1.txt").write_text("one")
    (directory / "here").symlink_to(".")
    (directory / "a" / "up").symlink_to("..")
    (directory / "a" / "hard.txt").hardlink_to(directory / "a" / "1.txt")
    (directory / "soft.txt").symlink_to("a/1.txt")
    return directory


@pytest.mark.parametrize("name", ["", "**/*.txt", "**", "**/*", "**/**/*.txt", "*/*.txt", "**/a/*.txt", "[a-z]/**"])
def test_no_link_is_followed_in_a_directory_or_by_a_glob(name: str, linked: Path) -> None:
    found = [str(Path(source.path).relative_to(linked)) for source in count(linked / name).sources]
    assert found == ["a/1.txt", "a/hard.txt"]


@pytest.mark.parametrize("name", ["*.txt", "*/up/a/1.txt", "**/soft.txt", "a/*/a/1.txt"])
def test_where_links_alone_match_the_error_says_so(name: str, linked: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"matches no file .symbolic links are passed over: "):
        count(linked / name)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("soft.txt", ["soft.txt"]),
        ("a/up/a/1.txt", ["a/up/a/1.txt"]),
        ("here", ["here/a/1.txt", "here/a/hard.txt"]),
        ("here/a/*.txt", ["here/a/1.txt", "here/a/hard.txt"]),
    ],
)
def test_a_link_that_is_spelled_out_is_followed(name: str, files: list[str], linked: Path) -> None:
    found = [str(Path(source.path).relative_to(linked)) for source in count(linked / name).sources]
    assert found == files


@pytest.mark.parametrize(
    "pattern", ["*", "**", "**/*.txt", "?.txt", "[ab].txt", ".*", ".*/*", "*/*", "a/**", "./*", "x*"]
)
def test_a_glob_finds_what_pythons_finds(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["a.txt", "b.txt", ".c.txt", "a/d.txt", "a/.e/f.txt", "a/b/g.md", ".h/i.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    for prefix in ["", f"{tmp_path}/"]:
        expected = {path for path in glob.glob(prefix + pattern, recursive=True) if Path(path).is_file()}  # noqa: PTH207
        if expected:
            found = [source.path for source in count(prefix + pattern).sources]
            assert sorted(found) == sorted(str(Path(path)) for path in expected)
        else:
            with pytest.raises(FileNotFoundError):
                count(prefix + pattern)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("run", [count, partial(tokenize, output="out.bin")], ids=["count", "tokenize"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_pipe_is_closed_where_a_run_fails_and_its_error_is_kept(
    jobs: int, run: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a session of Python keeps the last one: who still writes would write into the next run over the pipe."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")

    def write() -> None:
        with suppress(BrokenPipeError), Path("pipe").open("wb") as pipe:
            pipe.write(b"a \xff" + b" line of text\n" * (1 << 22))

    writer = Thread(target=write, daemon=True)
    writer.start()
    with pytest.raises(ValueError, match="pipe is not UTF-8") as kept:
        run("pipe", jobs=jobs)
    writer.join(timeout=10)
    assert kept and not writer.is_alive()
