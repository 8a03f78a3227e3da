"""Thousands of added tokens: long texts beside `tokenizers`, strings that nearly match everywhere, and short calls."""

import copy
from collections.abc import Callable
from functools import partial

from minigpt2 import Tokenizer
from scripts.benchmarks.encoding import PROMPT, python_texts
from scripts.benchmarks.timing import in_turn, seconds
from tests.parity.references import transformers_tokenizer

CALLS = 5000


def bench_added() -> None:
    """20,000 added tokens in a megabyte, then 1,500 of the kind a…ab, then a short call beside 10,000."""
    words = python_texts()["Python sources"].split(" ")
    markers = [f"<tok_{index}>" for index in range(20_000)]
    marked = " ".join(word if index % 20 else markers[index % 20_000] for index, word in enumerate(words))
    for name, tokens in (("<tok_…>", markers), ("words", list(dict.fromkeys(filter(None, words)))[:20_000])):
        print(f"{len(tokens):,} added tokens, {name}: {_beside(tokens, marked)}")
    tokenizer = Tokenizer()
    tokenizer.add_tokens(["a" * count + "b" for count in range(1, 1501)])
    for length in (250_000, 500_000, 1_000_000):
        text = ("a" * 999 + "b") * (length // 1000)
        print(f"1,500 tokens a…ab, {length:,} characters: {seconds(partial(tokenizer.encode, text)):.2f} s")
    many = Tokenizer()
    many.add_tokens(markers[:10_000])
    ours, ratio = in_turn(_calls(many), _calls(Tokenizer()), 15)
    print(f"{PROMPT!r} beside 10,000 added tokens: {1e6 * ours / CALLS:.2f} µs, {1 / ratio:.2f} times without")


def _beside(tokens: list[str], text: str) -> str:
    ours, theirs = Tokenizer(), copy.deepcopy(transformers_tokenizer().backend_tokenizer)
    ours.add_tokens(tokens)
    theirs.add_tokens(tokens)
    assert ours.encode(text) == theirs.encode(text).ids
    time, ratio = in_turn(partial(ours.encode, text), partial(theirs.encode, text), 3)
    return f"{time:.2f} s for {len(text) / 1e6:.2f} MB, {1 / ratio:.2f} times tokenizers"


def _calls(tokenizer: Tokenizer) -> Callable[[], None]:
    def call() -> None:
        for _ in range(CALLS):
            tokenizer.encode(PROMPT)

    return call
