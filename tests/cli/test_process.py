"""How the command's process takes Ctrl-C, also where it is pressed several times."""

import signal
import subprocess
import sys

import pytest

from tests.command import environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C alone there")

PROCESS = """
import atexit, os, signal, sys, time
from minigpt2 import __main__

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
__main__._SECONDS_TO_CLEAN_UP = 0.1
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


@pytest.mark.parametrize(
    ("code", "status", "output"),
    [
        pytest.param(CLEANING_UP, 130, b"cleaned up\n", id="further ones do not break into cleaning up"),
        pytest.param(HANGING, -signal.SIGINT, b"is cleaning up\n", id="one after some seconds ends it at once"),
        pytest.param(IMPORTING, 130, b"", id="one before the command has started"),
        pytest.param(ENDING, 0, b"minigpt2 0.1.0\n", id="one as Python ends"),
        pytest.param(IN_THE_BACKGROUND, 0, b"minigpt2 0.1.0\n", id="none where the process ignores it"),
    ],
)
def test_an_interrupt_ends_the_process_without_a_word(code: str, status: int, output: bytes) -> None:
    process = [sys.executable, "-c", PROCESS.format(code=code)]
    ended = subprocess.run(process, capture_output=True, timeout=60, check=False, env=environment())
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, output, b"")
