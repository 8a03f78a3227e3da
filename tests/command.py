"""The command as its users run it, a process of its own, and a small GPT-2 for it to look at."""

import errno
import json
import os
import pty
import re
import resource
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from minigpt2.cli import main
from tests.small_gpt2 import random_tensors

Capture = pytest.CaptureFixture[str]

ROOT = Path(__file__).parents[1]
SIZES = {"n_layer": 2, "n_embd": 8, "n_positions": 16, "vocab_size": 50257}


# Variables that change what the command does or how wide it writes.
_CHANGING: tuple[str, ...] = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "PYTHON", "LC_", "LANG", "COLUMNS")
_CHANGING += ("HTTP", "http", "ALL_PROXY", "all_proxy", "SSL_")


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would change the command's ways, its hub out of reach."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_CHANGING)}
    return kept | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent"} | changes


def wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something that happens in another process or thread; fail if it does not, on a busy machine too."""
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def command(*arguments: str | bytes) -> list[str | bytes]:
    return [sys.executable, "-m", "minigpt2", *arguments]


def run(
    *arguments: str | bytes, stdin: bytes = b"", env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end, with further options of `subprocess.run`."""
    env = env or environment()
    return subprocess.run(
        command(*arguments), input=stdin, capture_output=True, env=env, timeout=60, check=False, **options
    )


def on_a_terminal(*arguments: str, typed: bytes = b"", **changes: str) -> str:
    """The terminal's view of the command while these bytes are typed, with these changes in its environment."""
    leader, follower = pty.openpty()
    with subprocess.Popen(command(*arguments), stdin=follower, stdout=follower, env=environment(**changes)) as process:
        os.close(follower)
        os.write(leader, typed)
        shown = _all_of(leader)
        assert process.wait(timeout=60) == 0
    return shown


def errors_on_a_terminal(arguments: Sequence[str | bytes], env: Mapping[str, str], cwd: Path = ROOT) -> str:
    """The standard error of a process that succeeds, where that is a terminal."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 120))
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=follower, env=env, cwd=cwd) as process:
        os.close(follower)
        shown = _all_of(leader)
        assert process.wait(timeout=60) == 0
    return shown


def _all_of(terminal: int) -> str:
    """Everything that is written to a terminal until the process at its other end is gone."""
    shown = b""
    with suppress(OSError):  # the terminal is gone when the process is
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    return shown.decode()


def limit_files(size: int, **changes: str) -> dict[str, Any]:
    """Let no file grow larger in a process, as if the disk were full: its options of `subprocess`.

    Python writes no bytecode there: a file cut short in `__pycache__` would break every later import.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return {"preexec_fn": limit, "env": environment(PYTHONDONTWRITEBYTECODE="1", **changes)}


def disk_is_full(*_: object) -> None:
    """Stands for a function that writes."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*_: object) -> None:
    """Stands for a function during which Ctrl-C is pressed."""
    raise KeyboardInterrupt


def files_in(directory: Path) -> dict[str, bytes]:
    """The files in a directory, by name."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def one_line(stderr: bytes) -> str:
    """The command's standard error, after making sure that it is one line."""
    line = stderr.decode()
    assert re.fullmatch(r"minigpt2: [^\n]+\n", line), line
    return line


def answer(capsys: Capture, *arguments: object) -> str:
    """The command's standard output, after it succeeded silently."""
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def complaint(capsys: Capture, *arguments: object, status: int = 1) -> str:
    """The one line that the command has to say on standard error, having failed."""
    assert main([str(argument) for argument in arguments]) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"minigpt2: [^\n]+\n", printed.err)
    return printed.err


def write_small_gpt2(directory: Path, **metadata: str) -> dict[str, NDArray[np.float32]]:
    """Write a GPT-2 of random numbers as the published one is laid out: no prefix, with masks; its tensors."""
    tensors = random_tensors(SIZES)
    mask = np.tril(np.ones((1, 1, 16, 16), np.float32))
    masks = {f"h.{layer}.attn.bias": mask for layer in range(SIZES["n_layer"])}
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors | masks, directory / "model.safetensors", metadata={"format": "pt", **metadata})
    config = {"model_type": "gpt2", "n_head": 2, **SIZES}
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return tensors
