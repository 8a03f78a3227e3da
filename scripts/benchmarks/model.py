"""The whole model beside transformers (sdpa, float32), on a checkpoint with the published layout.

Ratios are our time divided by theirs, so below 1 is quicker. The two take turns in one process, with the same number of
threads, and the smallest time of each counts. There are two ratios, because the threads of a BLAS stay awake for a
while, in a busy loop: the first is of calls that waited until those of the other were asleep, as in a process that uses
one of the two; the second of calls without that rest. Measure while nothing else runs: a BLAS needs all cores at once.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np

from minigpt2 import GPT2, Checkpoint
from scripts.benchmarks.timing import fresh, seconds
from scripts.standin import standin

RUNS = 9
OURS = (
    "from minigpt2 import GPT2, Checkpoint; model = GPT2(Checkpoint.open({!r})); logits = model({}, logits_to_keep=1)"
)
THEIRS = (
    "import torch; from transformers import GPT2LMHeadModel; torch.set_grad_enabled(False);"
    " model = GPT2LMHeadModel.from_pretrained({!r});"
    " logits = model(torch.tensor({}), logits_to_keep=1, use_cache=False)"
)


def bench_model() -> None:
    """Prefill, single tokens, batches, a fresh process, and memory; and what decoding costs with a tiny model."""
    with tempfile.TemporaryDirectory() as name:
        standin(Path(name))
        print("| what | minigpt2 | transformers | ratio | without rests |\n|---|---|---|---|---|")
        bench_calls(name)
        bench_fresh(name)
    bench_overhead()


def bench_calls(directory: str) -> None:
    """Calls in one process, the two models in turn."""
    import torch
    from transformers import GPT2LMHeadModel

    torch.set_grad_enabled(False)
    ours = GPT2(Checkpoint.open(directory))
    theirs: Any = GPT2LMHeadModel.from_pretrained(directory, attn_implementation="sdpa").eval()  # type: ignore[no-untyped-call]
    random = np.random.default_rng(0)
    for tokens in (5, 64, 512, 1024):
        ids = random.integers(0, 50257, (1, tokens))
        row(
            f"prefill of {tokens} tokens, last logits",
            partial(ours, ids, logits_to_keep=1),
            partial(theirs, torch.tensor(ids), logits_to_keep=1, use_cache=False),
        )
    for texts, tokens in ((1, 64), (1, 1000), (8, 64), (32, 64)):
        ids = random.integers(0, 50257, (texts, tokens))
        their_ids = torch.tensor(ids)
        cache = ours(ids, use_cache=True, logits_to_keep=1).past_key_values
        their_cache = theirs(their_ids, use_cache=True, logits_to_keep=1).past_key_values
        row(
            f"one token after {tokens}" if texts == 1 else f"a step of {texts} texts",
            partial(step, ours, ids[:, :1], cache),
            partial(step, theirs, their_ids[:, :1], their_cache),
        )


def step(model: Any, ids: Any, cache: Any) -> None:
    """One more token for each text, which is then forgotten again."""
    model(ids, past_key_values=cache, use_cache=True)
    cache.crop(-1)


def row(what: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    """Time two actions in turn, with rests and without, and print the smallest times."""
    rested = [(after_a_rest(ours), after_a_rest(theirs)) for _ in range(RUNS)]
    hurried = [(seconds(ours), seconds(theirs)) for _ in range(RUNS)]
    a, b = (1e3 * min(column) for column in zip(*rested, strict=True))
    c, d = (min(column) for column in zip(*hurried, strict=True))
    print(f"| {what} | {a:.1f} ms | {b:.1f} ms | {a / b:.2f} | {c / d:.2f} |", flush=True)


def after_a_rest(action: Callable[[], object]) -> float:
    """The seconds that an action takes when no other BLAS's threads are awake: the second time, with its own awake."""
    sleep(0.3)
    action()
    return seconds(action)


def bench_fresh(directory: str) -> None:
    """A fresh process up to its first logits, and the memory that it takes at most."""
    for tokens in (5, 1024):
        (time, peak), (their_time, their_peak) = (
            fresh(code.format(directory, [[464] * tokens])) for code in (OURS, THEIRS)
        )
        if tokens == 5:
            ratio = time / their_time
            print(f"| fresh process to the first token | {time:.0f} ms | {their_time:.0f} ms | {ratio:.2f} | |")
        print(
            f"| peak memory, {tokens} tokens | {peak:.0f} MB | {their_peak:.0f} MB | {peak / their_peak:.2f} | |",
            flush=True,
        )


def bench_overhead() -> None:
    """The cost of a token with a model of almost nothing: all of it is overhead."""
    with tempfile.TemporaryDirectory() as name:
        standin(Path(name), n_layer=2, n_embd=16, vocab_size=300)
        model = GPT2(Checkpoint.open(name))
        time = min(seconds(lambda: model.generate([[1]], 200, eos_token_id=None)) for _ in range(5)) / 200
        print(f"decoding with a tiny model: {1e6 * time:.0f} µs a token")
