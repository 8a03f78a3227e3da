"""The recipes of `docs/corpora.md`, run as they are written, as far as one machine goes."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.command import ROOT, environment, run
from tests.corpus.samples import ids_of, read

TEXTS = [f"book number {number} " * 50 for number in range(12)]


def recipe(name: str) -> str:
    """A block of shell commands of the document."""
    found = re.search(rf"<!-- recipe: {name} -->\n```sh\n(.*?)```", (ROOT / "docs" / "corpora.md").read_text(), re.S)
    assert found
    return found[1]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with books."""
    (tmp_path / "books").mkdir()
    for number, text in enumerate(TEXTS):
        (tmp_path / "books" / f"{number:02}.txt").write_text(text)
    return tmp_path


def shell(commands: str, directory: Path, **changes: str) -> None:
    scripts = str(Path(sys.executable).parent)
    env = environment(PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}", **changes)
    with (directory / "log").open("wb") as log:  # a pipe would wait for what goes on in the background
        started = subprocess.Popen(
            ["sh", "-ec", commands], cwd=directory, env=env, stdout=log, stderr=log, start_new_session=True
        )
    status = started.wait(300)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)  # what goes on in the background
    assert status == 0, (directory / "log").read_text()


def test_the_slurm_recipe_writes_the_corpus(directory: Path) -> None:
    tasks = re.search(r"--array=1-(\d+)", recipe("slurm"))
    assert tasks
    for task in range(int(tasks[1]), 0, -1):
        shell(recipe("slurm"), directory, SLURM_ARRAY_TASK_ID=str(task))
    shell(recipe("merge"), directory)
    assert read(directory / "train.bin") == ids_of(*TEXTS)
    assert run("tokenize", str(directory / "books"), "-o", str(directory / "whole.bin")).returncode == 0
    assert (directory / "whole.bin").read_bytes() == (directory / "train.bin").read_bytes()


def test_the_dask_recipe_writes_the_corpus(directory: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = recipe("dask").replace("8786", str(port)).replace("--nworkers -1", "--nworkers 2")
    shell('dask() { python -m dask "$@"; }\n' + commands + "exit\n", directory, HOST="127.0.0.1")
    assert read(directory / "train.bin") == ids_of(*TEXTS)
