"""A Dask cluster of processes of their own: the same bytes, whatever becomes of the workers, and clear errors."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import environment, one_line, run, wait_until
from tests.corpus.samples import in_small_chunks, write_corpus
from tests.parity.references import tiktoken_encoding

SECONDS = 120  # a generous end to waiting: the machine may be busy

_CLUSTER = """
import json, os, sys
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            print(json.dumps([cluster.scheduler_address, [*client.run(os.getpid).values()]]), flush=True)
            for code in sys.stdin:
                print(json.dumps(eval(code)), flush=True)
"""


class Cluster:
    """A scheduler with two workers, each a process, and what it answers."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CLUSTER],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.address, self.workers = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def evaluate(self, code: str) -> Any:
        """The value of an expression in the process of the scheduler."""
        assert self.process.stdin
        print(code, file=self.process.stdin, flush=True)
        return self._answer()

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # it was killed before
            os.killpg(self.process.pid, signal.SIGKILL)
        with self.process:  # closes its pipes
            pass


@contextmanager
def cluster_of_two() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_of_two() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of about two megabytes."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), 40_000)


@pytest.fixture(scope="module")
def whole(corpus: Path) -> bytes:
    """The ids of the corpus, by tiktoken."""
    text = (corpus / "a.txt").read_text()
    encode, end = tiktoken_encoding().encode_ordinary, [50256]
    ids = [encode(text) + end, *(encode(part) + end for part in text.split("7")), encode(text) + end]
    return np.concatenate(ids).astype("<u2").tobytes()


def impatient(timeout: str) -> dict[str, str]:
    """An environment in which Dask looks for its scheduler for this long, and not for 30 seconds."""
    return environment(DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT=timeout)


def start(corpus: Path, out: Path, cluster: Cluster) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        in_small_chunks("tokenize", corpus, "-o", out, "--dask", cluster.address),
        env=impatient("3s"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def has_begun(out: Path, whole: bytes) -> Callable[[], bool]:
    partial = out.with_name(f"{out.name}.partial")
    return lambda: partial.exists() and partial.stat().st_size > len(whole) // 20


def test_dask_writes_the_same(corpus: Path, whole: bytes, cluster: Cluster, tmp_path: Path) -> None:
    finished = run("tokenize", str(corpus), "-o", str(tmp_path / "out"), "--dask", cluster.address)
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert (tmp_path / "out").read_bytes() == whole
    counted = run("count", str(corpus), "--dask", cluster.address)
    documents = json.loads((tmp_path / "out.json").read_text())["documents"]
    assert int(counted.stdout) == len(whole) // 2 - documents


def test_a_worker_that_is_killed_changes_nothing(corpus: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with cluster_of_two() as cluster, start(corpus, out, cluster) as started:
        wait_until(has_begun(out, whole))
        os.kill(cluster.workers[0], signal.SIGKILL)
        _, told = started.communicate(timeout=SECONDS)
    assert (started.returncode, told) == (0, b"")
    assert out.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.json"]


def test_a_scheduler_that_goes_away_is_one_clear_line_and_the_rest_is_resumed(
    corpus: Path, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with cluster_of_two() as cluster, start(corpus, out, cluster) as started:
        wait_until(has_begun(out, whole))
        cluster.kill()
        printed, told = started.communicate(timeout=SECONDS)
    assert (started.returncode, printed) == (1, b"")
    assert "the workers were lost" in one_line(told) and "--resume" in one_line(told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.journal", "out.partial"]
    assert run("tokenize", str(corpus), "-o", str(out), "--resume").returncode == 0
    assert out.read_bytes() == whole


def test_an_interrupt_leaves_no_task(corpus: Path, whole: bytes, cluster: Cluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(5):  # on a busy machine the run may be over before it is interrupted
        for path in (out, tmp_path / "out.json"):
            path.unlink(missing_ok=True)
        with start(corpus, out, cluster) as started:
            wait_until(has_begun(out, whole))
            started.send_signal(signal.SIGINT)
            told = started.communicate(timeout=SECONDS)
        if not out.exists():
            break
    assert (started.returncode, told) == (130, (b"", b""))
    wait_until(lambda: cluster.evaluate("len(cluster.scheduler.tasks)") == 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.journal", "out.partial"]


def test_an_error_of_a_worker_is_named_as_locally(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "fine"}\n{}\n'))
    locally = run("count", str(tmp_path))
    assert "a.jsonl.gz, line 2, has no field 'text'" in one_line(locally.stderr)
    assert run("count", str(tmp_path), "--dask", cluster.address).stderr == locally.stderr


def test_a_worker_keeps_its_encoder(corpus: Path, cluster: Cluster, tmp_path: Path) -> None:
    encoder = "__import__('minigpt2.corpus.executors').corpus.executors._encoder"
    code = f"[*client.run(lambda: {encoder}.cache_info().misses).values()]"
    made = []
    for _ in range(4):  # on a busy machine one worker may have nothing to do at first
        assert run("count", str(corpus), "--dask", cluster.address).returncode == 0
        made.append(cluster.evaluate(code))
    assert made[-1] == made[-2]


def test_a_cluster_without_workers_is_waited_for_and_says_so(corpus: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with cluster_of_two() as cluster:
        cluster.evaluate("cluster.scale(0) or cluster.sync(cluster._correct_state)")
        wait_until(lambda: cluster.evaluate("len(client.nthreads())") == 0)
        with start(corpus, out, cluster) as started:
            assert started.stderr
            told = started.stderr.readline()
            cluster.evaluate("cluster.scale(1)")
            assert started.wait(SECONDS) == 0
    assert "the Dask cluster has no workers: waiting until one joins it" in one_line(told)
    assert out.read_bytes() == whole


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1", "no port", "tls://127.0.0.1:9", "what://a:1"])
def test_a_scheduler_that_is_not_there_is_named(address: str, corpus: Path) -> None:
    finished = run("count", str(corpus), "--dask", address, env=impatient("500ms"))
    assert finished.returncode == 1
    assert f"there is no Dask scheduler at {address}" in one_line(finished.stderr)
