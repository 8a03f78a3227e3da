"""Who makes the ids: this process, several of this machine, or any `concurrent.futures.Executor`, in the same order."""

import errno
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, lru_cache, partial
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from minigpt2.atomic_write import atomic_write
from minigpt2.corpus.chunks import Chunk, Span, grouped
from minigpt2.corpus.encoding import CorpusEncoder, Encoded
from minigpt2.forking import RenewedLock

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

#: Held while a pool starts or is broken off, which changes a hook of the whole process.
_STARTING = RenewedLock()

T = TypeVar("T")
P = TypeVar("P")
Parts = list[Span | Chunk]
Outcome = Encoded | Exception  # what a task made, or the error that ended it


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
    waiting: deque[_Task[list[Outcome] | Path]] = deque()
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


def _outcome(executor: Executor, task: "_Task[list[Outcome] | Path]") -> Iterator[Encoded]:
    outcomes = _result(executor, task)
    for outcome in _spilled(outcomes) if isinstance(outcomes, Path) else outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        yield outcome


def _spilled(path: Path) -> Iterator[Outcome]:
    with path.open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)
    path.unlink()


def later(encoder: CorpusEncoder, function: Callable[[CorpusEncoder], T], executor: Executor | None) -> Callable[[], T]:
    """Have something found out about the encoder, by a worker if there is one; call the result when it is needed."""
    if executor is None:
        return cache(partial(function, encoder))
    return partial(_result, executor, _submitted(executor, _ask, pickle.dumps(encoder), function))


class _Task(NamedTuple, Generic[T]):
    """The future of a task, and a function that submits the task again."""

    future: "Future[T]"
    again: "Callable[[], _Task[T]]"


def _submitted(executor: Executor, function: Callable[..., T], *arguments: object) -> _Task[T]:
    try:
        return _Task(executor.submit(function, *arguments), partial(_submitted, executor, function, *arguments))
    except (RuntimeError, OSError) as error:  # it was shut down, its workers ended, or no more can be started
        raise ChildProcessError(_loss(error)) from error


def _result(executor: Executor, task: _Task[T]) -> T:
    """The result of a task. It gives its own errors back too, so one that is raised is the executor's."""
    try:
        while not wait([task.future], PATIENCE).done:
            if is_closed(executor):
                raise ConnectionError("the connection to the scheduler is closed")
            if _has_stopped(executor):
                raise BrokenExecutor
            if _has_no_workers(executor):
                warnings.warn("the Dask cluster has no workers: waiting until one joins it", stacklevel=2)
        return task.future.result()
    except (BrokenExecutor, CancelledError, OSError, ImportError) as error:
        raise ChildProcessError(_loss(error)) from error
    except Exception as error:
        if _was_taken_for_an_error(error):
            return _result(executor, task.again())
        if type(error).__module__.partition(".")[0] == "distributed":
            raise ChildProcessError(_loss(error)) from error
        raise


def _was_taken_for_an_error(error: Exception) -> bool:
    """Whether Dask fetched the result and took it for an error, because its worker was lost at this very moment."""
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    raised_by = innermost.f_globals.get("__name__")
    return raised_by == "distributed.cfexecutor" and isinstance(error, (ValueError, TypeError, AttributeError))


def is_closed(executor: Executor) -> bool:
    """Whether Dask lost its scheduler: some of its futures then stay as they are for ever."""
    client = getattr(executor, "_client", None)
    return getattr(client, "status", "running") in ("closing", "closed")


def _has_no_workers(executor: Executor) -> bool:
    """Whether Dask's scheduler has no worker to give a task to."""
    client = getattr(executor, "_client", None)
    return client is not None and not client.nthreads()


def _has_stopped(executor: Executor) -> bool:
    """Whether a pool has lost a process, or the thread that hands out the tasks, and perhaps does not know it.

    It does not see the end of a process that was writing a result. Its thread ends where it can start no other thread.
    """
    if not isinstance(executor, ProcessPoolExecutor):
        return False
    processes, thread = list((executor._processes or {}).values()), executor._executor_manager_thread
    has_ended = thread is not None and not thread.is_alive()  # type: ignore[attr-defined]
    return has_ended or any(process.exitcode is not None for process in processes)


def _loss(error: BaseException) -> str:
    if isinstance(error, BrokenExecutor):
        return "a worker process ended unasked; where memory, threads or files are short, fewer --jobs help"
    reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
    return f"the workers were lost ({reason}); with --resume, `minigpt2 tokenize` continues when they are back"


# ---- the standard library's processes


@contextmanager
def processes(jobs: int) -> Iterator[Executor | None]:
    """An executor of so many processes of this machine; None for one, which is this.

    They start at once, before files are opened that they would inherit, and end at once where the context does not.
    """
    if jobs == 1:
        yield None
        return
    with _noticed_ends(), _pool(jobs) as pool:
        yield pool


class _Pool(ProcessPoolExecutor):
    """Starts its processes, some of them with later tasks, where Ctrl-C has to wait."""

    def submit(self, function: Callable[..., T], /, *arguments: Any, **options: Any) -> "Future[T]":
        with _held_interrupts():
            return super().submit(function, *arguments, **options)


@contextmanager
def _pool(jobs: int) -> Iterator[Executor]:
    context = _context()
    with ExitStack() as ends:
        try:
            theirs, ours = map(ends.enter_context, context.Pipe(duplex=False))
            pool = _Pool(jobs, context, _start, (theirs, ours))
            ends.enter_context(_shut_down(pool, ours))
            _work_once(pool)
        except (OSError, RuntimeError) as error:  # without shared memory, or with too few files, processes or threads
            reason = getattr(error, "strerror", None) or str(error)
            way_out = "fewer --jobs may do, and one always does"
            raise OSError(errno.EAGAIN, f"no {jobs} processes can be started here ({reason}): {way_out}") from None
        yield pool


@contextmanager
def _shut_down(pool: ProcessPoolExecutor, ours: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # In Python 3.11 the pool's thread fails where processes have ended and tasks are cancelled.
        with _STARTING, _silent_manager(), suppress(RuntimeError):  # or it never started
            ours.close()
            # Without a writer the pool does not wait for the rest of a result that is half written.
            pool._result_queue._writer.close()  # type: ignore[attr-defined]
            pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown(cancel_futures=True)


def _work_once(pool: ProcessPoolExecutor) -> None:
    """Have a pool start its threads and processes, which it does when it is given something to do.

    Raises:
        OSError, RuntimeError: one cannot be started.
    """
    with _STARTING, _silent_manager(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of numpy's threads, which are idle
        task = pool.submit(os.getpid)
        while not wait([task], PATIENCE).done:
            if _has_stopped(pool):
                raise RuntimeError("one of them, or a thread, does not start")
        if task.exception():
            raise RuntimeError("one of them ended at once")


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait until the end, and in new workers until `_start`, which ignores it.

    It would print tracebacks there, and be lost during a fork. What is blocked stays so in a process that is spawned,
    and the handler stays in one that is forked. Without the handler another thread could take what is blocked here.
    """
    before, held = signal.getsignal(signal.SIGINT), list[Any]()
    takes_it = callable(before) and threading.current_thread() is threading.main_thread()
    if takes_it:
        signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
    can_block = hasattr(signal, "pthread_sigmask")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_block else None
    try:
        yield
    finally:
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if takes_it:
            signal.signal(signal.SIGINT, before)
        if held and callable(before):
            before(*held[0])


@contextmanager
def _silent_manager() -> Iterator[None]:
    """Print no traceback of a pool's thread: what it cannot do is noticed by the one who waits for it."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if type(arguments.thread).__module__ != "concurrent.futures.process":
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def _noticed_ends() -> Iterator[None]:
    """Notice when a worker ends, also where this process ignores SIGCHLD, perhaps since it was started."""
    was_ignored = False
    with suppress(AttributeError, ValueError):  # Windows lacks the signal, and another thread cannot set it
        was_ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        if was_ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        with suppress(ValueError):
            if was_ignored:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def _context() -> multiprocessing.context.BaseContext:
    """How processes are made: fork is fastest, but only safe on Linux with no other threads."""
    is_safe = sys.platform == "linux" and threading.active_count() == 1
    return multiprocessing.get_context("fork" if is_safe else "spawn")


def _start(alive: Connection, parents: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    parents.close()
    try:
        threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    except RuntimeError:  # too many threads; the parent says so
        os._exit(1)


def _end_with(alive: Connection) -> None:
    """End this process as soon as its parent closes the other end of the pipe, or is killed."""
    alive.poll(None)
    os._exit(1)


# ---- in a worker


@lru_cache(maxsize=1)
def _encoder(pickled: bytes) -> CorpusEncoder:
    """The encoder that a process keeps from task to task: what it has learned makes it quick."""
    encoder: CorpusEncoder = pickle.loads(pickled)
    return encoder


def _ask(pickled: bytes, function: Callable[[CorpusEncoder], T]) -> T:
    return function(_encoder(pickled))


def _work(pickled: bytes, task: Parts, spill: Path | None) -> list[Outcome] | Path:
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
            except OSError as error:
                return [error]
            return spill
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
