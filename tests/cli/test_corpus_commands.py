"""The commands tokenize and count: pipes, terminals, full disks, and users and systems that end them at any moment."""

import contextlib
import json
import os
import pty
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minigpt2 import Tokenizer
from minigpt2.cli import main
from minigpt2.corpus import tokenize
from tests.command import (
    Capture,
    answer,
    command,
    complaint,
    environment,
    errors_on_a_terminal,
    limit_files,
    one_line,
    run,
    wait_until,
)
from tests.corpus.samples import END, ids_of, in_small_chunks, read, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of about a megabyte."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), 25_000)


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The ids of the corpus."""
    out = tmp_path_factory.mktemp("whole") / "out"
    tokenize(corpus, out)
    return out.read_bytes()


# ---- what they print


def test_tokenize_writes_ids_and_says_how_many(tmp_path: Path, capsys: Capture) -> None:
    for name in ["a.txt", "b.txt"]:
        (tmp_path / name).write_text("The meaning of life is")
    out = tmp_path / "train.bin"
    assert answer(capsys, "tokenize", tmp_path / "a.txt", "-o", out) == f"{out}: 6 tokens of 1 document\n"
    assert answer(capsys, "tokenize", f"{tmp_path}/*.txt", "-o", out) == f"{out}: 12 tokens of 2 documents\n"
    assert read(out) == ids_of("The meaning of life is") * 2


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["<user>"], "'<user>' is plain text in a document, as special tokens are"),
        (["<user>", "<bot>"], "'<user>' and 1 more are plain text in a document"),
    ],
)
@pytest.mark.parametrize("arguments", [["count"], ["tokenize", "-o", "train.bin"]], ids=lambda arguments: arguments[0])
def test_of_added_tokens_that_are_not_special_the_user_is_told_that_they_are_plain_text(
    arguments: list[str], tokens: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = Tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained("special")
    tokenizer.add_tokens(tokens)
    tokenizer.save_pretrained("own")
    Path("text").write_text("<user> Hi")
    for model, complaints in [("special", ""), ("own", f"minigpt2: {said}")]:
        assert main([*arguments, "text", "--model", model]) == 0
        printed = capsys.readouterr()
        assert printed.err.startswith(complaints) and bool(printed.err) == bool(complaints)
        assert str(len(Tokenizer().encode_ordinary("<user> Hi")) + ("tokenize" in arguments)) in printed.out


def test_tokenize_reads_a_stream(tmp_path: Path) -> None:
    finished = run("tokenize", "-", "-o", str(tmp_path / "out"), stdin="\ufeffé<|endoftext|>\r\n".encode())
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert read(tmp_path / "out") == ids_of("\ufeffé<|endoftext|>\r\n")
    assert json.loads((tmp_path / "out.json").read_text())["sources"][0]["path"] == "-"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.json"]


def test_several_processes_read_a_stream_as_one_does(tmp_path: Path) -> None:
    text = b"The meaning of life is " * 5
    assert run("count", "-", "--jobs", "2", stdin=text).stdout == run("count", stdin=text).stdout
    lines = b'{"text": "a b"}\n' * 3
    arguments = ["--input-format", "jsonl", "--jobs", "3"]
    assert run("tokenize", "-", "-o", str(tmp_path / "out"), *arguments, stdin=lines).returncode == 0
    assert read(tmp_path / "out") == ids_of("a b") * 3


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))


def test_without_room_for_processes_the_error_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    finished = run("count", str(tmp_path / "a.txt"), "--jobs", "9", preexec_fn=few_files)
    assert finished.returncode == 1
    assert "no 9 processes can be started here (Too many open files): fewer --jobs may do" in one_line(finished.stderr)


def test_tokenize_reads_a_pipe_by_its_name(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    started = subprocess.Popen(command("tokenize", str(pipe), "-o", str(tmp_path / "out")), env=environment())
    pipe.write_bytes(b"from a pipe")
    assert started.wait(60) == 0
    assert read(tmp_path / "out") == ids_of("from a pipe")


def test_count_prints_the_number_alone(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.txt").write_text("The meaning of life is")
    assert answer(capsys, "count", tmp_path / "a.txt") == "5\n"
    assert run("count", stdin=b"The meaning of life is\n").stdout == b"6\n"
    assert run("count").stdout == b"0\n"


def test_a_terminal_is_read_until_its_end() -> None:
    terminal, end = pty.openpty()
    started = subprocess.Popen(
        command("count"), env=environment(), stdin=end, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.write(terminal, b"The meaning of life is\n\x04")
    printed, told = started.communicate(timeout=30)
    os.close(end)
    os.close(terminal)
    assert printed == b"6\n"
    assert one_line(told) == "minigpt2: reading from the terminal until Ctrl-D\n"


def test_count_tells_of_each_source(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.txt").write_text("The meaning")
    (tmp_path / "b.jsonl").write_text('{"body": "of"}\n{"body": "life"}\n')
    counts = json.loads(answer(capsys, "count", tmp_path, "--json", "--field", "body", "--jobs", 2))
    assert counts == {
        "tokens": 4,
        "documents": 3,
        "bytes": 17,
        "sources": [
            {"path": f"{tmp_path}/a.txt", "bytes": 11, "documents": 1, "tokens": 2},
            {"path": f"{tmp_path}/b.jsonl", "bytes": 6, "documents": 2, "tokens": 2},
        ],
    }


@pytest.mark.parametrize("arguments", [["count"], ["tokenize", "-o", "out", "-"]], ids=["count", "tokenize"])
def test_a_stream_that_is_no_utf8_is_named(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = run(*arguments, stdin=b"caf\xc3\xa9 \xff\n")
    assert (finished.returncode, finished.stdout) == (1, b"")
    assert "standard input is not UTF-8: byte 0xFF at byte offset 6" in one_line(finished.stderr)
    assert not list(tmp_path.iterdir())


def test_errors_are_one_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.jsonl").write_text("{}")
    out = tmp_path / "out"
    assert "missing: No such file or directory" in complaint(capsys, "count", tmp_path / "missing")
    assert "/*.md: this glob matches no file" in complaint(capsys, "count", f"{tmp_path}/*.md")
    assert "b.jsonl, line 1, has no field 'text'" in complaint(capsys, "tokenize", tmp_path, "-o", out)
    assert "is a directory: name the file to write" in complaint(capsys, "tokenize", tmp_path / "a.txt", "-o", tmp_path)
    assert "there is no such directory" in complaint(capsys, "tokenize", tmp_path / "a.txt", "-o", tmp_path / "no/out")
    assert "no --resume" in complaint(capsys, "tokenize", "-", "-o", out, "--resume")
    assert "1 or more" in complaint(capsys, "count", tmp_path, "--jobs", 0, status=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.jsonl"]


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to("b")
    finished = run("count", str(tmp_path / "b"))
    assert finished.returncode == 1
    assert f"{tmp_path}/b: Too many levels of symbolic links" in one_line(finished.stderr)


def test_a_terminal_sees_bytes_and_tokens_per_second(corpus: Path, tmp_path: Path) -> None:
    shown = errors_on_a_terminal(command("tokenize", str(corpus), "-o", "out"), environment(), tmp_path)
    size = sum(path.stat().st_size for path in corpus.iterdir())
    assert "100%" in shown
    assert f"{size / 1000:.0f}k/{size / 1000:.0f}k" in shown or f"{size / 1e6:.2f}M/{size / 1e6:.2f}M" in shown
    assert "tokens/s" in shown


def test_a_terminal_whose_user_wants_no_bars_sees_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b c")
    assert errors_on_a_terminal(command("count", "a.txt"), environment(TQDM_DISABLE="1"), tmp_path) == ""


# ---- full disks, and ends at any moment


def test_a_full_disk_leaves_nothing_half_written(corpus: Path, tmp_path: Path) -> None:
    finished = run("tokenize", str(corpus), "-o", str(tmp_path / "out"), **limit_files(100_001))
    assert (finished.returncode, finished.stdout) == (1, b"")
    assert one_line(finished.stderr) == f"minigpt2: {tmp_path}/out: File too large\n"
    assert not list(tmp_path.iterdir())


def test_after_a_full_disk_it_can_be_resumed(corpus: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments, limit = in_small_chunks("tokenize", corpus, "-o", out), limit_files(100_001)
    finished = subprocess.run(arguments, capture_output=True, check=False, **limit)
    assert finished.returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.journal", "out.partial"]
    refused = run("tokenize", str(corpus), "-o", str(out))
    assert "continue it with --resume, or delete it" in one_line(refused.stderr)
    assert run("tokenize", str(corpus), "-o", str(out), "--resume").returncode == 0
    assert out.read_bytes() == whole


def grows_to(path: Path, size: int, unless_ended: "subprocess.Popen[bytes] | None" = None) -> Callable[[], bool]:
    def has_grown() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_size >= size
        return unless_ended is not None and unless_ended.poll() is not None

    return has_grown


def start(corpus: Path, out: Path, *options: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        in_small_chunks("tokenize", corpus, "-o", out, *options),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_any_moment_and_resumed_it_writes_the_same(
    jobs: int, corpus: Path, whole: bytes, tmp_path: Path
) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    sizes = np.sort(np.random.default_rng(jobs).integers(len(whole), size=4)).tolist()
    for size in sizes:
        with start(corpus, out, "--jobs", jobs, "--resume") as started:
            wait_until(grows_to(partial, size, unless_ended=started))
            started.kill()
        assert not out.exists() or out.read_bytes() == whole
    finished = start(corpus, out, "--jobs", jobs, "--resume")
    assert (finished.wait(60), finished.communicate()[1]) == (0, b"")
    assert out.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.json"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_from_the_keyboard_ends_all_processes_silently(
    jobs: int, corpus: Path, whole: bytes, tmp_path: Path
) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    with start(corpus, out, "--jobs", jobs) as started:
        wait_until(grows_to(partial, len(whole) // 10))
        os.killpg(started.pid, signal.SIGINT)
        assert started.communicate(timeout=30) == (b"", b"")
    assert started.returncode == 130
    assert run("tokenize", str(corpus), "-o", str(out), "--resume").returncode == 0
    assert out.read_bytes() == whole


def processes_of(session: int) -> list[int]:
    """The processes of a session that are not yet dead."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, its_session = path.read_text().rpartition(")")[2].split()[:4]
            found += [int(path.parent.name)] if int(its_session) == session and state != "Z" else []
    return found


def test_workers_end_with_a_process_that_is_killed(corpus: Path, whole: bytes, tmp_path: Path) -> None:
    with start(corpus, tmp_path / "out", "--jobs", 3) as started:
        wait_until(grows_to(tmp_path / "out.partial", len(whole) // 10))
        assert len(processes_of(started.pid)) >= 3
        started.kill()
    wait_until(lambda: not processes_of(started.pid))


def test_a_worker_that_is_killed_is_an_error(corpus: Path, whole: bytes, tmp_path: Path) -> None:
    with start(corpus, tmp_path / "out", "--jobs", 2) as started:
        wait_until(grows_to(tmp_path / "out.partial", len(whole) // 10))
        worker = max(each for each in processes_of(started.pid) if each != started.pid)
        os.kill(worker, signal.SIGKILL)
        printed, told = started.communicate(timeout=30)
    assert (started.returncode, printed) == (1, b"")
    assert "a worker process ended unasked" in one_line(told)
    assert not (tmp_path / "out").exists()


def test_the_model_says_which_vocabulary(tmp_path: Path, capsys: Capture) -> None:
    Tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "a.txt").write_text("The meaning of life is")
    assert answer(capsys, "count", tmp_path / "a.txt", "--model", tmp_path / "model") == "5\n"


@pytest.mark.parametrize("name", ["vocab.json", "config.json", "model.safetensors", "x-1.safetensors"])
def test_no_file_of_the_model_is_written_over(name: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.txt").write_text("The meaning of life is")
    Tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "x-1.safetensors").touch()
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    said = complaint(
        capsys, "tokenize", tmp_path / "a.txt", "-o", tmp_path / "model" / name, "--model", tmp_path / "model"
    )
    assert f"{name} belongs to the checkpoint that is read" in said
    assert {path: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before


def test_the_end_of_text_has_a_row_in_the_model(tmp_path: Path, capsys: Capture) -> None:
    Tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "a.txt").write_text("The meaning of life is")
    arguments = ["tokenize", tmp_path / "a.txt", "-o", tmp_path / "out", "--model", tmp_path / "model"]
    (tmp_path / "model" / "config.json").write_text('{"vocab_size": 50256}')
    told = complaint(capsys, *arguments)
    assert f"the end of text of {tmp_path}/model is id 50256, and " in told and "only 50256 rows" in told
    (tmp_path / "model" / "config.json").write_text('{"vocab_size": 50257}')
    answer(capsys, *arguments)
    assert read(tmp_path / "out") == ids_of("The meaning of life is")


def test_shards_are_merged(corpus: Path, whole: bytes, tmp_path: Path, capsys: Capture) -> None:
    shards = [tmp_path / f"{number}.bin" for number in (2, 3, 1)]
    for shard in shards:
        answer(capsys, "tokenize", corpus, "-o", shard, "--shard", f"{shard.stem}/3")
    told = complaint(capsys, "merge", *shards[1:], "-o", tmp_path / "out")
    assert told == "minigpt2: a shard is missing: 2/3\n"
    assert answer(capsys, "merge", *shards, "-o", tmp_path / "out").startswith(f"{tmp_path}/out: ")
    assert (tmp_path / "out").read_bytes() == whole
    for wrong in ["0/3", "4/3", "3", "a/b", "1/"]:
        assert "expected I/N" in complaint(
            capsys, "tokenize", corpus, "-o", tmp_path / "out", "--shard", wrong, status=2
        )


def test_a_stream_of_lines_is_split_into_training_and_validation(tmp_path: Path) -> None:
    lines = b"".join(b'{"text": "%d"}\n' % number for number in range(100))
    arguments = ["-o", str(tmp_path / "train.bin"), "--input-format", "jsonl", "--val-fraction", "0.1", "--seed", "2"]
    assert run("tokenize", "-", *arguments, stdin=lines).returncode == 0
    assert read(tmp_path / "train.bin").count(END) == 90
    assert read(tmp_path / "val.bin").count(END) == 10


def test_a_separator_on_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.txt").write_text("one<|endoftext|>\ntwo<|endoftext|>\n")
    out = tmp_path / "out"
    answer(
        capsys, "tokenize", tmp_path / "a.txt", "-o", out, "--separator", "<|endoftext|>", "--output-format", "llm.c"
    )
    assert np.fromfile(out, "<u2", offset=1024).tolist() == [END, *ids_of("one", "two")[:-1]]
    assert "cannot separate documents" in complaint(capsys, "count", tmp_path / "a.txt", "--separator", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_names_the_file_that_was_written(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert "/dev/full is not a file" in complaint(capsys, "tokenize", tmp_path / "a.txt", "-o", "/dev/full")
