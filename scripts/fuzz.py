"""Compare the numpy engine with the readable one, with tiktoken and with transformers on random text, for a while.

Usage: python scripts/fuzz.py [--seconds 60] [--seed N]. It prints the seed, so that a failure can be reproduced.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from minigpt2.vectorized.engine import Engine
from minigpt2.vocabulary import gpt2
from tests.parity.references import tiktoken_encoding, transformers_tokenizer
from tests.readable import readable_ids

BLOCKS = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x600), (0x600, 0xE00), (0x1E00, 0x2100), (0x2000, 0x2070)]
BLOCKS += [(0x3000, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFFFF), (0x1F300, 0x1F700), (0, 0xD800)]
BLOCKS += [(0xE000, 0x110000)]
ODDITIES = [
    "'s",
    "'LL",
    "'ve",
    " '",
    "  ",
    "\n",
    " \n\t",
    "\u3000",
    "\xa0",
    "-" * 9,
    "=" * 40,
    "ha",
    "ÃÂ",
    "\x00",
    "the",
    " the",
]


def fragments(source: random.Random) -> Iterator[str]:
    """Letters of one script or several, tokens, oddities, and runs of any of these."""
    tokens = list(gpt2().token_bytes.values())
    while True:
        kind = source.randrange(5)
        if kind == 0:
            first, last = source.choice(BLOCKS)
            text = "".join(chr(source.randrange(first, last)) for _ in range(source.randrange(1, 12)))
        elif kind == 1:
            text = "".join(source.choice(tokens).decode("utf-8", "ignore") for _ in range(source.randrange(1, 6)))
        elif kind == 2:
            text = "".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=source.randrange(1, 30)))
        else:
            text = source.choice(ODDITIES)
        yield text * (source.randrange(1, 200) if source.random() < 0.02 else 1)


def check(name: str, text: str, ids: list[int], expected: Callable[[str], list[int]]) -> None:
    if ids != expected(text):
        raise SystemExit(f"the engine and {name} disagree on {text!r}")


def fuzz(seconds: float, seed: int) -> int:
    """Compare for some seconds, and return how many characters were compared."""
    source = random.Random(seed)
    stream = fragments(source)
    compared, end = 0, time.monotonic() + seconds
    engine = Engine(gpt2())
    while time.monotonic() < end:
        text = "".join(next(stream) for _ in range(source.choice([3, 30, 300, 3000])))
        text = text.encode("utf-8", "ignore").decode("utf-8").replace("<|endoftext|>", "")
        ids = engine.encode(text).tolist()
        check("the readable engine", text, ids, lambda text: readable_ids(gpt2(), text))
        check(
            "itself in windows", text, ids, lambda text: Engine(gpt2(), source.randrange(1, 3000)).encode(text).tolist()
        )
        check("tiktoken", text, ids, tiktoken_encoding().encode_ordinary)
        check("transformers", text, ids, transformers_tokenizer().encode)
        compared += len(text)
    return compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    print(f"{fuzz(options.seconds, options.seed):,} characters compared, no difference")


if __name__ == "__main__":
    main()
