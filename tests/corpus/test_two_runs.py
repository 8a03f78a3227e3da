"""Two runs of `tokenize` at one output: the second is refused, whatever the order of events."""

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigpt2 import corpus
from minigpt2.corpus import tokenize
from minigpt2.corpus.formats import FileFormat
from minigpt2.corpus.journal import Journal
from minigpt2.corpus.output import Output, Paths
from tests.corpus.samples import ids_of, read
from tests.fuzzing import FUZZ_SECONDS

RUNS = 8


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("some text " * 200)
    (tmp_path / "b.txt").write_text("other words " * 200)
    return tmp_path / "out"


def during(name: str, meanwhile: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen once, when a method of `Output` is first called."""
    method = getattr(Output, name)

    def wrapped(self: Output, *arguments: Any) -> Any:
        monkeypatch.setattr(Output, name, method)
        meanwhile()
        return method(self, *arguments)

    monkeypatch.setattr(Output, name, wrapped)


@pytest.mark.parametrize("moment", ["add", "finish"])
def test_a_second_run_is_refused(moment: str, out: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_comes() -> None:
        for resume in (False, True):
            with pytest.raises(ValueError, match=r"out\.journal is in use: another process writes this corpus"):
                tokenize(out.with_name("b.txt"), out, resume=resume)

    during(moment, another_comes, monkeypatch)
    tokenize(out.with_name("a.txt"), out)
    assert read(out) == ids_of("some text " * 200)


@pytest.mark.parametrize("moment", ["add", "finish"])
@pytest.mark.parametrize(("first", "second"), [("train.bin", "val.bin"), ("val.bin", "train.bin")])
def test_so_is_a_run_whose_validation_set_is_the_others_output(
    moment: str, first: str, second: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> None:
        tokenize(f"{out.parent}/*.txt", out.with_name(name), val_fraction=0.5 if name == "train.bin" else 0)

    def another_comes() -> None:
        with pytest.raises(ValueError, match=r"val\.bin\.journal is in use: another process writes this corpus"):
            run(second)

    during(moment, another_comes, monkeypatch)
    run(first)
    left = {path.name for path in out.parent.iterdir()} - {"a.txt", "b.txt"}
    assert left == ({"train.bin", "train.bin.json", "val.bin"} if first == "train.bin" else {"val.bin", "val.bin.json"})
    run(second)


def test_a_journal_that_was_removed_before_it_was_locked_is_not_the_lock(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run ends between the opening and the locking of the second, while a third comes."""
    lock = Journal._lock
    third: list[Journal] = []

    def lock_late(self: Journal) -> None:
        if not third:
            self._path.unlink()
            third.append(None)  # type: ignore[arg-type]  # the third must not come here again
            third[0] = Journal(self._path)
        lock(self)

    monkeypatch.setattr(Journal, "_lock", lock_late)
    with pytest.raises(ValueError, match=r"out\.journal is in use"):
        tokenize(out.with_name("a.txt"), out)
    third[0].remove()
    tokenize(out.with_name("a.txt"), out)
    assert read(out) == ids_of("some text " * 200)


def test_a_run_sees_what_another_left_that_ended_as_it_began(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, output = f"{out.parent}/*.txt", out.with_suffix(".bin")
    lock = Journal._lock

    def lock_late(self: Journal) -> None:
        monkeypatch.setattr(Journal, "_lock", lock)
        tokenize(names, output, output_format="megatron")
        lock(self)

    monkeypatch.setattr(Journal, "_lock", lock_late)
    with pytest.raises(ValueError, match=r"out\.idx is of a corpus that was here before"):
        tokenize(names, output)
    assert {path.name for path in out.parent.iterdir()} == {"a.txt", "b.txt", "out.bin", "out.idx", "out.bin.json"}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(number: int, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match=r"the file system has no locks.*: write to another") as raised:
        tokenize(out.with_name("a.txt"), out)
    assert raised.value.filename == str(out)
    assert not out.with_name("out.partial").exists()


def test_a_run_that_lost_its_journal_publishes_nothing(out: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_over() -> None:
        out.with_name("out.journal").unlink()
        out.with_name("out.partial").unlink()
        tokenize(out.with_name("b.txt"), out)

    during("finish", start_over, monkeypatch)
    with pytest.raises(ValueError, match=r"out\.journal was removed while this corpus was written"):
        tokenize(out.with_name("a.txt"), out)
    assert read(out) == ids_of("other words " * 200)


@pytest.mark.parametrize("output_format", ["bin", "llm.c", "megatron"])
def test_where_both_are_given_the_lock_the_first_does_not_publish_the_ids_of_the_second(
    output_format: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on two machines that share a directory, where the locks of some file systems hold on one machine alone."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    paths = Paths(out.with_suffix(".bin"), FileFormat(output_format))
    first, second = (Output(paths, [], dict, "<u2", 1, can_continue=True, resume=False) for _ in range(2))
    second.write(np.array([6, 6, 1], "<u2").tobytes())
    with second, pytest.raises(ValueError, match=r"out\.bin\.partial was changed while this corpus was"), first:
        first.write(np.array([5, 1], "<u2").tobytes())
        first.finish({})
    assert {path.name for path in out.parent.iterdir()} == {"a.txt", "b.txt"}


def test_nor_does_it_go_on_where_the_second_has_cut_off_its_ids(out: Path) -> None:
    paths = Paths(out, FileFormat())
    with Output(paths, [], dict, "<u2", 1, can_continue=True, resume=False) as first:
        first.write(np.array([5, 1], "<u2").tobytes())
        os.truncate(paths.partial, 2)  # as a run that continues does, to where the journal says
        with pytest.raises(ValueError, match=r"out\.partial was changed while this corpus was written"):
            first.write(np.array([5, 1], "<u2").tobytes())


def run_again_and_again(number: int, directory: Path, report: Connection) -> None:
    """Tokenize a text of one's own to the common output, and count how often that went well."""
    corpus._hashes = lambda _: {}  # type: ignore[assignment]  # which take longer than all else
    finished, end = 0, time.monotonic() + FUZZ_SECONDS / 2
    while not finished or time.monotonic() < end:
        try:
            tokenize(directory / f"{number}.txt", directory / "out", resume=bool(finished % 2))
            finished += 1
        except ValueError as error:
            assert "is in use" in str(error), error
    report.send(finished)
    os._exit(0)  # what follows would be pytest


def test_many_runs_at_one_output_never_mix(tmp_path: Path) -> None:
    expected = set()
    for number in range(RUNS):
        text = f"number {number} " * 200
        (tmp_path / f"{number}.txt").write_text(text)
        expected.add(tuple(ids_of(text)))
    context = multiprocessing.get_context("spawn")
    reports = []
    for number in range(RUNS):
        ours, theirs = context.Pipe(duplex=False)
        context.Process(target=run_again_and_again, args=(number, tmp_path, theirs), daemon=True).start()
        theirs.close()
        reports.append(ours)
    while not all(report.poll() for report in reports):
        if (tmp_path / "out").exists():
            assert tuple(read(tmp_path / "out")) in expected
        time.sleep(0.01)
    finished = [report.recv() for report in reports]
    assert all(finished)
    assert tuple(read(tmp_path / "out")) in expected
    left = {path.name for path in tmp_path.iterdir()} - {f"{number}.txt" for number in range(RUNS)}
    assert left == {"out", "out.json"}


def test_a_child_that_was_forked_meanwhile_does_not_keep_the_journal(
    out: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[int] = []

    def fork() -> None:
        if not (child := os.fork()):
            time.sleep(60)
            os._exit(0)
        children.append(child)
        raise ValueError("something ends the run")

    during("finish", fork, monkeypatch)
    with pytest.raises(ValueError, match="something ends the run"):
        tokenize(out.with_name("a.txt"), out)
    monkeypatch.undo()
    try:
        tokenize(out.with_name("a.txt"), out, resume=True)
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
    assert read(out) == ids_of("some text " * 200)
