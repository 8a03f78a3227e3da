"""Measuring: two actions in turn, and code in a fresh process."""

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

RUNS = 5


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], runs: int = RUNS) -> tuple[float, float]:
    """Our median time, and the median of how many times longer the other takes."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(runs)]
    return median(a for a, _ in pairs), median(b / a for a, b in pairs)


def fresh(code: str) -> tuple[float, float]:
    """The milliseconds and the peak megabytes of some code in a fresh process, median of several."""
    ending = (
        "\nfor line in open('/proc/self/status'):\n    if line.startswith('VmHWM'): print(int(line.split()[1]) / 1024)"
    )
    times, peaks = [], []
    for _ in range(2 * RUNS + 1):
        start = time.perf_counter()
        run = subprocess.run([sys.executable, "-c", code + ending], capture_output=True, check=True, text=True)
        times.append(1e3 * (time.perf_counter() - start))
        peaks.append(float(run.stdout.split()[-1]))
    return median(times), median(peaks)


def report_fresh(name: str, code: str) -> None:
    """Print what some code takes in a fresh process on top of `import numpy`."""
    (base, base_peak), (whole, peak) = fresh("import numpy"), fresh("import numpy\n" + code)
    print(f"{name}: {whole - base:.0f} ms and {peak - base_peak:.1f} MB on top of import numpy ({base:.0f} ms)")
