"""Data sets on the hub as sources: found, pinned to a commit, read by large ranges, and noticed when they change."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import environment, one_line, run
from tests.corpus.dataset_server import DataSetHub
from tests.corpus.samples import DOCUMENTS, ids_of, lines_of, read, write_table

NAME = "hf://datasets/owner/name"
FILES = {
    "README.md": b"about it",
    ".gitattributes": b"hidden",
    "data/b.jsonl.gz": gzip.compress(lines_of(DOCUMENTS[:2])),
    "data/a.jsonl": lines_of(DOCUMENTS[2:]),
    "data/deep/c.txt": b"text",
}


@pytest.fixture
def hub() -> Iterator[DataSetHub]:
    with DataSetHub() as hub:
        hub.commit(FILES)
        yield hub


def tokenize(hub: DataSetHub, out: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run the command in a process that knows this hub."""
    settings = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    env = environment(HF_ENDPOINT=hub.url, HF_HOME=str(out.parent / "home"), **settings)
    return run("tokenize", *arguments, "-o", str(out), env=env)


def paths_in(out: Path) -> list[str]:
    sources = json.loads(out.with_name(f"{out.name}.json").read_text())["sources"]
    return [source["path"] for source in sources]


@pytest.mark.parametrize(
    ("name", "documents"),
    [
        ("data/a.jsonl", DOCUMENTS[2:]),
        ("data/*.jsonl*", DOCUMENTS[2:] + DOCUMENTS[:2]),
        ("data", [*DOCUMENTS[2:], *DOCUMENTS[:2], "text"]),
        ("**/*.txt", ["text"]),
        ("", ["about it", *DOCUMENTS[2:], *DOCUMENTS[:2], "text"]),
    ],
)
def test_a_file_a_glob_and_a_directory_are_read(
    name: str, documents: list[str], hub: DataSetHub, tmp_path: Path
) -> None:
    finished = tokenize(hub, tmp_path / "out", f"{NAME}/{name}".rstrip("/"))
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert read(tmp_path / "out") == ids_of(*documents)
    (commit,) = hub.commits
    assert {path.partition("/name")[2][:41] for path in paths_in(tmp_path / "out")} == {f"@{commit}"}


def test_a_table_is_read_by_its_column(hub: DataSetHub, tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", DOCUMENTS)
    hub.commit({"a.parquet": (tmp_path / "a.parquet").read_bytes()})
    assert tokenize(hub, tmp_path / "out", f"{NAME}/a.parquet", "--jobs", "2").returncode == 0
    assert read(tmp_path / "out") == ids_of(*DOCUMENTS)


def test_a_revision_can_be_named(hub: DataSetHub, tmp_path: Path) -> None:
    (first,) = hub.commits
    hub.commit({"data/a.jsonl": lines_of(["newer"])})
    assert tokenize(hub, tmp_path / "new", f"{NAME}/data/a.jsonl").returncode == 0
    assert tokenize(hub, tmp_path / "old", f"{NAME}@{first}/data/a.jsonl").returncode == 0
    assert (read(tmp_path / "new"), read(tmp_path / "old")) == (ids_of("newer"), ids_of(*DOCUMENTS[2:]))


def test_ranges_are_large(hub: DataSetHub, tmp_path: Path) -> None:
    hub.commit({"a.txt": b"some words " * 400_000})
    assert tokenize(hub, tmp_path / "out", f"{NAME}/a.txt").returncode == 0
    assert hub.ranges == ["bytes=0-4399999"]


def test_an_interrupted_run_does_not_go_on_with_another_commit(hub: DataSetHub, tmp_path: Path) -> None:
    hub.commit({"a.jsonl": lines_of(DOCUMENTS), "b.txt": b"\xff"})
    out = tmp_path / "out"
    out.with_name("out_000001").touch()  # a file that is in the way at the end
    options = ["--output-format", "llm.c", "--errors", "replace"]
    assert tokenize(hub, out, f"{NAME}/b.txt", *options).returncode == 1
    hub.commit({"a.jsonl": lines_of(DOCUMENTS), "b.txt": b"fine"})
    finished = tokenize(hub, out, f"{NAME}/b.txt", "--errors", "replace", "--resume")
    assert "cannot continue: sources changed: 'hf://datasets/owner/name@" in one_line(finished.stderr)


def test_a_server_that_ignores_ranges_is_noticed(hub: DataSetHub, tmp_path: Path) -> None:
    hub.commit({"a.txt": b"some words " * 2_000_000})
    hub.ignores_ranges = True
    finished = tokenize(hub, tmp_path / "out", f"{NAME}/a.txt")
    assert finished.returncode == 1
    assert "22,000,000 bytes came instead of " in one_line(finished.stderr)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf://datasets/owner/name/no.txt", "hf://datasets/owner/name/no.txt: this data set has no such file"),
        ("hf://datasets/owner/name/*.csv", "hf://datasets/owner/name/*.csv: this data set has no such file"),
        ("hf://datasets/owner/missing/a.txt", "hf://datasets/owner/missing/a.txt cannot be read (RepositoryNotFound"),
        ("hf://owner/model/a.txt", "is not a data set on the hub: write hf://datasets/OWNER/NAME"),
    ],
)
def test_what_is_not_there_is_named(name: str, message: str, hub: DataSetHub, tmp_path: Path) -> None:
    finished = tokenize(hub, tmp_path / "out", name)
    assert finished.returncode == 1
    assert message in one_line(finished.stderr)
    assert not list(tmp_path.glob("out*"))


def test_a_hub_that_is_not_there_is_named(hub: DataSetHub, tmp_path: Path) -> None:
    hub.url = "http://127.0.0.1:9"
    finished = tokenize(hub, tmp_path / "out", f"{NAME}/a.txt")
    assert f"{NAME}/a.txt cannot be read (Connect" in one_line(finished.stderr)
