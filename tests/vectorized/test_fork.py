"""A child forked while threads encode does not hang on a lock that one of them held."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from tests.corpus.samples import lines_of, write_table

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


FIRST_TIME = """
import os, signal, sys, threading
from minigpt2 import Tokenizer

sys.setswitchinterval(1e-5)
tokenizer, ids, text = Tokenizer(), [464] * 50_000, "The meaning " * 10_000
threading.Thread(target=lambda: {work}, daemon=True).start()
while "minigpt2.vectorized.{module}" not in sys.modules:  # it is there from the start of its import
    pass
child = os.fork()
if not child:
    signal.alarm(20)
    {work}
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def run(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("name", BUSY)
def test_a_child_forked_while_threads_encode_encodes_as_well(name: str) -> None:
    run(CODE.format(busy=BUSY[name]))


@pytest.mark.parametrize(
    ("module", "work"), [("engine", "tokenizer.encode(text)"), ("decoding", "tokenizer.decode(ids)")]
)
def test_a_child_forked_while_the_engine_is_imported_works_as_well(module: str, work: str) -> None:
    run(FIRST_TIME.format(module=module, work=work))


COMPUTED_ONCE = """
import os, signal, threading
from minigpt2 import Checkpoint, Embeddings

weights = Checkpoint.bundled()
Embeddings(weights).nearest(464)

def work():
    while True:
        Embeddings(weights).nearest(464)

threading.Thread(target=work, daemon=True).start()
for _ in range(12):
    child = os.fork()
    if not child:
        signal.alarm(20)
        Embeddings(weights).nearest(464)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        os._exit(1)
os._exit(0)
"""


def test_a_child_forked_while_a_thread_computes_the_norms_computes_them_as_well() -> None:
    run(COMPUTED_ONCE)


# Python locks a module during its import, and a child would inherit that lock.
WATCHED = """
import sys
from minigpt2 import Tokenizer, corpus
from minigpt2.forking import FORK_WAITS

class Watch:
    def find_spec(self, name, path=None, target=None):
        if not FORK_WAITS._is_owned():
            print(name, "is imported, and a fork does not wait for it")

{before}
tokenizer, text = Tokenizer(), "The meaning of life \\u00e9\\u0436\\u751f\\U0001f600 " * 5000
sys.meta_path.insert(0, Watch())
{work}
"""
WORK = [
    "tokenizer.encode(text)",
    "tokenizer.encode_batch([text, text])",
    "tokenizer.encode_batch_to_numpy([text, text])",
    "tokenizer(text, return_offsets_mapping=True)",
    "tokenizer.decode([464, 12520] * 50_000)",
]


@pytest.mark.parametrize("work", WORK)
def test_a_fork_waits_for_every_import_that_encoding_and_decoding_need(work: str) -> None:
    assert run(WATCHED.format(before="", work=work)) == ""


def test_so_it_does_for_those_of_sampling() -> None:
    before = "from minigpt2 import GPT2; model = GPT2.bundled(); model.generate([464], max_new_tokens=1)"
    assert run(WATCHED.format(before=before, work="model.generate([464], do_sample=True, max_new_tokens=1)")) == ""


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst", "a.jsonl", "a.parquet"])
def test_so_it_does_for_those_of_a_corpus(name: str, tmp_path: Path) -> None:
    documents = ["The meaning of life \u00e9\u0436\u751f " * 5000] * 20  # larger than what is read at once
    data = lines_of(documents)
    compress: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd.compress}
    (tmp_path / name).write_bytes(compress.get(Path(name).suffix, bytes)(data))
    if name == "a.parquet":
        write_table(tmp_path / name, documents)
    work = f"corpus.tokenize({str(tmp_path / name)!r}, {str(tmp_path / 'ids')!r})"
    assert run(WATCHED.format(before="", work=work)) == ""


ON_A_TERMINAL = "import os, pty; terminal, end = pty.openpty(); os.dup2(end, 2)"


@pytest.mark.parametrize("options", ["jobs=2", "progress=True"])
def test_so_it_does_for_those_of_processes_and_of_a_progress_bar(options: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The meaning of life is")
    work = f"corpus.count({str(tmp_path / 'a.txt')!r}, {options})"
    assert run(WATCHED.format(before=ON_A_TERMINAL, work=work)) == ""
