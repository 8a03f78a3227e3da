"""`minigpt2 tokenize` on a corpus of a gigabyte: in one process, in two, and on two workers of a Dask cluster."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median

from scripts.benchmarks.timing import seconds

RUNS = 3
SIZE = 1_000_000_000

# A scheduler and two workers, each a process, until standard input ends.
CLUSTER = """
import json, os, sys
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        print(json.dumps([cluster.scheduler_address, [*client.run(os.getpid).values()]]), flush=True)
        sys.stdin.read()
"""


def write_sources(directory: Path, size: int) -> None:
    """Write so many characters of the Python sources at hand, those of packages too, to files of about a megabyte."""
    places = dict.fromkeys(sysconfig.get_path(name) for name in ("stdlib", "purelib"))
    paths = [path for place in places for path in sorted(Path(place).rglob("*.py"))]
    waiting: list[str] = []
    for number, path in enumerate(cycle(paths)):
        waiting.append(path.read_text("utf-8", "replace"))
        if sum(map(len, waiting)) >= 1_000_000:
            size -= (directory / f"{number:06}.txt").write_text("".join(waiting), "utf-8")
            waiting.clear()
        if size <= 0:
            return


@contextmanager
def cluster_of_two() -> Iterator[tuple[str, list[int]]]:
    """The address of a fresh cluster's scheduler, and the process ids of its workers."""
    command = [sys.executable, "-c", CLUSTER]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, text=True) as started:
        assert started.stdout
        address, workers = json.loads(started.stdout.readline())
        yield address, workers


def start(directory: Path, output: str, *options: str) -> "subprocess.Popen[bytes]":
    """Begin to tokenize the sources."""
    command = [sys.executable, "-m", "minigpt2", "tokenize", str(directory / "sources"), "-o", str(directory / output)]
    return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)


def tokenize(directory: Path, output: str, *options: str) -> None:
    """Tokenize the sources."""
    assert start(directory, output, *options).wait() == 0


def tokenize_while_a_worker_is_killed(directory: Path, address: str, worker: int) -> None:
    """Tokenize the sources, with `kill -9` of a worker when a third is written."""
    third = (directory / "jobs-1").stat().st_size // 3
    partial_file = directory / "killed.partial"
    started = start(directory, "killed", "--dask", address)
    while started.poll() is None and not (partial_file.exists() and partial_file.stat().st_size > third):
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    assert started.wait() == 0


def bench_corpus() -> None:
    """Every way in turn, the medians, and whether their output is the same."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "sources").mkdir()
        write_sources(directory / "sources", SIZE)
        size = sum(path.stat().st_size for path in (directory / "sources").iterdir()) / 1e6
        times: dict[str, list[float]] = {}
        for _ in range(RUNS):
            with cluster_of_two() as (address, workers):  # a fresh one: its workers' memory is cold, as that of jobs
                ways: dict[str, Callable[[], None]] = {
                    "jobs-1": partial(tokenize, directory, "jobs-1", "--jobs", "1"),
                    "jobs-2": partial(tokenize, directory, "jobs-2", "--jobs", "2"),
                    "dask": partial(tokenize, directory, "dask", "--dask", address),
                    "killed": partial(tokenize_while_a_worker_is_killed, directory, address, workers[0]),
                }
                for way, action in ways.items():
                    times.setdefault(way, []).append(seconds(action))
        assert len({(directory / way).read_bytes() for way in times}) == 1
        print(f"minigpt2 tokenize, {size:,.0f} MB, {RUNS} runs in turn, medians:")
        for way, taken in times.items():
            ratio = median(a / b for a, b in zip(taken, times["jobs-2"], strict=True))
            print(f"{way}: {median(taken):.1f} s, {size / median(taken):.0f} MB/s, {ratio:.2f} times as long as jobs-2")
