"""The times of fresh processes: the tokenizer, and rows of a full-size checkpoint."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from scripts.benchmarks.encoding import PROMPT
from scripts.benchmarks.timing import RUNS, report_fresh, seconds
from scripts.standin import standin


def bench_start() -> None:
    """A fresh process: import, tokenizer, first encode."""
    report_fresh("import, Tokenizer(), first encode", f"from minigpt2 import Tokenizer; Tokenizer().encode({PROMPT!r})")
    code = "from time import *; from minigpt2 import Tokenizer; start = perf_counter(); Tokenizer()"
    runs = [f"{code}; print(perf_counter() - start)" for _ in range(2 * RUNS + 1)]
    times = [float(subprocess.run([sys.executable, "-c", run], capture_output=True, check=True).stdout) for run in runs]
    print(f"Tokenizer(): {1e3 * median(times):.1f} ms in a fresh process")


ENCODE = """if True:
    import sysconfig, time
    from pathlib import Path
    from minigpt2 import Tokenizer

    text = (Path(sysconfig.get_path("stdlib")) / "pydoc_data" / "topics.py").read_text("utf-8") * 4
    Tokenizer().encode_to_numpy(text)
    start = time.perf_counter()
    tokenizer = Tokenizer()
    for _ in range(5):
        tokenizer.encode_to_numpy(text)
    print(time.perf_counter() - start)
"""


def bench_malloc() -> None:
    """Encoding in a process set up as Dask's workers, where glibc returns freed memory at once, beside a plain one."""

    def encoding(environment: dict[str, str]) -> float:
        command = [sys.executable, "-c", ENCODE]
        return float(subprocess.run(command, env=os.environ | environment, capture_output=True, check=True).stdout)

    pairs = [(encoding({}), encoding({"MALLOC_TRIM_THRESHOLD_": "65536"})) for _ in range(2 * RUNS + 1)]
    ratio = median(plain / trimming for plain, trimming in pairs)
    print(f"with MALLOC_TRIM_THRESHOLD_=65536: {ratio:.2f} times the speed of a plain process")


def bench_weights() -> None:
    """Five rows of a full-size checkpoint, made on the spot, in a fresh process."""
    with tempfile.TemporaryDirectory() as directory:
        standin(Path(directory))
        opened = f"from minigpt2 import Checkpoint; weights = Checkpoint.open({directory!r})"
        report_fresh("five rows of a 548 MB file", f"{opened}; weights['wte.weight'][[464, 3616, 286, 1204, 318]]")
        report_fresh("its 148 parameters", f"{opened}; list(weights.parameter_names()); weights.num_parameters()")
        from minigpt2 import Checkpoint, Embeddings

        embeddings = Embeddings(Checkpoint.open(directory))
        first, *later = [seconds(lambda: embeddings.nearest(1204)) for _ in range(21)]
        print(f"nearest among 50,257 rows: {1e3 * first:.0f} ms the first time, then {1e3 * median(later):.1f} ms")
