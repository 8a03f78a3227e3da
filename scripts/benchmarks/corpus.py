"""`minigpt2 tokenize` on a corpus of 100 MB."""

import subprocess
import sys
import sysconfig
import tempfile
from functools import partial
from itertools import cycle
from pathlib import Path

from scripts.benchmarks.timing import in_turn


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


def bench_corpus() -> None:
    """`minigpt2 tokenize` on 100 MB, in one process and in two, and whether their output is the same."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "sources").mkdir()
        write_sources(directory / "sources", 100_000_000)

        def tokenize(jobs: int) -> None:
            command = [
                sys.executable,
                "-m",
                "minigpt2",
                "tokenize",
                "sources",
                "-o",
                f"{jobs}.bin",
                "--jobs",
                str(jobs),
            ]
            subprocess.run(command, cwd=directory, capture_output=True, check=True)

        two, ratio = in_turn(partial(tokenize, 2), partial(tokenize, 1))
        assert (directory / "1.bin").read_bytes() == (directory / "2.bin").read_bytes()
        print(f"minigpt2 tokenize, 100 MB: {two:.2f} s with two jobs, {ratio:.2f} times as quick as with one")
