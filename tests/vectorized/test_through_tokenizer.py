"""Long texts and batches through `Tokenizer`, which hands them to the numpy engine: ids, threads, memory, errors."""

import os
import platform
import random
import subprocess
import sys
import tracemalloc
from itertools import pairwise
from string import ascii_lowercase

import numpy as np
import pytest
from numpy.typing import NDArray

from minigpt2 import AddedToken, Tokenizer
from minigpt2.vocabulary import gpt2
from tests.readable import readable_ids
from tests.vectorized.inputs import words


def test_long_texts_take_the_engine_and_agree_with_short_ones() -> None:
    tokenizer = Tokenizer()
    lines = [words(20, seed) + "\n" for seed in range(400)]
    text = "<|endoftext|>".join(lines)
    expected = [token_id for line in lines for token_id in [*readable_ids(gpt2(), line), 50256]][:-1]
    assert tokenizer.encode(text) == tokenizer.encode_to_numpy(text).tolist() == expected
    assert tokenizer.encode_to_numpy(text, dtype=np.uint16).dtype == np.uint16
    assert tokenizer.tokenize(text) == tokenizer.convert_ids_to_tokens(expected)
    assert tokenizer.decode(expected) == tokenizer.decode(np.array(expected, np.uint16)) == text
    assert tokenizer.decode(expected, skip_special_tokens=True) == "".join(lines)


def test_long_texts_between_special_tokens_are_encoded_separately() -> None:
    parts = [words(9000, seed) + " " * seed for seed in range(3)]
    expected = [token_id for part in parts for token_id in [*readable_ids(gpt2(), part), 50256]]
    assert Tokenizer().encode_to_numpy("<|endoftext|>".join([*parts, ""])).tolist() == expected


def unlike(letters: str, length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


CHINESE = [chr(code_point) for code_point in range(0x4E00, 0x9FFF)]
HEAVY_TEXTS = {
    "Chinese of distinct words": lambda: "".join(random.Random(0).choices(CHINESE, k=3_000_000)),
    "words of random letters": lambda: "".join(random.Random(0).choices(ascii_lowercase + " ", k=3_000_000)),
    "words of a thousand letters": lambda: " ".join(unlike("ÃÂ", 999, seed) for seed in range(2000)),
    "tokens that all start within a character": lambda: "通" * 1_000_000,
    "one pretoken": lambda: "".join(random.Random(0).choices("abcdefghij", k=3_000_000)),
    "special tokens": lambda: "<|endoftext|>" * 100_000,
    "texts between special tokens": lambda: ("a few words of many " * 3_500_000 + "<|endoftext|>") * 2,
}


# While an array grows, numpy tells tracemalloc of it once, and from 2.5 on twice. The C library moves its pages.
TIMES_COUNTED = 1 if np.lib.NumpyVersion(np.__version__) < "2.5.0" else 2


def encoded_within(size: int, tokenizer: Tokenizer, text: str) -> NDArray[np.uint16]:
    """The ids of a text, after making sure that so many bytes beside them were enough."""
    tracemalloc.start()
    try:
        ids = tokenizer.encode_to_numpy(text, dtype=np.uint16)
        assert tracemalloc.get_traced_memory()[1] - TIMES_COUNTED * ids.nbytes < size
    finally:
        tracemalloc.stop()
    return ids


@pytest.mark.parametrize("name", HEAVY_TEXTS)
def test_memory_is_the_output_and_a_bounded_amount(name: str) -> None:
    encoded_within(64_000_000, Tokenizer(), HEAVY_TEXTS[name]())


@pytest.mark.parametrize("kinds", [1, 100])
@pytest.mark.parametrize("normalized", [True, False], ids=["in the rest", "in the text"])
def test_memory_of_many_occurrences_of_added_tokens_is_small(kinds: int, normalized: bool) -> None:
    tokenizer = Tokenizer()
    tokenizer.add_tokens([AddedToken(f"<{index}>", normalized=normalized) for index in range(kinds)])
    text = "<0><|endoftext|>a" * 15_000
    tokenizer.encode_to_numpy(text[:100_000])  # the vocabulary's tables are made now
    ids = encoded_within(100 * 15_000, tokenizer, text)
    assert ids.reshape(-1, 3).tolist() == [[50257, 50256, 64]] * 15_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other ways")
@pytest.mark.parametrize("environment", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536"}], ids=["plain", "as Dask sets it"])
def test_memory_of_freed_arrays_serves_the_next_ones(environment: dict[str, str]) -> None:
    code = """if True:
        import resource
        import numpy as np
        from minigpt2.vectorized.arrays import keep_freed_memory

        def pages():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(10):
                [np.ones(1 << 17) for _ in range(10)]  # ten at a time, of a megabyte each
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        without = pages()
        keep_freed_memory()
        print(without, pages())
    """
    run = subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, check=True)
    without, kept = map(int, run.stdout.split())
    assert kept < without / 4


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_batches_with_special_tokens_come_back_in_order(threads: int | None) -> None:
    tokenizer = Tokenizer()
    texts = [words(seed % 50, seed) + "<|endoftext|>" * (seed % 3) + "x" * (seed % 7) for seed in range(300)]
    expected = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts, threads) == expected
    ids, offsets = tokenizer.encode_batch_to_numpy(texts, threads, dtype=np.uint16)
    assert [ids[start:end].tolist() for start, end in pairwise(offsets.tolist())] == expected


def test_large_batches_are_shared_among_threads() -> None:
    tokenizer = Tokenizer()
    texts = [words(30_000, seed) for seed in range(8)] + ["", "short"]
    assert tokenizer.encode_batch(texts, 4) == [tokenizer.encode(text) for text in texts]


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError)])
def test_a_wrong_number_of_threads_is_refused(bad: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="num_threads"):
        Tokenizer().encode_batch(["x"], bad)  # type: ignore[arg-type]


def test_a_lone_surrogate_in_a_batch_is_refused_at_its_index() -> None:
    with pytest.raises(UnicodeEncodeError, match="position 3"):
        Tokenizer().encode_batch(["fine", "abc\ud800"])


@pytest.mark.parametrize("bad", [50257, -1])
def test_an_id_outside_the_vocabulary_is_named_in_arrays_too(bad: int) -> None:
    with pytest.raises(ValueError, match=rf"{bad} .*0 to 50256"):
        Tokenizer().decode(np.array([0] * 5000 + [bad]))


@pytest.mark.parametrize("dtype", ["int32", "uint16", "uint64"])
def test_long_arrays_of_every_integer_type_decode(dtype: str) -> None:
    assert Tokenizer().decode(np.array([39, 72] * 3000, dtype)) == "Hi" * 3000


@pytest.mark.parametrize(("bad", "error"), [(True, TypeError), (1.0, TypeError), ("1", TypeError), (2**70, ValueError)])
def test_what_is_not_an_id_is_refused_in_long_lists_too(bad: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=str(bad) if error is ValueError else "integer"):
        Tokenizer().decode([0] * 5000 + [bad])  # type: ignore[list-item]
