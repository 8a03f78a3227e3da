"""A child forked while threads encode does not hang on a lock that one of them held."""

import os
import subprocess
import sys

import pytest

BUSY = {
    "learning new words": "shared.encode_to_numpy(words(4000, seed))",
    "making the merges of a vocabulary": "from_pairs(gpt2().pairs).merges",
}
CODE = """
import os, signal, sys, threading
from itertools import count
from minigpt2 import Tokenizer
from minigpt2.vocabulary import from_pairs, gpt2
from tests.readable import readable_ids
from tests.vectorized.inputs import words

shared = Tokenizer()
shared.encode_to_numpy(words(10_000))
text = words(3000, seed=-1)
expected = readable_ids(gpt2(), text)
seeds = count(1)

def work():
    for seed in seeds:
        {busy}

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
for _ in range(12):
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends a child that hangs
        from_pairs(gpt2().pairs).merges
        os._exit(shared.encode_to_numpy(text).tolist() != expected)
    if status := os.waitpid(child, 0)[1]:
        print(f"a child ended with {{status}}", flush=True)
        os._exit(1)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("name", BUSY)
def test_a_child_forked_while_threads_encode_encodes_as_well(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CODE.format(busy=BUSY[name])], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
