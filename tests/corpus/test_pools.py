"""Processes as an executor: they are lost, cannot start, or are interrupted, and one line or none says so."""

import multiprocessing
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from minigpt2.corpus import count, pools


def test_the_ends_of_processes_that_were_ignored_are_noticed_as_long_as_there_are_workers() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as some supervisors start what they start
    try:
        with pools.processes(2):
            assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, before)


DYING = """
import os, signal, sys, time
from minigpt2.corpus.executors import _result, _submitted
from minigpt2.corpus.pools import processes

def write_half_a_result_and(end):
    queue = sys._getframe(1).f_locals["result_queue"]
    queue._wlock.acquire()
    os.write(queue._writer.fileno(), (1000).to_bytes(4, "big"))  # the length of what is to come
    end()

def die():
    os.kill(os.getpid(), signal.SIGKILL)

with processes(2) as pool:
    {work}
"""


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (
            "_result(pool, _submitted(pool, write_half_a_result_and, die))",
            "ChildProcessError: a worker process ended unasked",
        ),
        ("pool.submit(write_half_a_result_and, signal.pause); time.sleep(0.5); 1 / 0", "ZeroDivisionError"),
    ],
    ids=["the worker is killed", "the run fails"],
)
def test_a_result_that_a_worker_wrote_by_half_holds_nothing_up(work: str, error: str) -> None:
    code = [sys.executable, "-c", DYING.format(work=work)]
    ended = subprocess.run(code, capture_output=True, text=True, timeout=60, check=False)
    assert error in ended.stderr


@pytest.mark.parametrize(("code", "is_lost"), [(0, False), (1, True)])
def test_a_worker_that_ended_without_an_error_is_not_lost(code: int, is_lost: bool) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=sys.exit, args=(code,))
    worker.start()
    worker.join()
    with ProcessPoolExecutor(1) as pool:  # such as one that replaces a worker after some tasks
        pool._processes = cast(Any, {1: worker})
        assert pools.has_stopped(pool) == is_lost
        pool._processes = {}


WITHOUT_A_THREAD = """
import sys
from threading import Thread
from minigpt2.cli import main

start = Thread.start

def refuse(thread):
    if {name!r} in f"{{type(thread).__name__}} {{thread.name}}":
        raise RuntimeError("can't start new thread")
    start(thread)

Thread.start = refuse
sys.exit(main(["count", {path!r}, "--jobs", "2"]))
"""


@pytest.mark.parametrize("name", ["_ExecutorManagerThread", "QueueFeederThread", "_end_with"])
def test_where_a_thread_cannot_be_started_fewer_jobs_are_advised(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    code = WITHOUT_A_THREAD.format(name=name, path=str(tmp_path / "a.txt"))
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert finished.returncode == 1
    assert re.fullmatch(
        "minigpt2: no 2 processes can be started here .*: fewer --jobs may do.*\n", finished.stderr.decode()
    )


INTERRUPTED = """
import os, signal, sys, time
from threading import Event, Thread
from minigpt2.__main__ import main
from minigpt2.corpus import executors, pools

executors.TASK = 1 << 16  # takes longer than submitting the next one, so that a second worker starts

def interrupt():
    for _ in range({times}):
        os.killpg(0, signal.SIGINT)  # as a terminal sends it, to all processes
        time.sleep(0.1 / {times})
{how}
sys.argv[1:] = ["tokenize", {path!r}, "-o", {path!r} + ".bin", "--jobs", "3"]
sys.exit(main())
"""
FORKED = """
start = pools._start

def interrupted_start(*arguments):
    interrupt()
    start(*arguments)

pools._start = interrupted_start
"""
SPAWNED = """
from multiprocessing.popen_spawn_posix import Popen

Thread(target=Event().wait, daemon=True).start()  # with which forking is not safe
launch, launched = Popen._launch, []

def interrupted_launch(*arguments):
    launch(*arguments)
    launched.append(arguments)
    if len(launched) == 2:  # the first is started before there is work
        time.sleep(0.1)  # so that Python starts there
        interrupt()

Popen._launch = interrupted_launch
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no process is forked here")
@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("how", [FORKED, SPAWNED], ids=["forked", "spawned"])
def test_an_interrupt_while_workers_start_ends_the_run_without_a_word(how: str, times: int, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a " * 500_000)
    code = INTERRUPTED.format(how=how, times=times, path=str(tmp_path / "a.txt"))
    finished = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True, timeout=60, check=False
    )
    assert (finished.returncode, finished.stderr) == (-signal.SIGINT, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_an_interrupt_while_a_pool_is_broken_off_waits_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt), pools.processes(2) as pool:
        assert isinstance(pool, ProcessPoolExecutor)
        pool.submit(time.sleep, 60)
        workers, shutdown = list(pool._processes.values()), pool.shutdown
        writer: Any = pool._result_queue._writer  # type: ignore[attr-defined]
        close = writer.close

        def interrupted_close() -> None:
            signal.raise_signal(signal.SIGINT)
            close()

        def interrupted_shutdown(**options: bool) -> None:
            signal.raise_signal(signal.SIGINT)
            shutdown(**options)

        monkeypatch.setattr(writer, "close", interrupted_close)
        monkeypatch.setattr(pool, "shutdown", interrupted_shutdown)
        raise MemoryError
    assert writer.closed and workers and not any(worker.is_alive() for worker in workers)


def test_an_interrupt_within_a_lock_as_they_start_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own wait for a lock can fail to release it where an interrupt comes in its middle."""

    def wait(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    monkeypatch.setattr(pools, "wait", wait)
    with pytest.raises(RuntimeError, match="release unlocked lock"), pools.processes(2):
        pass


def test_a_process_that_may_start_no_others_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(OSError, match=r"no 2 processes can be started here \(this one is daemonic"), pools.processes(2):
        pass


def shut_down_late(pool: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shut a pool down when its thread has noticed that its processes are gone."""
    shutdown = pool.shutdown

    def late(**options: bool) -> None:
        time.sleep(0.5)
        shutdown(**options)

    monkeypatch.setattr(pool, "shutdown", late)


def test_no_thread_fails_where_a_pool_with_waiting_tasks_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = list[threading.ExceptHookArgs]()
    monkeypatch.setattr(threading, "excepthook", failed.append)
    with pytest.raises(KeyboardInterrupt), pools.processes(2) as pool:
        assert pool
        tasks = [pool.submit(time.sleep, 60) for _ in range(20)]
        time.sleep(0.5)  # the queue to the processes is full
        for each in tasks:
            each.cancel()
        shut_down_late(pool, monkeypatch)
        raise KeyboardInterrupt
    assert failed == []


def test_a_task_that_is_half_written_holds_nothing_up_where_a_pool_is_broken_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the text of a stream is, while the workers are busy."""
    before = set(threading.enumerate())
    with pytest.raises(MemoryError), pools.processes(2) as pool:
        assert pool
        for _ in range(2):
            pool.submit(time.sleep, 60)
        tasks = [pool.submit(len, bytes(1 << 22)) for _ in range(5)]
        time.sleep(0.5)  # the pipe to the processes is full
        for each in tasks:
            each.cancel()
        shut_down_late(pool, monkeypatch)
        raise MemoryError
    for thread in set(threading.enumerate()) - before:  # as Python does at its end for the one that writes tasks
        thread.join(timeout=10)
        assert not thread.is_alive()


SIGNALLED = """
import multiprocessing, os, signal, subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor
from minigpt2.corpus import executors, pools

def raises():
    raise TimeoutError("mine")

signal.signal(signal.{signal}, lambda *_: {handler})
with {pool} as pool:
    tasks = [executors._submitted(pool, time.sleep, {seconds}) for _ in range(2)]
    time.sleep(0.5)
    {act}
    for task in tasks:
        executors._result(pool, task)
print("whole", file=sys.stderr)
"""
POOLS = pytest.mark.parametrize(
    "pool", ["pools.processes(2)", "ProcessPoolExecutor(2, multiprocessing.get_context('fork'))"]
)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="no process is forked here, which inherits handlers")


def last_words(**parts: object) -> str:
    """The last line that a process writes to stderr whose pool's processes work while signals come."""
    command = [sys.executable, "-W", "ignore", "-c", SIGNALLED.format(**parts)]
    finished = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, timeout=50, check=False
    )
    return finished.stderr.splitlines()[-1]


HANDLERS = ["None", "sys.exit(0)", "sys.exit('ended')", "os._exit(0)"]  # it notes a signal, or ends, as in a container
TO_ALL = "subprocess.run(['kill', '-{}', *map(str, pool._processes)])"
TO_GROUP = "subprocess.run(['kill', '-{}', '--', f'-{{os.getpgrp()}}'])"
END_CHILDREN = "[each.terminate() or each.join() for each in multiprocessing.active_children()]"


@LINUX
@pytest.mark.parametrize("name", ["HUP", "USR1"])
@pytest.mark.parametrize("handler", HANDLERS)
def test_another_signal_that_the_script_has_a_handler_for_ends_no_worker(handler: str, name: str) -> None:
    options = {"signal": f"SIG{name}", "handler": handler, "seconds": 2, "act": TO_ALL.format(name)}
    assert last_words(pool="pools.processes(2)", **options) == "whole"


@LINUX
@pytest.mark.parametrize(
    ("handler", "words"), [("None", "whole"), (END_CHILDREN, "ChildProcessError: a worker process")]
)
def test_sigterm_to_the_group_is_left_to_the_script(handler: str, words: str) -> None:
    options = {"signal": "SIGTERM", "handler": handler, "seconds": 2, "act": TO_GROUP.format("TERM")}
    assert last_words(pool="pools.processes(2)", **options).startswith(words)


@LINUX
@pytest.mark.parametrize(
    "act",
    [
        END_CHILDREN,
        "os.kill(next(iter(pool._processes)), signal.SIGKILL)",
    ],
)
def test_a_worker_that_the_script_ends_or_that_is_killed_ends_the_run(act: str) -> None:
    said = last_words(signal="SIGTERM", handler="None", pool="pools.processes(2)", seconds=300, act=act)
    assert said.startswith("ChildProcessError: a worker process ended unasked;")


@LINUX
@pytest.mark.parametrize("handler", HANDLERS[1:3])
def test_a_worker_of_another_pool_that_a_handler_ends_is_lost(handler: str) -> None:
    options = {"signal": "SIGTERM", "handler": handler, "seconds": 2, "act": TO_ALL.format("TERM")}
    said = last_words(pool="ProcessPoolExecutor(2, multiprocessing.get_context('fork'))", **options)
    assert said.startswith("ChildProcessError: the workers were lost (SystemExit: ")


@LINUX
@POOLS
def test_what_a_signals_handler_raises_while_workers_work_is_raised(pool: str) -> None:
    act = "signal.setitimer(signal.ITIMER_REAL, 0.3)"
    said = last_words(signal="SIGALRM", handler="raises()", pool=pool, seconds=2, act=act)
    assert said == "TimeoutError: mine"


def test_pools_that_start_at_once_leave_the_hook_for_errors_of_threads(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    before = threading.excepthook
    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(lambda _: count(tmp_path / "a.txt", jobs=2), range(3)))) == 3
    assert threading.excepthook is before
