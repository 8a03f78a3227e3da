"""Data sets on the hub as sources: found, pinned to a commit, read by large ranges, and noticed when they change."""

import gzip
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfFileSystem

from minigpt2 import HubError
from minigpt2.corpus import hub_files, tokenize
from minigpt2.corpus.parquet import rows
from minigpt2.corpus.sources import find
from tests.command import Capture, complaint, one_line, run
from tests.corpus.dataset_server import DataSetHub
from tests.corpus.samples import DOCUMENTS, ids_of, lines_of, read, write_table
from tests.hub_server import BEFORE_1
from tests.hub_settings import imported_with, online
from tests.serving import serving

NAME = "hf://datasets/owner/name"
FILES = {
    "README.md": b"about it",
    ".gitattributes": b"hidden",
    "data/b.jsonl.gz": gzip.compress(lines_of(DOCUMENTS[:2])),
    "data/a.jsonl": lines_of(DOCUMENTS[2:]),
    "data/deep/c.txt": b"text",
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[DataSetHub]:
    """A hub with one data set, and the one of this process."""
    with DataSetHub() as hub, serving(hub), imported_with(online(hub.url, tmp_path / "home")):
        HfFileSystem.clear_instance_cache()  # before huggingface_hub 2.0 it would go on asking the hub of another test
        hub.commit(FILES)
        yield hub


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
        *([] if BEFORE_1 else [("SSL_CERT_FILE", "/nonexistent"), ("ALL_PROXY", "ftp://host")]),  # read late or never
    ],
)
def test_a_variable_that_is_wrong_is_named(hub: DataSetHub, tmp_path: Path, variable: str, value: str) -> None:
    env = online(hub.url, tmp_path / "home", **{variable: value})
    finished = run("count", f"{NAME}/data/a.jsonl", env=env)
    assert finished.returncode == 1 and finished.stdout == b""
    assert variable in one_line(finished.stderr)


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])  # huggingface_hub knows both
def test_the_variable_that_forbids_to_ask_the_hub_is_named(hub: DataSetHub, tmp_path: Path, variable: str) -> None:
    env = online(hub.url, tmp_path / "home") | {"HF_HUB_OFFLINE": "", variable: "1"}
    finished = run("count", f"{NAME}/a.txt", env=env)
    reason = f"minigpt2: {NAME}/a.txt cannot be read: {variable} is set; unset it to ask the hub\n"
    assert (finished.returncode, one_line(finished.stderr)) == (1, reason)


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
    tokenize(f"{NAME}/{name}".rstrip("/"), tmp_path / "out")
    assert read(tmp_path / "out") == ids_of(*documents)
    (commit,) = hub.commits
    assert {path.partition("/name")[2][:41] for path in paths_in(tmp_path / "out")} == {f"@{commit}"}


def test_a_name_that_is_there_is_not_a_glob_and_a_hidden_one_may_be_spelled_out(
    hub: DataSetHub, tmp_path: Path
) -> None:
    hub.commit(
        {"a[1].txt": b"this", "a1.txt": b"that", ".v1/.x.txt": b"hidden", ".v1/y.txt": b"below", "z/.w.txt": b"w"}
    )
    for name, documents in {
        "a[1].txt": ["this"],
        ".v1/.x.txt": ["hidden"],
        ".v1": ["below"],
        ".v1/*.txt": ["below"],
        "*1*.txt": ["that", "this"],
    }.items():
        tokenize(f"{NAME}/{name}", tmp_path / "out")
        assert read(tmp_path / "out") == ids_of(*documents)
    for name in ("z", "z/*", "**/.w.txt"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            tokenize(f"{NAME}/{name}", tmp_path / "out")


def test_a_table_is_read_by_its_column(hub: DataSetHub, tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", DOCUMENTS)
    hub.commit({"a.parquet": (tmp_path / "a.parquet").read_bytes()})
    out = tmp_path / "out"
    finished = run(
        "tokenize", f"{NAME}/a.parquet", "-o", str(out), "--jobs", "2", env=online(hub.url, tmp_path / "home")
    )
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert read(out) == ids_of(*DOCUMENTS)


def test_a_hub_that_fails_while_a_table_is_read_is_not_damage(
    hub: DataSetHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_files, "BLOCK", 1 << 16)
    documents = [f"{number:05} " * 10_000 for number in range(100)]
    write_table(tmp_path / "a.parquet", documents, compression="none", row_group_size=10)
    hub.commit({"a.parquet": (tmp_path / "a.parquet").read_bytes()})
    (source,) = find([f"{NAME}/a.parquet"])
    parts = rows(source, "text", 0, 1 << 16)
    next(parts)
    hub.ignores_ranges = True
    with pytest.raises(HubError, match=" bytes came instead of "):
        list(parts)


def test_a_revision_can_be_named(hub: DataSetHub, tmp_path: Path) -> None:
    (first,) = hub.commits
    hub.commit({"data/a.jsonl": lines_of(["newer"])})
    tokenize(f"{NAME}/data/a.jsonl", tmp_path / "new")
    tokenize(f"{NAME}@{first}/data/a.jsonl", tmp_path / "old")
    assert (read(tmp_path / "new"), read(tmp_path / "old")) == (ids_of("newer"), ids_of(*DOCUMENTS[2:]))


@pytest.mark.parametrize(
    "name", ["a.txt", "data/two words.txt.gz", "-x.txt", "\u7ae0\u3000\u59cb.txt", "it's\u202f\\.txt", "a\nb.txt"]
)
def test_the_advice_on_an_encoding_works_as_given(
    name: str, hub: DataSetHub, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    data = "été".encode("latin1")
    hub.commit({name: gzip.compress(data) if name.endswith(".gz") else data})
    (advice,) = re.findall("`(.*)` converts it", complaint(capsys, "count", f"{NAME}/{name}"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    assert subprocess.run(["bash", "-c", advice], capture_output=True, check=True).stdout == "été".encode()


def test_ranges_are_large(hub: DataSetHub, tmp_path: Path) -> None:
    hub.commit({"a.txt": b"some words " * 400_000})
    tokenize(f"{NAME}/a.txt", tmp_path / "out")
    assert hub.ranges == ["bytes=0-4399999"]


def test_an_interrupted_run_does_not_go_on_with_another_commit(hub: DataSetHub, tmp_path: Path) -> None:
    hub.commit({"a.jsonl": lines_of(DOCUMENTS), "b.txt": b"\xff"})
    out = tmp_path / "out"
    out.with_name("out_000001").touch()  # a file that is in the way at the end
    with pytest.raises(ValueError, match="out_000001"):
        tokenize(f"{NAME}/b.txt", out, errors="replace", output_format="llm.c")
    hub.commit({"a.jsonl": lines_of(DOCUMENTS), "b.txt": b"fine"})
    with pytest.raises(ValueError, match="cannot continue: sources changed: 'hf://datasets/owner/name@") as raised:
        tokenize(f"{NAME}/b.txt", out, errors="replace", resume=True)
    (older,) = re.findall("; name (hf://.*) to go on with that commit;", str(raised.value))
    out.with_name("out_000001").unlink()
    assert tokenize(f"{older}/b.txt", out, errors="replace", output_format="llm.c", resume=True).documents == 1


def test_several_names_of_a_data_set_have_one_commit_whatever_comes_between_them(
    hub: DataSetHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hub.commit(dict.fromkeys(("a.txt", "b.txt", "c.txt"), b"old"))
    find = hub_files.find

    def find_and_commit(*arguments: Any) -> list[tuple[str, int]]:
        found = find(*arguments)
        hub.commit(dict.fromkeys(("a.txt", "b.txt", "c.txt", str(len(hub.commits))), b"new"))
        return found

    monkeypatch.setattr(hub_files, "find", find_and_commit)
    names = [f"{NAME}/a.txt", f"{NAME}@main/b.txt", f"{NAME}/c.*"]
    tokenize(names, tmp_path / "out")
    assert {path.partition("/name")[2][:41] for path in paths_in(tmp_path / "out")} == {f"@{first}"}


def test_a_server_that_ignores_ranges_is_noticed(hub: DataSetHub, tmp_path: Path) -> None:
    hub.commit({"a.txt": b"some words " * 2_000_000})
    hub.ignores_ranges = True
    with pytest.raises(HubError, match="22,000,000 bytes came instead of "):
        tokenize(f"{NAME}/a.txt", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf://datasets/owner/name/no.txt", "hf://datasets/owner/name/no.txt: this data set has no such file"),
        ("hf://datasets/owner/name/*.csv", "hf://datasets/owner/name/*.csv: this data set has no such file"),
        ("hf://datasets/owner/missing/a.txt", "hf://datasets/owner/missing/a.txt cannot be read: RepositoryNotFound"),
        ("hf://owner/model/a.txt", "is not a data set on the hub: write hf://datasets/OWNER/NAME"),
    ],
)
def test_what_is_not_there_is_named(name: str, message: str, hub: DataSetHub, tmp_path: Path, capsys: Capture) -> None:
    assert message in complaint(capsys, "tokenize", name, "-o", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("size", [None, "5", -1, [5]])
def test_a_size_that_is_not_a_number_of_bytes_is_refused(
    size: object, hub: DataSetHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {f"datasets/owner/name@{'0' * 40}/a.txt": {"type": "file", "size": size}}
    monkeypatch.setattr(HfFileSystem, "find", lambda *_, **__: answers)
    with pytest.raises(HubError, match=rf"data/a.jsonl cannot be read: ValueError: .* {re.escape(repr(size))} bytes"):
        tokenize(f"{NAME}/data/a.jsonl", tmp_path / "out")


def test_a_storage_that_refuses_is_named_without_its_signature(
    hub: DataSetHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        error: Any = OSError("403 Forbidden: None.")
        error.response = SimpleNamespace(url="https://storage.example/file?X-Signature=secret", status_code=403)
        raise error

    monkeypatch.setattr(HfFileSystem, "open", refuse)
    message = r"c\.txt cannot be read: https://storage\.example answered 403; check the network"
    with pytest.raises(HubError, match=message) as raised:
        tokenize(f"{NAME}/**/*.txt", tmp_path / "out")
    assert "secret" not in str(raised.value)


def test_a_hub_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = re.escape(f"{NAME}/a.txt cannot be read: asking http://127.0.0.1:9 failed (Connect")
    with imported_with(online("http://127.0.0.1:9", tmp_path)), pytest.raises(HubError, match=message):
        tokenize(f"{NAME}/a.txt", tmp_path / "out")


def test_a_hub_that_accepts_and_is_silent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt2.corpus.hub_files.ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts connections and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        message = re.escape(f"{NAME}/a.txt cannot be read: asking {url} failed (") + ".*[Tt]imed out"
        with imported_with(online(url, tmp_path)), pytest.raises(HubError, match=message):
            tokenize(f"{NAME}/a.txt", tmp_path / "out")
