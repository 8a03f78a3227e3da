"""Who does the work: the ids, the errors and the summary do not depend on it."""

import asyncio
import errno
import gzip
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, NoReturn

import pytest

from minigpt2 import Tokenizer
from minigpt2.corpus import count, executors, pools, tokenize
from minigpt2.corpus.output import Output
from tests.corpus.samples import DOCUMENTS, STORED


@pytest.mark.parametrize(("method", "jobs"), [("fork", 2), ("fork", 3), ("spawn", 2)])
def test_any_number_of_processes_writes_the_same(
    method: str, jobs: int, small: None, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context(method)
    monkeypatch.setattr(pools, "_context", lambda: context)
    for name, write in STORED.items():
        write(tmp_path / name)
    (tmp_path / "long.txt").write_text("\n".join(DOCUMENTS * 4))
    (tmp_path / "short.txt").write_text("x")
    tokenize(tmp_path, tmp_path / "one", tokenizer=tokenizer)
    (tmp_path / "one").rename(tmp_path / ".one")
    (tmp_path / "one.json").rename(tmp_path / ".one.json")
    tokenize(tmp_path, tmp_path / "several", tokenizer=tokenizer, jobs=jobs)
    assert (tmp_path / "several").read_bytes() == (tmp_path / ".one").read_bytes()
    assert (tmp_path / "several.json").read_bytes() == (tmp_path / ".one.json").read_bytes()


@pytest.mark.parametrize("jobs", [1, 3])
def test_of_several_errors_the_first_is_raised(jobs: int, small: None, tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.txt").write_bytes(b"fine " * 100)
    (tmp_path / "b.txt").write_bytes(b"fine " * 100 + b"\xff" + b" fine" * 100)
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"fine " * 100)[:-4])
    with pytest.raises(ValueError, match=r"b\.txt is not UTF-8: byte 0xFF at byte offset 500;"):
        tokenize(tmp_path, tmp_path / "out", tokenizer=tokenizer, jobs=jobs)


def test_a_worker_that_cannot_leave_its_result_names_the_output(
    small: None, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(path: Path) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(executors, "atomic_write", fill_the_disk)
    (tmp_path / "a.txt").write_text("!a" * 100)
    with ThreadPoolExecutor(1) as pool, pytest.raises(OSError, match="No space left on device") as raised:
        tokenize(tmp_path / "a.txt", tmp_path / "out", tokenizer=tokenizer, executor=pool)
    assert raised.value.filename == str(tmp_path / "out")


class _CannotAnswer(ThreadPoolExecutor):
    """Encodes, and is lost when it is asked what the ids depend on, for the journal."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        if function is not executors._ask:
            return super().submit(function, *arguments)
        future: Future[Any] = Future()
        future.set_exception(BrokenExecutor())
        return future


def test_workers_that_are_lost_as_the_journal_begins_are_named(
    small: None, corpus: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    with _CannotAnswer(1) as pool, pytest.raises(ChildProcessError, match=r"^a worker process ended unasked;"):
        tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, executor=pool)


class _SortsKeys(ThreadPoolExecutor):
    """As ipyparallel's executor, which gives a dictionary back with its keys in order."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        return super().submit(lambda: self._sorted(function(*arguments)))

    def _sorted(self, result: object) -> object:
        return {key: self._sorted(result[key]) for key in sorted(result)} if isinstance(result, dict) else result


def test_an_executor_may_sort_the_keys_of_what_it_gives_back(
    small: None, corpus: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    with _SortsKeys(1) as pool:
        tokenize(corpus, tmp_path / "a", tokenizer=tokenizer, executor=pool)
        tokenize(corpus, tmp_path / "a", tokenizer=tokenizer, executor=pool)
    tokenize(corpus, tmp_path / "b", tokenizer=tokenizer)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


class _SchedulerGoes(ThreadPoolExecutor):
    """As Dask's executor, whose scheduler no longer answers."""

    @property
    def _client(self) -> Any:
        return self

    def nthreads(self) -> NoReturn:
        raise OSError("ConnectionPool closing.")


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 0.01)
    with (
        _SchedulerGoes(1) as pool,
        pytest.raises(ChildProcessError, match=r"^the workers were lost \(OSError: Connection"),
    ):
        executors._result(pool, executors._submitted(pool, time.sleep, 0.5))


class LosesEachTaskOnce(Executor):
    """As Dask's executor, whose workers are lost when a result was fetched and before it asks how the task ended."""

    class _Finished:
        status = "lost"

        def __init__(self, result: object) -> None:
            self._value = result

        async def _result(self, raiseit: bool) -> object:
            return self._value

    def __init__(self) -> None:
        self._lost: set[str] = set()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        result, task = function(*arguments), repr(arguments)
        if task in self._lost:
            future.set_result(result)
            return future
        self._lost.add(task)

        async def pass_on() -> None:
            cfexecutor = pytest.importorskip("distributed.cfexecutor")
            await cfexecutor._cascade_future(self._Finished(result), future)

        with ThreadPoolExecutor(1) as thread:  # the main one may have a loop, that of a browser of other tests
            thread.submit(asyncio.run, pass_on()).result()
        return future


@pytest.mark.parametrize("returned", [executors.RETURNED, 0], ids=["given back", "left in a file"])
def test_a_result_that_dask_takes_for_an_error_is_made_again(
    returned: int,
    small: None,
    corpus: Path,
    whole: tuple[bytes, bytes],
    tmp_path: Path,
    tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors, "RETURNED", returned)
    tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, executor=LosesEachTaskOnce())
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "out.json").read_bytes()) == whole


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor], ids=["threads", "processes"])
def test_any_executor_writes_the_same(
    kind: Callable[[int], Executor],
    small: None,
    corpus: Path,
    whole: tuple[bytes, bytes],
    tmp_path: Path,
    tokenizer: Tokenizer,
) -> None:
    with kind(2) as executor:
        tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, executor=executor)
        assert ((tmp_path / "out").read_bytes(), (tmp_path / "out.json").read_bytes()) == whole
        counts = count(corpus, tokenizer=tokenizer, executor=executor)
        assert counts == count(corpus, tokenizer=tokenizer)
        assert executor.submit(len, "open").result() == 4  # it is its user's, and goes on
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out", "out.json"]


def test_workers_in_another_directory_read_what_the_names_mean_here(
    corpus: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"corpus/{path.relative_to(corpus)}" for path in sorted(corpus.rglob("*")) if path.is_file()]
    with ProcessPoolExecutor(1) as executor:
        assert executor.submit(len, "started").result() == 7  # where the directory is still another
        monkeypatch.chdir(tmp_path)
        counts = count(names, tokenizer=tokenizer, executor=executor)
        assert counts == count(names, tokenizer=tokenizer)
        assert [each.path for each in counts.sources] == names
        Path(names[0]).unlink()
        with pytest.raises(FileNotFoundError) as refused:
            count(names, tokenizer=tokenizer, executor=executor)
        assert refused.value.filename == names[0]


class _Counting(ThreadPoolExecutor):
    """An executor that remembers its futures, and begins with the first when there are many."""

    def __init__(self) -> None:
        self.has_many = Event()
        super().__init__(1, initializer=self.has_many.wait, initargs=(60,))
        self.futures: list[Future[Any]] = []

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        self.futures.append(super().submit(*arguments, **options))
        if len(self.futures) > 10:
            self.has_many.set()
        return self.futures[-1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_whatever_ends_a_run_no_task_is_left(
    error: type[BaseException],
    small: None,
    corpus: Path,
    tmp_path: Path,
    tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(*_: object) -> None:
        raise error

    monkeypatch.setattr(Output, "add", end)
    with _Counting() as executor:
        with pytest.raises(error):
            tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, executor=executor)
        assert len(executor.futures) > 10
        assert sum(not future.done() for future in executor.futures) <= 1  # that one was running
    assert not list(tmp_path.glob("out*"))


def test_an_encoder_is_made_once_in_a_process(small: None, corpus: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    executors._encoder.cache_clear()
    with ThreadPoolExecutor(1) as executor:
        tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, executor=executor)
    assert executors._encoder.cache_info().misses == 1
    assert executors._encoder.cache_info().hits > 50


def test_workers_that_do_not_share_the_output_directory_are_an_error(
    small: None, corpus: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Output, "make_parts", lambda _: tmp_path / "of another machine")
    with ThreadPoolExecutor(1) as executor, pytest.raises(FileNotFoundError, match="it must have the same paths"):
        tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, executor=executor)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-9], lambda data: bytes(len(data))])
def test_what_a_worker_left_is_an_error_where_it_is_not_whole(
    damage: Callable[[bytes], bytes],
    small: None,
    corpus: Path,
    tmp_path: Path,
    tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a file system can show it to another machine than the one that wrote it."""
    read = executors._read

    def damaged(spilled: executors.Spilled) -> Iterator[executors.Outcome]:
        spilled.path.write_bytes(damage(spilled.path.read_bytes()))
        return read(spilled)

    monkeypatch.setattr(executors, "_read", damaged)
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(OSError, match="a worker's result file is incomplete") as raised,
    ):
        tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, executor=executor)
    assert raised.value.filename == str(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_executor_that_takes_no_tasks_is_an_error(corpus: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(ChildProcessError, match=r"the workers were lost .*cannot schedule new futures after shutdown"):
        tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, executor=executor)


def test_jobs_and_an_executor_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="give one of them"):
        count(tmp_path, jobs=2, executor=executor)


class _Closed(ThreadPoolExecutor):
    """An executor as Dask's without its scheduler: what is begun never ends."""

    class _client:  # noqa: N801
        status = "closed"

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        return Future()


def test_an_executor_that_is_gone_is_an_error(
    corpus: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 0.01)
    with _Closed(1) as executor, pytest.raises(ChildProcessError, match="the connection to the scheduler is closed"):
        tokenize(corpus, tmp_path / "out", tokenizer=tokenizer, executor=executor)


class _Cancelling(ThreadPoolExecutor):
    """An executor that was shut down with `cancel_futures=True`: what has not begun is cancelled."""

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.cancel()
        return future


def test_a_task_that_its_executor_cancels_is_lost(
    corpus: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 0.01)
    with _Cancelling(1) as executor, ThreadPoolExecutor(1) as thread:
        run = thread.submit(tokenize, corpus, tmp_path / "out", tokenizer=tokenizer, executor=executor)
        with pytest.raises(ChildProcessError, match="the workers were lost"):
            run.result(timeout=60)


class _ShutDownMeanwhile(ProcessPoolExecutor):
    def submit(self, function: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        future = super().submit(function, *arguments)
        if function is executors._work:
            self.shutdown(wait=False)
        return future


def test_a_pool_that_is_shut_down_meanwhile_ends_what_it_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 0.001)
    (tmp_path / "a.txt").write_text("a")
    assert count(tmp_path / "a.txt", executor=_ShutDownMeanwhile(1)).tokens == 1
