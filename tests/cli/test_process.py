"""How the command's process takes Ctrl-C, also where it is pressed several times."""

import signal
import subprocess
import sys

import pytest

from tests.command import environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C alone there")

PROCESS = """
import atexit, os, signal, sys, time
from minigpt2 import __main__, interrupts

def interrupt(times=1):
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)

class InterruptsAsPythonEnds:
    def __del__(self):  # called when Python has restored the handlers that it had at its start
        os.kill(os.getpid(), signal.SIGINT)
{code}
sys.exit(__main__.main())
"""
CLEANING_UP = """
from minigpt2 import cli

def command():
    try:
        interrupt()
    finally:
        interrupt(3)
        print("cleaned up", flush=True)
        atexit.register(interrupt, 3)

cli.main, kept = command, InterruptsAsPythonEnds()
"""
HANGING = """
from minigpt2 import cli

def command():
    try:
        interrupt()
    finally:
        interrupt()
        print("is cleaning up", flush=True)
        time.sleep(0.2)
        interrupt()
        print("is not reached", flush=True)

cli.main = command
interrupts.SECONDS_TO_CLEAN_UP = 0.1
"""
HELD = """
from minigpt2 import cli

def command():
    with interrupts.held_interrupts():
        interrupt(3)
        print("is held", flush=True)
        time.sleep(0.2)
        interrupt()  # the command is interrupted
        print("is not reached", flush=True)

cli.main = command
interrupts.SECONDS_TO_CLEAN_UP = 0.1
"""
HELD_FOR_EVER = """
from minigpt2 import cli

def command():
    try:
        interrupt()
    finally:
        with interrupts.held_interrupts():
            interrupt()
            print("is held", flush=True)
            time.sleep(0.2)
            interrupt()  # the process ends
            print("is not reached", flush=True)

cli.main = command
interrupts.SECONDS_TO_CLEAN_UP = 0.1
"""
IMPORTING = """
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "minigpt2.cli":
            interrupt()

sys.meta_path.insert(0, Finder())
"""
ENDING = """
sys.argv.append("--version")
atexit.register(interrupt)
kept = InterruptsAsPythonEnds()
"""
IN_THE_BACKGROUND = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.argv.append("--version")
interrupt()
atexit.register(interrupt)
"""
GOING_ON = """
from threading import Thread

interrupts.SECONDS_TO_CLEAN_UP = 0.1
sys.argv.append("--version")
for _ in range(2):
    __main__.main()
    interrupt(2)  # as Python may end here, they are passed over
    time.sleep(0.2)
    try:
        interrupt()
    except KeyboardInterrupt:
        print("goes on", flush=True)

thread = Thread(target=__main__.main)
thread.start()
thread.join()
"""
AGAIN = """
import runpy
from minigpt2 import cli

del sys.modules["minigpt2.__main__"]

def run():
    try:
        runpy.run_module("minigpt2", run_name="__main__")
    except SystemExit:
        pass

sys.argv[1:] = ["--version"]
run()
cli.main = interrupt
try:
    run()
except KeyboardInterrupt:
    print("is interrupted", flush=True)
cli.main = int
"""


def ended(code: str) -> tuple[int, list[bytes], bytes]:
    """The exit code, the lines of the output, and the errors of a process."""
    process = [sys.executable, "-c", PROCESS.format(code=code)]
    done = subprocess.run(process, capture_output=True, timeout=60, check=False, env=environment())
    return done.returncode, done.stdout.splitlines(), done.stderr


VERSION = b"minigpt2 0.1.0"


@pytest.mark.parametrize(
    ("code", "status", "output"),
    [
        pytest.param(CLEANING_UP, -signal.SIGINT, [b"cleaned up"], id="further ones do not break into cleaning up"),
        pytest.param(HANGING, -signal.SIGINT, [b"is cleaning up"], id="one after some seconds ends it at once"),
        pytest.param(HELD, -signal.SIGINT, [b"is held"], id="one some seconds after another is not held"),
        pytest.param(HELD_FOR_EVER, -signal.SIGINT, [b"is held"], id="nor is one that ends the process"),
        pytest.param(IMPORTING, -signal.SIGINT, [], id="one before the command has started"),
        pytest.param(ENDING, 0, [VERSION], id="one as Python ends"),
        pytest.param(AGAIN, 0, [VERSION, b"is interrupted"], id="one in a second command of the process"),
        pytest.param(IN_THE_BACKGROUND, 0, [VERSION], id="none where the process ignores it"),
    ],
)
def test_an_interrupt_ends_the_process_without_a_word(code: str, status: int, output: list[bytes]) -> None:
    assert ended(code) == (status, output, b"")


MUTED = """
from minigpt2 import cli

for main in (cli.main, __main__.main):
    sys.argv[1:] = ["encode", "a"]
    cli.encode.run = lambda _: print("is dropped", end="") or interrupt()
    try:
        main()
    except KeyboardInterrupt:
        print("goes on", flush=True)
    else:
        print("goes on, too", flush=True)
sys.argv[1:] = ["--version"]
"""


def test_a_process_that_goes_on_after_an_interrupt_can_still_print() -> None:
    assert ended(MUTED) == (0, [b"goes on, too", b"goes on", VERSION], b"")


def test_a_process_that_goes_on_after_the_command_takes_interrupts_as_before() -> None:
    """As a session of IPython does."""
    assert ended(GOING_ON) == (0, [VERSION, b"goes on", VERSION, b"goes on", VERSION, VERSION], b"")
