"""A renewed lock keeps other threads out, and a forked child can take it even if its parent holds it."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest

from minigpt2.forking import RenewedLock
from tests.command import ROOT, environment


def run(program: str, *arguments: str, modules: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run a program that can import minigpt2, and the modules in a directory."""
    env = environment(PYTHONPATH=os.pathsep.join(map(str, (modules, ROOT))))
    no_warning = "ignore::DeprecationWarning"  # of a fork beside threads, which is the test
    command = [sys.executable, "-W", no_warning, "-c", program, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_another_thread_waits() -> None:
    lock, seen = RenewedLock(), list[str]()

    def take() -> None:
        with lock.now:
            seen.append("taken")

    with lock.now:
        thread = Thread(target=take)
        thread.start()
        thread.join(0.05)
        assert seen == []
    thread.join()
    assert seen == ["taken"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_holder_can_fork_and_take_it_again_in_the_child() -> None:
    lock, child, outcome = RenewedLock(), -1, 1
    try:
        with lock.now:
            child = os.fork()
            with lock.now:
                pass
        outcome = 0
    finally:
        if child == 0:
            os._exit(outcome)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


INTERRUPTED = """
import os, signal, sys, threading, time
from minigpt2.forking import FORK_WAITS

class Interrupt(Exception):
    pass

def interrupt(*_):
    raise Interrupt

def hold():
    with FORK_WAITS:
        held.set()
        time.sleep(0.5)

held = threading.Event()
threading.Thread(target=hold).start()
held.wait()
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.1)
child = os.fork()
if not child:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(10)  # ends a child that hangs
with FORK_WAITS:
    pass
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 if child else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_signal_whose_handler_raises_does_not_end_the_wait_of_a_fork() -> None:
    ended = run(INTERRUPTED)
    assert ended.returncode == 0
    assert ended.stderr.count("Interrupt") == 1 and "un-acquired" not in ended.stderr


AT_ONCE = """
import ctypes, os, signal
from functools import partial
import minigpt2.forking

class Interrupt(Exception):
    pass

def interrupt(*_):
    raise Interrupt

signal.signal(signal.SIGALRM, interrupt)
os.register_at_fork(before=partial(ctypes.CDLL(None)["raise"], signal.SIGALRM))  # interrupts the next line
child = os.fork()
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 if child else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_one_that_raises_as_a_fork_begins_does_not_either() -> None:
    ended = run(AT_ONCE)
    assert ended.returncode == 0
    assert ended.stderr.count("Interrupt") == 1 and "un-acquired" not in ended.stderr


GATED = """
import os, threading, time

gate, children = threading.Lock(), []

def renew():
    gate._at_fork_reinit()
    children.append(os.getpid())

{first}
os.register_at_fork(before=gate.acquire, after_in_parent=gate.release, after_in_child=renew)
{then}
with gate:
    pass
"""
A_FORK_BEGINS = "is_forked = True; time.sleep(0.5)"

FORKING = """
import os, signal, sys, threading, time
from minigpt2.forking import FORK_WAITS, ordered_hooks

def import_gated():
    with FORK_WAITS, ordered_hooks():
        import gated

signal.alarm(30)  # ends a process that hangs
register = os.register_at_fork
thread = threading.Thread(target=import_gated)
thread.start()
while not hasattr(sys.modules.get("gated"), "is_forked"):
    time.sleep(0.01)
child = os.fork()
import gated
with gated.gate:
    pass
assert gated.children == [os.getpid()] * (child == 0)
thread.join()
assert os.register_at_fork is register
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 if child else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("moments", [{"first": A_FORK_BEGINS, "then": ""}, {"first": "", "then": A_FORK_BEGINS}])
def test_a_module_may_pass_in_its_import_a_gate_that_it_closes_before_a_fork(
    moments: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "gated.py").write_text(GATED.format(**moments))
    ended = run(FORKING, modules=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")


PASSING = """
import time, filelock

is_forked = True; time.sleep(0.5)
gate, children = filelock.gate, filelock.children
with gate:
    pass
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("order", "half_imported"),
    [
        ("import minigpt2.forking, filelock", ""),
        ("import filelock, minigpt2.forking", ""),
        ("import filelock", "import minigpt2.forking"),
    ],
)
def test_a_module_may_pass_in_its_import_the_gate_of_filelock_wherever_that_was_imported(
    order: str, half_imported: str, tmp_path: Path
) -> None:
    (tmp_path / "filelock.py").write_text(GATED.format(first=half_imported, then="FileLock = object"))
    (tmp_path / "gated.py").write_text(PASSING)
    ended = run(f"{order}\n{FORKING}", modules=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")


REGISTERING = """
import os, sys, threading, time
from minigpt2.forking import FORK_WAITS, ordered_hooks

register, calls, is_there, gate = os.register_at_fork, [], threading.Event(), threading.Lock()

def slowly(**hooks):
    register(**hooks)
    calls.append(hooks)
    if len(calls) == int(sys.argv[1]):
        is_there.set()
        time.sleep(0.3)

def register_pair():
    with FORK_WAITS, ordered_hooks():
        os.register_at_fork(before=gate.acquire, after_in_parent=gate.release, after_in_child=gate._at_fork_reinit)

os.register_at_fork = slowly
threading.Thread(target=register_pair).start()
is_there.wait()
child = os.fork()
is_held = FORK_WAITS._is_owned()
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or is_held if child else is_held)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("calls", range(1, 6))
def test_a_fork_that_begins_between_two_registrations_leaves_the_lock_free(calls: int) -> None:
    assert run(REGISTERING, str(calls)).returncode == 0


POOL = """
import os, threading, time
from minigpt2.forking import FORK_WAITS

def hold():
    with FORK_WAITS:
        is_held.set()
        time.sleep(0.6)

def import_pool():
    time.sleep(0.3)
    import concurrent.futures.thread

is_held, others = threading.Event(), [threading.Thread(target=each) for each in (hold, import_pool)]
for thread in others:
    thread.start()
is_held.wait()
child = os.fork()
if child:
    for thread in others:
        thread.join()
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 if child else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_pool_that_is_imported_while_a_fork_waits_keeps_its_lock() -> None:
    ended = run(POOL)
    assert (ended.returncode, ended.stderr) == (0, "")


FIRST_USE = """
import importlib.abc, os, signal, sys, threading, time
import minigpt2

before, use = sys.argv[1:]
exec(before)

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if not is_importing.is_set():  # the first module, whichever it is
            is_importing.set()
            time.sleep(0.5)

def use_first():
    exec(use)
    is_importing.set()  # nothing was left to import

is_importing = threading.Event()
sys.meta_path.insert(0, Slow())
threading.Thread(target=use_first).start()
is_importing.wait()
child = os.fork()
signal.alarm(10)  # ends a child that hangs
exec(use)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 if child else 0)
"""
OFFLINE = """
os.environ["HF_HUB_OFFLINE"] = "1"
try:
    minigpt2.Checkpoint.remote("owner/model")
except minigpt2.HubError:
    pass
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("before", "use"),
    [
        ("", "minigpt2.Checkpoint"),
        ("", "minigpt2.Tokenizer().encode('some words')"),
        ("", "from minigpt2 import corpus"),
        ("minigpt2.Checkpoint", "minigpt2.Checkpoint.bundled()"),
        ("minigpt2.Checkpoint.bundled()", "minigpt2.Checkpoint.bundled()._repr_html_()"),
        ("minigpt2.Embeddings", "minigpt2.Embeddings(minigpt2.Checkpoint.bundled())._repr_html_()"),
        ("minigpt2.GPT2", "minigpt2.GPT2.bundled()([464])"),
        ("minigpt2.GPT2.bundled()", "minigpt2.GPT2.bundled().tokenizer"),
        ("minigpt2.Tokenizer", "from minigpt2 import hub"),
        ("minigpt2.Checkpoint", OFFLINE),
        ("minigpt2.Tokenizer", "minigpt2.Tokenizer.from_pretrained()"),
        ("minigpt2.Tokenizer", "minigpt2.Tokenizer().encode('some words' * 50_000)"),
        ("minigpt2.Tokenizer", "minigpt2.Tokenizer().decode([464] * 50_000)"),
    ],
)
def test_a_child_forked_while_a_thread_is_at_a_first_use_can_do_the_same(before: str, use: str) -> None:
    ended = run(FIRST_USE, before, use)
    assert (ended.returncode, ended.stderr) == (0, "")


# Otherwise two threads could wait for each other: for FORK_WAITS, and for Python's lock of a module.
ALL_MODULES = """
import pkgutil, sys
import minigpt2

def refuse(name):
    assert name not in minigpt2._ROOM_OF, name
    raise AttributeError(name)

minigpt2.__getattr__ = refuse
modules = [module.name for module in pkgutil.walk_packages(minigpt2.__path__, "minigpt2.")]
for module in modules:
    for each in [each for each in sys.modules if each.startswith("minigpt2.")]:
        del sys.modules[each]  # otherwise one that another has imported would be there already
        vars(minigpt2).pop(each.removeprefix("minigpt2."), None)
    if not module.endswith("__main__"):
        __import__(module)
"""


def test_no_module_needs_a_public_name_in_its_import() -> None:
    ended = run(ALL_MODULES)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_an_exception_of_a_signal_handler_leaves_no_lock_held() -> None:
    lock, seen = RenewedLock(), 0

    def interrupt(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 * (number % 30 + 1))
                while True:
                    with lock.now:
                        pass
            except InterruptedError:
                seen += 1
            is_free = ThreadPoolExecutor(1).submit(lock.now.acquire, timeout=5).result()
            assert is_free
            lock.renew()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert seen == 200
