"""Time this package against the references: tiktoken, tokenizers, transformers, and its own readable engine.

Usage: python scripts/bench.py [FILE ...] [--only SECTION ...] [--crossover]

Sections: start, text, input, decode, batch, corpus, weights. Without files, texts are Python's own sources and
documentation. Ratios are taken run by run, the two in turn, in one process but for `corpus`, and their median is shown:
machines are noisy, ratios less so. Before anything is timed, the ids are compared.
"""

import argparse
import platform
import random
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from minigpt2 import Tokenizer
from minigpt2.encoder import Encoder
from minigpt2.vectorized.engine import Engine
from minigpt2.vocabulary import gpt2
from tests.parity.references import tiktoken_encoding, transformers_tokenizer
from tests.readable import readable_ids

SECTIONS = ["start", "text", "input", "decode", "batch", "corpus", "weights"]
RUNS = 5
PROMPT = "The meaning of life is"


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], runs: int = RUNS) -> tuple[float, float]:
    """Our median time, and the median of how many times longer the other takes."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(runs)]
    return median(a for a, _ in pairs), median(b / a for a, b in pairs)


def python_texts() -> dict[str, str]:
    """Python's documentation, some of its sources, and 20 MB of them."""
    library = Path(sysconfig.get_path("stdlib"))
    sources = "".join(path.read_text("utf-8", "replace") for path in sorted(library.rglob("*.py")))
    documentation = (library / "pydoc_data" / "topics.py").read_text("utf-8")
    return {
        "Python documentation": documentation,
        "Python sources": sources[:1_000_000],
        "20 MB stream": sources[:20_000_000],
    }


def pieces_of(text: str) -> list[str]:
    """A text in pieces of about a megabyte, as a pipeline hands them over."""
    return [text[start : start + 1_000_000] for start in range(0, len(text), 1_000_000)]


def bench_text(texts: dict[str, str]) -> None:
    """Encoding: the first pass of a fresh tokenizer, and the second over the same text."""
    others = "× tokenizers | × transformers | × readable"
    print(f"| text | MB | first pass, MB/s | × tiktoken | second pass, MB/s | × tiktoken | {others} |")
    print("|" + 9 * "---|")
    Tokenizer().encode("x" * 40_000)  # tables that follow from the vocabulary alone are made once in a process
    rows = {name: against_tiktoken(text) for name, text in texts.items()}  # before others use the heap
    for name, text in texts.items():
        print("|", " | ".join([name, *rows[name], *against_others(text[:200_000])]), "|", flush=True)


def against_tiktoken(text: str) -> list[str]:
    """A text's megabytes, and the speeds and ratios of the first pass and the second, after its ids were compared."""
    size, parts = len(text.encode()) / 1e6, pieces_of(text)
    tokenizer, tiktoken = Tokenizer(), tiktoken_encoding()
    assert all(np.array_equal(tokenizer.encode_to_numpy(part), tiktoken.encode_to_numpy(part)) for part in parts)
    theirs = every(parts, tiktoken.encode_to_numpy)
    first, of_first = in_turn(partial(first_pass, parts), theirs)
    second, of_second = in_turn(every(parts, tokenizer.encode_to_numpy), theirs)
    return [f"{size:.2f}", f"{size / first:.0f}", f"{of_first:.2f}", f"{size / second:.0f}", f"{of_second:.2f}"]


def against_others(text: str) -> list[str]:
    """The ratios to the slower ones in steady state, after the ids were compared."""
    tokenizer, transformers = Tokenizer(), transformers_tokenizer()
    others: list[Callable[[str], list[int]]] = [
        lambda text: transformers.backend_tokenizer.encode(text).ids,
        transformers.encode,
        partial(readable_ids, gpt2()),
    ]
    assert all(tokenizer.encode(text) == other(text) for other in others)
    encode = partial(tokenizer.encode, text)
    return [f"{in_turn(encode, partial(other, text), 3)[1]:.0f}" for other in others]


def every(parts: Sequence[str], encode: Callable[[str], object]) -> Callable[[], object]:
    """Encode all parts, keeping the ids."""
    return lambda: [encode(part) for part in parts]


def first_pass(parts: Sequence[str]) -> object:
    """Encode all parts with a fresh tokenizer."""
    return every(parts, Tokenizer().encode_to_numpy)()


def bench_lists(texts: dict[str, str]) -> None:
    """Encoding to lists, and the short prompt."""
    tokenizer, reference = Tokenizer(), tiktoken_encoding()
    for name, text in list(texts.items())[:2]:
        tokenizer.encode(text)
        ours, ratio = in_turn(partial(tokenizer.encode, text), partial(reference.encode_ordinary, text))
        print(f"encode to a list, {name}: {len(text.encode()) / 1e6 / ours:.0f} MB/s, {ratio:.2f} × tiktoken")
    encoders = {"": tokenizer.encode, "tiktoken ": reference.encode, "transformers ": transformers_tokenizer().encode}
    prompts = [PROMPT] * 2000
    times = {name: min(seconds(every(prompts, encode)) for _ in range(RUNS)) for name, encode in encoders.items()}
    print(f"encode({PROMPT!r}):", ", ".join(f"{name}{1e6 * t / len(prompts):.1f} µs" for name, t in times.items()))


def bench_input() -> None:
    """Inputs made to be slow: the time per byte at a tenth of the size, and whole."""
    source, letters = random.Random(0), "abcdefghijklmnopqrstuvwxyz"
    inputs: dict[str, Callable[[int], str]] = {
        "distinct random words": lambda n: " ".join("".join(source.choices(letters, k=6)) for _ in range(n // 7)),
        "one word of random letters": lambda n: "".join(source.choices(letters, k=n)),
        "one word of equal letters": lambda n: "a" * n,
        "spaces": lambda n: " " * n,
        "newlines": lambda n: "\n" * n,
        "dashes": lambda n: "-" * n,
        "emoji": lambda n: "😀" * (n // 4),
        "random digits": lambda n: "".join(source.choices("0123456789", k=n)),
        "random punctuation": lambda n: "".join(source.choices("!#$%&()*+-=[]{}", k=n)),
    }
    print("| input | ns per byte, 0.1 MB | 1 MB | MB/s |\n|---|---|---|---|")
    for name, make in inputs.items():
        times = []
        for size in (100_000, 1_000_000):
            text = make(size)
            times.append(min(seconds(partial(first_pass, [text])) for _ in range(3)) / len(text.encode()))
        print(f"| {name} | {1e9 * times[0]:.0f} | {1e9 * times[1]:.0f} | {1e-6 / times[1]:.1f} |", flush=True)


def bench_decode() -> None:
    """Decoding a million ids, from a list and from an array."""
    ids = (Tokenizer().encode(python_texts()["Python documentation"]) * 10)[:1_000_000]
    array, tokenizer = np.array(ids), Tokenizer()
    assert tokenizer.decode(ids) == tokenizer.decode(array) == transformers_tokenizer().decode(ids)
    megabytes = len(tokenizer.decode_bytes(ids)) / 1e6
    for name, given in (("list", ids), ("array", array)):
        decode = partial(tokenizer.decode, given)
        ours, of_transformers = in_turn(decode, partial(transformers_tokenizer().decode, ids))
        _, of_tiktoken = in_turn(decode, partial(tiktoken_encoding().decode, ids))
        print(f"decode a {name} of 1,000,000 ids: {1e3 * ours:.0f} ms, {megabytes / ours:.0f} MB/s,", end=" ")
        print(f"{of_transformers:.1f} × transformers, {of_tiktoken:.1f} × tiktoken")


def bench_batch() -> None:
    """Batches: what a second thread gains, and many short texts."""
    text = python_texts()["20 MB stream"]
    tokenizer, lines = Tokenizer(), text[:4_000_000].split("\n")
    documents = [text[start : start + 20_000] for start in range(0, len(text), 20_000)]
    tokenizer.encode_batch_to_numpy(documents)
    encode = tokenizer.encode_batch_to_numpy
    two, gain = in_turn(partial(encode, documents, 2), partial(encode, documents, 1))
    print(
        f"encode_batch_to_numpy, 1,000 texts of 20 kB, two threads: {len(text) / 1e6 / two:.0f} MB/s, {gain:.2f} × one"
    )
    encode_lines = tiktoken_encoding().encode_ordinary_batch
    ours, ratio = in_turn(partial(tokenizer.encode_batch, lines), partial(encode_lines, lines))
    print(f"encode_batch, {len(lines):,} lines: {4 / ours:.0f} MB/s, {ratio:.2f} × tiktoken")


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
    """What some code takes in a fresh process on top of `import numpy`."""
    (base, base_peak), (whole, peak) = fresh("import numpy"), fresh("import numpy\n" + code)
    print(f"{name}: {whole - base:.0f} ms and {peak - base_peak:.1f} MB on top of import numpy ({base:.0f} ms)")


def bench_start() -> None:
    """A fresh process: import, tokenizer, first encode."""
    report_fresh("import, Tokenizer(), first encode", f"from minigpt2 import Tokenizer; Tokenizer().encode({PROMPT!r})")
    code = "from time import *; from minigpt2 import Tokenizer; start = perf_counter(); Tokenizer()"
    runs = [f"{code}; print(perf_counter() - start)" for _ in range(2 * RUNS + 1)]
    times = [float(subprocess.run([sys.executable, "-c", run], capture_output=True, check=True).stdout) for run in runs]
    print(f"Tokenizer(): {1e3 * median(times):.1f} ms in a fresh process")


def bench_weights() -> None:
    """Five rows of a full-size checkpoint, made on the spot, in a fresh process."""
    script = Path(__file__).with_name("standin.py")
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, str(script), directory], check=True, capture_output=True)
        opened = f"from minigpt2 import Checkpoint; weights = Checkpoint.open({directory!r})"
        report_fresh("five rows of a 548 MB file", f"{opened}; weights['wte.weight'][[464, 3616, 286, 1204, 318]]")
        report_fresh("its 148 parameters", f"{opened}; list(weights.parameter_names()); weights.num_parameters()")
        from minigpt2 import Checkpoint, Embeddings

        embeddings = Embeddings(Checkpoint.open(directory))
        first, *later = [seconds(lambda: embeddings.nearest(1204)) for _ in range(21)]
        print(f"nearest among 50,257 rows: {1e3 * first:.0f} ms the first time, then {1e3 * median(later):.1f} ms")


def bench_crossover() -> None:
    """From which length on the numpy engine is quicker than the readable one with its dict."""
    for name, text in (("ASCII", python_texts()["Python documentation"]), ("others", "Привет, мир! 日本語 " * 9000)):
        engine, encoder = Engine(gpt2()), Encoder(gpt2())
        engine.encode(text)
        for size in (250, 500, 1000, 2000, 3000, 4000, 8000):
            parts = [text[start : start + size] for start in range(0, 100_000 - size, size)]
            arrays = min(seconds(every(parts, engine.encode)) for _ in range(3))
            words = min(seconds(every(parts, encoder.pretoken_by_pretoken)) for _ in range(3))
            print(f"{name}, {size} characters: {words / arrays:.2f} times as quick in arrays")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--only", nargs="+", choices=SECTIONS)
    parser.add_argument("--crossover", action="store_true")
    options = parser.parse_args()
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    if options.crossover:
        return bench_crossover()
    chosen = options.only or SECTIONS
    if "text" in chosen:
        texts = {path.name: path.read_bytes().decode("utf-8") for path in options.files} or python_texts()
        bench_text(texts)
        bench_lists(texts)
    others = {
        "start": bench_start,
        "input": bench_input,
        "decode": bench_decode,
        "batch": bench_batch,
        "corpus": bench_corpus,
        "weights": bench_weights,
    }
    for name, bench in others.items():
        if name in chosen:
            bench()
    return None


if __name__ == "__main__":
    main()
