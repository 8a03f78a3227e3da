"""Texts to ids and back: this package beside the rivals, the ids compared before anything is timed."""

import random
import sysconfig
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from minigpt2 import Tokenizer
from minigpt2.encoder import OrdinaryText
from minigpt2.vectorized.engine import Engine
from minigpt2.vocabulary import gpt2
from scripts.benchmarks.rivals import SLOW, Encode, ours, rivals
from scripts.benchmarks.timing import RUNS, in_turn, seconds
from tests.parity.references import tiktoken_encoding, transformers_tokenizer

PROMPT = "The meaning of life is"


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


def texts_of(files: Sequence[Path]) -> dict[str, str]:
    """The texts to measure: the files' by their names, or else Python's own."""
    return {path.name: path.read_bytes().decode("utf-8") for path in files} or python_texts()


def parts_of(text: str) -> list[str]:
    """A text in parts of about a megabyte, as a pipeline hands them over."""
    return [text[start : start + 1_000_000] for start in range(0, len(text), 1_000_000)]


def bench_text(files: Sequence[Path]) -> None:
    """Encoding: the first pass of a fresh tokenizer, and the second over the same text, beside every rival."""
    makers = rivals()
    print("how many times longer the others take, first pass / second pass over the text:\n")
    print("|", " | ".join(["text", "MB", "MB/s", *makers]), "|")
    print("|" + (3 + len(makers)) * "---|")
    ours()("x" * 40_000)  # tables that follow from the vocabulary alone are made once in a process
    for name, text in texts_of(files).items():
        columns = [beside(make, text[:200_000] if rival in SLOW else text) for rival, make in makers.items()]
        size, speed = len(text.encode()) / 1e6, columns[0][0]
        print("|", " | ".join([name, f"{size:.2f}", speed, *(ratios for _, ratios in columns)]), "|", flush=True)


def beside(make: Callable[[], Encode], text: str) -> tuple[str, str]:
    """Our MB/s and how many times longer a rival takes, each in a first pass and a second, the two in turn."""
    size, parts = len(text.encode()) / 1e6, parts_of(text)
    assert all(np.array_equal(ours()(part), make()(part)) for part in parts)
    runs = [(passes(ours, parts), passes(make, parts)) for _ in range(RUNS)]
    speeds = [f"{median(size / mine[index] for mine, _ in runs):.0f}" for index in (0, 1)]
    ratios = [median(theirs[index] / mine[index] for mine, theirs in runs) for index in (0, 1)]
    return " / ".join(speeds), " / ".join(f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}" for ratio in ratios)


def passes(make: Callable[[], Encode], parts: Sequence[str]) -> tuple[float, float]:
    """How long a fresh encoder takes for all parts, and how long for the same parts again."""
    encode = every(parts, make())
    return seconds(encode), seconds(encode)


def every(parts: Sequence[str], encode: Callable[[str], object]) -> Callable[[], object]:
    """Encode all parts, keeping the ids."""
    return lambda: [encode(part) for part in parts]


def bench_lists(files: Sequence[Path]) -> None:
    """Encoding to lists, and the short prompt."""
    tokenizer, reference = Tokenizer(), tiktoken_encoding()
    for name, text in list(texts_of(files).items())[:2]:
        tokenizer.encode(text)
        time, ratio = in_turn(partial(tokenizer.encode, text), partial(reference.encode_ordinary, text))
        print(f"encode to a list, {name}: {len(text.encode()) / 1e6 / time:.0f} MB/s, {ratio:.2f} × tiktoken")
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
            times.append(min(seconds(every([text], ours())) for _ in range(3)) / len(text.encode()))
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


def bench_crossover() -> None:
    """From which length on the numpy engine is quicker than the readable one with its dict."""
    for name, text in (("ASCII", python_texts()["Python documentation"]), ("others", "Привет, мир! 日本語 " * 9000)):
        engine, encoder = Engine(gpt2()), OrdinaryText(gpt2())
        engine.encode(text)
        for size in (250, 500, 1000, 2000, 3000, 4000, 8000):
            parts = [text[start : start + size] for start in range(0, 100_000 - size, size)]
            arrays = min(seconds(every(parts, engine.encode)) for _ in range(3))
            words = min(seconds(every(parts, encoder.pretoken_by_pretoken)) for _ in range(3))
            print(f"{name}, {size} characters: {words / arrays:.2f} times as quick in arrays")
