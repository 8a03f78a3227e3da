"""Who makes the ids: this process, several of this machine, or any `concurrent.futures.Executor`, in the same order."""

import errno
import os
import pickle
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, wait
from functools import cache, lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from minigpt2.atomic_write import atomic_write, naming
from minigpt2.corpus.chunks import Chunk, Span, grouped
from minigpt2.corpus.encoding import CorpusEncoder, Encoded
from minigpt2.corpus.pools import has_stopped

#: The stored bytes of a task: enough that handing it over costs little beside its work.
TASK = 4 << 20

#: How many tasks are handed over before the first of them is done: for each process here, and to an executor.
AHEAD_HERE, AHEAD = 3, 64
# More processes than any one machine has processors.
MOST_JOBS = 1024

#: The bytes of ids that a task gives back; more are left in a file.
RETURNED = 4 << 20

#: Seconds between two looks at whether an executor is still there.
PATIENCE = 1.0

T = TypeVar("T")
P = TypeVar("P")
Parts = list[Span | Chunk]
Outcome = Encoded | Exception  # what a task made, or the error that ended it


class Spilled(NamedTuple):
    """The file that holds what a task made, and its size in bytes."""

    path: Path
    size: int


# ---- in the process that wants the ids


def encoded(
    encoder: CorpusEncoder,
    parts: Iterable[Span | Chunk],
    executor: Executor | None,
    directory: Path | None,
    ahead: int = AHEAD,
) -> Generator[Encoded, None, None]:
    """The encoder's results for spans and chunks, in their order, by an executor's workers if there is one.

    In `directory`, which the workers must share, they leave what is too large to give back; they stop when it is gone.
    It is None where ids are only counted. Closing the generator cancels the tasks that have not begun.

    Raises:
        ChildProcessError: the executor lost its workers.
        OSError, ValueError, ImportError: as the encoder and the parts, the first of them in order.
    """
    if executor is None:
        yield from encoder.encoded(parts)
        return
    pickled = pickle.dumps(encoder)
    failure: list[Exception] = []
    waiting: deque[_Task[list[Outcome] | Spilled]] = deque()
    try:
        for number, task in enumerate(_until_failure(grouped(parts, TASK), failure)):
            spill = directory / str(number) if directory else None
            waiting.append(_submitted(executor, _work, pickled, task, spill))
            while waiting and (waiting[0].future.done() or len(waiting) >= ahead):
                yield from _outcome(executor, waiting.popleft())
        while waiting:
            yield from _outcome(executor, waiting.popleft())
    finally:
        for each in waiting:
            each.future.cancel()
    if failure:
        raise failure[0]


def _until_failure(tasks: Iterable[P], failure: list[Exception]) -> Iterator[P]:
    """Tasks until one cannot be found: that error's turn comes after what was found before."""
    try:
        yield from tasks
    except (OSError, ValueError, ImportError) as error:
        failure.append(error)


def _outcome(executor: Executor, task: "_Task[list[Outcome] | Spilled]") -> Iterator[Encoded]:
    outcomes = _result(executor, task)
    for outcome in _read(outcomes) if isinstance(outcomes, Spilled) else outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        yield outcome


def _read(spilled: Spilled) -> Iterator[Outcome]:
    """Read the outcomes that a worker wrote to a file, and delete the file.

    Raises:
        OSError: the file cannot be read, or is not as the worker wrote it.
    """
    path = spilled.path
    with naming(path), path.open("rb") as file:
        try:
            if os.fstat(file.fileno()).st_size != spilled.size:
                raise EOFError
            while file.peek(1):
                yield pickle.load(file)
        except (EOFError, pickle.UnpicklingError):
            reason = "a worker's result file is incomplete: does this machine see all that the workers write?"
            raise OSError(errno.EIO, reason, str(path)) from None
    path.unlink()


def later(encoder: CorpusEncoder, function: Callable[[CorpusEncoder], T], executor: Executor | None) -> Callable[[], T]:
    """Have something found out about the encoder, by a worker if there is one; call the result when it is needed."""
    if executor is None:
        return cache(partial(function, encoder))
    asked = _submitted(executor, _ask, pickle.dumps(encoder), function)
    return lambda: pickle.loads(_result(executor, asked))


class _Task(NamedTuple, Generic[T]):
    """The future of a task, and a function that submits the task again."""

    future: "Future[T]"
    again: "Callable[[], _Task[T]]"


def _submitted(executor: Executor, function: Callable[..., T], *arguments: object) -> _Task[T]:
    try:
        return _Task(executor.submit(function, *arguments), partial(_submitted, executor, function, *arguments))
    except (RuntimeError, OSError) as error:  # it was shut down, its workers ended, or no more can be started
        raise _lost(error) from error


def _result(executor: Executor, task: _Task[T]) -> T:
    """The result of a task. Tasks return their own errors, so an error of the future itself is the executor's."""
    _wait(executor, task.future)
    error = CancelledError() if task.future.cancelled() else task.future.exception()
    if error is None:
        return task.future.result()
    if _was_taken_for_an_error(error):
        return _result(executor, task.again())
    if _is_loss(error):
        raise _lost(error) from error
    raise error


def _wait(executor: Executor, future: "Future[T]") -> None:
    """Wait until a future is done or its workers are lost. Exceptions of the caller's signal handlers pass through."""
    # `wait` does not count a future as done that `shutdown(cancel_futures=True)` has cancelled.
    while not (wait([future], PATIENCE).done or future.cancelled()):
        if is_closed(executor):
            raise _lost(ConnectionError("the connection to the scheduler is closed"))
        if has_stopped(executor):
            raise _lost(BrokenExecutor())
        if _has_no_workers(executor):
            warnings.warn("the Dask cluster has no workers: waiting until one joins it", stacklevel=2)


def _is_loss(error: BaseException) -> bool:
    """Whether an error means that a worker was lost.

    A forked worker inherits signal handlers. SystemExit from one of them, even with status 0, would end this process.
    """
    is_executors = isinstance(error, (BrokenExecutor, CancelledError, OSError, ImportError))
    return is_executors or not isinstance(error, Exception) or type(error).__module__.startswith("distributed.")


def _was_taken_for_an_error(error: BaseException) -> bool:
    """Whether Dask fetched the result and took it for an error, because its worker was lost at this very moment."""
    raised_in = [frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)]
    is_of_kind = isinstance(error, (ValueError, TypeError, AttributeError))
    return is_of_kind and raised_in[-1:] == ["distributed.cfexecutor"]


def is_closed(executor: Executor) -> bool:
    """Whether Dask lost its scheduler: some of its futures then stay as they are for ever."""
    client = getattr(executor, "_client", None)
    return getattr(client, "status", "running") in ("closing", "closed")


def _has_no_workers(executor: Executor) -> bool:
    """Whether Dask's scheduler has no worker to give a task to.

    Raises:
        ChildProcessError: it does not answer.
    """
    client = getattr(executor, "_client", None)
    try:
        return client is not None and not client.nthreads()
    except (CancelledError, OSError) as error:
        raise _lost(error) from error


def _lost(error: BaseException) -> ChildProcessError:
    if isinstance(error, BrokenExecutor):
        reason = "a worker process ended unasked; where memory, threads or files are short, fewer --jobs help"
        return ChildProcessError(reason)
    reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
    way_out = "with --resume, `minigpt2 tokenize` continues when they are back"
    return ChildProcessError(f"the workers were lost ({reason}); {way_out}")


# ---- in a worker


@lru_cache(maxsize=1)
def _encoder(pickled: bytes) -> CorpusEncoder:
    """The encoder that a process keeps from task to task: what it has learned makes it quick."""
    encoder: CorpusEncoder = pickle.loads(pickled)
    return encoder


def _ask(pickled: bytes, function: Callable[[CorpusEncoder], object]) -> bytes:
    """Call a function with the encoder and pickle its result, because ipyparallel sorts the keys of dictionaries."""
    return pickle.dumps(function(_encoder(pickled)))


def _work(pickled: bytes, task: Parts, spill: Path | None) -> list[Outcome] | Spilled:
    """A task's results and, last, the error that ended it; where that is much, the file that holds it.

    Where that file cannot be written, that is the task's error.
    """
    outcomes = _outcomes(_encoder(pickled), task, spill and spill.parent)
    held: list[Outcome] = []
    size = 0
    for outcome in outcomes:
        held.append(outcome)
        size += len(outcome.ids) if isinstance(outcome, Encoded) else 0
        if spill and size > RETURNED:
            try:
                with atomic_write(spill) as file:
                    for each in chain(held, outcomes):
                        pickle.dump(each, file)
                    spilled = Spilled(spill, file.tell())
            except OSError as error:
                return [error]
            return spilled
    return held


def _outcomes(encoder: CorpusEncoder, task: Parts, directory: Path | None) -> Iterator[Outcome]:
    try:
        for each in encoder.encoded(task):
            if directory and not directory.is_dir():
                reason = "a worker does not find this directory: it must have the same paths as the process that asks"
                raise FileNotFoundError(errno.ENOENT, reason, str(directory))
            yield each
    except (OSError, ValueError, ImportError) as error:
        yield error
