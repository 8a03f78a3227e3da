"""A child forked while a thread reads a remote checkpoint does not hang on a lock that the thread held."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from tests.command import wait_until
from tests.hub_server import BEFORE_1, Fault, Hub
from tests.hub_settings import online
from tests.weights.remote.published import MODEL, WEIGHTS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

CODE = """
import os, signal, sys
from threading import Event, Thread
import numpy as np
from minigpt2 import Checkpoint, Embeddings

sys.setswitchinterval(1e-5)
weights = Checkpoint.remote({model!r})
rows = Embeddings(weights).tokens
wte = Embeddings(Checkpoint.open({published!r})).wte
{before}
def read():
    rows(range(10))
    Event().wait()  # a thread that has used OpenSSL holds one of its locks for a moment while it ends

Thread(target=read, daemon=True).start()
{wait}
child = os.fork()
if not child:
    print("forked", flush=True)
    os._exit(not np.array_equal(rows([300]), wte[[300]]))
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""

HALF_DONE = """
import time
from threading import Event

begun, ranges = Event(), weights._files["wte.weight"]._sparse._ranges

def add(begin, end):
    ranges._begins.append(begin)  # a range without an end
    begun.set()
    time.sleep(0.5)
    ranges._begins.pop()
    type(ranges).add(ranges, begin, end)

ranges.add = add
"""


@contextmanager
def killing(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process and its children in the end, or soon: a child that hangs keeps its standard output open.

    With `-X faulthandler`, those that are ended soon print where they hang.
    """

    def end(number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    timer = Timer(40, end, (signal.SIGABRT,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        end(signal.SIGKILL)


@pytest.fixture
def fork_after(hub: Hub, published: Path, tmp_path: Path) -> Callable[..., None]:
    """Opens the model in a process whose cache has its header, so that its thread is the first to ask the hub."""
    home = tmp_path / "home"
    code = f"from minigpt2 import Checkpoint; Checkpoint.remote({MODEL!r})"
    subprocess.run([sys.executable, "-c", code], env=online(hub.url, home), check=True)
    hub.requests.clear()

    def fork_after(
        wait: str, *, held_at: str = "", let_go: Callable[[], None] = lambda: None, before: str = ""
    ) -> None:
        code = CODE.format(model=MODEL, published=str(published), before=before, wait=wait)
        pipe, env = subprocess.PIPE, online(hub.url, home, HF_HUB_DOWNLOAD_TIMEOUT="30")
        options: Any = {"env": env, "stdin": pipe, "stdout": pipe, "text": True, "start_new_session": True}
        command = [sys.executable, "-X", "faulthandler", "-c", code]
        with subprocess.Popen(command, **options) as process, killing(process):
            if held_at:
                wait_until(lambda: any(request.at_storage == (held_at == "storage") for request in hub.requests))
            assert process.stdin and process.stdout
            print(file=process.stdin, flush=True)
            assert process.stdout.readline() == "forked\n"
            let_go()
            assert process.wait() == 0

    return fork_after


def test_the_lock_of_those_who_fetch(hub: Hub, fork_after: Callable[..., None]) -> None:
    hub.faults[WEIGHTS] = Fault.HOLD
    fork_after("input()", held_at="storage", let_go=hub.release)


def test_the_lock_of_the_files_address(hub: Hub, fork_after: Callable[..., None]) -> None:
    hub.faults[WEIGHTS] = Fault.HANG
    fork_after("input()", held_at="hub", let_go=hub.faults.clear)


@pytest.mark.parametrize("module", ["huggingface_hub.constants", "huggingface_hub.file_download", "encodings.idna"])
def test_pythons_lock_of_a_module_that_is_imported(fork_after: Callable[..., None], module: str) -> None:
    # A module is in `sys.modules` from the start of its import.
    fork_after(f"while {module!r} not in sys.modules: pass")


def test_a_fork_waits_until_the_ranges_that_are_known_have_changed(
    fork_after: Callable[..., None],
) -> None:
    fork_after("begun.wait()", before=HALF_DONE)


FIRST_NAME = """
import os, socket, time
from threading import Event, Lock, Thread
from minigpt2 import Checkpoint

begun, loading, look_up = Event(), Lock(), socket.getaddrinfo

def getaddrinfo(*arguments):
    with loading:  # as in the C library, which loads what looks names up
        begun.set()
        time.sleep(0.5)
        socket.getaddrinfo = look_up
    return look_up(*arguments)

socket.getaddrinfo = getaddrinfo
Thread(target=Checkpoint.remote, args=["owner/tiny"], daemon=True).start()
begun.wait()
child = os.fork()
if not child:
    os._exit(loading.locked())
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_the_locks_of_the_c_library_during_its_first_lookup_of_a_name(hub: Hub, tmp_path: Path) -> None:
    env = online(hub.url, tmp_path / "home")
    assert subprocess.run([sys.executable, "-c", FIRST_NAME], env=env, check=False).returncode == 0


CLOSING_HANGS = """
from huggingface_hub import get_session

type(get_session()).close = lambda _: signal.pause()
"""


def test_the_locks_of_the_session_which_huggingface_hub_closes_in_a_child(
    hub: Hub, fork_after: Callable[..., None]
) -> None:
    hub.faults[WEIGHTS] = Fault.HOLD
    fork_after("input()", held_at="storage", let_go=hub.release, before=CLOSING_HANGS)


OWN_SESSION = """
import os
from huggingface_hub import get_session
from minigpt2.hub.answers import prepare_client

prepare_client()
inherited = get_session()
child = os.fork()
if not child:
    prepare_client()
    os._exit(get_session() is inherited or inherited.is_closed)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or get_session() is not inherited or inherited.is_closed)
"""


@pytest.mark.skipif(BEFORE_1, reason="another session, of each thread of each process")
def test_a_child_asks_by_a_session_of_its_own_and_leaves_its_parents_open() -> None:
    # An inherited session has the locks of its connections, which a thread may have held.
    assert subprocess.run([sys.executable, "-c", OWN_SESSION], check=False).returncode == 0


BARS = """
import io, os, sys
from threading import Event, Thread
from minigpt2.forking import FORK_WAITS
from minigpt2.hub.answers import prepare_client
from huggingface_hub.utils import tqdm

prepare_client()
"""
DRAWN = """
class Held(io.StringIO):
    def write(self, text):
        is_drawn.set()
        Event().wait()

is_drawn = Event()
Thread(target=lambda: tqdm(total=1, file=Held()), daemon=True).start()
is_drawn.wait()
child = os.fork()
if not child:
    tqdm(total=1, file=io.StringIO()).close()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
BROKEN_OFF = """
class Broken(io.StringIO):
    def write(self, text):
        raise KeyboardInterrupt

try:
    tqdm(total=1, file=Broken())
except KeyboardInterrupt:
    free = []
    thread = Thread(target=lambda: free.append(FORK_WAITS.acquire(timeout=5)))
    thread.start()
    thread.join()
    sys.exit(not free[0])
else:
    sys.exit("no bar was drawn")
"""
FORKED = """
class Forking(io.StringIO):
    def write(self, text):
        self.child = os.fork()

file = Forking()
tqdm(total=1, file=file)  # draws itself once
if not file.child:
    tqdm(total=1, file=io.StringIO()).close()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(file.child, 0)[1]))
"""


@pytest.mark.parametrize("code", [DRAWN, BROKEN_OFF, FORKED], ids=["drawn", "broken_off", "forked"])
def test_a_bar_of_the_hub_keeps_neither_a_child_nor_a_thread_waiting(code: str) -> None:
    subprocess.run(
        [sys.executable, "-c", BARS + code], env={**os.environ, "HF_HUB_OFFLINE": "1"}, timeout=60, check=True
    )


def test_a_handlers_exception_does_not_leave_the_lock_of_bars_held() -> None:
    # As it could with a lock whose methods are Python functions.
    is_pythons_own = "type(tqdm.get_lock()) is type(__import__('threading').RLock())"
    subprocess.run(
        [sys.executable, "-c", f"{BARS}sys.exit(not {is_pythons_own})"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=True,
    )
