"""The command between pipes, full disks, odd locales and impatient users: one line, an exit code, nothing half-done."""

import errno
import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from minigpt2 import Tokenizer
from minigpt2.cli import main
from tests.command import Capture, answer, command, complaint, environment, limit_files, one_line, run, wait_until

ASCII = {"PYTHONIOENCODING": "ascii"}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run_into(output: int, name: str, size: int) -> subprocess.CompletedProcess[bytes]:
    """Run a command on about `size` bytes of text with an open file as its standard output."""
    try:
        return subprocess.run(
            command(name),
            input=b"\n a" * (size // 3),
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )
    finally:
        os.close(output)


def test_a_long_input_is_not_repeated_whole_in_an_error(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"key" * 100_000: 1}))
    for arguments in (["count", tmp_path], ["show", "a" * 100_000, "--model", "bundled"], ["-" * 100_000]):
        told = complaint(capsys, *arguments, status=2 if len(arguments) == 1 else 1)
        assert 1000 < len(told) < 11_000 and " [...] " in told


@pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv")
def test_advice_with_a_path_of_almost_4096_bytes_is_whole(capsys: Capture, tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["a" * 200] * 19)
    folder.mkdir(parents=True)
    (folder / "text").write_bytes(b"caf\xe9")
    advice = complaint(capsys, "loss", folder / "text", "--model", "bundled").split("`")[1]
    assert subprocess.run(advice, shell=True, capture_output=True, check=True).stdout.decode() == "café"


@pytest.mark.parametrize("name", ["encode", "count"])
def test_a_pipe_that_does_not_wait_is_read_to_its_end(name: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with subprocess.Popen(command(name), stdin=reading, stdout=subprocess.PIPE, env=environment()) as process:
        os.close(reading)
        for part in (b"The meaning", b" of life", b" is"):
            os.write(writing, part)
            time.sleep(0.2)
        os.close(writing)
        printed, _ = process.communicate(timeout=60)
    assert printed == {"encode": b"464 3616 286 1204 318\n", "count": b"5\n"}[name]


WORDS = b"The meaning of life is\n" * 2000  # fits into a pipe, so no write waits for a reader
READERS = [["count", "-"], ["count", "-", "--jobs", "2"], ["encode"], ["decode"], ["loss", "-", "--model", "bundled"]]


@pytest.mark.parametrize("arguments", [*READERS, ["train-bpe", "-", "--merges", "1"]], ids=" ".join)
def test_a_pipe_that_another_process_makes_non_blocking_is_read_to_its_end(
    arguments: list[str], tmp_path: Path
) -> None:
    data = WORDS[:4000] if "loss" in arguments else b"464 3616 " * 5000 if "decode" in arguments else WORDS
    files = ["-o", str(tmp_path / "learned")] if "train-bpe" in arguments else []
    printed = fed_without_blocking(data, command(*arguments, *files), tmp_path / "printed")
    assert printed == run(*arguments, *files, stdin=data).stdout


def test_a_pipe_that_becomes_non_blocking_is_read_to_its_end_by_a_program(tmp_path: Path) -> None:
    code = "from minigpt2 import corpus; print(corpus.count('-').tokens)"
    printed = fed_without_blocking(WORDS, [sys.executable, "-c", code], tmp_path / "printed")
    assert printed == run("count", "-", stdin=WORDS).stdout


def fed_without_blocking(data: bytes, arguments: Sequence[str | bytes], printed: Path) -> bytes:
    """The output of a process whose standard input turns non-blocking between four parts of the data."""
    reading, writing = os.pipe()
    with (
        printed.open("wb") as output,
        subprocess.Popen(arguments, stdin=reading, stdout=output, env=environment()) as started,
    ):
        for part in range(4):
            os.write(writing, data[len(data) * part // 4 : len(data) * (part + 1) // 4])
            wait_until(lambda: not select.select([reading], [], [], 0)[0] or started.poll() is not None)
            os.set_blocking(reading, False)  # the two share the open pipe
            time.sleep(0.2)  # so that the process finds nothing to read
        os.close(writing)
        assert started.wait(timeout=120) == 0
    os.close(reading)
    return printed.read_bytes()


def test_a_pipe_that_takes_no_more_for_now_gets_the_rest_later() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen(command("vocab", "--longest", "20000"), stdout=writing, env=environment()):
        os.close(writing)
        time.sleep(1)
        with os.fdopen(reading, "rb") as file:
            assert file.read().count(b"\n") > 20_000


def test_a_pipe_that_becomes_non_blocking_gets_all_that_is_written() -> None:
    reading, writing = os.pipe()
    arguments, read = ["vocab", "--longest", "20000"], b""
    with subprocess.Popen(command(*arguments), stdout=writing, env=environment()) as started:
        wait_until(lambda: not select.select([], [writing], [], 0)[1])  # until the pipe is full
        os.set_blocking(writing, False)
        os.close(writing)
        while data := os.read(reading, 4096):
            read += data
            time.sleep(0.001)  # slower than the command writes
    os.close(reading)
    assert (started.returncode, read) == (0, run(*arguments).stdout)


def test_without_a_further_thread_the_error_is_one_line(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert "no more threads" in complaint(capsys, "diff", "bundled", "bundled")


def test_an_interrupt_in_the_middle_of_pythons_own_locking_is_one(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            threading.Lock().release()  # RuntimeError: release unlocked lock

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert main(["diff", "bundled", "bundled"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("arguments", "status"), [(["encode", "a"], 0), (["decode", "x"], 1), (["unknown"], 2)])
@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", ">/dev/full 2>/dev/full"])
def test_the_exit_code_says_it_where_standard_error_cannot(arguments: list[str], status: int, where: str) -> None:
    line = f"{shlex.join(map(str, command(*arguments)))} {where}"
    finished = subprocess.run(line, shell=True, capture_output=True, env=environment(), check=False)
    assert (finished.returncode, finished.stderr) == (status or int(">/dev/full 2" in where), b"")


@pytest.mark.parametrize(
    "arguments",
    [["tokens", "a b"], ["loss", "{}", "--model", "bundled"], ["next", "a"], ["count", "--jobs", "2", "{}"], ["tour"]],
    ids=lambda arguments: arguments[0],
)
def test_a_closed_standard_error_changes_no_output(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The meaning of life is")
    line = shlex.join(map(str, command(*(each.format(tmp_path / "a.txt") for each in arguments))))
    usual, closed = (
        subprocess.run(f"{line} 2>{where}", shell=True, capture_output=True, env=environment(), check=True).stdout
        for where in ("/dev/null", "&-")
    )
    assert closed == usual != b""


@pytest.mark.parametrize("arguments", [["encode"], ["tokens"], ["decode"], ["embed"]])
def test_input_that_is_no_utf8_is_named_with_its_offset(arguments: list[str]) -> None:
    finished = run(*arguments, stdin=b"caf\xc3\xa9 \xff\n")
    assert (finished.returncode, finished.stdout) == (1, b"")
    assert "standard input is not UTF-8: byte 0xFF at byte offset 6" in one_line(finished.stderr)


@pytest.mark.parametrize("arguments", [["encode"], ["tokens"], ["tour"], ["nearest"]])
def test_an_argument_that_is_no_utf8_is_named_with_its_offset(arguments: list[str]) -> None:
    finished = run(*arguments, b"caf\xc3\xa9 \xff")
    assert finished.returncode == 1
    assert "the argument is not UTF-8: byte 0xFF at byte offset 6" in one_line(finished.stderr)


def test_an_argument_is_utf8_whatever_the_locale(tokenizer: Tokenizer) -> None:
    env = environment(**C_LOCALE)
    assert json.loads(run("encode", "--json", "café".encode(), env=env).stdout) == tokenizer.encode("café")


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [(["tokens", " é生"], ASCII), (["tokens", " é生"], C_LOCALE), (["tour"], C_LOCALE)],
    ids=["tokens-ascii", "tokens-C", "tour-C"],
)
def test_output_without_unicode_is_escaped(arguments: list[str], changes: dict[str, str]) -> None:
    finished = run(*(each.encode() for each in arguments), env=environment(**changes))
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert finished.stdout.isascii()
    assert b"\\u0120" in finished.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["tokenize", "{file}", "-o", "{odd}"],
        ["train-bpe", "{file}", "--merges", "1", "-o", "{odd}"],
        ["extract", "{odd}", "wte.weight", "--model", "{model}"],
        ["embed", "x", "--model", "{model}", "-o", "{odd}"],
        ["explain", "x", "--model", "{model}", "-o", "{odd}"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_name_of_a_written_file_moves_no_cursor(
    arguments: list[str], model: Path, tmp_path: Path, capsys: Capture
) -> None:
    file, odd = tmp_path / "text.txt", tmp_path / "a\n\x1b[2J.npy"
    file.write_text("the text")
    printed = answer(capsys, *(each.format(file=file, odd=odd, model=model) for each in arguments))
    assert "a\\n\\x1b[2J.npy" in printed
    assert "\x1b" not in printed
    assert odd.exists()


def test_an_error_can_be_told_where_there_is_no_unicode() -> None:
    finished = run("params", "--model", "./größe".encode(), env=environment(**ASCII))
    assert finished.returncode == 1
    assert one_line(finished.stderr).isascii()


@pytest.mark.parametrize("arguments", [["encode"], ["tokens"], ["decode"]])
def test_a_standard_input_that_cannot_be_read_is_an_error(arguments: list[str]) -> None:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    finished = subprocess.run(
        command(*arguments), stdin=descriptor, env=environment(), capture_output=True, check=False
    )
    os.close(descriptor)
    assert finished.returncode == 1
    assert one_line(finished.stderr) == "minigpt2: standard input: Bad file descriptor\n"


@pytest.mark.parametrize(
    ("arguments", "closed", "named"),
    [
        ("encode", "<&-", "standard input"),
        ("encode x", ">&-", "standard output"),
        ("decode 464", ">&-", "standard output"),
    ],
)
def test_a_closed_stream_is_an_error(arguments: str, closed: str, named: str) -> None:
    shell = f'"{sys.executable}" -m minigpt2 {arguments} {closed}'
    finished = subprocess.run(["sh", "-c", shell], env=environment(), stderr=subprocess.PIPE, check=False)
    assert finished.returncode == 1
    assert one_line(finished.stderr) == f"minigpt2: {named}: Bad file descriptor\n"


@pytest.mark.parametrize("size", [10, 200_000], ids=["at the end", "in between"])
@pytest.mark.parametrize("name", ["encode", "tokens", "--help"])
def test_a_pipe_that_closes_early_ends_it_silently(name: str, size: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    finished = run_into(writing, name, size)
    assert finished.stderr == b""
    assert finished.returncode == 141


@pytest.mark.parametrize("size", [10, 200_000], ids=["at the end", "in between"])
@pytest.mark.parametrize("name", ["encode", "tokens", "--help"])
def test_a_full_disk_is_one_line(name: str, size: int) -> None:
    finished = run_into(os.open("/dev/full", os.O_WRONLY), name, size)
    assert finished.returncode == 1
    assert one_line(finished.stderr) == "minigpt2: standard output: No space left on device\n"


@pytest.mark.parametrize("printed", ["", "some output"])
def test_an_error_that_names_no_file_is_not_blamed_on_standard_output(
    printed: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def run_out_of_memory(*_: object, **__: object) -> None:
        print(printed, end="")
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(Tokenizer, "encode", run_out_of_memory)
    assert main(["encode", "x"]) == 1
    assert capsys.readouterr() == (printed, f"minigpt2: {os.strerror(errno.ENOMEM)}\n")


def test_an_interrupt_ends_it_without_a_traceback() -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command("encode"), stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stderr is not None
    with process:
        assert select.select([process.stderr], [], [], 60)[0]  # it says that it reads
        assert b"until Ctrl-D" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    assert (process.returncode, output, errors) == (-signal.SIGINT, b"", b"")


def test_an_interrupt_ends_it_while_its_output_is_not_read() -> None:
    process = subprocess.Popen(
        command("tokens"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    with process:
        process.stdin.write(b"\n a" * 100_000)
        process.stdin.close()
        process.stdout.read(1)  # it writes, and soon the pipe is full
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == -signal.SIGINT
        assert process.stderr.read() == b""


# ---- files that are saved


def saving(file: Path | str, model: Path) -> list[str]:
    """The command that saves 128 kilobytes."""
    return ["embed", "life " * 2000, "-o", str(file), "--model", str(model)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", errno.EISDIR),
        ("none/rows.npy", errno.ENOENT),
        ("file/rows.npy", errno.ENOTDIR),
        ("x" * 300, errno.ENAMETOOLONG),
    ],
)
def test_what_cannot_be_written_is_named(name: str, reason: int, model: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("kept")
    assert complaint(capsys, *saving(tmp_path / name, model)) == f"minigpt2: {tmp_path / name}: {os.strerror(reason)}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fills_up_leaves_the_file_that_was_there(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    file.write_text("what was there")
    finished = run(*saving(file, model), **limit_files(10_000))
    assert finished.returncode == 1
    assert one_line(finished.stderr) == f"minigpt2: {file}: File too large\n"
    assert file.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("changes", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_standard_output_on_a_disk_that_fills_up_is_named(changes: dict[str, str], tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        finished = subprocess.run(
            command("decode"),
            input=b"464 " * 5000,
            stdout=out,
            stderr=subprocess.PIPE,
            **limit_files(10_000, **changes),
            check=False,
        )
    assert (finished.returncode, one_line(finished.stderr)) == (1, "minigpt2: standard output: File too large\n")


def test_a_device_is_written_to_and_never_replaced(model: Path) -> None:
    finished = run(*saving("/dev/full", model))
    assert finished.returncode == 1
    assert one_line(finished.stderr) == "minigpt2: /dev/full: No space left on device\n"
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("command_name", ["embed", "explain"])
def test_a_text_on_standard_input_is_not_written_over(command_name: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("The meaning of life is")
    with (tmp_path / "text").open() as file:
        arguments = command(command_name, "--model", "bundled", "-o", str(tmp_path / "text"))
        said = subprocess.run(arguments, stdin=file, capture_output=True, env=environment(), check=False)
    assert "would be written over: name another output" in one_line(said.stderr)
    assert (tmp_path / "text").read_text() == "The meaning of life is"


def test_a_device_can_be_both_standard_input_and_the_output() -> None:
    with Path(os.devnull).open() as null:
        arguments = command("explain", "-o", os.devnull, "--model", "bundled")
        assert (
            subprocess.run(arguments, stdin=null, capture_output=True, env=environment(), check=False).returncode == 0
        )


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no /dev/stdout here")
@pytest.mark.parametrize(
    "arguments", [["extract", "{}", "wpe.weight"], ["embed", "!", "-o", "{}"], ["explain", "!", "-o", "{}"]]
)
def test_a_file_that_is_piped_ends_where_it_ends(arguments: list[str], tmp_path: Path) -> None:
    run(*(each.format(tmp_path / "file") for each in arguments), "--model", "bundled")
    piped = run(*(each.format("/dev/stdout") for each in arguments), "--model", "bundled").stdout
    assert piped == (tmp_path / "file").read_bytes()
