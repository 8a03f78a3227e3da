"""Processes of this machine as an executor: they start at once, end at once, and say so where they cannot."""

import errno
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from minigpt2.forking import FORK_WAITS, RenewedLock, ordered_hooks
from minigpt2.interrupts import held_interrupts

_LOOKS = 1.0  # seconds between two looks at whether a pool has stopped as it starts

#: Held while a pool starts or is broken off, which changes a hook of the whole process.
_STARTING = RenewedLock()

T = TypeVar("T")


@contextmanager
def processes(jobs: int) -> Iterator[Executor | None]:
    """An executor of so many processes of this machine; None for one, which is this.

    They start at once, before files are opened that they would inherit, and end at once where the context does not.
    """
    if jobs == 1:
        yield None
        return
    with FORK_WAITS, ordered_hooks():  # otherwise these are imported as a pool starts
        for name in ("synchronize", "popen_fork", "popen_forkserver", "popen_spawn_posix"):
            with suppress(ImportError):  # as some systems lack them
                import_module(f"multiprocessing.{name}")
    with _noticed_ends(), _pool(jobs) as pool:
        yield pool


class _Pool(ProcessPoolExecutor):
    """Starts its processes, some of them with later tasks, where Ctrl-C has to wait."""

    def submit(self, function: Callable[..., T], /, *arguments: Any, **options: Any) -> "Future[T]":
        with held_interrupts(), _blocked_interrupts():
            return super().submit(function, *arguments, **options)


@contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Block Ctrl-C, and so in workers that start meanwhile until they ignore it: as they start they print tracebacks.

    What is blocked stays so in a process that is spawned, and the handler stays in one that is forked. The handler has
    to wait too: another thread could take what is blocked here.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:  # from here on another signal's handler may raise an exception at any moment
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _pool(jobs: int) -> Iterator[Executor]:
    context = _context()
    with ExitStack() as ends:
        try:
            theirs, ours = map(ends.enter_context, context.Pipe(duplex=False))
            pool = _Pool(jobs, context, _start, (theirs, ours, _handled()))
            ends.enter_context(_shut_down(pool, ours))
            if multiprocessing.current_process().daemon:
                raise RuntimeError("this one is daemonic, as a worker of another pool")
            _work_once(pool)
        except (OSError, RuntimeError) as error:  # without shared memory, or with too few files, processes or threads
            if isinstance(error.__context__, KeyboardInterrupt):  # it interrupted Python's own wait for a lock
                raise
            reason = getattr(error, "strerror", None) or str(error)
            way_out = "fewer --jobs may do, and one always does"
            raise OSError(errno.EAGAIN, f"no {jobs} processes can be started here ({reason}): {way_out}") from None
        yield pool


@contextmanager
def _shut_down(pool: ProcessPoolExecutor, ours: Connection) -> Iterator[None]:
    """Wait at the end until the pool's processes have ended; on an error they end at once, whatever they work on."""
    try:
        yield
        pool.shutdown(cancel_futures=True)
    except BaseException:
        # In Python 3.11 the pool's thread fails where processes have ended and tasks are cancelled.
        no_pool = suppress(RuntimeError, AttributeError)  # it never started, or has ended
        with held_interrupts(), _STARTING.now, _silent_manager(), no_pool:
            _close_reader(pool)
            ours.close()
            # Without a writer the pool does not wait for the rest of a result that is half written.
            pool._result_queue._writer.close()  # type: ignore[attr-defined]
            pool.shutdown(cancel_futures=True)
        raise


def _close_reader(pool: ProcessPoolExecutor) -> None:
    """Close this process's end of the pipe that tasks are read from: the pool would wait until all of one is written.

    Another file takes its number, which the pool's thread may close at the same moment. Windows has no such numbers.
    """
    if sys.platform != "win32":
        with suppress(OSError), Path(os.devnull).open("rb") as nothing:  # it may be closed already
            os.dup2(nothing.fileno(), pool._call_queue._reader.fileno(), inheritable=False)  # type: ignore[attr-defined]


def _work_once(pool: ProcessPoolExecutor) -> None:
    """Have a pool start its threads and processes, which it does when it is given something to do.

    Raises:
        OSError, RuntimeError: one cannot be started.
    """
    with _STARTING.now, _silent_manager(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of numpy's threads, which are idle
        task = pool.submit(os.getpid)
        while not wait([task], _LOOKS).done:
            if has_stopped(pool):
                raise RuntimeError("one of them, or a thread, does not start")
        if task.exception():
            raise RuntimeError("one of them ended at once")


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


def _handled() -> set[int]:
    """The signals that the script handles, and Ctrl-C's. They can reach every process, but the parent decides.

    In a forked worker, a handler could interrupt a result that is half written.
    """
    return {signal.SIGINT, *(each for each in signal.valid_signals() if callable(signal.getsignal(each)))}


def _start(alive: Connection, parents: Connection, handled: set[int]) -> None:
    for number in handled - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if signal.SIGTERM in handled:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # `Process.terminate` sends it
        if hasattr(os, "setpgid"):
            os.setpgid(0, 0)  # signals to the script's process group do not reach this process
    parents.close()
    try:
        threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    except RuntimeError:  # too many threads; the parent says so
        os._exit(1)


def _end_with(alive: Connection) -> None:
    """End this process as soon as its parent closes the other end of the pipe, or is killed."""
    alive.poll(None)
    os._exit(1)


def has_stopped(executor: Executor) -> bool:
    """Whether a pool has lost a process, or the thread that hands out the tasks, and perhaps does not know it.

    It does not see the end of a process that was writing a result. Its thread ends where it can start no other thread.
    """
    if not isinstance(executor, ProcessPoolExecutor):
        return False
    processes, thread = list((executor._processes or {}).values()), executor._executor_manager_thread
    has_ended = thread is not None and not thread.is_alive()  # type: ignore[attr-defined]
    return has_ended or any(process.exitcode for process in processes)
